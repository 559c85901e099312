/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The replicated state: equal on all members at the same point of the order.  Nothing in here may depend on what only
 * one member knows; what does (clients, timers, what is on its way) is in core.h.
 */
#ifndef CSV_LOCKD_STATE_H
#define CSV_LOCKD_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "csv/proto.h"
#include "lib/brl.h"
#include "lib/brl_wait.h"
#include "lib/list.h"
#include "lib/omap.h"
#include "lockd/core/machine.h"
#include "lockd/core/wire.h"
#include "migrate/core/table.h"

#define CSV_NO_SLOT 0xffffffffu

/* One life of one slot, as far as the group knows. */
enum csv_life {
	CSV_LIFE_FREE,	    /* nobody has it */
	CSV_LIFE_ATTACHING, /* ATTACH is ordered, not yet seen by every member of the view */
	CSV_LIFE_DECLARING, /* its csvfs is declaring what it holds */
	CSV_LIFE_LIVE,
	CSV_LIFE_LOST, /* its csvlockd has left the group: may come back and declare (L3) */
	CSV_LIFE_OUT,  /* to be fenced and replayed */
	CSV_LIVES
};

/* How far the recovery of an OUT slot is. */
enum csv_step {
	CSV_STEP_WAIT,	  /* no order given in this round */
	CSV_STEP_FENCING, /* ordered, not answered */
	CSV_STEP_FENCED,
	CSV_STEP_REPLAYING, /* ordered, not answered */
	CSV_STEP_FAILED,    /* its fence was answered with an error: another round */
	CSV_STEP_STUCK,	    /* its replay was: the others go first, then another round */
	CSV_STEPS
};

struct csv_place;

struct csv_slot {
	enum csv_life life;
	enum csv_step step; /* OUT only */
	bool asked;	    /* its fence was ordered once, or its csvfs is known to be gone: it cannot come back */
	bool was_rec;	    /* it was recoverer when it went out */
	enum csv_step fail; /* OUT: how it failed last: FAILED, STUCK; WAIT: it did not */
	enum csv_err err;   /* of that */
	uint32_t fails;	    /* how often in all */
	uint32_t incarnation;
	uint32_t dead;	  /* highest incarnation that ended here; a lower or equal one cannot come back */
	uint32_t episode; /* grows each time the slot gets LOST: names the re-attach time that runs */
	uint64_t seen;	  /* ATTACHING: bit i: state.member[i] has seen it */
	uint64_t seq;	  /* of the csvfs's ATTACH or REATTACH, for the answer */
	uint64_t pr_key;
	uint32_t nodeid;
	char node[CSV_NODENAME_MAX + 1];
	struct csv_place *place; /* who holds its locks; NULL: found dirty on disk, holds none */
};

/* A mount: one csvfs on one node, from its HELLO on. Holds locks. */
struct csv_place {
	struct csv_list link; /* csv_space.places, by id */
	uint32_t id;	      /* csv_space.next_place when it came: never used again */
	uint32_t nodeid;
	uint64_t client;       /* its node's number of its csvfs: tells one from the next */
	uint32_t slot;	       /* CSV_NO_SLOT: not attached */
	bool bound;	       /* its csvfs is connected to a member; at most one bound place a node */
	bool unlooked;	       /* has not compared the slot table on disk since the volume is unverified */
	struct csv_list locks; /* csv_lkb.place_link */
};

struct csv_lkb {
	struct csv_list link; /* csv_rsb.holders or .waiters */
	struct csv_list place_link;
	struct csv_place *place;
	struct csv_rsb *rsb;
	enum csv_mode mode; /* held or wanted */
	enum csv_mode bast; /* holder: strongest want that it was told of since it has this mode */
	uint32_t flags;	    /* waiter: CSV_LOCKF_NOQUEUE */
	uint64_t seq;	    /* waiter: the request's, for the answer */
	bool waiting;
};

/* A resource: exists as long as somebody holds it or waits for it. */
struct csv_rsb {
	struct csv_omap_node node;
	struct csv_res res;
	struct csv_list holders;
	struct csv_list waiters; /* first come, first served */
};

/* What a byte-range request asks for: a lock or an unlock, a test, a lock for which it waits. */
enum csv_brl_how { CSV_BRL_HOW_SET, CSV_BRL_HOW_TEST, CSV_BRL_HOW_WAIT, CSV_BRL_HOW_WAIT_PROCESS, CSV_BRL_HOWS };

/* A byte-range request that waits: for the thaw, or for somebody's lock to go. */
struct csv_brl_wait {
	struct csv_list link;
	struct csv_brl_waiter w;
	uint32_t place;
	uint64_t seq;
	enum csv_brl_how how;
	bool tried; /* it waits for a lock; else nobody has looked yet whether there is one */
};

/* All about one volume. Never goes once it is known: `dead` of its slots must not be forgotten. */
struct csv_space {
	struct csv_omap_node node;
	uint8_t uuid[16];
	char name[CSV_VOLNAME_MAX + 1];
	enum csv_lock_engine engine; /* AUTO: nobody has mounted it yet; dlm.c */
	bool verified;		 /* somebody has compared the slot table on disk with ours since there is a slot */
	uint32_t verifier;	 /* slot that was asked to; CSV_NO_SLOT */
	uint32_t verify_round;	 /* which asking: answers to an earlier one are void */
	uint32_t verify_last;	 /* who was asked last: the search for the next one starts behind it */
	enum csv_err verify_err; /* of the last answer; OK: none yet */
	uint32_t rec;		 /* the recoverer's slot; CSV_NO_SLOT */
	uint32_t rec_last;	 /* the search for the next one starts behind it */
	bool rec_stale;		 /* the recoverer was away: its orders are void */
	uint32_t round;		 /* of recovery: answers of another round are void */
	uint32_t next_place;
	struct csv_slot slot[CSV_SLOTS_MAX];
	struct csv_list places;
	struct csv_omap rsbs;
	struct csv_brl_table *brl; /* node: the place's id */
	struct csv_list brl_waits;	 /* by arrival */
	struct csv_brl_waits brl_queue;	 /* the same */
};

