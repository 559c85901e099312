/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The map within a transaction: look up, allocate, convert. Freeing is in map_punch.c. */
#include "fs/data/map_int.h"
#include "fs/disk/geometry.h"

enum csv_err csv_map_lookup(struct csv_fs *fs, struct csv_buf *inode, uint64_t lblk, uint64_t maxlen,
			    struct csv_map *map)
{
	struct csv_tree t = map_tree(fs, inode);
	uint64_t end = lblk + maxlen;
	struct ext e;
	enum csv_err err = ext_at_or_after(&t, lblk, &e);

	*map = (struct csv_map){ .lblk = lblk, .len = maxlen, .kind = CSV_MAP_HOLE };
	if (err)
		return err == CSV_NOENT ? CSV_OK : err;
	if (e.lblk > lblk) {
		if (e.lblk < end)
			map->len = e.lblk - lblk;
		return CSV_OK;
	}
	map->kind = e.unwritten ? CSV_MAP_UNWRITTEN : CSV_MAP_WRITTEN;
	map->phys = e.phys + (lblk - e.lblk);
	if (ext_end(&e) < end)
		map->len = ext_end(&e) - lblk;
	return CSV_OK;
}

enum csv_err map_extent(struct csv_fs *fs, struct csv_buf *inode, uint64_t lblk, struct ext *e)
{
	struct csv_tree t = map_tree(fs, inode);
	enum csv_err err = ext_floor(&t, lblk, e);

	return !err && ext_end(e) <= lblk ? CSV_NOENT : err;
}

/* ---- allocation ------------------------------------------------------------------ */

/* Where a run for lblk would lie best: behind what comes before it in the file, else near the inode. */
static enum csv_err find_goal(const struct csv_tree *t, uint64_t lblk, struct ext *prev, uint64_t *goal)
{
	enum csv_err err = lblk ? ext_floor(t, lblk - 1, prev) : CSV_NOENT;

	*prev = err ? (struct ext){ 0 } : *prev;
	*goal = err ? t->inode->block : prev->phys + prev->len;
	return err == CSV_NOENT ? CSV_OK : err;
}

/* A run of blocks that has been taken and has its record coming; prev: what is before it in the file, len 0: nothing.
 */
struct run {
	struct ext prev, ext;
};

/* Takes a run for the front of the hole [lblk, lblk+len). NOSPC: nothing changed. */
static enum csv_err take(struct csv_txn *txn, struct csv_ctx *ctx, const struct csv_tree *t, uint64_t lblk,
			 uint64_t len, struct run *run)
{
	uint64_t goal;
	enum csv_err err = find_goal(t, lblk, &run->prev, &goal);

	run->ext = (struct ext){ .lblk = lblk, .unwritten = true };
	if (!err)
		err = csv_txn_dirty(txn, t->inode);
	if (!err)
		err = csv_alloc_data(txn, &ctx->ags, goal, len < UINT32_MAX ? len : UINT32_MAX, &run->ext.phys,
				     &run->ext.len);
	return err;
}

/* How many of `len` blocks from `phys` on one unwritten extent takes. */
static uint64_t unwritten_len(const struct csv_fs *fs, uint64_t phys, uint64_t len)
{
	uint64_t off = phys - csv_ag_first(&fs->sb, csv_fs_ag_of(fs, phys));

	return len <= MAP_UNWRITTEN_MAX ? len : MAP_UNWRITTEN_MAX - off % MAP_UNWRITTEN_MAX;
}

/* The run becomes a part of what is before it, or records of its own: *n of them. */
static enum csv_err record(struct csv_txn *txn, struct csv_ctx *ctx, const struct csv_tree *t, struct run *run,
			   unsigned *n)
{
	uint64_t end = ext_end(&run->ext);
	struct ext e = run->ext;
	enum csv_err err = CSV_OK;

	map_account(t->inode, (int64_t)run->ext.len);
	if (run->prev.len && ext_adjoins(t->fs, &run->prev, &run->ext)) {
		run->prev.len += run->ext.len;
		err = ext_set(txn, &ctx->ags, t, &run->prev);
		e.lblk = end;
	}
	for (; !err && e.lblk < end; e.lblk += e.len, e.phys += e.len, ++*n) {
		e.len = unwritten_len(t->fs, e.phys, end - e.lblk);
		err = ext_set(txn, &ctx->ags, t, &e);
	}
	return err ? err : ext_join(txn, &ctx->ags, t, end);
}

enum csv_err csv_map_alloc(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *inode, uint64_t lblk, uint64_t len,
			   uint64_t *done)
{
	struct csv_tree t = map_tree(ctx->fs, inode);
	uint64_t pos = lblk, end = lblk + len;
	unsigned runs = 0, records = 0;
	struct run run;

	*done = 0;
	if (len == 0 || end < lblk || end > CSV_MAP_BLOCKS_MAX)
		return CSV_FBIG;
	for (unsigned n = 0; pos < end && runs < MAP_RUNS_MAX && records < MAP_NEW_RECORDS_MAX && n < MAP_RECORDS_MAX;
	     n++) {
		struct csv_map m;
		enum csv_err err = csv_map_lookup(ctx->fs, inode, pos, end - pos, &m);

		if (!err && m.kind == CSV_MAP_HOLE) {
			err = take(txn, ctx, &t, pos, m.len, &run);
			if (err == CSV_NOSPC && pos > lblk)
				break; /* what there is so far is whole */
			if (!err)
				err = record(txn, ctx, &t, &run, &records);
			m.len = run.ext.len;
			runs++;
		}
		if (err)
			return err;
		pos += m.len;
	}
	*done = pos - lblk;
	return CSV_OK;
}

/* ---- written and unwritten --------------------------------------------------------- */

/* Gives the allocated blocks of the range their kind; at most `max` records are changed. *done blocks from lblk are. */
static enum csv_err mark_range(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *inode, uint64_t lblk,
			       uint64_t len, bool unwritten, unsigned max, uint64_t *done)
{
	struct csv_tree t = map_tree(ctx->fs, inode);
	uint64_t pos = lblk, end = lblk + len;
	enum csv_err err = csv_txn_dirty(txn, inode);

	while (!err && pos < end && max--) {
		struct ext e;
		uint64_t from, to;

		err = ext_at_or_after(&t, pos, &e);
		if (err || e.lblk >= end) {
			pos = end;
			break;
		}
		from = e.lblk > pos ? e.lblk : pos;
		to = ext_end(&e) < end ? ext_end(&e) : end;
		if (unwritten)
			to = from + unwritten_len(ctx->fs, e.phys + (from - e.lblk), to - from);
		if (e.unwritten != unwritten)
			err = ext_mark(txn, &ctx->ags, &t, &e, from, to, unwritten);
		if (!err)
			err = ext_join(txn, &ctx->ags, &t, from);
		pos = to;
	}
	if (err == CSV_NOENT)
		err = CSV_OK;
	*done = pos - lblk;
	return err ? err : ext_join(txn, &ctx->ags, &t, pos);
}

enum csv_err csv_map_convert(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *inode, uint64_t lblk,
			     uint64_t len, uint64_t generation)
{
	uint64_t done;
	enum csv_err err;

	err = mark_range(txn, ctx, inode, lblk, len, false, MAP_RECORDS_MAX, &done);
	if (!err && done < len)
		err = CSV_INVAL;
	if (!err)
		csv_txn_ordered(txn, generation);
	return err;
}

enum csv_err csv_map_unwrite(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *inode, uint64_t lblk,
			     uint64_t len, uint64_t *done)
{
	return mark_range(txn, ctx, inode, lblk, len, true, MAP_RECORDS_MAX, done);
}
