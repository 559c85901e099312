/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copy-on-write block device: writes stay in memory, the device below is only
 * read.  A check replays the journals of an unclean volume on one of these.
 */
#ifndef CSV_TOOLS_OVERLAY_H
#define CSV_TOOLS_OVERLAY_H

#include "lib/bdev.h"

/* `below` stays the caller's and has to outlive the overlay. NOMEM. */
enum csv_err csv_overlay_open(struct csv_bdev *below, struct csv_bdev **dev);
/* Blocks of 4096 bytes that the overlay holds in memory. */
size_t csv_overlay_blocks(struct csv_bdev *dev);

#endif
