/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Leases of this mount: the table, and taking one.
 *
 * Taking: lease.I EX without queueing; lease block read; may it be taken (nobody's,
 * stale, or left over from us); holder, epoch + 1 and VM written; lease.I pinned;
 * committed and, in a cluster, written home, where others look who has it; only then is
 * the open answered.
 *
 * Refused without queueing does not yet mean leased: the lock may be with a node that
 * is just giving the lease back, or with one that is dead and not recovered.  The
 * block says which: does it name a life that is not alive, or nobody, the open tries
 * again a little later, until the recovery is through, or the block names somebody.
 * Does it name somebody who lives, the open tries a few times all the same: a close
 * elsewhere is over for its caller before the block that says so is home.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs/lock/lease_int.h"

#define RETRY_MS 50
#define RETRY_LIVING 5	 /* tries for a lease whose holder lives: 250 ms for what is just being given back */
#define RETRY_NOBODY 100 /* tries for a lease that nobody seems to have: 5 s */

struct lease_image *csv_lease_find(struct csv_leases *ls, uint64_t ino, bool gone)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &ls->images) {
		struct lease_image *im = csv_list_entry(pos, struct lease_image, link);

		if (im->image.ino == ino && gone == (im->state == LEASE_GONE))
			return im;
	}
	return NULL;
}

struct lease_image *csv_lease_image_new(struct csv_leases *ls, struct csv_iref image)
{
	struct lease_image *im = calloc(1, sizeof(*im));

	if (!im)
		return NULL;
	im->ls = ls;
	im->image = image;
	csv_list_init(&im->waiters);
	csv_list_init(&im->retry);
	csv_list_push_back(&ls->images, &im->link);
	return im;
}

void csv_lease_wake(struct lease_image *im)
{
	while (!csv_list_empty(&im->waiters)) {
		struct lease_waiter *w = csv_list_entry(im->waiters.next, struct lease_waiter, link);

		csv_list_del(&w->link);
		csv_op_wake(w->op);
		free(w);
	}
}

void csv_lease_image_free(struct lease_image *im)
{
	CSV_ASSERT(csv_list_empty(&im->waiters) && csv_list_empty(&im->retry));
	csv_list_del(&im->link);
	free(im);
}

bool csv_lease_is_own(const struct csv_leases *ls, const struct csv_lease *l)
{
	return l->mode != CSV_LEASE_NONE && l->slot == ls->cfg.fs->slot && l->incarnation == ls->cfg.fs->incarnation;
}

/* ---- who has it ------------------------------------------------------------------ */

static bool holder_lives(const struct csv_leases *ls, const struct csv_lease *l)
{
	if (l->mode == CSV_LEASE_NONE || csv_lease_is_own(ls, l))
		return false;
	return ls->cfg.alive && ls->cfg.alive(ls->cfg.arg, l->slot, l->incarnation);
}

bool csv_lease_alive(const struct csv_leases *ls, const struct csv_lease *l)
{
	return csv_lease_is_own(ls, l) || holder_lives(ls, l);
}

static enum csv_err refuse(struct csv_leases *ls, const struct csv_lease *l, const char *vm, struct csv_why *why)
{
	char since[32] = "?";
	time_t t = (time_t)l->since_sec;
	struct tm tm;

	if (gmtime_r(&t, &tm))
		strftime(since, sizeof(since), "%Y-%m-%dT%H:%M:%SZ", &tm);
	csv_info("image %llu: VM %s is refused, VM %s on node %s has the lease since %s (epoch %llu)",
		 (unsigned long long)l->image.ino, vm, l->vm, l->node, since, (unsigned long long)l->epoch);
	return csv_fail(why, CSV_LEASED, "stop that VM, or migrate it here", "leased by VM %s on node %s since %s",
			l->vm, l->node, since);
}

/* ---- taking ------------------------------------------------------------------------ */

