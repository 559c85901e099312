/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The record of one handoff as a pure state machine: no clock, socket, disk or thread.
 * It is replicated: every csvlockd has it and steps it with the same events in the same
 * (total) order, so that all have the same state.  Orders go to one csvfs each; the
 * csvlockd of that node delivers them, the others ignore them.  docs/HANDOFF.md has the
 * table of states and events, and the proof for each point at which something can die.
 *
 * What decides is never this record but the leases on disk; the record only knows when
 * they may be read (nobody can be writing them) and tells everybody what they said.
 */
#ifndef CSV_MIGRATE_HANDOFF_H
#define CSV_MIGRATE_HANDOFF_H

#include "migrate/core/plan.h"

/* X(NAME, text, who may write the bundle's images) */
#define CSV_HO_STATES(X) \
	X(PREPARING, "preparing", "source")       /* the destination was asked to arm */ \
	X(PREPARED, "prepared", "source")        /* armed */ \
	X(COMMITTING, "committing", "nobody")      /* the source was told to commit: from here on only the disk knows */ \
	X(ACTIVATING, "activating", "destination") /* committed; the destination was told to take up */ \
	X(ACTIVE, "active", "destination")     /* it did; source revoked; may still be taken back */ \
	X(RETURNING, "returning", "nobody")       /* somebody was told to write the leases back, unless marked `run` */ \
	X(RESOLVING, "resolving", "nobody")       /* who may have written is dead: the leases are read after its recovery */ \
	X(DONE, "done", "outcome")           /* outcome is final */

enum csv_ho_state {
#define CSV_HO_ENUM(name, text, who) CSV_HO_##name,
	CSV_HO_STATES(CSV_HO_ENUM)
#undef CSV_HO_ENUM
	CSV_HO_STATE_COUNT
};

/* NONE until it is known; MOVED may still become KEPT by a take-back, KEPT is final. */
enum csv_ho_outcome { CSV_HO_NONE, CSV_HO_KEPT, CSV_HO_MOVED };

/* What a csvfs is told to do. The first group is answered, the second is not. */
#define CSV_HO_VERBS(X) \
	X(NOTHING) \
	X(ARM)      /* destination: check that the bundle can be served; opens for write are armed */ \
	X(COMMIT)   /* source: park, drain, one transaction gives all leases away, home */ \
	X(ACTIVATE) /* destination: leases read, handles leased */ \
	X(RETURN)   /* destination: if it let no write through, one transaction gives all leases back */ \
	X(RECLAIM)  /* source, destination dead: the same from its side, unless a lease bears `run` */ \
	X(RESOLVE)  /* anybody: read the leases, say whose they are */ \
	X(WATCH)    /* all: there is this handoff, undecided: nobody takes a lease of its files (H3) */ \
	X(RESUME)   /* source: handles leased, parked I/O goes on; answered if they had been revoked (take-back) */ \
	X(REVOKE)   /* source: moved; handles revoked (H5) */ \
	X(DECIDED)  /* all: leases may be taken by the usual rules; destination: if kept, armed handles fail */ \
	X(SYNC)     /* one who came back: these were all; what else you know is to be settled from disk */

enum csv_ho_verb {
#define CSV_HO_ENUM(name) CSV_HO_##name,
	CSV_HO_VERBS(CSV_HO_ENUM)
#undef CSV_HO_ENUM
	CSV_HO_VERB_COUNT
};

/* Answers carry the verb they answer, by whom, and an error; what an answer means stands in handoff.c. */
#define CSV_HO_EVENTS(X) \
	X(ARMED) X(REFUSED)           /* of ARM */ \
	X(COMMITTED) X(FAILED)        /* of COMMIT: durable; certainly not on disk (unknown is no answer, H4) */ \
	X(ACTIVATED) X(UNABLE)        /* of ACTIVATE */ \
	X(RETURNED) X(RAN)            /* of RETURN, RECLAIM: leases are the source's; a write went through, or cannot */ \
	X(IS_SRC) X(IS_DST) X(IS_OTHER) /* of RESOLVE: whose leases they are on disk */ \
	X(RESUMED)                    /* of RESUME */ \
	X(FIRST_IO)                   /* unasked: the guest's first I/O at the destination has completed */ \
	X(GO) X(ABORT) X(TAKEBACK) X(FINISH) /* requests: GO is `commit` */ \
	X(OUT) X(RECOVERED) X(LIVE)   /* a slot of the volume: its life ended; replayed and clean; a new life is there */

