/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The end of an inode that has no name and is open nowhere (U4).  Each step is a
 * transaction of its own and takes away what is there, in this order, so that a
 * crash after any of them leaves a smaller inode on the same orphan list:
 *
 *   1. the lease block           3. nodes of the data tree (directories, links)
 *   2. extents, from the end     4. nodes of the attribute tree
 *   5. the inode's own block and its orphan entry
 */
#include "fs/data/map.h"
#include "fs/meta/lease.h"
#include "fs/meta/op.h"

#define NODES_PER_STEP 8u /* 3 blocks each to free, within the default credits */

static bool tree_empty(const uint8_t *area)
{
	const struct csv_disk_tree_head *h = (const void *)area;

	return csv_le16_get(h->count) == 0 && csv_le16_get(h->level) == 0;
}

/* The inode is gone already: so must be its entry in our list. */
static enum csv_err forget(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_iref ref)
{
	enum csv_err err = csv_orphan_del(txn, ctx->fs->slot, ref);

	return err == CSV_NOENT ? CSV_OK : err;
}

static enum csv_err prune(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *inode, bool xattr)
{
	struct csv_tree t = { .fs = ctx->fs, .inode = inode, .xattr = xattr };
	unsigned freed;
	bool more;
	enum csv_err err = csv_tree_prune(txn, &ctx->ags, &ctx->need, &t, NODES_PER_STEP, &freed, &more);

	return err == CSV_WAIT && freed ? CSV_OK : err; /* what was freed counts; the next step will ask */
}

static enum csv_err free_extents(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *inode)
{
	uint64_t left;

	return csv_map_punch(txn, ctx, inode, 0, CSV_MAP_BLOCKS_MAX, &left);
}

/* Consumes *inode, which is NULL afterwards. */
static enum csv_err free_inode(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf **inode)
{
	struct csv_iref ref = csv_inode_ref(*inode);
	struct csv_buf *buf = *inode;
	enum csv_err err = csv_op_group_of(ctx, ref.ino);

	if (!err)
		err = forget(txn, ctx, ref);
	if (err)
		return err;
	*inode = NULL;
	return csv_free_meta(txn, buf);
}

static enum csv_err step(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf **inode, bool *more)
{
	struct csv_disk_inode *di = csv_inode_of(*inode);

	if (csv_le32_get(di->nlink))
		return CSV_INVAL;
	*more = true;
	if (csv_le64_get(di->lease))
		return csv_lease_destroy(txn, ctx, *inode);
	if (!tree_empty(di->tree))
		return S_ISREG(csv_le32_get(di->mode)) ? free_extents(txn, ctx, *inode)
						       : prune(txn, ctx, *inode, false);
	if (!tree_empty(di->xtree))
		return prune(txn, ctx, *inode, true);
	*more = false;
	return free_inode(txn, ctx, inode);
}

static enum csv_err destroy_step(struct csv_ctx *ctx, struct csv_iref ref, bool *more)
{
	struct csv_buf *inode = NULL;
	struct csv_txn *txn;
	enum csv_err err = csv_op_begin(ctx, &txn);

	*more = false;
	if (err)
		return err;
	err = csv_inode_get(ctx->fs, ref, &inode);
	if (err == CSV_STALE)
		err = forget(txn, ctx, ref);
	else if (!err)
		err = step(txn, ctx, &inode, more);
	if (inode)
		csv_buf_put(ctx->fs, inode);
	return csv_op_end(ctx, txn, err, 0, NULL);
}

enum csv_err csv_inode_destroy(struct csv_ctx *ctx, struct csv_iref ref)
{
	bool more = true;
	enum csv_err err = CSV_OK;

	csv_fs_assert_lock(ctx->fs, csv_res(CSV_RES_INODE, ref.ino), CSV_EX);
	while (!err && more)
		err = destroy_step(ctx, ref, &more);
	return err;
}

enum csv_err csv_inode_groups(struct csv_fs *fs, struct csv_iref ref, struct csv_agset *set)
{
	struct csv_buf *inode;
	struct csv_tree t = { .fs = fs };
	uint64_t lease;
	enum csv_err err = csv_inode_get(fs, ref, &inode);

	if (err)
		return err;
	t.inode = inode;
	lease = csv_le64_get(csv_inode_of(inode)->lease);
	csv_agset_add(set, csv_fs_ag_of(fs, ref.ino));
	if (lease)
		csv_agset_add(set, csv_fs_ag_of(fs, lease));
	err = csv_tree_groups(&t, 0, UINT64_MAX, set);
	t.xattr = true;
	if (!err)
		err = csv_tree_groups(&t, 0, UINT64_MAX, set);
	if (!err && S_ISREG(csv_le32_get(csv_inode_of(inode)->mode)))
		err = csv_map_groups(fs, inode, 0, CSV_MAP_BLOCKS_MAX, set);
	csv_buf_put(fs, inode);
	return err;
}
