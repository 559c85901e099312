/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The thread of a kernel's disk.
 *
 * The way back after a reservation conflict or a lost path (F2):
 *
 *  1. Nothing more is given to the kernel, and what it has is waited for: it ends every request, if only when its own
 *     time-out for the path is over (node.session.timeo.replacement_timeout of open-iscsi).
 *  2. A path must answer.
 *  3. The slot block is read and judged.
 *  4. The key is registered on every path (F6).
 *  5. The slot block is read and judged again: if somebody marked it between 3 and 4,
 *     his PREEMPT may have come before our registration and found nothing.
 *  6. What is held is sent again.
 *
 * Nobody else of this host uses the disk (O_EXCL), so 1 covers all its commands.
 *
 * A flush counts only if the target has not lost its memory since the writes before it (J4).  The kernel takes the unit
 * attentions that would tell, and logs in again without a word.  But with its memory the target loses our registration,
 * unless it keeps those for longer (APTPL): then it counts PRGENERATION from 0 again.  So after each flush the keys are
 * read, and only the way back registers again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "csv/limits.h"
#include "lib/disk_impl.h"
#include "lib/pr.h"

#define TICK_MS 1000
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 2000

enum verified { VERIFIED, IS_FENCED, UNSURE, LOST };

bool csv_disk_dead(struct disk_dev *d, enum csv_err *err)
{
	*err = d->state == CSV_PATH_FENCED ? CSV_FENCED : CSV_UNREACH;
	return d->state == CSV_PATH_FENCED || d->state == CSV_PATH_FAILED;
}

/* Lock held. */
static bool may_end(const struct disk_dev *d)
{
	return d->closing && d->ninflight == 0 && d->verifying == 0 && csv_list_empty(&d->held) &&
	       csv_list_empty(&d->flushed);
}

/* Lock held. */
static void wait_ms(struct disk_dev *d, unsigned ms)
{
	uint64_t until = csv_disk_now() + ms;
	struct timespec ts = { .tv_sec = (time_t)(until / 1000), .tv_nsec = (long)(until % 1000) * 1000000 };

	pthread_cond_timedwait(&d->changed, &d->lock, &ts);
}

static void rest(struct disk_dev *d, unsigned ms)
{
	uint64_t until = csv_disk_now() + ms, now;

	pthread_mutex_lock(&d->lock);
	while ((now = csv_disk_now()) < until && !may_end(d))
		wait_ms(d, (unsigned)(until - now));
	pthread_mutex_unlock(&d->lock);
}

/* Tells the owner of a change; the guard cannot go away meanwhile. */
static void set_state(struct disk_dev *d, enum csv_path_state state, const char *reason)
{
	bool tell;

	pthread_mutex_lock(&d->guard_lock);
	pthread_mutex_lock(&d->lock);
	tell = d->state != state && d->has_guard && d->guard.state;
	d->state = state;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
	if (tell)
		d->guard.state(d->guard.arg, state, reason);
	pthread_mutex_unlock(&d->guard_lock);
}

/* For good: a device that has failed requests cannot know what its owner did about it. */
static void die(struct disk_dev *d, enum csv_path_state state, const char *reason)
{
	enum csv_err err;

	/* State first: who gets CSV_FENCED finds the reason there. */
	set_state(d, state, reason);
	pthread_mutex_lock(&d->lock);
	csv_disk_dead(d, &err);
	pthread_mutex_unlock(&d->lock);
	csv_disk_fail_all(d, err);
}

static void fenced(struct disk_dev *d)
{
	/* Step 4 may have registered us; a fenced host must not keep others' PREEMPT busy. */
	pthread_mutex_lock(&d->pr_lock);
	csv_disk_register(d, 0);
	pthread_mutex_unlock(&d->pr_lock);
	die(d, CSV_PATH_FENCED, "this node's slot is fenced");
}

