/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making a new, empty volume.
 *
 *   1. the old superblocks are wiped and flushed: from here on there is no volume
 *   2. group headers, group 0 with its first chunk and the root directory, slots,
 *      orphan lists and journal heads are written, then flushed
 *   3. the superblock's copies, the primary last
 *
 * A cut before the end of 3 leaves no volume or, once a copy is there, the whole
 * new one.  Bitmaps are not written: the group headers' counts say all (disk.h).
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/disk/geometry.h"
#include "fs/disk/super.h"
#include "fs/meta/tree.h"

/* Blocks in flight at once: a batch of 1 MiB. */
#define FORMAT_BATCH 256u

struct writer {
	struct csv_bdev *dev;
	uint8_t *pages; /* FORMAT_BATCH blocks */
	uint64_t where[FORMAT_BATCH];
	unsigned n;
	enum csv_err err; /* the first */
};

static void writer_send(struct writer *w)
{
	struct csv_bdev_batch *batch;
	enum csv_err err;

	if (w->err != CSV_OK || w->n == 0)
		return;
	w->err = csv_bdev_batch_begin(w->dev, &batch);
	if (w->err != CSV_OK)
		return;
	for (unsigned i = 0; i < w->n; i++)
		csv_bdev_batch_write(batch, w->where[i] << CSV_BLOCK_SHIFT, w->pages + (size_t)i * CSV_BLOCK_SIZE,
				     CSV_BLOCK_SIZE, 0);
	err = csv_bdev_batch_wait(batch);
	if (w->err == CSV_OK)
		w->err = err;
	w->n = 0;
}

/* A page for block `blkno`, to be filled; zeroed. */
static void *writer_page(struct writer *w, uint64_t blkno)
{
	void *page;

	if (w->n == FORMAT_BATCH)
		writer_send(w);
	if (w->err != CSV_OK)
		w->n = 0;
	page = w->pages + (size_t)w->n * CSV_BLOCK_SIZE;
	w->where[w->n++] = blkno;
	memset(page, 0, CSV_BLOCK_SIZE);
	return page;
}

/* First block, counted from group 0's start, of the chunk that holds the root inode, which is its second block. */
static uint64_t root_chunk(const struct csv_super *sb)
{
	return csv_ag_own(csv_ag_len(sb, 0));
}

static void write_group(struct writer *w, const struct csv_super *sb, uint32_t ag)
{
	uint64_t len = csv_ag_len(sb, ag), start = csv_ag_first(sb, ag), total = 0;
	struct csv_disk_ag *d = writer_page(w, start);
	uint32_t bitmaps = csv_ag_bitmaps(len);

	csv_block_init(d, sb->uuid, CSV_MAGIC_AG, start, ag, 1);
	d->start = csv_le64_of(start);
	d->blocks = csv_le64_of(len);
	d->bitmaps = csv_le32_of(bitmaps);
	for (uint32_t i = 0; i < bitmaps; i++) {
		uint32_t nfree = csv_ag_stretch_max(len, i);

		if (ag == 0 && i == 0)
			nfree -= sb->mchunk_blocks;
		d->free[i] = csv_le16_of((uint16_t)nfree);
		total += nfree;
	}
	d->free_total = csv_le64_of(total);
	if (ag == 0) {
		d->mchunks = csv_le32_of(1);
		d->mchunk[0].start = csv_le32_of((uint32_t)root_chunk(sb));
		d->mchunk[0].free = csv_le16_of((uint16_t)(sb->mchunk_blocks - 2));
	}
	csv_block_seal(d, start);
}

/* Bitmap 0 of group 0, the one that is mixed from the beginning. */
static void write_first_bitmap(struct writer *w, const struct csv_super *sb)
{
	uint64_t blkno = csv_ag_first(sb, 0) + 1, used = root_chunk(sb) + sb->mchunk_blocks;
	uint64_t len = csv_ag_len(sb, 0);
	struct csv_disk_bitmap *d = writer_page(w, blkno);

	csv_block_init(d, sb->uuid, CSV_MAGIC_BITMAP, blkno, 0, 1);
	for (uint64_t i = 0; i < CSV_BITS_PER_BLOCK; i++)
		if (i < used || i >= len)
			d->bits[i / 8] |= (uint8_t)(1u << (i % 8));
	csv_block_seal(d, blkno);
}

static void write_root(struct writer *w, struct csv_env *env, const struct csv_super *sb)
{
	struct csv_disk_inode *d = writer_page(w, sb->root_inode);
	struct csv_disk_time now = { .sec = csv_le64_of(0) };
	uint32_t nsec;
	int64_t sec;

	env->wall(env, &sec, &nsec);
	now.sec = csv_le64_of((uint64_t)sec);
	now.nsec = csv_le32_of(nsec);
	csv_block_init(d, sb->uuid, CSV_MAGIC_INODE, sb->root_inode, sb->root_inode, 1);
	d->gen = csv_le32_of(1);
	d->mode = csv_le32_of(S_IFDIR | 0755);
	d->nlink = csv_le32_of(2);
	d->parent = csv_le64_of(sb->root_inode);
	d->atime = d->mtime = d->ctime = d->btime = now;
	csv_tree_area_init(d->tree, CSV_INODE_TREE_SIZE);
	csv_tree_area_init(d->xtree, CSV_INODE_XTREE_SIZE);
	csv_block_seal(d, sb->root_inode);
}

