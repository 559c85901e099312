/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/lock/brl.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"

enum req_state {
	REQ_IDLE,
	REQ_ASKED,   /* csvlockd has been asked, and has it wait where it must; while frozen: is to be asked */
	REQ_WAITING, /* in the line of a table that is decided here */
	REQ_DONE,    /* done() is on its way */
};

/* Locks, and who waits for them here. */
struct decided {
	struct csv_brl_table *table;
	struct csv_brl_waits waits;
};

struct csv_ranges {
	struct csv_ranges_cfg cfg;
	pthread_mutex_t mutex;
	struct decided all;	  /* but what is apart; where csvlockd decides nobody waits here */
	struct csv_list apart;	  /* of struct apart */
	struct csv_list reqs;	  /* ASKED and WAITING */
	struct csv_list finished; /* done() to be called when the mutex is free */
	uint64_t seq;
	bool out;
	bool frozen; /* csvlockd is lost, or is told what stands: nothing is asked */
};

/* A handle set apart, and its locks: nobody else's business. */
struct apart {
	struct csv_list link;
	uint64_t handle;
	struct decided own;
};

static void decided_init(struct decided *d)
{
	d->table = csv_brl_new();
	csv_brl_waits_init(&d->waits);
}

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
	csv_brl_free(a->own.table);
	free(a);
}

static struct decided *decided_of(struct csv_ranges *r, uint64_t handle)
{
	struct apart *a = apart_of(r, handle);

	return a ? &a->own : &r->all;
}

static void leave_line(struct csv_ranges *r, struct csv_range_req *req)
{
	if (req->state == REQ_WAITING)
		csv_brl_waits_del(&decided_of(r, req->want.handle)->waits, &req->waiter);
}

static void finish(struct csv_ranges *r, struct csv_range_req *req, enum csv_err err)
{
	leave_line(r, req);
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
	if (!req->test && req->wait)
		msg.brl.wait = req->process ? CSV_BRL_WAIT_PROCESS : CSV_BRL_WAIT;
	r->cfg.send(r->cfg.arg, &msg);
}

static void nobodys(struct csv_range_req *req, enum csv_err err)
{
	free(req);
}

/*
 * Asks for something for whose answer nobody waits.  It goes the way of all requests: among the declarations to a new
 * csvlockd it would be a breach of the protocol, and what that has been told before must be corrected afterwards.
 * before: the request that it has to come before, however often they are asked again; or the list: after all.
 */
static void ask_for_nobody(struct csv_ranges *r, const struct csv_brl *want, struct csv_list *before)
{
	struct csv_range_req *req;

	if (!r->cfg.send || r->out)
		return;
	req = calloc(1, sizeof(*req));
	CSV_ASSERT(req);
	req->want = req->brl = *want;
	req->done = nobodys;
	csv_list_push_back(before, &req->link);
	ask(r, req);
}

/* ---- decided here ----------------------------------------------------------------- */

/* False: it waits.  No lock of somebody else stands in the way of an unlock. */
static bool decide(struct csv_ranges *r, struct decided *d, struct csv_range_req *req)
{
	req->brl = req->want;
	if (req->test ? !csv_brl_test(d->table, &req->want, &req->brl) : csv_brl_set(d->table, &req->want, &req->brl)) {
		finish(r, req, CSV_OK);
		return true;
	}
	if (req->test || !req->wait) {
		finish(r, req, CSV_LOCKED);
		return true;
	}
	if (req->process && csv_brl_deadlock(d->table, &d->waits, &req->want)) {
		finish(r, req, CSV_DEADLK);
		return true;
	}
	return false;
}

/* It was an unlock, or a lock that may have replaced a stronger one of its owner. */
static bool gave_way(const struct csv_range_req *req)
{
	return !req->test && req->err == CSV_OK && req->want.type != F_WRLCK;
}

/* Some of this range was given up: those whom it may have let wait are tried in the order in which they came. */
static void wake(struct csv_ranges *r, struct decided *d, const struct csv_brl *given_up)
{
	struct csv_brl range = *given_up;
	struct csv_brl_waiter *w, *next;
	bool again = true;

	while (again) {
		again = false;
		for (w = csv_brl_waits_next(&d->waits, &range, NULL); w; w = next) {
			struct csv_range_req *req = csv_list_entry(w, struct csv_range_req, waiter);

			next = csv_brl_waits_next(&d->waits, &range, w);
			again |= decide(r, d, req) && gave_way(req);
		}
		range.start = 0;
		range.end = UINT64_MAX;
	}
}

static void decide_or_wait(struct csv_ranges *r, struct decided *d, struct csv_range_req *req)
{
	if (!decide(r, d, req)) {
		req->state = REQ_WAITING;
		req->waiter.brl = req->want;
		req->waiter.process = req->process;
		csv_brl_waits_add(&d->waits, &req->waiter);
	} else if (gave_way(req)) {
		wake(r, d, &req->want);
	}
}

