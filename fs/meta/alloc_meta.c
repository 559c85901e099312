/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Metadata blocks and the chunks that they come from (J1).
 *
 * Before a transaction can turn a run of data blocks into a chunk, each of its
 * blocks gets a valid header of this volume at home, flushed.  So replay finds a
 * version to compare with at the home of every metadata block, and nothing that a
 * guest wrote there while it was data.  This one write is waited for with fs->meta
 * held; it happens once per mchunk_blocks metadata blocks.
 */
#include <stdlib.h>

#include "fs/disk/buf_priv.h"
#include "fs/disk/super.h"
#include "fs/meta/alloc_priv.h"

/* How often the write is repeated whose flush did not count (J4). */
#define CHUNK_TRIES 8u

/*
 * A version above what is there: a chunk that was given back while the volume was not mounted may be one again.  What
 * is there may also be data that looks like a header: a version that no volume reaches is not believed.
 */
static uint64_t next_version(struct csv_fs *fs, const void *page, uint64_t blkno)
{
	uint64_t version;

	if (csv_block_verify(page, fs->sb.uuid, blkno, 0, NULL) != CSV_OK)
		return 1;
	version = csv_le64_get(((const struct csv_block_hdr *)page)->version);
	return version < UINT64_MAX / 4 ? version + 1 : 1;
}

static void build_free(struct csv_fs *fs, void *page, uint64_t blkno, uint32_t ag)
{
	struct csv_block_hdr *h = page;

	csv_block_init(page, fs->sb.uuid, CSV_MAGIC_FREE, blkno, ag, next_version(fs, page, blkno));
	h->slot = csv_le16_of((uint16_t)fs->slot);
	h->incarnation = csv_le32_of(fs->incarnation);
	csv_block_seal(page, blkno);
}

/* Writes the headers home; durable when it returns. */
static enum csv_err lay_out(struct csv_fs *fs, uint32_t ag, uint64_t start)
{
	size_t size = (size_t)fs->sb.mchunk_blocks * CSV_BLOCK_SIZE;
	uint8_t *pages = aligned_alloc(CSV_BLOCK_SIZE, size);
	unsigned tries = 0;
	uint64_t generation;
	enum csv_err err;

	if (!pages)
		return CSV_NOMEM;
	err = csv_bdev_read(fs->dev, start << CSV_BLOCK_SHIFT, pages, size);
	for (uint32_t i = 0; err == CSV_OK && i < fs->sb.mchunk_blocks; i++)
		build_free(fs, pages + (size_t)i * CSV_BLOCK_SIZE, start + i, ag);
	do {
		generation = csv_bdev_generation(fs->dev);
		if (err == CSV_OK)
			err = csv_bdev_write(fs->dev, start << CSV_BLOCK_SHIFT, pages, size, 0);
		if (err == CSV_OK)
			err = csv_bdev_flush(fs->dev);
	} while (err == CSV_OK && generation != csv_bdev_generation(fs->dev) && ++tries < CHUNK_TRIES);
	if (tries == CHUNK_TRIES)
		err = CSV_IO;
	free(pages);
	/* An attempt that was undone may have left buffers of the older versions. */
	csv_cache_forget(fs, start, fs->sb.mchunk_blocks);
	return err;
}

static enum csv_err get_block(struct csv_group *g, uint64_t off, uint32_t magic, struct csv_buf **buf)
{
	return csv_buf_get(g->fs, g->first + off, magic, g->ag, csv_ag_res(g->ag), buf);
}

/* Adds a chunk to the group. NOSPC: no run of blocks is long enough, or the header has no place left. */
static enum csv_err add_chunk(struct csv_txn *txn, struct csv_group *g)
{
	uint32_t n = csv_le32_get(g->d->mchunks), size = g->fs->sb.mchunk_blocks;
	struct csv_disk_mchunk *d;
	struct csv_buf *buf;
	struct csv_run run;
	enum csv_err err;

