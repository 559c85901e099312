/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The way back after the loss of the session or a reservation conflict (F2).
 *
 *  1. Nothing is issued (`gate` shut, or `check` set by the call-back that saw the
 *     conflict).
 *  2. Every command of ours has been answered, or its session is gone: a new login
 *     with the same initiator name and ISID makes the target end the old session
 *     before it grants the new one (RFC 7143 6.3.5).
 *  3. The slot block is read and judged.
 *  4. The key is registered.
 *  5. The slot block is read and judged again: if somebody marked it between 3 and 4,
 *     his PREEMPT may have come before our registration and found nothing.
 *  6. What is held is sent again.
 *
 * Until 6 the host has no registration, or one that nobody has preempted, and no
 * write on its way; from 4 on a PREEMPT hits it.  So no write passes after the fence.
 */
#include <stdio.h>
#include <stdlib.h>

#include "csv/limits.h"
#include "lib/iscsi_impl.h"
#include "lib/pr.h"

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 2000

enum verified { VERIFIED, IS_FENCED, IS_OTHER_LUN, UNSURE, LOST };

bool csv_iscsi_guarded(struct iscsi_dev *d)
{
	bool guarded;

	pthread_mutex_lock(&d->lock);
	guarded = d->has_guard;
	pthread_mutex_unlock(&d->lock);
	return guarded;
}

/* Tells the owner of a change; the guard cannot go away meanwhile. */
static void set_state(struct iscsi_dev *d, enum csv_path_state state, const char *reason)
{
	if (d->state == state)
		return;
	d->state = state;
	pthread_mutex_lock(&d->guard_lock);
	if (csv_iscsi_guarded(d) && d->guard.state)
		d->guard.state(d->guard.arg, state, reason);
	pthread_mutex_unlock(&d->guard_lock);
}

bool csv_iscsi_dead(struct iscsi_dev *d, enum csv_err *err)
{
	*err = d->state == CSV_PATH_FENCED ? CSV_FENCED : CSV_UNREACH;
	return d->state == CSV_PATH_FENCED || d->state == CSV_PATH_FAILED;
}

/* For good: a device that has failed requests cannot know what its owner did about it. */
static void die(struct iscsi_dev *d, enum csv_path_state state, const char *reason)
{
	enum csv_err err;

	d->gate = false;
	d->check = false;
	if (state == CSV_PATH_FAILED)
		csv_iscsi_drop(d);
	/* State first: who gets CSV_FENCED finds the reason there. */
	set_state(d, state, reason);
	csv_iscsi_dead(d, &err);
	csv_iscsi_fail_all(d, err);
}

static void fenced(struct iscsi_dev *d)
{
	/* Step 4 may have registered us; a fenced host must not keep others' PREEMPT busy. */
	if (d->up)
		csv_pr_register(&d->port, 0);
	die(d, CSV_PATH_FENCED, "this node's slot is fenced");
}

static void online(struct iscsi_dev *d, const char *reason)
{
	d->check = false;
	d->unknown_writes = false;
	d->gate = true;
	set_state(d, CSV_PATH_ONLINE, reason);
}

/* Steps 3 and 5. */
static enum verified judge(struct iscsi_dev *d, void *block)
{
	enum csv_slot_verdict verdict = CSV_VERDICT_ALIVE;
	enum csv_err err;
	uint64_t slot;

	pthread_mutex_lock(&d->guard_lock);
	slot = d->guard.slot_block;
	pthread_mutex_unlock(&d->guard_lock);
	err = csv_iscsi_read_block(d, slot, block);
	if (err != CSV_OK)
		return err == CSV_UNREACH ? LOST : UNSURE;
	pthread_mutex_lock(&d->guard_lock);
	if (csv_iscsi_guarded(d))
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
static enum verified register_again(struct iscsi_dev *d)
{
	enum csv_err err;
	uint64_t key;

	pthread_mutex_lock(&d->guard_lock);
	key = d->guard.pr_key;
	pthread_mutex_unlock(&d->guard_lock);
	err = csv_pr_register(&d->port, key);
	if (err == CSV_OK && d->port.held != CSV_PR_NONE)
		err = csv_pr_reserve(&d->port, key, d->port.held);
	/* Reserved by somebody with another type: the writes will tell. */
	if (err == CSV_OK || err == CSV_CONFLICT)
		return VERIFIED;
	return err == CSV_UNREACH ? LOST : UNSURE;
}

/* Steps 3 to 5. */
static enum verified verify(struct iscsi_dev *d)
{
	void *block;
	enum verified v;

	if (!csv_iscsi_guarded(d))
		return VERIFIED;
	block = aligned_alloc(CSV_BLOCK_SIZE, CSV_BLOCK_SIZE);
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

static void rest(struct iscsi_dev *d, unsigned ms)
{
	uint64_t until = csv_iscsi_now() + ms, now;

	while ((now = csv_iscsi_now()) < until)
		csv_iscsi_pump(d, (unsigned)(until - now));
}

static unsigned path_timeout(struct iscsi_dev *d)
{
	unsigned ms;

	pthread_mutex_lock(&d->guard_lock);
	ms = d->has_guard && d->guard.path_timeout_ms ? d->guard.path_timeout_ms : ISCSI_PATH_MS;
	pthread_mutex_unlock(&d->guard_lock);
	return ms;
}

/*
 * One login at one portal and, if it succeeds, steps 3 to 5.
 *
 * The rest of half a second: a target must end the old session's commands before it
 * grants the new login, but tgtd lets those run on that its worker threads have taken
 * up.  They take milliseconds; a new write to the same block must not overtake them.
 */
static enum verified try_portal(struct iscsi_dev *d, const char *portal, uint64_t deadline)
{
	uint64_t until = csv_iscsi_now() + ISCSI_LOGIN_MS;
	enum verified v;
	enum csv_err err;

