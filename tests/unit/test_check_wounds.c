/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csv_check_run(): a volume with a single thing wrong gives the finding that names it. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "findings.h"
#include "fs/data/map.h"
#include "fs/disk/geometry.h"
#include "fs/disk/super.h"
#include "fs/meta/dir.h"
#include "fs/meta/lease.h"
#include "lib/env.h"
#include "tools/check/overlay.h"
#include "vol.h"

#define BLOCK CSV_BLOCK_SIZE

/* ---- a volume with one of everything --------------------------------------------------- */

struct stage {
	struct vol v;
	struct csv_bdev *dev;
	struct csv_super sb;
	struct csv_iref file, other, image, dir, sub, link, orphan;
	uint64_t lease;
};

static struct csv_iref make(struct vol *v, struct csv_iref dir, const char *name, uint32_t mode, const char *target)
{
	const struct csv_new what = { .mode = mode, .target = target };
	struct csv_attr a;

	VOL_OK(v, csv_create(&v->ctx, dir, name, &what, &a, NULL));
	return a.ref;
}

/* Extents with gaps, so that the map has more than a few records. */
static void map_some(struct vol *v, struct csv_iref ref, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		VOL_OK(v, csv_fallocate(&v->ctx, ref, 0, (uint64_t)i * 4 * BLOCK, 2 * BLOCK, NULL));
}

static void fill_stage(struct stage *s)
{
	struct vol *v = &s->v;
	struct csv_iref root = vol_root(v);
	char name[64];
	uint32_t nlink;
	struct csv_attr a;

	s->file = make(v, root, "file", S_IFREG | 0644, NULL);
	map_some(v, s->file, 300); /* more than the root of the tree holds */
	s->other = make(v, root, "other", S_IFREG | 0644, NULL);
	map_some(v, s->other, 3);
	s->image = make(v, root, "disk.vhdx", S_IFREG | 0600, NULL);
	s->dir = make(v, root, "dir", S_IFDIR | 0755, NULL);
	s->sub = make(v, s->dir, "sub", S_IFDIR | 0755, NULL);
	s->link = make(v, s->dir, "link", S_IFLNK | 0777, "../file");
	for (unsigned i = 0; i < 120; i++) {
		snprintf(name, sizeof(name), "one of many names %u", i);
		make(v, s->dir, name, S_IFREG | 0644, NULL);
	}
	/* Leaves a free metadata block behind. */
	s->orphan = make(v, root, "short-lived", S_IFREG | 0644, NULL);
	VOL_OK(v, csv_unlink(&v->ctx, root, "short-lived", s->orphan, &nlink, NULL));
	VOL_OK(v, csv_inode_destroy(&v->ctx, s->orphan));
	s->orphan = make(v, s->sub, "gone", S_IFREG | 0644, NULL);
	VOL_OK(v, csv_unlink(&v->ctx, s->sub, "gone", s->orphan, &nlink, NULL));
	VOL_OK(v, csv_getattr(&v->ctx, s->image, &a));
	s->lease = a.lease;
}

/* vol.c closes the core without a word to the slot, which is clean from the format on: so it stays. */
static void stage_make(struct stage *s)
{
	memset(s, 0, sizeof(*s));
	vol_make(&s->v, (struct vol_shape){ .blocks = 4096, .ag_blocks = 1024, .journal_blocks = 128 });
	fill_stage(s);
	s->dev = s->v.dev;
	s->sb = s->v.fs.sb;
	assert_int_equal(csv_fs_close(&s->v.fs), CSV_OK);
}

static void stage_free(struct stage *s)
{
	csv_bdev_close(s->dev);
}

static void get(struct csv_bdev *dev, uint64_t block, void *page)
{
	assert_int_equal(csv_bdev_read(dev, block << CSV_BLOCK_SHIFT, page, BLOCK), CSV_OK);
}

static void put(struct csv_bdev *dev, uint64_t block, void *page)
{
	csv_block_seal(page, block);
	assert_int_equal(csv_bdev_write(dev, block << CSV_BLOCK_SHIFT, page, BLOCK, 0), CSV_OK);
}

/* ---- what can be wrong ------------------------------------------------------------------- */

/* All work on an overlay of the stage. */
struct wound {
	enum csv_check_code code;
	void (*inflict)(struct stage *s, struct csv_bdev *dev);
	bool alone; /* no other finding may come of it */
};

