/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lockd/engine/dlm_table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/omap.h"

enum lock_state {
	LS_NONE,     /* the DLM knows nothing of it */
	LS_ASKING,   /* LOCK is on its way */
	LS_HELD,     /* in `granted` */
	LS_GOING,    /* CONVERT is */
	LS_LEAVING,  /* UNLOCK is */
	LS_ADOPTING, /* ADOPT is */
};

struct lock {
	struct csv_omap_node by_res, by_cookie;
	struct csv_res res;
	uint64_t cookie;
	enum lock_state state;
	enum csv_mode granted; /* HELD and on */
	enum csv_mode sent;    /* mode of what is on its way */
	bool sent_noqueue, cancelled;
	uint64_t sent_seq;
	enum csv_mode bast; /* strongest want since the grant */
	/* What the machine has ordered. */
	enum csv_mode want; /* NL: nothing */
	bool noqueue;
	bool told; /* it knows that it has `want` */
	bool claimed;
	uint64_t seq;
	uint64_t client; /* whose it is */
};

struct csv_dlm_table {
	struct csv_dlm_host host;
	struct csv_omap by_res, by_cookie;
	uint64_t next_cookie;
	bool purging; /* a PURGE is not answered yet */
};

static int cmp_res(const void *key, const struct csv_omap_node *n)
{
	const struct csv_res *a = key, *b = &csv_omap_entry(n, const struct lock, by_res)->res;

	if (a->type != b->type)
		return a->type < b->type ? -1 : 1;
	return (a->id > b->id) - (a->id < b->id);
}

static int cmp_cookie(const void *key, const struct csv_omap_node *n)
{
	uint64_t a = *(const uint64_t *)key, b = csv_omap_entry(n, const struct lock, by_cookie)->cookie;

	return (a > b) - (a < b);
}

void csv_dlm_name(struct csv_res res, char name[CSV_DLM_NAME_MAX])
{
	snprintf(name, CSV_DLM_NAME_MAX, "%.6s:%" PRIx64, csv_res_type_name(res.type), res.id);
}

struct csv_dlm_table *csv_dlm_table_new(const struct csv_dlm_host *host)
{
	struct csv_dlm_table *t = calloc(1, sizeof(*t));

	CSV_ASSERT(t);
	t->host = *host;
	csv_omap_init(&t->by_res, cmp_res);
	csv_omap_init(&t->by_cookie, cmp_cookie);
	return t;
}

static struct lock *of_res(struct csv_omap_node *n)
{
	return n ? csv_omap_entry(n, struct lock, by_res) : NULL;
}

static struct lock *find(const struct csv_dlm_table *t, struct csv_res res)
{
	return of_res(csv_omap_find(&t->by_res, &res));
}

static struct lock *make(struct csv_dlm_table *t, struct csv_res res)
{
	struct lock *l = calloc(1, sizeof(*l));

	CSV_ASSERT(l);
	l->res = res;
	l->cookie = ++t->next_cookie;
	csv_omap_insert(&t->by_res, &res, &l->by_res);
	csv_omap_insert(&t->by_cookie, &l->cookie, &l->by_cookie);
	return l;
}

static void forget(struct csv_dlm_table *t, struct lock *l)
{
	csv_omap_del(&t->by_res, &l->by_res);
	csv_omap_del(&t->by_cookie, &l->by_cookie);
	free(l);
}

void csv_dlm_table_free(struct csv_dlm_table *t)
{
	struct csv_omap_node *n;

	if (!t)
		return;
	while ((n = csv_omap_first(&t->by_res)))
		forget(t, of_res(n));
	free(t);
}

size_t csv_dlm_table_count(const struct csv_dlm_table *t)
{
	return t->by_res.count;
}

/* ---- out ---- */

static void send(struct csv_dlm_table *t, struct lock *l, enum csv_dlm_op op, enum csv_mode mode)
{
	struct csv_dlm_req req = { .op = op, .mode = mode, .cookie = l->cookie };

	req.noqueue = op == CSV_DLM_LOCK && l->noqueue;
	csv_dlm_name(l->res, req.name);
	if (op != CSV_DLM_CANCEL)
		l->sent = mode;
	t->host.send(t->host.arg, &req);
}

static void purge(struct csv_dlm_table *t)
{
	struct csv_dlm_req req = { .op = CSV_DLM_PURGE };

	t->purging = true;
	t->host.send(t->host.arg, &req);
}

