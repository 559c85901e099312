/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One mounted volume: everything that a csvfs process has.  Made and taken down in
 * one order (fs/mount.c), which is also the order of the fields' lives:
 *
 *	1. device open, exclusively; superblock read       m->dev, m->sb
 *	2. kind->join: every slot that is not clean is recovered or alive elsewhere, a slot is
 *	   ours and live on disk, the device guarded        m->slot, m->incarnation, m->engine
 *	3. csv_fs_open, lock cache, data path               m->fs, m->locks, m->data
 *	4. kind->opened: what needs the lock cache (slot.N pinned, mount lock given up)
 *	5. own orphans freed
 *	6. FUSE session mounted and served                  m->se
 *
 * and backwards: session over, handles gone; kind->leaving (leases given up, grants stopped); csv_fs_close;
 * kind->left (slot clean, reservation, DETACH); device closed.
 */
#ifndef CSV_MOUNT_H
#define CSV_MOUNT_H

#include <stdatomic.h>

#include "fs/data/io.h"
#include "fs/disk/super.h"
#include "fs/fs.h"
#include "fs/lock/engine.h"
#include "fs/lock/hold.h"
#include "lib/workq.h"

struct csv_mount;
struct csv_ranges_cfg;
struct csv_leases_cfg;
struct csv_handles;
struct csv_leases;
struct csv_handoffs;
struct csv_ranges;
struct csv_vms;
struct fuse_session;

enum csv_mount_lock { CSV_MOUNT_LOCAL, CSV_MOUNT_CPG, CSV_MOUNT_DLM, CSV_MOUNT_AUTO };

/* The command line. Strings belong to main(). */
struct csv_mount_opts {
	const char *lun;
	char dir[4096];			 /* absolute */
	char node[CSV_NODENAME_MAX + 1]; /* host name unless given */
	enum csv_mount_lock lock;
	bool readonly;
	bool foreground;
	bool node_given;
	bool takeover;		  /* keys of others are removed, whoever has them (fs/ctl/keys.h) */
	unsigned path_timeout_ms; /* 0: not given */
	const char *run_dir;	  /* of csvlockd; NULL: CSV_RUN_DIR or /run/csvfs */
	const char *log;	  /* file; NULL: standard error */
	char given[4096];	  /* all of -o as it was given */
};

/*
 * What a kind of locking adds to the sequence: one for lock=local (fs/ctl/local.c), one for the cluster (fs/ctl/cluster.c).
 * All are called in the main thread, may block, and fill *why on failure.  NULL: nothing to do.
 */
struct csv_mount_kind {
	const char *(*lock)(const struct csv_mount *m); /* "local", "cpg", "dlm" */
	/*
	 * Step 2. Sets slot, incarnation, nodeid, engine and kind_data.  A read-only mount takes no slot: slot
	 * CSV_SLOT_NONE. After a failure everything it did is undone but the slots that it recovered.
	 */
	enum csv_err (*join)(struct csv_mount *m, struct csv_why *why);
	enum csv_err (*opened)(struct csv_mount *m, struct csv_why *why);
	/*
	 * No FUSE request comes any more, no handle is left, but m->fs still works. Called for every join that
	 * succeeded, also if a later step of the mount failed.
	 */
	void (*leaving)(struct csv_mount *m);
	/*
	 * m->fs is closed; `clean`: its journal is empty. The slot is marked clean only then; m->unclean says that it
	 * could not be.
	 */
	void (*left)(struct csv_mount *m, bool clean);
	/* Who decides byte-range locks; NULL: we do. */
	void (*ranges)(struct csv_mount *m, struct csv_ranges_cfg *cfg);
	/* Which other lives of slots are alive, what follows a lease's coming and going; NULL: nobody is but us. */
	void (*leases)(struct csv_mount *m, struct csv_leases_cfg *cfg);
	/* The volume is out on this node: so are we, for the others. Any thread; does not block. */
	void (*out)(struct csv_mount *m);
	/* Nobody but us may use the volume right now (AG and inode caches need no message)? For statfs and info only.
	 */
	bool alone;
};
extern const struct csv_mount_kind csv_mount_local;
extern const struct csv_mount_kind csv_mount_cluster; /* fs/ctl/cluster.c */

/* Volume state as `csvadm status` shows it: the worst that holds. */
enum csv_volume_state {
	CSV_VOL_ONLINE,
	CSV_VOL_NOQUORUM,   /* no new locks */
	CSV_VOL_RECOVERING, /* the volume is frozen: no new locks */
	CSV_VOL_PAUSED,	    /* I/O waits for the path, for space at the array, or for csvlockd */
	CSV_VOL_FENCED,	    /* out, by others; for good */
	CSV_VOL_FAILED,	    /* out, by itself; for good */
};

/* What the state is made of (fs/ctl/state.c); covered by the mount's `lock`. */
struct csv_health {
	enum csv_err out; /* OK: the volume is not out */
	char out_reason[128];
	bool path_waits, full, lockd_lost, frozen, no_quorum;
	char path_reason[128];
	char waits_for[104]; /* frozen */
	/* follows from these */
	enum csv_volume_state state;
	char reason[128];
	int64_t since; /* Unix time at which the state began */
	uint64_t began_ns; /* the same by the monotonic clock */
	unsigned tell_s;   /* when it has lasted so long, it is logged */
};

struct csv_mount {
	struct csv_mount_opts opts;
	char warning[160]; /* for who mounts; empty: none */
	struct csv_env *env;
	struct csv_bdev *dev;
	struct csv_bdev_full full;
	struct csv_super sb;
	const struct csv_mount_kind *kind;
	void *kind_data;