	if (n == CSV_AG_MCHUNKS_MAX || csv_le64_get(g->d->free_total) < size)
		return CSV_NOSPC;
	err = csv_group_search(g, 0, size, &run);
	if (err != CSV_OK)
		return err;
	if (run.len < size)
		return CSV_NOSPC;
	err = lay_out(g->fs, g->ag, g->first + run.off);
	if (err != CSV_OK)
		return err;
	err = csv_group_take(txn, g, run.off, size);
	if (err != CSV_OK)
		return err;
	err = get_block(g, run.off, CSV_MAGIC_FREE, &buf);
	if (err != CSV_OK)
		return err;
	err = csv_txn_dirty(txn, buf);
	if (err == CSV_OK) {
		csv_buf_become(g->fs, buf, CSV_MAGIC_MCHUNK, g->ag, csv_ag_res(g->ag));
		d = buf->data;
		d->used = csv_le64_of(1);
		g->d->mchunk[n].start = csv_le32_of((uint32_t)run.off);
		g->d->mchunk[n].free = csv_le16_of((uint16_t)(size - 1));
		g->d->mchunks = csv_le32_of(n + 1);
	}
	csv_buf_put(g->fs, buf);
	return err;
}

/* Chunk of the group with a free block, or UINT32_MAX. */
static uint32_t chunk_with_room(const struct csv_group *g)
{
	uint32_t n = csv_le32_get(g->d->mchunks);

	for (uint32_t i = 0; i < n; i++)
		if (csv_le16_get(g->d->mchunk[i].free))
			return i;
	return UINT32_MAX;
}

/* Marks a free block of chunk i as used: *off. */
static enum csv_err chunk_take(struct csv_txn *txn, struct csv_group *g, uint32_t i, uint64_t *off)
{
	uint64_t start = csv_le32_get(g->d->mchunk[i].start), used;
	struct csv_disk_mchunk *d;
	struct csv_buf *buf;
	enum csv_err err;
	unsigned bit;

	err = get_block(g, start, CSV_MAGIC_MCHUNK, &buf);
	if (err != CSV_OK)
		return err;
	d = buf->data;
	used = csv_le64_get(d->used);
	bit = ~used ? (unsigned)__builtin_ctzll(~used) : 64;
	if (bit >= g->fs->sb.mchunk_blocks)
		err = CSV_DAMAGED; /* the group header says that there is room */
	if (err == CSV_OK)
		err = csv_txn_dirty(txn, g->buf);
	if (err == CSV_OK)
		err = csv_txn_dirty(txn, buf);
	if (err == CSV_OK) {
		d->used = csv_le64_of(used | 1ull << bit);
		g->d->mchunk[i].free = csv_le16_of((uint16_t)(csv_le16_get(g->d->mchunk[i].free) - 1));
		*off = start + bit;
	}
	csv_buf_put(g->fs, buf);
	return err;
}

/* One metadata block of this group. NOSPC: no chunk has room, and none was to be added (grow false) or could be. */
static enum csv_err group_alloc_meta(struct csv_txn *txn, struct csv_group *g, bool grow, struct csv_buf **buf)
{
	uint32_t i = chunk_with_room(g);
	enum csv_err err;
	uint64_t off;

	if (i == UINT32_MAX) {
		if (!grow)
			return CSV_NOSPC;
		err = add_chunk(txn, g);
		if (err != CSV_OK)
			return err;
		i = chunk_with_room(g);
	}
	csv_fs_assert_lock(g->fs, csv_ag_res(g->ag), CSV_EX);
	err = chunk_take(txn, g, i, &off);
	if (err != CSV_OK)
		return err;
	err = get_block(g, off, CSV_MAGIC_FREE, buf);
	if (err != CSV_OK)
		return err;
	err = csv_txn_dirty(txn, *buf);
	if (err != CSV_OK) {
		csv_buf_put(g->fs, *buf);
		*buf = NULL;
	}
	return err;
}

