/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Time-outs that depend on one another, in ms, and how.  docs/RECOVERY.md has them as a table.  None decides who owns
 * what: they only delay progress, or start a fence.
 *
 * A csvlockd hangs at 0:
 *	WATCHDOG		its supervisor kills it and starts another one; csvfs re-attaches (L3)
 *	WATCHDOG + REATTACH	or does not: its slot is out
 *	EVICT			the supervisor could not help (it hangs too, or SIGKILL does not work): the others vote
 *				it out, and its slot is out
 *	EVICT + VIEW		the others grant again, but for what its slot has; then fence and replay
 *	ATTACH			a csvfs that has been waiting to (re-)attach all the time gives up
 *
 * A node dies at 0:
 *	DETECT			corosync tells the others: its token and consensus time-outs.  Until then nothing is
 *				ordered, so whoever waits for something in the common order waits so much longer, whatever
 *				corosync's time-outs are; csvlockd counts its members' silence in that order and not by a
 *				clock, so that it needs no such allowance
 */
#ifndef CSV_TIMEOUTS_H
#define CSV_TIMEOUTS_H

#include <assert.h>

/* csvlockd and its supervisor */
#define CSV_WATCHDOG_BEAT_MS 500u    /* csvlockd's loop -> supervisor */
#define CSV_WATCHDOG_MS 5000u        /* default of [timeouts] watchdog_ms: no beat for so long: killed */
#define CSV_WATCHDOG_RESTART_MS 1000u /* pause before a csvlockd that crashed is started again */

#define CSV_LOCKD_END_MS 1000u       /* a csvlockd that was killed is gone, to the one started behind it */

/* corosync */
#define CSV_DETECT_MAX_MS 120000u    /* totem.token + totem.consensus: more is refused */

/* csvlockd and the other csvlockds */
#define CSV_GROUP_BEAT_MS 1000u      /* between a member's signs of life */
#define CSV_EVICT_MS 12000u          /* default of [timeouts] evict_ms: silent for so long: evicted */
#define CSV_REATTACH_MS 5000u        /* default of [timeouts] reattach_ms: for a dead csvlockd of a living node (L3) */
#define CSV_REATTACH_MAX_MS 60000u   /* more would only keep others waiting */
#define CSV_WAIT_TELL_MS 4000u       /* a lock request that waits for so long is logged */
#define CSV_WAIT_TELL_MAX_MS 64000u  /* and again after twice as long, at last each time after so long */
#define CSV_VIEW_MS 2000u            /* generous: from the last message that is needed until the view is formed */

/* csvfs and csvlockd */
#define CSV_FS_TRY_MS 100u           /* between two attempts to connect again */
#define CSV_FS_HELLO_MS 5000u        /* WELCOME is waited for */
#define CSV_DLM_FIT_MS 3000u         /* csvlockd finds out whether the DLM can be used, before WELCOME */
#define CSV_FS_ATTACH_MS 30000u      /* ATTACHED is waited for; this and the next two: and DETECT */
#define CSV_FS_ANSWER_MS 30000u      /* any other answer while mounting */
#define CSV_FS_MOUNT_MS 60000u       /* another node mounts, or recovers */
#define CSV_FS_RETURN_MS 10000u      /* no slot is clean: whoever has a key may still re-attach; then all are fenced */
#define CSV_FS_GIVE_UP_MS 60000u     /* no csvlockd for so long: the volume is withdrawn on this node */

/* the DLM: csv-dlm-space's keeper, csvlockd */
#define CSV_DLM_SILENCE_MS 30000u    /* and DETECT: the kernel answers, or its lockspace has been stopped */
#define CSV_DLM_RELEASE_MS 40000u    /* dlm_controld, whose post_join_delay is 30 s, has not had a node fenced */

/* csvfs */
#define CSV_PATH_MS 120000u          /* default of path_timeout: paused, then failed */
#define CSV_FULL_LEAVE_MS 10000u     /* an unmount waits for space at the array; else the journal is left to be replayed */
#define CSV_HANDOFF_MS 30000u        /* handoff_timeout: how long an armed handle's write waits */

/* hooks */
#define CSV_LAUNCH_MS 30000u         /* a vm-launch that takes longer is ended */

/* A loop that is late once or twice does not hang. */
#define CSV_WATCHDOG_MIN_MS (4 * CSV_WATCHDOG_BEAT_MS)
/* The supervisor has its try before the others vote: theirs costs a fence. A beat may be as late as a beat. */
#define CSV_EVICT_MIN_MS(watchdog_ms) ((watchdog_ms) + CSV_WATCHDOG_RESTART_MS + 2 * CSV_GROUP_BEAT_MS)
/* SEEN of a member that hangs is not waited for in vain. */
#define CSV_EVICT_MAX_MS (CSV_FS_ATTACH_MS - CSV_VIEW_MS - 2 * CSV_GROUP_BEAT_MS)

static_assert(CSV_WATCHDOG_MS >= CSV_WATCHDOG_MIN_MS, "a late loop is not a hung one");
static_assert(CSV_EVICT_MS >= CSV_EVICT_MIN_MS(CSV_WATCHDOG_MS), "the local watchdog comes first");
static_assert(CSV_EVICT_MS <= CSV_EVICT_MAX_MS, "who attaches outlasts an eviction");
static_assert(CSV_EVICT_MAX_MS + CSV_VIEW_MS < CSV_FS_ANSWER_MS, "who mounts outlasts an eviction");
static_assert(CSV_DLM_FIT_MS < CSV_FS_HELLO_MS, "who says HELLO outlasts the check of the DLM");
static_assert(CSV_FS_RETURN_MS > CSV_REATTACH_MS, "who re-attaches does so before all are fenced");
static_assert(CSV_FS_GIVE_UP_MS >= CSV_REATTACH_MAX_MS, "who comes later is told that he is out");
static_assert(CSV_FS_MOUNT_MS >= CSV_FS_ANSWER_MS + CSV_EVICT_MAX_MS, "a mounter is waited for while it waits");
static_assert(CSV_REATTACH_MS >= 2 * (CSV_WATCHDOG_RESTART_MS + CSV_FS_TRY_MS), "a restarted csvlockd is waited for");

#endif
