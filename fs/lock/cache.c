/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lock cache: the table, what happens to a lock next, the engine's upcalls. */
#include "fs/lock/cache_int.h"

#include <stdlib.h>
#include <string.h>

static struct csv_list *bucket_of(struct csv_locks *c, struct csv_res res)
{
	uint64_t h = (res.id * 8 + (uint64_t)res.type) * 0x9e3779b97f4a7c15ull;

	return &c->bucket[h >> 51];
}
static_assert(LOCK_BUCKETS == 1u << (64 - 51), "the hash has 13 bits");

struct csv_lock *csv_lock_find(struct csv_locks *c, struct csv_res res)
{
	struct csv_list *head = bucket_of(c, res), *pos;

	csv_list_for_each(pos, head) {
		struct csv_lock *l = csv_list_entry(pos, struct csv_lock, hash);

		if (csv_res_eq(l->res, res))
			return l;
	}
	return NULL;
}

static bool lock_idle(const struct csv_lock *l)
{
	return l->state == LOCK_STABLE && !l->refs && !lock_pinned(l);
}

/* Too many: those that were not used for longest go. They leave the list, so that each is marked once. */
static void locks_shrink(struct csv_locks *c)
{
	while (c->nlocks > c->limit && !csv_list_empty(&c->lru)) {
		struct csv_lock *l = csv_list_entry(c->lru.next, struct csv_lock, lru);

		csv_list_del(&l->lru);
		l->shrink = true;
		csv_lock_mark(l);
		if (c->demoting >= 64)
			break;
	}
}

struct csv_lock *csv_lock_get(struct csv_locks *c, struct csv_res res)
{
	struct csv_lock *l = csv_lock_find(c, res);

	if (!l) {
		l = calloc(1, sizeof(*l));
		if (!l)
			return NULL;
		l->c = c;
		l->res = res;
		csv_list_init(&l->lru);
		csv_list_init(&l->todo);
		csv_list_init(&l->send);
		csv_list_init(&l->window);
		csv_list_init(&l->waiters);
		csv_list_push_back(bucket_of(c, res), &l->hash);
		c->nlocks++;
		if (c->nlocks > c->limit)
			locks_shrink(c);
	}
	l->refs++;
	l->shrink = false;
	csv_list_del(&l->lru);
	return l;
}

void csv_lock_put(struct csv_lock *l)
{
	CSV_ASSERT(l->refs > 0);
	l->refs--;
	if (lock_idle(l) || l->bast != CSV_NL || !csv_list_empty(&l->waiters))
		csv_lock_mark(l);
}

void csv_lock_mark(struct csv_lock *l)
{
	if (csv_list_empty(&l->todo))
		csv_list_push_back(&l->c->todo, &l->todo);
}

static void lock_free(struct csv_lock *l)
{
	csv_list_del(&l->hash);
	csv_list_del(&l->lru);
	csv_list_del(&l->todo);
	csv_list_del(&l->window);
	l->c->nlocks--;
	free(l);
}

void csv_lock_request(struct csv_lock *l, enum csv_mode mode, bool noqueue)
{
	if (l->state != LOCK_STABLE || l->mode != CSV_NL || l->c->frozen || l->c->out)
		return;
	l->state = LOCK_REQUESTING;
	l->asked = mode;
	l->noqueue = noqueue;
	l->bast = CSV_NL;
	l->request++;
	l->c->st.requests++;
	csv_list_push_back(&l->c->send, &l->send);
}

/* What others want can be given, as far as this node's long holds go; *target: the mode that remains. */
static bool bast_target(const struct csv_lock *l, enum csv_mode *target)
{
	*target = l->mode == CSV_EX && l->bast <= CSV_PR ? CSV_PR : CSV_NL;
	return !l->pins[LOCK_EX] && (*target == CSV_PR || !l->pins[LOCK_PR]);
}

static uint64_t hold_end_ns(const struct csv_lock *l)
{
	return l->granted_ns + CSV_LOCK_MIN_HOLD_MS * 1000000ull;
}

static uint64_t now_ns(struct csv_locks *c)
{
	return c->fs->env->mono_ns(c->fs->env);
}

bool csv_lock_bast_due(struct csv_lock *l)
{
	enum csv_mode target;

	return l->bast != CSV_NL && !csv_mode_compatible(l->bast, l->mode) && bast_target(l, &target) &&
	       now_ns(l->c) >= hold_end_ns(l);
}

/* Strongest mode that a waiter needs; *noqueue: all of them would rather be denied than queue. */
static enum csv_mode waiters_want(const struct csv_lock *l, bool *noqueue)
{
	enum csv_mode want = CSV_NL;
	struct csv_list *pos;

	*noqueue = true;
	csv_list_for_each(pos, &l->waiters) {
		const struct csv_op *op = csv_list_entry(pos, struct csv_op, wait);
		const struct csv_op_hold *e = &op->hold[op->cursor];

		if (e->mode > want)
			want = (enum csv_mode)e->mode;
		*noqueue &= e->noqueue;
	}
	return want;
}

