/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Insertion, from the root down.  Each node on the way is made roomy enough before it
 * is entered: a full one is split while its parent, just passed, has room for one more
 * child.  So nothing has to be carried back up.
 */
#include <string.h>

#include "fs/meta/tree_int.h"

/* What is being inserted. */
struct ins {
	struct csv_txn *txn;
	const struct csv_agset *ags;
	const struct csv_tree *t;
	uint64_t key;
	unsigned len;
};

/* What an area must have free for the record to pass: itself in a leaf, else one more child. */
static bool roomy(const struct ins *in, struct tarea a)
{
	return tarea_room(a) >= (tarea_level(a) ? TREE_INNER_REC : TREE_SLOT + in->len);
}

/* The root's records go into a new node, which becomes its only child. */
static enum csv_err push_down(const struct ins *in)
{
	struct tarea root = tree_root(in->t);
	unsigned level = tarea_level(root);
	struct csv_buf *buf;
	enum csv_err err;

	if (level + 1 >= CSV_TREE_LEVELS_MAX)
		return CSV_FBIG;
	err = tree_node_new(in->txn, in->ags, in->t, tree_owner(in->t), level, &buf);
	if (err)
		return err;
	tarea_move_tail(tree_node_area(buf), root, 0);
	tarea_reset(root, level + 1);
	tarea_insert_child(root, 0, 0, buf->block);
	csv_buf_put(in->t->fs, buf);
	return CSV_OK;
}

/*
 * First slot that moves to the right node.  A record that goes behind all others
 * splits at the end, so that ascending keys fill their nodes; else both get half the bytes.
 */
static unsigned split_at(const struct ins *in, struct tarea a)
{
	unsigned n = tarea_count(a), half = tarea_used(a) / 2, sum = TREE_HEAD, i;

	if (tarea_key(a, n - 1) < in->key)
		return tarea_level(a) ? n - 1 : n;
	for (i = 0; i < n - 1 && sum < half; i++)
		sum += TREE_SLOT + tarea_len(a, i);
	return i ? i : 1;
}

/* Splits the child at slot i of parent; *child becomes the half that the key belongs to. */
static enum csv_err split(const struct ins *in, struct tarea parent, unsigned i, struct csv_buf **child)
{
	struct tarea left = tree_node_area(*child), right;
	unsigned from = split_at(in, left);
	uint64_t sep = from < tarea_count(left) ? tarea_key(left, from) : in->key;
	struct csv_buf *buf, *other = *child;
	enum csv_err err;

	CSV_ASSERT(tarea_count(left) >= 2);
	err = csv_txn_dirty(in->txn, *child);
	if (!err)
		err = tree_node_new(in->txn, in->ags, in->t, (*child)->block, tarea_level(left), &buf);
	if (err)
		return err;
	right = tree_node_area(buf);
	tarea_move_tail(right, left, from);
	tarea_insert_child(parent, i + 1, sep, buf->block);
	if (in->key >= sep)
		*child = buf;
	else
		other = buf;
	csv_buf_put(in->t->fs, other);
	return CSV_OK;
}

/* Finds the leaf and makes room in it. *leaf: its buffer, NULL if the root is the leaf. */
static enum csv_err roomy_leaf(const struct ins *in, struct csv_buf **leaf)
{
	struct csv_fs *fs = in->t->fs;
	struct tarea a = tree_root(in->t);
	struct csv_buf *buf = NULL;
	enum csv_err err = roomy(in, a) ? CSV_OK : push_down(in);

	while (!err && tarea_level(a) > 0) {
		unsigned i = tree_slot_for(a, in->key);
		struct csv_buf *child;

		err = tree_child(in->t, a, i, &child);
		if (err)
			break;
		if (!roomy(in, tree_node_area(child))) {
			if (buf)
				err = csv_txn_dirty(in->txn, buf);
			if (!err)
				err = split(in, a, i, &child);
		}
		if (buf)
			csv_buf_put(fs, buf);
		buf = child;
		a = tree_node_area(buf);
	}
	if (err && buf)
		csv_buf_put(fs, buf);
	else
		*leaf = buf;
	return err;
}

/* The key is not in the tree, the inode is dirty. */
static enum csv_err insert_new(const struct ins *in, const void *value)
{
	struct csv_buf *leaf;
	struct tarea a;
	enum csv_err err = roomy_leaf(in, &leaf);

	if (err)
		return err;
	a = leaf ? tree_node_area(leaf) : tree_root(in->t);
	if (leaf)
		err = csv_txn_dirty(in->txn, leaf);
	if (!err)
		tarea_insert(a, (unsigned)(tarea_search(a, in->key) + 1), in->key, value, in->len);
	if (leaf)
		csv_buf_put(in->t->fs, leaf);
	return err;
}

/*
 * If the key is there, gives the record the new value when its leaf has room for it (*done), else takes it out of
 * the leaf, which is not left empty: an empty leaf has room for any value.
 */
static enum csv_err replace(const struct ins *in, const void *value, bool *done)
{
	struct tpath path;
	struct tstep *leaf;
	enum csv_err err = tree_descend(in->t, in->key, &path);
	unsigned i;

	*done = false;
	if (err)
		return err;
	leaf = tree_leaf(&path);
	if (!tarea_find(leaf->a, in->key, &i))
		goto out;
	if (leaf->buf)
		err = csv_txn_dirty(in->txn, leaf->buf);
	if (err)
		goto out;
	*done = true;
	if (tarea_len(leaf->a, i) == in->len) {
		memcpy(tarea_value(leaf->a, i), value, in->len);
		goto out;
	}
	tarea_delete(leaf->a, i);
	if (tarea_room(leaf->a) >= TREE_SLOT + in->len)
		tarea_insert(leaf->a, i, in->key, value, in->len);
	else
		*done = false;
out:
	tree_path_put(in->t, &path);
	return err;
}

enum csv_err csv_tree_insert(struct csv_txn *txn, const struct csv_agset *ags, const struct csv_tree *t, uint64_t key,
			     const void *value, unsigned len)
{
	struct ins in = { txn, ags, t, key, len };
	struct tpath path;
	enum csv_err err;
	unsigned i;

	CSV_ASSERT(len <= CSV_TREE_VALUE_MAX);
	err = tree_descend(t, key, &path);
	if (err)
		return err;
	if (tarea_find(tree_leaf(&path)->a, key, &i))
		err = CSV_EXIST;
	tree_path_put(t, &path);
	if (!err)
		err = csv_txn_dirty(txn, t->inode);
	return err ? err : insert_new(&in, value);
}

enum csv_err csv_tree_set(struct csv_txn *txn, const struct csv_agset *ags, const struct csv_tree *t, uint64_t key,
			  const void *value, unsigned len)
{
	struct ins in = { txn, ags, t, key, len };
	bool done;
	enum csv_err err;

	CSV_ASSERT(len <= CSV_TREE_VALUE_MAX);
	err = csv_txn_dirty(txn, t->inode);
	if (!err)
		err = replace(&in, value, &done);
	if (err || done)
		return err;
	return insert_new(&in, value);
}