static void commit_done(struct csv_commit_wait *w, enum csv_err err)
{
	struct lease_image *im = csv_list_entry(w, struct lease_image, commit);

	im->commit_err = err;
	csv_op_wake(im->owner);
}

static void *retry_thread(void *arg)
{
	struct csv_leases *ls = arg;

	pthread_mutex_lock(&ls->mutex);
	while (!ls->stop) {
		struct timespec ts;

		if (csv_list_empty(&ls->retries)) {
			pthread_cond_wait(&ls->wake, &ls->mutex);
			continue;
		}
		clock_gettime(CLOCK_MONOTONIC, &ts);
		ts.tv_nsec += RETRY_MS * 1000000l;
		ts.tv_sec += ts.tv_nsec / 1000000000l;
		ts.tv_nsec %= 1000000000l;
		pthread_cond_timedwait(&ls->wake, &ls->mutex, &ts);
		while (!csv_list_empty(&ls->retries)) {
			struct lease_image *im = csv_list_entry(ls->retries.next, struct lease_image, retry);

			csv_list_del(&im->retry);
			csv_op_wake(im->owner);
		}
	}
	pthread_mutex_unlock(&ls->mutex);
	return NULL;
}

static enum csv_err try_later(struct lease_image *im)
{
	struct csv_leases *ls = im->ls;

	csv_op_await(im->owner);
	pthread_mutex_lock(&ls->mutex);
	if (csv_list_empty(&ls->retries))
		pthread_cond_signal(&ls->wake);
	csv_list_push_back(&ls->retries, &im->retry);
	pthread_mutex_unlock(&ls->mutex);
	return CSV_WAIT;
}

/* lease.I is with another node, or in use by this one for a moment. */
static enum csv_err busy(struct lease_image *im, uint64_t block, const char *vm, struct csv_why *why)
{
	struct csv_leases *ls = im->ls;
	struct csv_lease l;
	enum csv_err err = csv_lease_peek(ls->cfg.fs, im->image, block, &l);

	if (err)
		return err;
	im->tries++;
	if (holder_lives(ls, &l))
		return im->tries < RETRY_LIVING ? try_later(im) : refuse(ls, &l, vm, why);
	if (l.mode != CSV_LEASE_NONE || im->tries < RETRY_NOBODY)
		return try_later(im);
	return csv_fail(why, CSV_BUSY, "try again", "lease is being changed by node %s", csv_hold_busy_node(im->owner));
}

static void name_us(struct lease_image *im, const char *vm)
{
	struct csv_leases *ls = im->ls;
	struct csv_lease *l = &im->l;
	uint32_t nsec;
	int64_t sec;

	/* A holder that died left times here that the inode does not have. */
	im->times = l->mode != CSV_LEASE_NONE && l->mtime.tv_sec;
	ls->cfg.fs->env->wall(ls->cfg.fs->env, &sec, &nsec);
	l->mode = CSV_LEASE_EXCLUSIVE;
	l->epoch++;
	l->slot = ls->cfg.fs->slot;
	l->incarnation = ls->cfg.fs->incarnation;
	l->nodeid = ls->cfg.nodeid;
	l->run = true; /* H6: no handoff is under way, our first write may come at once */
	l->since_sec = (uint64_t)sec;
	memset(l->handoff, 0, sizeof(l->handoff));
	snprintf(l->vm, sizeof(l->vm), "%s", vm);
	snprintf(l->node, sizeof(l->node), "%s", ls->cfg.node);
}

static enum csv_err write_block(struct lease_image *im)
{
	struct csv_txn *txn;
	enum csv_err err = csv_txn_begin(im->ls->cfg.fs, 0, &txn);

	if (err)
		return err;
	err = csv_lease_write(txn, &im->l);
	if (err) {
		csv_txn_abort(txn);
		return err;
	}
	im->commit = (struct csv_commit_wait){ .tid = csv_txn_end(txn), .fn = commit_done };
	csv_list_init(&im->commit.link);
	return CSV_OK;
}

