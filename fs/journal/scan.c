/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A journal read back from the LUN.  Nothing in it is believed before its checks:
 * a block counts only if header, checksum, slot, incarnation and sequence are those
 * of the life that the head names, and a transaction only if it is whole.
 */
#include <stdlib.h>
#include <string.h>

#include "fs/disk/super.h"
#include "fs/journal/journal_priv.h"
#include "lib/crc32c.h"

/* Blocks read at once. */
#define SCAN_PIECE 256u

enum csv_err csv_jscan_open(struct csv_jscan *s, struct csv_bdev *dev, const struct csv_super *sb, uint32_t slot,
			    struct csv_why *why)
{
	enum csv_err err;

	memset(s, 0, sizeof(*s));
	s->dev = dev;
	s->sb = sb;
	s->ring = sb->journal_blocks - 1;
	err = csv_jhead_read(dev, sb, slot, &s->head, why);
	if (err != CSV_OK)
		return err;
	s->mem = aligned_alloc(CSV_BLOCK_SIZE, (size_t)sb->journal_blocks * CSV_BLOCK_SIZE);
	s->have = calloc(sb->journal_blocks / SCAN_PIECE + 1, 1);
	if (s->mem && s->have)
		return CSV_OK;
	csv_jscan_close(s);
	return csv_fail(why, CSV_NOMEM, "", "no memory to read the journal");
}

void csv_jscan_close(struct csv_jscan *s)
{
	free(s->mem);
	free(s->have);
	s->mem = NULL;
	s->have = NULL;
}

/* Reads the pieces that hold blocks [from, to) counted from the journal's start, if they have not been read. */
static enum csv_err load(struct csv_jscan *s, uint32_t from, uint32_t to)
{
	uint64_t start = csv_journal_start(s->sb, s->head.slot);
	struct csv_bdev_batch *batch;
	enum csv_err err;
	bool missing = false;

	for (uint32_t p = from / SCAN_PIECE; p * SCAN_PIECE < to; p++)
		missing |= !s->have[p];
	if (!missing)
		return CSV_OK;
	err = csv_bdev_batch_begin(s->dev, &batch);
	if (err != CSV_OK)
		return err;
	for (uint32_t p = from / SCAN_PIECE; p * SCAN_PIECE < to; p++) {
		uint32_t first = p * SCAN_PIECE, n = s->sb->journal_blocks - first;

		if (s->have[p])
			continue;
		n = n < SCAN_PIECE ? n : SCAN_PIECE;
		csv_bdev_batch_read(batch, (start + first) << CSV_BLOCK_SHIFT, s->mem + (size_t)first * CSV_BLOCK_SIZE,
				    (size_t)n * CSV_BLOCK_SIZE);
	}
	err = csv_bdev_batch_wait(batch);
	for (uint32_t p = from / SCAN_PIECE; err == CSV_OK && p * SCAN_PIECE < to; p++)
		s->have[p] = 1;
	return err;
}

/* Block at a position of the ring. */
static enum csv_err block_at(struct csv_jscan *s, uint32_t pos, void **page)
{
	*page = s->mem + (size_t)pos * CSV_BLOCK_SIZE;
	return load(s, pos, pos + 1);
}

/* True if the block is one of transaction `seq` of this life. */
static bool is_ours(const struct csv_jscan *s, const void *page, uint32_t pos, uint32_t magic, uint64_t seq)
{
	const struct csv_block_hdr *h = page;

	return csv_le32_get(h->magic) == magic && csv_le64_get(h->seq) == seq &&
	       csv_le16_get(h->slot) == s->head.slot && csv_le32_get(h->incarnation) == s->head.incarnation &&
	       csv_block_verify(page, s->sb->uuid, csv_journal_start(s->sb, s->head.slot) + pos, magic, NULL) == CSV_OK;
}

/* One descriptor and its images, from record block `at` on; *crc goes on over them. NOENT: not valid. */
static enum csv_err scan_part(struct csv_jscan *s, struct csv_jscan_txn *t, uint32_t *at, uint32_t *crc, bool *more)
{
	const struct csv_disk_jdesc *d;
	uint32_t pos = csv_jring_add(s->ring, t->pos, *at), n;
	enum csv_err err;
	void *page;

