/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parts of the recorder: the device and its log (record.c), images (record_image.c), crashes (record_crash.c). */
#ifndef CSV_LIB_RECORD_IMPL_H
#define CSV_LIB_RECORD_IMPL_H

#include <pthread.h>

#include "lib/bdev_impl.h"
#include "lib/record.h"

struct rec_entry {
	struct csv_record_entry e;
	size_t index;     /* place in the log: the order of completion */
	size_t submitted; /* entries in the log when it was submitted: those below had completed before */
	size_t durable;   /* entries below this index are durable once this one is in the log */
	unsigned char data[];
};

#define REC_SNAPSHOTS 16

struct recorder {
	struct csv_bdev dev;
	struct csv_bdev *below;
	pthread_mutex_t lock; /* covers all below */
	struct rec_entry **log;
	size_t count, room;
	int base;             /* memfd: content at open or reset; never changes */
	/* Content after the first `upto` entries, so that late cuts need not start from the base. */
	struct {
		int fd;       /* memfd, never changes; -1: none */
		size_t upto;
	} snap[REC_SNAPSHOTS];
};

/* A new memfd with the present content of dev; -1: out of memory or a read failed (*err says which). */
int rec_image_take(struct csv_bdev *dev, enum csv_err *err);
/* A new memfd with the content of another, sparse as that one; -1: out of memory. */
int rec_image_copy(int fd, uint64_t size);
/*
 * The image to start from for a crash whose first `durable` entries are all on
 * the disk: base or snapshot, with *upto entries in it. Caller holds the lock.
 */
int rec_image_for(struct recorder *r, size_t durable, size_t *upto);
void rec_images_drop(struct recorder *r);

#endif
