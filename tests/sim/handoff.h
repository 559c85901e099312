/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The handoff under faults: three nodes, each with a csvlockd (the real table of
 * records) and a csvfs (the real agent), one disk of leases, a guest that writes.
 * A seed chooses what happens next: deliveries, job steps, guest I/O, requests, and
 * faults: crash of a csvfs, of a csvlockd (which comes back, or not in time), crash
 * or isolation of a node (which goes on with what it was told last, until the fence),
 * an answer of the LUN that does not come.  Who was recovered may be there again, with
 * a new life.
 *
 * Invariants, at each write: the lease on disk names the writer, and under one epoch of it
 * nobody else has written.  Whoever wrote at the destination is never followed by the
 * source's memory (H6).  `commit` told the truth.  When the destination takes up, no byte
 * range of the source's handles stands in its way.
 * At rest: all members agree, all leases have one holder, and the record says which.
 *
 *	handoff_bus.c  total order, the tables, deaths and recovery
 *	handoff_fs.c   agents, jobs on the leases, the guest
 *	handoff_run.c  requests, faults, the run and its end
 */
#ifndef CSV_TESTS_SIM_HANDOFF_H
#define CSV_TESTS_SIM_HANDOFF_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "migrate/core/table.h"
#include "migrate/target/agent.h"
#include "tests/sim/cover.h"
#include "tests/sim/seeds.h"

#define NODES 3u
#define SRC 0u
#define DST 1u
#define FILES 3u
#define QUEUE 256u
#define NOBODY 99u
#define EPOCHS 64u

/* Counters of a batch: outcomes, then what each state was given, then what of that it took. */
enum ho_tally {
	HO_OUTCOME,
	HO_GIVEN = HO_OUTCOME + 3,
	HO_TAKEN = HO_GIVEN + CSV_HO_STATE_COUNT * CSV_HO_EV_COUNT,
	HO_TALLIES = HO_TAKEN + CSV_HO_STATE_COUNT * CSV_HO_EV_COUNT
};

struct lease {
	uint32_t slot, incarnation;
	uint64_t epoch;
	bool run, ours; /* ours: bears the handoff's id */
};

/* Who has written under an epoch of a lease; incarnation 0: nobody yet. */
struct writer {
	uint32_t slot, incarnation;
};

struct fs_order {
	uint8_t story; /* 0: SYNC */
	enum csv_ho_state state;
	enum csv_ho_verb verb;
	enum csv_ho_outcome outcome;
};

struct node {
	bool up, lockd, fs, isolated, attached; /* attached: csvfs and csvlockd talk */
	uint32_t incarnation;
	struct csv_ho_table table;
	struct csv_ho_agent agent;
	enum csv_ho_handles handles; /* as they are, whatever an agent takes them for */
	struct fs_order order[QUEUE];
	unsigned norders;
	unsigned phase;	   /* of the running job */
	unsigned inflight; /* guest writes on their way to the disk */
	bool guest, wrote; /* a VM writes here; has let a write through since it got the bundle */
	bool run_marked;
	bool path_lost; /* to the LUN: asks to be fenced in the end */
	bool apart;	/* its handles' byte ranges are told to nobody */
	bool told_first; /* has told of its guest's first write */
};

enum item_type { ITEM_MSG, ITEM_LIFE, ITEM_RANGES };
struct item {
	enum item_type type;
	uint32_t sender;
	uint8_t *data;
	size_t len;
	enum csv_ho_event_type life;
	uint32_t slot, incarnation;
	bool held; /* ITEM_RANGES: the sender's handles have some, or none */
};

enum recovery { REC_NONE, REC_WAIT, REC_FENCED, REC_SENT };

struct world {
	uint64_t rng;
	uint64_t seed;
	struct node node[NODES];
	struct item bus[QUEUE];
	unsigned nbus;
	struct lease lease[FILES];
	uint32_t fenced[NODES]; /* incarnation whose writes are refused */
	enum recovery rec[NODES];
	uint32_t rec_inc[NODES];
	struct csv_ho_view view; /* as the order has it */
	bool ranges[NODES];	 /* the order has byte ranges of this node's handles */
	unsigned faults;	 /* left */
	struct sim_count count;	 /* what was given to a table, an agent or the LUN; faults that came */
	uint64_t *tally;	 /* see enum ho_tally */
	bool changed;		 /* the record was changed by what it was given */
	FILE *trace;
	unsigned reattach;	 /* steps until a missing csvlockd's csvfs is given up */
	uint8_t id[CSV_HO_ID];
	bool prepared, committed, said_moved, said_kept, takeback, dst_wrote, third_took;
	unsigned steps;
	uint32_t life[2]; /* incarnations of SRC and DST between which the handoff is */
	unsigned story;	  /* a run is several handoffs */
	struct writer writer[FILES][EPOCHS];
	char bad[200];
};

/* ---- handoff_bus.c ---- */
unsigned ho_pick(struct world *w, unsigned n);
void ho_violated(struct world *w, const char *text, unsigned node);
void ho_trace(const struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool ho_all_ours(const struct world *w);
void ho_hosts(struct world *w); /* makes the tables */
void ho_send_msg(struct world *w, unsigned from, const struct csv_ho_msg *m);
void ho_send_ranges(struct world *w, unsigned from, bool held);
void ho_deliver(struct world *w);
void ho_pop_bus(struct world *w);
void ho_out(struct world *w, unsigned n);
void ho_lockd_back(struct world *w, unsigned n);
void ho_fault(struct world *w);
void ho_recovery(struct world *w, unsigned n);
void ho_give_up_path(struct world *w, unsigned n);
void ho_new_life(struct world *w, unsigned n); /* of who was recovered */

/* ---- handoff_fs.c ---- */
bool ho_all_held(const struct world *w, unsigned n);
void ho_take_order(struct world *w, unsigned n);
void ho_job_step(struct world *w, unsigned n);
bool ho_try_again(struct world *w, unsigned n); /* false: there was nothing to try */
void ho_guest_step(struct world *w, unsigned n);
void ho_third_starts(struct world *w);

/* ---- cover_handoff.c ---- */
const struct sim_table *ho_cover(void); /* of HO_GIVEN */

/* ---- handoff_run.c ---- */
/* Runs one seed. False: a violation, told in text. tally: HO_TALLIES counters. trace: NULL, or where it goes. */
bool ho_play(uint64_t seed, char *text, size_t size, uint64_t *tally, struct sim_count *count, FILE *trace);

#endif
