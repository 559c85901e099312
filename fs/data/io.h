/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading and writing file data straight to and from the LUN.  Asynchronous: done()
 * runs in the caller, the device's thread or a worker, so that no FUSE thread waits (U2).
 *
 * A write goes: map look-up; where it is all written, within the size and made of whole
 * device blocks: straight to the LUN, beside other such writes.  Else, alone on its blocks
 * (J7) and in a worker: blocks allocated unwritten (transaction 1), edges filled up, data
 * written, converted and size set (transaction 2), then done: a write that was answered
 * has its conversion in the map.  A read of holes and unwritten blocks gives zeros.  A write
 * to mapped blocks never fails for space, however full the volume (io_zero.c).
 *
 * J4: a write counts as unflushed from its answer until a flush that began later has succeeded
 * with the device's generation as it was before the write was submitted.  If the generation
 * has changed, its file's next csv_data_sync() through each handle fails, once; so do all
 * that began before that one's answer, and every write with `sync` that had begun.
 */
#ifndef CSV_DATA_IO_H
#define CSV_DATA_IO_H

#include "fs/data/map.h"
#include "fs/data/span.h"
#include "lib/workq.h"

/* In-memory state of one inode in use on this mount; shared by its handles. */
struct csv_file;

struct csv_data_stats {
	uint64_t reads, writes, bytes_read, bytes_written, flushes;
	uint64_t converted; /* unwritten blocks that writes have filled */
	uint64_t zeroed;    /* blocks beside them that were filled with zeros because the map could not grow */
};

/* One for the mount: files in use, what is unflushed. workq is the caller's. Registers csv_journal_on_lost(). */
struct csv_data;
enum csv_err csv_data_new(struct csv_fs *fs, struct csv_workq *workq, struct csv_data **d);
/* Nothing is in flight, no file is in use (asserted). */
void csv_data_free(struct csv_data *d);
void csv_data_stats(struct csv_data *d, struct csv_data_stats *st);
/* Once a second, in a worker: flushes what files no longer in use have left unflushed. */
void csv_data_tick(struct csv_data *d);

/* Counted. STALE: the inode is just being destroyed, or the table knows another generation. */
enum csv_err csv_file_get(struct csv_data *d, struct csv_iref ref, struct csv_file **f);
/* A further count for one who has one. */
void csv_file_hold(struct csv_data *d, struct csv_file *f);
void csv_file_put(struct csv_data *d, struct csv_file *f);
struct csv_iref csv_file_ref(const struct csv_file *f);
/*
 * Before csv_inode_destroy: BUSY if the file is in use here; else csv_file_get() answers STALE until buried.  This and
 * not a lock keeps an open on this node from meeting the end of its inode.
 */
enum csv_err csv_file_condemn(struct csv_data *d, struct csv_iref ref);
void csv_file_bury(struct csv_data *d, struct csv_iref ref, bool gone);

/* The caller changed the file by transaction `tid`: its next sync has to commit it. */
void csv_file_note_tid(struct csv_file *f, uint64_t tid);
/*
 * Where a new handle's account of lost writes begins: csv_data_req.err_seen of its requests. A loss that no handle has
 * been told of is told to the new one too.
 */
uint64_t csv_file_err_now(const struct csv_file *f);
/* Writes were lost and no handle has been told yet. What is so must stay here, where its owner will ask. */
bool csv_file_err_untold(const struct csv_file *f);

/*
 * Times of writes that needed no transaction live in memory until somebody journals them.  overlay: attributes as this
 * node sees them.  pending: true and the time, if it is not journalled; settled: it now is (a later write keeps it
 * pending).
 */
void csv_data_overlay(struct csv_data *d, struct csv_attr *attr);
bool csv_file_times_pending(struct csv_file *f, struct timespec *mtime);
void csv_file_times_settled(struct csv_file *f, struct timespec mtime);
/* The caller has set mtime himself: what is pending counts no more. */
void csv_file_times_forget(struct csv_file *f);
/* Calls fn, without a lock, for each file with pending times; each is held (csv_file_hold) for fn, who puts it. */
void csv_data_each_pending(struct csv_data *d, void (*fn)(void *arg, struct csv_file *f), void *arg);

struct csv_data_req {
	struct csv_ctx ctx; /* groups EX if the write may allocate */
	struct csv_file *file;
	uint64_t off; /* bytes; after an appending write: where it went */
	size_t len;
	void *buf;     /* contiguous, len bytes; aligned to 4096 avoids a copy. A read may scribble beyond its result */
	bool append;   /* off is the end of file at the time */
	bool sync;     /* O_SYNC, O_DSYNC: the write is answered once it is durable; IO: it may be lost, whatever happens
			  to the handle's account */
	bool map_only; /* the caller holds inode PR only (leased image): if the map or size would have to change,
			  done(CSV_WAIT) at once, nothing written; the caller takes EX and runs it again */
	_Atomic uint64_t *err_seen; /* sync: the handle's account of lost writes, see csv_file_err_now(); NULL: no handle */
	void (*done)(struct csv_data_req *req, enum csv_err err);
	size_t result; /* bytes read or written */
	uint64_t tid;  /* transaction that made the write visible; 0: none needed */

	/* private while in flight */
	struct csv_data *d;
	struct csv_span span;
	struct csv_work work;
	struct csv_xfer *xfer;
	uint64_t generation;
	uint64_t err_from;  /* losses that were known (sync: told) when it began */
	uint64_t flush_seq; /* what the flush of a sync will cover */
	bool zero;	    /* the map cannot grow: unwritten extents are converted as a whole */
	struct csv_commit_wait commit;
	struct csv_io io;
	_Atomic int err;
	_Atomic unsigned parts;
	bool datasync;
};
/* Locks held until done(): read: inode PR; write: inode EX, or PR with map_only. */
void csv_data_read(struct csv_data *d, struct csv_data_req *req);
/*
 * NOSPC: a hole or blocks beyond the end could not be filled; or, req->ctx.need naming some, further groups are wanted
 * before it is run again. Nothing was written then. FBIG, ROFS.
 */
void csv_data_write(struct csv_data *d, struct csv_data_req *req);
/*
 * fsync: commits what the file's durability needs and flushes all writes answered before (J4). datasync: pending times
 * are not looked at in either case: who wants them durable journals them first.
 */
void csv_data_sync(struct csv_data *d, struct csv_data_req *req, bool datasync);

/*
 * Whole operations on the map (truncate, fallocate) run behind a gate: go() is called in a worker once no other I/O
 * touches [off, off+len) of the file; close() lets it in again.
 */
struct csv_data_gate {
	struct csv_file *file;
	void (*go)(struct csv_data_gate *g);
	/* private */
	struct csv_data *d;
	struct csv_span span;
	struct csv_work work;
};
/* len UINT64_MAX: to the end. */
void csv_data_gate_open(struct csv_data *d, struct csv_data_gate *g, uint64_t off, uint64_t len);
void csv_data_gate_close(struct csv_data_gate *g);

/* Waits until no I/O of the file is in flight; new I/O is the caller's to keep away. For handoff. */
void csv_data_drain(struct csv_data *d, struct csv_file *f);

#endif
