/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Removal.  First it is found out which nodes would run empty and whether they may be
 * freed; only then anything changes, so that CSV_WAIT leaves the tree as it was.
 * Joining neighbours and shrinking into the root is done where the groups allow.
 */
#include "fs/meta/tree_int.h"

struct rem {
	struct csv_txn *txn;
	const struct csv_agset *ags;
	const struct csv_tree *t;
};

/* A node this small looks for a neighbour to join; together they must leave a quarter free. */
static bool small(struct tarea a)
{
	return tarea_used(a) < a.size / 4;
}
static bool joinable(struct tarea a, struct tarea b)
{
	return tarea_used(a) + tarea_used(b) <= a.size / 4 * 3;
}

/*
 * The node of step d loses one record: the highest step that stays. Those below have a single record and are freed.
 */
static unsigned survivor(const struct tpath *path)
{
	unsigned d = path->depth - 1;

	while (d > 0 && tarea_count(path->step[d].a) == 1)
		d--;
	return d;
}

/* Whether the steps below d may be freed. If not, *need gets the groups of all of them. */
static enum csv_err may_free(const struct rem *r, const struct tpath *path, unsigned d, struct csv_agset *need)
{
	enum csv_err err = CSV_OK;

	for (unsigned i = d + 1; i < path->depth; i++)
		if (!tree_group_held(r->t, r->ags, path->step[i].buf->block))
			err = CSV_WAIT;
	for (unsigned i = d + 1; err && need && i < path->depth; i++)
		csv_agset_add(need, csv_fs_ag_of(r->t->fs, path->step[i].buf->block));
	return err;
}

/* Frees the path's steps below d. */
static enum csv_err free_below(const struct rem *r, struct tpath *path, unsigned d)
{
	enum csv_err err = CSV_OK;

	while (!err && path->depth > d + 1) {
		path->depth--;
		err = tree_node_free(r->txn, r->t, path->step[path->depth].buf);
	}
	return err;
}

/*
 * Joins the children at slots i and i+1 of parent. The one whose group is held goes; the right one by
 * preference. *joined tells whether. Both buffers stay the caller's, but for the freed one, which is set to NULL.
 */
static enum csv_err join(const struct rem *r, struct tarea parent, unsigned i, struct csv_buf **left,
			 struct csv_buf **right)
{
	bool drop_right = tree_group_held(r->t, r->ags, (*right)->block);
	struct csv_buf **keep = drop_right ? left : right, **drop = drop_right ? right : left, *gone = *drop;
	struct tarea k = tree_node_area(*keep), d = tree_node_area(*drop);
	enum csv_err err = csv_txn_dirty(r->txn, *keep);

	if (!err)
		err = csv_txn_dirty(r->txn, *drop);
	if (err)
		return err;
	/* What was first in its node, its key of no account, comes to stand behind others. */
	if (tarea_level(k) > 0)
		tarea_slot(tree_node_area(*right), 0)->key = tarea_slot(parent, i + 1)->key;
	if (drop_right) {
		tarea_move_tail(k, d, 0);
	} else {
		/* The keys of the left node come first: it takes the right one's, then all go over. */
		tarea_move_tail(d, k, 0);
		tarea_move_tail(k, d, 0);
		tarea_slot(parent, i + 1)->key = tarea_slot(parent, i)->key;
	}
	tarea_delete(parent, drop_right ? i + 1 : i);
	*drop = NULL;
	return tree_node_free(r->txn, r->t, gone);
}

/* Tries to join the node of step d with the neighbour at slot n of its parent. */
static enum csv_err try_join(const struct rem *r, struct tpath *path, unsigned d, unsigned n, bool *joined)
{
	struct tstep *p = &path->step[d - 1], *s = &path->step[d];
	struct csv_buf *other, **left, **right;
	enum csv_err err;

	*joined = false;
	err = tree_child(r->t, p->a, n, &other);
	if (err)
		return err;
	if (joinable(s->a, tree_node_area(other)) &&
	    (tree_group_held(r->t, r->ags, other->block) || tree_group_held(r->t, r->ags, s->buf->block))) {
		left = n < p->idx ? &other : &s->buf;
		right = n < p->idx ? &s->buf : &other;
		if (p->buf)
			err = csv_txn_dirty(r->txn, p->buf);
		if (!err)
			err = join(r, p->a, n < p->idx ? n : p->idx, left, right);
		*joined = true;
	}
	if (other)
		csv_buf_put(r->t->fs, other);
	return err;
}