static void write_root_chunk(struct writer *w, struct csv_env *env, const struct csv_super *sb)
{
	uint64_t start = csv_ag_first(sb, 0) + root_chunk(sb);
	struct csv_disk_mchunk *d = writer_page(w, start);

	csv_block_init(d, sb->uuid, CSV_MAGIC_MCHUNK, start, 0, 1);
	d->used = csv_le64_of(3);
	csv_block_seal(d, start);
	write_root(w, env, sb);
	for (uint32_t i = 2; i < sb->mchunk_blocks; i++) {
		void *page = writer_page(w, start + i);

		csv_block_init(page, sb->uuid, CSV_MAGIC_FREE, start + i, 0, 1);
		csv_block_seal(page, start + i);
	}
}

static void write_slot(struct writer *w, const struct csv_super *sb, uint32_t slot)
{
	uint64_t journal = CSV_JOURNAL_START + (uint64_t)slot * sb->journal_blocks;
	struct csv_disk_orphans *o;
	struct csv_disk_jhead *h;
	struct csv_disk_slot *s;

	s = writer_page(w, CSV_SLOT_BLOCK(slot));
	csv_block_init(s, sb->uuid, CSV_MAGIC_SLOT, CSV_SLOT_BLOCK(slot), 0, 1);
	s->hdr.slot = csv_le16_of((uint16_t)slot);
	s->state = csv_le32_of(CSV_SLOT_CLEAN);
	s->journal_start = csv_le64_of(journal);
	s->journal_blocks = csv_le64_of(sb->journal_blocks);
	s->fenced_by_slot = csv_le32_of(CSV_SLOT_NONE);
	csv_block_seal(s, CSV_SLOT_BLOCK(slot));

	o = writer_page(w, CSV_ORPHAN_BLOCK(slot));
	csv_block_init(o, sb->uuid, CSV_MAGIC_ORPHAN, CSV_ORPHAN_BLOCK(slot), slot, 1);
	csv_block_seal(o, CSV_ORPHAN_BLOCK(slot));

	h = writer_page(w, journal);
	csv_block_init(h, sb->uuid, CSV_MAGIC_JHEAD, journal, 0, 1);
	h->hdr.slot = csv_le16_of((uint16_t)slot);
	h->tail_pos = csv_le64_of(1);
	h->tail_seq = csv_le64_of(1);
	csv_block_seal(h, journal);
}

/* Slot and orphan places that this volume does not use, and all superblocks, are zeroed: nothing old is found there. */
static enum csv_err wipe(struct writer *w, const struct csv_super *sb)
{
	writer_page(w, CSV_SB_BLOCK);
	writer_page(w, CSV_SB_COPY_BLOCK);
	writer_page(w, sb->blocks - 1);
	for (uint32_t slot = sb->slots; slot < CSV_SLOTS_MAX; slot++) {
		writer_page(w, CSV_SLOT_BLOCK(slot));
		writer_page(w, CSV_ORPHAN_BLOCK(slot));
	}
	writer_send(w);
	return w->err == CSV_OK ? csv_bdev_flush(w->dev) : w->err;
}

/* About 64 groups; small volumes get small ones, large ones as many as it takes. */
static uint64_t choose_ag_blocks(uint64_t blocks)
{
	uint64_t n = blocks / 64;

	n = (n + CSV_AG_BLOCKS_MIN - 1) / CSV_AG_BLOCKS_MIN * CSV_AG_BLOCKS_MIN;
	if (n < CSV_AG_BLOCKS_MIN)
		return CSV_AG_BLOCKS_MIN;
	return n > CSV_AG_BLOCKS_MAX ? CSV_AG_BLOCKS_MAX : n;
}

static bool uuid_is_zero(const uint8_t uuid[16])
{
	static const uint8_t zero[16];

	return memcmp(uuid, zero, 16) == 0;
}

static enum csv_err plan_sizes(struct csv_bdev *dev, const struct csv_format *f, struct csv_super *sb,
			       struct csv_why *why)
{
	uint64_t have = dev->geo.size >> CSV_BLOCK_SHIFT, need;

