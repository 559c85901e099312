/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Holding cluster locks for an operation, without ever blocking a thread (U2).
 *
 * An operation (struct csv_op) is a piece of work with a run() that can be run again
 * from its start.  It asks for each lock it needs, in its strongest mode, before it
 * changes anything:
 *
 *	err = csv_hold(op, csv_res(CSV_RES_INODE, dir), CSV_EX);
 *	...
 *	if (csv_op_waits(op))
 *		return csv_op_park(op);     // run() comes again when the locks are there
 *	err = csv_unlink(...);
 *	csv_op_done(op);                    // gives up the holds
 *
 * csv_hold() takes from the cache if it can; else it notes the lock as missing (and asks
 * for it already) and the operation may go on naming more.  While parked, an operation
 * keeps the holds that come before its first missing lock in lock order (by type, then by
 * number, whatever the order in which they were named: deadlock-free by L7), and gives up
 * the later ones; it waits at one lock at a time and gets the hold in the moment of the
 * grant.  Holds that the last run did not name are given up too.
 *
 * Holds belong to the node: those of one node never exclude each other, memory has
 * fs->meta for that (the exception: csv_hold_noqueue).
 *
 * The cache (cache.c) keeps a lock after use until a BAST, for a short minimum time.
 * On a BAST no new holds are given, the current ones run out, then the row of the
 * lock's type (rows.c) flushes and drops what the lock covered, and the lock goes down.
 * No upgrade in place (L7): a cached PR that must become EX goes to NL first.
 */
#ifndef CSV_LOCK_HOLD_H
#define CSV_LOCK_HOLD_H

#include "csv/lock.h"
#include "fs/fs.h"
#include "lib/list.h"
#include "lib/workq.h"

#define CSV_OP_HOLDS_MAX 160u

struct csv_locks; /* the lock cache of a mount: fs/lock/cache.h */
struct csv_lock;

struct csv_op_hold {
	struct csv_lock *lock;
	uint8_t mode; /* enum csv_mode */
	bool have;    /* false: missing */
	bool named;   /* in this run */
	bool noqueue;
	uint16_t err; /* enum csv_err: what the next run is told */
};

struct csv_op {
	struct csv_locks *locks;
	void (*run)(struct csv_op *op); /* in a worker thread */
	/* The volume is out while parked: answer the error. No hold is left; csv_op_done() may be called or not. */
	void (*fail)(struct csv_op *op, enum csv_err err);
	/* private to fs/lock, covered by the cache's mutex */
	struct csv_work work;
	struct csv_list wait;	  /* at hold[cursor].lock */
	struct csv_list all;	  /* parked operations */
	unsigned nholds, missing; /* missing: named in this run and not there */
	unsigned cursor;	  /* parked: first missing hold; nholds: none */
	unsigned awaits;
	bool parked;
	uint16_t failed; /* enum csv_err for fail() */
	char busy_node[CSV_NODENAME_MAX + 1];
	struct csv_op_hold hold[CSV_OP_HOLDS_MAX];
};

void csv_op_init(struct csv_op *op, struct csv_locks *locks, void (*run)(struct csv_op *op),
		 void (*fail)(struct csv_op *op, enum csv_err err));
/*
 * CSV_OK: held until csv_op_done/park. CSV_WAIT: missing. WITHDRAWN, FENCED, NOTCONN: give up. NOMEM, INTERNAL (too
 * many holds). Naming a lock twice is fine; the stronger mode counts.
 */
enum csv_err csv_hold(struct csv_op *op, struct csv_res res, enum csv_mode mode);
/*
 * The same without waiting: CSV_BUSY if another node has it in a conflicting mode. Only known after a round trip:
 * CSV_WAIT at first, then OK or BUSY when run again.  In EX the hold excludes this node's other operations too, and is
 * BUSY if the lock is held or pinned here: so open.I EX means that nobody at all has the file open.
 */
enum csv_err csv_hold_noqueue(struct csv_op *op, struct csv_res res, enum csv_mode mode);
/* Name of the node that made the last csv_hold_noqueue() BUSY; empty: unknown, or this node. Valid within run(). */
const char *csv_hold_busy_node(const struct csv_op *op);
bool csv_op_waits(const struct csv_op *op);
/* Parks; run() will come again in a worker, maybe at once. The caller returns without touching op. */
void csv_op_park(struct csv_op *op);
/* Gives up all holds. op may be freed afterwards. */
void csv_op_done(struct csv_op *op);

/*
 * For things other than locks that an operation waits for (a commit, another operation): csv_op_await() before the
 * park, and for each exactly one csv_op_wake(), from any thread, maybe before the park.  Neither run() nor fail() comes
 * before the last wake.  csv_op_waits() is true from the await to the park.  An operation that parks with an
 * await open gives up all its holds (what it waits for might need them) and names them again.
 */
void csv_op_await(struct csv_op *op);
void csv_op_wake(struct csv_op *op);

/*
 * Long holds, beyond an operation: slot.N, lease.I of a leased image, open.I.  Counted; `pin` moves a hold from the
 * operation to the mount, `unpin` ends it (the lock stays cached until a BAST).  A BAST on a pinned lock is remembered,
 * not obeyed.
 */
void csv_hold_pin(struct csv_op *op, struct csv_res res);
void csv_hold_unpin(struct csv_locks *locks, struct csv_res res);
bool csv_hold_pinned(struct csv_locks *locks, struct csv_res res);

#endif