static uint8_t page[BLOCK] __attribute__((aligned(4096)));
static uint8_t page2[BLOCK] __attribute__((aligned(4096)));

static void set64(uint8_t *p, uint64_t value)
{
	csv_le64 v = csv_le64_of(value);

	memcpy(p, &v, sizeof(v));
}

static void set32(uint8_t *p, uint32_t value)
{
	csv_le32 v = csv_le32_of(value);

	memcpy(p, &v, sizeof(v));
}

static struct csv_disk_inode *inode(struct csv_bdev *dev, struct csv_iref ref)
{
	get(dev, ref.ino, page);
	return (void *)page;
}

static uint64_t group_of(struct stage *s, uint64_t block)
{
	return csv_ag_first(&s->sb, (uint32_t)((block - s->sb.ag_start) / s->sb.ag_blocks));
}

/* The chunk with `block` in it. */
static uint64_t chunk_of(struct stage *s, struct csv_bdev *dev, uint64_t block)
{
	uint64_t first = group_of(s, block);
	struct csv_disk_ag *ag = (void *)page2;

	get(dev, first, ag);
	for (uint32_t i = 0; i < csv_le32_get(ag->mchunks); i++) {
		uint64_t start = first + csv_le32_get(ag->mchunk[i].start);

		if (block >= start && block < start + s->sb.mchunk_blocks)
			return start;
	}
	fail_msg("block %llu is in no chunk", (unsigned long long)block);
	return 0;
}

/* Area of the first leaf under a root that has levels; leaves the leaf in `page`. */
static uint64_t first_leaf(struct csv_bdev *dev, struct csv_iref ref)
{
	struct csv_disk_inode *d = inode(dev, ref);
	const struct csv_disk_tree_head *h = (const void *)d->tree;
	const struct csv_disk_tree_slot *slot = (const void *)(h + 1);
	csv_le64 child;

	assert_int_equal(csv_le16_get(h->level), 1);
	memcpy(&child, d->tree + csv_le16_get(slot->off), sizeof(child));
	get(dev, csv_le64_get(child), page);
	return csv_le64_get(child);
}

static struct csv_disk_tree_head *leaf_head(void)
{
	return (void *)(page + sizeof(struct csv_block_hdr));
}

static struct csv_disk_tree_slot *leaf_slot(unsigned i)
{
	return (struct csv_disk_tree_slot *)(void *)(leaf_head() + 1) + i;
}

/* Record i of a root that is a leaf; records lie at any address. */
static uint8_t *root_value(struct csv_disk_inode *d, unsigned i, struct csv_disk_tree_slot **slot)
{
	*slot = (struct csv_disk_tree_slot *)(void *)(d->tree + sizeof(struct csv_disk_tree_head)) + i;
	return d->tree + csv_le16_get((*slot)->off);
}

static void super_primary(struct stage *s, struct csv_bdev *dev)
{
	memset(page, 0x55, BLOCK);
	assert_int_equal(csv_bdev_write(dev, 0, page, BLOCK, 0), CSV_OK);
}

static void super_copy(struct stage *s, struct csv_bdev *dev)
{
	get(dev, CSV_SB_COPY_BLOCK, page);
	((struct csv_disk_super *)(void *)page)->name[0] ^= 1;
	put(dev, CSV_SB_COPY_BLOCK, page);
}

static void slot_bad(struct stage *s, struct csv_bdev *dev)
{
	get(dev, CSV_SLOT_BLOCK(1), page);
	page[100] ^= 1;
	assert_int_equal(csv_bdev_write(dev, CSV_SLOT_BLOCK(1) << CSV_BLOCK_SHIFT, page, BLOCK, 0), CSV_OK);
}

static void journal_bad(struct stage *s, struct csv_bdev *dev)
{
	get(dev, CSV_JOURNAL_START, page);
	((struct csv_disk_jhead *)(void *)page)->tail_pos = csv_le64_of(5000);
	put(dev, CSV_JOURNAL_START, page);
}

static void inode_checksum(struct stage *s, struct csv_bdev *dev)
{
	get(dev, s->other.ino, page);
	page[300] ^= 0x80;
	assert_int_equal(csv_bdev_write(dev, s->other.ino << CSV_BLOCK_SHIFT, page, BLOCK, 0), CSV_OK);
}

