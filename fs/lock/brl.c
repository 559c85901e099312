/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/lock/brl.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/log.h"

#define RETRY_MS 100

enum req_state {
	REQ_IDLE,
	REQ_ASKED,   /* csvlockd has been asked; while frozen: is to be asked */
	REQ_WAITING, /* for a lock to go away */
	REQ_DONE,    /* done() is on its way */
};

struct csv_ranges {
	struct csv_ranges_cfg cfg;
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	pthread_t retry;
	struct csv_brl_table *table;
	struct csv_list apart;	  /* of struct apart */
	struct csv_list reqs;	  /* ASKED and WAITING */
	struct csv_list finished; /* done() to be called when the mutex is free */
	uint64_t seq;
	bool stop, out;
	bool frozen; /* csvlockd is lost, or is told what stands: nothing is asked */
};

/* A handle set apart, and its locks: nobody else's business, so each has a table of its own. */
struct apart {
	struct csv_list link;
	uint64_t handle;
	struct csv_brl_table *table;
};

static struct apart *apart_of(struct csv_ranges *r, uint64_t handle)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &r->apart) {
		struct apart *a = csv_list_entry(pos, struct apart, link);

		if (a->handle == handle)
			return a;
	}
	return NULL;
}

static void apart_free(struct apart *a)
{
	csv_list_del(&a->link);
	csv_brl_free(a->table);
	free(a);
}

static struct csv_brl_table *table_of(struct csv_ranges *r, uint64_t handle)
{
	const struct apart *a = apart_of(r, handle);

	return a ? a->table : r->table;
}

static void finish(struct csv_ranges *r, struct csv_range_req *req, enum csv_err err)
{
	csv_list_del(&req->link);
	req->waited = req->state != REQ_IDLE;
	req->state = REQ_DONE;
	req->err = (uint16_t)err;
	csv_list_push_back(&r->finished, &req->link);
}

static void done_work(struct csv_work *work)
{
	struct csv_range_req *req = csv_list_entry(work, struct csv_range_req, work);

	req->done(req, (enum csv_err)req->err);
}

/* Calls done() of what has finished, with the mutex released. */
static void ranges_unlock(struct csv_ranges *r)
{
	while (!csv_list_empty(&r->finished)) {
		struct csv_range_req *req = csv_list_entry(r->finished.next, struct csv_range_req, link);

		csv_list_del(&req->link);
		if (req->waited && r->cfg.workq) {
			req->work.fn = done_work;
			csv_workq_add(r->cfg.workq, &req->work);
			continue;
		}
		pthread_mutex_unlock(&r->mutex);
		req->done(req, (enum csv_err)req->err);
		pthread_mutex_lock(&r->mutex);
	}
	pthread_mutex_unlock(&r->mutex);
}

static void to_msg(const struct csv_brl *b, uint32_t type, uint64_t seq, struct csv_msg *msg)
{
	memset(msg, 0, sizeof(*msg));
	msg->type = type;
	msg->seq = seq;
	msg->brl = (struct csv_msg_brl){ .ino = b->ino,
					 .gen = b->gen,
					 .type = b->type,
					 .handle = b->handle,
					 .owner = b->owner,
					 .start = b->start,
					 .end = b->end,
					 .pid = b->pid,
					 .nodeid = b->node,
					 .flock = b->flock };
}

/* NOTCONN is no error here: the request stays ASKED and csv_ranges_thaw() sends it again. */
static void ask(struct csv_ranges *r, struct csv_range_req *req)
{
	struct csv_msg msg;

	req->state = REQ_ASKED;
	req->seq = ++r->seq; /* an answer to an earlier asking finds nobody */
	if (r->frozen)
		return;
	to_msg(&req->want, req->test ? CSV_MSG_BRL_TEST : CSV_MSG_BRL_SET, req->seq, &msg);
	r->cfg.send(r->cfg.arg, &msg);
}

static void wait_or_refuse(struct csv_ranges *r, struct csv_range_req *req)
{
	if (req->test || !req->wait) {
		finish(r, req, req->err ? (enum csv_err)req->err : CSV_LOCKED);
		return;
	}
	req->state = REQ_WAITING;
	if (r->cfg.send)
		pthread_cond_signal(&r->wake);
}