enum csv_ho_event_type {
#define CSV_HO_ENUM(name) CSV_HO_EV_##name,
	CSV_HO_EVENTS(CSV_HO_ENUM)
#undef CSV_HO_ENUM
	CSV_HO_EV_COUNT
};

/* The volume's slots as the total order has them at this point. */
struct csv_ho_view {
	uint64_t live; /* attached; also while its csvlockd is away and may come back (L3) */
	uint64_t out;  /* ended, not yet recovered */
	uint32_t incarnation[CSV_SLOTS_MAX]; /* of live and out slots */
	uint32_t nodeid[CSV_SLOTS_MAX];
};

struct csv_ho_event {
	enum csv_ho_event_type type;
	uint32_t slot, incarnation; /* answers: by whom; OUT, RECOVERED, LIVE: of whom */
	enum csv_err err;           /* answers that say no */
	const char *why;            /* may be NULL */
	const struct csv_ho_view *view;
	/* COMMITTED, RETURNED: */
	unsigned nfiles;
	const struct csv_ho_file *file; /* epoch, size; in the plan's order */
	struct csv_ho_times times; /* COMMITTED, ACTIVATED, FIRST_IO: what the sender has measured */
	/* ARMED: */
	const char *uri;
};

enum csv_ho_act { CSV_HO_ACT_ORDER, CSV_HO_ACT_TELL, CSV_HO_ACT_MOVE };
struct csv_ho_action {
	enum csv_ho_act act;
	enum csv_ho_verb verb;     /* ORDER: to the csvfs of `slot`; TELL: to every csvfs of the volume */
	uint32_t slot, incarnation;
	uint32_t from, to;         /* MOVE: lease.I of all files, ahead of any other waiter */
};
#define CSV_HO_ACTIONS_MAX 6u
struct csv_ho_actions {
	unsigned n;
	struct csv_ho_action a[CSV_HO_ACTIONS_MAX];
};

struct csv_handoff {
	struct csv_ho_plan plan;
	enum csv_ho_state state;
	enum csv_ho_outcome outcome;
	bool src_out, dst_out;              /* that life has ended */
	bool src_recovered, dst_recovered;  /* and its slot was replayed */
	enum csv_ho_verb order;             /* outstanding; NOTHING: none (or waits for a recovery) */
	uint32_t actor_slot, actor_incarnation; /* who has it */
	enum csv_err err;                   /* why kept */
	char why[CSV_HO_WHY_MAX];
	struct csv_ho_times times;
	uint64_t number;                    /* in order of creation */
};

/* A record for plan (whose lives are complete): PREPARING, the destination told to arm. */
void csv_handoff_start(struct csv_handoff *h, const struct csv_ho_plan *plan, struct csv_ho_actions *out);
/*
 * Appends to *out what the daemons have to carry out, in order.  False: the event means nothing in this state (a
 * request is refused, an answer was not asked for); nothing has changed.
 */
bool csv_handoff_step(struct csv_handoff *h, const struct csv_ho_event *ev, struct csv_ho_actions *out);
/* What the csvfs of this life has to be told when it (or its csvlockd) is there again. */
void csv_handoff_greet(const struct csv_handoff *h, uint32_t slot, uint32_t incarnation, struct csv_ho_actions *out);
/* Invariants of a record; for asserts and the simulator. */
bool csv_handoff_ok(const struct csv_handoff *h);

/* No csvfs may take a lease of the bundle by the usual rules (H3, H4). */
bool csv_handoff_undecided(const struct csv_handoff *h);
/* The life that may write the bundle once all is settled; NULL: not known, or whoever takes the stale lease. */
const struct csv_ho_life *csv_handoff_owner(const struct csv_handoff *h);

/* Where a request stands: for the one who waits for its end. */
enum csv_ho_verdict { CSV_HO_PENDING, CSV_HO_YES, CSV_HO_NO };
enum csv_ho_request { CSV_HO_REQ_PREPARE = 1, CSV_HO_REQ_COMMIT, CSV_HO_REQ_ABORT, CSV_HO_REQ_TAKEBACK, CSV_HO_REQ_FINISH };
enum csv_ho_verdict csv_handoff_verdict(const struct csv_handoff *h, enum csv_ho_request req);

const char *csv_ho_state_name(enum csv_ho_state s);     /* "preparing" */
const char *csv_ho_verb_name(enum csv_ho_verb v);       /* "ARM" */
const char *csv_ho_event_name(enum csv_ho_event_type e); /* "ARMED" */
const char *csv_ho_outcome_name(enum csv_ho_outcome o); /* "moved", "kept", NULL */

#endif