/* Runs with im TAKING and ours; WAIT: comes again. */
static enum csv_err take(struct lease_image *im, uint64_t block, const char *vm, struct csv_why *why)
{
	struct csv_leases *ls = im->ls;
	struct csv_fs *fs = ls->cfg.fs;
	enum csv_err err;

	if (im->written && !im->commit_err && ls->cfg.alive)
		return csv_journal_sync_res(fs, lease_res(im)); /* others look at the block on the LUN */
	if (im->written)
		return im->commit_err;
	err = csv_hold_noqueue(im->owner, lease_res(im), CSV_EX);
	if (err == CSV_BUSY)
		return busy(im, block, vm, why);
	if (err)
		return err;
	csv_fs_lock_shared(fs);
	err = csv_lease_read(fs, im->image, block, &im->l);
	csv_fs_unlock(fs);
	if (err)
		return err;
	if (holder_lives(ls, &im->l))
		return refuse(ls, &im->l, vm, why);
	name_us(im, vm);
	err = write_block(im);
	if (err)
		return err;
	csv_hold_pin(im->owner, lease_res(im));
	im->written = true;
	csv_op_await(im->owner);
	csv_journal_commit_async(fs, &im->commit);
	return CSV_WAIT;
}

/* The end of TAKING, with whatever result. */
static enum csv_err taken(struct lease_image *im, enum csv_err err, struct csv_lease_ref *ref)
{
	struct csv_leases *ls = im->ls;

	if (!err && ls->cfg.taken)
		ls->cfg.taken(ls->cfg.arg, im->image);
	if (err && im->written)
		csv_hold_unpin(ls->cfg.locks, lease_res(im));
	pthread_mutex_lock(&ls->mutex);
	im->owner = NULL;
	csv_list_del(&im->retry);
	csv_lease_wake(im);
	if (err) {
		csv_lease_image_free(im);
	} else {
		im->state = LEASE_HELD;
		im->shares = 1;
		ref->im = im;
	}
	pthread_mutex_unlock(&ls->mutex);
	return err;
}

/* ---- open ---------------------------------------------------------------------------- */

/* Another operation takes the lease or gives it back: this one runs again after it. */
static enum csv_err wait_for(struct lease_image *im, struct csv_op *op)
{
	struct lease_waiter *w = calloc(1, sizeof(*w));

	if (!w)
		return CSV_NOMEM;
	w->op = op;
	csv_list_push_back(&im->waiters, &w->link);
	csv_op_await(op);
	return CSV_WAIT;
}

/* With the mutex. INTERNAL: *mine is to be taken by this operation. */
static enum csv_err look(struct csv_leases *ls, struct csv_op *op, struct csv_iref image, const char *vm,
			 struct csv_lease_ref *ref, struct lease_image **mine, struct csv_why *why)
{
	struct lease_image *im = csv_lease_find(ls, image.ino, false);

	if (im && im->image.gen != image.gen)
		return CSV_STALE;
	if (im && im->owner != op) {
		if (im->state != LEASE_HELD)
			return wait_for(im, op);
		if (strcmp(im->l.vm, vm) != 0)
			return refuse(ls, &im->l, vm, why);
		im->shares++;
		ref->im = im;
		return CSV_OK;
	}
	if (!im) {
		im = csv_lease_image_new(ls, image);
		if (!im)
			return CSV_NOMEM;
		im->state = LEASE_TAKING;
		im->owner = op;
	}
	*mine = im;
	return CSV_INTERNAL;
}

