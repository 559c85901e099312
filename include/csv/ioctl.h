/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ioctl(2) on an open directory of a mounted volume: what csvfs knows of a file in it as an image.  By name and not on
 * the file itself, because a file whose flag changes may be open nowhere.  Little-endian as all of csvfs.
 */
#ifndef CSV_IOCTL_H
#define CSV_IOCTL_H

#include <assert.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include "csv/limits.h"

#define CSV_IMAGE_INFO 0u   /* anybody */
#define CSV_IMAGE_MARK 1u   /* owner or root: the file is an image from now on; EBUSY while anybody has it open */
#define CSV_IMAGE_UNMARK 2u /* the reverse; EBUSY while it is leased, too */

struct csv_ioctl_image {
	char name[256];             /* in: a regular file in the directory, NUL-terminated */
	uint32_t op;                /* in: CSV_IMAGE_* */
	/* out, as things are after op: */
	uint32_t image;             /* 1: has leases */
	uint64_t extents;           /* pieces of the map that are not holes */
	uint32_t lease_mode;        /* enum csv_lease_mode; NONE: nobody's, and what follows tells of the last holder */
	uint32_t lease_run;         /* 1: the holder may have written */
	uint32_t lease_nodeid, lease_alive; /* alive: 0 if the holder is out, so that the lease may be taken */
	uint64_t lease_epoch;
	uint64_t lease_since;       /* Unix time, s; 0: never leased */
	char lease_vm[64], lease_node[64]; /* NUL-terminated */
};
static_assert(sizeof(struct csv_ioctl_image) == 432, "same on both sides");

#define CSV_IOC_IMAGE _IOWR('C', 0x51, struct csv_ioctl_image)

#endif