static unsigned path_timeout(struct disk_dev *d)
{
	unsigned ms;

	pthread_mutex_lock(&d->lock);
	ms = d->has_guard && d->guard.path_timeout_ms ? d->guard.path_timeout_ms : DISK_PATH_MS;
	pthread_mutex_unlock(&d->lock);
	return ms;
}

/* ---- steps 2 to 5 ----------------------------------------------------------------------------- */

/* Steps 3 and 5. */
static enum verified judge(struct disk_dev *d, void *block)
{
	enum csv_slot_verdict verdict = CSV_VERDICT_UNSURE;
	enum csv_err err;
	uint64_t slot;

	pthread_mutex_lock(&d->lock);
	slot = d->guard.slot_block;
	pthread_mutex_unlock(&d->lock);
	err = csv_bdev_read(d->inner, slot * CSV_BLOCK_SIZE, block, CSV_BLOCK_SIZE);
	if (err != CSV_OK)
		return LOST;
	pthread_mutex_lock(&d->guard_lock);
	if (d->has_guard)
		verdict = d->guard.judge(d->guard.arg, block);
	pthread_mutex_unlock(&d->guard_lock);
	switch (verdict) {
	case CSV_VERDICT_ALIVE:
		return VERIFIED;
	case CSV_VERDICT_FENCED:
		return IS_FENCED;
	case CSV_VERDICT_UNSURE:
		break;
	}
	return UNSURE;
}

/* Step 4. A target that forgot everything has forgotten the reservation too (F1): take it again. */
static enum verified register_again(struct disk_dev *d)
{
	enum csv_err err;
	bool lost = true;
	uint64_t key;

	pthread_mutex_lock(&d->lock);
	key = d->guard.pr_key;
	pthread_mutex_unlock(&d->lock);
	/* Without an answer it is taken for lost. */
	if (csv_disk_look_for_key(d, key, &lost) != CSV_OK || lost)
		csv_bdev_generation_bump(&d->dev);
	err = csv_disk_register(d, key);
	if (err == CSV_OK)
		err = csv_disk_reserve_again(d, key);
	/* Reserved by somebody with another type: the writes will tell. */
	if (err == CSV_OK || err == CSV_CONFLICT)
		return VERIFIED;
	return err == CSV_UNREACH ? LOST : UNSURE;
}

static enum verified verify_guarded(struct disk_dev *d)
{
	void *block = aligned_alloc(CSV_BLOCK_SIZE, CSV_BLOCK_SIZE);
	enum verified v;

	if (!block)
		return UNSURE;
	v = judge(d, block);
	if (v == VERIFIED)
		v = register_again(d);
	if (v == VERIFIED)
		v = judge(d, block);
	free(block);
	return v;
}

static enum verified verify(struct disk_dev *d)
{
	enum verified v = LOST;
	bool guarded;

	pthread_mutex_lock(&d->pr_lock);
	d->paths.look(d);
	pthread_mutex_lock(&d->lock);
	guarded = d->has_guard;
	pthread_mutex_unlock(&d->lock);
	if (csv_disk_test_ready(d) == CSV_OK)
		v = guarded ? verify_guarded(d) : VERIFIED;
	pthread_mutex_unlock(&d->pr_lock);
	return v;
}

/* ---- the way back ------------------------------------------------------------------------------- */

/*
 * Without a guard the device is a tool's, which is alone on the volume: it sends again.  After a guard has been taken
 * away (clean unmount) nothing that is still held may be sent: others may own the blocks by then.  Nor before there is
 * one, once a key was registered: a mounter whose slot block waits here may have lost its turn meanwhile.
 */
static bool may_return(struct disk_dev *d)
{
	bool may;

	pthread_mutex_lock(&d->lock);
	may = d->has_guard || (!d->had_guard && !d->key);
	pthread_mutex_unlock(&d->lock);
	return may;
}

