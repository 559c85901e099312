/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inodes: reference, attributes, life and death. */
#ifndef CSV_META_INODE_H
#define CSV_META_INODE_H

#include <sys/stat.h>

#include "fs/meta/tree.h"

/* Names one inode for ever: block number and generation. A mismatch is CSV_STALE (U3). */
struct csv_iref {
	uint64_t ino;
	uint32_t gen;
};

/* Who asks, on which groups it may allocate. Filled by the caller of each operation. */
struct csv_ctx {
	struct csv_fs *fs;
	uint32_t uid, gid;
	uint32_t umask;
	struct csv_agset ags;
	struct csv_agset need;  /* out: groups that a NOSPC or a free wants locked (may be empty) */
};

struct csv_attr {
	struct csv_iref ref;
	uint32_t mode, uid, gid, nlink, flags;
	uint64_t size, blocks;      /* blocks of 4096 */
	uint32_t rdev_major, rdev_minor;
	struct timespec atime, mtime, ctime, btime;
	uint64_t lease;             /* block, 0: none */
};

/* Gets the inode's buffer, checking the generation (gen 0: any). Caller holds inode.I >= PR and fs->meta. STALE, ... */
enum csv_err csv_inode_get(struct csv_fs *fs, struct csv_iref ref, struct csv_buf **buf);
static inline struct csv_disk_inode *csv_inode_of(struct csv_buf *buf)
{
	return buf->data;
}
void csv_inode_attr(const struct csv_buf *buf, struct csv_attr *attr);
/* Current time, for m/ctime. */
struct csv_disk_time csv_now(struct csv_fs *fs);

/* New inode in a transaction: allocates the block, sets type, owner, times, nlink as given. *buf dirty. */
enum csv_err csv_inode_new(struct csv_txn *txn, struct csv_ctx *ctx, uint64_t goal, uint32_t mode, uint32_t nlink,
			   struct csv_buf **buf);

/* ---- orphans (U4): inodes without links, on the list of the slot that unlinked them ---- */
enum csv_err csv_orphan_add(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_iref ref);
enum csv_err csv_orphan_del(struct csv_txn *txn, uint32_t slot, struct csv_iref ref); /* own slot only */
/* Lists the orphans of a slot (own, or a dead one under recovery); *refs to be freed with free(). */
enum csv_err csv_orphan_list(struct csv_fs *fs, uint32_t slot, struct csv_iref **refs, size_t *n);
/*
 * Frees an inode without links for good: lease block, extents, trees, the inode's own block. Works in steps, each a
 * transaction of bounded size; needs inode.I EX and all its groups EX (csv_inode_groups). Its orphan entry, if in our
 * own slot, goes in the last step.
 */
enum csv_err csv_inode_destroy(struct csv_ctx *ctx, struct csv_iref ref);
/* Groups of every block of the inode; fs->meta held shared by the caller. */
enum csv_err csv_inode_groups(struct csv_fs *fs, struct csv_iref ref, struct csv_agset *set);

#endif
