/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether a volume on a LUN is mounted, by anybody: by its reservation keys. */
#include <stdlib.h>

#include "fs/disk/super.h"
#include "tools/check/check.h"

static bool registered(const struct csv_pr_status *st, uint64_t key)
{
	for (unsigned i = 0; i < st->nkeys; i++)
		if (st->keys[i] == key)
			return true;
	return false;
}

enum csv_err csv_check_mounted(struct csv_bdev *dev, const struct csv_super *sb, struct csv_why *why)
{
	struct csv_pr_status *st;
	enum csv_err err;

	if (!dev->ops->pr_status)
		return CSV_OK;
	st = calloc(1, sizeof(*st));
	if (!st)
		return csv_fail(why, CSV_NOMEM, "", "no memory for the LUN's reservations");
	err = dev->ops->pr_status(dev, st);
	if (err == CSV_NOTSUP) /* a device without reservations: O_EXCL was all there is */
		err = CSV_OK;
	if (err != CSV_OK)
		csv_fail(why, err, "", "the LUN's reservations cannot be read: %s", csv_err_text(err));
	for (uint32_t n = 0; err == CSV_OK && n < sb->slots; n++) {
		struct csv_slot s;

		if (csv_slot_read(dev, sb, n, &s, NULL) != CSV_OK || s.state == CSV_SLOT_CLEAN || !s.pr_key)
			continue;
		if (registered(st, s.pr_key))
			err = csv_fail(why, CSV_BUSY, "unmount it there first", "node %s has volume %s mounted",
				       *s.node ? s.node : "?", sb->name);
	}
	free(st);
	return err;
}