static void inode_mode(struct stage *s, struct csv_bdev *dev)
{
	inode(dev, s->other)->mode = csv_le32_of(0170000 | 0644);
	put(dev, s->other.ino, page);
}

static void inode_place(struct stage *s, struct csv_bdev *dev)
{
	get(dev, s->other.ino, page);
	csv_block_seal(page, s->other.ino + 1);
	assert_int_equal(csv_bdev_write(dev, s->other.ino << CSV_BLOCK_SHIFT, page, BLOCK, 0), CSV_OK);
}

static void inode_blocks(struct stage *s, struct csv_bdev *dev)
{
	inode(dev, s->other)->blocks = csv_le64_of(77);
	put(dev, s->other.ino, page);
}

static void inode_nlink(struct stage *s, struct csv_bdev *dev)
{
	inode(dev, s->other)->nlink = csv_le32_of(2);
	put(dev, s->other.ino, page);
}

static void dir_nlink(struct stage *s, struct csv_bdev *dev)
{
	inode(dev, s->dir)->nlink = csv_le32_of(2);
	put(dev, s->dir.ino, page);
}

static void dir_size(struct stage *s, struct csv_bdev *dev)
{
	inode(dev, s->sub)->size = csv_le64_of(1);
	put(dev, s->sub.ino, page);
}

static void dir_parent(struct stage *s, struct csv_bdev *dev)
{
	inode(dev, s->sub)->parent = csv_le64_of(s->sb.root_inode);
	put(dev, s->sub.ino, page);
}

static void flags(struct stage *s, struct csv_bdev *dev)
{
	inode(dev, s->dir)->flags = csv_le32_of(CSV_INODE_SHARED);
	put(dev, s->dir.ino, page);
}

static void symlink_short(struct stage *s, struct csv_bdev *dev)
{
	inode(dev, s->link)->size = csv_le64_of(3);
	put(dev, s->link.ino, page);
}

static void extent_far(struct stage *s, struct csv_bdev *dev)
{
	struct csv_disk_tree_slot *slot;
	uint8_t *e = root_value(inode(dev, s->other), 0, &slot);

	set64(e + offsetof(struct csv_disk_extent, phys), s->sb.blocks);
	put(dev, s->other.ino, page);
}

static void extent_overlap(struct stage *s, struct csv_bdev *dev)
{
	struct csv_disk_tree_slot *slot;

	root_value(inode(dev, s->other), 1, &slot);
	slot->key = csv_le64_of(1); /* was 4; the first is 0 and 1 */
	put(dev, s->other.ino, page);
}

static void extent_beyond(struct stage *s, struct csv_bdev *dev)
{
	struct csv_disk_tree_slot *slot;
	struct csv_disk_inode *d = inode(dev, s->other);
	uint8_t *e = root_value(d, 2, &slot);

	set32(e + offsetof(struct csv_disk_extent, flags), 0);
	d->size = csv_le64_of(BLOCK);
	put(dev, s->other.ino, page);
}

static void crosslink(struct stage *s, struct csv_bdev *dev)
{
	struct csv_disk_tree_slot *slot;
	uint8_t *e = root_value(inode(dev, s->other), 0, &slot), *f;
	const size_t phys = offsetof(struct csv_disk_extent, phys);

	f = root_value((void *)page, 1, &slot);
	memcpy(f + phys, e + phys, sizeof(csv_le64));
	put(dev, s->other.ino, page);
}

static void tree_order(struct stage *s, struct csv_bdev *dev)
{
	uint64_t block = first_leaf(dev, s->file);

	leaf_slot(1)->key = csv_le64_of(csv_le64_get(leaf_slot(2)->key) + 1);
	put(dev, block, page);
}

static void tree_level(struct stage *s, struct csv_bdev *dev)
{
	uint64_t block = first_leaf(dev, s->file);
	struct csv_block_hdr *h = (void *)page;
	csv_le64 child;

	/* One level too high, all its values of the size of a block number. */
	h->level = csv_le16_of(1);
	leaf_head()->level = csv_le16_of(1);
	leaf_head()->count = csv_le16_of(1);
	leaf_slot(0)->len = csv_le16_of(8);
	leaf_head()->free_end = csv_le16_of((uint16_t)(CSV_TREE_NODE_AREA - 8));
	leaf_head()->garbage = csv_le16_of(0);
	leaf_slot(0)->off = csv_le16_of((uint16_t)(CSV_TREE_NODE_AREA - 8));
	child = csv_le64_of(s->file.ino);
	memcpy(page + BLOCK - 8, &child, 8);
	put(dev, block, page);
}

