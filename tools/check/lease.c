/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lease of an image: there, its own, and held by a life that was. */
#include <inttypes.h>
#include <stdlib.h>

#include "tools/check/check_int.h"

static void check_holder(struct chk *c, const struct csv_disk_lease *l, uint64_t block, uint64_t ino)
{
	uint32_t slot = csv_le32_get(l->slot), incarnation = csv_le32_get(l->incarnation);

	if (csv_le32_get(l->mode) == CSV_LEASE_NONE || slot == CSV_SLOT_NONE)
		return;
	c->sum->leased++;
	/* Any life up to the slot's last one may have left it: a dead holder's lease is stale, not damaged. */
	if (slot >= c->sb.slots || (c->slot_good[slot] && incarnation > c->slot[slot].incarnation))
		chk_report(c, CSV_CHECK_LEASE_HOLDER, block, ino,
			   "lease is held by life %u of slot %u, which never was", incarnation, slot);
	if (csv_le64_get(l->epoch) == 0)
		chk_report(c, CSV_CHECK_LEASE_HOLDER, block, ino, "lease is held in epoch 0");
}

static void check_block(struct chk *c, const struct csv_disk_inode *d, uint64_t block)
{
	uint64_t ino = csv_le64_get(d->hdr.block);
	struct csv_disk_lease *l = chk_page(c);

	if (l && chk_claim_meta(c, block, ino, "lease") && chk_read(c, block, CSV_MAGIC_LEASE, ino, l, ino)) {
		if (csv_le32_get(l->gen) != csv_le32_get(d->gen))
			chk_report(c, CSV_CHECK_LEASE_GEN, block, ino, "lease of generation %u, the image has %u",
				   csv_le32_get(l->gen), csv_le32_get(d->gen));
		else
			check_holder(c, l, block, ino);
	}
	free(l);
}

void chk_lease(struct chk *c, const struct csv_disk_inode *d)
{
	uint64_t block = csv_le64_get(d->lease), ino = csv_le64_get(d->hdr.block);
	bool image = csv_le32_get(d->flags) & CSV_INODE_IMAGE;

	if (image)
		c->sum->images++;
	/* The lease is the first that an orphan loses. */
	if (image && !block && csv_le32_get(d->nlink))
		chk_report(c, CSV_CHECK_LEASE_MISSING, ino, ino, "image without a lease block");
	if (!image && block)
		chk_report(c, CSV_CHECK_LEASE_UNEXPECTED, block, ino, "lease block, but the inode is no image");
	if (block)
		check_block(c, d, block);
}
