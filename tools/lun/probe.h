/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a LUN's target really honours, found by trying.  For a LUN that nobody uses: it registers a key and takes
 * reservations, and leaves content, keys and reservation as they were.
 */
#ifndef CSV_TOOLS_LUN_PROBE_H
#define CSV_TOOLS_LUN_PROBE_H

#include "lib/bdev.h"

#define CSV_LUN_TYPES 9              /* SPC-4 table 54 has 1 to 8 */

struct csv_lun_report {
	bool type[CSV_LUN_TYPES];    /* a reservation of that type was taken, seen and given back */
	enum csv_pr_type standing;   /* one that had been left there without keys: reservations could not be tried */
	bool enforced, enforced_known; /* a write of somebody who is not registered is refused */
	bool preempt_abort;
	bool compare_write;
	bool unmap;
	bool aptpl;
};

/*
 * `other`: a second way to the same LUN, with an identity of its own, or NULL (then `enforced` stays unknown).
 * `destructive`: the last MiB may be unmapped.
 * Errors: NOTSUP (no SCSI), BUSY (somebody is registered), CONFLICT (somebody came meanwhile), UNREACH, IO.
 */
enum csv_err csv_lun_probe(struct csv_bdev *dev, struct csv_bdev *other, bool destructive, struct csv_lun_report *r,
			   struct csv_why *why);

#endif