	sb->blocks = f->blocks ? f->blocks : have;
	if (sb->blocks > have)
		return csv_fail(why, CSV_INVAL, "", "size of %llu blocks asked for, the device has %llu",
				(unsigned long long)sb->blocks, (unsigned long long)have);
	if (f->slots < 1 || f->slots > CSV_SLOTS_MAX)
		return csv_fail(why, CSV_INVAL, "choose 1 to 64 slots", "%u slots asked for", f->slots);
	if (f->journal_blocks < CSV_JOURNAL_BLOCKS_MIN || f->journal_blocks > CSV_JOURNAL_BLOCKS_MAX)
		return csv_fail(why, CSV_INVAL, "choose 512K to 1G", "journal of %u blocks asked for",
				f->journal_blocks);
	sb->slots = f->slots;
	sb->journal_blocks = f->journal_blocks;
	sb->ag_start = csv_geo_ag_start(f->slots, f->journal_blocks);
	need = sb->ag_start + CSV_AG_BLOCKS_MIN / 2 + 1;
	if (sb->blocks < CSV_VOLUME_BLOCKS_MIN || sb->blocks < need)
		return csv_fail(why, CSV_INVAL, "use a larger device, fewer slots or smaller journals",
				"device too small: %llu blocks, at least %llu needed", (unsigned long long)sb->blocks,
				(unsigned long long)(need > CSV_VOLUME_BLOCKS_MIN ? need : CSV_VOLUME_BLOCKS_MIN));
	sb->ag_blocks = f->ag_blocks ? f->ag_blocks : choose_ag_blocks(sb->blocks);
	if (sb->ag_blocks < CSV_AG_BLOCKS_MIN || sb->ag_blocks > CSV_AG_BLOCKS_MAX)
		return csv_fail(why, CSV_INVAL, "", "groups of %llu blocks asked for",
				(unsigned long long)sb->ag_blocks);
	if (csv_geo_ag_count(sb->blocks, sb->ag_start, sb->ag_blocks) > CSV_AG_COUNT_MAX)
		return csv_fail(why, CSV_INVAL, "choose larger groups", "more than %u groups", CSV_AG_COUNT_MAX);
	sb->ag_count = (uint32_t)csv_geo_ag_count(sb->blocks, sb->ag_start, sb->ag_blocks);
	sb->mchunk_blocks = sb->ag_blocks < 8192 ? CSV_MCHUNK_BLOCKS_MIN : CSV_MCHUNK_BLOCKS_MAX;
	return CSV_OK;
}

static enum csv_err plan(struct csv_bdev *dev, struct csv_env *env, const struct csv_format *f, struct csv_super *sb,
			 struct csv_why *why)
{
	const char *cluster = f->cluster ? f->cluster : "";
	enum csv_err err;
	uint32_t nsec;
	int64_t sec;

	memset(sb, 0, sizeof(*sb));
	if (!f->name || !f->name[0] || strlen(f->name) > CSV_VOLNAME_MAX)
		return csv_fail(why, CSV_INVAL, "", "a volume's name has 1 to %d bytes", CSV_VOLNAME_MAX);
	if (strlen(cluster) > CSV_CLUSTER_MAX)
		return csv_fail(why, CSV_INVAL, "", "a cluster's name has at most %d bytes", CSV_CLUSTER_MAX);
	memcpy(sb->name, f->name, strlen(f->name));
	memcpy(sb->cluster, cluster, strlen(cluster));
	err = plan_sizes(dev, f, sb, why);
	if (err != CSV_OK)
		return err;
	memcpy(sb->uuid, f->uuid, 16);
	while (uuid_is_zero(sb->uuid)) {
		env->random(env, sb->uuid, 16);
		sb->uuid[6] = (uint8_t)((sb->uuid[6] & 0x0f) | 0x40); /* RFC 4122 4.4: random */
		sb->uuid[8] = (uint8_t)((sb->uuid[8] & 0x3f) | 0x80);
	}
	env->random(env, &sb->hash_seed, sizeof(sb->hash_seed));
	env->wall(env, &sec, &nsec);
	sb->created_sec = (uint64_t)sec;
	sb->root_inode = csv_ag_first(sb, 0) + root_chunk(sb) + 1;
	return CSV_OK;
}

enum csv_err csv_format_write(struct csv_bdev *dev, struct csv_env *env, const struct csv_format *f,
			      struct csv_super *sb, struct csv_why *why)
{
	struct writer w = { .dev = dev };
	enum csv_err err;

	err = plan(dev, env, f, sb, why);
	if (err != CSV_OK)
		return err;
	w.pages = aligned_alloc(CSV_BLOCK_SIZE, (size_t)FORMAT_BATCH * CSV_BLOCK_SIZE);
	if (!w.pages)
		return csv_fail(why, CSV_NOMEM, "", "no memory to format");
	err = wipe(&w, sb);
	if (err != CSV_OK)
		goto out;
	for (uint32_t ag = 0; ag < sb->ag_count; ag++)
		write_group(&w, sb, ag);
	write_first_bitmap(&w, sb);
	write_root_chunk(&w, env, sb);
	for (uint32_t slot = 0; slot < sb->slots; slot++)
		write_slot(&w, sb, slot);
	writer_send(&w);
	err = w.err;
	if (err == CSV_OK)
		err = csv_bdev_flush(dev);
	if (err == CSV_OK)
		err = csv_super_write(dev, sb);
out:
	free(w.pages);
	return err == CSV_OK ? CSV_OK : csv_fail(why, err, "", "device cannot be written: %s", csv_err_text(err));
}
