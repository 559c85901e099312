/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Group headers and the headers of their metadata chunks: which blocks are metadata, and which of them are in use. */
#include <inttypes.h>
#include <stdlib.h>

#include "fs/disk/geometry.h"
#include "tools/check/check_int.h"

static void note_in_use(struct chk *c, uint64_t start, uint64_t used)
{
	uint64_t dup;

	for (uint32_t i = 0; i < c->sb.mchunk_blocks; i++)
		if ((used >> i) & 1)
			chk_ok(c, chk_bits_set(&c->in_use, start + i, 1, &dup));
}

/* Chunk i of a group; its header is in use by itself. */
static void check_chunk(struct chk *c, const struct csv_disk_ag *ag, uint32_t i, struct csv_disk_mchunk *page)
{
	uint64_t start = csv_le64_get(ag->start) + csv_le32_get(ag->mchunk[i].start), used, dup;
	uint32_t number = (uint32_t)csv_le64_get(ag->hdr.owner), nfree;

	if (!chk_claim_data(c, start, c->sb.mchunk_blocks, 0, "metadata chunk"))
		return;
	if (!chk_ok(c, chk_bits_set(&c->chunk, start, c->sb.mchunk_blocks, &dup)))
		return;
	if (!chk_read(c, start, CSV_MAGIC_MCHUNK, number, page, 0)) {
		/* What is in use here is not known: all of it may be. */
		note_in_use(c, start, UINT64_MAX);
		c->hidden_blocks = true;
		return;
	}
	used = csv_le64_get(page->used);
	note_in_use(c, start, used);
	chk_ok(c, chk_bits_set(&c->meta, start, 1, &dup));
	nfree = c->sb.mchunk_blocks - (uint32_t)__builtin_popcountll(used);
	if (nfree != csv_le16_get(ag->mchunk[i].free))
		chk_report(c, CSV_CHECK_AG_CHUNK_FREE, start, 0, "group says %u free blocks, the chunk itself %u",
			   csv_le16_get(ag->mchunk[i].free), nfree);
}

static void check_group(struct chk *c, uint32_t number, struct csv_disk_ag *ag, void *page)
{
	uint64_t first = csv_ag_first(&c->sb, number);

	chk_claim_data(c, first, csv_ag_own(csv_ag_len(&c->sb, number)), 0, "group's own part");
	if (!chk_read(c, first, CSV_MAGIC_AG, number, ag, 0)) {
		c->ag_bad[number] = 1;
		c->hidden_blocks = true;
		c->hidden_names = true;
		return;
	}
	for (uint32_t i = 0; i < csv_le32_get(ag->mchunks) && c->err == CSV_OK; i++)
		check_chunk(c, ag, i, page);
}

void chk_groups(struct chk *c)
{
	void *ag = chk_page(c), *page = chk_page(c);

	for (uint32_t i = 0; ag && page && i < c->sb.ag_count && c->err == CSV_OK; i++)
		check_group(c, i, ag, page);
	free(ag);
	free(page);
}
