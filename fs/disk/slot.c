/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Slot blocks (J8): one life of one mount each; written directly, with growing versions. */
#include <stdlib.h>
#include <string.h>

#include "fs/disk/geometry.h"
#include "fs/disk/super.h"

static void slot_decode(const struct csv_disk_slot *d, uint32_t slot, struct csv_slot *s)
{
	memset(s, 0, sizeof(*s));
	s->slot = slot;
	s->state = (enum csv_slot_state)csv_le32_get(d->state);
	s->incarnation = csv_le32_get(d->incarnation);
	s->nodeid = csv_le32_get(d->nodeid);
	s->pr_key = csv_le64_get(d->pr_key);
	s->journal_start = csv_le64_get(d->journal_start);
	s->journal_blocks = csv_le64_get(d->journal_blocks);
	s->mounted_sec = csv_le64_get(d->mounted_sec);
	memcpy(s->node, d->node, CSV_NODENAME_MAX);
	s->fenced_by = csv_le32_get(d->fenced_by_slot);
	s->version = csv_le64_get(d->hdr.version);
}

static enum csv_err slot_check(const struct csv_disk_slot *d, const struct csv_super *sb, uint32_t slot,
			       struct csv_why *why)
{
	uint64_t blkno = CSV_SLOT_BLOCK(slot);
	enum csv_err err;

	err = csv_block_verify(d, sb->uuid, blkno, CSV_MAGIC_SLOT, why);
	if (err != CSV_OK)
		return err;
	if (csv_le32_get(d->state) > CSV_SLOT_FENCED)
		return csv_fail_block(why, CSV_DAMAGED, blkno, "slot %u has state %u", slot, csv_le32_get(d->state));
	if (csv_le64_get(d->journal_blocks) != sb->journal_blocks ||
	    csv_le64_get(d->journal_start) != CSV_JOURNAL_START + (uint64_t)slot * sb->journal_blocks)
		return csv_fail_block(why, CSV_DAMAGED, blkno, "slot %u has its journal at block %llu", slot,
				      (unsigned long long)csv_le64_get(d->journal_start));
	return CSV_OK;
}

enum csv_err csv_slot_read(struct csv_bdev *dev, const struct csv_super *sb, uint32_t slot, struct csv_slot *s,
			   struct csv_why *why)
{
	struct csv_disk_slot *d;
	enum csv_err err;

	if (slot >= sb->slots)
		return csv_fail(why, CSV_INVAL, "", "volume has %u slots, none with number %u", sb->slots, slot);
	d = aligned_alloc(CSV_BLOCK_SIZE, CSV_BLOCK_SIZE);
	if (!d)
		return csv_fail(why, CSV_NOMEM, "", "no memory for a slot block");
	err = csv_bdev_read(dev, (uint64_t)CSV_SLOT_BLOCK(slot) << CSV_BLOCK_SHIFT, d, CSV_BLOCK_SIZE);
	if (err != CSV_OK)
		csv_fail_block(why, err, CSV_SLOT_BLOCK(slot), "slot %u cannot be read: %s", slot, csv_err_text(err));
	else
		err = slot_check(d, sb, slot, why);
	if (err == CSV_OK)
		slot_decode(d, slot, s);
	free(d);
	return err;
}

enum csv_err csv_slot_write(struct csv_bdev *dev, const struct csv_super *sb, struct csv_slot *s)
{
	struct csv_disk_slot *d;
	enum csv_err err;

	if (s->slot >= sb->slots)
		return CSV_INVAL;
	d = aligned_alloc(CSV_BLOCK_SIZE, CSV_BLOCK_SIZE);
	if (!d)
		return CSV_NOMEM;
	csv_block_init(d, sb->uuid, CSV_MAGIC_SLOT, CSV_SLOT_BLOCK(s->slot), 0, s->version + 1);
	d->hdr.slot = csv_le16_of((uint16_t)s->slot);
	d->hdr.incarnation = csv_le32_of(s->incarnation);
	d->state = csv_le32_of(s->state);
	d->incarnation = csv_le32_of(s->incarnation);
	d->nodeid = csv_le32_of(s->nodeid);
	d->pr_key = csv_le64_of(s->pr_key);
	d->journal_start = csv_le64_of(s->journal_start);
	d->journal_blocks = csv_le64_of(s->journal_blocks);
	d->mounted_sec = csv_le64_of(s->mounted_sec);
	memcpy(d->node, s->node, CSV_NODENAME_MAX);
	d->fenced_by_slot = csv_le32_of(s->fenced_by);
	csv_block_seal(d, CSV_SLOT_BLOCK(s->slot));
	err = csv_bdev_write(dev, (uint64_t)CSV_SLOT_BLOCK(s->slot) << CSV_BLOCK_SHIFT, d, CSV_BLOCK_SIZE, CSV_IO_FUA);
	if (err == CSV_OK)
		s->version++;
	free(d);
	return err;
}

enum csv_slot_verdict csv_slot_judge(const struct csv_super *sb, uint32_t slot, uint32_t incarnation, const void *block)
{
	const struct csv_disk_slot *d = block;

	/* A block that fails its check may be half written or half read: nothing is decided by it. */
	if (slot >= sb->slots || slot_check(d, sb, slot, NULL) != CSV_OK)
		return CSV_VERDICT_UNSURE;
	if (csv_le32_get(d->state) == CSV_SLOT_LIVE && csv_le32_get(d->incarnation) == incarnation)
		return CSV_VERDICT_ALIVE;
	return CSV_VERDICT_FENCED;
}

uint64_t csv_slot_pr_key(uint32_t slot, uint32_t incarnation)
{
	return (uint64_t)0xC5F5 << 48 | (uint64_t)(slot & 0xffff) << 32 | incarnation;
}

uint64_t csv_slot_key(const struct csv_slot *s)
{
	return s->pr_key ? s->pr_key : csv_slot_pr_key(s->slot, s->incarnation);
}