static void say(struct csv_dlm_table *t, const struct lock *l, enum csv_dlm_said what, enum csv_mode mode, uint64_t seq)
{
	struct csv_dlm_saying s = { .what = what, .res = l->res, .mode = mode, .seq = seq };

	t->host.say(t->host.arg, &s);
}

/* L8: also what came before the grant, and what still stands after the lock went down. */
static void say_bast(struct csv_dlm_table *t, const struct lock *l)
{
	if (l->told && l->want != CSV_NL && l->bast != CSV_NL && !csv_mode_compatible(l->granted, l->bast))
		say(t, l, CSV_DLM_SAID_BAST, l->bast, 0);
}

/* ---- what is to be done next for a lock at rest; frees it if nothing is left ---- */

static void ask(struct csv_dlm_table *t, struct lock *l)
{
	l->state = LS_ASKING;
	l->cancelled = false;
	l->bast = CSV_NL;
	l->sent_noqueue = l->noqueue;
	l->sent_seq = l->seq;
	send(t, l, CSV_DLM_LOCK, l->want);
}

static void leave(struct csv_dlm_table *t, struct lock *l)
{
	l->state = LS_LEAVING;
	send(t, l, CSV_DLM_UNLOCK, CSV_NL);
}

static void held(struct csv_dlm_table *t, struct lock *l)
{
	if (l->want == CSV_NL || (!l->told && l->granted != l->want)) {
		leave(t, l);
	} else if (!l->told) {
		l->told = true;
		say(t, l, CSV_DLM_SAID_GRANT, l->granted, l->seq);
		say_bast(t, l);
	} else if (l->granted != l->want) {
		l->state = LS_GOING;
		send(t, l, CSV_DLM_CONVERT, l->want);
	}
}

static void go_on(struct csv_dlm_table *t, struct lock *l)
{
	switch (l->state) {
	case LS_NONE:
		if (l->want == CSV_NL)
			forget(t, l);
		else
			ask(t, l);
		break;
	case LS_ASKING:
		if ((l->want != l->sent || l->noqueue != l->sent_noqueue) && !l->cancelled) {
			l->cancelled = true;
			send(t, l, CSV_DLM_CANCEL, CSV_NL);
		}
		break;
	case LS_HELD:
		held(t, l);
		break;
	case LS_GOING:
	case LS_LEAVING:
	case LS_ADOPTING:
		break;
	}
}

/* ---- orders ---- */

static void release(struct csv_dlm_table *t, struct lock *l)
{
	l->want = CSV_NL;
	l->told = l->claimed = false;
	go_on(t, l);
}

/* An orphan, of a csvlockd or a csv-dlm-space that is no more. Told it is already: the csvfs says so itself. */
static void claim(struct csv_dlm_table *t, const struct csv_dlm_order *o)
{
	struct lock *l = find(t, o->res);

	if (!l) {
		l = make(t, o->res);
		l->state = LS_ADOPTING;
		send(t, l, CSV_DLM_ADOPT, o->mode);
	} else if (!l->told || !csv_mode_covers(l->want, o->mode)) {
		say(t, l, CSV_DLM_SAID_LOST, CSV_NL, 0);
		return;
	}
	l->want = o->mode;
	l->client = o->client;
	l->told = l->claimed = true;
	go_on(t, l);
}

static void release_but_claimed(struct csv_dlm_table *t)
{
	struct csv_omap_node *n, *next;

	for (n = csv_omap_first(&t->by_res); n; n = next) {
		struct lock *l = of_res(n);

		next = csv_omap_next(n);
		if (l->claimed)
			l->claimed = false;
		else
			release(t, l);
	}
	purge(t);
}

static void release_but(struct csv_dlm_table *t, uint64_t client)
{
	struct csv_omap_node *n, *next;

	for (n = csv_omap_first(&t->by_res); n; n = next) {
		struct lock *l = of_res(n);

		next = csv_omap_next(n);
		if (!client || l->client != client)
			release(t, l);
	}
	purge(t);
}

static void lock(struct csv_dlm_table *t, const struct csv_dlm_order *o)
{
	struct lock *l = find(t, o->res);

	if (!l)
		l = make(t, o->res);
	l->want = o->mode;
	l->noqueue = o->noqueue;
	l->seq = o->seq;
	l->client = o->client;
	l->told = false;
	if (l->state == LS_ASKING && l->want == l->sent && l->noqueue == l->sent_noqueue)
		l->sent_seq = o->seq; /* the same once more, of a new life of the machine */
	go_on(t, l);
}

