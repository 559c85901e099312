/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ways through a B+tree.  Nothing on disk can make them loop: a child must be one
 * level below its parent, and no node but the root may be empty, so a leaf beside
 * an empty stretch is always one step away.
 */
#include <string.h>

#include "fs/disk/geometry.h"
#include "fs/meta/tree_int.h"

struct tarea tree_root(const struct csv_tree *t)
{
	struct csv_disk_inode *di = csv_inode_of(t->inode);

	if (t->xattr)
		return (struct tarea){ di->xtree, CSV_INODE_XTREE_SIZE };
	return (struct tarea){ di->tree, CSV_INODE_TREE_SIZE };
}

struct tarea tree_node_area(struct csv_buf *buf)
{
	return (struct tarea){ (uint8_t *)buf->data + sizeof(struct csv_block_hdr), CSV_TREE_NODE_AREA };
}

uint64_t tree_owner(const struct csv_tree *t)
{
	return t->inode->block;
}

enum csv_err tree_child(const struct csv_tree *t, struct tarea parent, unsigned i, struct csv_buf **buf)
{
	uint64_t ino = tree_owner(t), block = tarea_child(parent, i);
	struct tarea a;
	enum csv_err err;

	if (!csv_geo_fits(&t->fs->sb, block, CSV_MAGIC_TREE))
		return CSV_DAMAGED;
	err = csv_buf_get(t->fs, block, CSV_MAGIC_TREE, ino, csv_res(CSV_RES_INODE, ino), buf);
	if (err)
		return err;
	a = tree_node_area(*buf);
	if (tarea_level(a) + 1 == tarea_level(parent) && tarea_count(a) > 0)
		return CSV_OK;
	csv_buf_put(t->fs, *buf);
	return CSV_DAMAGED;
}

unsigned tree_slot_for(struct tarea a, uint64_t key)
{
	int i = tarea_search(a, key);

	return i < 0 ? 0 : (unsigned)i; /* the first slot counts as key 0 */
}

static bool push_step(const struct csv_tree *t, struct tpath *path, struct csv_buf *buf)
{
	if (path->depth == CSV_TREE_LEVELS_MAX) {
		csv_buf_put(t->fs, buf);
		return false;
	}
	path->step[path->depth++] = (struct tstep){ buf, tree_node_area(buf), 0 };
	return true;
}

static void pop_step(const struct csv_tree *t, struct tpath *path)
{
	struct tstep *s = &path->step[--path->depth];

	if (s->buf)
		csv_buf_put(t->fs, s->buf);
}

void tree_path_put(const struct csv_tree *t, struct tpath *path)
{
	while (path->depth)
		pop_step(t, path);
}

enum csv_err tree_descend(const struct csv_tree *t, uint64_t key, struct tpath *path)
{
	struct tstep *s = &path->step[0];
	enum csv_err err = CSV_OK;

	path->depth = 1;
	*s = (struct tstep){ NULL, tree_root(t), 0 };
	while (tarea_level(s->a) > 0) {
		struct csv_buf *child;

		s->idx = tree_slot_for(s->a, key);
		err = tree_child(t, s->a, s->idx, &child);
		if (!err && !push_step(t, path, child))
			err = CSV_DAMAGED;
		if (err)
			break;
		s = tree_leaf(path);
	}
	if (err)
		tree_path_put(t, path);
	return err;
}

/* From the inner step at the path's end down to the leaf at its slot's first (or last) end. */
static enum csv_err down_to_leaf(const struct csv_tree *t, struct tpath *path, bool last)
{
	struct tstep *s = tree_leaf(path);

	while (tarea_level(s->a) > 0) {
		struct csv_buf *child;
		enum csv_err err = tree_child(t, s->a, s->idx, &child);

		if (err)
			return err;
		if (!push_step(t, path, child))
			return CSV_DAMAGED;
		s = tree_leaf(path);
		s->idx = last ? tarea_count(s->a) - 1 : 0;
	}
	return CSV_OK;
}

/* Whether a step can go on to the next / previous slot. */
static bool can_step(const struct tstep *s, bool back)
{
	return back ? s->idx > 0 : s->idx + 1 < tarea_count(s->a);
}

static enum csv_err sibling_leaf(const struct csv_tree *t, struct tpath *path, bool back)
{
	unsigned d = path->depth - 1;

	while (d > 0 && !can_step(&path->step[d - 1], back))
		d--;
	if (d == 0)
		return CSV_NOENT;
	while (path->depth > d)
		pop_step(t, path);
	tree_leaf(path)->idx += back ? -1u : 1u;
	return down_to_leaf(t, path, back);
}

enum csv_err tree_next_leaf(const struct csv_tree *t, struct tpath *path)
{
	return sibling_leaf(t, path, false);
}

enum csv_err tree_prev_leaf(const struct csv_tree *t, struct tpath *path)
{
	return sibling_leaf(t, path, true);
}
