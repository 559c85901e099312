/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations: their holds, how they park and how they come back. */
#include "fs/lock/cache_int.h"

#include <string.h>

/* ---- giving and taking one hold --------------------------------------------- */

static bool others_hold(const struct csv_lock *l)
{
	return l->excl || lock_held(l) || lock_pinned(l);
}

/*
 * Gives the lock to an operation if it can be given now: OK, WAIT, or BUSY (noqueue).
 * privileged: it has waited for just this grant, so others' wishes do not count (a
 * grant serves those who waited for it at least once).
 */
static enum csv_err try_give(struct csv_lock *l, const struct csv_op *op, struct csv_op_hold *e, bool waiter,
			     bool privileged)
{
	bool excl = e->noqueue && e->mode == CSV_EX;

	if (l->c->frozen || l->c->out)
		return CSV_WAIT;
	if (excl && others_hold(l))
		return CSV_BUSY;
	if (l->state != LOCK_STABLE || l->excl || !csv_mode_covers(l->mode, (enum csv_mode)e->mode))
		return CSV_WAIT;
	if (!privileged && csv_lock_bast_due(l))
		return CSV_WAIT;
	/* Those who wait for more than we have must not starve; unless a pin keeps them waiting anyway. */
	if (!waiter && !csv_list_empty(&l->waiters) && !lock_pinned(l))
		return CSV_WAIT;
	l->holds[lock_index((enum csv_mode)e->mode)]++;
	if (excl)
		l->excl = op;
	e->have = true;
	return CSV_OK;
}

static void release(struct csv_op *op, struct csv_op_hold *e)
{
	struct csv_lock *l = e->lock;

	if (!e->have)
		return;
	e->have = false;
	CSV_ASSERT(l->holds[lock_index((enum csv_mode)e->mode)] > 0);
	l->holds[lock_index((enum csv_mode)e->mode)]--;
	if (l->excl == op)
		l->excl = NULL;
	if (l->bast != CSV_NL || !csv_list_empty(&l->waiters))
		csv_lock_mark(l);
}

/* Removes an entry; the last one takes its place. */
static void forget(struct csv_op *op, struct csv_op_hold *e)
{
	release(op, e);
	csv_lock_put(e->lock);
	*e = op->hold[--op->nholds];
}

static void forget_all(struct csv_op *op)
{
	while (op->nholds)
		forget(op, &op->hold[op->nholds - 1]);
}

/* ---- the parked operation ----------------------------------------------------- */

static void op_work(struct csv_work *work)
{
	struct csv_op *op = csv_list_entry(work, struct csv_op, work);

	if (op->failed)
		op->fail(op, (enum csv_err)op->failed);
	else
		op->run(op);
}

/* Nothing is missing any more, or there is an error to tell: to a worker. */
static void op_ready(struct csv_op *op)
{
	if (op->awaits)
		return;
	csv_list_del(&op->all);
	op->parked = false;
	op->missing = 0;
	for (unsigned i = 0; i < op->nholds; i++)
		op->hold[i].named = false;
	csv_workq_add(op->locks->workq, &op->work);
}

/* Takes one missing hold after the other, until it must wait at a lock. */
static void advance(struct csv_op *op)
{
	for (; op->cursor < op->nholds; op->cursor++) {
		struct csv_op_hold *e = &op->hold[op->cursor];
		enum csv_err err = e->have ? CSV_OK : try_give(e->lock, op, e, false, false);

		if (err == CSV_WAIT) {
			csv_list_push_back(&e->lock->waiters, &op->wait);
			csv_lock_mark(e->lock);
			return;
		}
		if (err) {
			e->err = (uint16_t)err;
			op->busy_node[0] = 0;
			break;
		}
	}
	op_ready(op);
}

