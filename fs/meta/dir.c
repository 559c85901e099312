/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Directory contents: a tree of names by hash. The hash is in dirhash.c. */
#include <dirent.h>
#include <string.h>

#include "fs/disk/geometry.h"
#include "fs/meta/dir.h"
#include "fs/meta/op.h"

static struct csv_tree tree_of(struct csv_fs *fs, struct csv_buf *dir)
{
	return (struct csv_tree){ .fs = fs, .inode = dir, .xattr = false };
}

bool csv_name_is_dots(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

enum csv_err csv_name_check(const char *name)
{
	size_t len = strlen(name);

	if (len > CSV_NAME_MAX)
		return CSV_NAMETOOLONG;
	return len == 0 || strchr(name, '/') ? CSV_INVAL : CSV_OK;
}

enum csv_err csv_dir_get(struct csv_fs *fs, struct csv_iref ref, struct csv_buf **dir)
{
	enum csv_err err = csv_inode_get(fs, ref, dir);
	struct csv_disk_inode *di;

	if (err)
		return err;
	di = csv_inode_of(*dir);
	if (!S_ISDIR(csv_le32_get(di->mode)))
		err = CSV_NOTDIR;
	else if (csv_le32_get(di->nlink) == 0)
		err = CSV_NOENT;
	if (err) {
		csv_buf_put(fs, *dir);
		*dir = NULL;
	}
	return err;
}

/* ---- records ------------------------------------------------------------------ */

enum csv_err csv_dirent_decode(const struct csv_fs *fs, const struct csv_tree_rec *rec, struct csv_dirent *e)
{
	const struct csv_disk_dirent *d = (const void *)rec->value;

	if (rec->key < CSV_DIR_KEY_MIN || rec->key >> 63 || rec->len <= offsetof(struct csv_disk_dirent, name) ||
	    rec->len != offsetof(struct csv_disk_dirent, name) + d->namelen || d->namelen == 0)
		return CSV_DAMAGED;
	e->key = rec->key;
	e->ref = (struct csv_iref){ csv_le64_get(d->inode), csv_le32_get(d->gen) };
	e->type = d->type;
	memcpy(e->name, d->name, d->namelen);
	e->name[d->namelen] = 0;
	if (strlen(e->name) != d->namelen || strchr(e->name, '/') || csv_name_is_dots(e->name))
		return CSV_DAMAGED;
	return csv_geo_fits(&fs->sb, e->ref.ino, CSV_MAGIC_INODE) && e->ref.gen ? CSV_OK : CSV_DAMAGED;
}

union record {
	struct csv_disk_dirent d;
	uint8_t bytes[sizeof(struct csv_disk_dirent) + CSV_NAME_MAX];
};

/* Length of the record. */
static unsigned encode(const struct csv_dirent *e, union record *r)
{
	size_t len = strlen(e->name);

	r->d.inode = csv_le64_of(e->ref.ino);
	r->d.gen = csv_le32_of(e->ref.gen);
	r->d.type = e->type;
	r->d.namelen = (uint8_t)len;
	memcpy(r->d.name, e->name, len);
	return (unsigned)(offsetof(struct csv_disk_dirent, name) + len);
}

/* ---- look ----------------------------------------------------------------------- */

/*
 * Goes through the names of one hash; the first gap in their numbers is where a
 * new one belongs.
 */
enum csv_err csv_dir_find(struct csv_fs *fs, struct csv_buf *dir, const char *name, struct csv_dirent *e)
{
	struct csv_tree t = tree_of(fs, dir);
	uint64_t hash = csv_dir_hash(fs->sb.hash_seed, name, strlen(name));
	uint64_t end = hash + CSV_DIR_COLLISIONS, pos = hash < CSV_DIR_KEY_MIN ? CSV_DIR_KEY_MIN : hash, gap = 0;
	struct csv_tree_rec rec;
	enum csv_err err;

	while (pos < end) {
		err = csv_tree_ceil(&t, pos, &rec);
		if (err == CSV_NOENT || (!err && rec.key >= end))
			break;
		if (!err)
			err = csv_dirent_decode(fs, &rec, e);
		if (err)
			return err;
		if (!strcmp(e->name, name))
			return CSV_OK;
		if (!gap && rec.key > pos)
			gap = pos;
		pos = rec.key + 1;
	}
	e->key = gap ? gap : pos;
	return e->key < end ? CSV_NOENT : CSV_NOSPC; /* 65536 names of one hash: no chance without intent */
}

/* ---- change --------------------------------------------------------------------- */

/* The directory is dirty after any change of its tree. */
static void changed(struct csv_fs *fs, struct csv_buf *dir, int entries)
{
	struct csv_disk_inode *di = csv_inode_of(dir);

	di->size = csv_le64_of(csv_le64_get(di->size) + (uint64_t)(int64_t)entries);
	csv_inode_touch(fs, dir, CSV_TOUCH_M | CSV_TOUCH_C);
}

enum csv_err csv_dir_insert(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *dir, const struct csv_dirent *e)
{
	struct csv_tree t = tree_of(ctx->fs, dir);
	union record r;
	unsigned len = encode(e, &r);
	enum csv_err err = csv_tree_insert(txn, &ctx->ags, &t, e->key, &r, len);

	if (!err)
		changed(ctx->fs, dir, 1);
	return err;
}

enum csv_err csv_dir_retarget(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *dir, const struct csv_dirent *e)
{
	struct csv_tree t = tree_of(ctx->fs, dir);
	union record r;
	unsigned len = encode(e, &r);
	enum csv_err err = csv_tree_set(txn, &ctx->ags, &t, e->key, &r, len);

	if (!err)
		changed(ctx->fs, dir, 0);
	return err;
}

enum csv_err csv_dir_remove(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *dir, uint64_t key)
{
	struct csv_tree t = tree_of(ctx->fs, dir);
	enum csv_err err = csv_tree_remove(txn, &ctx->ags, &ctx->need, &t, key);

	if (!err)
		changed(ctx->fs, dir, -1);
	return err;
}
