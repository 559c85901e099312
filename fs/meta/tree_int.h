/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside the B+tree: areas (one root or node in memory) and paths. Used by tree_*.c alone. */
#ifndef CSV_META_TREE_INT_H
#define CSV_META_TREE_INT_H

#include "fs/meta/inode.h"
#include "fs/meta/tree.h"

#define TREE_HEAD ((unsigned)sizeof(struct csv_disk_tree_head))
#define TREE_SLOT ((unsigned)sizeof(struct csv_disk_tree_slot))
#define TREE_INNER_REC (TREE_SLOT + 8u) /* slot and child number */

/* A root or a node's area. The bytes are the buffer's. */
struct tarea {
	uint8_t *p;
	unsigned size;
};

static inline struct csv_disk_tree_head *tarea_head(struct tarea a)
{
	return (struct csv_disk_tree_head *)(void *)a.p;
}
static inline struct csv_disk_tree_slot *tarea_slot(struct tarea a, unsigned i)
{
	return (struct csv_disk_tree_slot *)(void *)(a.p + TREE_HEAD) + i;
}
static inline unsigned tarea_count(struct tarea a)
{
	return csv_le16_get(tarea_head(a)->count);
}
static inline unsigned tarea_level(struct tarea a)
{
	return csv_le16_get(tarea_head(a)->level);
}
static inline uint64_t tarea_key(struct tarea a, unsigned i)
{
	return csv_le64_get(tarea_slot(a, i)->key);
}
static inline unsigned tarea_len(struct tarea a, unsigned i)
{
	return csv_le16_get(tarea_slot(a, i)->len);
}
static inline uint8_t *tarea_value(struct tarea a, unsigned i)
{
	return a.p + csv_le16_get(tarea_slot(a, i)->off);
}

/* Bytes in use: head, slots and live values. size minus this is the room for slots with their values. */
unsigned tarea_used(struct tarea a);
static inline unsigned tarea_room(struct tarea a)
{
	return a.size - tarea_used(a);
}
void tarea_reset(struct tarea a, unsigned level);
/* Index of the last slot with a key <= `key`; -1 if there is none. */
int tarea_search(struct tarea a, uint64_t key);
/* True: slot *i has the key. False: *i is where it belongs. */
static inline bool tarea_find(struct tarea a, uint64_t key, unsigned *i)
{
	int at = tarea_search(a, key);
	bool there = at >= 0 && tarea_key(a, (unsigned)at) == key;

	*i = (unsigned)(there ? at : at + 1);
	return there;
}
/* Makes slot i; the room must be there. */
void tarea_insert(struct tarea a, unsigned i, uint64_t key, const void *value, unsigned len);
void tarea_delete(struct tarea a, unsigned i);
/* Appends the slots [from, count) of src to dst and takes them out of src. */
void tarea_move_tail(struct tarea dst, struct tarea src, unsigned from);
/* Child of slot i of an inner area. */
uint64_t tarea_child(struct tarea a, unsigned i);
void tarea_insert_child(struct tarea a, unsigned i, uint64_t key, uint64_t block);

/* The way from the root to a leaf. step[0] is the root (buf NULL); each other step owns a reference on buf. */
struct tstep {
	struct csv_buf *buf;
	struct tarea a;
	unsigned idx; /* inner: slot that was followed; leaf: the caller's */
};
struct tpath {
	unsigned depth; /* steps in use, at least 1 */
	struct tstep step[CSV_TREE_LEVELS_MAX];
};

struct tarea tree_root(const struct csv_tree *t);
struct tarea tree_node_area(struct csv_buf *buf);
/* Inode number of the tree: owner and lock of its nodes. */
uint64_t tree_owner(const struct csv_tree *t);
/* Gets the child of slot i, which must be of the level below and not empty. */
enum csv_err tree_child(const struct csv_tree *t, struct tarea parent, unsigned i, struct csv_buf **buf);
/* Slot of an inner area that leads to `key`. */
unsigned tree_slot_for(struct tarea a, uint64_t key);
/* Goes down to the leaf for `key`. On success to be released with tree_path_put(). */
enum csv_err tree_descend(const struct csv_tree *t, uint64_t key, struct tpath *path);
/* Moves the path to the leaf after / before its own; NOENT: there is none. The path stays valid for tree_path_put(). */
enum csv_err tree_next_leaf(const struct csv_tree *t, struct tpath *path);
enum csv_err tree_prev_leaf(const struct csv_tree *t, struct tpath *path);
void tree_path_put(const struct csv_tree *t, struct tpath *path);
static inline struct tstep *tree_leaf(struct tpath *path)
{
	return &path->step[path->depth - 1];
}

/* Adds n to the inode's count of blocks; the inode is dirty. */
void tree_account(const struct csv_tree *t, int n);
/* New node, dirty, empty, of `level`. */
enum csv_err tree_node_new(struct csv_txn *txn, const struct csv_agset *ags, const struct csv_tree *t, uint64_t goal,
			   unsigned level, struct csv_buf **buf);
/* Frees a node; the reference is consumed in any case. */
enum csv_err tree_node_free(struct csv_txn *txn, const struct csv_tree *t, struct csv_buf *buf);
/* Whether the group of a node is among those held; ags NULL: all are. */
bool tree_group_held(const struct csv_tree *t, const struct csv_agset *ags, uint64_t block);

#endif
