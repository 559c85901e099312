/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Namespace operations that change nothing: one shared look each. */
#include <stdlib.h>
#include <string.h>

#include "fs/meta/dir.h"
#include "fs/meta/namei.h"

static struct csv_iref parent_of(struct csv_buf *dir)
{
	return (struct csv_iref){ csv_le64_get(csv_inode_of(dir)->parent), 0 };
}

static enum csv_err look(struct csv_fs *fs, struct csv_buf *dir, const char *name, struct csv_iref *ref)
{
	struct csv_dirent e;
	enum csv_err err;

	if (csv_name_is_dots(name)) {
		*ref = name[1] ? parent_of(dir) : csv_inode_ref(dir);
		return CSV_OK;
	}
	err = csv_dir_find(fs, dir, name, &e);
	if (!err)
		*ref = e.ref;
	return err == CSV_NOSPC ? CSV_NOENT : err;
}

enum csv_err csv_lookup(struct csv_ctx *ctx, struct csv_iref dir, const char *name, struct csv_iref *ref)
{
	struct csv_fs *fs = ctx->fs;
	struct csv_buf *buf;
	enum csv_err err = csv_name_check(name);

	if (err)
		return err;
	csv_fs_lock_shared(fs);
	err = csv_dir_get(fs, dir, &buf);
	if (!err) {
		err = look(fs, buf, name, ref);
		csv_buf_put(fs, buf);
	}
	csv_fs_unlock(fs);
	return err;
}

enum csv_err csv_getattr(struct csv_ctx *ctx, struct csv_iref ref, struct csv_attr *attr)
{
	struct csv_fs *fs = ctx->fs;
	struct csv_buf *buf;
	enum csv_err err;

	csv_fs_lock_shared(fs);
	err = csv_inode_get(fs, ref, &buf);
	if (!err) {
		csv_inode_attr(buf, attr);
		csv_buf_put(fs, buf);
	}
	csv_fs_unlock(fs);
	return err;
}

/* ---- symbolic links ---------------------------------------------------------- */

/* Puts the records of the tree together: numbered from 0, all but the last full. */
static enum csv_err read_target(struct csv_fs *fs, struct csv_buf *inode, char *target, uint64_t size)
{
	struct csv_tree t = { .fs = fs, .inode = inode };
	struct csv_tree_rec rec;
	uint64_t got = 0;

	for (uint64_t i = 0; got < size; i++) {
		enum csv_err err = csv_tree_get(&t, i, &rec);

		if (err)
			return err == CSV_NOENT ? CSV_DAMAGED : err;
		if (rec.len == 0 || rec.len > size - got)
			return CSV_DAMAGED;
		memcpy(target + got, rec.value, rec.len);
		got += rec.len;
	}
	target[size] = 0;
	return strlen(target) == size ? CSV_OK : CSV_DAMAGED;
}

static enum csv_err readlink_of(struct csv_fs *fs, struct csv_buf *inode, char **target)
{
	struct csv_disk_inode *di = csv_inode_of(inode);
	uint64_t size = csv_le64_get(di->size);
	enum csv_err err;
	char *p;

	if (!S_ISLNK(csv_le32_get(di->mode)))
		return CSV_INVAL;
	p = malloc(size + 1);
	if (!p)
		return CSV_NOMEM;
	err = read_target(fs, inode, p, size);
	if (err)
		free(p);
	else
		*target = p;
	return err;
}

enum csv_err csv_readlink(struct csv_ctx *ctx, struct csv_iref ref, char **target)
{
	struct csv_fs *fs = ctx->fs;
	struct csv_buf *buf;
	enum csv_err err;

	csv_fs_lock_shared(fs);
	err = csv_inode_get(fs, ref, &buf);
	if (!err) {
		err = readlink_of(fs, buf, target);
		csv_buf_put(fs, buf);
	}
	csv_fs_unlock(fs);
	return err;
}

/* ---- listing ------------------------------------------------------------------ */

static enum csv_err list(struct csv_fs *fs, struct csv_buf *dir, uint64_t cookie, csv_dir_fn fn, void *arg)
{
	struct csv_tree t = { .fs = fs, .inode = dir };
	struct csv_tree_rec rec;
	struct csv_dirent e;
	enum csv_err err;

	if (cookie < 1 && !fn(arg, ".", csv_inode_ref(dir), DT_DIR, 1))
		return CSV_OK;
	if (cookie < 2 && !fn(arg, "..", parent_of(dir), DT_DIR, 2))
		return CSV_OK;
	if (cookie < 2)
		cookie = 2;
	while (cookie < INT64_MAX) {
		err = csv_tree_ceil(&t, cookie + 1, &rec);
		if (!err)
			err = csv_dirent_decode(fs, &rec, &e);
		if (err)
			return err == CSV_NOENT ? CSV_OK : err;
		if (!fn(arg, e.name, e.ref, e.type, e.key))
			return CSV_OK;
		cookie = e.key;
	}
	return CSV_OK;
}

enum csv_err csv_readdir(struct csv_ctx *ctx, struct csv_iref dir, uint64_t cookie, csv_dir_fn fn, void *arg)
{
	struct csv_fs *fs = ctx->fs;
	struct csv_buf *buf;
	enum csv_err err;

	csv_fs_lock_shared(fs);
	err = csv_dir_get(fs, dir, &buf);
	if (!err) {
		err = list(fs, buf, cookie, fn, arg);
		csv_buf_put(fs, buf);
	}
	csv_fs_unlock(fs);
	/* A directory that was removed while open lists nothing. */
	return err == CSV_NOENT ? CSV_OK : err;
}
