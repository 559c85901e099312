/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Goes through every block of every metadata chunk: inodes in use, tombstones where nothing is. */
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "fs/disk/geometry.h"
#include "tools/check/check_int.h"

static void remember(struct chk *c, const struct csv_disk_inode *d, uint64_t block)
{
	struct chk_ient *e = chk_inodes_add(&c->inodes, block);

	if (!chk_ok(c, e ? CSV_OK : CSV_NOMEM))
		return;
	if (!d) { /* in use, damaged: may have been anything */
		e->flags = CHK_I_BAD;
		c->hidden_blocks = true;
		c->hidden_names = true;
		return;
	}
	e->gen = csv_le32_get(d->gen);
	e->mode = csv_le32_get(d->mode);
	e->nlink = csv_le32_get(d->nlink);
	if (S_ISDIR(e->mode)) {
		e->flags = CHK_I_DIR;
		e->parent = csv_le64_get(d->parent);
	}
}

static void used_block(struct chk *c, uint64_t block, const void *page)
{
	uint64_t dup;

	if (!chk_verify(c, page, block, 0, 0)) {
		/* Nobody is to be blamed for naming it or for not naming it. */
		chk_ok(c, chk_bits_set(&c->meta, block, 1, &dup));
		remember(c, NULL, block);
		return;
	}
	if (csv_le32_get(chk_hdr(page)->magic) != CSV_MAGIC_INODE)
		return; /* whoever it belongs to will come across it */
	chk_ok(c, chk_bits_set(&c->meta, block, 1, &dup));
	remember(c, page, block);
	chk_inode(c, page);
}

/* A free block keeps a valid header, so that replay can compare versions (J1). */
static void free_block(struct chk *c, uint64_t block, const void *page)
{
	struct csv_why why;

	csv_why_init(&why);
	if (csv_block_verify(page, c->sb.uuid, block, CSV_MAGIC_FREE, &why) != CSV_OK)
		chk_report(c, CSV_CHECK_META_NOT_FREE, block, 0, "free block of a metadata chunk: %s", why.text);
}

static void scan_chunk(struct chk *c, uint64_t start, uint8_t *pages)
{
	if (!chk_read_raw(c, start, c->sb.mchunk_blocks, pages, 0)) {
		c->hidden_blocks = true;
		c->hidden_names = true;
		return;
	}
	for (uint32_t i = 1; i < c->sb.mchunk_blocks && c->err == CSV_OK; i++) {
		const void *page = pages + (size_t)i * CSV_BLOCK_SIZE;

		if (!chk_bits_test(&c->in_use, start + i))
			free_block(c, start + i, page);
		else if (chk_bits_test(&c->in_use, start))
			used_block(c, start + i, page);
	}
}

void chk_scan(struct chk *c)
{
	uint8_t *pages = aligned_alloc(CSV_BLOCK_SIZE, (size_t)c->sb.mchunk_blocks * CSV_BLOCK_SIZE);
	struct csv_disk_ag *ag = chk_page(c);

	chk_ok(c, pages ? CSV_OK : CSV_NOMEM);
	for (uint32_t n = 0; ag && pages && n < c->sb.ag_count && c->err == CSV_OK; n++) {
		uint64_t first = csv_ag_first(&c->sb, n);

		/* Read once more: as it was good before, it still is. */
		if (c->ag_bad[n] || !chk_read(c, first, CSV_MAGIC_AG, n, ag, 0))
			continue;
		for (uint32_t i = 0; i < csv_le32_get(ag->mchunks) && c->err == CSV_OK; i++)
			scan_chunk(c, first + csv_le32_get(ag->mchunk[i].start), pages);
	}
	free(pages);
	free(ag);
}
