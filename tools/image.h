/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a mounted csvfs knows of an image, asked by path. */
#ifndef CSV_TOOLS_IMAGE_H
#define CSV_TOOLS_IMAGE_H

#include <jansson.h>

#include "csv/err.h"
#include "csv/ioctl.h"

/*
 * Asks the csvfs that serves `path`'s directory for op (CSV_IMAGE_*); *image gets its answer.  INVAL: not on csvfs;
 * NOENT; BUSY: open or leased; PERM: neither owner nor root.  *why says it for people.
 */
enum csv_err csv_image_ask(const char *path, uint32_t op, struct csv_ioctl_image *image, struct csv_why *why);
/* Adds image, extents and lease{mode, node, vm, epoch, since, alive} to `out`. */
void csv_image_json(json_t *out, const struct csv_ioctl_image *image);

#endif