/* Joins small nodes from step d up to the root. */
static enum csv_err rebalance(const struct rem *r, struct tpath *path, unsigned d)
{
	enum csv_err err = CSV_OK;

	for (; !err && d > 0 && small(path->step[d].a); d--) {
		struct tstep *p = &path->step[d - 1];
		bool joined = false;

		if (p->idx > 0)
			err = try_join(r, path, d, p->idx - 1, &joined);
		if (!err && !joined && p->idx + 1 < tarea_count(p->a))
			err = try_join(r, path, d, p->idx + 1, &joined);
		if (!joined)
			break;
	}
	return err;
}

/* A root with one child takes over the child's records when they fit well. The path has been put. */
static enum csv_err shrink(const struct rem *r)
{
	struct tarea root = tree_root(r->t), a;
	struct csv_buf *child;
	enum csv_err err;

	while (tarea_level(root) > 0 && tarea_count(root) == 1) {
		if (!tree_group_held(r->t, r->ags, tarea_child(root, 0)))
			return CSV_OK;
		err = tree_child(r->t, root, 0, &child);
		if (err)
			return err;
		a = tree_node_area(child);
		if (tarea_used(a) > root.size / 4 * 3) {
			csv_buf_put(r->t->fs, child);
			return CSV_OK;
		}
		err = csv_txn_dirty(r->txn, child);
		if (err) {
			csv_buf_put(r->t->fs, child);
			return err;
		}
		tarea_reset(root, tarea_level(a));
		tarea_move_tail(root, a, 0);
		err = tree_node_free(r->txn, r->t, child);
		if (err)
			return err;
	}
	return CSV_OK;
}

/* Takes the record at the path's end out, with all nodes that would be empty. */
static enum csv_err cut(const struct rem *r, struct tpath *path, unsigned d)
{
	struct tstep *s = &path->step[d];
	enum csv_err err = csv_txn_dirty(r->txn, r->t->inode);

	if (!err && s->buf)
		err = csv_txn_dirty(r->txn, s->buf);
	if (!err)
		err = free_below(r, path, d);
	if (err)
		return err;
	tarea_delete(s->a, s->idx);
	if (d == 0 && tarea_count(s->a) == 0)
		tarea_reset(s->a, 0);
	return CSV_OK;
}

enum csv_err csv_tree_remove(struct csv_txn *txn, const struct csv_agset *ags, struct csv_agset *need,
			     const struct csv_tree *t, uint64_t key)
{
	struct rem r = { txn, ags, t };
	struct tpath path;
	struct tstep *leaf;
	unsigned d;
	enum csv_err err = tree_descend(t, key, &path);

	if (err)
		return err;
	leaf = tree_leaf(&path);
	err = tarea_find(leaf->a, key, &leaf->idx) ? CSV_OK : CSV_NOENT;
	d = survivor(&path);
	if (!err)
		err = may_free(&r, &path, d, need);
	if (!err)
		err = cut(&r, &path, d);
	if (!err)
		err = rebalance(&r, &path, d);
	tree_path_put(t, &path);
	return err ? err : shrink(&r);
}

/* Frees the last leaf. *more is false when the root was it. */
static enum csv_err prune_leaf(const struct rem *r, struct csv_agset *need, unsigned *freed, bool *more)
{
	struct tpath path;
	unsigned d, n;
	enum csv_err err = tree_descend(r->t, UINT64_MAX, &path);

	if (err)
		return err;
	*more = path.depth > 1;
	if (!*more) {
		err = csv_txn_dirty(r->txn, r->t->inode);
		if (!err)
			tarea_reset(tree_root(r->t), 0);
		goto out;
	}
	for (d = path.depth - 2; d > 0 && tarea_count(path.step[d].a) == 1; d--)
		;
	n = path.depth - 1 - d;
	err = may_free(r, &path, d, need);
	if (!err)
		err = cut(r, &path, d);
	if (!err)
		*freed += n;
out:
	tree_path_put(r->t, &path);
	return err;
}

enum csv_err csv_tree_prune(struct csv_txn *txn, const struct csv_agset *ags, struct csv_agset *need,
			    const struct csv_tree *t, unsigned max, unsigned *freed, bool *more)
{
	struct rem r = { txn, ags, t };
	enum csv_err err = CSV_OK;

	*freed = 0;
	*more = true;
	while (!err && *more && *freed < max)
		err = prune_leaf(&r, need, freed, more);
	return err;
}
