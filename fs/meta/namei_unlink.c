/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names that go: unlink, rmdir. */
#include "fs/meta/dir.h"
#include "fs/meta/namei_int.h"
#include "fs/meta/op.h"

bool namei_same(struct csv_iref a, struct csv_iref b)
{
	return a.ino == b.ino && (!a.gen || !b.gen || a.gen == b.gen);
}

enum csv_err namei_check_empty(struct csv_fs *fs, struct csv_buf *dir)
{
	struct csv_tree t = { .fs = fs, .inode = dir };
	struct csv_tree_rec rec;
	enum csv_err err = csv_tree_ceil(&t, 0, &rec);

	if (err == CSV_NOENT)
		return CSV_OK;
	return err ? err : CSV_NOTEMPTY;
}

void namei_add_links(struct csv_buf *inode, int n)
{
	struct csv_disk_inode *di = csv_inode_of(inode);

	di->nlink = csv_le32_of(csv_le32_get(di->nlink) + (uint32_t)n);
}

enum csv_err namei_drop(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *dir, struct csv_buf *victim)
{
	struct csv_disk_inode *di = csv_inode_of(victim);
	enum csv_err err = csv_txn_dirty(txn, victim);

	if (err)
		return err;
	if (csv_le32_get(di->nlink) == 0)
		return CSV_DAMAGED; /* it had a name */
	if (S_ISDIR(csv_le32_get(di->mode))) {
		di->nlink = csv_le32_of(0);
		namei_add_links(dir, -1);
	} else {
		namei_add_links(victim, -1);
	}
	csv_inode_touch(ctx->fs, victim, CSV_TOUCH_C);
	if (csv_le32_get(di->nlink))
		return CSV_OK;
	return csv_orphan_add(txn, ctx, csv_inode_ref(victim));
}

/* Both buffers are there. */
static enum csv_err remove_in(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *dir, const char *name,
			      struct csv_buf *victim, bool want_dir)
{
	bool is_dir = S_ISDIR(csv_le32_get(csv_inode_of(victim)->mode));
	struct csv_dirent e;
	enum csv_err err = csv_dir_find(ctx->fs, dir, name, &e);

	if (err)
		return err == CSV_NOSPC ? CSV_NOENT : err;
	if (!namei_same(e.ref, csv_inode_ref(victim)))
		return CSV_STALE;
	if (is_dir != want_dir)
		return is_dir ? CSV_ISDIR : CSV_NOTDIR;
	if (is_dir)
		err = namei_check_empty(ctx->fs, victim);
	if (!err)
		err = csv_dir_remove(txn, ctx, dir, e.key);
	if (!err)
		err = namei_drop(txn, ctx, dir, victim);
	return err;
}

static enum csv_err remove_name(struct csv_ctx *ctx, struct csv_iref dir, const char *name, struct csv_iref victim,
				bool want_dir, uint32_t *nlink, uint64_t *tid)
{
	struct csv_fs *fs = ctx->fs;
	struct csv_buf *buf, *inode;
	struct csv_txn *txn;
	enum csv_err err;

	csv_fs_assert_lock(fs, csv_res(CSV_RES_INODE, dir.ino), CSV_EX);
	csv_fs_assert_lock(fs, csv_res(CSV_RES_INODE, victim.ino), CSV_EX);
	err = csv_op_begin(ctx, &txn);
	if (err)
		return err;
	err = csv_dir_get(fs, dir, &buf);
	if (err)
		goto end;
	err = csv_inode_get(fs, victim, &inode);
	if (!err) {
		err = remove_in(txn, ctx, buf, name, inode, want_dir);
		if (!err && nlink)
			*nlink = csv_le32_get(csv_inode_of(inode)->nlink);
		csv_buf_put(fs, inode);
	}
	csv_buf_put(fs, buf);
end:
	return csv_op_end(ctx, txn, err, 1, tid);
}

enum csv_err csv_unlink(struct csv_ctx *ctx, struct csv_iref dir, const char *name, struct csv_iref victim,
			uint32_t *nlink, uint64_t *tid)
{
	enum csv_err err = csv_name_check(name);

	if (!err && csv_name_is_dots(name))
		err = CSV_ISDIR;
	return err ? err : remove_name(ctx, dir, name, victim, false, nlink, tid);
}

enum csv_err csv_rmdir(struct csv_ctx *ctx, struct csv_iref dir, const char *name, struct csv_iref victim,
		       uint64_t *tid)
{
	enum csv_err err = csv_name_check(name);

	if (!err && csv_name_is_dots(name))
		err = name[1] ? CSV_NOTEMPTY : CSV_INVAL;
	return err ? err : remove_name(ctx, dir, name, victim, true, NULL, tid);
}