	err = block_at(s, pos, &page);
	if (err != CSV_OK)
		return err;
	d = page;
	n = csv_le32_get(d->count);
	if (!is_ours(s, page, pos, CSV_MAGIC_JDESC, t->seq) ||
	    csv_le64_get(d->hdr.version) != t->images / CSV_JDESC_ENTRIES || n < 1 || n > CSV_JDESC_ENTRIES ||
	    csv_le32_get(d->more) > 1)
		return CSV_NOENT;
	*more = csv_le32_get(d->more);
	/* Only the last descriptor may be less than full, and all must fit with the commit behind them. */
	if ((*more && n != CSV_JDESC_ENTRIES) || *at + 1 + n + 1 > s->ring)
		return CSV_NOENT;
	*crc = csv_crc32c(*crc, page, CSV_BLOCK_SIZE);
	for (uint32_t i = 0; i < n; i++) {
		err = block_at(s, csv_jring_add(s->ring, t->pos, *at + 1 + i), &page);
		if (err != CSV_OK)
			return err;
		if (csv_crc32c(0, page, CSV_BLOCK_SIZE) != csv_le32_get(d->entry[i].crc))
			return CSV_NOENT;
		*crc = csv_crc32c(*crc, page, CSV_BLOCK_SIZE);
	}
	t->images += n;
	*at += 1 + n;
	return CSV_OK;
}

enum csv_err csv_jscan_txn(struct csv_jscan *s, uint32_t pos, uint64_t seq, struct csv_jscan_txn *t)
{
	const struct csv_disk_jcommit *c;
	uint32_t at = 0, crc = 0;
	bool more = true;
	enum csv_err err;
	void *page;

	*t = (struct csv_jscan_txn){ .seq = seq, .pos = pos };
	while (more) { /* `at` grows in each round and is bounded by the ring */
		if (at + 2 > s->ring)
			return CSV_NOENT;
		err = scan_part(s, t, &at, &crc, &more);
		if (err != CSV_OK)
			return err;
	}
	pos = csv_jring_add(s->ring, t->pos, at);
	err = block_at(s, pos, &page);
	if (err != CSV_OK)
		return err;
	c = page;
	if (!is_ours(s, page, pos, CSV_MAGIC_JCOMMIT, seq) || csv_le32_get(c->blocks) != at ||
	    csv_le32_get(c->crc) != crc)
		return CSV_NOENT;
	t->rec_blocks = at + 1;
	return CSV_OK;
}

void csv_jscan_image(struct csv_jscan *s, const struct csv_jscan_txn *t, uint32_t i, uint64_t *home, void **image)
{
	uint32_t at = csv_jrec_image(i), desc = i / CSV_JDESC_ENTRIES * (CSV_JDESC_ENTRIES + 1);
	const struct csv_disk_jdesc *d;

	CSV_ASSERT(i < t->images);
	d = (const void *)(s->mem + (size_t)csv_jring_add(s->ring, t->pos, desc) * CSV_BLOCK_SIZE);
	*home = csv_le64_get(d->entry[i % CSV_JDESC_ENTRIES].block);
	*image = s->mem + (size_t)csv_jring_add(s->ring, t->pos, at) * CSV_BLOCK_SIZE;
}

enum csv_err csv_jscan_gap(struct csv_jscan *s, uint64_t seq, struct csv_why *why)
{
	uint64_t start = csv_journal_start(s->sb, s->head.slot);
	enum csv_err err;

	err = load(s, 0, s->sb->journal_blocks);
	if (err != CSV_OK)
		return csv_fail(why, err, "", "journal of slot %u cannot be read: %s", s->head.slot, csv_err_text(err));
	for (uint32_t pos = 1; pos <= s->ring; pos++) {
		const struct csv_block_hdr *h = (const void *)(s->mem + (size_t)pos * CSV_BLOCK_SIZE);
		uint64_t found = csv_le64_get(h->seq);

		if (found > seq && is_ours(s, h, pos, CSV_MAGIC_JCOMMIT, found))
			return csv_fail_block(why, CSV_GAP, start + pos,
					      "journal of slot %u: transaction %llu is damaged, but %llu is there",
					      s->head.slot, (unsigned long long)seq, (unsigned long long)found);
	}
	return CSV_OK;
}
