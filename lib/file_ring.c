/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * File engine on io_uring: any thread submits under a lock, one thread reaps.
 *
 * At most RING_DEPTH pieces are in the ring, so that neither queue of it can
 * overflow; more requests wait in a list.  No registered buffers: they count
 * against RLIMIT_MEMLOCK, which may be 8 MB.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <stdlib.h>

#include "lib/bdev_file.h"
#include "lib/thread.h"

#define RING_DEPTH 128

struct file_ring {
	struct io_uring ring;
	pthread_mutex_t lock; /* covers the submission side, depth and waiting */
	unsigned depth;
	struct csv_list waiting;
	pthread_t reaper;
};

static void prepare(struct io_uring_sqe *sqe, struct file_req *req)
{
	struct csv_io *io = req->io;
	int fd = req->f->fd;

	switch (io->op) {
	case CSV_IO_READ:
		io_uring_prep_readv(sqe, fd, req->vec, (unsigned)req->nvec, io->off + req->pos);
		break;
	case CSV_IO_WRITE:
		io_uring_prep_writev2(sqe, fd, req->vec, (unsigned)req->nvec, io->off + req->pos, file_req_rwf(req));
		break;
	case CSV_IO_FLUSH:
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
		break;
	case CSV_IO_DISCARD:
		io_uring_prep_fallocate(sqe, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)io->off,
					(off_t)io->len);
		break;
	}
	io_uring_sqe_set_data(sqe, req);
}

/* Hands what is prepared to the kernel; caller holds the lock. */
static void enter(struct file_ring *r)
{
	int n;

	do
		n = io_uring_submit(&r->ring);
	while (n == -EINTR || n == -EAGAIN || n == -EBUSY);
}

/* Moves waiting requests into the ring; caller holds the lock. */
static void feed(struct file_ring *r)
{
	bool any = false;

	while (r->depth < RING_DEPTH && !csv_list_empty(&r->waiting)) {
		struct file_req *req = csv_list_entry(r->waiting.next, struct file_req, link);
		struct io_uring_sqe *sqe = io_uring_get_sqe(&r->ring);

		if (!sqe) {
			enter(r);
			continue;
		}
		csv_list_del(&req->link);
		r->depth++;
		prepare(sqe, req);
		any = true;
	}
	if (any)
		enter(r);
}

static void ring_push(struct file_dev *f, struct file_req *req)
{
	struct file_ring *r = f->engine_data;

	pthread_mutex_lock(&r->lock);
	csv_list_push_back(&r->waiting, &req->link);
	feed(r);
	pthread_mutex_unlock(&r->lock);
}

static void *reap(void *arg)
{
	struct file_dev *f = arg;
	struct file_ring *r = f->engine_data;

	for (;;) {
		struct io_uring_cqe *cqe;
		struct file_req *req;
		int res;

		if (io_uring_wait_cqe(&r->ring, &cqe) < 0)
			continue;
		req = io_uring_cqe_get_data(cqe);
		res = cqe->res;
		io_uring_cqe_seen(&r->ring, cqe);
		if (!req)
			return NULL; /* ring_stop() */
		pthread_mutex_lock(&r->lock);
		r->depth--;
		feed(r);
		pthread_mutex_unlock(&r->lock);
		if (file_req_piece_done(req, res))
			ring_push(f, req);
	}
}

static enum csv_err ring_start(struct file_dev *f)
{
	struct file_ring *r = calloc(1, sizeof(*r));
	int res;

	if (!r)
		return CSV_NOMEM;
	res = io_uring_queue_init(RING_DEPTH, &r->ring, 0);
	if (res < 0)
		goto fail;
	pthread_mutex_init(&r->lock, NULL);
	csv_list_init(&r->waiting);
	f->engine_data = r;
	res = -csv_thread_start(&r->reaper, reap, f);
	if (res == 0)
		return CSV_OK;
	pthread_mutex_destroy(&r->lock);
	io_uring_queue_exit(&r->ring);
fail:
	free(r);
	return csv_err_from_errno(-res);
}

static void ring_stop(struct file_dev *f)
{
	struct file_ring *r = f->engine_data;
	struct io_uring_sqe *sqe;

	pthread_mutex_lock(&r->lock);
	sqe = io_uring_get_sqe(&r->ring); /* the queue is empty: never NULL */
	io_uring_prep_nop(sqe);
	io_uring_sqe_set_data(sqe, NULL);
	enter(r);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->reaper, NULL);
	io_uring_queue_exit(&r->ring);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

const struct file_engine file_engine_ring = { "io_uring", ring_start, ring_push, ring_stop };
