/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of leases: lease.c (table, open), lease_close.c (close, times), lease_move.c (handoff). */
#ifndef CSV_LOCK_LEASE_INT_H
#define CSV_LOCK_LEASE_INT_H

#include "fs/lock/lease.h"

enum lease_state {
	LEASE_TAKING, /* owner takes it */
	LEASE_HELD,   /* ours: block written and durable, lease.I pinned */
	LEASE_GIVING, /* owner gives it back; lease.I pinned */
	LEASE_GONE,   /* handed to another mount: shares are left, without meaning */
};

/*
 * The lease of one image as this mount has it, from the first open to the last close.
 * TAKING and GIVING belong to one operation (owner) and its fields to that alone; all
 * else is covered by csv_leases.mutex.  HELD has at least one share.
 */
struct lease_image {
	struct csv_list link;
	struct csv_leases *ls;
	struct csv_iref image;
	enum lease_state state;
	struct csv_op *owner;
	unsigned shares;
	struct csv_lease l;	 /* as written last */
	bool times;		 /* l.mtime, l.ctime are later than the inode's: into it at the end */
	struct csv_list waiters; /* operations that wait for the end of TAKING or GIVING */
	/* TAKING */
	bool written; /* the transaction has ended, lease.I is pinned, the commit is on its way or over */
	enum csv_err commit_err;
	struct csv_commit_wait commit;
	struct csv_list retry; /* in csv_leases.retries: tries again a little later */
	unsigned tries;
};

struct csv_lease_ref {
	struct lease_image *im;
};

struct lease_waiter {
	struct csv_list link;
	struct csv_op *op;
};

struct csv_leases {
	struct csv_leases_cfg cfg;
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	pthread_t retry;
	bool stop;
	struct csv_list images;
	struct csv_list retries;
};

static inline struct csv_res lease_res(const struct lease_image *im)
{
	return csv_res(CSV_RES_LEASE, im->image.ino);
}
/* By inode; GONE ones only if asked for. */
struct lease_image *csv_lease_find(struct csv_leases *ls, uint64_t ino, bool gone);
struct lease_image *csv_lease_image_new(struct csv_leases *ls, struct csv_iref image);
/* TAKING or GIVING is over: those who waited for it run again. Called with the mutex. */
void csv_lease_wake(struct lease_image *im);
void csv_lease_image_free(struct lease_image *im); /* off the list; nobody waits */
/* True if the block names this mount's life. */
bool csv_lease_is_own(const struct csv_leases *ls, const struct csv_lease *l);

#endif