/* Waiters that are not served by what we have: ask, or go to NL first (L7). True if that settles the next step. */
static bool kick_waiters(struct csv_lock *l)
{
	bool noqueue;
	enum csv_mode want;

	if (csv_list_empty(&l->waiters))
		return false;
	want = waiters_want(l, &noqueue);
	if (l->mode == CSV_NL) {
		csv_lock_request(l, want, noqueue);
		return true;
	}
	if (csv_mode_covers(l->mode, want) || !csv_lock_can_demote(l, CSV_NL))
		return false;
	csv_lock_demote(l, CSV_NL);
	return true;
}

static void kick_bast(struct csv_lock *l)
{
	enum csv_mode target;

	if (l->bast == CSV_NL)
		return;
	if (csv_mode_compatible(l->bast, l->mode)) {
		l->bast = CSV_NL;
		return;
	}
	if (!bast_target(l, &target))
		return;
	if (now_ns(l->c) < hold_end_ns(l)) {
		if (csv_list_empty(&l->window)) {
			csv_list_push_back(&l->c->window, &l->window);
			pthread_cond_signal(&l->c->timer_wake);
		}
		return;
	}
	if (csv_lock_can_demote(l, target))
		csv_lock_demote(l, target);
}

static bool given_up(const struct csv_lock *l)
{
	return l->c->rows[l->res.type].given_up && !l->c->engine->ops->alone;
}

/* Decides what happens to a lock next. May free it. */
static void lock_kick(struct csv_lock *l)
{
	struct csv_locks *c = l->c;
	bool fresh = l->fresh;

	if (l->state == LOCK_STABLE && !c->frozen && !c->out) {
		l->fresh = false;
		csv_lock_serve(l, fresh);
		if (!kick_waiters(l))
			kick_bast(l);
		if ((l->shrink || given_up(l)) && lock_idle(l) && l->mode != CSV_NL)
			csv_lock_demote(l, CSV_NL);
	}
	if (!lock_idle(l))
		return;
	if (l->mode == CSV_NL)
		lock_free(l);
	else if (csv_list_empty(&l->lru))
		csv_list_push_back(&c->lru, &l->lru);
}

/* The engine refused to take the request: gone with the connection (thaw asks again), or for another reason. */
static void send_failed(struct csv_locks *c, struct csv_res res, uint64_t request, uint64_t thaws, enum csv_err err)
{
	struct csv_lock *l = csv_lock_find(c, res);

	if (!l || l->state != LOCK_REQUESTING || l->request != request)
		return;
	l->state = LOCK_STABLE;
	if (err != CSV_NOTCONN)
		csv_lock_refuse(l, err, true);
	if (err != CSV_NOTCONN || thaws != c->thaws)
		csv_lock_mark(l);
}

static void send_request(struct csv_locks *c)
{
	struct csv_lock *l = csv_list_entry(c->send.next, struct csv_lock, send);
	struct csv_res res = l->res;
	uint64_t request = l->request, thaws = c->thaws;
	enum csv_mode asked = l->asked;
	bool noqueue = l->noqueue;
	enum csv_err err;

	csv_list_del(&l->send);
	c->upcalls++;
	pthread_mutex_unlock(&c->mutex);
	err = c->engine->ops->lock(c->engine, res, asked, noqueue);
	pthread_mutex_lock(&c->mutex);
	if (--c->upcalls == 0)
		pthread_cond_broadcast(&c->idle);
	if (err)
		send_failed(c, res, request, thaws, err);
}

void csv_locks_lock(struct csv_locks *c)
{
	pthread_mutex_lock(&c->mutex);
}

void csv_locks_unlock(struct csv_locks *c)
{
	for (;;) {
		if (!csv_list_empty(&c->todo)) {
			struct csv_lock *l = csv_list_entry(c->todo.next, struct csv_lock, todo);

			csv_list_del(&l->todo);
			lock_kick(l);
		} else if (!csv_list_empty(&c->send)) {
			send_request(c);
		} else {
			break;
		}
	}
	pthread_mutex_unlock(&c->mutex);
}

/* ---- upcalls ---------------------------------------------------------------- */

static void up_granted(void *arg, struct csv_res res, enum csv_mode mode)
{
	struct csv_locks *c = arg;
	struct csv_lock *l;
	bool stray;

	csv_locks_lock(c);
	l = csv_lock_find(c, res);
	stray = !l || l->state != LOCK_REQUESTING;
	if (!stray) {
		l->state = LOCK_STABLE;
		l->mode = mode;
		l->fresh = true;
		l->granted_ns = now_ns(c);
		csv_lock_mark(l);
	}
	csv_locks_unlock(c);
	if (stray)
		csv_debug("lock %s.%llu: granted though not asked for", csv_res_type_name(res.type),
			  (unsigned long long)res.id);
}

