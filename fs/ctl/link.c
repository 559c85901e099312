/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/ctl/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "csv/timeouts.h"
#include "fs/lock/cache.h"
#include "fs/lock/handoff.h"
#include "fs/lock/vm.h"
#include "fs/meta/alloc.h"
#include "lib/log.h"

/* How long the first answer to STATUS waits for the free blocks to be counted. */
#define COUNT_MS 300

static void deadline(struct timespec *ts, unsigned ms)
{
	clock_gettime(CLOCK_MONOTONIC, ts);
	ts->tv_sec += ms / 1000;
	ts->tv_nsec += (long)(ms % 1000) * 1000000;
	if (ts->tv_nsec >= 1000000000) {
		ts->tv_nsec -= 1000000000;
		ts->tv_sec++;
	}
}

/* ---- what runs in the worker and the teller --------------------------------------------- */

struct job {
	struct csv_work work;
	struct csv_link *l;
	struct csv_msg msg; /* type 0: the connection is lost */
};

static struct job *job_new(struct csv_link *l, void (*fn)(struct csv_work *work))
{
	struct job *j = calloc(1, sizeof(*j));

	CSV_ASSERT(j);
	j->l = l;
	j->work.fn = fn;
	csv_list_init(&j->work.link);
	return j;
}

static void run_count(struct csv_work *work)
{
	struct job *j = csv_list_entry(work, struct job, work);
	struct csv_link *l = j->l;
	uint64_t unused;

	csv_alloc_free_blocks(&l->m->fs, &unused);
	pthread_mutex_lock(&l->lock);
	l->counting = false;
	pthread_cond_broadcast(&l->wake);
	pthread_mutex_unlock(&l->lock);
	free(j);
}

/* The path may be lost: then the answer tells the number that was known before. lock held. */
static void count_free(struct csv_link *l)
{
	struct timespec ts;

	if (!l->counting && !l->out) {
		l->counting = true;
		csv_workq_add(l->adopter, &job_new(l, run_count)->work);
	}
	deadline(&ts, COUNT_MS);
	while (l->counting && !pthread_cond_timedwait(&l->wake, &l->lock, &ts))
		;
}

/* While the volume is not open yet, or not any more. */
static void brief_status(struct csv_mount *m, bool leaving, struct csv_msg_volume *v)
{
	csv_mount_status_brief(m, v);
	if (!strcmp(v->state, csv_volume_state_name(CSV_VOL_FAILED)) ||
	    !strcmp(v->state, csv_volume_state_name(CSV_VOL_FENCED)))
		return;
	snprintf(v->state, sizeof(v->state), "%s", csv_volume_state_name(CSV_VOL_RECOVERING));
	snprintf(v->reason, sizeof(v->reason), "%s", leaving ? "being unmounted" : "being mounted");
}

static void send_status(struct csv_link *l, uint64_t seq)
{
	struct csv_msg msg = { .type = CSV_MSG_STATUS_VOLUME, .seq = seq };
	bool up, leaving;

	pthread_mutex_lock(&l->lock);
	up = l->cache_up;
	leaving = l->leaving;
	if (up && !leaving)
		count_free(l);
	pthread_mutex_unlock(&l->lock);
	if (up && !leaving)
		csv_mount_status(l->m, &msg.volume);
	else
		brief_status(l->m, leaving, &msg.volume);
	pthread_mutex_lock(&l->lock);
	msg.volume.cluster_msgs_sent = l->sent;
	msg.volume.recovery_sec = l->recovery_sec;
	msg.volume.recovery_fence_ms = l->fence_ms;
	msg.volume.recovery_replay_ms = l->replay_ms;
	msg.volume.recovery_slot = l->recovery_slot;
	msg.volume.recovery_incarnation = l->recovery_incarnation;
	snprintf(msg.volume.engine, sizeof(msg.volume.engine), "%s",
		 csv_lock_engine_name((enum csv_lock_engine)l->view.engine));
	pthread_mutex_unlock(&l->lock);
	csv_link_send(l, &msg);
}

enum csv_err csv_link_may_obey(struct csv_link *l)
{
	enum csv_err err = csv_fs_state(&l->m->fs);

	pthread_mutex_lock(&l->lock);
	if (!err && l->fenced)
		err = CSV_FENCED;
	if (!err && l->lost)
		err = CSV_NOTCONN;
	if (!err && l->leaving)
		err = CSV_BUSY;
	pthread_mutex_unlock(&l->lock);
	return err;
}

