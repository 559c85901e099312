/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside of the lock cache: cache.c (table, what happens to a lock next, upcalls), demote.c (the way down),
 * hold.c (operations), outage.c (freeze, out, declare).
 *
 * One mutex covers everything here.  Nothing that happens under it calls out: what a change makes necessary is marked
 * (csv_lock_mark) and done by csv_locks_unlock(), which decides lock by lock (csv_lock_kick) and sends requests to
 * the engine with the mutex released, because the engine may call up from within.
 */
#ifndef CSV_LOCK_CACHE_INT_H
#define CSV_LOCK_CACHE_INT_H

#include "fs/lock/cache.h"

#define LOCK_BUCKETS 8192u
#define LOCK_LIMIT_DEFAULT 131072u

enum lock_state {
	LOCK_STABLE,	 /* mode is what we have */
	LOCK_REQUESTING, /* at NL, `asked` is on its way */
	LOCK_DEMOTING,	 /* at mode, going down to `target`; a worker flushes */
};

enum { LOCK_PR, LOCK_EX, LOCK_MODES };

/*
 * Invariants: REQUESTING has mode NL.  holds and pins are covered by mode, DEMOTING: by target.  excl: holds[EX] == 1,
 * no other hold, no pin.  A lock at NL, STABLE, without references, is freed.
 */
struct csv_lock {
	struct csv_list hash;
	struct csv_list lru;	 /* idle with a mode: oldest first */
	struct csv_list todo;	 /* marked */
	struct csv_list send;	 /* request to be sent */
	struct csv_list window;	 /* BAST waits for the end of the minimum hold */
	struct csv_list waiters; /* operations by csv_op.wait, first come first */
	struct csv_work work;
	struct csv_locks *c;
	struct csv_res res;
	enum lock_state state;
	enum csv_mode mode, asked, target;
	enum csv_mode bast;	   /* strongest mode that others want; NL: nobody */
	bool noqueue;		   /* REQUESTING */
	bool fresh;		   /* granted, waiters not yet served */
	bool shrink;		   /* one too many: to NL when idle */
	const struct csv_op *excl; /* its hold excludes this node's others */
	unsigned refs;		   /* csv_op_hold entries */
	unsigned holds[LOCK_MODES], pins[LOCK_MODES];
	uint64_t granted_ns;
	uint64_t request; /* number of the last request */
	char busy_node[CSV_NODENAME_MAX + 1];
};

struct csv_locks {
	struct csv_lockctx ctx; /* first */
	struct csv_fs *fs;
	struct csv_workq *workq;
	struct csv_engine *engine;
	const struct csv_lock_row *rows;
	csv_locks_flush_fn on_flush;
	void *on_flush_arg;
	pthread_mutex_t mutex;
	pthread_cond_t timer_wake, idle;
	pthread_t timer;
	bool stop, frozen;
	enum csv_err out;
	unsigned demoting; /* locks in DEMOTING */
	unsigned upcalls;  /* of csv_locks_unlock() outside the mutex; free() waits for them */
	uint64_t thaws;
	unsigned limit, nlocks;
	struct csv_list todo, send, window, lru, parked;
	struct csv_locks_stats st;
	struct csv_list bucket[LOCK_BUCKETS];
};

static inline unsigned lock_index(enum csv_mode mode)
{
	return mode == CSV_EX ? LOCK_EX : LOCK_PR;
}
static inline bool lock_pinned(const struct csv_lock *l)
{
	return l->pins[LOCK_PR] || l->pins[LOCK_EX];
}
static inline bool lock_held(const struct csv_lock *l)
{
	return l->holds[LOCK_PR] || l->holds[LOCK_EX];
}

/* cache.c */
struct csv_lock *csv_lock_find(struct csv_locks *c, struct csv_res res);
struct csv_lock *csv_lock_get(struct csv_locks *c, struct csv_res res); /* finds or makes; +1 ref; NULL: no memory */
void csv_lock_put(struct csv_lock *l);
void csv_lock_mark(struct csv_lock *l);
void csv_locks_lock(struct csv_locks *c);
void csv_locks_unlock(struct csv_locks *c);
/* If the lock is idle, asks for it. */
void csv_lock_request(struct csv_lock *l, enum csv_mode mode, bool noqueue);
/* True if others want it, its time is over and no pin keeps it: no new holds. */
bool csv_lock_bast_due(struct csv_lock *l);

/* demote.c */
bool csv_lock_can_demote(const struct csv_lock *l, enum csv_mode target);
void csv_lock_demote(struct csv_lock *l, enum csv_mode target);
void *csv_locks_timer(void *arg);

/* hold.c */
/* Gives the lock to the waiting operations that it serves; `fresh`: whatever others want. */
void csv_lock_serve(struct csv_lock *l, bool fresh);
/* Waiters that asked not to queue are told `err`. */
void csv_lock_refuse(struct csv_lock *l, enum csv_err err, bool all);
void csv_op_fail_parked(struct csv_locks *c);

#endif
