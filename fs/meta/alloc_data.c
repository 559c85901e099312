/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where data goes: on from the goal if there is room, large wishes to rows of
 * whole stretches (their bitmaps stay untouched), small ones to stretches that
 * are broken into already.  The same state gives the same answer.
 */
#include "fs/meta/alloc_priv.h"

/* A run at the goal this long is taken, whatever else there is: 8 MiB. */
#define GOAL_ENOUGH 2048u

/* Free blocks from `off` on without a break, up to `want`, whole stretches and the rest of the first one. */
static enum csv_err run_at(struct csv_group *g, uint64_t off, uint64_t want, struct csv_run *run)
{
	uint32_t i = (uint32_t)(off / CSV_BITS_PER_BLOCK), end, bit = (uint32_t)(off % CSV_BITS_PER_BLOCK);
	uint8_t bits[CSV_BITMAP_BYTES];
	enum csv_err err;

	*run = (struct csv_run){ off, 0 };
	if (off < csv_ag_own(g->len) || off >= g->len || csv_group_free(g, i) == 0)
		return CSV_OK;
	err = csv_group_view(g, i, bits);
	if (err != CSV_OK)
		return err;
	end = (uint32_t)(csv_stretch_end(g, i) - (uint64_t)i * CSV_BITS_PER_BLOCK);
	run->len = csv_bits_next(bits, bit, end, true) - bit;
	while (off + run->len == csv_stretch_end(g, i) && run->len < want && ++i < g->bitmaps &&
	       csv_group_is_whole(g, i))
		run->len += csv_stretch_end(g, i) - csv_stretch_start(g, i);
	if (run->len > want)
		run->len = want;
	return CSV_OK;
}

/* The first row of whole stretches that holds `want` blocks, else the longest. */
static void run_whole(struct csv_group *g, uint64_t want, struct csv_run *best)
{
	struct csv_run run = { 0, 0 };

	*best = run;
	for (uint32_t i = 0; i < g->bitmaps && best->len < want; i++) {
		if (!csv_group_is_whole(g, i)) {
			run.len = 0;
			continue;
		}
		if (run.len == 0)
			run.off = csv_stretch_start(g, i);
		run.len += csv_stretch_end(g, i) - csv_stretch_start(g, i);
		if (run.len > best->len)
			*best = run;
	}
	if (best->len > want)
		best->len = want;
}

/* The best run of one group. goal: offset in the group, or 0. */
static enum csv_err group_find(struct csv_group *g, uint64_t goal, uint64_t want, struct csv_run *run)
{
	struct csv_run at_goal = { 0, 0 };
	enum csv_err err;

	*run = at_goal;
	if (csv_le64_get(g->d->free_total) == 0)
		return CSV_OK;
	if (goal) {
		err = run_at(g, goal, want, &at_goal);
		if (err != CSV_OK)
			return err;
		*run = at_goal;
		if (run->len >= want || run->len >= GOAL_ENOUGH)
			return CSV_OK;
	}
	if (want >= CSV_BITS_PER_BLOCK) {
		run_whole(g, want, run);
		if (run->len >= CSV_BITS_PER_BLOCK / 2)
			return CSV_OK;
	}
	return csv_group_search(g, goal, want, run);
}

/* Looks through the groups of the set, the goal's first; the first good answer, else the longest. *g is got. */
static enum csv_err set_find(struct csv_fs *fs, const struct csv_agset *ags, uint64_t goal, uint64_t want,
			     struct csv_group *best_g, struct csv_run *best)
{
	uint32_t goal_ag = goal && csv_geo_in_group(&fs->sb, goal, 1) ? csv_fs_ag_of(fs, goal) : UINT32_MAX;
	uint64_t good = want < CSV_BITS_PER_BLOCK ? want : CSV_BITS_PER_BLOCK;
	struct csv_group g;
	struct csv_run run;
	enum csv_err err;

	*best = (struct csv_run){ 0, 0 };
	best_g->buf = NULL;
	for (unsigned k = 0; k <= ags->n && best->len < good; k++) {
		uint32_t ag = k == 0 ? goal_ag : ags->ag[k - 1];

		if (k == 0 ? !csv_agset_has(ags, goal_ag) : ag == goal_ag)
			continue;
		err = csv_group_get(fs, ag, &g);
		if (err != CSV_OK)
			goto fail;
		err = group_find(&g, ag == goal_ag ? goal - g.first : 0, want, &run);
		if (err == CSV_OK && run.len > best->len) {
			csv_group_put(best_g);
			*best_g = g;
			*best = run;
		} else {
			csv_group_put(&g);
		}
		if (err != CSV_OK)
			goto fail;
		/* A run that goes on at the goal is worth more than a longer one elsewhere. */
		if (ag == goal_ag && best->len && best->off == goal - g.first)
			return CSV_OK;
	}
	return best->len ? CSV_OK : CSV_NOSPC;
fail:
	csv_group_put(best_g);
	return err;
}

enum csv_err csv_alloc_data(struct csv_txn *txn, const struct csv_agset *ags, uint64_t goal, uint64_t want,
			    uint64_t *start, uint64_t *len)
{
	struct csv_fs *fs = csv_txn_fs(txn);
	struct csv_group g;
	struct csv_run run;
	enum csv_err err;

	*start = *len = 0;
	if (want == 0)
		return CSV_INVAL;
	err = set_find(fs, ags, goal, want, &g, &run);
	if (err != CSV_OK)
		return err;
	csv_fs_assert_lock(fs, csv_ag_res(g.ag), CSV_EX);
	err = csv_group_take(txn, &g, run.off, run.len);
	if (err == CSV_OK) {
		*start = g.first + run.off;
		*len = run.len;
	}
	csv_group_put(&g);
	return err;
}

/* True if the run touches a metadata chunk of the group. */
static bool hits_chunk(const struct csv_group *g, uint64_t off, uint64_t len)
{
	uint32_t n = csv_le32_get(g->d->mchunks);

	for (uint32_t i = 0; i < n; i++) {
		uint64_t start = csv_le32_get(g->d->mchunk[i].start);

		if (off < start + g->fs->sb.mchunk_blocks && start < off + len)
			return true;
	}
	return false;
}

enum csv_err csv_free_data(struct csv_txn *txn, uint64_t start, uint64_t len)
{
	struct csv_fs *fs = csv_txn_fs(txn);
	struct csv_group g;
	enum csv_err err;
	uint64_t off;

	if (!csv_geo_in_group(&fs->sb, start, len))
		return CSV_DAMAGED;
	err = csv_group_get(fs, csv_fs_ag_of(fs, start), &g);
	if (err != CSV_OK)
		return err;
	off = start - g.first;
	if (hits_chunk(&g, off, len))
		err = CSV_DAMAGED;
	else
		err = csv_group_give(txn, &g, off, len);
	if (err == CSV_OK)
		err = csv_pending_add(txn, g.ag, off, len);
	csv_group_put(&g);
	return err;
}