/* csvlockd knows of no mounter that has looked at the slot table: it asks us, and if we cannot look, somebody else. */
static void verify_slots(struct csv_link *l, uint64_t seq)
{
	struct csv_msg msg = { .type = CSV_MSG_DONE, .seq = seq };
	enum csv_err err = csv_link_may_obey(l);
	struct csv_why why;
	unsigned found;

	csv_why_init(&why);
	if (!err)
		err = csv_link_tell_slots(l, &found, &why);
	if (err && err != CSV_FENCED && err != l->verify_err) /* it is asked again, and fails again */
		csv_warn("the slot table cannot be compared: %s", why.text[0] ? why.text : csv_err_text(err));
	l->verify_err = err;
	msg.err = err;
	csv_link_send(l, &msg);
	if (err == CSV_FENCED)
		csv_fenced_order(l);
}

static void run_order(struct csv_link *l, const struct csv_msg *msg)
{
	bool out;

	pthread_mutex_lock(&l->lock);
	out = l->out;
	pthread_mutex_unlock(&l->lock);
	if (out)
		return; /* who gave it waits for no answer of ours */
	if (msg->type == CSV_MSG_FENCE)
		csv_fence_order(l, msg);
	else if (msg->type == CSV_MSG_REPLAY)
		csv_replay_order(l, msg);
	else
		verify_slots(l, msg->seq);
}

/* FENCED before the volume is open: csv_link_up() looks again. */
static void stop_if_fenced(struct csv_link *l)
{
	bool now;

	pthread_mutex_lock(&l->lock);
	now = l->fenced && l->cache_up && !l->leaving;
	pthread_mutex_unlock(&l->lock);
	if (now)
		csv_fenced_order(l);
}

static void run_job(struct csv_work *work)
{
	struct job *j = csv_list_entry(work, struct job, work);

	switch (j->msg.type) {
	case CSV_MSG_FENCE:
	case CSV_MSG_REPLAY:
	case CSV_MSG_DIRTY:
		run_order(j->l, &j->msg);
		break;
	case CSV_MSG_FENCED:
		stop_if_fenced(j->l);
		break;
	case CSV_MSG_STATUS:
		send_status(j->l, j->msg.seq);
		break;
	default:
		csv_link_lost(j->l);
	}
	free(j);
}

static void give_job(struct csv_link *l, const struct csv_msg *msg)
{
	struct job *j = job_new(l, run_job);
	bool tell = msg && (msg->type == CSV_MSG_STATUS || msg->type == CSV_MSG_FENCED);

	if (msg)
		j->msg = *msg;
	csv_workq_add(tell ? l->teller : l->worker, &j->work);
}

struct settling {
	struct csv_work work;
	struct csv_link *l;
	bool done;
};

static void run_settling(struct csv_work *work)
{
	struct settling *s = csv_list_entry(work, struct settling, work);

	pthread_mutex_lock(&s->l->lock);
	s->done = true;
	pthread_cond_broadcast(&s->l->wake);
	pthread_mutex_unlock(&s->l->lock);
}

static void settle(struct csv_link *l, struct csv_workq *q)
{
	struct settling s = { .work = { .fn = run_settling }, .l = l };

	csv_list_init(&s.work.link);
	csv_workq_add(q, &s.work);
	pthread_mutex_lock(&l->lock);
	while (!s.done)
		pthread_cond_wait(&l->wake, &l->lock);
	pthread_mutex_unlock(&l->lock);
}

void csv_link_settle(struct csv_link *l)
{
	settle(l, l->worker);
	settle(l, l->teller);
}

static void run_adoption(struct csv_work *work)
{
	struct job *j = csv_list_entry(work, struct job, work);

	csv_link_adopt(j->l);
	free(j);
}

void csv_link_adopt_later(struct csv_link *l)
{
	pthread_mutex_lock(&l->lock);
	if (l->view.out)
		l->reap = true;
	if ((l->recovered || l->reap) && l->cache_up && !l->leaving && !l->view.frozen)
		csv_workq_add(l->adopter, &job_new(l, run_adoption)->work);
	pthread_mutex_unlock(&l->lock);
}

/* ---- records from csvlockd -------------------------------------------------------------- */

struct call {
	struct csv_list link;
	uint64_t seq;
	struct csv_msg *msg;
	bool answered;
};

