/* SPDX-License-Identifier: GPL-2.0-or-later */
/* New names: create, mkdir, symlink, mknod, link. */
#include <string.h>
#include <strings.h>

#include "fs/meta/dir.h"
#include "fs/meta/lease.h"
#include "fs/meta/namei.h"
#include "fs/meta/op.h"

static const char *const image_suffix[] = { ".vhd", ".vhdx", ".avhd", ".avhdx", ".qcow2", ".raw", ".img" };

bool csv_name_is_image(const char *name)
{
	const char *dot = strrchr(name, '.');

	if (!dot || dot == name)
		return false;
	for (size_t i = 0; i < sizeof(image_suffix) / sizeof(image_suffix[0]); i++)
		if (!strcasecmp(dot, image_suffix[i]))
			return true;
	return false;
}

static enum csv_err check_new(const struct csv_new *what)
{
	size_t len;

	if (S_ISREG(what->mode) || S_ISDIR(what->mode) || S_ISCHR(what->mode) || S_ISBLK(what->mode) ||
	    S_ISFIFO(what->mode) || S_ISSOCK(what->mode))
		return CSV_OK;
	if (!S_ISLNK(what->mode) || !what->target)
		return CSV_INVAL;
	len = strlen(what->target);
	if (len > CSV_SYMLINK_MAX)
		return CSV_NAMETOOLONG;
	return len ? CSV_OK : CSV_NOENT;
}

/* The target goes into records of up to CSV_TREE_VALUE_MAX bytes, numbered from 0. */
static enum csv_err write_target(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *inode, const char *target)
{
	struct csv_tree t = { .fs = ctx->fs, .inode = inode };
	size_t len = strlen(target), done = 0;
	enum csv_err err = CSV_OK;

	for (uint64_t i = 0; !err && done < len; i++) {
		unsigned n = len - done < CSV_TREE_VALUE_MAX ? (unsigned)(len - done) : CSV_TREE_VALUE_MAX;

		err = csv_tree_insert(txn, &ctx->ags, &t, i, target + done, n);
		done += n;
	}
	csv_inode_of(inode)->size = csv_le64_of(len);
	return err;
}

/* What a new inode takes from its directory: group (setgid), image flag. */
static void inherit(const struct csv_disk_inode *dir, struct csv_disk_inode *di)
{
	uint32_t mode = csv_le32_get(di->mode);

	if (csv_le32_get(dir->mode) & S_ISGID) {
		di->gid = dir->gid;
		if (S_ISDIR(mode))
			di->mode = csv_le32_of(mode | S_ISGID);
	}
	if (S_ISDIR(mode))
		di->flags = csv_le32_of(csv_le32_get(dir->flags) & CSV_INODE_IMAGE_INHERIT);
}

/* Fills the new inode by its type. */
static enum csv_err fill(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *dir, const char *name,
			 const struct csv_new *what, struct csv_buf *inode)
{
	struct csv_disk_inode *di = csv_inode_of(inode), *dd = csv_inode_of(dir);

	inherit(dd, di);
	if (S_ISDIR(what->mode))
		di->parent = csv_le64_of(dir->block);
	if (S_ISCHR(what->mode) || S_ISBLK(what->mode)) {
		di->rdev_major = csv_le32_of(what->rdev_major);
		di->rdev_minor = csv_le32_of(what->rdev_minor);
	}
	if (S_ISLNK(what->mode))
		return write_target(txn, ctx, inode, what->target);
	if (S_ISREG(what->mode) && (csv_name_is_image(name) || csv_le32_get(dd->flags) & CSV_INODE_IMAGE_INHERIT))
		return csv_lease_create(txn, ctx, inode);
	return CSV_OK;
}

static void set_entry(struct csv_dirent *e, const char *name, const struct csv_buf *inode)
{
	e->ref = csv_inode_ref(inode);
	e->type = (uint8_t)IFTODT(csv_le32_get(((const struct csv_disk_inode *)inode->data)->mode));
	memcpy(e->name, name, strlen(name) + 1);
}

