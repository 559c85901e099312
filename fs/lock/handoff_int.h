/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CSV_LOCK_HANDOFF_INT_H
#define CSV_LOCK_HANDOFF_INT_H

#include "fs/lock/handoff.h"
#include "migrate/target/agent.h"

struct ho_file {
	struct csv_iref ref;
	uint64_t block; /* of its lease; 0: not looked up yet */
	uint64_t epoch, size;
	struct csv_lease_ref *share; /* destination: ours, until the handoff is finished */
};

/* One handoff. The thread's alone, but for what `mutex` of csv_handoffs covers: link, ino's, undecided, armed. */
struct ho_bundle {
	struct csv_list link;
	uint8_t id[CSV_HO_ID];
	char vm[CSV_VMNAME_MAX + 1];
	struct csv_ho_life src, dst;
	unsigned nfiles;
	struct ho_file file[CSV_HO_FILES_MAX];
	struct csv_ho_agent agent;
	bool undecided, armed;
	uint64_t ordered_ns; /* when ACTIVATE came */
	bool named; /* csvlockd has spoken of it since it was here last */
	struct csv_ho_times times;
	enum csv_err err; /* of the job that said no */
	char why[CSV_HO_WHY_MAX];
	enum csv_ho_event_type found; /* RESOLVE */
	uint64_t again_ns;	      /* when agent.again is due */
	bool unsettled;		      /* settle() could not read the leases */
	enum csv_err told;	      /* what was logged of the job that is repeated; OK: nothing */
};

struct csv_handoffs {
	struct csv_handoffs_cfg cfg;
	struct csv_gates *gates;
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	pthread_t thread;
	bool stop;
	struct csv_list bundles;
	struct csv_list orders; /* to be carried out */
	struct csv_list marks;	/* run marks asked for */
	struct csv_list firsts; /* first I/O to be told */
	struct ho_order *parts; /* of the order that is coming in; the link's thread's */
};

/* handoff_job.c: runs a job to its end; files' epochs and sizes, times, err and why are filled in. */
enum csv_ho_job_end csv_ho_job(struct csv_handoffs *hs, struct ho_bundle *b, enum csv_ho_verb verb);
/* H6: the run mark of one image, durable. STALE: its lease has gone again. */
enum csv_err csv_ho_mark_run(struct csv_handoffs *hs, const struct ho_file *f);
/* Kept: whatever of the bundle went to the destination and came back is taken up again. */
enum csv_err csv_ho_resume(struct csv_handoffs *hs, struct ho_bundle *b);
void csv_ho_drop_shares(struct csv_handoffs *hs, struct ho_bundle *b);

#endif