/* An answer that nobody waits for came too late. */
static void answer(struct csv_link *l, const struct csv_msg *msg)
{
	struct csv_list *pos;

	pthread_mutex_lock(&l->lock);
	csv_list_for_each(pos, &l->calls) {
		struct call *c = csv_list_entry(pos, struct call, link);

		if (c->seq != msg->seq)
			continue;
		*c->msg = *msg;
		c->answered = true;
		pthread_cond_broadcast(&l->wake);
	}
	pthread_mutex_unlock(&l->lock);
}

static void on_view(struct csv_link *l, const struct csv_msg *msg)
{
	pthread_mutex_lock(&l->lock);
	l->view = msg->view;
	l->viewed = true;
	pthread_cond_broadcast(&l->wake);
	pthread_mutex_unlock(&l->lock);
	csv_health_view(l->m, &msg->view);
	csv_link_adopt_later(l);
}

/* GRANT, DENY, BAST: the mount's own waits while the cache is not there, else the cache's. */
static void on_lock(struct csv_link *l, const struct csv_msg *msg)
{
	struct csv_res res = csv_res((enum csv_res_type)msg->lock.res_type, msg->lock.res_id);
	enum csv_mode mode = (enum csv_mode)msg->lock.mode;
	bool up;

	pthread_mutex_lock(&l->lock);
	up = l->cache_up;
	pthread_mutex_unlock(&l->lock);
	if (!up || res.type == CSV_RES_MOUNT) {
		if (msg->type != CSV_MSG_BAST)
			answer(l, msg);
		return;
	}
	if (msg->type == CSV_MSG_GRANT)
		l->engine.up.granted(l->engine.up.arg, res, mode);
	else if (msg->type == CSV_MSG_DENY)
		l->engine.up.denied(l->engine.up.arg, res, msg->lock.holder_node);
	else
		l->engine.up.bast(l->engine.up.arg, res, mode);
}

/* ---- handoffs ---- */

struct early {
	struct csv_list link;
	struct csv_msg msg;
};

static void on_handoff(struct csv_link *l, const struct csv_msg *msg)
{
	struct early *e;

	pthread_mutex_lock(&l->lock);
	if (l->handoffs) {
		csv_handoffs_record(l->handoffs, msg);
	} else if (!l->leaving) {
		e = calloc(1, sizeof(*e));
		CSV_ASSERT(e);
		e->msg = *msg;
		csv_list_push_back(&l->early, &e->link);
	}
	pthread_mutex_unlock(&l->lock);
}

void csv_link_handoffs(struct csv_link *l, struct csv_handoffs *hs)
{
	pthread_mutex_lock(&l->lock);
	l->handoffs = hs;
	while (!csv_list_empty(&l->early)) {
		struct early *e = csv_list_entry(l->early.next, struct early, link);

		if (hs)
			csv_handoffs_record(hs, &e->msg);
		csv_list_del(&e->link);
		free(e);
	}
	pthread_mutex_unlock(&l->lock);
}

/* Not the answer to a request, but why the connection is about to end. */
static void refused(struct csv_link *l, const struct csv_msg *msg)
{
	pthread_mutex_lock(&l->lock);
	snprintf(l->refusal, sizeof(l->refusal), "%.*s", (int)sizeof(l->refusal) - 1, msg->text);
	pthread_mutex_unlock(&l->lock);
}

static void on_record(void *arg, const struct csv_msg *msg)
{
	struct csv_link *l = arg;

	switch (msg->type) {
	case CSV_MSG_GRANT:
	case CSV_MSG_DENY:
	case CSV_MSG_BAST:
		on_lock(l, msg);
		break;
	case CSV_MSG_VIEW:
		on_view(l, msg);
		break;
	case CSV_MSG_ATTACHED:
		on_view(l, msg);
		answer(l, msg);
		break;
	case CSV_MSG_FENCED:
		pthread_mutex_lock(&l->lock);
		l->fenced = true;
		pthread_cond_broadcast(&l->wake);
		pthread_mutex_unlock(&l->lock);
		give_job(l, msg);
		break;
	case CSV_MSG_FENCE:
	case CSV_MSG_REPLAY:
	case CSV_MSG_STATUS:
	case CSV_MSG_DIRTY:
		give_job(l, msg);
		break;
	case CSV_MSG_BRL_RESULT:
		if (l->m->ranges)
			csv_ranges_result(l->m->ranges, msg);
		break;
	case CSV_MSG_VM_SET:
		if (l->m->vms)
			csv_vm_set(l->m->vms, msg->vm.pid, msg->vm.name);
		break;
	case CSV_MSG_SHUTDOWN:
		csv_session_stop(l->m);
		break;
	case CSV_MSG_HO_FILE:
	case CSV_MSG_HO_ORDER:
		on_handoff(l, msg);
		break;
	case CSV_MSG_ERROR:
		if (!msg->seq)
			refused(l, msg);
		else
			answer(l, msg);
		break;
	default:
		answer(l, msg); /* DONE, IN_USE_REPLY */
	}
}

