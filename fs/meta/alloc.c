/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sets of groups, what this node knows of each group's room, and which one to try next. */
#include <stdlib.h>

#include "fs/disk/buf_priv.h"
#include "fs/disk/super.h"
#include "fs/meta/alloc_priv.h"

/* Group headers read at once. */
#define SCAN_BATCH 256u
#define SCAN_INTERVAL_NS 1000000000ull

bool csv_agset_has(const struct csv_agset *set, uint32_t ag)
{
	for (unsigned i = 0; i < set->n; i++)
		if (set->ag[i] == ag)
			return true;
	return false;
}

bool csv_agset_add(struct csv_agset *set, uint32_t ag)
{
	if (csv_agset_has(set, ag))
		return true;
	if (set->n == CSV_AGSET_MAX)
		return false;
	set->ag[set->n++] = ag;
	return true;
}

enum csv_err csv_alloc_new(struct csv_fs *fs)
{
	struct csv_alloc *a = calloc(1, sizeof(*a));

	if (!a)
		return CSV_NOMEM;
	a->ag = calloc(fs->sb.ag_count, sizeof(*a->ag));
	if (!a->ag) {
		free(a);
		return CSV_NOMEM;
	}
	for (uint32_t i = 0; i < fs->sb.ag_count; i++)
		a->ag[i].hint = csv_ag_len(&fs->sb, i) - csv_ag_own(csv_ag_len(&fs->sb, i));
	pthread_mutex_init(&a->mutex, NULL);
	fs->alloc = a;
	return CSV_OK;
}

void csv_alloc_free(struct csv_fs *fs)
{
	struct csv_alloc *a = fs->alloc;

	if (!a)
		return;
	for (uint32_t i = 0; i < fs->sb.ag_count; i++)
		free(a->ag[i].pending);
	pthread_mutex_destroy(&a->mutex);
	free(a->ag);
	free(a);
	fs->alloc = NULL;
}

static void set_hint(struct csv_alloc *a, uint32_t ag, uint64_t nfree)
{
	pthread_mutex_lock(&a->mutex);
	a->ag[ag].hint = nfree;
	a->ag[ag].known = true;
	pthread_mutex_unlock(&a->mutex);
}

void csv_alloc_saw(struct csv_group *g)
{
	set_hint(g->fs->alloc, g->ag, csv_le64_get(g->d->free_total));
}

/* Takes a header's count if it is good; one that is just being written by another node keeps the old hint. */
static void scan_one(struct csv_fs *fs, uint32_t ag, const void *page)
{
	const struct csv_disk_ag *d = page;

	if (csv_block_verify(page, fs->sb.uuid, csv_ag_first(&fs->sb, ag), CSV_MAGIC_AG, NULL) == CSV_OK &&
	    csv_verifier_of(CSV_MAGIC_AG)(&fs->sb, page, NULL) == CSV_OK)
		set_hint(fs->alloc, ag, csv_le64_get(d->free_total));
}

/* Reads headers of groups [from, from + n) past the cache, but for those in it. */
static enum csv_err scan_some(struct csv_fs *fs, uint32_t from, uint32_t n, uint8_t *pages)
{
	struct csv_bdev_batch *batch;
	bool cached[SCAN_BATCH];
	enum csv_err err;

	err = csv_bdev_batch_begin(fs->dev, &batch);
	if (err != CSV_OK)
		return err;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t block = csv_ag_first(&fs->sb, from + i);
		void *page = pages + (size_t)i * CSV_BLOCK_SIZE;

		csv_fs_lock_shared(fs);
		cached[i] = csv_cache_peek(fs, block, page);
		csv_fs_unlock(fs);
		if (!cached[i])
			csv_bdev_batch_read(batch, block << CSV_BLOCK_SHIFT, page, CSV_BLOCK_SIZE);
	}
	err = csv_bdev_batch_wait(batch);
	for (uint32_t i = 0; i < n && err == CSV_OK; i++) {
		const struct csv_disk_ag *d = (const void *)(pages + (size_t)i * CSV_BLOCK_SIZE);

		if (cached[i])
			set_hint(fs->alloc, from + i, csv_le64_get(d->free_total));
		else
			scan_one(fs, from + i, d);
	}
	return err;
}

static enum csv_err scan(struct csv_fs *fs)
{
	uint8_t *pages = aligned_alloc(CSV_BLOCK_SIZE, (size_t)SCAN_BATCH * CSV_BLOCK_SIZE);
	enum csv_err err = CSV_OK;

	if (!pages)
		return CSV_NOMEM;
	for (uint32_t ag = 0; ag < fs->sb.ag_count && err == CSV_OK; ag += SCAN_BATCH)
		err = scan_some(fs, ag, fs->sb.ag_count - ag < SCAN_BATCH ? fs->sb.ag_count - ag : SCAN_BATCH, pages);
	free(pages);
	return err;
}

uint64_t csv_alloc_free_known(struct csv_fs *fs)
{
	struct csv_alloc *a = fs->alloc;
	uint64_t sum = 0;

	pthread_mutex_lock(&a->mutex);
	for (uint32_t i = 0; i < fs->sb.ag_count; i++)
		sum += a->ag[i].hint;
	pthread_mutex_unlock(&a->mutex);
	return sum;
}

enum csv_err csv_alloc_free_blocks(struct csv_fs *fs, uint64_t *free_blocks)
{
	struct csv_alloc *a = fs->alloc;
	uint64_t now = fs->env->mono_ns(fs->env);
	enum csv_err err = CSV_OK;
	bool due;

	pthread_mutex_lock(&a->mutex);
	due = a->scanned_ns == 0 || now - a->scanned_ns > SCAN_INTERVAL_NS;
	if (due)
		a->scanned_ns = now ? now : 1;
	pthread_mutex_unlock(&a->mutex);
	if (due)
		err = scan(fs);
	*free_blocks = csv_alloc_free_known(fs);
	return err;
}

bool csv_alloc_candidate(struct csv_fs *fs, const struct csv_agset *set, uint64_t want, uint32_t *ag)
{
	struct csv_alloc *a = fs->alloc;
	uint32_t n = fs->sb.ag_count, best = UINT32_MAX;
	uint32_t slot = fs->slot < fs->sb.slots ? fs->slot : 0;
	uint32_t start = (uint32_t)((uint64_t)slot * n / fs->sb.slots); /* each slot has a region of its own first */

	pthread_mutex_lock(&a->mutex);
	for (uint32_t k = 0; k < n; k++) {
		uint32_t i = (start + k) % n;

		if (csv_agset_has(set, i))
			continue;
		if (best == UINT32_MAX || a->ag[i].hint > a->ag[best].hint)
			best = i;
		if (a->ag[i].hint && a->ag[i].hint >= want)
			break; /* enough, and nearest to our region; best is it or larger */
	}
	pthread_mutex_unlock(&a->mutex);
	*ag = best;
	return best != UINT32_MAX;
}
