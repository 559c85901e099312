/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looking a record up: exactly, at or before, at or after a key. */
#include <string.h>

#include "fs/meta/tree_int.h"

static void copy_rec(struct tarea a, unsigned i, struct csv_tree_rec *rec)
{
	rec->key = tarea_key(a, i);
	rec->len = tarea_len(a, i);
	memcpy(rec->value, tarea_value(a, i), rec->len);
}

enum csv_err csv_tree_get(const struct csv_tree *t, uint64_t key, struct csv_tree_rec *rec)
{
	struct tpath path;
	enum csv_err err = tree_descend(t, key, &path);
	unsigned i;

	if (err)
		return err;
	if (tarea_find(tree_leaf(&path)->a, key, &i))
		copy_rec(tree_leaf(&path)->a, i, rec);
	else
		err = CSV_NOENT;
	tree_path_put(t, &path);
	return err;
}

/*
 * Both neighbours' searches end with the same check: a tree whose keys are not where the
 * inner nodes say could answer a key on the wrong side, and a caller that goes on
 * from there would never end.
 */
enum csv_err csv_tree_floor(const struct csv_tree *t, uint64_t key, struct csv_tree_rec *rec)
{
	struct tpath path;
	enum csv_err err = tree_descend(t, key, &path);
	int i;

	if (err)
		return err;
	i = tarea_search(tree_leaf(&path)->a, key);
	if (i < 0) {
		err = tree_prev_leaf(t, &path);
		if (!err)
			i = (int)tarea_count(tree_leaf(&path)->a) - 1;
	}
	if (!err) {
		copy_rec(tree_leaf(&path)->a, (unsigned)i, rec);
		if (rec->key > key)
			err = CSV_DAMAGED;
	}
	tree_path_put(t, &path);
	return err;
}

enum csv_err csv_tree_ceil(const struct csv_tree *t, uint64_t key, struct csv_tree_rec *rec)
{
	struct tpath path;
	enum csv_err err = tree_descend(t, key, &path);
	unsigned i;

	if (err)
		return err;
	if (!tarea_find(tree_leaf(&path)->a, key, &i) && i == tarea_count(tree_leaf(&path)->a)) {
		err = tree_next_leaf(t, &path);
		i = 0;
	}
	if (!err) {
		copy_rec(tree_leaf(&path)->a, i, rec);
		if (rec->key < key)
			err = CSV_DAMAGED;
	}
	tree_path_put(t, &path);
	return err;
}
