/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rename: one transaction over up to four inodes.  First everything is looked at,
 * then changed: the name in the target directory gets its new inode, the old name goes
 * or gets the other one, and directories that moved get their new parent.
 */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "fs/disk/geometry.h"
#include "fs/meta/dir.h"
#include "fs/meta/namei_int.h"
#include "fs/meta/op.h"

#define DEPTH_MAX 65536u /* directories above one another; more is a circle on disk */

/* One rename under way. Buffers are NULL until they are there. */
struct mv {
	const struct csv_rename *r;
	struct csv_ctx *ctx;
	struct csv_txn *txn;
	struct csv_buf *from_dir, *to_dir, *moved, *replaced;
	struct csv_dirent from, to; /* to.key: where the name is or belongs */
};

static bool is_dir(const struct csv_buf *inode)
{
	return inode && S_ISDIR(csv_le32_get(((const struct csv_disk_inode *)inode->data)->mode));
}

/* Gets all inodes that the caller named. */
static enum csv_err load(struct mv *m)
{
	struct csv_fs *fs = m->ctx->fs;
	enum csv_err err = csv_dir_get(fs, m->r->from_dir, &m->from_dir);

	if (!err)
		err = csv_dir_get(fs, m->r->to_dir, &m->to_dir);
	if (!err)
		err = csv_inode_get(fs, m->r->moved, &m->moved);
	if (!err && m->r->replaced.ino)
		err = csv_inode_get(fs, m->r->replaced, &m->replaced);
	return err;
}

static void unload(struct mv *m)
{
	struct csv_buf *all[] = { m->from_dir, m->to_dir, m->moved, m->replaced };

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i])
			csv_buf_put(m->ctx->fs, all[i]);
}

/* Both names must still mean what the caller was told. */
static enum csv_err find_names(struct mv *m)
{
	enum csv_err err = csv_dir_find(m->ctx->fs, m->from_dir, m->r->from, &m->from);

	if (err)
		return err == CSV_NOSPC ? CSV_NOENT : err;
	if (!namei_same(m->from.ref, csv_inode_ref(m->moved)))
		return CSV_STALE;
	err = csv_dir_find(m->ctx->fs, m->to_dir, m->r->to, &m->to);
	if (err == CSV_NOENT) {
		if (m->r->flags & RENAME_EXCHANGE)
			return CSV_NOENT;
		return m->replaced ? CSV_STALE : CSV_OK;
	}
	if (err)
		return err;
	if (m->r->flags & RENAME_NOREPLACE)
		return CSV_EXIST;
	return m->replaced && namei_same(m->to.ref, csv_inode_ref(m->replaced)) ? CSV_OK : CSV_STALE;
}

static enum csv_err check_types(const struct mv *m)
{
	if (!m->replaced || m->r->flags & RENAME_EXCHANGE)
		return CSV_OK;
	if (is_dir(m->moved) != is_dir(m->replaced))
		return is_dir(m->replaced) ? CSV_ISDIR : CSV_NOTDIR;
	return is_dir(m->replaced) ? namei_check_empty(m->ctx->fs, m->replaced) : CSV_OK;
}

/*
 * Walks up from `dir` and refuses to meet `below`.  RENAME is held, so no directory moves meanwhile; each on the way
 * must be held PR, as its block may be newer on another node than on the LUN.
 */
static enum csv_err check_not_below(struct mv *m, struct csv_buf *dir, struct csv_buf *below)
{
	struct csv_fs *fs = m->ctx->fs;
	uint64_t ino = dir->block;

	for (unsigned i = 0; i < DEPTH_MAX; i++) {
		struct csv_res res = csv_res(CSV_RES_INODE, ino);
		struct csv_buf *buf;
		enum csv_err err;

		if (ino == below->block)
			return CSV_INVAL;
		if (ino == fs->sb.root_inode)
			return CSV_OK;
		if (fs->locks && !fs->locks->holds(fs->locks, res, CSV_PR)) {
			m->ctx->need_ino = ino;
			return CSV_WAIT;
		}
		err = csv_dir_get(fs, (struct csv_iref){ ino, 0 }, &buf);
		if (err)
			return err == CSV_STALE || err == CSV_NOTDIR || err == CSV_NOENT ? CSV_DAMAGED : err;
		ino = csv_le64_get(csv_inode_of(buf)->parent);
		csv_buf_put(fs, buf);
	}
	return CSV_DAMAGED;
}

/* Whether the new parents can take what comes: no circle, not too many links. */
static enum csv_err check_parents(struct mv *m)
{
	bool exchange = m->r->flags & RENAME_EXCHANGE, dir_out = is_dir(m->moved);
	bool dir_back = exchange && is_dir(m->replaced);
	enum csv_err err = CSV_OK;

