/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Attributes, the image flag with its lease block among them. */
#include "fs/meta/lease.h"
#include "fs/meta/namei.h"
#include "fs/meta/op.h"

/* Flags that may stand on an inode of this type. */
static uint32_t flags_of_type(uint32_t mode)
{
	if (S_ISREG(mode))
		return CSV_INODE_IMAGE | CSV_INODE_SHARED;
	return S_ISDIR(mode) ? CSV_INODE_IMAGE_INHERIT : 0;
}

static enum csv_err set_flags(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *inode, uint32_t flags)
{
	struct csv_disk_inode *di = csv_inode_of(inode);
	enum csv_err err = CSV_OK;

	if (flags & ~flags_of_type(csv_le32_get(di->mode)))
		return CSV_INVAL;
	if (flags & CSV_INODE_SHARED && !(flags & CSV_INODE_IMAGE))
		return CSV_INVAL;
	if (flags & CSV_INODE_IMAGE && !csv_le64_get(di->lease))
		err = csv_lease_create(txn, ctx, inode);
	else if (!(flags & CSV_INODE_IMAGE) && csv_le64_get(di->lease))
		err = csv_lease_destroy(txn, ctx, inode);
	if (!err)
		di->flags = csv_le32_of(flags);
	return err;
}

static void set_plain(struct csv_disk_inode *di, unsigned what, const struct csv_attr *attr)
{
	if (what & CSV_SET_MODE)
		di->mode = csv_le32_of((csv_le32_get(di->mode) & S_IFMT) | (attr->mode & 07777));
	if (what & CSV_SET_UID)
		di->uid = csv_le32_of(attr->uid);
	if (what & CSV_SET_GID)
		di->gid = csv_le32_of(attr->gid);
	if (what & CSV_SET_ATIME)
		di->atime = csv_time_of(attr->atime);
	if (what & CSV_SET_MTIME)
		di->mtime = csv_time_of(attr->mtime);
}

enum csv_err csv_setattr(struct csv_ctx *ctx, struct csv_iref ref, unsigned what, const struct csv_attr *attr,
			 uint64_t *tid)
{
	struct csv_fs *fs = ctx->fs;
	struct csv_buf *inode;
	struct csv_txn *txn;
	enum csv_err err;

	csv_fs_assert_lock(fs, csv_res(CSV_RES_INODE, ref.ino), CSV_EX);
	err = csv_op_begin(ctx, &txn);
	if (err)
		return err;
	err = csv_inode_get(fs, ref, &inode);
	if (err)
		goto end;
	err = csv_txn_dirty(txn, inode);
	if (!err && what & CSV_SET_FLAGS)
		err = set_flags(txn, ctx, inode, attr->flags);
	if (!err) {
		set_plain(csv_inode_of(inode), what, attr);
		csv_inode_touch(fs, inode, CSV_TOUCH_C);
		if (what & CSV_SET_CTIME)
			csv_inode_of(inode)->ctime = csv_time_of(attr->ctime);
	}
	csv_buf_put(fs, inode);
end:
	return csv_op_end(ctx, txn, err, 1, tid);
}