/* The goal's group first, then the set in its order; NOSPC if no group has one. */
static enum csv_err set_alloc_meta(struct csv_txn *txn, const struct csv_agset *ags, uint64_t goal, bool grow,
				   struct csv_buf **buf)
{
	struct csv_fs *fs = csv_txn_fs(txn);
	uint32_t goal_ag = goal && csv_geo_in_group(&fs->sb, goal, 1) ? csv_fs_ag_of(fs, goal) : UINT32_MAX;
	enum csv_err err = CSV_NOSPC;
	struct csv_group g;

	for (unsigned k = 0; k <= ags->n && err == CSV_NOSPC; k++) {
		uint32_t ag = k == 0 ? goal_ag : ags->ag[k - 1];

		if (k == 0 ? !csv_agset_has(ags, goal_ag) : ag == goal_ag)
			continue;
		err = csv_group_get(fs, ag, &g);
		if (err == CSV_OK)
			err = group_alloc_meta(txn, &g, grow, buf);
		csv_group_put(&g);
	}
	return err;
}

enum csv_err csv_alloc_meta(struct csv_txn *txn, const struct csv_agset *ags, uint64_t goal, uint32_t magic,
			    uint64_t owner, struct csv_res res, struct csv_buf **buf)
{
	enum csv_err err;

	*buf = NULL;
	err = set_alloc_meta(txn, ags, goal, false, buf);
	if (err == CSV_NOSPC)
		err = set_alloc_meta(txn, ags, goal, true, buf);
	if (err == CSV_OK)
		csv_buf_become(csv_txn_fs(txn), *buf, magic, owner, res);
	return err;
}

/* The chunk of the group that holds `off`; UINT32_MAX: none. */
static uint32_t chunk_of(const struct csv_group *g, uint64_t off)
{
	uint32_t n = csv_le32_get(g->d->mchunks);

	for (uint32_t i = 0; i < n; i++) {
		uint64_t start = csv_le32_get(g->d->mchunk[i].start);

		if (off > start && off < start + g->fs->sb.mchunk_blocks)
			return i;
	}
	return UINT32_MAX;
}

/* Clears the block's bit in its chunk. */
static enum csv_err chunk_give(struct csv_txn *txn, struct csv_group *g, uint64_t off)
{
	uint32_t i = chunk_of(g, off);
	struct csv_disk_mchunk *d;
	struct csv_buf *buf;
	enum csv_err err;
	uint64_t bit;

	if (i == UINT32_MAX)
		return CSV_DAMAGED;
	err = get_block(g, csv_le32_get(g->d->mchunk[i].start), CSV_MAGIC_MCHUNK, &buf);
	if (err != CSV_OK)
		return err;
	d = buf->data;
	bit = 1ull << (off - csv_le32_get(g->d->mchunk[i].start));
	if (!(csv_le64_get(d->used) & bit))
		err = CSV_DAMAGED; /* freed twice */
	if (err == CSV_OK)
		err = csv_txn_dirty(txn, g->buf);
	if (err == CSV_OK)
		err = csv_txn_dirty(txn, buf);
	if (err == CSV_OK) {
		d->used = csv_le64_of(csv_le64_get(d->used) & ~bit);
		g->d->mchunk[i].free = csv_le16_of((uint16_t)(csv_le16_get(g->d->mchunk[i].free) + 1));
	}
	csv_buf_put(g->fs, buf);
	return err;
}

enum csv_err csv_free_meta(struct csv_txn *txn, struct csv_buf *buf)
{
	struct csv_fs *fs = csv_txn_fs(txn);
	struct csv_group g = { 0 };
	enum csv_err err = CSV_DAMAGED;

	if (csv_geo_in_group(&fs->sb, buf->block, 1))
		err = csv_group_get(fs, csv_fs_ag_of(fs, buf->block), &g);
	if (err == CSV_OK)
		err = chunk_give(txn, &g, buf->block - g.first);
	if (err == CSV_OK)
		err = csv_txn_dirty(txn, buf);
	if (err == CSV_OK)
		csv_buf_become(fs, buf, CSV_MAGIC_FREE, g.ag, csv_ag_res(g.ag));
	csv_group_put(&g);
	csv_buf_put(fs, buf);
	return err;
}