/* Step 1; the gate is shut until come_back(). */
static void stand_still(struct disk_dev *d, const char *reason)
{
	pthread_mutex_lock(&d->lock);
	d->shut++;
	while (d->ninflight > 0) {
		wait_ms(d, TICK_MS);
		if (d->ninflight == 0 || d->state == CSV_PATH_PAUSED)
			continue;
		pthread_mutex_unlock(&d->lock);
		set_state(d, CSV_PATH_PAUSED, reason);
		pthread_mutex_lock(&d->lock);
	}
	pthread_mutex_unlock(&d->lock);
}

/* Step 6. False: something has come up meanwhile that asks for another look. */
static bool come_back(struct disk_dev *d, uint64_t since)
{
	char text[96];

	pthread_mutex_lock(&d->lock);
	if (d->check) {
		pthread_mutex_unlock(&d->lock);
		return false;
	}
	d->conflicted = d->unknown_writes = false;
	d->shut--;
	d->way_backs++;
	pthread_mutex_unlock(&d->lock);
	snprintf(text, sizeof(text), "the LUN is back after %.1f s", (double)(csv_disk_now() - since) / 1000);
	set_state(d, CSV_PATH_ONLINE, text);
	csv_disk_send_held(d);
	return true;
}

/* True if the course of the device is settled: online, fenced. */
static bool settle(struct disk_dev *d, enum verified v, uint64_t since)
{
	switch (v) {
	case VERIFIED:
		return come_back(d, since);
	case IS_FENCED:
		fenced(d);
		return true;
	case UNSURE:
	case LOST:
		break;
	}
	return false;
}

static bool is_over(struct disk_dev *d)
{
	bool over;

	pthread_mutex_lock(&d->lock);
	over = may_end(d);
	pthread_mutex_unlock(&d->lock);
	return over;
}

/*
 * Looks until the course is settled or the time is over.
 *
 * The rest of half a second: a target ends the old session's commands before it grants a new login, but tgtd lets
 * those run on that its worker threads have taken up.  They take milliseconds; a write of ours that failed with its
 * path may be one, and a new write to the same block must not overtake it.
 */
static void look_until(struct disk_dev *d, uint64_t deadline, uint64_t since, bool settled_writes, const char *reason)
{
	unsigned backoff = BACKOFF_MIN_MS;

	do {
		enum verified v;

		if (!settled_writes)
			rest(d, DISK_SETTLE_MS);
		pthread_mutex_lock(&d->lock);
		d->check = false; /* what comes in from here on asks for another look */
		pthread_mutex_unlock(&d->lock);
		v = verify(d);
		if (settle(d, v, since))
			return;
		if (v != VERIFIED) {
			set_state(d, CSV_PATH_PAUSED, reason);
			rest(d, backoff);
			backoff = backoff * 2 < BACKOFF_MAX_MS ? backoff * 2 : BACKOFF_MAX_MS;
		}
	} while (csv_disk_now() < deadline && !is_over(d));
	if (!is_over(d))
		die(d, CSV_PATH_FAILED, reason);
}

static void way_back(struct disk_dev *d)
{
	uint64_t since = csv_disk_now();
	bool conflicted, settled_writes;
	char reason[160];
	unsigned checks;

	pthread_mutex_lock(&d->lock);
	snprintf(reason, sizeof(reason), "%s", d->reason);
	conflicted = d->conflicted;
	if (conflicted && d->conflict_ms)
		since = d->conflict_ms;
	checks = conflicted ? d->checks++ : 0;
	pthread_mutex_unlock(&d->lock);
	if (!may_return(d)) {
		die(d, CSV_PATH_FAILED, "path lost while the volume was being mounted or unmounted");
		return;
	}
	if (conflicted)
		set_state(d, CSV_PATH_PAUSED, reason);
	stand_still(d, reason);
	if (checks > 0) /* the last look did not help */
		rest(d, BACKOFF_MIN_MS << (checks < 5 ? checks : 5));
	pthread_mutex_lock(&d->lock);
	settled_writes = !d->unknown_writes;
	pthread_mutex_unlock(&d->lock);
	look_until(d, since + path_timeout(d), since, settled_writes, reason);
}