static void on_lost(void *arg)
{
	struct csv_link *l = arg;

	pthread_mutex_lock(&l->lock);
	l->lost = true;
	pthread_cond_broadcast(&l->wake);
	pthread_mutex_unlock(&l->lock);
	give_job(l, NULL);
}

/* ---- records to csvlockd ------------------------------------------------------------------ */

/* What csvlockd keeps to itself is not counted: answers to people, this node's handles, J6. */
static bool goes_on(unsigned type)
{
	return type != CSV_MSG_STATUS_VOLUME && type != CSV_MSG_HANDLE && type != CSV_MSG_HANDLE_GONE &&
	       type != CSV_MSG_IN_USE;
}

enum csv_err csv_link_send(struct csv_link *l, const struct csv_msg *msg)
{
	enum csv_err err = CSV_NOTCONN;

	pthread_mutex_lock(&l->lock);
	if (!l->lost && (!l->out || msg->type == CSV_MSG_STATUS_VOLUME))
		err = csv_client_send(l->client, msg);
	if (!err && goes_on(msg->type))
		l->sent++;
	pthread_mutex_unlock(&l->lock);
	return err;
}

void csv_link_out(struct csv_link *l)
{
	pthread_mutex_lock(&l->lock);
	l->out = true;
	csv_client_shutdown(l->client);
	pthread_cond_broadcast(&l->wake);
	pthread_mutex_unlock(&l->lock);
}

/* Why nobody will answer; OK: somebody may. lock held. */
static enum csv_err unheard(const struct csv_link *l)
{
	if (l->fenced)
		return CSV_FENCED;
	if (l->out)
		return CSV_WITHDRAWN;
	return l->lost ? CSV_NOTCONN : CSV_OK;
}

enum csv_err csv_link_call(struct csv_link *l, struct csv_msg *msg, unsigned timeout_ms)
{
	struct call c = { .msg = msg };
	struct timespec ts;
	enum csv_err err;

	deadline(&ts, timeout_ms + l->welcome.detect_ms);
	pthread_mutex_lock(&l->lock);
	msg->seq = c.seq = ++l->seq;
	csv_list_push_back(&l->calls, &c.link);
	err = unheard(l);
	if (!err)
		err = csv_client_send(l->client, msg);
	if (!err && goes_on(msg->type))
		l->sent++;
	while (!err && !c.answered) {
		err = unheard(l);
		if (!err && pthread_cond_timedwait(&l->wake, &l->lock, &ts))
			err = CSV_TIMEOUT;
	}
	csv_list_del(&c.link);
	pthread_mutex_unlock(&l->lock);
	return err;
}

enum csv_err csv_link_wait_view(struct csv_link *l, bool (*fn)(const struct csv_msg_view *v, void *arg), void *arg,
				unsigned timeout_ms)
{
	enum csv_err err = CSV_OK;
	struct timespec ts;

	deadline(&ts, timeout_ms + l->welcome.detect_ms);
	pthread_mutex_lock(&l->lock);
	while (!err && !(l->viewed && fn(&l->view, arg))) {
		err = unheard(l);
		if (!err && pthread_cond_timedwait(&l->wake, &l->lock, &ts))
			err = CSV_TIMEOUT;
	}
	pthread_mutex_unlock(&l->lock);
	return err;
}

/* ---- the lock engine ------------------------------------------------------------------------ */

static struct csv_link *link_of(struct csv_engine *e)
{
	return csv_list_entry(e, struct csv_link, engine);
}

static enum csv_err cluster_lock(struct csv_engine *e, struct csv_res res, enum csv_mode mode, bool noqueue)
{
	struct csv_msg msg = { .type = CSV_MSG_LOCK };
	struct csv_link *l = link_of(e);

	/* Our own slot's lock was taken before the cache was there. */
	if (res.type == CSV_RES_SLOT && res.id == l->m->slot && l->has_slot_lock) {
		e->up.granted(e->up.arg, res, CSV_EX);
		return CSV_OK;
	}
	msg.lock.res_type = res.type;
	msg.lock.res_id = res.id;
	msg.lock.mode = mode;
	msg.lock.flags = noqueue ? CSV_LOCKF_NOQUEUE : 0;
	return csv_link_send(l, &msg);
}

