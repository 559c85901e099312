/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Directory contents: names in a tree, by hash. Beneath the operations of namei.h; used by namei_*.c and checks. */
#ifndef CSV_META_DIR_H
#define CSV_META_DIR_H

#include "fs/meta/inode.h"

/* Keys below this are cookies of "." and ".." or the start of a listing, never a name's. */
#define CSV_DIR_KEY_MIN 3u
#define CSV_DIR_COLLISIONS 0x10000u

/* SipHash-2-4 of the bytes (Aumasson, Bernstein: SipHash, 2012). */
uint64_t csv_siphash(uint64_t k0, uint64_t k1, const void *data, size_t len);
/* Hash of a name, bits 62..16 set only: the key without its collision number. */
uint64_t csv_dir_hash(uint64_t seed, const char *name, size_t len);

/* One entry, decoded and checked. */
struct csv_dirent {
	uint64_t key;
	struct csv_iref ref;
	uint8_t type; /* DT_* */
	char name[CSV_NAME_MAX + 1];
};
/* DAMAGED if the record is no good. */
enum csv_err csv_dirent_decode(const struct csv_fs *fs, const struct csv_tree_rec *rec, struct csv_dirent *e);

/* A name that may stand in a directory: NAMETOOLONG; INVAL: empty or with a slash. */
enum csv_err csv_name_check(const char *name);
/* "." or "..": never in a tree. */
bool csv_name_is_dots(const char *name);

/* csv_inode_get with NOTDIR; NOENT if the directory was removed. */
enum csv_err csv_dir_get(struct csv_fs *fs, struct csv_iref ref, struct csv_buf **dir);
/* NOENT if the name is not there; then e->key is the key that it would get. */
enum csv_err csv_dir_find(struct csv_fs *fs, struct csv_buf *dir, const char *name, struct csv_dirent *e);

/* Changes, in a transaction; size and times of the directory follow, links do not. */
/* The name is not there: e->key from csv_dir_find. */
enum csv_err csv_dir_insert(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *dir, const struct csv_dirent *e);
/* The name at e->key now leads to another inode. */
enum csv_err csv_dir_retarget(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *dir, const struct csv_dirent *e);
enum csv_err csv_dir_remove(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *dir, uint64_t key);

#endif
