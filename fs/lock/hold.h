/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Holding cluster locks for an operation, without ever blocking a thread (U2).
 *
 * An operation (struct csv_op) is a piece of work with a run() that can be run again
 * from its start.  It asks for each lock it needs, in its strongest mode, in lock
 * order, before it changes anything:
 *
 *	err = csv_hold(op, csv_res(CSV_RES_INODE, dir), CSV_EX);
 *	...
 *	if (csv_op_waits(op))
 *		return csv_op_park(op);     // run() comes again when the locks are there
 *	err = csv_unlink(...);
 *	csv_op_done(op);                    // gives up the holds
 *
 * csv_hold() takes from the cache if it can; else it notes the lock as missing and
 * the operation may go on naming more.  While parked, an operation keeps the holds
 * that come before its first missing lock in lock order (deadlock-free by L7, and no
 * livelock), and gives up the later ones.
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

struct csv_locks; /* the lock cache of a mount */
struct csv_lock;

struct csv_op_hold {
	struct csv_lock *lock;
	enum csv_mode mode;
	bool have; /* false: missing, requested */
};

struct csv_op {
	struct csv_locks *locks;
	void (*run)(struct csv_op *op);                    /* in a worker thread */
	void (*fail)(struct csv_op *op, enum csv_err err); /* the volume is out while parked: answer the error */
	/* private to fs/lock */
	struct csv_work work;
	unsigned nholds, missing;
	struct csv_op_hold hold[CSV_OP_HOLDS_MAX];
};

void csv_op_init(struct csv_op *op, struct csv_locks *locks, void (*run)(struct csv_op *op),
		 void (*fail)(struct csv_op *op, enum csv_err err));
/* CSV_OK: held until csv_op_done/park. CSV_WAIT: missing. WITHDRAWN, FENCED, NOTCONN: give up. */
enum csv_err csv_hold(struct csv_op *op, struct csv_res res, enum csv_mode mode);
/*
 * The same without waiting: CSV_BUSY if another node has it in a conflicting mode. Only known after a round trip:
 * CSV_WAIT at first, then OK or BUSY when run again.
 */
enum csv_err csv_hold_noqueue(struct csv_op *op, struct csv_res res, enum csv_mode mode);
bool csv_op_waits(const struct csv_op *op);
/* Parks; run() will come again in a worker, maybe at once. The caller returns without touching op. */
void csv_op_park(struct csv_op *op);
/* Gives up all holds. op may be freed afterwards. */
void csv_op_done(struct csv_op *op);

/*
 * Long holds, beyond an operation: slot.N, lease.I of a leased image, open.I.  Counted; `pin` moves a hold from the operation
 * to the mount, `unpin` ends it (the lock stays cached until a BAST).  A BAST on a pinned lock is remembered, not obeyed.
 */
void csv_hold_pin(struct csv_op *op, struct csv_res res);
void csv_hold_unpin(struct csv_locks *locks, struct csv_res res);
bool csv_hold_pinned(struct csv_locks *locks, struct csv_res res);

#endif
