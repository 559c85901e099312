/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One handoff as one csvfs sees it: orders in, jobs and handle states out.  Pure, like
 * the record; fs/lock/handoff.c carries out, the simulator plays it.
 *
 * An order that comes twice (csvlockd was restarted) is not carried out twice: its
 * answer is repeated.
 */
#ifndef CSV_MIGRATE_TARGET_AGENT_H
#define CSV_MIGRATE_TARGET_AGENT_H

#include "migrate/core/handoff.h"

/* What the bundle's handles on this mount are to be. */
enum csv_ho_handles {
	CSV_HO_H_PLAIN,   /* nothing special; armed ones fail their waiting writes */
	CSV_HO_H_ARMED,   /* destination: reads work, writes wait */
	CSV_HO_H_LEASED,  /* writes go (destination: after the run mark) */
	CSV_HO_H_PARKED,  /* new I/O waits */
	CSV_HO_H_REVOKED, /* H5 */
};

/* How a job ended. UNKNOWN: what it wrote may or may not be on disk: no answer is given, nothing is released (H4). */
enum csv_ho_job_end { CSV_HO_JOB_OK, CSV_HO_JOB_NO, CSV_HO_JOB_UNKNOWN };

enum csv_ho_todo { CSV_HO_DO_JOB, CSV_HO_DO_HANDLES, CSV_HO_DO_ANSWER };
struct csv_ho_agent_act {
	enum csv_ho_todo todo;
	enum csv_ho_verb verb;        /* JOB: ARM, COMMIT, ACTIVATE, RETURN, RECLAIM, RESOLVE */
	enum csv_ho_handles handles;  /* HANDLES */
	enum csv_ho_event_type event; /* ANSWER */
};
struct csv_ho_agent_acts {
	unsigned n;
	struct csv_ho_agent_act a[4];
};

struct csv_ho_agent {
	bool src, dst;               /* our part, once an order told it */
	bool undecided;              /* no lease of the bundle may be taken here by the usual rules */
	enum csv_ho_handles handles;
	enum csv_ho_verb running;    /* job; NOTHING: none */
	enum csv_ho_verb next;       /* ordered meanwhile; a newer order replaces it */
	enum csv_ho_verb done;       /* last job that ended */
	enum csv_ho_event_type answer; /* what was answered to it; COUNT: nothing (unknown) */
	bool committed;              /* our transaction gave the leases away */
	enum csv_ho_verb again;      /* RESOLVE or RECLAIM that ended UNKNOWN: nobody else will do it; NOTHING: none */
};

void csv_ho_agent_init(struct csv_ho_agent *a);
/*
 * Whether an order of a handoff that this csvfs does not know makes an agent for it; state: of the record.  What is over
 * was obeyed here and forgotten; csvlockd repeats it to who re-attaches, and the handles may be a later VM's by now.
 */
bool csv_ho_agent_begins(enum csv_ho_state state);
/* outcome: of the record at the time of the order. */
void csv_ho_agent_order(struct csv_ho_agent *a, enum csv_ho_verb verb, enum csv_ho_outcome outcome,
			struct csv_ho_agent_acts *out);
/* The job `a->running` has ended. found: RESOLVE: IS_SRC, IS_DST or IS_OTHER. */
void csv_ho_agent_job(struct csv_ho_agent *a, enum csv_ho_job_end end, enum csv_ho_event_type found,
		      struct csv_ho_agent_acts *out);

/*
 * A while after `a->again` was set, if the volume is good: that job runs once more.  Its order stands until it is
 * answered, and csvlockd asks nobody else as long as we live.  Both jobs meet what they have done before as done.
 */
void csv_ho_agent_again(struct csv_ho_agent *a, struct csv_ho_agent_acts *out);

/* A lease of the bundle may be taken here by the usual rules: offered, stale, free (H3). */
bool csv_ho_agent_may_take(const struct csv_ho_agent *a);
/* A lease with this run mark may be given back (H6). */
bool csv_ho_may_return(bool run);

#endif