/* ---- flushes (J4) ------------------------------------------------------------------------------- */

static void take_all(struct csv_list *from, struct csv_list *to)
{
	csv_list_init(to);
	while (!csv_list_empty(from)) {
		struct csv_list *e = from->next;

		csv_list_del(e);
		csv_list_push_back(to, e);
	}
}

/*
 * The target has lost its memory, or does not answer.  With a guard the flushes are made again after the way back.
 * Without: a flush ends, and its caller finds the generation grown; a write that was to be durable has failed.
 */
static void not_counted(struct disk_dev *d, struct disk_req *req, bool lost)
{
	bool again;

	pthread_mutex_lock(&d->lock);
	again = d->has_guard || !lost;
	if (again) {
		csv_disk_want_check(d, lost ? "this host's reservation key is gone" : "no path to the LUN");
		csv_list_push_back(&d->held, &req->link);
	}
	pthread_mutex_unlock(&d->lock);
	if (!again)
		csv_disk_finish(req, req->io.op == CSV_IO_FLUSH ? CSV_OK : CSV_IO);
}

/* One look serves all flushes that had ended before it. */
static void verify_flushes(struct disk_dev *d)
{
	struct csv_list mine;
	bool lost = false;
	enum csv_err err;
	uint64_t key;

	pthread_mutex_lock(&d->lock);
	take_all(&d->flushed, &mine);
	d->verifying++;
	key = d->key;
	pthread_mutex_unlock(&d->lock);
	pthread_mutex_lock(&d->pr_lock);
	err = key ? csv_disk_look_for_key(d, key, &lost) : CSV_OK;
	pthread_mutex_unlock(&d->pr_lock);
	if (lost)
		csv_bdev_generation_bump(&d->dev);
	while (!csv_list_empty(&mine)) {
		struct disk_req *req = csv_list_entry(mine.next, struct disk_req, link);

		csv_list_del(&req->link);
		if (err != CSV_OK || lost)
			not_counted(d, req, lost);
		else
			csv_disk_finish(req, CSV_OK);
	}
	pthread_mutex_lock(&d->lock);
	d->verifying--;
	pthread_mutex_unlock(&d->lock);
}

/* ---- the loop -------------------------------------------------------------------------------------- */

/*
 * The kernel keeps requests while it tries to log in again: that is a pause, and after the path time-out a failure,
 * though what it has ends only when it gives it back.
 */
static void look_for_stall(struct disk_dev *d)
{
	uint64_t age = 0;
	bool stalled;

	pthread_mutex_lock(&d->lock);
	if (!csv_list_empty(&d->inflight))
		age = csv_disk_now() - csv_list_entry(d->inflight.next, struct disk_req, link)->sent_ms;
	stalled = d->state == CSV_PATH_PAUSED;
	pthread_mutex_unlock(&d->lock);
	if (age > path_timeout(d))
		die(d, CSV_PATH_FAILED, "the LUN did not answer within the path time-out");
	else if (age > DISK_STALL_MS)
		set_state(d, CSV_PATH_PAUSED, "the LUN does not answer");
	else if (stalled)
		set_state(d, CSV_PATH_ONLINE, "the LUN answers again");
}

static void step(struct disk_dev *d)
{
	bool dead, check, flushed, held;
	enum csv_err err;

	pthread_mutex_lock(&d->lock);
	dead = csv_disk_dead(d, &err);
	check = d->check;
	flushed = !csv_list_empty(&d->flushed);
	held = !csv_list_empty(&d->held);
	if (dead ? !held && !flushed : !check && !flushed)
		wait_ms(d, TICK_MS);
	pthread_mutex_unlock(&d->lock);
	if (dead)
		csv_disk_fail_all(d, err);
	else if (check)
		way_back(d);
	else if (flushed)
		verify_flushes(d);
	else
		look_for_stall(d);
}

void *csv_disk_thread(void *arg)
{
	struct disk_dev *d = arg;

	while (!is_over(d))
		step(d);
	return NULL;
}