void csv_lock_serve(struct csv_lock *l, bool fresh)
{
	struct csv_list *pos, *tmp;

	csv_list_for_each_safe(pos, tmp, &l->waiters) {
		struct csv_op *op = csv_list_entry(pos, struct csv_op, wait);
		struct csv_op_hold *e = &op->hold[op->cursor];
		enum csv_err err = try_give(l, op, e, true, fresh);

		if (err == CSV_WAIT && lock_pinned(l))
			continue; /* those behind need not wait for the end of a pin */
		if (err == CSV_WAIT)
			break;
		csv_list_del(&op->wait);
		if (err) {
			e->err = (uint16_t)err;
			op->busy_node[0] = 0;
			op_ready(op);
		} else {
			op->cursor++;
			advance(op);
		}
	}
}

void csv_lock_refuse(struct csv_lock *l, enum csv_err err, bool all)
{
	struct csv_list *pos, *tmp;

	csv_list_for_each_safe(pos, tmp, &l->waiters) {
		struct csv_op *op = csv_list_entry(pos, struct csv_op, wait);
		struct csv_op_hold *e = &op->hold[op->cursor];

		if (!all && !e->noqueue)
			continue;
		e->err = (uint16_t)err;
		memcpy(op->busy_node, l->busy_node, sizeof(op->busy_node));
		csv_list_del(&op->wait);
		op_ready(op);
	}
}

static void op_fail(struct csv_op *op)
{
	csv_list_del(&op->wait);
	forget_all(op);
	op->failed = (uint16_t)op->locks->out;
	op_ready(op);
}

/* Operations with an open await are failed by the last wake. */
void csv_op_fail_parked(struct csv_locks *c)
{
	struct csv_list *pos, *tmp;

	csv_list_for_each_safe(pos, tmp, &c->parked)
		op_fail(csv_list_entry(pos, struct csv_op, all));
}

/* In lock order: by type, within a type by number (L7). */
static bool before(const struct csv_op_hold *a, const struct csv_op_hold *b)
{
	struct csv_res x = a->lock->res, y = b->lock->res;

	return x.type != y.type ? x.type < y.type : x.id < y.id;
}

static void sort_holds(struct csv_op *op)
{
	for (unsigned i = 1; i < op->nholds; i++) {
		struct csv_op_hold e = op->hold[i];
		unsigned j = i;

		for (; j > 0 && before(&e, &op->hold[j - 1]); j--)
			op->hold[j] = op->hold[j - 1];
		op->hold[j] = e;
	}
}

/* Keeps what may be kept while waiting: the named holds before the first missing one. */
static void keep_prefix(struct csv_op *op)
{
	bool gap = false;

	for (unsigned i = 0; i < op->nholds;) {
		if (op->hold[i].named && !op->hold[i].err)
			i++;
		else
			forget(op, &op->hold[i]);
	}
	sort_holds(op);
	for (unsigned i = 0; i < op->nholds; i++) {
		gap |= !op->hold[i].have;
		if (gap)
			release(op, &op->hold[i]);
	}
}

/* ---- the public side ------------------------------------------------------------ */

void csv_op_init(struct csv_op *op, struct csv_locks *locks, void (*run)(struct csv_op *op),
		 void (*fail)(struct csv_op *op, enum csv_err err))
{
	op->locks = locks;
	op->run = run;
	op->fail = fail;
	op->work.fn = op_work;
	csv_list_init(&op->work.link);
	csv_list_init(&op->wait);
	csv_list_init(&op->all);
	op->nholds = op->missing = op->cursor = op->awaits = 0;
	op->parked = false;
	op->failed = 0;
	op->busy_node[0] = 0;
}

static struct csv_op_hold *find_hold(struct csv_op *op, struct csv_res res)
{
	for (unsigned i = 0; i < op->nholds; i++)
		if (csv_res_eq(op->hold[i].lock->res, res))
			return &op->hold[i];
	return NULL;
}

static enum csv_err add_hold(struct csv_op *op, struct csv_res res, struct csv_op_hold **out)
{
	struct csv_lock *l;

	if (op->nholds == CSV_OP_HOLDS_MAX)
		return CSV_INTERNAL;
	l = csv_lock_get(op->locks, res);
	if (!l)
		return CSV_NOMEM;
	*out = &op->hold[op->nholds++];
	**out = (struct csv_op_hold){ .lock = l };
	return CSV_OK;
}

