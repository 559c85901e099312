/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The link of a mount to csvlockd: records in, records out, the lock engine on top.
 *
 * Threads: the client's own reads records and never blocks; one thread of the link
 * (`worker`) runs what blocks: fence and replay orders, re-attachment; another (`teller`) what must not wait for these:
 * status, and FENCED.
 *
 * A volume that is out on this node, by whosever decision, is out for the cluster: the connection is closed at once, so
 * that csvlockd has the slot fenced and replayed and the others get its locks; writing has been stopped before
 * (csv_bdev_stop), and what is under way is refused from the fence on.  Afterwards the mount shows up under
 * CSV_ROLE_OUT, so that people see it.
 */
#ifndef CSV_CTL_LINK_H
#define CSV_CTL_LINK_H

#include <pthread.h>

#include "fs/lock/brl.h"
#include "fs/mount.h"
#include "lockd/client/client.h"

struct csv_link {
	struct csv_engine engine;         /* first: the lock cache's upcalls come in here */
	struct csv_mount *m;
	struct csv_client *client;        /* replaced by re-attachment; covered by `lock` to send, by the worker to replace */
	struct csv_msg_welcome welcome;
	struct csv_workq *worker;         /* one thread */
	struct csv_workq *teller;         /* one thread; waits for nothing but the adopter's count, and that shortly */
	struct csv_workq *adopter;        /* one thread: takes locks, which orders of the worker may have to free first */

	pthread_mutex_t lock;
	pthread_cond_t wake;              /* something below changed */
	bool cache_up;                    /* engine.up is set: GRANT and so on go to the cache */
	bool lost, fenced;                /* connection ended; csvlockd said FENCED */
	bool out;                         /* the volume is out: no connection as a member any more */
	bool counting;                    /* the adopter counts free blocks */
	bool viewed;
	struct csv_msg_view view;         /* csvlockd's latest */
	uint64_t seq;                     /* of our requests */
	struct csv_list calls;            /* csv_link_call() that wait for their answer */
	bool has_mount_lock, has_slot_lock;
	char refusal[200];                /* why csvlockd does not take this mount; empty: it does */
	uint64_t key;                     /* registered for the slot that is being taken; 0: none */
	bool slot_written, attach_asked;  /* how far the taking of a slot has come */
	uint64_t sent;                    /* records that go on to the other nodes */
	uint64_t recovered;               /* bit n: we replayed slot n and have not adopted its orphans */
	bool reap;                        /* somebody was out: our own orphans may be free now */
	bool leaving;
	struct csv_handoffs *handoffs;    /* HO_* records go there; NULL: they are kept in `early` */
	struct csv_list early;
	double fence_ms, replay_ms;       /* of our last recovery of another's slot */
	int64_t recovery_sec;
	uint32_t recovery_slot, recovery_incarnation;
	/* the worker's: what was logged last, so that what is tried again and again is not told again and again */
	enum csv_err verify_err;          /* of our last look at the slot table */
	struct csv_told {
		bool told;
		uint32_t incarnation;
		enum csv_err err;
	} fence_told[CSV_SLOTS_MAX], replay_told[CSV_SLOTS_MAX];
};

/* Connects, checks cluster and quorum. NOCLUSTER, OTHERCLUSTER, NOQUORUM, ... */
enum csv_err csv_link_open(struct csv_mount *m, struct csv_link **l, struct csv_why *why);
void csv_link_close(struct csv_link *l);
/* Sends a record; NOTCONN while csvlockd is lost. */
enum csv_err csv_link_send(struct csv_link *l, const struct csv_msg *msg);
/* The volume is out: closes the connection. Any thread; does not block. */
void csv_link_out(struct csv_link *l);
/* The mount is open: GRANT and so on go to the cache. What came too early for it is done now. */
void csv_link_up(struct csv_link *l);
/*
 * Sends and waits for the answer with the same seq (msg becomes the answer); TIMEOUT, NOTCONN, FENCED, WITHDRAWN. Not in
 * the client's thread.  Here and below it waits for timeout_ms and as long as corosync needs to notice a death.
 */
enum csv_err csv_link_call(struct csv_link *l, struct csv_msg *msg, unsigned timeout_ms);
/* Waits until fn(view) holds. */
enum csv_err csv_link_wait_view(struct csv_link *l, bool (*fn)(const struct csv_msg_view *v, void *arg), void *arg,
				unsigned timeout_ms);

/* ---- fence.c: orders of csvlockd, run in the worker ---- */
void csv_fence_order(struct csv_link *l, const struct csv_msg *order);
void csv_replay_order(struct csv_link *l, const struct csv_msg *order);
/* csvlockd says that our slot is out. Any thread. */
void csv_fenced_order(struct csv_link *l);
void csv_link_hello(const struct csv_mount *m, struct csv_msg_hello *h);
enum csv_err csv_link_start(struct csv_link *l); /* from now on records are read */

/*
 * With each view.  If the volume is open and not frozen: has the orphans of slots that we replayed taken over, and ours
 * freed if they had been open on a node that was out.
 */
void csv_link_adopt_later(struct csv_link *l);
void csv_link_adopt(struct csv_link *l); /* in the adopter */
/* Waits until the worker and the teller have done what they were given so far. */
void csv_link_settle(struct csv_link *l);

/* The mount takes part in handoffs from now on / no more (NULL). */
void csv_link_handoffs(struct csv_link *l, struct csv_handoffs *hs);

void csv_link_fill_slot(struct csv_msg_slot *to, const struct csv_slot *s);
/*
 * Tells csvlockd of each slot that is not clean on disk and not alive in its view in that incarnation, and of each that
 * is alive there and over on disk (compare.c); of how many, in *found.  FENCED: our own is over.
 */
enum csv_err csv_link_tell_slots(struct csv_link *l, unsigned *found, struct csv_why *why);
/*
 * Whether something that csvlockd asked for may still be begun.  Not while unmounting (BUSY): it could run beside our own
 * last writes, and outlive our key (F4).  Not for a connection that is lost (NOTCONN): REATTACH will say that nothing of
 * it is outstanding.  Not when we are out ourselves.
 */
enum csv_err csv_link_may_obey(struct csv_link *l);

/* ---- slot.c: the slot block and the reservation key of this mount, under `mount` ---- */
/* Registers the key of the next life of the slot *s, which gets its incarnation and key; the reservation stands. */
enum csv_err csv_link_claim(struct csv_link *l, struct csv_slot *s, struct csv_why *why);
/* Nobody has the volume mounted and no slot is clean: fences them all and replays *s, which is claimed. */
enum csv_err csv_link_rescue(struct csv_link *l, struct csv_slot *s, struct csv_why *why);
/* Writes the block of the claimed slot: live. Afterwards nobody who is out can write it any more, and it is ours. */
enum csv_err csv_link_settle_in(struct csv_link *l, struct csv_slot *s, struct csv_why *why);
/* A claim that came to nothing: the slot is clean again if it was written, the key is removed. */
void csv_link_unclaim(struct csv_link *l);

/* ---- reattach.c ---- */
void csv_link_lost(struct csv_link *l); /* in the worker */

#endif
