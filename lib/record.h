/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Recording block device: passes everything to the device below and keeps the
 * log of writes, flushes and marks, from which crash images are made: every
 * flush-bounded prefix, the writes after the last flush being kept, lost,
 * reordered or torn at 512-byte sectors by a seeded choice.
 */
#ifndef CSV_LIB_RECORD_H
#define CSV_LIB_RECORD_H

#include "lib/bdev.h"

enum csv_record_kind { CSV_RECORD_WRITE, CSV_RECORD_FLUSH, CSV_RECORD_MARK };

/* One entry of the log, in the order in which requests completed. */
struct csv_record_entry {
	enum csv_record_kind kind;
	uint64_t off, len;    /* write: bytes */
	const void *data;     /* write: copy of what was written, owned by the recorder */
	unsigned flags;       /* CSV_IO_FUA */
	uint64_t mark;        /* mark: the caller's number, e.g. "operation k acknowledged" */
};

/* Wraps `below`, which the recorder then owns, and snapshots nothing: pass a device whose content is the start image. */
enum csv_err csv_record_open(struct csv_bdev *below, struct csv_bdev **dev);
/* Writes a mark into the log. */
void csv_record_mark(struct csv_bdev *dev, uint64_t mark);
size_t csv_record_count(struct csv_bdev *dev);
const struct csv_record_entry *csv_record_entry(struct csv_bdev *dev, size_t i);
/* Forgets the log up to now and takes the current content as the start image. */
enum csv_err csv_record_reset(struct csv_bdev *dev);

/*
 * Makes the image that a power cut right after log entry `cut` could leave.
 * Writes up to the last flush before `cut` are all there; of the later ones
 * (FUA writes that completed are all there) the seed chooses which are kept,
 * in which order, and which are torn at a sector.  seed 0: keep all; seed 1: lose all.
 * *image is a new memory device for the caller to close.
 */
enum csv_err csv_record_crash(struct csv_bdev *dev, size_t cut, uint64_t seed, struct csv_bdev **image);

#endif