static void tree_bounds(struct stage *s, struct csv_bdev *dev)
{
	uint64_t block = first_leaf(dev, s->file);
	unsigned last = csv_le16_get(leaf_head()->count) - 1u;

	leaf_slot(last)->key = csv_le64_of(1ull << 40);
	put(dev, block, page);
}

static void tree_owner(struct stage *s, struct csv_bdev *dev)
{
	uint64_t block = first_leaf(dev, s->file);

	((struct csv_block_hdr *)(void *)page)->owner = csv_le64_of(s->other.ino);
	put(dev, block, page);
}

/* First bitmap of the group of `file` that is in use; leaves it in page. */
static uint64_t mixed_bitmap(struct stage *s, struct csv_bdev *dev)
{
	uint64_t first = group_of(s, s->file.ino);

	get(dev, first + 1, page);
	return first + 1;
}

static void lost(struct stage *s, struct csv_bdev *dev)
{
	uint64_t block = mixed_bitmap(s, dev), first = block - 1;
	struct csv_disk_bitmap *b = (void *)page;
	struct csv_disk_ag *ag = (void *)page2;
	unsigned i = 1000;

	while (b->bits[i / 8] >> (i % 8) & 1)
		i--;
	b->bits[i / 8] |= (uint8_t)(1u << (i % 8));
	put(dev, block, page);
	get(dev, first, page2);
	ag->free[0] = csv_le16_of((uint16_t)(csv_le16_get(ag->free[0]) - 1));
	ag->free_total = csv_le64_of(csv_le64_get(ag->free_total) - 1);
	put(dev, first, page2);
}

static void wrongly_free(struct stage *s, struct csv_bdev *dev)
{
	uint64_t block = mixed_bitmap(s, dev), first = block - 1;
	struct csv_disk_bitmap *b = (void *)page;
	struct csv_disk_ag *ag = (void *)page2;
	unsigned i = (unsigned)(s->file.ino - first);

	b->bits[i / 8] &= (uint8_t) ~(1u << (i % 8));
	put(dev, block, page);
	get(dev, first, page2);
	ag->free[0] = csv_le16_of((uint16_t)(csv_le16_get(ag->free[0]) + 1));
	ag->free_total = csv_le64_of(csv_le64_get(ag->free_total) + 1);
	put(dev, first, page2);
}

static void free_count(struct stage *s, struct csv_bdev *dev)
{
	uint64_t first = group_of(s, s->file.ino);
	struct csv_disk_ag *ag = (void *)page2;

	get(dev, first, page2);
	ag->free[0] = csv_le16_of((uint16_t)(csv_le16_get(ag->free[0]) - 1));
	ag->free_total = csv_le64_of(csv_le64_get(ag->free_total) - 1);
	put(dev, first, page2);
}

static void bitmap_tail(struct stage *s, struct csv_bdev *dev)
{
	uint64_t block = mixed_bitmap(s, dev);

	((struct csv_disk_bitmap *)(void *)page)->bits[CSV_BITS_PER_BLOCK / 8 - 1] = 0;
	put(dev, block, page);
}

static void meta_free(struct stage *s, struct csv_bdev *dev)
{
	uint64_t chunk = chunk_of(s, dev, s->lease), first = group_of(s, s->lease);
	struct csv_disk_mchunk *m = (void *)page;
	struct csv_disk_ag *ag = (void *)page2;

	get(dev, chunk, page);
	m->used = csv_le64_of(csv_le64_get(m->used) & ~(1ull << (s->lease - chunk)));
	put(dev, chunk, page);
	get(dev, first, page2);
	for (uint32_t i = 0; i < csv_le32_get(ag->mchunks); i++)
		if (first + csv_le32_get(ag->mchunk[i].start) == chunk)
			ag->mchunk[i].free = csv_le16_of((uint16_t)(csv_le16_get(ag->mchunk[i].free) + 1));
	put(dev, first, page2);
}

