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
	_Alignas(8) uint8_t value[CSV_TREE_VALUE_MAX];
};

/* Looks: *rec gets the record with exactly / at or before / at or after `key`. NOENT if none. */
enum csv_err csv_tree_get(const struct csv_tree *t, uint64_t key, struct csv_tree_rec *rec);
enum csv_err csv_tree_floor(const struct csv_tree *t, uint64_t key, struct csv_tree_rec *rec);
enum csv_err csv_tree_ceil(const struct csv_tree *t, uint64_t key, struct csv_tree_rec *rec);

/*
 * Changes, within a transaction; the inode becomes dirty, its count of blocks follows.  After any error but EXIST, NOENT
 * and WAIT the operation must be aborted.  insert: EXIST if there. set: replaces or inserts.  NOSPC: `ags` are full.
 */
enum csv_err csv_tree_insert(struct csv_txn *txn, const struct csv_agset *ags, const struct csv_tree *t, uint64_t key,
			     const void *value, unsigned len);
enum csv_err csv_tree_set(struct csv_txn *txn, const struct csv_agset *ags, const struct csv_tree *t, uint64_t key,
			  const void *value, unsigned len);
/*
 * NOENT if not there.  A node that runs empty is freed, a nearly empty one joined with its neighbour, and the tree
 * shrinks back into the root.  Only nodes whose groups are in `ags` (NULL: all) are freed: joining and shrinking is
 * left undone without them, but a node that would run empty gives CSV_WAIT, nothing changed, the groups added to *need.
 */
enum csv_err csv_tree_remove(struct csv_txn *txn, const struct csv_agset *ags, struct csv_agset *need,
			     const struct csv_tree *t, uint64_t key);
/*
 * Throws the tree away from its end, whatever the records say, at most `max` nodes: *more if some are left.  WAIT as in
 * csv_tree_remove, but maybe after some nodes were freed: *freed tells, and these changes are whole.
 */
enum csv_err csv_tree_prune(struct csv_txn *txn, const struct csv_agset *ags, struct csv_agset *need,
			    const struct csv_tree *t, unsigned max, unsigned *freed, bool *more);
/*
 * Adds the groups of the tree's own nodes that lead to keys from..to.  A full set is no error: what does not
 * fit is asked for when it is needed (CSV_WAIT).
 */
enum csv_err csv_tree_groups(const struct csv_tree *t, uint64_t from, uint64_t to, struct csv_agset *set);

/*
 * Calls for each node block (root not counted) and each record, in the order of keys; either may be NULL.  Checks on
 * its way that keys lie where the level above says.  An error of a callback ends the walk and is returned.
 */
struct csv_tree_walk {
	enum csv_err (*node)(void *arg, uint64_t block, unsigned level);
	enum csv_err (*rec)(void *arg, const struct csv_tree_rec *rec);
	void *arg;
};
enum csv_err csv_tree_walk(const struct csv_tree *t, const struct csv_tree_walk *w);
/* Makes an empty root: a leaf without records. size: CSV_INODE_TREE_SIZE or CSV_INODE_XTREE_SIZE. */
void csv_tree_area_init(void *area, unsigned size);
/* Checks a root or node area: order of keys, bounds and overlap of values. */
enum csv_err csv_tree_area_verify(const void *area, unsigned size, struct csv_why *why);

#endif
