/* SPDX-License-Identifier: GPL-2.0-or-later */
/* First block of a journal: whose life it is and where the oldest transaction that is still needed starts. */
#include <stdlib.h>

#include "fs/disk/super.h"
#include "fs/journal/journal_priv.h"

uint64_t csv_journal_start(const struct csv_super *sb, uint32_t slot)
{
	return CSV_JOURNAL_START + (uint64_t)slot * sb->journal_blocks;
}

static enum csv_err head_check(const struct csv_disk_jhead *d, const struct csv_super *sb, uint32_t slot,
			       struct csv_why *why)
{
	uint64_t blkno = csv_journal_start(sb, slot), pos = csv_le64_get(d->tail_pos);
	enum csv_err err;

	err = csv_block_verify(d, sb->uuid, blkno, CSV_MAGIC_JHEAD, why);
	if (err != CSV_OK)
		return err;
	if (csv_le16_get(d->hdr.slot) != slot || pos < 1 || pos >= sb->journal_blocks)
		return csv_fail_block(why, CSV_DAMAGED, blkno, "journal head of slot %u: slot %u, tail at %llu", slot,
				      csv_le16_get(d->hdr.slot), (unsigned long long)pos);
	return CSV_OK;
}

enum csv_err csv_jhead_read(struct csv_bdev *dev, const struct csv_super *sb, uint32_t slot, struct csv_jhead *h,
			    struct csv_why *why)
{
	uint64_t blkno = csv_journal_start(sb, slot);
	struct csv_disk_jhead *d = aligned_alloc(CSV_BLOCK_SIZE, CSV_BLOCK_SIZE);
	enum csv_err err;

	if (!d)
		return csv_fail(why, CSV_NOMEM, "", "no memory for a journal head");
	err = csv_bdev_read(dev, blkno << CSV_BLOCK_SHIFT, d, CSV_BLOCK_SIZE);
	if (err != CSV_OK)
		csv_fail_block(why, err, blkno, "journal head of slot %u cannot be read: %s", slot, csv_err_text(err));
	else
		err = head_check(d, sb, slot, why);
	if (err == CSV_OK) {
		h->slot = slot;
		h->incarnation = csv_le32_get(d->hdr.incarnation);
		h->tail_pos = (uint32_t)csv_le64_get(d->tail_pos);
		h->tail_seq = csv_le64_get(d->tail_seq);
		h->version = csv_le64_get(d->hdr.version);
	}
	free(d);
	return err;
}

enum csv_err csv_jhead_write(struct csv_bdev *dev, const struct csv_super *sb, struct csv_jhead *h)
{
	uint64_t blkno = csv_journal_start(sb, h->slot), generation;
	struct csv_disk_jhead *d = aligned_alloc(CSV_BLOCK_SIZE, CSV_BLOCK_SIZE);
	unsigned tries = 0;
	enum csv_err err;

	if (!d)
		return CSV_NOMEM;
	csv_block_init(d, sb->uuid, CSV_MAGIC_JHEAD, blkno, 0, h->version + 1);
	d->hdr.slot = csv_le16_of((uint16_t)h->slot);
	d->hdr.incarnation = csv_le32_of(h->incarnation);
	d->tail_pos = csv_le64_of(h->tail_pos);
	d->tail_seq = csv_le64_of(h->tail_seq);
	csv_block_seal(d, blkno);
	/* Blocks before the tail are overwritten next: a head that is not durable would lead replay into them. */
	do {
		generation = csv_bdev_generation(dev);
		err = csv_bdev_write(dev, blkno << CSV_BLOCK_SHIFT, d, CSV_BLOCK_SIZE, CSV_IO_FUA | CSV_IO_PATIENT);
	} while (err == CSV_OK && generation != csv_bdev_generation(dev) && ++tries < CSV_FLUSH_TRIES);
	if (err == CSV_OK && tries == CSV_FLUSH_TRIES)
		err = CSV_IO;
	if (err == CSV_OK)
		h->version++;
	free(d);
	return err;
}