/* All locks of a handle have gone: of which file, nobody knows any more. */
static void wake_all(struct csv_ranges *r, struct decided *d)
{
	bool again = true;

	while (again) {
		struct csv_list *pos, *tmp;

		again = false;
		csv_list_for_each_safe(pos, tmp, &r->reqs) {
			struct csv_range_req *req = csv_list_entry(pos, struct csv_range_req, link);

			if (req->state == REQ_WAITING && decided_of(r, req->want.handle) == d)
				again |= decide(r, d, req) && gave_way(req);
		}
	}
}

/* ---- decided by csvlockd ------------------------------------------------------------ */

/* Whether csvlockd may have a lock of this owner, or of this handle, that is not in the table yet. */
static bool asked_for(const struct csv_ranges *r, const struct csv_brl *b, bool by_handle)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &r->reqs) {
		const struct csv_range_req *o = csv_list_entry(pos, const struct csv_range_req, link);

		if (o->state == REQ_ASKED && !o->test &&
		    (by_handle ? o->want.handle == b->handle
			       : o->want.owner == b->owner && o->want.ino == b->ino && o->want.gen == b->gen))
			return true;
	}
	return false;
}

/*
 * flock(2): who has a shared lock and waits for the exclusive one gives up the shared one first.  Two that did so with
 * theirs in hand would wait for each other for ever.
 */
static void give_up_shared(struct csv_ranges *r, struct decided *d, struct csv_range_req *req)
{
	struct csv_brl has, none = req->want;

	if (!req->wait || !req->want.flock || req->want.type != F_WRLCK || !csv_brl_has(d->table, &req->want, &has) ||
	    has.type != F_RDLCK)
		return;
	none.type = F_UNLCK;
	csv_brl_set(d->table, &none, NULL);
	if (d == &r->all)
		ask_for_nobody(r, &none, &req->link);
	wake(r, d, &none);
}

/*
 * A conflict within this node needs no message, if nobody is to wait: csvlockd has the lines of all.  Neither has to be
 * told what unlocks nothing: every close of a file unlocks all of it.
 */
static void ask_if_needed(struct csv_ranges *r, struct csv_range_req *req)
{
	req->brl = req->want;
	if ((req->test || !req->wait) && csv_brl_test(r->all.table, &req->want, &req->brl))
		finish(r, req, CSV_LOCKED);
	else if (!req->test && req->want.type == F_UNLCK && !csv_brl_has(r->all.table, &req->want, NULL) &&
		 !asked_for(r, &req->want, false))
		finish(r, req, CSV_OK);
	else
		ask(r, req);
}

static void attempt(struct csv_ranges *r, struct csv_range_req *req)
{
	struct decided *d = decided_of(r, req->want.handle);

	if (!req->test)
		give_up_shared(r, d, req);
	if (r->cfg.send && d == &r->all)
		ask_if_needed(r, req);
	else
		decide_or_wait(r, d, req);
}

/* Out: what is not there cannot be had.  An unlock succeeds: who gets an error may think that it still has the lock. */
static void refuse(struct csv_ranges *r, struct csv_range_req *req)
{
	bool unlock = !req->test && req->want.type == F_UNLCK;

	if (unlock)
		csv_brl_set(decided_of(r, req->want.handle)->table, &req->want, NULL);
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
	/* Its answer decides: OK, or INTR. */
	if (req->state == REQ_ASKED && req->want.type != F_UNLCK)
		r->cfg.send(r->cfg.arg, &(struct csv_msg){ .type = CSV_MSG_BRL_CANCEL, .seq = req->seq });
	ranges_unlock(r);
}

static void tell_drop(struct csv_ranges *r, uint64_t handle)
{
	struct csv_brl b = { .node = r->cfg.nodeid, .handle = handle };
	struct csv_msg msg;

	if (!r->cfg.send || r->out)
		return;
	to_msg(&b, CSV_MSG_BRL_DROP, ++r->seq, &msg);
	r->cfg.send(r->cfg.arg, &msg);
}

/* What csvlockd may have of the handle, or has waiting, goes. */
static void drop_at_lockd(struct csv_ranges *r, uint64_t handle)
{
	struct csv_brl of = { .handle = handle };

	if (csv_brl_has_handle(r->all.table, r->cfg.nodeid, handle) || asked_for(r, &of, true))
		tell_drop(r, handle);
}