static enum csv_err cluster_unlock(struct csv_engine *e, struct csv_res res, enum csv_mode keep)
{
	struct csv_msg msg = { .type = CSV_MSG_UNLOCK };

	msg.lock.res_type = res.type;
	msg.lock.res_id = res.id;
	msg.lock.mode = keep;
	return csv_link_send(link_of(e), &msg);
}

/* The link lives on: DETACH comes after the cache has gone. */
static void cluster_close(struct csv_engine *e)
{
	struct csv_link *l = link_of(e);

	pthread_mutex_lock(&l->lock);
	l->cache_up = false;
	pthread_mutex_unlock(&l->lock);
}

static const struct csv_engine_ops cluster_ops = { "cpg", cluster_lock, cluster_unlock, cluster_close };

/* ---- life -------------------------------------------------------------------------------------- */

void csv_link_hello(const struct csv_mount *m, struct csv_msg_hello *h)
{
	memset(h, 0, sizeof(*h));
	h->role = CSV_ROLE_FS;
	h->engine = m->opts.lock == CSV_MOUNT_CPG   ? CSV_ENGINE_CPG
		    : m->opts.lock == CSV_MOUNT_DLM ? CSV_ENGINE_DLM
						    : CSV_ENGINE_AUTO;
	memcpy(h->uuid, m->sb.uuid, sizeof(h->uuid));
	snprintf(h->volume, sizeof(h->volume), "%s", m->sb.name);
	snprintf(h->cluster, sizeof(h->cluster), "%s", m->sb.cluster);
	snprintf(h->mount, sizeof(h->mount), "%.*s", (int)sizeof(h->mount) - 1, m->opts.dir);
	snprintf(h->lun, sizeof(h->lun), "%.*s", (int)sizeof(h->lun) - 1, m->opts.lun);
}

void csv_link_up(struct csv_link *l)
{
	bool fenced, lost;

	pthread_mutex_lock(&l->lock);
	l->cache_up = true;
	fenced = l->fenced;
	lost = l->lost;
	pthread_mutex_unlock(&l->lock);
	if (fenced)
		give_job(l, &(struct csv_msg){ .type = CSV_MSG_FENCED });
	if (lost)
		give_job(l, NULL);
}

enum csv_err csv_link_start(struct csv_link *l)
{
	struct csv_client_events ev = { .record = on_record, .lost = on_lost, .arg = l };

	return csv_client_start(l->client, &ev);
}

enum csv_err csv_link_open(struct csv_mount *m, struct csv_link **out, struct csv_why *why)
{
	struct csv_link *l = calloc(1, sizeof(*l));
	struct csv_msg_hello hello;
	pthread_condattr_t attr;
	enum csv_err err;

	if (!l)
		return csv_fail(why, CSV_NOMEM, "", "out of memory");
	l->m = m;
	l->engine.ops = &cluster_ops;
	csv_list_init(&l->calls);
	csv_list_init(&l->early);
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&l->wake, &attr);
	pthread_condattr_destroy(&attr);
	csv_link_hello(m, &hello);
	err = csv_workq_new(1, &l->worker);
	if (!err)
		err = csv_workq_new(1, &l->teller);
	if (!err)
		err = csv_workq_new(1, &l->adopter);
	if (!err)
		err = csv_client_open(m->opts.run_dir, &hello, CSV_FS_HELLO_MS, &l->client, &l->welcome, why);
	if (!err && !l->welcome.quorate)
		err = csv_fail(why, CSV_NOQUORUM, "start csvlockd and corosync on more nodes",
			       "the cluster has no quorum");
	if (!err)
		err = csv_link_start(l);
	if (err) {
		csv_link_close(l);
		return csv_fail(why, err, "", "%s", csv_err_text(err));
	}
	*out = l;
	return CSV_OK;
}

void csv_link_close(struct csv_link *l)
{
	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	l->leaving = true;
	pthread_mutex_unlock(&l->lock);
	csv_client_close(l->client);
	if (l->worker)
		csv_workq_free(l->worker);
	if (l->teller)
		csv_workq_free(l->teller);
	if (l->adopter)
		csv_workq_free(l->adopter);
	pthread_cond_destroy(&l->wake);
	pthread_mutex_destroy(&l->lock);
	free(l);
}