	if (csv_iscsi_login(d, portal, until < deadline ? until : deadline, NULL) != CSV_OK)
		return LOST;
	if (d->unknown_writes)
		rest(d, ISCSI_SETTLE_MS);
	if (!d->up || d->lost)
		return LOST;
	err = csv_iscsi_probe_again(d);
	if (err == CSV_IDENTITY)
		return IS_OTHER_LUN;
	v = err == CSV_OK ? verify(d) : LOST;
	/* Unsure: from the start, at another portal perhaps. */
	if (v == UNSURE || v == LOST)
		csv_iscsi_drop(d);
	return v;
}

/* True if the course of the device is settled: online, fenced or failed. */
static bool settle(struct iscsi_dev *d, enum verified v)
{
	char text[96];

	switch (v) {
	case VERIFIED:
		snprintf(text, sizeof(text), "session is back after %.1f s",
			 (double)(csv_iscsi_now() - d->lost_ms) / 1000);
		online(d, text);
		return true;
	case IS_FENCED:
		fenced(d);
		return true;
	case IS_OTHER_LUN:
		die(d, CSV_PATH_FAILED, "another LUN answers under this name");
		return true;
	case UNSURE:
	case LOST:
		break;
	}
	return false;
}

/*
 * Without a guard the device is a tool's, which is alone on the volume: it reconnects
 * and sends again.  After a guard has been taken away (clean unmount) nothing that is
 * still held may be sent: others may own the blocks by then.  Nor before there is one, once a
 * key was registered: a mounter whose slot block waits here may have lost its turn meanwhile,
 * and with the key it has lost what would have refused it.
 */
static bool may_return(struct iscsi_dev *d)
{
	bool may;

	pthread_mutex_lock(&d->lock);
	may = d->has_guard || (!d->had_guard && !d->registered);
	pthread_mutex_unlock(&d->lock);
	return may;
}

void csv_iscsi_come_back(struct iscsi_dev *d)
{
	uint64_t deadline = d->lost_ms + path_timeout(d);
	unsigned backoff = BACKOFF_MIN_MS;
	char reason[160];

	d->check = false; /* the way back includes it */
	if (!may_return(d)) {
		die(d, CSV_PATH_FAILED, "session lost while the volume was being mounted or unmounted");
		return;
	}
	snprintf(reason, sizeof(reason), "%s", d->reason);
	set_state(d, CSV_PATH_PAUSED, reason);
	while (csv_iscsi_now() < deadline && !csv_iscsi_may_end(d)) {
		for (int i = 0; i < d->name.nportals; i++)
			if (settle(d, try_portal(d, d->name.portal[i], deadline)))
				return;
		rest(d, backoff);
		backoff = backoff * 2 < BACKOFF_MAX_MS ? backoff * 2 : BACKOFF_MAX_MS;
	}
	if (csv_iscsi_may_end(d))
		return;
	snprintf(reason, sizeof(reason), "no way to the target for %u s", path_timeout(d) / 1000);
	die(d, CSV_PATH_FAILED, reason);
}

/*
 * A registration that was taken from us counts like a lost session (J4): in between another host may have thought
 * that nothing of ours can be written any more.
 */
static void note_lost_registration(struct iscsi_dev *d)
{
	uint32_t pr_generation;
	unsigned n = 0;
	uint64_t key;

	pthread_mutex_lock(&d->guard_lock);
	key = d->guard.pr_key;
	pthread_mutex_unlock(&d->guard_lock);
	/* Without an answer it is taken for lost. */
	if (csv_pr_count_key(&d->port, key, &n, &pr_generation) != CSV_OK || n == 0)
		csv_bdev_generation_bump(&d->dev);
}

/* The session stands, but a conflict or a unit attention says that our registration may not. */
void csv_iscsi_check(struct iscsi_dev *d)
{
	uint64_t deadline = (d->conflict_ms ? d->conflict_ms : csv_iscsi_now()) + path_timeout(d);
	unsigned backoff = BACKOFF_MIN_MS << (d->checks < 5 ? d->checks : 5);
	char reason[160];
	enum verified v;

	snprintf(reason, sizeof(reason), "%s", d->reason);
	set_state(d, CSV_PATH_PAUSED, reason);
	d->gate = false;
	while (d->ninflight > 0 && d->up && !d->lost)
		csv_iscsi_pump(d, 100);
	if (d->conflict_ms && d->checks++ > 0)
		rest(d, backoff);		  /* the last check did not help */
	if (d->up && !d->lost && !d->conflict_ms) /* a conflict has been counted */
		note_lost_registration(d);
	while (d->up && !d->lost && csv_iscsi_now() < deadline) {
		d->lost_ms = csv_iscsi_now();
		d->check = false; /* what comes in from here on asks for another check */
		v = verify(d);
		if (v == VERIFIED && d->check)
			continue;
		if (settle(d, v))
			return;
		if (v == UNSURE)
			rest(d, BACKOFF_MIN_MS);
	}
	if (d->up && !d->lost)
		die(d, CSV_PATH_FAILED, "the LUN refuses this host's writes though it is registered");
}