	if (m->from_dir == m->to_dir || (!dir_out && !dir_back))
		return CSV_OK;
	csv_fs_assert_lock(m->ctx->fs, csv_res(CSV_RES_RENAME, 0), CSV_EX);
	if (dir_out)
		err = check_not_below(m, m->to_dir, m->moved);
	if (!err && dir_back)
		err = check_not_below(m, m->from_dir, m->replaced);
	if (err)
		return err;
	/* A replaced directory leaves its link to the moved one. */
	if (dir_out && !is_dir(m->replaced) && csv_le32_get(csv_inode_of(m->to_dir)->nlink) >= CSV_LINK_MAX)
		return CSV_MLINK;
	if (dir_back && !dir_out && csv_le32_get(csv_inode_of(m->from_dir)->nlink) >= CSV_LINK_MAX)
		return CSV_MLINK;
	return CSV_OK;
}

/* An inode has moved from one directory to another: times, parent, links of both. */
static enum csv_err moved_over(struct mv *m, struct csv_buf *inode, struct csv_buf *from, struct csv_buf *to)
{
	enum csv_err err = csv_txn_dirty(m->txn, inode);

	if (err)
		return err;
	csv_inode_touch(m->ctx->fs, inode, CSV_TOUCH_C);
	if (!is_dir(inode) || from == to)
		return CSV_OK;
	csv_inode_of(inode)->parent = csv_le64_of(to->block);
	namei_add_links(from, -1);
	namei_add_links(to, 1);
	return CSV_OK;
}

static enum csv_err exchange(struct mv *m)
{
	struct csv_dirent from = m->from, to = m->to;
	enum csv_err err;

	from.ref = m->to.ref;
	from.type = m->to.type;
	to.ref = m->from.ref;
	to.type = m->from.type;
	err = csv_dir_retarget(m->txn, m->ctx, m->from_dir, &from);
	if (!err)
		err = csv_dir_retarget(m->txn, m->ctx, m->to_dir, &to);
	if (!err)
		err = moved_over(m, m->moved, m->from_dir, m->to_dir);
	if (!err)
		err = moved_over(m, m->replaced, m->to_dir, m->from_dir);
	return err;
}

static enum csv_err move(struct mv *m)
{
	enum csv_err err;

	m->to.ref = m->from.ref;
	m->to.type = m->from.type;
	memcpy(m->to.name, m->r->to, strlen(m->r->to) + 1);
	if (m->replaced)
		err = csv_dir_retarget(m->txn, m->ctx, m->to_dir, &m->to);
	else
		err = csv_dir_insert(m->txn, m->ctx, m->to_dir, &m->to);
	if (!err)
		err = csv_dir_remove(m->txn, m->ctx, m->from_dir, m->from.key);
	if (!err && m->replaced)
		err = namei_drop(m->txn, m->ctx, m->to_dir, m->replaced);
	if (!err)
		err = moved_over(m, m->moved, m->from_dir, m->to_dir);
	return err;
}

static enum csv_err run(struct mv *m)
{
	enum csv_err err = load(m);

	if (!err)
		err = find_names(m);
	if (err)
		return err;
	if (m->replaced == m->moved)
		return CSV_OK; /* two names of one inode: POSIX wants nothing done */
	err = check_types(m);
	if (!err)
		err = check_parents(m);
	if (err)
		return err;
	return m->r->flags & RENAME_EXCHANGE ? exchange(m) : move(m);
}

static enum csv_err check_args(const struct csv_rename *r)
{
	enum csv_err err = csv_name_check(r->from);

	if (!err)
		err = csv_name_check(r->to);
	if (err)
		return err;
	if (csv_name_is_dots(r->from) || csv_name_is_dots(r->to))
		return CSV_BUSY;
	if (r->flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE) ||
	    r->flags == (RENAME_NOREPLACE | RENAME_EXCHANGE))
		return CSV_INVAL;
	return CSV_OK;
}

static void assert_locks(struct csv_fs *fs, const struct csv_rename *r)
{
	csv_fs_assert_lock(fs, csv_res(CSV_RES_INODE, r->from_dir.ino), CSV_EX);
	csv_fs_assert_lock(fs, csv_res(CSV_RES_INODE, r->to_dir.ino), CSV_EX);
	csv_fs_assert_lock(fs, csv_res(CSV_RES_INODE, r->moved.ino), CSV_EX);
	if (r->replaced.ino)
		csv_fs_assert_lock(fs, csv_res(CSV_RES_INODE, r->replaced.ino), CSV_EX);
}

enum csv_err csv_rename(struct csv_ctx *ctx, const struct csv_rename *r, uint32_t *replaced_nlink, uint64_t *tid)
{
	struct mv m = { .r = r, .ctx = ctx };
	enum csv_err err = check_args(r);

	assert_locks(ctx->fs, r);
	if (!err)
		err = csv_op_begin(ctx, &m.txn);
	if (err)
		return err;
	err = run(&m);
	if (!err && replaced_nlink)
		*replaced_nlink = m.replaced ? csv_le32_get(csv_inode_of(m.replaced)->nlink) : 0;
	unload(&m);
	return csv_op_end(ctx, m.txn, err, 1, tid);
}
