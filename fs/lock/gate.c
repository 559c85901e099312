/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdatomic.h>
#include <stdlib.h>

#include "csv/timeouts.h"
#include "fs/lock/gate.h"

struct gate {
	struct csv_list link;
	struct csv_list waiters;
	uint64_t ino;
	enum csv_gate_mode mode;
	uint64_t first_ns; /* when the first write began to wait; 0: none does */
	bool marking;	   /* the run mark was asked for */
};

struct waiter {
	struct csv_list link;
	struct csv_op *op;
};

/*
 * `io` is held shared from enter to leave and exclusively to change a mode: that is what makes a change see all I/O.
 * `mutex` covers the lists; taken inside `io`.
 */
struct csv_gates {
	struct csv_fs *fs;
	pthread_rwlock_t io;
	pthread_mutex_t mutex;
	struct csv_list list;
	_Atomic unsigned count;
	void (*mark)(void *arg, uint64_t ino);
	void *arg;
};

enum csv_err csv_gates_new(struct csv_fs *fs, void (*mark)(void *arg, uint64_t ino), void *arg, struct csv_gates **out)
{
	struct csv_gates *g = calloc(1, sizeof(*g));
	pthread_rwlockattr_t attr;

	if (!g)
		return CSV_NOMEM;
	g->fs = fs;
	g->mark = mark;
	g->arg = arg;
	csv_list_init(&g->list);
	/* Constant I/O must not keep a change of mode out. */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&g->io, &attr);
	pthread_rwlockattr_destroy(&attr);
	pthread_mutex_init(&g->mutex, NULL);
	*out = g;
	return CSV_OK;
}

static struct gate *find(struct csv_gates *g, uint64_t ino)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &g->list) {
		struct gate *x = csv_list_entry(pos, struct gate, link);

		if (x->ino == ino)
			return x;
	}
	return NULL;
}

/* Takes the waiters out, for wake_all() once nothing is held: a woken operation may run at once. */
static void take_waiters(struct gate *x, struct csv_list *out)
{
	while (!csv_list_empty(&x->waiters)) {
		struct csv_list *w = x->waiters.next;

		csv_list_del(w);
		csv_list_push_back(out, w);
	}
	x->first_ns = 0;
}

static void wake_all(struct csv_list *list)
{
	while (!csv_list_empty(list)) {
		struct waiter *w = csv_list_entry(list->next, struct waiter, link);

		csv_list_del(&w->link);
		csv_op_wake(w->op);
		free(w);
	}
}

static bool late(const struct csv_gates *g, const struct gate *x)
{
	return x->mode == CSV_GATE_ARMED && x->first_ns &&
	       g->fs->env->mono_ns(g->fs->env) - x->first_ns > CSV_HANDOFF_MS * 1000000ull;
}

/* mutex held. OK: let it in. */
static enum csv_err pass(struct csv_gates *g, struct gate *x, struct csv_op *op, bool write, bool *mark)
{
	struct waiter *w;

	if (!x || x->mode == CSV_GATE_OPEN || (!write && x->mode != CSV_GATE_PARKED))
		return CSV_OK;
	if (late(g, x))
		return CSV_BUSY;
	w = malloc(sizeof(*w));
	if (!w)
		return CSV_NOMEM;
	w->op = op;
	csv_op_await(op);
	csv_list_push_back(&x->waiters, &w->link);
	if (!x->first_ns)
		x->first_ns = g->fs->env->mono_ns(g->fs->env);
	*mark = x->mode == CSV_GATE_RUN && !x->marking;
	x->marking |= *mark;
	return CSV_WAIT;
}

enum csv_err csv_gate_enter(struct csv_gates *g, struct csv_op *op, uint64_t ino, bool write)
{
	enum csv_err err;
	bool mark = false;

	pthread_rwlock_rdlock(&g->io);
	if (!atomic_load(&g->count))
		return CSV_OK;
	err = csv_fs_state(g->fs);
	if (err == CSV_OK) {
		pthread_mutex_lock(&g->mutex);
		err = pass(g, find(g, ino), op, write, &mark);
		pthread_mutex_unlock(&g->mutex);
	}
	if (err != CSV_OK)
		pthread_rwlock_unlock(&g->io);
	if (mark)
		g->mark(g->arg, ino);
	return err;
}

void csv_gate_leave(struct csv_gates *g)
{
	pthread_rwlock_unlock(&g->io);
}

static struct gate *make(struct csv_gates *g, uint64_t ino)
{
	struct gate *x = calloc(1, sizeof(*x));

	CSV_ASSERT(x);
	x->ino = ino;
	csv_list_init(&x->waiters);
	csv_list_push_back(&g->list, &x->link);
	atomic_fetch_add(&g->count, 1);
	return x;
}

void csv_gate_set(struct csv_gates *g, uint64_t ino, enum csv_gate_mode mode)
{
	struct csv_list woken;
	struct gate *x;

	csv_list_init(&woken);
	pthread_rwlock_wrlock(&g->io);
	pthread_mutex_lock(&g->mutex);
	x = find(g, ino);
	if (!x && mode != CSV_GATE_OPEN)
		x = make(g, ino);
	if (x) {
		x->mode = mode;
		x->marking = false;
		take_waiters(x, &woken);
	}
	if (x && mode == CSV_GATE_OPEN) {
		csv_list_del(&x->link);
		free(x);
		atomic_fetch_sub(&g->count, 1);
	}
	pthread_mutex_unlock(&g->mutex);
	pthread_rwlock_unlock(&g->io);
	wake_all(&woken);
}

void csv_gates_tick(struct csv_gates *g)
{
	bool out = csv_fs_state(g->fs) != CSV_OK;
	struct csv_list woken, *pos;

	csv_list_init(&woken);
	pthread_mutex_lock(&g->mutex);
	csv_list_for_each(pos, &g->list) {
		struct gate *x = csv_list_entry(pos, struct gate, link);
		uint64_t first = x->first_ns;

		if (!out && !late(g, x))
			continue;
		take_waiters(x, &woken);
		x->first_ns = first; /* their next try is told that it is late */
	}
	pthread_mutex_unlock(&g->mutex);
	wake_all(&woken);
}

void csv_gates_free(struct csv_gates *g)
{
	while (!csv_list_empty(&g->list)) {
		struct gate *x = csv_list_entry(g->list.next, struct gate, link);

		CSV_ASSERT(csv_list_empty(&x->waiters));
		csv_list_del(&x->link);
		free(x);
	}
	pthread_rwlock_destroy(&g->io);
	pthread_mutex_destroy(&g->mutex);
	free(g);
}
