/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What somebody else may have put on a LUN: filesystems, RAID members, partition tables, by libblkid. */
#ifndef CSV_TOOLS_FOREIGN_H
#define CSV_TOOLS_FOREIGN_H

#include "lib/bdev.h"

/*
 * OK: nothing that anybody knows is on `lun`, which `dev` has open.  FOREIGN: *why names it, with `hint` as what to do;
 * IO, NOMEM: it cannot be told.
 */
enum csv_err csv_foreign(const char *lun, struct csv_bdev *dev, const char *hint, struct csv_why *why);

#endif