static void unlock(struct csv_dlm_table *t, const struct csv_dlm_order *o)
{
	struct lock *l = find(t, o->res);

	if (!l)
		return;
	if (o->mode == CSV_NL) {
		release(t, l);
	} else if (l->told && csv_mode_covers(l->want, o->mode)) {
		l->want = o->mode;
		go_on(t, l);
	}
}

void csv_dlm_table_order(struct csv_dlm_table *t, const struct csv_dlm_order *o)
{
	switch (o->verb) {
	case CSV_DLM_DO_OPEN:
		break;
	case CSV_DLM_DO_LOCK:
		lock(t, o);
		break;
	case CSV_DLM_DO_UNLOCK:
		unlock(t, o);
		break;
	case CSV_DLM_DO_CLAIM:
		claim(t, o);
		break;
	case CSV_DLM_DO_CLAIMED:
		release_but_claimed(t);
		break;
	case CSV_DLM_DO_DROP:
		release_but(t, o->client);
		break;
	}
}

/* ---- answers ---- */

static void asked(struct csv_dlm_table *t, struct lock *l, const struct csv_dlm_res *r)
{
	bool refused = r->status == EAGAIN && l->sent_noqueue;

	if (r->status && !refused && r->status != ECANCELED) {
		t->host.broken(t->host.arg, "LOCK", r->status);
		return;
	}
	l->state = r->status ? LS_NONE : LS_HELD;
	l->granted = r->status ? CSV_NL : l->sent;
	if (refused && l->want != CSV_NL && l->seq == l->sent_seq) {
		say(t, l, CSV_DLM_SAID_DENY, l->want, l->seq);
		l->want = CSV_NL;
	}
	go_on(t, l);
}

/*
 * L4: an adopted lock is told of no want that was there before, so it is treated as if one for EX had just come.  What
 * was on its way down when its process died may be in a stronger mode than it is claimed in: it goes down now.
 */
static void adopted(struct csv_dlm_table *t, struct lock *l, const struct csv_dlm_res *r)
{
	if (r->status && r->status != ENOENT) {
		t->host.broken(t->host.arg, "ADOPT", r->status);
		return;
	}
	l->state = r->status ? LS_NONE : LS_HELD;
	l->granted = r->status ? CSV_NL : (enum csv_mode)r->mode;
	l->bast = CSV_EX;
	if (l->told && !csv_mode_covers(l->granted, l->want)) {
		say(t, l, CSV_DLM_SAID_LOST, CSV_NL, 0);
		l->want = CSV_NL;
		l->told = false;
	}
	say_bast(t, l);
	go_on(t, l);
}

static void done(struct csv_dlm_table *t, struct lock *l, const struct csv_dlm_res *r)
{
	switch (l->state) {
	case LS_ASKING:
		asked(t, l, r);
		return;
	case LS_ADOPTING:
		adopted(t, l, r);
		return;
	case LS_GOING:
		if (r->status)
			break;
		l->state = LS_HELD;
		l->granted = l->sent;
		say_bast(t, l);
		go_on(t, l);
		return;
	case LS_LEAVING:
		if (r->status)
			break;
		l->state = LS_NONE;
		l->granted = CSV_NL;
		go_on(t, l);
		return;
	case LS_NONE:
	case LS_HELD:
		break;
	}
	t->host.broken(t->host.arg, "an answer that nothing waits for", r->status);
}

void csv_dlm_table_event(struct csv_dlm_table *t, const struct csv_dlm_res *r)
{
	struct csv_omap_node *n = csv_omap_find(&t->by_cookie, &r->cookie);
	struct lock *l = n ? csv_omap_entry(n, struct lock, by_cookie) : NULL;

	if (r->event == CSV_DLM_DONE && !r->cookie)
		t->purging = false;
	if (!l || r->mode > CSV_EX)
		return;
	if (r->event == CSV_DLM_DONE) {
		done(t, l, r);
	} else if (r->event == CSV_DLM_BAST) {
		l->bast = csv_mode_join(l->bast, (enum csv_mode)r->mode);
		if (l->state == LS_HELD)
			say_bast(t, l);
	}
}

void csv_dlm_table_again(struct csv_dlm_table *t)
{
	struct csv_omap_node *n;

	for (n = csv_omap_first(&t->by_res); n; n = csv_omap_next(n)) {
		struct lock *l = of_res(n);

		/* Where it was going, or was. ADOPT finds it in any mode. */
		l->state = LS_ADOPTING;
		send(t, l, CSV_DLM_ADOPT, l->granted != CSV_NL ? l->granted : l->sent);
	}
	if (t->purging) /* not otherwise: a mount that comes back may be about to claim */
		purge(t);
}
