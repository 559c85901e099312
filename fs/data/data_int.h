/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parts of the data path: file.c (files in use), xfer.c (pieces of one transfer), io_*.c. Not for others. */
#ifndef CSV_DATA_INT_H
#define CSV_DATA_INT_H

#include <stdatomic.h>

#include "fs/data/io.h"

#define FILE_HASH 256u

struct csv_file {
	struct csv_list link; /* in its hash chain; d->lock */
	struct csv_iref ref;
	unsigned count; /* d->lock */
	bool condemned; /* d->lock: its inode is just being destroyed */
	struct csv_spans spans;

	pthread_mutex_t lock; /* covers all below */
	pthread_cond_t idle;
	unsigned inflight;	  /* reads and writes, waiting ones too */
	uint64_t tid;		  /* last transaction that its durability needs */
	bool dirty;		  /* answered writes that no flush has covered */
	uint64_t dirty_gen;	  /* device generation before the first of them */
	uint64_t dirty_seq;	  /* d->write_seq of the last of them */
	_Atomic uint64_t err_seq;  /* grows each time writes were lost */
	_Atomic uint64_t err_told; /* err_seq up to which some handle has been told */
	bool mtime_pending;
	struct timespec mtime;
};

struct csv_data {
	struct csv_fs *fs;
	struct csv_workq *workq;
	pthread_mutex_t lock; /* covers hash */
	struct csv_list hash[FILE_HASH];
	unsigned lingering;	    /* files in it that nobody uses, but with unflushed writes; lock */
	_Atomic uint64_t write_seq; /* writes answered */
	/* All up to this one are covered by a flush, or its failure to count is in their files' err_seq by now. */
	_Atomic uint64_t flush_seq;
	_Atomic uint64_t reads, writes, bytes_read, bytes_written, converted, zeroed, flushes;
};

/* ---- file.c ---- */
/* The file if it is in use here, held (csv_file_put). */
struct csv_file *file_find_held(struct csv_data *d, struct csv_iref ref);
void file_begin(struct csv_file *f);
void file_end(struct csv_file *f);
/* A write is about to be answered; generation: from before its submission. now: its mtime, NULL if journalled. */
void file_wrote(struct csv_data *d, struct csv_file *f, uint64_t generation, uint64_t tid, const struct timespec *now);
/* A flush that began when d->write_seq was `seq` has succeeded with the device's generation at `generation`. */
void file_flushed(struct csv_data *d, uint64_t seq, uint64_t generation);
/* Writes that began before `generation` may be lost. */
void file_lost_all(struct csv_data *d, uint64_t generation);
/* At the end of the mount: no file is in use. */
void file_drop_all(struct csv_data *d);

/* ---- io_sync.c ---- */
/* Commits and flushes for a sync, or for a write with `sync` that has been done; ends the request. */
void sync_start(struct csv_data_req *req);
void csv_data_attach(struct csv_data *d);

/* ---- xfer.c ---- */

/* One stretch of a transfer that is alike on the LUN, with the request to the device if it needs one. */
struct csv_piece {
	struct csv_io io;
	struct iovec iov;
	uint64_t lblk, len; /* blocks */
	enum csv_map_kind kind;
	uint64_t phys;
	uint64_t conv_lblk, conv_len; /* unwritten: blocks that become written with it, itself as a rule (io_zero.c) */
};

/* Course of one read or write. */
struct csv_xfer {
	struct csv_data_req *req;
	uint64_t size;	       /* of the file when it was looked at */
	uint64_t need_first, need_last; /* blocks that a write has to be alone on, its own as a rule */
	uint64_t start, end;   /* bytes moved to or from the LUN: [off, off+len) rounded out to whole units */
	unsigned char *mem;    /* memory for [start, end): the caller's or own */
	unsigned char *bounce; /* own memory, or NULL */
	_Atomic unsigned left; /* pieces in flight, plus one while submitting */
	_Atomic int err;
	void (*landed)(struct csv_xfer *x, enum csv_err err); /* all pieces are done; in the device's thread */
	unsigned n, room;
	struct csv_piece *piece;
	struct csv_piece first; /* piece[] while one is enough */
};

/* NOMEM. */
enum csv_err xfer_new(struct csv_data_req *req, struct csv_xfer **x);
void xfer_free(struct csv_xfer *x);
/* Looks the blocks of [from, to) up, fs->meta shared. Replaces the pieces. */
enum csv_err xfer_map(struct csv_xfer *x, struct csv_buf *inode, uint64_t from, uint64_t to);
/* Submits pieces of `x->mem` for [start, end) which `want` allows by kind; landed() runs once. */
void xfer_submit(struct csv_xfer *x, enum csv_io_op op, unsigned kinds);
#define KIND_BIT(kind) (1u << (kind))
#define KINDS_MAPPED (KIND_BIT(CSV_MAP_WRITTEN) | KIND_BIT(CSV_MAP_UNWRITTEN))
/* True if each piece is of one of these kinds. */
bool xfer_all(const struct csv_xfer *x, unsigned kinds);
enum csv_err xfer_bounce(struct csv_xfer *x, uint64_t start, uint64_t end);

/* ---- io_zero.c ---- */

/*
 * With x->req->zero, pieces looked up, data not written yet: all of each unwritten extent that the write touches becomes
 * written with it, so that the tree needs no node.  Writes zeros to what the data does not cover.  AGAIN: nothing done,
 * the write is to be alone on x->need_first to x->need_last.
 */
enum csv_err zero_extents(struct csv_xfer *x);

/* ---- io_write.c, io_slow.c ---- */

/* In a worker, range held exclusively: everything that is not a plain overwrite. */
void write_slow(struct csv_data_req *req);
/* Queues for the blocks alone, then write_slow(). */
void write_take_alone(struct csv_data_req *req, uint64_t first, uint64_t last);
/* Ends a write: range given back, answered. */
void write_end(struct csv_data_req *req, enum csv_err err);

static inline uint64_t round_down(uint64_t v, uint64_t unit)
{
	return v & ~(unit - 1);
}
static inline uint64_t round_up(uint64_t v, uint64_t unit)
{
	return round_down(v + unit - 1, unit);
}

#endif