static void chunk_count(struct stage *s, struct csv_bdev *dev)
{
	uint64_t first = group_of(s, s->file.ino);
	struct csv_disk_ag *ag = (void *)page2;

	get(dev, first, page2);
	ag->mchunk[0].free = csv_le16_of((uint16_t)(csv_le16_get(ag->mchunk[0].free) ^ 1));
	put(dev, first, page2);
}

/* The image forgets its lease. */
static void meta_lost(struct stage *s, struct csv_bdev *dev)
{
	struct csv_disk_inode *d = inode(dev, s->image);

	d->lease = csv_le64_of(0);
	d->flags = csv_le32_of(0);
	put(dev, s->image.ino, page);
}

static void lease_missing(struct stage *s, struct csv_bdev *dev)
{
	inode(dev, s->image)->lease = csv_le64_of(0);
	put(dev, s->image.ino, page);
}

static void lease_unexpected(struct stage *s, struct csv_bdev *dev)
{
	inode(dev, s->image)->flags = csv_le32_of(0);
	put(dev, s->image.ino, page);
}

static void lease_gen(struct stage *s, struct csv_bdev *dev)
{
	get(dev, s->lease, page);
	((struct csv_disk_lease *)(void *)page)->gen = csv_le32_of(s->image.gen + 1);
	put(dev, s->lease, page);
}

static void lease_holder(struct stage *s, struct csv_bdev *dev)
{
	struct csv_disk_lease *l = (void *)page;

	get(dev, s->lease, page);
	l->mode = csv_le32_of(CSV_LEASE_EXCLUSIVE);
	l->epoch = csv_le64_of(4);
	l->slot = csv_le32_of(1);
	l->incarnation = csv_le32_of(1000000);
	put(dev, s->lease, page);
}

static void orphan_linked(struct stage *s, struct csv_bdev *dev)
{
	struct csv_disk_orphans *o = (void *)page;

	get(dev, CSV_ORPHAN_BLOCK(1), page);
	o->count = csv_le32_of(1);
	o->entry[0].inode = csv_le64_of(s->other.ino);
	o->entry[0].gen = csv_le32_of(s->other.gen);
	put(dev, CSV_ORPHAN_BLOCK(1), page);
}

static void orphan_lost(struct stage *s, struct csv_bdev *dev)
{
	struct csv_disk_orphans *o = (void *)page;

	get(dev, CSV_ORPHAN_BLOCK(0), page);
	assert_int_equal(csv_le32_get(o->count), 1);
	o->count = csv_le32_of(0);
	put(dev, CSV_ORPHAN_BLOCK(0), page);
}

#define ENTRY(field) offsetof(struct csv_disk_dirent, field)
/* The root directory's record of `name`: in `page`, to be put at the root. */
static uint8_t *entry(struct stage *s, struct csv_bdev *dev, const char *name, struct csv_disk_tree_slot **slot)
{
	struct csv_disk_inode *d = inode(dev, (struct csv_iref){ s->sb.root_inode, 0 });
	const struct csv_disk_tree_head *h = (const void *)d->tree;

	for (unsigned i = 0; i < csv_le16_get(h->count); i++) {
		uint8_t *e = root_value(d, i, slot);

		if (e[ENTRY(namelen)] == strlen(name) && !memcmp(e + ENTRY(name), name, strlen(name)))
			return e;
	}
	fail_msg("no entry %s", name);
	return NULL;
}

static void dirent_inode(struct stage *s, struct csv_bdev *dev)
{
	struct csv_disk_tree_slot *slot;

	set64(entry(s, dev, "other", &slot) + ENTRY(inode), s->lease);
	put(dev, s->sb.root_inode, page);
}

static void dirent_gen(struct stage *s, struct csv_bdev *dev)
{
	struct csv_disk_tree_slot *slot;

	set32(entry(s, dev, "other", &slot) + ENTRY(gen), s->other.gen + 1);
	put(dev, s->sb.root_inode, page);
}

static void dirent_type(struct stage *s, struct csv_bdev *dev)
{
	struct csv_disk_tree_slot *slot;

	entry(s, dev, "other", &slot)[ENTRY(type)] = DT_DIR;
	put(dev, s->sb.root_inode, page);
}

static void dirent_hash(struct stage *s, struct csv_bdev *dev)
{
	struct csv_disk_tree_slot *slot;

	entry(s, dev, "other", &slot)[ENTRY(name)] = 'O';
	put(dev, s->sb.root_inode, page);
}

