/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lease blocks as the core sees them: read, and change in a transaction.  Who may
 * take which lease is decided above (fs/lock/lease.c); here is only the record.
 */
#ifndef CSV_META_LEASE_H
#define CSV_META_LEASE_H

#include "fs/meta/inode.h"

struct csv_lease {
	uint64_t block;             /* of the lease block */
	struct csv_iref image;
	enum csv_lease_mode mode;
	uint64_t epoch;
	uint32_t slot, incarnation, nodeid;
	bool run;
	char vm[CSV_VMNAME_MAX + 1];
	char node[CSV_NODENAME_MAX + 1];
	uint64_t since_sec;
	struct timespec mtime, ctime;
	uint8_t handoff[16];
	uint64_t size;
};

/* lease.I held (any mode but NL) and fs->meta. */
enum csv_err csv_lease_read(struct csv_fs *fs, struct csv_iref image, uint64_t block, struct csv_lease *l);
/*
 * Reads a lease block without its lock, for attributes and messages: fresh from the LUN, past the cache; the content may
 * be a moment old, a torn read is tried again. Blocks; not with fs->meta held.
 */
enum csv_err csv_lease_peek(struct csv_fs *fs, struct csv_iref image, uint64_t block, struct csv_lease *l);
/* lease.I EX, inside txn. Writes all fields of *l; the epoch may not shrink (asserted). */
enum csv_err csv_lease_write(struct csv_txn *txn, const struct csv_lease *l);
/*
 * Makes the lease block of an image (mode NONE, epoch 0) / takes it away; inode EX, groups EX, to take away lease.I EX too.
 * The inode is dirty afterwards. After create lease.I is to be taken EX before the inode is given up (see csv_create).
 * destroy: WAIT if the block's group is not in ctx->ags, nothing changed.
 */
enum csv_err csv_lease_create(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *inode);
enum csv_err csv_lease_destroy(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *inode);

#endif
