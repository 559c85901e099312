/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bitmaps and chunks against everything that was found to be in use. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fs/disk/geometry.h"
#include "tools/check/check_int.h"

/* One stretch of a group: what lies under one of its bitmap blocks. */
struct stretch {
	uint64_t first; /* block */
	uint32_t len;
	const uint8_t *disk;  /* 1: allocated */
	const uint8_t *found; /* 1: in use */
};

/* Tells of a run of blocks that differ in the same way. */
static void tell_run(struct chk *c, const struct stretch *s, uint32_t from, uint32_t to, bool lost)
{
	uint64_t a = s->first + from, b = s->first + to - 1;

	if (!lost)
		chk_report(c, CSV_CHECK_WRONGLY_FREE, a, 0, "blocks %" PRIu64 " to %" PRIu64 " are in use, but free", a,
			   b);
	else if (!c->hidden_blocks)
		chk_report(c, CSV_CHECK_LOST, a, 0, "blocks %" PRIu64 " to %" PRIu64 " are allocated, but nobody's", a,
			   b);
}

/* -1: in use but free, 1: lost, 0: right. */
static int state_of(const struct stretch *s, uint32_t i)
{
	return (int)chk_bit(s->disk, i) - (int)chk_bit(s->found, i);
}

static void compare(struct chk *c, const struct stretch *s)
{
	uint32_t i = 0, from;

	if (memcmp(s->disk, s->found, s->len / 8) == 0)
		i = s->len / 8 * 8;
	while (i < s->len) {
		int state = state_of(s, i);

		from = i++;
		if (!state)
			continue;
		while (i < s->len && state_of(s, i) == state)
			i++;
		tell_run(c, s, from, i, state > 0);
	}
}

static uint32_t count_free(const uint8_t *bits, uint32_t len)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < len;) {
		if (i % 8 == 0 && len - i >= 8) {
			n += 8 - (uint32_t)__builtin_popcount(bits[i / 8]);
			i += 8;
		} else {
			n += !chk_bit(bits, i);
			i++;
		}
	}
	return n;
}

static void check_tail(struct chk *c, const struct csv_disk_bitmap *b, uint32_t len, uint64_t block)
{
	for (uint32_t i = len; i < CSV_BITS_PER_BLOCK; i++) {
		if (!chk_bit(b->bits, i)) {
			chk_report(c, CSV_CHECK_BITMAP_TAIL, block, 0, "bit %u beyond the group's end is clear", i);
			return;
		}
	}
}

/*
 * Fills *bits with what bitmap block i of the group says.  With nothing or everything free the block itself does not
 * count (disk.h).
 */
static bool bits_of(struct chk *c, const struct csv_disk_ag *ag, uint32_t i, uint32_t len, struct csv_disk_bitmap *page)
{
	uint32_t number = (uint32_t)csv_le64_get(ag->hdr.owner), nfree = csv_le16_get(ag->free[i]), found;
	uint64_t group_len = csv_le64_get(ag->blocks), block = csv_le64_get(ag->start) + 1 + i;

	if (nfree == 0) {
		memset(page->bits, 0xff, sizeof(page->bits));
		return true;
	}
	if (nfree == csv_ag_stretch_max(group_len, i)) {
		memset(page->bits, 0, sizeof(page->bits));
		for (uint32_t b = 0; i == 0 && b < csv_ag_own(group_len); b++)
			page->bits[b / 8] |= (uint8_t)(1u << (b % 8));
		return true;
	}
	if (!chk_read(c, block, CSV_MAGIC_BITMAP, number, page, 0))
		return false;
	check_tail(c, page, len, block);
	found = count_free(page->bits, len);
	if (found != nfree)
		chk_report(c, CSV_CHECK_AG_FREE, block, 0, "group %u says %u free blocks, the bitmap %u", number, nfree,
			   found);
	return true;
}

static void check_group(struct chk *c, uint32_t number, struct csv_disk_ag *ag, struct csv_disk_bitmap *page)
{
	uint64_t first = csv_ag_first(&c->sb, number), len = csv_ag_len(&c->sb, number);

	if (!chk_read(c, first, CSV_MAGIC_AG, number, ag, 0))
		return;
	for (uint32_t i = 0; i < csv_ag_bitmaps(len) && c->err == CSV_OK; i++) {
		uint64_t base = (uint64_t)i * CSV_BITS_PER_BLOCK;
		struct stretch s = { .first = first + base, .disk = page->bits };

		s.len = len - base < CSV_BITS_PER_BLOCK ? (uint32_t)(len - base) : CSV_BITS_PER_BLOCK;
		s.found = chk_bits_leaf(&c->used, number, i);
		c->sum->blocks_used += s.len - count_free(s.found, s.len);
		if (bits_of(c, ag, i, s.len, page))
			compare(c, &s);
	}
}

/* Metadata blocks in use that nothing refers to. */
static void check_meta(struct chk *c, uint32_t number)
{
	uint64_t first = csv_ag_first(&c->sb, number), len = csv_ag_len(&c->sb, number);

	for (uint32_t i = 0; i < csv_ag_bitmaps(len); i++) {
		const uint8_t *in_use = chk_bits_leaf(&c->in_use, number, i),
			      *meta = chk_bits_leaf(&c->meta, number, i);

		if (memcmp(in_use, meta, CHK_LEAF_BYTES) == 0)
			continue;
		for (uint32_t b = 0; b < CSV_BITS_PER_BLOCK; b++) {
			uint64_t block = first + (uint64_t)i * CSV_BITS_PER_BLOCK + b;

			if (chk_bit(in_use, b) && !chk_bit(meta, b) && !c->hidden_blocks)
				chk_report(c, CSV_CHECK_META_LOST, block, 0, "metadata block is in use, but nobody's");
		}
	}
}

void chk_space(struct chk *c)
{
	struct csv_disk_ag *ag = chk_page(c);
	struct csv_disk_bitmap *page = chk_page(c);

	for (uint32_t n = 0; ag && page && n < c->sb.ag_count && c->err == CSV_OK; n++) {
		if (c->ag_bad[n])
			continue;
		check_group(c, n, ag, page);
		check_meta(c, n);
	}
	free(ag);
	free(page);
	if (c->hidden_blocks || c->hidden_names)
		chk_note(c, CSV_CHECK_INCOMPLETE, CHK_NO_BLOCK, 0,
			 "what the damage above hides was not looked at: %s%s%s", c->hidden_blocks ? "lost blocks" : "",
			 c->hidden_blocks && c->hidden_names ? ", " : "", c->hidden_names ? "lost names" : "");
}
