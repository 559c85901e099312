/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading and writing file data straight to and from the LUN.  Asynchronous: done()
 * runs in the device's thread or a worker, so that no FUSE thread waits (U2).
 *
 * A write goes: map look-up; where it is all written and within the size: straight to
 * the LUN.  Else: blocks allocated unwritten (transaction 1), data written, converted
 * and size set (transaction 2), then done.  Partial blocks that are unwritten, holes or
 * being converted, and partial device blocks, are serialised per block (J7).
 * A read of holes and unwritten blocks gives zeros.
 */
#ifndef CSV_DATA_IO_H
#define CSV_DATA_IO_H

#include "fs/data/map.h"
#include "lib/workq.h"

/* In-memory state of one open inode on this mount; shared by its handles; made at first open. */
struct csv_file;

struct csv_data_stats {
	uint64_t reads, writes, bytes_read, bytes_written, converted;
};

/* One for the mount: ranges being written, open files. workq is the caller's. */
struct csv_data;
enum csv_err csv_data_new(struct csv_fs *fs, struct csv_workq *workq, struct csv_data **d);
void csv_data_free(struct csv_data *d);
void csv_data_stats(struct csv_data *d, struct csv_data_stats *st);

enum csv_err csv_file_get(struct csv_data *d, struct csv_iref ref, struct csv_file **f); /* counted */
void csv_file_put(struct csv_data *d, struct csv_file *f);
struct csv_iref csv_file_ref(const struct csv_file *f);

struct csv_data_req {
	struct csv_ctx ctx;         /* groups EX if the write may allocate */
	struct csv_file *file;
	uint64_t off;
	size_t len;
	void *buf;                  /* contiguous; aligned to 4096 avoids a copy */
	bool append;                /* off is the end of file at the time */
	bool map_only;              /* the caller holds inode PR only (leased image): if the map or size would have to change,
				       done(CSV_WAIT) at once, nothing written; the caller takes EX and runs it again */
	void (*done)(struct csv_data_req *req, enum csv_err err);
	size_t result;              /* bytes read or written */
	uint64_t tid;               /* transaction that made the write visible; 0: none needed */
	void *priv[8];              /* private while in flight */
};
/* Locks held until done(): read: inode PR; write: inode EX, or PR with map_only. */
void csv_data_read(struct csv_data *d, struct csv_data_req *req);
void csv_data_write(struct csv_data *d, struct csv_data_req *req);
/*
 * fsync: waits for conversions of all writes answered before, commits what the file's durability needs, flushes (J4:
 * a flush that does not count answers CSV_IO once). datasync: times need not be durable.
 */
void csv_data_sync(struct csv_data *d, struct csv_data_req *req, bool datasync);
/* Waits until no I/O of the file is in flight; new I/O is the caller's to keep away. For demotion and handoff. */
void csv_data_drain(struct csv_data *d, struct csv_file *f);

#endif