enum csv_err csv_lease_open(struct csv_leases *ls, struct csv_op *op, struct csv_iref image, uint64_t block,
			    const char *vm, struct csv_lease_ref **ref, struct csv_why *why)
{
	struct lease_image *im = NULL;
	enum csv_err err;

	if (ls->cfg.fs->readonly)
		return CSV_ROFS;
	*ref = calloc(1, sizeof(**ref));
	if (!*ref) {
		csv_lease_cancel(ls, op);
		return CSV_NOMEM;
	}
	pthread_mutex_lock(&ls->mutex);
	err = look(ls, op, image, vm, *ref, &im, why);
	pthread_mutex_unlock(&ls->mutex);
	if (im) {
		err = take(im, block, vm, why);
		if (err != CSV_WAIT)
			err = taken(im, err, *ref);
	}
	if (err) {
		free(*ref);
		*ref = NULL;
	}
	return err;
}

/* The operation has no await open: it either runs or fails, which it does after the last wake. */
void csv_lease_cancel(struct csv_leases *ls, struct csv_op *op)
{
	struct csv_list *pos;
	struct lease_image *im = NULL;

	pthread_mutex_lock(&ls->mutex);
	csv_list_for_each(pos, &ls->images) {
		struct lease_image *i = csv_list_entry(pos, struct lease_image, link);

		if (i->owner == op && i->state == LEASE_TAKING)
			im = i;
	}
	pthread_mutex_unlock(&ls->mutex);
	if (im)
		taken(im, CSV_INTR, NULL);
}

/* ---- looking ---------------------------------------------------------------------------- */

struct csv_iref csv_lease_image(const struct csv_lease_ref *ref)
{
	return ref->im->image;
}

uint64_t csv_lease_epoch(const struct csv_lease_ref *ref)
{
	uint64_t epoch;

	pthread_mutex_lock(&ref->im->ls->mutex);
	epoch = ref->im->l.epoch;
	pthread_mutex_unlock(&ref->im->ls->mutex);
	return epoch;
}

bool csv_lease_held(struct csv_leases *ls, struct csv_iref image, struct csv_lease *l)
{
	struct lease_image *im;
	bool held;

	pthread_mutex_lock(&ls->mutex);
	im = csv_lease_find(ls, image.ino, false);
	held = im && im->state == LEASE_HELD;
	if (held && l)
		*l = im->l;
	pthread_mutex_unlock(&ls->mutex);
	return held;
}

bool csv_lease_times(struct csv_leases *ls, struct csv_iref image, struct timespec *mtime, struct timespec *ctime)
{
	struct lease_image *im;
	bool have;

	pthread_mutex_lock(&ls->mutex);
	im = csv_lease_find(ls, image.ino, false);
	have = im && (im->state == LEASE_HELD || im->state == LEASE_GIVING) && im->l.mtime.tv_sec;
	if (have) {
		*mtime = im->l.mtime;
		*ctime = im->l.ctime;
	}
	pthread_mutex_unlock(&ls->mutex);
	return have;
}

/* ---- life -------------------------------------------------------------------------------- */

enum csv_err csv_leases_new(const struct csv_leases_cfg *cfg, struct csv_leases **out)
{
	struct csv_leases *ls = calloc(1, sizeof(*ls));
	pthread_condattr_t attr;

	if (!ls)
		return CSV_NOMEM;
	ls->cfg = *cfg;
	pthread_mutex_init(&ls->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&ls->wake, &attr);
	pthread_condattr_destroy(&attr);
	csv_list_init(&ls->images);
	csv_list_init(&ls->retries);
	if (pthread_create(&ls->retry, NULL, retry_thread, ls)) {
		free(ls);
		return CSV_NOMEM;
	}
	*out = ls;
	return CSV_OK;
}

void csv_leases_free(struct csv_leases *ls)
{
	if (!ls)
		return;
	pthread_mutex_lock(&ls->mutex);
	ls->stop = true;
	pthread_cond_signal(&ls->wake);
	pthread_mutex_unlock(&ls->mutex);
	pthread_join(ls->retry, NULL);
	while (!csv_list_empty(&ls->images))
		csv_lease_image_free(csv_list_entry(ls->images.next, struct lease_image, link));
	pthread_cond_destroy(&ls->wake);
	pthread_mutex_destroy(&ls->mutex);
	free(ls);
}
