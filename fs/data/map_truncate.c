/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Truncation.  The order keeps one promise at any point where power may fail: what
 * lies beyond the end of a file reads as zeros once the file grows again.
 *
 *   1. The part of the block where the new end (or, growing, the old end) lies is
 *      zeroed on the LUN, durably: it is about to be cut off anyway.
 *   2. Blocks are freed from the end backwards; each transaction also sets the size
 *      to where it has come, so none has a size beyond freed blocks or the reverse.
 *   3. The last one sets the size asked for.
 */
#include "fs/data/map_int.h"
#include "fs/meta/op.h"

struct trunc {
	struct csv_ctx *ctx;
	struct csv_iref ref;
	uint64_t size;	/* to be */
	uint64_t first; /* blocks from here on go, if shrinking */
	bool shrink;	/* or the same size: blocks beyond the end go too */
};

static enum csv_err get_file(struct csv_fs *fs, struct csv_iref ref, struct csv_buf **inode)
{
	enum csv_err err = csv_inode_get(fs, ref, inode);
	uint32_t mode;

	if (err)
		return err;
	mode = csv_le32_get(csv_inode_of(*inode)->mode);
	if (S_ISREG(mode))
		return CSV_OK;
	csv_buf_put(fs, *inode);
	return S_ISDIR(mode) ? CSV_ISDIR : CSV_INVAL;
}

/* Looks at what is there: direction, old size, groups that a shrink frees from. */
static enum csv_err look(struct trunc *tr, uint64_t *old)
{
	struct csv_fs *fs = tr->ctx->fs;
	struct csv_agset groups = { 0 };
	struct csv_buf *inode;
	enum csv_err err;

	csv_fs_lock_shared(fs);
	err = get_file(fs, tr->ref, &inode);
	if (!err) {
		*old = csv_le64_get(csv_inode_of(inode)->size);
		tr->shrink = tr->size <= *old;
		if (tr->shrink)
			err = csv_map_groups(fs, inode, tr->first, CSV_MAP_BLOCKS_MAX - tr->first, &groups);
		csv_buf_put(fs, inode);
	}
	csv_fs_unlock(fs);
	return err ? err : csv_op_groups(tr->ctx, &groups);
}

static enum csv_err zero_edge(struct trunc *tr, uint64_t old)
{
	uint64_t from = tr->shrink ? tr->size : old, end = blk_ceil(from) << CSV_BLOCK_SHIFT;

	return map_zero_part(tr->ctx->fs, tr->ref, from, end);
}

static enum csv_err step_in(struct csv_txn *txn, struct trunc *tr, struct csv_buf *inode, struct csv_attr *attr,
			    bool *more)
{
	struct csv_disk_inode *di = csv_inode_of(inode);
	uint64_t left = 0, reached;
	enum csv_err err = csv_txn_dirty(txn, inode);

	if (!err && tr->shrink)
		err = csv_map_punch(txn, tr->ctx, inode, tr->first, CSV_MAP_BLOCKS_MAX - tr->first, &left);
	if (err)
		return err;
	*more = left > 0;
	reached = left ? (tr->first + left) << CSV_BLOCK_SHIFT : tr->size;
	if (!tr->shrink || reached < csv_le64_get(di->size))
		di->size = csv_le64_of(reached);
	csv_inode_touch(tr->ctx->fs, inode, CSV_TOUCH_M | CSV_TOUCH_C);
	if (attr)
		csv_inode_attr(inode, attr);
	return CSV_OK;
}

static enum csv_err step(struct trunc *tr, struct csv_attr *attr, uint64_t *tid, bool *more)
{
	struct csv_buf *inode;
	struct csv_txn *txn;
	enum csv_err err = csv_op_begin(tr->ctx, &txn);

	if (err)
		return err;
	err = get_file(tr->ctx->fs, tr->ref, &inode);
	if (!err) {
		err = step_in(txn, tr, inode, attr, more);
		csv_buf_put(tr->ctx->fs, inode);
	}
	return csv_op_end(tr->ctx, txn, err, 1, tid);
}

enum csv_err csv_truncate(struct csv_ctx *ctx, struct csv_iref ref, uint64_t size, struct csv_attr *attr, uint64_t *tid)
{
	struct trunc tr = { .ctx = ctx, .ref = ref, .size = size, .first = blk_ceil(size) };
	bool more = true;
	uint64_t old = 0;
	enum csv_err err;

	csv_fs_assert_lock(ctx->fs, csv_res(CSV_RES_INODE, ref.ino), CSV_EX);
	if (size > CSV_FILE_SIZE_MAX)
		return CSV_FBIG;
	ctx->need.n = 0;
	ctx->need_ino = 0;
	err = csv_fs_state(ctx->fs);
	if (!err)
		err = look(&tr, &old);
	if (!err)
		err = zero_edge(&tr, old);
	while (!err && more)
		err = step(&tr, attr, tid, &more);
	return err;
}
