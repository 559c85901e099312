/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Extent records: read and checked, written, joined, divided. */
#include <string.h>

#include "fs/data/map_int.h"
#include "fs/disk/geometry.h"

struct csv_tree map_tree(struct csv_fs *fs, struct csv_buf *inode)
{
	return (struct csv_tree){ .fs = fs, .inode = inode, .xattr = false };
}

/* An extent lies in one group, not over its header or bitmaps, and within the largest file. */
static enum csv_err decode(const struct csv_fs *fs, const struct csv_tree_rec *rec, struct ext *e)
{
	struct csv_disk_extent d;
	uint32_t flags;
	uint32_t ag;

	if (rec->len != sizeof(d))
		return CSV_DAMAGED;
	memcpy(&d, rec->value, sizeof(d));
	flags = csv_le32_get(d.flags);
	*e = (struct ext){ rec->key, csv_le32_get(d.len), csv_le64_get(d.phys), flags & CSV_EXTENT_UNWRITTEN };
	if (flags & ~CSV_EXTENT_UNWRITTEN || e->lblk >= CSV_MAP_BLOCKS_MAX || ext_end(e) > CSV_MAP_BLOCKS_MAX)
		return CSV_DAMAGED;
	if (!csv_geo_in_group(&fs->sb, e->phys, e->len))
		return CSV_DAMAGED;
	ag = csv_fs_ag_of(fs, e->phys);
	return e->phys - csv_ag_first(&fs->sb, ag) >= csv_ag_own(csv_ag_len(&fs->sb, ag)) ? CSV_OK : CSV_DAMAGED;
}

enum csv_err ext_floor(const struct csv_tree *t, uint64_t lblk, struct ext *e)
{
	struct csv_tree_rec rec;
	enum csv_err err = csv_tree_floor(t, lblk, &rec);

	return err ? err : decode(t->fs, &rec, e);
}

enum csv_err ext_ceil(const struct csv_tree *t, uint64_t lblk, struct ext *e)
{
	struct csv_tree_rec rec;
	enum csv_err err = csv_tree_ceil(t, lblk, &rec);

	return err ? err : decode(t->fs, &rec, e);
}

enum csv_err ext_at_or_after(const struct csv_tree *t, uint64_t lblk, struct ext *e)
{
	enum csv_err err = ext_floor(t, lblk, e);

	if (err == CSV_NOENT || (!err && ext_end(e) <= lblk))
		err = ext_ceil(t, lblk, e);
	return err;
}

enum csv_err ext_set(struct csv_txn *txn, const struct csv_agset *ags, const struct csv_tree *t, const struct ext *e)
{
	struct csv_disk_extent d = { csv_le64_of(e->phys), csv_le32_of((uint32_t)e->len),
				     csv_le32_of(e->unwritten ? CSV_EXTENT_UNWRITTEN : 0) };

	CSV_ASSERT(e->len > 0 && e->len <= UINT32_MAX);
	return csv_tree_set(txn, ags, t, e->lblk, &d, sizeof(d));
}

bool ext_adjoins(const struct csv_fs *fs, const struct ext *a, const struct ext *b)
{
	if (a->unwritten && a->len + b->len > MAP_UNWRITTEN_MAX)
		return false;
	return ext_end(a) == b->lblk && a->phys + a->len == b->phys && a->unwritten == b->unwritten &&
	       a->len + b->len <= UINT32_MAX && csv_geo_in_group(&fs->sb, a->phys, a->len + b->len);
}

enum csv_err ext_join(struct csv_txn *txn, const struct csv_agset *ags, const struct csv_tree *t, uint64_t lblk)
{
	struct ext a, b;
	enum csv_err err;

	if (lblk == 0)
		return CSV_OK;
	err = ext_floor(t, lblk, &b);
	if (!err && b.lblk == lblk)
		err = ext_floor(t, lblk - 1, &a);
	else if (!err)
		return CSV_OK;
	if (err)
		return err == CSV_NOENT ? CSV_OK : err;
	if (!ext_adjoins(t->fs, &a, &b))
		return CSV_OK;
	err = csv_tree_remove(txn, ags, NULL, t, lblk);
	if (err)
		return err == CSV_WAIT ? CSV_OK : err;
	a.len += b.len;
	return ext_set(txn, ags, t, &a);
}

enum csv_err ext_mark(struct csv_txn *txn, const struct csv_agset *ags, const struct csv_tree *t, const struct ext *e,
		      uint64_t from, uint64_t to, bool unwritten)
{
	struct ext head = *e, mid = *e, tail = *e;
	enum csv_err err = CSV_OK;

	head.len = from - e->lblk;
	mid.lblk = from;
	mid.phys += from - e->lblk;
	mid.len = to - from;
	mid.unwritten = unwritten;
	tail.lblk = to;
	tail.phys += to - e->lblk;
	tail.len = ext_end(e) - to;
	if (tail.len)
		err = ext_set(txn, ags, t, &tail);
	if (!err && head.len)
		err = ext_set(txn, ags, t, &head);
	return err ? err : ext_set(txn, ags, t, &mid);
}

void map_account(struct csv_buf *inode, int64_t n)
{
	struct csv_disk_inode *di = csv_inode_of(inode);

	di->blocks = csv_le64_of(csv_le64_get(di->blocks) + (uint64_t)n);
}