	uint32_t slot, incarnation, nodeid;
	bool unclean;
	struct csv_engine *engine;

	struct csv_fs fs; /* valid while fs_open */
	bool fs_open;
	struct csv_workq *workq; /* operations and the slow steps of data I/O */
	struct csv_locks *locks;
	struct csv_data *data;
	struct csv_handles *handles;
	struct csv_ranges *ranges;	   /* byte-range locks */
	struct csv_handoffs *handoffs;     /* NULL: no cluster */
	struct csv_leases *leases;
	struct csv_vms *vms;
	struct fuse_session *se;

	/* Allocation group that operations of this mount try first; UINT32_MAX: not chosen yet. */
	_Atomic uint32_t ag_hint;

	pthread_mutex_t lock; /* covers health */
	struct csv_health health;
	_Atomic bool stopping; /* unmount has begun */
	_Atomic uint64_t ops;  /* FUSE requests that are not answered yet */
};

/* Steps 1 to 5. On failure all is undone and *why says what to tell. */
enum csv_err csv_mount_open(struct csv_mount *m, const struct csv_mount_opts *opts, struct csv_why *why);
/* After the session: backwards through the steps. Returns the error of the clean close, if any. */
enum csv_err csv_mount_close(struct csv_mount *m);

/* Step 6 (fs/fuse/session.c). mounted() is called once when the kernel has the mount. Returns when it is gone. */
enum csv_err csv_session_open(struct csv_mount *m, struct csv_why *why);
enum csv_err csv_session_serve(struct csv_mount *m);
void csv_session_close(struct csv_mount *m);
/* Any thread: take the mount out of the tree; the session ends when the last user has gone. */
void csv_session_stop(struct csv_mount *m);

/* So that csvlockd mounts it again if this process dies (fs/ctl/remember.c): once the kernel has the mount, until it is gone. */
void csv_mount_remember(struct csv_mount *m);
void csv_mount_forget(struct csv_mount *m);
/* False: csvlockd has begun this mount, and somebody has given it up since. */
bool csv_mount_still_wanted(const struct csv_mount *m);

/* State for status (fs/ctl/state.c). Any thread. */
struct csv_msg_view;
struct csv_msg_volume;
void csv_health_init(struct csv_mount *m);
void csv_health_out(struct csv_mount *m, enum csv_err err, const char *reason); /* the first one counts */
void csv_health_path(struct csv_mount *m, bool waits, const char *reason);
void csv_health_full(struct csv_mount *m, bool waits); /* the journal waits for space at the array */
void csv_health_lockd(struct csv_mount *m, bool lost);
void csv_health_view(struct csv_mount *m, const struct csv_msg_view *v);
/*
 * Once a second.  A state in which something is waited for is logged again when it has lasted for 4, 8, 16, 32, 64
 * seconds and then each 64, with what is waited for by now.  Returns the seconds if it was logged, else 0.
 */
unsigned csv_health_tick(struct csv_mount *m);
/* Name, place, state, reason and since; then the counters too, while the mount is open. Waits for no I/O. */
void csv_mount_status_brief(struct csv_mount *m, struct csv_msg_volume *v);
void csv_mount_status(struct csv_mount *m, struct csv_msg_volume *v);
const char *csv_volume_state_name(enum csv_volume_state state);

/*
 * Runs an operation in this thread and waits for it; not in a worker, nor with fs->meta held.  body() names its locks with
 * csv_hold() on each run and returns CSV_WAIT if csv_op_waits(); whatever else it returns is the result.
 */
enum csv_err csv_mount_run(struct csv_mount *m, enum csv_err (*body)(struct csv_mount *m, struct csv_op *op, void *arg),
			   void *arg);
/*
 * The LUN's reservation: `key` registered and the type 7 made sure of (F1; fs/ctl/slot.c); the device's way back guarded by
 * our own slot block (F2), and what its owner does when the path's state changes (fs/ctl/cluster.c).
 */
enum csv_err csv_mount_register_key(struct csv_mount *m, uint64_t key, struct csv_why *why);
/* The guard taken off and our key removed.  A key that stays is told of in the log: what it is worth, who removes it. */
void csv_mount_drop_key(struct csv_mount *m, uint64_t key);
void csv_mount_guard(struct csv_mount *m, uint64_t key);
void csv_mount_path_state(void *arg, enum csv_path_state state, const char *reason);
/* Takes slot.N of our own slot EX and pins it. */
enum csv_err csv_mount_pin_slot(struct csv_mount *m);

/*
 * Replays one dead life of a slot and marks the slot clean (fs/ctl/recover.c): for lock=local before the mount, in a
 * cluster for csvlockd. in_use as in csv_replay(); that life must be fenced (or its host proved gone) already.
 * OK, and nothing touched: the disk knows a later life, so this one was recovered long ago.  STALE: only an earlier one.
 */
enum csv_err csv_recover_slot(struct csv_bdev *dev, const struct csv_super *sb, uint32_t slot, uint32_t incarnation,
			      const struct csv_replay_ops *ops, struct csv_replay_result *res, struct csv_why *why);
/* Moves the orphans of a slot that nobody has (dead and replayed; its lock is taken meanwhile) to our own list. */
enum csv_err csv_adopt_orphans(struct csv_mount *m, uint32_t slot);
/* Frees the orphans of our own slot and waits for it: at mount, and after a recovery. Those that somebody has open stay. */
enum csv_err csv_reap_own_orphans(struct csv_mount *m, struct csv_why *why);

#endif