struct csv_state {
	uint64_t vid;			/* view in which it is */
	uint64_t gen;			/* grows with each quorate view and each fence: who has more, knows more */
	uint64_t chain;			/* digest of the way here: equal chains, equal states */
	bool cont;			/* every configuration since the last view was quorate */
	unsigned nmembers;		/* of the view, less those that left since */
	uint32_t member[CSV_NODES_MAX]; /* by seniority */
	struct csv_omap spaces;
	unsigned nexpelled;
	struct csv_expelled expelled[CSV_NODES_MAX]; /* a node at most once; expel.c */
	struct csv_ho_table ho; /* its host is set by handoff.c before each use */
};

void csv_state_init(struct csv_state *s);
void csv_state_clear(struct csv_state *s);			  /* frees all; init is due before further use */
int csv_state_member(const struct csv_state *s, uint32_t nodeid); /* index or -1 */
uint64_t csv_state_all(const struct csv_state *s);		  /* a bit for each member, by index */

struct csv_space *csv_space_find(const struct csv_state *s, const uint8_t *uuid);
struct csv_space *csv_space_make(struct csv_state *s, const uint8_t *uuid, const char *name);
static inline struct csv_space *csv_space_of(struct csv_omap_node *n)
{
	return n ? csv_omap_entry(n, struct csv_space, node) : NULL;
}
#define csv_for_each_space(sp, s)                                                                                      \
	for ((sp) = csv_space_of(csv_omap_first(&(s)->spaces)); (sp); (sp) = csv_space_of(csv_omap_next(&(sp)->node)))

struct csv_place *csv_place_new(struct csv_space *sp, uint32_t nodeid, uint64_t client);
struct csv_place *csv_place_bound(const struct csv_space *sp, uint32_t nodeid);
struct csv_place *csv_place_by_id(const struct csv_space *sp, uint32_t id);
/* Its csvfs is gone. What it holds stays; what it only asked for must not keep those behind it waiting. */
void csv_place_unbind(struct csv_space *sp, struct csv_place *p);
void csv_place_free(struct csv_space *sp, struct csv_place *p); /* with its locks and byte ranges */

struct csv_brl_wait *csv_brl_wait_new(struct csv_space *sp, uint32_t place, uint64_t seq, enum csv_brl_how how,
				      const struct csv_brl *brl);
void csv_brl_wait_free(struct csv_space *sp, struct csv_brl_wait *w);
/* Whether it waits for a lock, and so counts in the search for deadlocks. */
static inline void csv_brl_wait_tried(struct csv_brl_wait *w, bool tried)
{
	w->tried = tried;
	w->w.process = tried && w->how == CSV_BRL_HOW_WAIT_PROCESS;
}

struct csv_rsb *csv_rsb_find(const struct csv_space *sp, struct csv_res res);
struct csv_rsb *csv_rsb_make(struct csv_space *sp, struct csv_res res);
void csv_rsb_put(struct csv_space *sp, struct csv_rsb *r); /* frees it if nobody is there */
static inline struct csv_rsb *csv_rsb_of(struct csv_omap_node *n)
{
	return n ? csv_omap_entry(n, struct csv_rsb, node) : NULL;
}
struct csv_lkb *csv_lkb_new(struct csv_rsb *r, struct csv_place *p, enum csv_mode mode, bool waiting);
void csv_lkb_free(struct csv_lkb *l);
struct csv_lkb *csv_lkb_find(const struct csv_rsb *r, const struct csv_place *p, bool waiting);

/* Any slot in one of the lives of the mask (1 << CSV_LIFE_*). */
bool csv_space_any(const struct csv_space *sp, unsigned lives);
#define CSV_LIFE_BIT(name) (1u << CSV_LIFE_##name)
/* The node has a slot that is not free, of whatever life. */
bool csv_space_has_node(const struct csv_space *sp, uint32_t nodeid);
/* No mount is left, nor about to be one: only a mounter can recover what is out. */
bool csv_space_deserted(const struct csv_space *sp);
/*
 * Everybody of whom the state knows has said what he has, and no order of recovery is at work, neither of this group nor
 * of another line's: who has a slot here that is LIVE has answered those that he had (declare.c).
 */
bool csv_space_settled(const struct csv_space *sp);
/* L1: no new grant is given. */
bool csv_space_frozen(const struct csv_space *sp);
/* Others may have been quorate meanwhile and have died: only the disk knows. Frozen until somebody has looked. */
void csv_space_doubt(struct csv_space *sp);
void csv_space_view(const struct csv_space *sp, bool quorate, struct csv_msg_view *v);

/* ---- transfer.c ---- */
void csv_state_write(const struct csv_state *s, struct csv_wbuf *w);
/* s is fresh from init. False: malformed; s is then to be cleared. */
bool csv_state_read(struct csv_state *s, const uint8_t *data, size_t len);

#endif
