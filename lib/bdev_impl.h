/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the back ends of lib/bdev.h share. Not for users of block devices. */
#ifndef CSV_LIB_BDEV_IMPL_H
#define CSV_LIB_BDEV_IMPL_H

#include "lib/bdev.h"

/*
 * Checks op, alignment, bounds and the sum of the vector against the geometry:
 * INVAL; ROFS for a write or discard on a device that was opened RDONLY.
 */
enum csv_err csv_bdev_check(const struct csv_bdev *dev, const struct csv_io *io, bool rdonly);
/* Counts a request that has passed the check. */
void csv_bdev_count(struct csv_bdev *dev, const struct csv_io *io);
void csv_bdev_generation_bump(struct csv_bdev *dev);

/*
 * After each attempt of a patient request.  True: it met LUNFULL, has rested, and is to be made again.  *w is all zeros
 * before the first attempt; a false ends the wait.
 */
struct csv_space_wait {
	unsigned backoff_ms;      /* 0: does not wait yet */
};
bool csv_bdev_wait_space(struct csv_bdev *dev, struct csv_space_wait *w, enum csv_err err);

/* The back ends, for csv_bdev_open(). */
enum csv_err csv_bdev_file_open(const char *path, unsigned flags, struct csv_bdev **dev, struct csv_why *why);
/* The same path, with reservations where it is a SCSI disk. */
enum csv_err csv_bdev_disk_open(const char *path, unsigned flags, struct csv_bdev **dev, struct csv_why *why);
enum csv_err csv_bdev_iscsi_open(const char *url, unsigned flags, struct csv_bdev **dev, struct csv_why *why);

/*
 * For the recorder.  A memory device over a private (copy-on-write) mapping of
 * `fd`, which must not change while the device lives; fd stays the caller's.
 */
enum csv_err csv_bdev_mem_private(int fd, const struct csv_bdev_geometry *geo, struct csv_bdev **dev);
/* The memfd that holds the content of a csv_bdev_mem() device; -1 for any other device. */
int csv_bdev_mem_fd(struct csv_bdev *dev);
/* The content of a memory device of either kind. */
void *csv_bdev_mem_map(struct csv_bdev *dev);

/*
 * Names who holds a file open with a lock, or a block device in use, into buf
 * ("process 1234 (qemu)"); empty if that cannot be found out.
 */
void csv_holder_of_file(int fd, char *buf, size_t size);
void csv_holder_of_device(const char *path, char *buf, size_t size);

#endif