void csv_range_drop(struct csv_ranges *r, uint64_t handle)
{
	struct csv_list *pos, *tmp;
	struct apart *a;

	pthread_mutex_lock(&r->mutex);
	a = apart_of(r, handle);
	if (!a)
		drop_at_lockd(r, handle);
	csv_list_for_each_safe(pos, tmp, &r->reqs) {
		struct csv_range_req *req = csv_list_entry(pos, struct csv_range_req, link);

		if (req->want.handle != handle || req->test)
			continue;
		if (req->wait)
			finish(r, req, CSV_INTR);
		else
			req->want.type = F_UNLCK; /* whatever the answer will be, it has nothing */
	}
	if (a)
		apart_free(a);
	else if (csv_brl_drop_handle(r->all.table, r->cfg.nodeid, handle))
		wake_all(r, &r->all);
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

	if (b->handle == mv->handle && csv_brl_set(mv->to, b, NULL) && mv->tell)
		ask_for_nobody(mv->r, b, &mv->r->reqs);
}

/* Takes out all requests of a handle: somebody else is about to decide them.  Late answers find nobody. */
static void take_out(struct csv_ranges *r, uint64_t handle, struct csv_list *out)
{
	struct csv_list *pos, *tmp;

	csv_list_init(out);
	csv_list_for_each_safe(pos, tmp, &r->reqs) {
		struct csv_range_req *req = csv_list_entry(pos, struct csv_range_req, link);

		if (req->want.handle != handle)
			continue;
		leave_line(r, req);
		req->state = REQ_ASKED;
		csv_list_del(&req->link);
		csv_list_push_back(out, &req->link);
	}
}

static void attempt_again(struct csv_ranges *r, struct csv_list *taken)
{
	while (!csv_list_empty(taken)) {
		struct csv_range_req *req = csv_list_entry(taken->next, struct csv_range_req, link);

		csv_list_del(&req->link);
		csv_list_push_back(&r->reqs, &req->link);
		attempt(r, req);
	}
}

void csv_range_set_apart(struct csv_ranges *r, uint64_t handle)
{
	struct moving mv = { r, handle, NULL, false };
	struct csv_list taken;
	struct apart *a;

	pthread_mutex_lock(&r->mutex);
	if (!apart_of(r, handle)) {
		take_out(r, handle, &taken);
		a = calloc(1, sizeof(*a));
		CSV_ASSERT(a);
		a->handle = handle;
		decided_init(&a->own);
		mv.to = a->own.table;
		csv_list_push_back(&r->apart, &a->link);
		csv_brl_walk(r->all.table, move_one, &mv);
		csv_brl_drop_handle(r->all.table, r->cfg.nodeid, handle);
		tell_drop(r, handle);
		attempt_again(r, &taken);
		wake_all(r, &r->all);
	}
	ranges_unlock(r);
}

void csv_range_rejoin(struct csv_ranges *r, uint64_t handle)
{
	struct moving mv = { r, handle, r->all.table, true };
	struct csv_list taken;
	struct apart *a;

	pthread_mutex_lock(&r->mutex);
	a = apart_of(r, handle);
	if (a) {
		take_out(r, handle, &taken);
		csv_brl_walk(a->own.table, move_one, &mv);
		apart_free(a);
		attempt_again(r, &taken);
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
	if (req && !msg->err && !req->test)
		csv_brl_set(r->all.table, &req->want, NULL);
	if (req && msg->err == CSV_LOCKED)
		from_msg(&msg->brl, &req->brl);
	if (req)
		finish(r, req, msg->err < CSV_ERR_COUNT ? (enum csv_err)msg->err : CSV_PROTO);
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
	csv_brl_walk(r->all.table, tell_one, r);
	ranges_unlock(r);
}

void csv_ranges_thaw(struct csv_ranges *r)
{
	struct csv_list *pos, *tmp;

	pthread_mutex_lock(&r->mutex);
	r->frozen = false;
	csv_list_for_each_safe(pos, tmp, &r->reqs) {
		struct csv_range_req *req = csv_list_entry(pos, struct csv_range_req, link);

		if (req->state == REQ_ASKED)
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

enum csv_err csv_ranges_new(const struct csv_ranges_cfg *cfg, struct csv_ranges **out)
{
	struct csv_ranges *r = calloc(1, sizeof(*r));

	if (!r)
		return CSV_NOMEM;
	r->cfg = *cfg;
	pthread_mutex_init(&r->mutex, NULL);
	csv_list_init(&r->apart);
	csv_list_init(&r->reqs);
	csv_list_init(&r->finished);
	decided_init(&r->all);
	*out = r;
	return CSV_OK;
}

void csv_ranges_free(struct csv_ranges *r)
{
	if (!r)
		return;
	while (!csv_list_empty(&r->apart))
		apart_free(csv_list_entry(r->apart.next, struct apart, link));
	csv_brl_free(r->all.table);
	pthread_mutex_destroy(&r->mutex);
	free(r);
}
