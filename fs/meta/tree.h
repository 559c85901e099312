/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one B+tree: extents, directories, attributes. Shape on disk: include/csv/disk.h. */
#ifndef CSV_META_TREE_H
#define CSV_META_TREE_H

#include "fs/meta/alloc.h"

/* A tree is named by its inode and which root; valid while fs->meta is held. */
struct csv_tree {
	struct csv_fs *fs;
	struct csv_buf *inode;          /* the caller's */
	bool xattr;                     /* root in xtree instead of tree */
};

struct csv_tree_rec {
	uint64_t key;
	unsigned len;
	uint8_t value[CSV_TREE_VALUE_MAX];
};

/* Looks: *rec gets the record with exactly / at or before / at or after `key`. NOENT if none. */
enum csv_err csv_tree_get(const struct csv_tree *t, uint64_t key, struct csv_tree_rec *rec);
enum csv_err csv_tree_floor(const struct csv_tree *t, uint64_t key, struct csv_tree_rec *rec);
enum csv_err csv_tree_ceil(const struct csv_tree *t, uint64_t key, struct csv_tree_rec *rec);

/* Changes, within a transaction. insert: EXIST if there. set: replaces or inserts. remove: NOENT. */
enum csv_err csv_tree_insert(struct csv_txn *txn, const struct csv_agset *ags, const struct csv_tree *t, uint64_t key,
			     const void *value, unsigned len);
enum csv_err csv_tree_set(struct csv_txn *txn, const struct csv_agset *ags, const struct csv_tree *t, uint64_t key,
			  const void *value, unsigned len);
/* Nodes that run empty are freed (their groups are held: csv_tree_groups); the tree shrinks back into the root. */
enum csv_err csv_tree_remove(struct csv_txn *txn, const struct csv_tree *t, uint64_t key);
/* Groups of the tree's own nodes on the path to `key` (or all nodes: whole), for the caller to lock before a change. */
enum csv_err csv_tree_groups(const struct csv_tree *t, uint64_t key, bool whole, struct csv_agset *set);

/* Number of node blocks (root not counted) and records, for check and tests. fn may be NULL. */
struct csv_tree_walk {
	enum csv_err (*node)(void *arg, uint64_t block, unsigned level);
	enum csv_err (*rec)(void *arg, const struct csv_tree_rec *rec);
	void *arg;
};
enum csv_err csv_tree_walk(const struct csv_tree *t, const struct csv_tree_walk *w);
/* Makes an empty tree in a root or node area: no slots, level 0. */
void csv_tree_area_init(void *area, unsigned size);
/* Checks a root or node area: order of keys, bounds and overlap of values. */
enum csv_err csv_tree_area_verify(const void *area, unsigned size, struct csv_why *why);

#endif
