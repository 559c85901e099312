/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The record in a lease block. Who may write it is decided in fs/lock. */
#include <stdlib.h>
#include <string.h>

#include "fs/disk/super.h"
#include "fs/meta/lease.h"
#include "fs/meta/op.h"

#define PEEK_TRIES 8 /* a write of one block takes a few hundred microseconds: more torn reads in a row are damage */

static struct csv_disk_lease *lease_of(struct csv_buf *buf)
{
	return buf->data;
}

static struct csv_res lease_res(uint64_t ino)
{
	return csv_res(CSV_RES_LEASE, ino);
}

static void decode(const struct csv_disk_lease *d, uint64_t block, struct csv_lease *l)
{
	*l = (struct csv_lease){
		.block = block,
		.image = { csv_le64_get(d->hdr.owner), csv_le32_get(d->gen) },
		.mode = (enum csv_lease_mode)csv_le32_get(d->mode),
		.epoch = csv_le64_get(d->epoch),
		.slot = csv_le32_get(d->slot),
		.incarnation = csv_le32_get(d->incarnation),
		.nodeid = csv_le32_get(d->nodeid),
		.run = csv_le32_get(d->run) != 0,
		.since_sec = csv_le64_get(d->since_sec),
		.mtime = csv_time_get(&d->mtime),
		.ctime = csv_time_get(&d->ctime),
		.size = csv_le64_get(d->size),
	};
	memcpy(l->vm, d->vm, CSV_VMNAME_MAX);
	memcpy(l->node, d->node, CSV_NODENAME_MAX);
	memcpy(l->handoff, d->handoff, sizeof(l->handoff));
}

static void encode(const struct csv_lease *l, struct csv_disk_lease *d)
{
	d->gen = csv_le32_of(l->image.gen);
	d->mode = csv_le32_of(l->mode);
	d->epoch = csv_le64_of(l->epoch);
	d->slot = csv_le32_of(l->slot);
	d->incarnation = csv_le32_of(l->incarnation);
	d->nodeid = csv_le32_of(l->nodeid);
	d->run = csv_le32_of(l->run);
	d->since_sec = csv_le64_of(l->since_sec);
	d->mtime = csv_time_of(l->mtime);
	d->ctime = csv_time_of(l->ctime);
	d->size = csv_le64_of(l->size);
	memset(d->vm, 0, sizeof(d->vm));
	memcpy(d->vm, l->vm, strnlen(l->vm, CSV_VMNAME_MAX));
	memset(d->node, 0, sizeof(d->node));
	memcpy(d->node, l->node, strnlen(l->node, CSV_NODENAME_MAX));
	memcpy(d->handoff, l->handoff, sizeof(d->handoff));
}

static enum csv_err get(struct csv_fs *fs, struct csv_iref image, uint64_t block, struct csv_buf **buf)
{
	enum csv_err err = csv_buf_get(fs, block, CSV_MAGIC_LEASE, image.ino, lease_res(image.ino), buf);

	if (!err && image.gen && csv_le32_get(lease_of(*buf)->gen) != image.gen) {
		csv_buf_put(fs, *buf);
		err = CSV_STALE;
	}
	return err;
}

enum csv_err csv_lease_read(struct csv_fs *fs, struct csv_iref image, uint64_t block, struct csv_lease *l)
{
	struct csv_buf *buf;
	enum csv_err err = get(fs, image, block, &buf);

	if (err)
		return err;
	decode(lease_of(buf), block, l);
	csv_buf_put(fs, buf);
	return CSV_OK;
}

/* Checks a raw block as the cache would. */
static enum csv_err check_raw(struct csv_fs *fs, struct csv_iref image, uint64_t block, const struct csv_disk_lease *d)
{
	enum csv_err err = csv_block_verify(d, fs->sb.uuid, block, CSV_MAGIC_LEASE, NULL);

	if (!err)
		err = csv_verifier_of(CSV_MAGIC_LEASE)(&fs->sb, d, NULL);
	if (err)
		return err;
	if (csv_le64_get(d->hdr.owner) != image.ino || (image.gen && csv_le32_get(d->gen) != image.gen))
		return CSV_STALE;
	return CSV_OK;
}

enum csv_err csv_lease_peek(struct csv_fs *fs, struct csv_iref image, uint64_t block, struct csv_lease *l)
{
	struct csv_disk_lease *d = aligned_alloc(CSV_BLOCK_SIZE, CSV_BLOCK_SIZE);
	enum csv_err err = CSV_CHECKSUM;

	if (!d)
		return CSV_NOMEM;
	for (int i = 0; err == CSV_CHECKSUM && i < PEEK_TRIES; i++) {
		err = csv_bdev_read(fs->dev, block << CSV_BLOCK_SHIFT, d, CSV_BLOCK_SIZE);
		if (!err)
			err = check_raw(fs, image, block, d);
	}
	if (!err)
		decode(d, block, l);
	free(d);
	return err;
}

enum csv_err csv_lease_write(struct csv_txn *txn, const struct csv_lease *l)
{
	struct csv_fs *fs = csv_txn_fs(txn);
	struct csv_buf *buf;
	enum csv_err err;

	csv_fs_assert_lock(fs, lease_res(l->image.ino), CSV_EX);
	err = get(fs, l->image, l->block, &buf);
	if (err)
		return err;
	CSV_ASSERT(l->epoch >= csv_le64_get(lease_of(buf)->epoch));
	err = csv_txn_dirty(txn, buf);
	if (!err)
		encode(l, lease_of(buf));
	csv_buf_put(fs, buf);
	return err;
}

enum csv_err csv_lease_create(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *inode)
{
	struct csv_disk_inode *di = csv_inode_of(inode);
	struct csv_buf *buf;
	enum csv_err err = csv_txn_dirty(txn, inode);

	if (!err)
		err = csv_alloc_meta(txn, &ctx->ags, inode->block, CSV_MAGIC_LEASE, inode->block,
				     lease_res(inode->block), &buf);
	if (err)
		return err;
	lease_of(buf)->gen = di->gen;
	lease_of(buf)->mtime = di->mtime;
	lease_of(buf)->ctime = di->ctime;
	di->lease = csv_le64_of(buf->block);
	di->flags = csv_le32_of(csv_le32_get(di->flags) | CSV_INODE_IMAGE);
	csv_buf_put(ctx->fs, buf);
	return CSV_OK;
}

enum csv_err csv_lease_destroy(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *inode)
{
	struct csv_disk_inode *di = csv_inode_of(inode);
	uint64_t block = csv_le64_get(di->lease);
	struct csv_buf *buf;
	enum csv_err err = csv_op_group_of(ctx, block);

	if (err)
		return err;
	csv_fs_assert_lock(ctx->fs, lease_res(inode->block), CSV_EX);
	err = get(ctx->fs, csv_inode_ref(inode), block, &buf);
	if (err)
		return err;
	err = csv_txn_dirty(txn, inode);
	if (err) {
		csv_buf_put(ctx->fs, buf);
		return err;
	}
	err = csv_free_meta(txn, buf);
	if (!err) {
		di->lease = csv_le64_of(0);
		di->flags = csv_le32_of(csv_le32_get(di->flags) & ~(CSV_INODE_IMAGE | CSV_INODE_SHARED));
	}
	return err;
}
