/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Handoffs as this mount takes part in them (ARCHITECTURE 8): orders of csvlockd come
 * in, migrate/target/agent.h says what they mean, this carries it out.  One thread of
 * its own does all jobs, one after the other: they wait for drains, commits and locks.
 *
 *	handoff.c      records, the thread, states of handles
 *	handoff_job.c  what the jobs do on disk
 */
#ifndef CSV_LOCK_HANDOFF_H
#define CSV_LOCK_HANDOFF_H

#include "csv/proto.h"
#include "fs/data/io.h"
#include "fs/lock/gate.h"
#include "fs/lock/lease.h"

struct csv_handoffs;

struct csv_handoffs_cfg {
	struct csv_fs *fs;
	struct csv_locks *locks;
	struct csv_data *data;
	struct csv_leases *leases;
	uint32_t nodeid;
	char node[CSV_NODENAME_MAX + 1];
	/* All may be called from the thread of handoffs; none blocks. */
	enum csv_err (*send)(void *arg, const struct csv_msg *msg); /* to csvlockd */
	/* H5: the write handles of the image that exist now are revoked (on), or those that were are good again. */
	void (*revoke)(void *arg, struct csv_iref image, bool on);
	/*
	 * Armed write handles of the image get their share of the lease, which is held by now (csv_lease_share).  id,
	 * ordered_ns: for csv_handoffs_first_io().
	 */
	void (*adopt)(void *arg, struct csv_iref image, const uint8_t *id, uint64_t ordered_ns);
	/* When the last write of its write handles was acknowledged: env->mono_ns; 0: there was none. */
	uint64_t (*last_io)(void *arg, struct csv_iref image);
	/* The registry is told: handles of this image are in this state now. */
	void (*state)(void *arg, struct csv_iref image, enum csv_handle_state state, uint64_t epoch);
	/* Byte-range locks of the image's write handles: told to nobody any more (gone), or the cluster's again. */
	void (*ranges)(void *arg, struct csv_iref image, bool gone);
	void *arg;
};
enum csv_err csv_handoffs_new(const struct csv_handoffs_cfg *cfg, struct csv_handoffs **hs);
/* No FUSE request comes any more; jobs under way are waited for. */
void csv_handoffs_free(struct csv_handoffs *hs);
/* HO_FILE, HO_ORDER of csvlockd, in order. False: another record. */
bool csv_handoffs_record(struct csv_handoffs *hs, const struct csv_msg *msg);
/* csvlockd is lost: what it does not name when it is back (SYNC) is settled from disk. */
void csv_handoffs_lost(struct csv_handoffs *hs);
/* The first I/O of a handle that was adopted so has completed just now. Any thread, does not block. */
void csv_handoffs_first_io(struct csv_handoffs *hs, const uint8_t id[16], uint64_t ordered_ns);
struct csv_gates *csv_handoffs_gates(struct csv_handoffs *hs);

/* A lease of this image may be taken here by the usual rules: no undecided handoff has it (H3). */
bool csv_handoffs_may_take(struct csv_handoffs *hs, uint64_t ino);
/* An open for writing of an image that another node holds may succeed armed here: a handoff to us is prepared. */
bool csv_handoffs_may_arm(struct csv_handoffs *hs, uint64_t ino);

#endif
