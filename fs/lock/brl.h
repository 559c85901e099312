/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Byte-range locks (POSIX, OFD, flock) for fs/fuse, without blocking a thread.
 *
 * Every lock of this node's handles stands in a table here (lib/brl.h).  With lock=local
 * that table decides alone, and who waits does so in a line here (lib/brl_wait.h); else
 * csvlockd decides, also between two processes of this node, the line is there, and the table
 * is an image of what it has granted.
 *
 * A handle whose image a handoff has given away is set apart (H5): its locks are nobody
 * else's business until the image comes back.  It has a table and a line of its own.
 */
#ifndef CSV_LOCK_BRL_H
#define CSV_LOCK_BRL_H

#include "csv/proto.h"
#include "lib/brl.h"
#include "lib/brl_wait.h"
#include "lib/list.h"
#include "lib/workq.h"

struct csv_ranges;

struct csv_ranges_cfg {
	uint32_t nodeid;
	struct csv_workq *workq; /* done() of requests that had to wait runs there; NULL: in whatever thread */
	/* Sends a record to csvlockd, which decides; NULL: this node does. NOTCONN: sent again by csv_ranges_thaw(). */
	enum csv_err (*send)(void *arg, const struct csv_msg *msg);
	void *arg;
};
enum csv_err csv_ranges_new(const struct csv_ranges_cfg *cfg, struct csv_ranges **r);
void csv_ranges_free(struct csv_ranges *r); /* no request is under way: csv_ranges_out() has ended them */

struct csv_range_req {
	struct csv_brl brl; /* in; node is filled in; after LOCKED or TEST: whose lock is in the way */
	bool wait;	    /* set: wait until it can be had (F_SETLKW) */
	bool process;	    /* and the owner is a process (not OFD, not flock): DEADLK if it would wait for itself */
	/*
	 * Once, from within the call or any other thread.  set: OK; LOCKED; INTR (cancelled); DEADLK;
	 * INVAL; WITHDRAWN. test: OK (nobody is in the way) or LOCKED.
	 */
	void (*done)(struct csv_range_req *req, enum csv_err err);
	/* private */
	struct csv_list link;
	struct csv_work work;
	struct csv_brl_waiter waiter;
	bool waited;
	uint64_t seq;
	struct csv_brl want;
	uint16_t err;
	uint8_t state, test, cancelled;
};
void csv_range_set(struct csv_ranges *r, struct csv_range_req *req);
void csv_range_test(struct csv_ranges *r, struct csv_range_req *req);
/* INTERRUPT: a request that waits, or that nobody can answer now, ends with INTR; one being answered ends as it does. */
void csv_range_cancel(struct csv_ranges *r, struct csv_range_req *req);
/* RELEASE: all locks of the handle are gone, requests of the handle that wait end with INTR, others get nothing. */
void csv_range_drop(struct csv_ranges *r, uint64_t handle);
/*
 * The image of this handle now belongs to another node.  csvlockd is told to forget the handle's locks, before
 * anything that is sent afterwards; they stand on in memory here, and what the handle locks, tests or unlocks from
 * now on is answered from that memory alone, without a message.
 */
void csv_range_set_apart(struct csv_ranges *r, uint64_t handle);
/* The image is here again: the locks that the handle has by now are told to csvlockd. No-op if it was not apart. */
void csv_range_rejoin(struct csv_ranges *r, uint64_t handle);

/*
 * For the link to csvlockd.  It is lost: freeze.  Connected again: declare tells the locks that stand, and them alone;
 * what is asked meanwhile is kept.  Attached again: thaw asks (again) what has no answer.
 */
void csv_ranges_result(struct csv_ranges *r, const struct csv_msg *msg); /* BRL_RESULT */
void csv_ranges_freeze(struct csv_ranges *r);
void csv_ranges_declare(struct csv_ranges *r);
void csv_ranges_thaw(struct csv_ranges *r);
/* The volume is out: all requests end with WITHDRAWN, now and later; unlocking works, and tells nobody. */
void csv_ranges_out(struct csv_ranges *r);

#endif
