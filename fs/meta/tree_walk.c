/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whole-tree walks.  A child's keys must lie between its slot's key and the next
 * one's; with that, and no empty nodes, a block that hangs in two places is
 * found at its second visit, and a walk is never longer than the tree has blocks.
 */
#include <string.h>

#include "fs/disk/geometry.h"
#include "fs/meta/tree_int.h"

/* Keys of a subtree lie in [lo, hi]. */
struct range {
	uint64_t lo, hi;
};

static bool in_range(struct tarea a, struct range r, bool leaf)
{
	unsigned n = tarea_count(a);

	if (n == 0)
		return true; /* empty root */
	/* The first slot of an inner node counts as the lower end whatever its key is. */
	return tarea_key(a, n - 1) <= r.hi && (!leaf || tarea_key(a, 0) >= r.lo) &&
	       (leaf || n == 1 || tarea_key(a, 1) > r.lo);
}

static struct range child_range(struct tarea a, unsigned i, struct range r)
{
	if (i > 0)
		r.lo = tarea_key(a, i);
	if (i + 1 < tarea_count(a))
		r.hi = tarea_key(a, i + 1) - 1;
	return r;
}

static enum csv_err walk_leaf(struct tarea a, const struct csv_tree_walk *w)
{
	struct csv_tree_rec rec;
	enum csv_err err = CSV_OK;

	for (unsigned i = 0; !err && w->rec && i < tarea_count(a); i++) {
		rec.key = tarea_key(a, i);
		rec.len = tarea_len(a, i);
		memcpy(rec.value, tarea_value(a, i), rec.len);
		err = w->rec(w->arg, &rec);
	}
	return err;
}

static enum csv_err walk_area(const struct csv_tree *t, const struct csv_tree_walk *w, struct tarea a, struct range r)
{
	enum csv_err err = CSV_OK;

	if (!in_range(a, r, tarea_level(a) == 0))
		return CSV_DAMAGED;
	if (tarea_level(a) == 0)
		return walk_leaf(a, w);
	for (unsigned i = 0; !err && i < tarea_count(a); i++) {
		struct csv_buf *child;

		err = tree_child(t, a, i, &child);
		if (err)
			break;
		if (w->node)
			err = w->node(w->arg, child->block, tarea_level(a) - 1);
		if (!err)
			err = walk_area(t, w, tree_node_area(child), child_range(a, i, r));
		csv_buf_put(t->fs, child);
	}
	return err;
}

enum csv_err csv_tree_walk(const struct csv_tree *t, const struct csv_tree_walk *w)
{
	return walk_area(t, w, tree_root(t), (struct range){ 0, UINT64_MAX });
}

static enum csv_err groups_below(const struct csv_tree *t, struct tarea parent, unsigned i, struct range want,
				 struct range r, struct csv_agset *set);

/* Leaves are named by their parents: only inner nodes are read. */
static enum csv_err groups_of(const struct csv_tree *t, struct tarea a, struct range want, struct range r,
			      struct csv_agset *set)
{
	enum csv_err err = CSV_OK;

	for (unsigned i = tree_slot_for(a, want.lo); !err && i < tarea_count(a); i++) {
		struct range cr = child_range(a, i, r);
		uint64_t block = tarea_child(a, i);

		if (cr.lo > want.hi || set->n == CSV_AGSET_MAX)
			break;
		if (!csv_geo_fits(&t->fs->sb, block, CSV_MAGIC_TREE))
			return CSV_DAMAGED;
		csv_agset_add(set, csv_fs_ag_of(t->fs, block));
		if (tarea_level(a) > 1)
			err = groups_below(t, a, i, want, cr, set);
	}
	return err;
}

static enum csv_err groups_below(const struct csv_tree *t, struct tarea parent, unsigned i, struct range want,
				 struct range r, struct csv_agset *set)
{
	struct csv_buf *child;
	enum csv_err err = tree_child(t, parent, i, &child);

	if (err)
		return err;
	if (in_range(tree_node_area(child), r, false))
		err = groups_of(t, tree_node_area(child), want, r, set);
	else
		err = CSV_DAMAGED;
	csv_buf_put(t->fs, child);
	return err;
}

enum csv_err csv_tree_groups(const struct csv_tree *t, uint64_t from, uint64_t to, struct csv_agset *set)
{
	struct tarea root = tree_root(t);

	if (tarea_level(root) == 0)
		return CSV_OK;
	return groups_of(t, root, (struct range){ from, to }, (struct range){ 0, UINT64_MAX }, set);
}