static void attempt(struct csv_ranges *r, struct csv_range_req *req);

/* A lock has gone away: those who wait for ranges of the file try again, in the order in which they came. */
static void retry_file(struct csv_ranges *r, uint64_t ino)
{
	struct csv_list *pos, *tmp;

	csv_list_for_each_safe(pos, tmp, &r->reqs) {
		struct csv_range_req *req = csv_list_entry(pos, struct csv_range_req, link);

		if (req->state == REQ_WAITING && (!ino || req->want.ino == ino))
			attempt(r, req);
	}
}

/*
 * One try.  A conflict within this node needs no message.  Unlocking cannot fail, so the table forgets at once, and a
 * lock replaced by a weaker one may let others in: both try the waiters again.
 */
static void attempt(struct csv_ranges *r, struct csv_range_req *req)
{
	struct csv_brl_table *t = table_of(r, req->want.handle);

	req->brl = req->want;
	if (req->want.type != F_UNLCK && csv_brl_test(t, &req->want, &req->brl)) {
		wait_or_refuse(r, req);
		return;
	}
	if (r->cfg.send && t == r->table) {
		ask(r, req);
		return;
	}
	if (!req->test)
		csv_brl_set(t, &req->want, NULL);
	finish(r, req, CSV_OK);
}

/* Out: what is not there cannot be had.  An unlock succeeds: who gets an error may think that it still has the lock. */
static void refuse(struct csv_ranges *r, struct csv_range_req *req)
{
	bool unlock = !req->test && req->want.type == F_UNLCK;

	if (unlock)
		csv_brl_set(table_of(r, req->want.handle), &req->want, NULL);
	finish(r, req, unlock ? CSV_OK : CSV_WITHDRAWN);
}

static void start(struct csv_ranges *r, struct csv_range_req *req, bool test)
{
	pthread_mutex_lock(&r->mutex);
	req->brl.node = r->cfg.nodeid;
	req->want = req->brl;
	req->test = test;
	req->err = CSV_OK;
	req->cancelled = false;
	req->state = REQ_IDLE;
	csv_list_push_back(&r->reqs, &req->link);
	if (!csv_brl_sound(&req->want))
		finish(r, req, CSV_INVAL);
	else if (r->out)
		refuse(r, req);
	else
		attempt(r, req);
	if (!test && req->want.type != F_WRLCK)
		retry_file(r, req->want.ino);
	ranges_unlock(r);
}

void csv_range_set(struct csv_ranges *r, struct csv_range_req *req)
{
	start(r, req, false);
}

void csv_range_test(struct csv_ranges *r, struct csv_range_req *req)
{
	start(r, req, true);
}

/* While frozen nobody will answer, for as long as it takes; and the csvlockd to come does not know of the request. */
static void end_if_unheard(struct csv_ranges *r, struct csv_range_req *req)
{
	if (r->frozen && req->state == REQ_ASKED && req->cancelled && req->want.type != F_UNLCK)
		finish(r, req, CSV_INTR);
}

void csv_range_cancel(struct csv_ranges *r, struct csv_range_req *req)
{
	pthread_mutex_lock(&r->mutex);
	if (req->state == REQ_WAITING)
		finish(r, req, CSV_INTR);
	req->cancelled = true;
	end_if_unheard(r, req);
	if (req->state == REQ_ASKED && req->wait) {
		req->wait = false; /* csvlockd's answer decides: OK, or INTR */
		req->err = CSV_INTR;
	}
	/* It may take until the thaw of the volume. */
	if (req->state == REQ_ASKED && req->want.type != F_UNLCK)
		r->cfg.send(r->cfg.arg, &(struct csv_msg){ .type = CSV_MSG_BRL_CANCEL, .seq = req->seq });
	ranges_unlock(r);
}

/* csvlockd forgets all locks of the handle. */
static void tell_drop(struct csv_ranges *r, uint64_t handle)
{
	struct csv_brl b = { .node = r->cfg.nodeid, .handle = handle };
	struct csv_msg msg;

	if (!r->cfg.send || r->out)
		return;
	to_msg(&b, CSV_MSG_BRL_DROP, ++r->seq, &msg);
	r->cfg.send(r->cfg.arg, &msg);
}

