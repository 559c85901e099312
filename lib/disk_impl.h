/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parts of the back end for the kernel's SCSI disks: a LUN that open-iscsi has logged in to (/dev/sdX), or all paths of
 * one under dm-multipath (/dev/mapper/X):
 *
 *   bdev_disk.c    open, close, reservations
 *   disk_io.c      requests: held, sent to the kernel, judged by their errors, sent again
 *   disk_guard.c   the device's thread: the way back after a conflict or a lost path (F2), flushes that count (J4)
 *   disk_sg.c      SG_IO as a port (lib/scsi.h), one for each path
 *
 * The kernel carries the I/O (file_*.c, the device inside), logs in again by itself, sends again what was under way,
 * and tells of that only by errors: a conflict, where the registration went with the session; EIO and the like, where
 * the path stayed away too long.
 *
 * Locks, outer first: pr_lock (one sequence of SCSI commands at a time), guard_lock, lock.
 */
#ifndef CSV_LIB_DISK_IMPL_H
#define CSV_LIB_DISK_IMPL_H

#include <pthread.h>

#include "lib/bdev_impl.h"
#include "lib/list.h"
#include "lib/scsi.h"

#define DISK_PATHS 32
#define DISK_PATH_MS 30000    /* path time-out without a guard */
#define DISK_STALL_MS 15000   /* a request that is under way for so long: paused */
#define DISK_SETTLE_MS 500    /* see csv_disk_way_back() */
#define DISK_IO_TRIES 3       /* of a request that fails with EIO while the path is good */

struct disk_req {
	struct csv_list link;       /* held, inflight or flushed */
	struct disk_dev *d;
	struct csv_io io;           /* to the device inside */
	struct csv_io *user;        /* the caller's */
	uint64_t sent_ms;
	unsigned errors;
};

struct disk_dev;

/* The paths' ports. Made again at each look, for paths come and go (F6); called with pr_lock held. */
struct disk_paths {
	void (*look)(struct disk_dev *d);
	void (*close)(void *data);
	void *data;
};

struct disk_dev {
	struct csv_bdev dev;
	struct csv_bdev *inner;     /* the kernel's device, opened by bdev_file.c */
	bool rdonly;
	bool cached;                /* the disk has a write cache that loses what it holds: flushes must be verified */
	pthread_t thread;

	pthread_mutex_t pr_lock;    /* covers: */
	struct csv_scsi_port *path[DISK_PATHS];
	unsigned npaths, current;   /* the path that commands take */
	struct disk_paths paths;
	enum csv_pr_type held_type; /* what was reserved last */
	uint32_t pr_generation;     /* as last seen, while registered */

	pthread_mutex_t guard_lock; /* recursive; held while a call-back of the guard runs */

	pthread_mutex_t lock;       /* covers all below */
	pthread_cond_t changed;
	struct csv_list held;       /* requests that wait for the gate */
	struct csv_list inflight;   /* oldest first */
	struct csv_list flushed;    /* flushes that wait for their verification */
	unsigned ninflight;
	unsigned verifying;         /* taken off `flushed` */
	unsigned shut;              /* the gate is shut while this is not 0, or `check` is set */
	bool check;                 /* the way back is to be gone before anything is sent */
	bool conflicted;            /* by a reservation conflict */
	bool unknown_writes;        /* a write has failed with its path: its fate is unknown */
	bool closing;
	uint64_t key;               /* that pr_register() gave; 0: not registered */
	char reason[160];           /* of `check` */
	uint64_t conflict_ms;       /* first conflict since a write went through; 0: none */
	unsigned checks;            /* that were made since then */
	uint64_t way_backs;         /* ends of ways back, for who waits for one */
	enum csv_path_state state;
	struct csv_bdev_guard guard;/* changed with guard_lock held too */
	bool has_guard, had_guard;
};

uint64_t csv_disk_now(void); /* ms, monotonic */

/* ---- disk_io.c ---- */
void csv_disk_submit(struct csv_bdev *dev, struct csv_io *io);
/* Asks for the way back; with the lock held. */
void csv_disk_want_check(struct disk_dev *d, const char *reason);
/* Sends what is held, as long as the gate is open. */
void csv_disk_send_held(struct disk_dev *d);
/* Shuts the gate and waits until the kernel has given back every request. */
void csv_disk_drain(struct disk_dev *d);
void csv_disk_open_gate(struct disk_dev *d);
/* Ends what is held, and flushes not verified, with err. */
void csv_disk_fail_all(struct disk_dev *d, enum csv_err err);
/* The end of a request that is in no list. */
void csv_disk_finish(struct disk_req *req, enum csv_err err);

/* ---- disk_guard.c ---- */
void *csv_disk_thread(void *arg);
/* FAILED or FENCED: *err is what requests get. With the lock held. */
bool csv_disk_dead(struct disk_dev *d, enum csv_err *err);

/* ---- bdev_disk.c ---- */
/*
 * Over an opened device, taken over on success, and its paths, taken over.  `cached`: its flushes are to be verified
 * (J4).
 */
enum csv_err csv_disk_new(struct csv_bdev *inner, bool rdonly, bool cached, const struct disk_paths *paths,
			  struct csv_bdev **dev);
/* All with pr_lock held. */
enum csv_err csv_disk_register(struct disk_dev *d, uint64_t key);
enum csv_err csv_disk_reserve_again(struct disk_dev *d, uint64_t key);
/* READ KEYS: whether this host's memory of the target's state holds (J4); *lost: it does not. */
enum csv_err csv_disk_look_for_key(struct disk_dev *d, uint64_t key, bool *lost);
/* OK if any path answers TEST UNIT READY. */
enum csv_err csv_disk_test_ready(struct disk_dev *d);
/* What a new port is to know: attentions go to the device, what was reserved. */
void csv_disk_port_init(struct disk_dev *d, struct csv_scsi_port *port);
void csv_disk_note_attention(struct disk_dev *d, int asc);

/* ---- disk_sg.c ---- */
/* The paths of an opened block device; NOTSUP: it is no SCSI disk and no multipath device. */
enum csv_err csv_disk_sg_paths(const char *path, bool rdonly, struct disk_paths *paths, bool *cached);

#endif
