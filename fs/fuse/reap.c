/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The end of an inode without links (U4): whoever gets open.I EX without waiting frees
 * it, the unlinker or the last one to close it.  Who does not get it leaves the inode on
 * the orphan list, for the last closer or a recovery.  A dead node closes nothing: after each recovery every node looks
 * through its own list, for whoever unlinked it may be another than the one that replayed the opener.
 */
#include <pthread.h>
#include <stdlib.h>

#include "fs/fuse/ops.h"
#include "lib/log.h"

/* Locks of the inode itself and, if it is an image, its lease. BUSY: somebody has it open. */
static enum csv_err hold_inode(struct csv_freq *r)
{
	enum csv_err err;

	TRY(freq_hold(r, CSV_RES_INODE, r->victim.ino, CSV_EX));
	err = csv_hold_noqueue(&r->op, csv_res(CSV_RES_OPEN, r->victim.ino), CSV_EX);
	if (err != CSV_OK && err != CSV_WAIT)
		return err;
	TRY(freq_missing(r));
	err = csv_getattr(&r->ctx, r->victim, &r->attr);
	if (err == CSV_OK && r->attr.nlink > 0)
		return CSV_BUSY; /* it has got a name again: a rename may bring it back before we come */
	if (err == CSV_OK && r->attr.lease)
		TRY(freq_hold(r, CSV_RES_LEASE, r->victim.ino, CSV_EX));
	return err == CSV_STALE ? CSV_OK : err; /* gone already: only its entry is left */
}

static enum csv_err hold_groups(struct csv_freq *r)
{
	struct csv_fs *fs = &r->m->fs;
	enum csv_err err = CSV_OK;

	if (r->ctx.ags.n == 0) {
		csv_fs_lock_shared(fs);
		err = csv_inode_groups(fs, r->victim, &r->ctx.ags);
		csv_fs_unlock(fs);
	}
	if (err != CSV_OK && err != CSV_STALE)
		return err;
	TRY(freq_hold_ags(r));
	return freq_missing(r);
}

static enum csv_err reap(struct csv_freq *r)
{
	enum csv_err err;

	TRY(hold_inode(r));
	TRY(hold_groups(r));
	TRY(csv_file_condemn(r->m->data, r->victim));
	err = csv_inode_destroy(&r->ctx, r->victim);
	csv_file_bury(r->m->data, r->victim, err == CSV_OK);
	return err;
}

static enum csv_err reap_body(struct csv_freq *r)
{
	enum csv_err err = reap(r);

	if (err != CSV_OK && err != CSV_WAIT && err != CSV_BUSY)
		csv_warn("inode %llu has no name and cannot be freed now: %s", (unsigned long long)r->victim.ino,
			 csv_err_text(err));
	return err;
}

void reap_then_reply(struct csv_freq *r, struct csv_iref victim)
{
	r->victim = victim;
	r->succeeded = true;
	r->ctx.ags.n = 0;
	r->rounds = 0;
	freq_next(r, reap_body);
}

/* ---- all of our list: at mount, and after each recovery -------------------------------- */

#define REAP_AT_ONCE 256u

struct reaping {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	unsigned running, freed;
};

static enum csv_err own_body(struct csv_freq *r)
{
	enum csv_err err = reap_body(r);

	if (err == CSV_OK) {
		pthread_mutex_lock(&r->u.reaping->lock);
		r->u.reaping->freed++;
		pthread_mutex_unlock(&r->u.reaping->lock);
	}
	return err;
}

static void own_ended(struct csv_freq *r)
{
	struct reaping *all = r->u.reaping;

	pthread_mutex_lock(&all->lock);
	all->running--;
	pthread_cond_signal(&all->wake);
	pthread_mutex_unlock(&all->lock);
}

static void wait_below(struct reaping *all, unsigned limit)
{
	pthread_mutex_lock(&all->lock);
	while (all->running >= limit)
		pthread_cond_wait(&all->wake, &all->lock);
	pthread_mutex_unlock(&all->lock);
}

/* False: no memory; the next round has it. */
static bool start_own(struct csv_mount *m, struct reaping *all, struct csv_iref victim)
{
	struct csv_freq *r = freq_new_own(m, own_body);

	if (!r)
		return false;
	r->victim = victim;
	r->succeeded = true;
	r->slow = true;
	r->cleanup = own_ended;
	r->u.reaping = all;
	pthread_mutex_lock(&all->lock);
	all->running++;
	pthread_mutex_unlock(&all->lock);
	freq_start(r);
	return true;
}

enum csv_err csv_reap_own_orphans(struct csv_mount *m, struct csv_why *why)
{
	struct reaping all = { .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER };
	struct csv_iref *refs;
	enum csv_err err;
	size_t n;

	err = csv_orphan_list(&m->fs, m->slot, &refs, &n);
	if (err != CSV_OK)
		return csv_fail(why, err, "csvadm check tells more", "orphan list of slot %u cannot be read", m->slot);
	for (size_t i = 0; i < n && start_own(m, &all, refs[i]); i++)
		wait_below(&all, REAP_AT_ONCE);
	wait_below(&all, 1);
	if (all.freed > 0)
		csv_info("slot %u: %u inodes without a name freed", m->slot, all.freed);
	free(refs);
	return CSV_OK;
}
