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
	struct csv_agset ags;   /* held EX */
	/*
	 * Out, each time an operation ends with NOSPC or WAIT: groups that it wants locked EX as well.  NOSPC with none:
	 * the volume is full (but see csv_alloc_pending).  WAIT: lock what is asked for and run the operation again; what it
	 * has done so far, if anything, is whole.  What WAIT asks for is enough to get on: a caller whose set is full may
	 * give up all others.
	 */
	struct csv_agset need;
	uint64_t need_ino;      /* out, WAIT: inode that has to be held PR too; 0: none */
};
/* For who runs an operation again: adds ctx->need to ctx->ags; false if nothing new came in. */
bool csv_ctx_take_need(struct csv_ctx *ctx);

struct csv_attr {
	struct csv_iref ref;
	uint32_t mode, uid, gid, nlink, flags;
	uint64_t size, blocks;      /* blocks of 4096 */
	uint32_t rdev_major, rdev_minor;
	struct timespec atime, mtime, ctime, btime;
	uint64_t lease;             /* block, 0: none */
};

/*
 * Gets the inode's buffer, checking the generation (gen 0: any). Caller holds inode.I >= PR and fs->meta.
 * STALE: not an inode, or another one; IO, CHECKSUM, DAMAGED, NOMEM; *buf is NULL then.
 */
enum csv_err csv_inode_get(struct csv_fs *fs, struct csv_iref ref, struct csv_buf **buf);
static inline struct csv_disk_inode *csv_inode_of(struct csv_buf *buf)
{
	return buf->data;
}
void csv_inode_attr(const struct csv_buf *buf, struct csv_attr *attr);
struct csv_iref csv_inode_ref(const struct csv_buf *buf);
/* Current time, for m/ctime. */
struct csv_disk_time csv_now(struct csv_fs *fs);
struct csv_disk_time csv_time_of(struct timespec ts);
struct timespec csv_time_get(const struct csv_disk_time *t);

/*
 * New inode in a transaction: allocates the block, sets generation, mode, owner (of ctx), times, nlink; trees empty.
 * *buf is dirty and the caller's to put.  WAIT: ctx->need_ino is the block it would be, whose inode lock has to be held EX
 * (and lease.I EX, if it is to be an image).
 */
enum csv_err csv_inode_new(struct csv_txn *txn, struct csv_ctx *ctx, uint64_t goal, uint32_t mode, uint32_t nlink,
			   struct csv_buf **buf);

/* ---- orphans (U4): inodes without links, on the list of the slot that unlinked them ---- */
/* On our own slot's list; slot.N is held EX for the life of the mount. NOSPC if a further block is needed. */
enum csv_err csv_orphan_add(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_iref ref);
/* slot.N EX (own; another's only for repair). NOENT if not listed. */
enum csv_err csv_orphan_del(struct csv_txn *txn, uint32_t slot, struct csv_iref ref);
/* Lists the orphans of a slot (own, or a dead one under recovery; slot.N PR); *refs to be freed with free(). Takes fs->meta. */
enum csv_err csv_orphan_list(struct csv_fs *fs, uint32_t slot, struct csv_iref **refs, size_t *n);
/*
 * Frees an inode without links for good: lease block, extents, trees, the inode's own block. Works in steps, each a
 * transaction of bounded size, after any of which a crash is harmless: the orphan entry, if it is in our own slot's list,
 * goes in the last one.  Needs inode.I EX, of an image lease.I EX, and groups EX (csv_inode_groups; for a file in more
 * groups than fit, some: WAIT names the next ones).  An inode that is gone already is CSV_OK, its entry goes.
 * INVAL: it has links.
 */
enum csv_err csv_inode_destroy(struct csv_ctx *ctx, struct csv_iref ref);
/* Groups of every block of the inode (as many as fit); fs->meta held shared by the caller. */
enum csv_err csv_inode_groups(struct csv_fs *fs, struct csv_iref ref, struct csv_agset *set);

#endif
