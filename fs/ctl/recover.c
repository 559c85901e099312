/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Recovery of one dead life of a slot: its journal is replayed, then its slot block says clean.  Each
 * step may be cut and repeated.  What it left unlinked but open goes to our list.
 */
#include <stdlib.h>

#include "fs/meta/op.h"
#include "fs/mount.h"

/* A later life is none of the order's: its mount may be alive, and its journal is its own (J8). */
static enum csv_err check_life(const struct csv_slot *s, uint32_t incarnation, bool *later, struct csv_why *why)
{
	*later = s->incarnation > incarnation;
	if (s->incarnation >= incarnation)
		return CSV_OK;
	return csv_fail(why, CSV_STALE, "", "slot %u is in incarnation %u on disk, %u is to be recovered", s->slot,
			s->incarnation, incarnation);
}

enum csv_err csv_recover_slot(struct csv_bdev *dev, const struct csv_super *sb, uint32_t slot, uint32_t incarnation,
			      const struct csv_replay_ops *ops, struct csv_replay_result *res, struct csv_why *why)
{
	struct csv_slot s;
	enum csv_err err = csv_slot_read(dev, sb, slot, &s, why);
	bool later = false;

	*res = (struct csv_replay_result){ 0 };
	if (err == CSV_OK)
		err = check_life(&s, incarnation, &later, why);
	if (err != CSV_OK || later || s.state == CSV_SLOT_CLEAN)
		return err;
	err = csv_replay(dev, sb, slot, true, ops, res, why);
	if (err != CSV_OK)
		return err;
	s.state = CSV_SLOT_CLEAN;
	s.pr_key = 0;
	err = csv_slot_write(dev, sb, &s);
	return err == CSV_OK ? err : csv_fail(why, err, "", "slot %u cannot be marked clean", slot);
}

/* ---- orphans ---------------------------------------------------------------------- */

static enum csv_err move_one(struct csv_ctx *ctx, uint32_t slot, struct csv_iref ref)
{
	struct csv_txn *txn;
	enum csv_err err = csv_op_begin(ctx, &txn);

	if (err != CSV_OK)
		return err;
	err = csv_orphan_add(txn, ctx, ref);
	if (err == CSV_OK)
		err = csv_orphan_del(txn, slot, ref);
	return csv_op_end(ctx, txn, err, 1, NULL);
}

struct adopt {
	uint32_t slot;
	struct csv_ctx ctx;
};

static enum csv_err adopt_body(struct csv_mount *m, struct csv_op *op, void *arg)
{
	struct adopt *a = arg;
	struct csv_iref *refs;
	enum csv_err err;
	size_t n;

	csv_hold(op, csv_res(CSV_RES_SLOT, a->slot), CSV_EX);
	for (unsigned i = 0; i < a->ctx.ags.n; i++)
		csv_hold(op, csv_res(CSV_RES_AG, a->ctx.ags.ag[i]), CSV_EX);
	if (csv_op_waits(op))
		return CSV_WAIT;
	err = csv_orphan_list(&m->fs, a->slot, &refs, &n);
	if (err != CSV_OK)
		return err;
	for (size_t i = 0; err == CSV_OK && i < n; i++)
		err = move_one(&a->ctx, a->slot, refs[i]);
	free(refs);
	return err;
}

enum csv_err csv_adopt_orphans(struct csv_mount *m, uint32_t slot)
{
	struct adopt a = { .slot = slot, .ctx = { .fs = &m->fs } };
	enum csv_err err;
	uint32_t ag;

	/* Our list may need a further block. */
	if (csv_alloc_candidate(&m->fs, &a.ctx.ags, 1, &ag))
		csv_agset_add(&a.ctx.ags, ag);
	do
		err = csv_mount_run(m, adopt_body, &a);
	while ((err == CSV_NOSPC || err == CSV_WAIT) && csv_ctx_take_need(&a.ctx));
	return err;
}
