/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Leases of images on this mount (ARCHITECTURE 6; H1, H2, H6): who may write which.
 *
 * The first open for writing takes lease.I in EX without queueing, writes the lease
 * block in a transaction that is durable before the open is answered, and pins
 * lease.I.  Further opens by the same VM share it; another VM is refused, on this node
 * as on others (H2: a slot is not a VM).  The last close gives it back: times into the
 * inode, mode NONE into the block (the epoch stays), lease.I unpinned.
 *
 * Whatever changes map or size of an image needs the lease (H1), path-based truncate
 * included: open the lease, do it, close it.  Reading needs none and never waits.
 */
#ifndef CSV_LOCK_LEASE_H
#define CSV_LOCK_LEASE_H

#include "fs/data/io.h"
#include "fs/lock/hold.h"
#include "fs/meta/lease.h"
#include "fs/meta/namei.h"

struct csv_leases;
struct csv_lease_ref; /* one share in the lease of one image */

struct csv_leases_cfg {
	struct csv_fs *fs;
	struct csv_locks *locks;
	struct csv_data *data; /* times of writes (csv_file_times_*); NULL: none are kept */
	uint32_t nodeid;
	char node[CSV_NODENAME_MAX + 1];
	/* Is this life of a slot alive in csvlockd's ordered view (J8)? NULL: nobody is but us. */
	bool (*alive)(void *arg, uint32_t slot, uint32_t incarnation);
	/* May be NULL. In a worker, lease.I still pinned: byte-range locks go to where they are decided from now on. */
	void (*taken)(void *arg, struct csv_iref image);
	void (*given_back)(void *arg, struct csv_iref image);
	void *arg;
};
enum csv_err csv_leases_new(const struct csv_leases_cfg *cfg, struct csv_leases **ls);
void csv_leases_free(struct csv_leases *ls); /* no operation is under way; leases that are left are forgotten */

/*
 * Takes a share in the lease of `image`, whose lease block is `block`, for `vm` (see fs/lock/vm.h).
 * CSV_OK: *ref is to be closed.  CSV_WAIT: park op and call this again from its run(), with the same arguments.
 * CSV_LEASED: *why names VM, node and since when.  STALE, ROFS, IO, ...
 * An operation that was told WAIT and then ends in another way (fail() included) calls csv_lease_cancel().
 * Other locks named by op are kept as usual, but not while this waits for a commit: name all on each run.
 */
enum csv_err csv_lease_open(struct csv_leases *ls, struct csv_op *op, struct csv_iref image, uint64_t block,
			    const char *vm, struct csv_lease_ref **ref, struct csv_why *why);
void csv_lease_cancel(struct csv_leases *ls, struct csv_op *op);
/*
 * Gives a share back. CSV_WAIT: park and call again. CSV_OK: ref is gone. Another error (the volume is out): so it is.
 * The last share needs inode.I EX if times have to be written, which this asks for itself. Call csv_file_put() later.
 */
enum csv_err csv_lease_close(struct csv_leases *ls, struct csv_op *op, struct csv_lease_ref *ref);
/* The same without an operation: for fail(), when nothing can be written any more. */
void csv_lease_forget(struct csv_leases *ls, struct csv_op *op, struct csv_lease_ref *ref);

struct csv_iref csv_lease_image(const struct csv_lease_ref *ref);
uint64_t csv_lease_epoch(const struct csv_lease_ref *ref);
/* True if this mount holds the image's lease; *l (may be NULL) gets it. */
bool csv_lease_held(struct csv_leases *ls, struct csv_iref image, struct csv_lease *l);

/* True if what a lease block says names a mount that lives, this one included. */
bool csv_lease_alive(const struct csv_leases *ls, const struct csv_lease *l);

/*
 * Times of a leased image are its holder's: kept by csv_data; journalled into the lease block once a second and at a
 * full fsync, by this; at close into the inode.  No lock is needed.  NOENT: the image is not leased here, times go into
 * the inode as usual.  *tid: transaction to commit for durability, 0: nothing was pending.
 */
enum csv_err csv_lease_sync_times(struct csv_leases *ls, struct csv_file *file, uint64_t *tid);
/* Times of an image whose lease is ours, also while it is being given back: at least those. False: the inode's are right. */
bool csv_lease_times(struct csv_leases *ls, struct csv_iref image, struct timespec *mtime, struct timespec *ctime);
/* The times in memory became the lease's (note), or the inode's were set by hand and are to stay (forget). */
void csv_lease_note_times(struct csv_leases *ls, struct csv_iref image, struct timespec mtime);
void csv_lease_forget_times(struct csv_leases *ls, struct csv_iref image);
/*
 * Hook for csv_locks_on_flush(), arg: struct csv_data: times of files without lease, pending in memory, are journalled
 * before inode.I EX is given up.
 */
enum csv_err csv_times_before_flush(void *arg, struct csv_fs *fs, struct csv_res res);

#endif
