/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Deliberate bugs, to show that a test would find them.  In the normal build
 * CSV_BUG() is the constant 0 and the compiler drops the code; in the test build
 * (make variable BUGS=1, -DCSV_BUGS) csv_bug_set() switches one on.
 */
#ifndef CSV_LIB_BUG_H
#define CSV_LIB_BUG_H

#define CSV_BUG_LIST(X) \
	X(NO_FLUSH_BEFORE_COMMIT) /* journal: commit block goes out with data and images still in the cache */ \
	X(REPLAY_IGNORES_VERSION) /* replay: writes every image home */ \
	X(HOME_BEFORE_COMMIT)     /* checkpoint: home blocks written before the commit is durable */ \
	X(L1_GRANT_BEFORE_REPLAY) /* engine: no freeze after a member is out */ \
	X(F4_NO_RECOVERER_FENCE)  /* recovery: a new recoverer starts while the old one may still write */ \
	X(L5_EVICT_WITHOUT_QUORUM) /* membership: one vote evicts, whoever is left */ \
	X(F5_MARK_ONCE)           /* recovery: the slot is not marked again after the preempt */ \
	X(H3_OFFER_TO_ANYONE)     /* handoff: an offered lease goes to whoever asks */ \
	X(H4_UNPARK_ON_UNKNOWN)   /* handoff: parked writes go on when the commit's fate is unknown */ \
	X(H6_TAKEBACK_AFTER_RUN)  /* handoff: taken back though the destination has written */ \
	X(H4_LOOKS_TOO_EARLY)     /* handoff: the leases are read before who may write them was recovered */ \
	X(H5_OLD_REVOKE)          /* handoff: an order of one that is over is obeyed once more */ \
	X(SEEN_NOT_AWAITED)       /* mount: attached when the first member has seen it */ \
	X(GRANT_TOLD_EARLY)       /* engine: told before an own message has come back */ \
	X(L1_GRANT_WITHOUT_QUORUM) /* engine: a minority grants */ \
	X(DENY_LOST)              /* engine: who does not want to wait is not told that he would have to */ \
	X(L3_BACK_AFTER_FENCE)    /* mount: who comes back is taken in though his fence was ordered */ \
	X(L9_STALE_LINE_WINS)     /* membership: the line that saw less goes on */ \
	X(L9_OVER_GOES_ON)        /* mount: whose slot is over on disk stays alive */ \
	X(L9_NO_DOUBT)            /* membership: a line that was not quorate believes what it knows */ \
	X(LATE_OPS_LOST)          /* transfer: what was delivered while the state came is not applied to it */ \
	X(REPLAY_WITHOUT_FENCE)   /* recovery: nobody is fenced before replays */ \
	X(J6_NOBODY_USES_IT)      /* recovery: whoever asks is told that nobody uses the torn block */ \
	X(DLM_TOLD_WHILE_FROZEN)  /* dlm: what the DLM grants is told while a slot is out */ \
	X(DLM_TOLD_EARLY)         /* dlm: it is told before own operations have come back */ \
	X(RANGES_OF_THE_DEAD)     /* byte ranges outlive the mount that had them */

enum csv_bug {
#define CSV_BUG_ENUM(name) CSV_BUG_##name,
	CSV_BUG_LIST(CSV_BUG_ENUM)
#undef CSV_BUG_ENUM
	CSV_BUG_COUNT
};

#ifdef CSV_BUGS
extern unsigned long csv_bug_mask;
#define CSV_BUG(name) ((csv_bug_mask >> CSV_BUG_##name) & 1ul)
/* Sets the switched-on bugs: a mask of 1 << CSV_BUG_*. */
static inline void csv_bug_set(unsigned long mask)
{
	csv_bug_mask = mask;
}
#else
#define CSV_BUG(name) 0
#endif

/*
 * Places at which a test can stop this process, such as COMMIT.durable.  In the test build, if the file named by
 * CSV_STOP_FILE says "COMMIT.durable die", the process kills itself there; "COMMIT.durable hold": it stands there until
 * FILE.held, which it makes, is removed.  Each once: the file is removed.  In the normal build there is nothing.
 */
#ifdef CSV_BUGS
void csv_stop_here(const char *work, const char *place);
#define CSV_STOP(work, place) csv_stop_here(work, place)
#else
#define CSV_STOP(work, place) ((void)0)
#endif

#endif
