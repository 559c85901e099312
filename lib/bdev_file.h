/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parts of the file back end: the device (bdev_file.c), the course of one request
 * (file_req.c) and the two engines that carry requests to the kernel: io_uring
 * (file_ring.c) and threads with preadv2/pwritev2 (file_pool.c).
 *
 * A request goes to the kernel in pieces, one after the other: a piece ends where
 * the kernel stops short, where a vector gets long, or at the size of a bounce buffer.
 */
#ifndef CSV_LIB_BDEV_FILE_H
#define CSV_LIB_BDEV_FILE_H

#include "lib/bdev_impl.h"
#include "lib/list.h"
#include "lib/workq.h"

#define FILE_PIECE_VECS 16

struct file_dev;

struct file_req {
	struct csv_list link;    /* ring: waits for a free place */
	struct csv_work work;    /* pool */
	struct file_dev *f;
	struct csv_io *io;
	uint64_t pos;            /* bytes of io done */
	void *bounce;            /* NULL: the caller's memory is good for O_DIRECT */
	size_t bounce_size;
	/* The piece on its way: */
	const struct iovec *vec; /* io->iov itself, or own */
	int nvec;
	size_t len;              /* bytes */
	struct iovec own[FILE_PIECE_VECS];
};

struct file_engine {
	const char *name;
	enum csv_err (*start)(struct file_dev *f);
	/* Takes a request whose piece is prepared; never blocks for long. Ends in file_req_piece_done(). */
	void (*push)(struct file_dev *f, struct file_req *req);
	void (*stop)(struct file_dev *f); /* no request is in flight any more */
};
extern const struct file_engine file_engine_ring, file_engine_pool;

struct file_dev {
	struct csv_bdev dev;
	int fd;
	bool rdonly;
	bool direct;             /* O_DIRECT: memory and lengths must be aligned */
	uint32_t mem_align;      /* bytes, power of two */
	const struct file_engine *engine;
	void *engine_data;
	pthread_mutex_t lock;    /* covers inflight */
	pthread_cond_t idle;
	unsigned inflight;
};

/* The kernel's flags for a piece. */
int file_req_rwf(const struct file_req *req);
/*
 * Takes the result of a piece, bytes or -errno.  True: the next piece is prepared
 * and to be pushed; false: the request is over and gone.
 */
bool file_req_piece_done(struct file_req *req, int64_t res);
void file_submit(struct csv_bdev *dev, struct csv_io *io);

#endif