static void dirent_bad(struct stage *s, struct csv_bdev *dev)
{
	struct csv_disk_tree_slot *slot;

	entry(s, dev, "other", &slot)[ENTRY(name) + 1] = '/';
	put(dev, s->sb.root_inode, page);
}

/* The same name once more, under the next key. */
static void dirent_twice(struct stage *s, struct csv_bdev *dev)
{
	static struct vol v;
	struct csv_dirent e;
	struct csv_buf *root;
	struct csv_txn *txn;

	memset(&v, 0, sizeof(v));
	assert_int_equal(csv_fs_open(&v.fs, dev, csv_env_system(), false, 0, s->v.incarnation, NULL), CSV_OK);
	v.ctx.fs = &v.fs;
	vol_hold_all(&v);
	assert_int_equal(csv_txn_begin(&v.fs, 0, &txn), CSV_OK);
	assert_int_equal(csv_dir_get(&v.fs, vol_root(&v), &root), CSV_OK);
	assert_int_equal(csv_dir_find(&v.fs, root, "other", &e), CSV_OK);
	e.key++;
	assert_int_equal(csv_dir_insert(txn, &v.ctx, root, &e), CSV_OK);
	csv_buf_put(&v.fs, root);
	csv_txn_end(txn);
	assert_int_equal(csv_fs_close(&v.fs), CSV_OK);
}

static void dir_twice(struct stage *s, struct csv_bdev *dev)
{
	struct csv_disk_tree_slot *slot;
	uint8_t *e = entry(s, dev, "other", &slot);

	set64(e + ENTRY(inode), s->sub.ino);
	set32(e + ENTRY(gen), s->sub.gen);
	e[ENTRY(type)] = DT_DIR;
	put(dev, s->sb.root_inode, page);
}

static void group_header(struct stage *s, struct csv_bdev *dev)
{
	memset(page, 0, BLOCK);
	assert_int_equal(csv_bdev_write(dev, group_of(s, s->file.ino) << CSV_BLOCK_SHIFT, page, BLOCK, 0), CSV_OK);
}

static void tombstone(struct stage *s, struct csv_bdev *dev)
{
	uint64_t chunk = chunk_of(s, dev, s->orphan.ino), b;
	struct csv_disk_mchunk *m = (void *)page;
	uint64_t first = group_of(s, chunk);
	struct csv_disk_ag *ag = (void *)page2;

	/* A chunk of the group that has a free block. */
	get(dev, first, page2);
	for (uint32_t i = 0; i < csv_le32_get(ag->mchunks); i++)
		if (csv_le16_get(ag->mchunk[i].free))
			chunk = first + csv_le32_get(ag->mchunk[i].start);
	get(dev, chunk, page);
	for (b = 1; csv_le64_get(m->used) >> b & 1; b++)
		;
	assert_true(b < s->sb.mchunk_blocks);
	memset(page, 0, BLOCK);
	assert_int_equal(csv_bdev_write(dev, (chunk + b) << CSV_BLOCK_SHIFT, page, BLOCK, 0), CSV_OK);
}