/* The directory's buffer is there. */
static enum csv_err create_in(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *dir, const char *name,
			      const struct csv_new *what, struct csv_attr *attr)
{
	struct csv_disk_inode *dd = csv_inode_of(dir);
	bool is_dir = S_ISDIR(what->mode);
	struct csv_buf *inode;
	struct csv_dirent e;
	enum csv_err err = csv_dir_find(ctx->fs, dir, name, &e);

	if (err != CSV_NOENT)
		return err ? err : CSV_EXIST;
	if (is_dir && csv_le32_get(dd->nlink) >= CSV_LINK_MAX)
		return CSV_MLINK;
	err = csv_inode_new(txn, ctx, dir->block, what->mode, is_dir ? 2 : 1, &inode);
	if (err)
		return err;
	err = fill(txn, ctx, dir, name, what, inode);
	if (!err) {
		set_entry(&e, name, inode);
		err = csv_dir_insert(txn, ctx, dir, &e);
	}
	if (!err) {
		if (is_dir)
			dd->nlink = csv_le32_of(csv_le32_get(dd->nlink) + 1);
		if (attr)
			csv_inode_attr(inode, attr);
	}
	csv_buf_put(ctx->fs, inode);
	return err;
}

enum csv_err csv_create(struct csv_ctx *ctx, struct csv_iref dir, const char *name, const struct csv_new *what,
			struct csv_attr *attr, uint64_t *tid)
{
	struct csv_buf *buf;
	struct csv_txn *txn;
	enum csv_err err = csv_name_check(name);

	csv_fs_assert_lock(ctx->fs, csv_res(CSV_RES_INODE, dir.ino), CSV_EX);
	if (!err && csv_name_is_dots(name))
		err = CSV_EXIST;
	if (!err)
		err = check_new(what);
	if (!err)
		err = csv_op_begin(ctx, &txn);
	if (err)
		return err;
	err = csv_dir_get(ctx->fs, dir, &buf);
	if (!err) {
		err = create_in(txn, ctx, buf, name, what, attr);
		csv_buf_put(ctx->fs, buf);
	}
	return csv_op_end(ctx, txn, err, 1, tid);
}

static enum csv_err link_in(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *inode, struct csv_buf *dir,
			    const char *name, struct csv_attr *attr)
{
	struct csv_disk_inode *di = csv_inode_of(inode);
	uint32_t nlink = csv_le32_get(di->nlink);
	struct csv_dirent e;
	enum csv_err err;

	if (S_ISDIR(csv_le32_get(di->mode)))
		return CSV_PERM;
	if (nlink == 0)
		return CSV_NOENT;
	if (nlink >= CSV_LINK_MAX)
		return CSV_MLINK;
	err = csv_dir_find(ctx->fs, dir, name, &e);
	if (err != CSV_NOENT)
		return err ? err : CSV_EXIST;
	set_entry(&e, name, inode);
	err = csv_dir_insert(txn, ctx, dir, &e);
	if (!err)
		err = csv_txn_dirty(txn, inode);
	if (err)
		return err;
	di->nlink = csv_le32_of(nlink + 1);
	csv_inode_touch(ctx->fs, inode, CSV_TOUCH_C);
	if (attr)
		csv_inode_attr(inode, attr);
	return CSV_OK;
}

enum csv_err csv_link(struct csv_ctx *ctx, struct csv_iref ref, struct csv_iref dir, const char *name,
		      struct csv_attr *attr, uint64_t *tid)
{
	struct csv_fs *fs = ctx->fs;
	struct csv_buf *buf, *inode;
	struct csv_txn *txn;
	enum csv_err err = csv_name_check(name);

	csv_fs_assert_lock(fs, csv_res(CSV_RES_INODE, dir.ino), CSV_EX);
	csv_fs_assert_lock(fs, csv_res(CSV_RES_INODE, ref.ino), CSV_EX);
	if (!err && csv_name_is_dots(name))
		err = CSV_EXIST;
	if (!err)
		err = csv_op_begin(ctx, &txn);
	if (err)
		return err;
	err = csv_dir_get(fs, dir, &buf);
	if (err)
		goto end;
	err = csv_inode_get(fs, ref, &inode);
	if (!err) {
		err = link_in(txn, ctx, inode, buf, name, attr);
		csv_buf_put(fs, inode);
	}
	csv_buf_put(fs, buf);
end:
	return csv_op_end(ctx, txn, err, 1, tid);
}
