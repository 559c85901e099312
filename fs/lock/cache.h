/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lock cache of one mount, as the mount itself sees it. Operations see fs/lock/hold.h. */
#ifndef CSV_LOCK_CACHE_H
#define CSV_LOCK_CACHE_H

#include "fs/fs.h"
#include "fs/lock/engine.h"
#include "fs/lock/hold.h"
#include "lib/workq.h"

/* How long a just granted lock stays here although others want it, ms. */
#define CSV_LOCK_MIN_HOLD_MS 10u

/*
 * What a type of lock means when it goes down; NULL: nothing to do.  Both run in a worker, with no hold on the lock
 * left that the lower mode does not cover.
 */
struct csv_lock_row {
	enum csv_err (*flush)(struct csv_fs *fs,
			      struct csv_res res);	     /* EX -> lower: what changed is home and durable */
	void (*drop)(struct csv_fs *fs, struct csv_res res); /* -> NL: nothing of it stays in memory */
	/*
	 * Not cached: goes down as soon as nobody uses it, because others ask without queueing whether somebody does
	 * (an engine that is alone has nobody to ask: then it is cached).
	 */
	bool given_up;
};
extern const struct csv_lock_row csv_lock_rows[CSV_RES_TYPES];

/*
 * engine becomes the cache's and is closed with it, also on failure.  rows: NULL for csv_lock_rows.  fs and workq must
 * outlive the cache; set fs->locks to csv_locks_ctx() before csv_fs_open's first asserted use.
 */
enum csv_err csv_locks_new(struct csv_fs *fs, struct csv_workq *workq, struct csv_engine *engine,
			   const struct csv_lock_row *rows, struct csv_locks **locks);
/* No operation exists any more. Nothing is flushed and nothing unlocked: csv_fs_close() and DETACH do both at once. */
void csv_locks_free(struct csv_locks *locks);
struct csv_lockctx *csv_locks_ctx(struct csv_locks *locks);

/* Run in the worker before the row's flush, EX -> lower: what is pending in memory becomes journalled. Set before use.
 */
typedef enum csv_err (*csv_locks_flush_fn)(void *arg, struct csv_fs *fs, struct csv_res res);
void csv_locks_on_flush(struct csv_locks *locks, csv_locks_flush_fn fn, void *arg);

/* The volume is out (first call wins): parked operations fail, csv_hold() answers err, no lock goes down any more. */
void csv_locks_out(struct csv_locks *locks, enum csv_err err);
/*
 * csvlockd is lost (L3): no new hold is given and none asked for, operations park; requests on their way are forgotten.
 * thaw: the locks have been declared to the new csvlockd.
 */
void csv_locks_freeze(struct csv_locks *locks);
void csv_locks_thaw(struct csv_locks *locks);
/* Frozen: waits until no lock is on its way down, then calls fn for each lock that this node has. */
void csv_locks_declare(struct csv_locks *locks, void (*fn)(void *arg, struct csv_res res, enum csv_mode mode),
		       void *arg);
/* In which mode this node has the lock, used or only cached (J6). */
enum csv_mode csv_locks_mode(struct csv_locks *locks, struct csv_res res);

struct csv_locks_stats {
	uint64_t requests; /* sent to the engine */
	uint64_t basts, demotions;
	uint64_t cached; /* locks in memory */
	uint64_t parked; /* operations */
};
void csv_locks_stats(struct csv_locks *locks, struct csv_locks_stats *st);
/* Locks kept at most; beyond, those that nobody has used for longest go down. 0: default. */
void csv_locks_set_limit(struct csv_locks *locks, unsigned limit);

#endif