static const struct wound wounds[] = {
	{ CSV_CHECK_SUPER_PRIMARY, super_primary, true },
	{ CSV_CHECK_SUPER_COPY, super_copy, true },
	{ CSV_CHECK_SLOT, slot_bad, true },
	{ CSV_CHECK_JOURNAL, journal_bad, true },
	{ CSV_CHECK_BLOCK_CHECKSUM, inode_checksum, false },
	{ CSV_CHECK_BLOCK_DAMAGED, inode_mode, false },
	{ CSV_CHECK_BLOCK_IDENTITY, inode_place, false },
	{ CSV_CHECK_BLOCK_IDENTITY, group_header, false },
	{ CSV_CHECK_INODE_BLOCKS, inode_blocks, true },
	{ CSV_CHECK_INODE_NLINK, inode_nlink, true },
	{ CSV_CHECK_INODE_NLINK, dir_nlink, true },
	{ CSV_CHECK_INODE_SIZE, dir_size, true },
	{ CSV_CHECK_INODE_PARENT, dir_parent, true },
	{ CSV_CHECK_INODE_FLAGS, flags, true },
	{ CSV_CHECK_SYMLINK, symlink_short, true },
	{ CSV_CHECK_EXTENT_BAD, extent_far, true },
	{ CSV_CHECK_EXTENT_OVERLAP, extent_overlap, true },
	{ CSV_CHECK_EXTENT_BEYOND, extent_beyond, true },
	{ CSV_CHECK_CROSSLINK, crosslink, false },
	{ CSV_CHECK_BLOCK_DAMAGED, tree_order, false },
	{ CSV_CHECK_TREE_LEVEL, tree_level, false },
	{ CSV_CHECK_TREE_BOUNDS, tree_bounds, false },
	{ CSV_CHECK_BLOCK_OWNER, tree_owner, true },
	{ CSV_CHECK_LOST, lost, true },
	{ CSV_CHECK_WRONGLY_FREE, wrongly_free, true },
	{ CSV_CHECK_AG_FREE, free_count, true },
	{ CSV_CHECK_BITMAP_TAIL, bitmap_tail, true },
	{ CSV_CHECK_META_FREE, meta_free, false },
	{ CSV_CHECK_AG_CHUNK_FREE, chunk_count, true },
	{ CSV_CHECK_META_LOST, meta_lost, true },
	{ CSV_CHECK_META_NOT_FREE, tombstone, true },
	{ CSV_CHECK_LEASE_MISSING, lease_missing, false },
	{ CSV_CHECK_LEASE_UNEXPECTED, lease_unexpected, true },
	{ CSV_CHECK_LEASE_GEN, lease_gen, true },
	{ CSV_CHECK_LEASE_HOLDER, lease_holder, true },
	{ CSV_CHECK_ORPHAN_LINKED, orphan_linked, true },
	{ CSV_CHECK_INODE_UNREACHABLE, orphan_lost, true },
	{ CSV_CHECK_DIRENT_NO_INODE, dirent_inode, false },
	{ CSV_CHECK_DIRENT_GEN, dirent_gen, false },
	{ CSV_CHECK_DIRENT_TYPE, dirent_type, true },
	{ CSV_CHECK_DIRENT_HASH, dirent_hash, true },
	{ CSV_CHECK_DIRENT_BAD, dirent_bad, true },
	{ CSV_CHECK_DIRENT_TWICE, dirent_twice, false },
	{ CSV_CHECK_DIR_TWICE, dir_twice, false },
};

static void each_wound_is_found(void **state)
{
	struct stage s;

	stage_make(&s);
	check_expect_clean(s.dev);
	for (size_t i = 0; i < sizeof(wounds) / sizeof(wounds[0]); i++) {
		const struct wound *w = &wounds[i];
		struct csv_check_summary sum;
		struct csv_bdev *dev;
		struct check_seen seen;

		assert_int_equal(csv_overlay_open(s.dev, &dev), CSV_OK);
		w->inflict(&s, dev);
		check_run(dev, &seen, &sum);
		if (!seen.code[w->code])
			fail_msg("wound %zu (%s) was not found, but:\n%s", i, csv_check_code_name(w->code), seen.text);
		if (w->alone && sum.findings != 1)
			fail_msg("wound %zu (%s) gives more than itself:\n%s", i, csv_check_code_name(w->code),
				 seen.text);
		csv_bdev_close(dev);
	}
	check_expect_clean(s.dev); /* overlays leave no trace */
	stage_free(&s);
}

/* Nothing that lies on the LUN may do more than give findings. */
static void random_damage_is_survived(void **state)
{
	uint64_t rng = vol_seed("damage");
	struct stage s;

	stage_make(&s);
	for (unsigned i = 0; i < 400; i++) {
		uint64_t block = s.sb.ag_start + csv_rng_next(&rng) % 400;
		struct csv_check_summary sum;
		struct csv_bdev *dev;
		struct check_seen seen;

		assert_int_equal(csv_overlay_open(s.dev, &dev), CSV_OK);
		get(dev, block, page);
		for (unsigned k = 0; k <= i % 8; k++)
			page[sizeof(struct csv_block_hdr) + csv_rng_next(&rng) % (k % 2 ? 4032 : 320)] =
			    (uint8_t)csv_rng_next(&rng);
		put(dev, block, page);
		check_run(dev, &seen, &sum);
		csv_bdev_close(dev);
	}
	stage_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_wound_is_found),
		cmocka_unit_test(random_damage_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
