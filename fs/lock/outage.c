/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cache in bad times: csvlockd lost and found again (L3), volume out; and its counters. */
#include "fs/lock/cache_int.h"

static void for_each_lock(struct csv_locks *c, void (*fn)(void *arg, struct csv_lock *l), void *arg)
{
	for (unsigned i = 0; i < LOCK_BUCKETS; i++) {
		struct csv_list *pos, *tmp;

		csv_list_for_each_safe(pos, tmp, &c->bucket[i])
			fn(arg, csv_list_entry(pos, struct csv_lock, hash));
	}
}

void csv_locks_out(struct csv_locks *c, enum csv_err err)
{
	csv_locks_lock(c);
	if (!c->out) {
		c->out = err ? err : CSV_WITHDRAWN;
		csv_op_fail_parked(c);
	}
	csv_locks_unlock(c);
}

/* A request is forgotten: if it was granted in the meantime, the declaration will not claim it. */
static void forget_request(void *arg, struct csv_lock *l)
{
	if (l->state != LOCK_REQUESTING)
		return;
	csv_list_del(&l->send);
	l->state = LOCK_STABLE;
	l->bast = CSV_NL;
}

void csv_locks_freeze(struct csv_locks *c)
{
	csv_locks_lock(c);
	c->frozen = true;
	for_each_lock(c, forget_request, NULL);
	csv_locks_unlock(c);
}

static void mark_one(void *arg, struct csv_lock *l)
{
	csv_lock_mark(l);
}

/* BASTs that were sent before the loss come again from the new csvlockd; those remembered still count. */
void csv_locks_thaw(struct csv_locks *c)
{
	csv_locks_lock(c);
	c->frozen = false;
	c->thaws++;
	for_each_lock(c, mark_one, NULL);
	csv_locks_unlock(c);
}

struct declare {
	void (*fn)(void *arg, struct csv_res res, enum csv_mode mode);
	void *arg;
};

static void declare_one(void *arg, struct csv_lock *l)
{
	struct declare *d = arg;

	if (l->mode != CSV_NL)
		d->fn(d->arg, l->res, l->mode);
}

void csv_locks_declare(struct csv_locks *c, void (*fn)(void *arg, struct csv_res res, enum csv_mode mode), void *arg)
{
	struct declare d = { fn, arg };

	csv_locks_lock(c);
	while (c->demoting)
		pthread_cond_wait(&c->idle, &c->mutex);
	for_each_lock(c, declare_one, &d);
	csv_locks_unlock(c);
}

enum csv_mode csv_locks_mode(struct csv_locks *c, struct csv_res res)
{
	struct csv_lock *l;
	enum csv_mode mode;

	csv_locks_lock(c);
	l = csv_lock_find(c, res);
	mode = l ? l->mode : CSV_NL;
	csv_locks_unlock(c);
	return mode;
}

static void count_parked(struct csv_locks *c, struct csv_locks_stats *st)
{
	struct csv_list *pos;

	st->parked = 0;
	csv_list_for_each(pos, &c->parked)
		st->parked++;
}

void csv_locks_stats(struct csv_locks *c, struct csv_locks_stats *st)
{
	csv_locks_lock(c);
	*st = c->st;
	st->cached = c->nlocks;
	count_parked(c, st);
	csv_locks_unlock(c);
}

void csv_locks_set_limit(struct csv_locks *c, unsigned limit)
{
	csv_locks_lock(c);
	c->limit = limit ? limit : LOCK_LIMIT_DEFAULT;
	csv_locks_unlock(c);
}