void csv_range_drop(struct csv_ranges *r, uint64_t handle)
{
	struct csv_list *pos, *tmp;
	struct apart *a;

	pthread_mutex_lock(&r->mutex);
	csv_list_for_each_safe(pos, tmp, &r->reqs) {
		struct csv_range_req *req = csv_list_entry(pos, struct csv_range_req, link);

		if (req->want.handle == handle && req->state == REQ_WAITING)
			finish(r, req, CSV_INTR);
		else if (req->want.handle == handle && !req->test)
			req->want.type = F_UNLCK; /* whatever the answer will be, it has nothing */
	}
	csv_brl_drop_handle(r->table, r->cfg.nodeid, handle);
	a = apart_of(r, handle);
	if (a)
		apart_free(a);
	else
		tell_drop(r, handle);
	retry_file(r, 0);
	ranges_unlock(r);
}

/* ---- handles set apart ------------------------------------------------------------ */

struct moving {
	struct csv_ranges *r;
	uint64_t handle;
	struct csv_brl_table *to;
	bool tell;
};

static void move_one(void *arg, const struct csv_brl *b)
{
	const struct moving *mv = arg;
	struct csv_msg msg;

	if (b->handle != mv->handle || !csv_brl_set(mv->to, b, NULL) || !mv->tell || !mv->r->cfg.send)
		return;
	to_msg(b, CSV_MSG_BRL_SET, ++mv->r->seq, &msg); /* nobody waits for the answer */
	mv->r->cfg.send(mv->r->cfg.arg, &msg);
}

void csv_range_set_apart(struct csv_ranges *r, uint64_t handle)
{
	struct moving mv = { r, handle, NULL, false };
	struct apart *a;

	pthread_mutex_lock(&r->mutex);
	if (!apart_of(r, handle)) {
		a = calloc(1, sizeof(*a));
		CSV_ASSERT(a);
		a->handle = handle;
		a->table = mv.to = csv_brl_new();
		csv_list_push_back(&r->apart, &a->link);
		csv_brl_walk(r->table, move_one, &mv);
		csv_brl_drop_handle(r->table, r->cfg.nodeid, handle);
		tell_drop(r, handle);
		retry_file(r, 0);
	}
	ranges_unlock(r);
}

void csv_range_rejoin(struct csv_ranges *r, uint64_t handle)
{
	struct moving mv = { r, handle, r->table, true };
	struct apart *a;

	pthread_mutex_lock(&r->mutex);
	a = apart_of(r, handle);
	if (a) {
		csv_brl_walk(a->table, move_one, &mv);
		apart_free(a);
	}
	ranges_unlock(r);
}

/* ---- csvlockd's side ------------------------------------------------------------ */

static struct csv_range_req *asked_by_seq(struct csv_ranges *r, uint64_t seq)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &r->reqs) {
		struct csv_range_req *req = csv_list_entry(pos, struct csv_range_req, link);

		if (req->state == REQ_ASKED && req->seq == seq)
			return req;
	}
	return NULL;
}

static void from_msg(const struct csv_msg_brl *m, struct csv_brl *b)
{
	*b = (struct csv_brl){ m->ino,	 m->gen, m->nodeid, m->handle, m->owner,
			       m->start, m->end, m->type,   m->pid,    m->flock };
}

void csv_ranges_result(struct csv_ranges *r, const struct csv_msg *msg)
{
	struct csv_range_req *req;

	pthread_mutex_lock(&r->mutex);
	req = asked_by_seq(r, msg->seq);
	if (req && msg->err == CSV_LOCKED) {
		from_msg(&msg->brl, &req->brl);
		wait_or_refuse(r, req);
	} else if (req) {
		if (!msg->err && !req->test) {
			csv_brl_set(table_of(r, req->want.handle), &req->want, NULL);
			if (req->want.type != F_WRLCK)
				retry_file(r, req->want.ino);
		}
		finish(r, req, msg->err < CSV_ERR_COUNT ? (enum csv_err)msg->err : CSV_PROTO);
	}
	ranges_unlock(r);
}

