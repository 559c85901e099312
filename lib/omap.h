/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ordered map, embedded in its elements: a treap whose priorities come from a counter, never from an address, so
 * that order, shape and iteration are the same in every run and on every node.
 */
#ifndef CSV_LIB_OMAP_H
#define CSV_LIB_OMAP_H

#include <stddef.h>
#include <stdint.h>

struct csv_omap_node {
	struct csv_omap_node *left, *right, *up;
	uint64_t prio;
};

/* Compares a key with an element's: < 0, 0, > 0 as strcmp does. */
typedef int (*csv_omap_cmp)(const void *key, const struct csv_omap_node *n);

struct csv_omap {
	struct csv_omap_node *root;
	csv_omap_cmp cmp;
	/*
	 * NULL, or set after csv_omap_init(): recomputes what an element keeps about the part of the tree below it, from
	 * its own content and its two children's.  Called whenever that part has changed.
	 */
	void (*update)(struct csv_omap_node *n);
	size_t count;
	uint64_t rng;
};

#define csv_omap_entry(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

void csv_omap_init(struct csv_omap *map, csv_omap_cmp cmp);
/* NULL if there is none. */
struct csv_omap_node *csv_omap_find(const struct csv_omap *map, const void *key);
/* The last element whose key is not above this one, the first whose key is not below it; NULL: there is none. */
struct csv_omap_node *csv_omap_floor(const struct csv_omap *map, const void *key);
struct csv_omap_node *csv_omap_ceil(const struct csv_omap *map, const void *key);
/* The key must not be there yet. The map keeps no pointer to key. */
void csv_omap_insert(struct csv_omap *map, const void *key, struct csv_omap_node *n);
void csv_omap_del(struct csv_omap *map, struct csv_omap_node *n);
/* In order; NULL at the end. To remove while walking take the next element first. */
struct csv_omap_node *csv_omap_first(const struct csv_omap *map);
struct csv_omap_node *csv_omap_next(const struct csv_omap_node *n);

#endif
