/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ordered map: a treap (Seidel and Aragon, 1996): a search tree by key and a heap by priority. */
#include "lib/omap.h"
#include "lib/env.h"

void csv_omap_init(struct csv_omap *map, csv_omap_cmp cmp)
{
	*map = (struct csv_omap){ .cmp = cmp };
}

struct csv_omap_node *csv_omap_find(const struct csv_omap *map, const void *key)
{
	struct csv_omap_node *n = map->root;

	while (n) {
		int c = map->cmp(key, n);

		if (!c)
			return n;
		n = c < 0 ? n->left : n->right;
	}
	return NULL;
}

struct csv_omap_node *csv_omap_floor(const struct csv_omap *map, const void *key)
{
	struct csv_omap_node *n = map->root, *best = NULL;

	while (n) {
		if (map->cmp(key, n) < 0) {
			n = n->left;
		} else {
			best = n;
			n = n->right;
		}
	}
	return best;
}

struct csv_omap_node *csv_omap_ceil(const struct csv_omap *map, const void *key)
{
	struct csv_omap_node *n = map->root, *best = NULL;

	while (n) {
		if (map->cmp(key, n) > 0) {
			n = n->right;
		} else {
			best = n;
			n = n->left;
		}
	}
	return best;
}

static void update_up(const struct csv_omap *map, struct csv_omap_node *n)
{
	for (; map->update && n; n = n->up)
		map->update(n);
}

/* The place that points to n. */
static struct csv_omap_node **link_of(struct csv_omap *map, struct csv_omap_node *n)
{
	if (!n->up)
		return &map->root;
	return n->up->left == n ? &n->up->left : &n->up->right;
}

/* n takes its parent's place, the parent becomes its child. */
static void rotate_up(struct csv_omap *map, struct csv_omap_node *n)
{
	struct csv_omap_node *p = n->up, **at = link_of(map, p);
	struct csv_omap_node *inner;

	if (p->left == n) {
		inner = n->right;
		p->left = inner;
		n->right = p;
	} else {
		inner = n->left;
		p->right = inner;
		n->left = p;
	}
	if (inner)
		inner->up = p;
	n->up = p->up;
	p->up = n;
	*at = n;
	if (map->update) {
		map->update(p);
		map->update(n);
	}
}

void csv_omap_insert(struct csv_omap *map, const void *key, struct csv_omap_node *n)
{
	struct csv_omap_node **at = &map->root, *up = NULL;

	while (*at) {
		up = *at;
		at = map->cmp(key, up) < 0 ? &up->left : &up->right;
	}
	*n = (struct csv_omap_node){ .up = up, .prio = csv_rng_next(&map->rng) };
	*at = n;
	map->count++;
	update_up(map, n);
	while (n->up && n->up->prio < n->prio)
		rotate_up(map, n);
}

void csv_omap_del(struct csv_omap *map, struct csv_omap_node *n)
{
	struct csv_omap_node *child;

	while (n->left && n->right)
		rotate_up(map, n->left->prio > n->right->prio ? n->left : n->right);
	child = n->left ? n->left : n->right;
	*link_of(map, n) = child;
	if (child)
		child->up = n->up;
	update_up(map, n->up);
	map->count--;
}

struct csv_omap_node *csv_omap_first(const struct csv_omap *map)
{
	struct csv_omap_node *n = map->root;

	while (n && n->left)
		n = n->left;
	return n;
}

struct csv_omap_node *csv_omap_next(const struct csv_omap_node *n)
{
	const struct csv_omap_node *up;

	if (n->right) {
		struct csv_omap_node *r = n->right;

		while (r->left)
			r = r->left;
		return r;
	}
	for (up = n->up; up && up->right == n; up = n->up)
		n = up;
	return (struct csv_omap_node *)up;
}