/* One naming of a lock; the first time in a run it counts as missing if it is not there. */
static enum csv_err name_hold(struct csv_op *op, struct csv_op_hold *e, enum csv_mode mode, bool noqueue)
{
	enum csv_err err;

	if (e->err) {
		err = (enum csv_err)e->err;
		forget(op, e);
		return err;
	}
	if (e->named && !e->have)
		op->missing--;
	e->named = true;
	if (e->have && mode <= (enum csv_mode)e->mode && (!noqueue || e->noqueue || mode != CSV_EX))
		return CSV_OK;
	release(op, e); /* to become more, it is taken anew (L7) */
	if (mode > (enum csv_mode)e->mode)
		e->mode = (uint8_t)mode;
	e->noqueue = noqueue;
	err = try_give(e->lock, op, e, false, false);
	if (err == CSV_BUSY) {
		op->busy_node[0] = 0;
		forget(op, e);
	} else if (err == CSV_WAIT) {
		op->missing++;
		csv_lock_request(e->lock, (enum csv_mode)e->mode, noqueue);
	}
	return err;
}

/* An engine that grants from within the call has granted by now. */
static enum csv_err try_again(struct csv_op *op, struct csv_res res)
{
	struct csv_op_hold *e = find_hold(op, res);
	enum csv_err err = try_give(e->lock, op, e, false, true);

	if (err == CSV_OK)
		op->missing--;
	return err == CSV_OK ? CSV_OK : CSV_WAIT;
}

static enum csv_err hold(struct csv_op *op, struct csv_res res, enum csv_mode mode, bool noqueue)
{
	struct csv_locks *c = op->locks;
	struct csv_op_hold *e;
	enum csv_err err = CSV_OK;
	bool sent;

	csv_locks_lock(c);
	if (c->out) {
		err = c->out;
		csv_locks_unlock(c);
		return err;
	}
	e = find_hold(op, res);
	if (!e)
		err = add_hold(op, res, &e);
	if (!err)
		err = name_hold(op, e, mode, noqueue);
	sent = err == CSV_WAIT && e->lock->state == LOCK_REQUESTING;
	csv_locks_unlock(c);
	if (!sent)
		return err;
	csv_locks_lock(c);
	err = try_again(op, res);
	csv_locks_unlock(c);
	return err;
}

enum csv_err csv_hold(struct csv_op *op, struct csv_res res, enum csv_mode mode)
{
	return hold(op, res, mode, false);
}

enum csv_err csv_hold_noqueue(struct csv_op *op, struct csv_res res, enum csv_mode mode)
{
	return hold(op, res, mode, true);
}

const char *csv_hold_busy_node(const struct csv_op *op)
{
	return op->busy_node;
}

bool csv_op_waits(const struct csv_op *op)
{
	return op->missing > 0;
}

void csv_op_park(struct csv_op *op)
{
	struct csv_locks *c = op->locks;

	csv_locks_lock(c);
	if (op->awaits)
		forget_all(op);
	keep_prefix(op);
	op->parked = true;
	op->cursor = 0;
	csv_list_push_back(&c->parked, &op->all);
	if (c->out)
		op_fail(op);
	else
		advance(op);
	csv_locks_unlock(c);
}

void csv_op_done(struct csv_op *op)
{
	struct csv_locks *c = op->locks;

	csv_locks_lock(c);
	CSV_ASSERT(!op->parked && !op->awaits);
	forget_all(op);
	op->missing = 0;
	csv_locks_unlock(c);
}

void csv_op_await(struct csv_op *op)
{
	csv_locks_lock(op->locks);
	op->awaits++;
	op->missing++; /* the operation's own count: true until the park, even if the wake comes first */
	csv_locks_unlock(op->locks);
}

void csv_op_wake(struct csv_op *op)
{
	struct csv_locks *c = op->locks;

	csv_locks_lock(c);
	CSV_ASSERT(op->awaits > 0);
	op->awaits--;
	if (op->parked && !op->awaits) {
		if (c->out)
			op->failed = (uint16_t)c->out;
		op_ready(op);
	}
	csv_locks_unlock(c);
}
