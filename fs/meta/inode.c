/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inodes: finding, checking, making. Their death is in destroy.c. */
#include "fs/disk/geometry.h"
#include "fs/meta/op.h"

/* What the caller may rely on beyond the block's own check. */
static enum csv_err check(const struct csv_disk_inode *di, uint32_t gen)
{
	uint32_t mode = csv_le32_get(di->mode);

	if (gen && csv_le32_get(di->gen) != gen)
		return CSV_STALE;
	if (S_ISDIR(mode) && !csv_le64_get(di->parent))
		return CSV_DAMAGED;
	if (!S_ISLNK(mode))
		return CSV_OK;
	if (csv_le64_get(di->size) > CSV_SYMLINK_MAX)
		return CSV_DAMAGED;
	return csv_tree_area_verify(di->tree, CSV_INODE_TREE_SIZE, NULL); /* left out at the read */
}

enum csv_err csv_inode_get(struct csv_fs *fs, struct csv_iref ref, struct csv_buf **buf)
{
	enum csv_err err;

	*buf = NULL;
	if (!csv_geo_fits(&fs->sb, ref.ino, CSV_MAGIC_INODE))
		return CSV_STALE;
	err = csv_buf_get(fs, ref.ino, CSV_MAGIC_INODE, ref.ino, csv_res(CSV_RES_INODE, ref.ino), buf);
	if (err == CSV_IDENTITY)
		return CSV_STALE; /* freed, or something else by now */
	if (err)
		return err;
	err = check(csv_inode_of(*buf), ref.gen);
	if (err) {
		csv_buf_put(fs, *buf);
		*buf = NULL;
	}
	return err;
}

struct csv_iref csv_inode_ref(const struct csv_buf *buf)
{
	const struct csv_disk_inode *di = buf->data;

	return (struct csv_iref){ buf->block, csv_le32_get(di->gen) };
}

struct timespec csv_time_get(const struct csv_disk_time *t)
{
	return (struct timespec){ .tv_sec = (time_t)csv_le64_get(t->sec), .tv_nsec = csv_le32_get(t->nsec) };
}

struct csv_disk_time csv_time_of(struct timespec ts)
{
	return (struct csv_disk_time){ .sec = csv_le64_of((uint64_t)ts.tv_sec),
				       .nsec = csv_le32_of((uint32_t)ts.tv_nsec) };
}

struct csv_disk_time csv_now(struct csv_fs *fs)
{
	int64_t sec;
	uint32_t nsec;

	fs->env->wall(fs->env, &sec, &nsec);
	return (struct csv_disk_time){ .sec = csv_le64_of((uint64_t)sec), .nsec = csv_le32_of(nsec) };
}

void csv_inode_attr(const struct csv_buf *buf, struct csv_attr *attr)
{
	const struct csv_disk_inode *di = buf->data;

	*attr = (struct csv_attr){
		.ref = csv_inode_ref(buf),
		.mode = csv_le32_get(di->mode),
		.uid = csv_le32_get(di->uid),
		.gid = csv_le32_get(di->gid),
		.nlink = csv_le32_get(di->nlink),
		.flags = csv_le32_get(di->flags),
		.size = csv_le64_get(di->size),
		.blocks = csv_le64_get(di->blocks),
		.rdev_major = csv_le32_get(di->rdev_major),
		.rdev_minor = csv_le32_get(di->rdev_minor),
		.atime = csv_time_get(&di->atime),
		.mtime = csv_time_get(&di->mtime),
		.ctime = csv_time_get(&di->ctime),
		.btime = csv_time_get(&di->btime),
		.lease = csv_le64_get(di->lease),
	};
}

/*
 * The generation comes from the block's version, which only grows over the block's life
 * (J1), so no two inodes that the block ever was share one (but for a wrap after 2^24 changes).
 * The version goes on here already, not at the commit alone: the block may become free and an inode
 * again within one journal transaction.
 * 24 bits, because a FUSE node id has room for no more beside the block number (U3).
 */
static uint32_t new_generation(struct csv_disk_inode *di)
{
	uint64_t version = csv_le64_get(di->hdr.version) + 1;
	uint32_t gen = (uint32_t)version & 0xffffffu;

	di->hdr.version = csv_le64_of(version);
	return gen ? gen : 1;
}

/*
 * Buffers of the new inode live under its own lock from the start: else they would stay in this node's cache, and not
 * go home, when another node takes the lock without our having had it.  Which block it will be is known only now: the
 * caller takes the lock and runs again, and the allocator offers the same block unless someone was faster.
 */
static enum csv_err check_new_lock(struct csv_ctx *ctx, uint64_t block)
{
	struct csv_lockctx *locks = ctx->fs->locks;

	if (!locks || locks->holds(locks, csv_res(CSV_RES_INODE, block), CSV_EX))
		return CSV_OK;
	ctx->need_ino = block;
	return CSV_WAIT;
}

enum csv_err csv_inode_new(struct csv_txn *txn, struct csv_ctx *ctx, uint64_t goal, uint32_t mode, uint32_t nlink,
			   struct csv_buf **buf)
{
	struct csv_disk_inode *di;
	enum csv_err err;

	err = csv_alloc_meta(txn, &ctx->ags, goal, CSV_MAGIC_INODE, CSV_OWNER_SELF,
			     csv_res(CSV_RES_INODE, CSV_OWNER_SELF), buf);
	if (err)
		return err;
	err = check_new_lock(ctx, (*buf)->block);
	if (err) {
		csv_buf_put(ctx->fs, *buf);
		return err;
	}
	di = csv_inode_of(*buf);
	di->gen = csv_le32_of(new_generation(di));
	di->mode = csv_le32_of(mode);
	di->uid = csv_le32_of(ctx->uid);
	di->gid = csv_le32_of(ctx->gid);
	di->nlink = csv_le32_of(nlink);
	di->atime = di->mtime = di->ctime = di->btime = csv_now(ctx->fs);
	csv_tree_area_init(di->tree, CSV_INODE_TREE_SIZE);
	csv_tree_area_init(di->xtree, CSV_INODE_XTREE_SIZE);
	return CSV_OK;
}