/* Declares a lock that stands here. */
static void tell_one(void *arg, const struct csv_brl *b)
{
	struct csv_ranges *r = arg;
	struct csv_msg msg;

	to_msg(b, CSV_MSG_BRL_SET, 0, &msg);
	msg.brl.declare = 1;
	r->cfg.send(r->cfg.arg, &msg);
}

void csv_ranges_freeze(struct csv_ranges *r)
{
	struct csv_list *pos, *tmp;

	pthread_mutex_lock(&r->mutex);
	r->frozen = true;
	csv_list_for_each_safe(pos, tmp, &r->reqs)
		end_if_unheard(r, csv_list_entry(pos, struct csv_range_req, link));
	ranges_unlock(r);
}

void csv_ranges_declare(struct csv_ranges *r)
{
	pthread_mutex_lock(&r->mutex);
	csv_brl_walk(r->table, tell_one, r);
	ranges_unlock(r);
}

void csv_ranges_thaw(struct csv_ranges *r)
{
	struct csv_list *pos, *tmp;

	pthread_mutex_lock(&r->mutex);
	r->frozen = false;
	csv_list_for_each_safe(pos, tmp, &r->reqs) {
		struct csv_range_req *req = csv_list_entry(pos, struct csv_range_req, link);

		if (req->state != REQ_ASKED)
			continue;
		if (apart_of(r, req->want.handle))
			attempt(r, req); /* set apart meanwhile: it is csvlockd's business no more */
		else
			ask(r, req);
	}
	ranges_unlock(r);
}

void csv_ranges_out(struct csv_ranges *r)
{
	pthread_mutex_lock(&r->mutex);
	r->out = true;
	while (!csv_list_empty(&r->reqs))
		refuse(r, csv_list_entry(r->reqs.next, struct csv_range_req, link));
	ranges_unlock(r);
}

/* csvlockd does not say when a lock goes away elsewhere: requests that wait for that ask again. */
static void *retry_thread(void *arg)
{
	struct csv_ranges *r = arg;

	pthread_mutex_lock(&r->mutex);
	while (!r->stop) {
		struct csv_list *pos;
		bool waiting = false;
		struct timespec ts;

		csv_list_for_each(pos, &r->reqs)
			waiting |= csv_list_entry(pos, struct csv_range_req, link)->state == REQ_WAITING;
		if (!waiting || !r->cfg.send) {
			pthread_cond_wait(&r->wake, &r->mutex);
			continue;
		}
		clock_gettime(CLOCK_MONOTONIC, &ts);
		ts.tv_nsec += RETRY_MS * 1000000l;
		ts.tv_sec += ts.tv_nsec / 1000000000l;
		ts.tv_nsec %= 1000000000l;
		if (pthread_cond_timedwait(&r->wake, &r->mutex, &ts) != ETIMEDOUT || r->stop)
			continue;
		retry_file(r, 0);
		ranges_unlock(r);
		pthread_mutex_lock(&r->mutex);
	}
	pthread_mutex_unlock(&r->mutex);
	return NULL;
}

enum csv_err csv_ranges_new(const struct csv_ranges_cfg *cfg, struct csv_ranges **out)
{
	struct csv_ranges *r = calloc(1, sizeof(*r));
	pthread_condattr_t attr;

	if (!r)
		return CSV_NOMEM;
	r->cfg = *cfg;
	pthread_mutex_init(&r->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&r->wake, &attr);
	pthread_condattr_destroy(&attr);
	csv_list_init(&r->apart);
	csv_list_init(&r->reqs);
	csv_list_init(&r->finished);
	r->table = csv_brl_new();
	if (pthread_create(&r->retry, NULL, retry_thread, r)) {
		csv_brl_free(r->table);
		free(r);
		return CSV_NOMEM;
	}
	*out = r;
	return CSV_OK;
}

void csv_ranges_free(struct csv_ranges *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->mutex);
	r->stop = true;
	pthread_cond_signal(&r->wake);
	pthread_mutex_unlock(&r->mutex);
	pthread_join(r->retry, NULL);
	while (!csv_list_empty(&r->apart))
		apart_free(csv_list_entry(r->apart.next, struct apart, link));
	csv_brl_free(r->table);
	pthread_cond_destroy(&r->wake);
	pthread_mutex_destroy(&r->mutex);
	free(r);
}
