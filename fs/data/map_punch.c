/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Freeing parts of the map, from the end backwards; and which groups that takes. */
#include "fs/data/map_int.h"
#include "fs/meta/op.h"

/* The last extent that has blocks in [lblk, end). NOENT: none. */
static enum csv_err last_in(const struct csv_tree *t, uint64_t lblk, uint64_t end, struct ext *e)
{
	enum csv_err err = ext_floor(t, end - 1, e);

	return !err && ext_end(e) <= lblk ? CSV_NOENT : err;
}

/*
 * Takes [from, to) out of e. The record goes first: it alone can say WAIT, and then nothing has changed. A rest
 * behind `to` is a new record.
 */
static enum csv_err cut(struct csv_txn *txn, struct csv_ctx *ctx, const struct csv_tree *t, const struct ext *e,
			uint64_t from, uint64_t to)
{
	struct ext head = *e, tail = *e;
	enum csv_err err;

	head.len = from - e->lblk;
	tail.lblk = to;
	tail.phys += to - e->lblk;
	tail.len = ext_end(e) - to;
	if (head.len)
		err = ext_set(txn, &ctx->ags, t, &head);
	else
		err = csv_tree_remove(txn, &ctx->ags, &ctx->need, t, e->lblk);
	if (!err && tail.len)
		err = ext_set(txn, &ctx->ags, t, &tail);
	if (!err)
		err = csv_txn_dirty(txn, t->inode);
	if (err)
		return err;
	map_account(t->inode, -(int64_t)(to - from));
	return csv_free_data(txn, e->phys + (from - e->lblk), to - from);
}

/* All that the next cut, of e, can need: by itself enough to get on. */
static enum csv_err ask_for(struct csv_ctx *ctx, const struct csv_tree *t, const struct ext *e)
{
	csv_agset_add(&ctx->need, csv_fs_ag_of(ctx->fs, e->phys));
	return csv_tree_groups(t, e->lblk, e->lblk, &ctx->need);
}

enum csv_err csv_map_punch(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *inode, uint64_t lblk, uint64_t len,
			   uint64_t *left)
{
	struct csv_tree t = map_tree(ctx->fs, inode);
	uint64_t end = lblk + len;
	enum csv_err err = CSV_OK;
	unsigned n;

	for (n = 0; !err && end > lblk && n < MAP_RUNS_MAX; n++) {
		uint64_t from, to;
		struct ext e;

		err = last_in(&t, lblk, end, &e);
		if (err)
			break;
		from = e.lblk > lblk ? e.lblk : lblk;
		to = ext_end(&e) < end ? ext_end(&e) : end;
		err = csv_op_group_of(ctx, e.phys);
		if (!err)
			err = cut(txn, ctx, &t, &e, from, to);
		if (!err)
			end = from;
		if (err == CSV_WAIT && n == 0 && ask_for(ctx, &t, &e))
			err = CSV_DAMAGED;
	}
	if (err == CSV_NOENT) {
		end = lblk;
		err = CSV_OK;
	}
	*left = end - lblk;
	return err == CSV_WAIT && n > 1 ? CSV_OK : err;
}

enum csv_err csv_map_groups(struct csv_fs *fs, struct csv_buf *inode, uint64_t lblk, uint64_t len,
			    struct csv_agset *set)
{
	struct csv_tree t = map_tree(fs, inode);
	uint64_t pos = lblk, end = lblk + len;
	struct ext e = { .lblk = lblk };
	enum csv_err err = CSV_OK;
	uint64_t first = lblk;

	while (!err && pos < end && set->n < CSV_AGSET_MAX) {
		err = ext_at_or_after(&t, pos, &e);
		if (err || e.lblk >= end)
			break;
		if (e.lblk < first)
			first = e.lblk;
		csv_agset_add(set, csv_fs_ag_of(fs, e.phys));
		pos = ext_end(&e);
	}
	if (err && err != CSV_NOENT)
		return err;
	return csv_tree_groups(&t, first, end, set);
}
