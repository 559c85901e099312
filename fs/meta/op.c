/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/meta/op.h"

#define NEED_AT_ONCE 32u /* groups asked for after one NOSPC, at most */

bool csv_ctx_take_need(struct csv_ctx *ctx)
{
	bool any = false;

	for (unsigned i = 0; i < ctx->need.n; i++)
		if (!csv_agset_has(&ctx->ags, ctx->need.ag[i]))
			any |= csv_agset_add(&ctx->ags, ctx->need.ag[i]);
	return any;
}

enum csv_err csv_op_begin(struct csv_ctx *ctx, struct csv_txn **txn)
{
	ctx->need.n = 0;
	ctx->need_ino = 0;
	return csv_txn_begin(ctx->fs, 0, txn);
}

/* As many candidates as `want` blocks fill, one at least. */
static void want_groups(struct csv_ctx *ctx, uint64_t want)
{
	uint64_t n = 1 + want / ctx->fs->sb.ag_blocks;
	struct csv_agset seen = ctx->ags;
	uint32_t ag;

	if (n > NEED_AT_ONCE)
		n = NEED_AT_ONCE;
	for (; n > 0 && csv_alloc_candidate(ctx->fs, &seen, want, &ag); n--)
		if (!csv_agset_add(&seen, ag) || !csv_agset_add(&ctx->need, ag))
			break;
}

enum csv_err csv_op_end(struct csv_ctx *ctx, struct csv_txn *txn, enum csv_err err, uint64_t want, uint64_t *tid)
{
	uint64_t t;

	if (err) {
		csv_txn_abort(txn);
		if (err == CSV_NOSPC)
			want_groups(ctx, want);
		return err;
	}
	t = csv_txn_end(txn);
	if (tid)
		*tid = t;
	return CSV_OK;
}

enum csv_err csv_op_groups(struct csv_ctx *ctx, const struct csv_agset *groups)
{
	unsigned missing = 0;

	for (unsigned i = 0; i < groups->n; i++)
		missing += !csv_agset_has(&ctx->ags, groups->ag[i]);
	if (!missing || ctx->ags.n + missing > CSV_AGSET_MAX)
		return CSV_OK;
	for (unsigned i = 0; i < groups->n; i++)
		csv_agset_add(&ctx->need, groups->ag[i]);
	return CSV_WAIT;
}

enum csv_err csv_op_group_of(struct csv_ctx *ctx, uint64_t block)
{
	uint32_t ag = csv_fs_ag_of(ctx->fs, block);

	if (csv_agset_has(&ctx->ags, ag))
		return CSV_OK;
	csv_agset_add(&ctx->need, ag);
	return CSV_WAIT;
}

void csv_inode_touch(struct csv_fs *fs, struct csv_buf *buf, unsigned what)
{
	struct csv_disk_inode *di = csv_inode_of(buf);
	struct csv_disk_time now = csv_now(fs);

	if (what & CSV_TOUCH_M)
		di->mtime = now;
	if (what & CSV_TOUCH_C)
		di->ctime = now;
}
