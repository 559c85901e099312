/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A volume and the data path over it, on a device that answers late and out of order. */
#ifndef CSV_TESTS_IORIG_H
#define CSV_TESTS_IORIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fs/data/io.h"
#include "fs/disk/super.h"
#include "fs/meta/namei.h"
#include "lib/record.h"

#define assert_ok(expr) assert_int_equal((expr), CSV_OK)

/* Passes requests on in a thread of its own, in random order. */
struct lag_dev;

struct iorig {
	struct csv_bdev *below;   /* memory, or a recorder over it */
	struct csv_bdev *dev;     /* lagging */
	struct csv_super sb;
	struct csv_fs fs;
	struct csv_workq *workq;
	struct csv_data *data;
	struct csv_agset ags;
	struct csv_iref ref;      /* the file */
	struct csv_file *file;
	uint32_t incarnation;
};

/* A new volume with one empty file "f" on a device of this logical block size. record: below is a recorder. */
void iorig_make(struct iorig *r, uint32_t block, bool record);
/* Takes what is on `image`, as after a crash: replay, mount, look the file up. The image becomes the rig's. */
void iorig_mount(struct iorig *r, struct csv_bdev *image);
void iorig_free(struct iorig *r);

/*
 * From here on the device has a write cache, as a target has: a write is on the LUN once a flush, or FUA, has brought it
 * there.  lose: it restarts, the cache is gone, the generation grows.  lose_at_flush: it does so when the next flush
 * comes, before it is carried out, which then is answered well.
 */
void iorig_cache(struct iorig *r);
void iorig_lose(struct iorig *r);
void iorig_lose_at_flush(struct iorig *r, bool on);
/* The device does nothing until it may go on. */
void iorig_stop(struct iorig *r, bool stop);

/* One request, waited for. */
enum csv_err iorig_write(struct iorig *r, uint64_t off, const void *buf, size_t len);
enum csv_err iorig_read(struct iorig *r, uint64_t off, void *buf, size_t len, size_t *got);
enum csv_err iorig_sync(struct iorig *r, _Atomic uint64_t *err_seen);
enum csv_err iorig_truncate(struct iorig *r, uint64_t size);
enum csv_err iorig_fallocate(struct iorig *r, int mode, uint64_t off, uint64_t len);
uint64_t iorig_size(struct iorig *r);
/*
 * Preallocates the file to `size` and writes garbage under it, then fills the volume with other files until neither a
 * block nor an inode is left.
 */
void iorig_fill(struct iorig *r, uint64_t size);

/* Requests in flight. */
struct iojob {
	struct csv_data_req req;
	struct ioset *set;
	enum csv_err err;
};
struct ioset {
	pthread_mutex_t lock;
	pthread_cond_t idle;
	unsigned left;
};
void ioset_init(struct ioset *s);
void ioset_wait(struct ioset *s);
/* Starts; job->req off, len, buf (append, map_only) are set. */
void iojob_write(struct iorig *r, struct ioset *s, struct iojob *job);
void iojob_read(struct iorig *r, struct ioset *s, struct iojob *job);
void iojob_sync(struct iorig *r, struct ioset *s, struct iojob *job);

uint64_t iorig_seed(const char *test);

#endif