static void up_denied(void *arg, struct csv_res res, const char *holder_node)
{
	struct csv_locks *c = arg;
	struct csv_lock *l;

	csv_locks_lock(c);
	l = csv_lock_find(c, res);
	if (l && l->state == LOCK_REQUESTING) {
		l->state = LOCK_STABLE;
		strncpy(l->busy_node, holder_node ? holder_node : "", sizeof(l->busy_node) - 1);
		csv_lock_refuse(l, CSV_BUSY, false);
		csv_lock_mark(l);
	}
	csv_locks_unlock(c);
}

/*
 * A BAST may come before its grant or while the lock goes down: it is remembered
 * in every state and judged when the lock is stable (L8).  At NL it is about a
 * lock that we have given back already.
 */
static void up_bast(void *arg, struct csv_res res, enum csv_mode wanted)
{
	struct csv_locks *c = arg;
	struct csv_lock *l;

	csv_locks_lock(c);
	c->st.basts++;
	l = csv_lock_find(c, res);
	if (l && (l->mode != CSV_NL || l->state == LOCK_REQUESTING)) {
		if (wanted > l->bast)
			l->bast = wanted;
		csv_lock_mark(l);
	}
	csv_locks_unlock(c);
}

/* ---- life of the cache ------------------------------------------------------ */

/* Answered for the lock's own work too: while it goes down, what it covers is still flushed. */
static bool ctx_holds(struct csv_lockctx *ctx, struct csv_res res, enum csv_mode mode)
{
	struct csv_locks *c = (struct csv_locks *)ctx;
	struct csv_lock *l;
	bool yes = false;

	pthread_mutex_lock(&c->mutex);
	l = csv_lock_find(c, res);
	if (l && l->state == LOCK_DEMOTING)
		yes = csv_mode_covers(l->mode, mode);
	if (l && !yes && csv_mode_covers(l->mode, mode))
		yes = l->holds[LOCK_EX] || l->pins[LOCK_EX] ||
		      (mode != CSV_EX && (l->holds[LOCK_PR] || l->pins[LOCK_PR]));
	pthread_mutex_unlock(&c->mutex);
	return yes;
}

static void init_sync(struct csv_locks *c)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&c->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->timer_wake, &attr);
	pthread_cond_init(&c->idle, NULL);
	pthread_condattr_destroy(&attr);
}

static void locks_destroy(struct csv_locks *c)
{
	c->engine->ops->close(c->engine);
	pthread_cond_destroy(&c->timer_wake);
	pthread_cond_destroy(&c->idle);
	pthread_mutex_destroy(&c->mutex);
	free(c);
}

enum csv_err csv_locks_new(struct csv_fs *fs, struct csv_workq *workq, struct csv_engine *engine,
			   const struct csv_lock_row *rows, struct csv_locks **locks)
{
	struct csv_locks *c = calloc(1, sizeof(*c));

	if (!c) {
		engine->ops->close(engine);
		return CSV_NOMEM;
	}
	c->ctx.holds = ctx_holds;
	c->fs = fs;
	c->workq = workq;
	c->engine = engine;
	c->rows = rows ? rows : csv_lock_rows;
	c->limit = LOCK_LIMIT_DEFAULT;
	csv_list_init(&c->todo);
	csv_list_init(&c->send);
	csv_list_init(&c->window);
	csv_list_init(&c->lru);
	csv_list_init(&c->parked);
	for (unsigned i = 0; i < LOCK_BUCKETS; i++)
		csv_list_init(&c->bucket[i]);
	init_sync(c);
	if (pthread_create(&c->timer, NULL, csv_locks_timer, c)) {
		locks_destroy(c);
		return CSV_NOMEM;
	}
	engine->up = (struct csv_engine_up){ up_granted, up_denied, up_bast, c };
	*locks = c;
	return CSV_OK;
}

void csv_locks_free(struct csv_locks *c)
{
	if (!c)
		return;
	csv_locks_lock(c);
	CSV_ASSERT(csv_list_empty(&c->parked));
	if (!c->out)
		c->out = CSV_WITHDRAWN; /* from now on no lock starts to go down */
	c->stop = true;
	pthread_cond_broadcast(&c->timer_wake);
	while (c->demoting || c->upcalls)
		pthread_cond_wait(&c->idle, &c->mutex);
	csv_locks_unlock(c);
	pthread_join(c->timer, NULL);
	for (unsigned i = 0; i < LOCK_BUCKETS; i++)
		while (!csv_list_empty(&c->bucket[i]))
			lock_free(csv_list_entry(c->bucket[i].next, struct csv_lock, hash));
	locks_destroy(c);
}

struct csv_lockctx *csv_locks_ctx(struct csv_locks *c)
{
	return &c->ctx;
}

void csv_locks_on_flush(struct csv_locks *c, csv_locks_flush_fn fn, void *arg)
{
	c->on_flush = fn;
	c->on_flush_arg = arg;
}
