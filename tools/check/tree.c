/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Walks a B+tree from its root in the inode.  A node is followed only if nobody has
 * it yet (chk_claim_meta), so a walk ends whatever the blocks say.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fs/disk/geometry.h"
#include "fs/meta/tree.h"
#include "tools/check/check_int.h"

/* A root or node in memory whose area was verified. Its keys must lie in [lo, hi]. */
struct node {
	const uint8_t *area;
	uint64_t block; /* of the node, or of the inode */
	uint64_t lo, hi;
};

static unsigned count_of(const struct node *n)
{
	return csv_le16_get(((const struct csv_disk_tree_head *)(const void *)n->area)->count);
}

static unsigned level_of(const struct node *n)
{
	return csv_le16_get(((const struct csv_disk_tree_head *)(const void *)n->area)->level);
}

static const struct csv_disk_tree_slot *slot_of(const struct node *n, unsigned i)
{
	return (const struct csv_disk_tree_slot *)(const void *)(n->area + sizeof(struct csv_disk_tree_head)) + i;
}

static uint64_t key_of(const struct node *n, unsigned i)
{
	return csv_le64_get(slot_of(n, i)->key);
}

static void broken(struct chk *c, struct chk_tree *t)
{
	t->broken = true;
	c->hidden_blocks = true;
}

static bool bounds_good(const struct node *n)
{
	unsigned count = count_of(n);

	if (count == 0)
		return true;
	/* The first slot of an inner node stands for all that is lower. */
	if (level_of(n) > 0)
		return count == 1 || (key_of(n, 1) > n->lo && key_of(n, count - 1) <= n->hi);
	return key_of(n, 0) >= n->lo && key_of(n, count - 1) <= n->hi;
}

static void walk_leaf(struct chk *c, struct chk_tree *t, const struct node *n)
{
	for (unsigned i = 0; i < count_of(n) && c->err == CSV_OK; i++) {
		struct chk_rec r = { .key = key_of(n, i),
				     .len = csv_le16_get(slot_of(n, i)->len),
				     .value = n->area + csv_le16_get(slot_of(n, i)->off) };

		if (t->rec)
			t->rec(c, t->arg, &r);
	}
}

static void walk(struct chk *c, struct chk_tree *t, const struct node *n);

/* Reads the node that slot i leads to; false: told. */
static bool read_child(struct chk *c, struct chk_tree *t, const struct node *n, unsigned i, uint8_t *page,
		       uint64_t *block)
{
	const struct csv_disk_tree_slot *s = slot_of(n, i);
	const struct csv_disk_tree_head *head = (const void *)(page + sizeof(struct csv_block_hdr));
	csv_le64 child;

	if (csv_le16_get(s->len) != sizeof(child)) {
		chk_report(c, CSV_CHECK_TREE_DAMAGED, n->block, t->ino, "slot %u of an inner node has %u bytes", i,
			   csv_le16_get(s->len));
		return false;
	}
	memcpy(&child, n->area + csv_le16_get(s->off), sizeof(child));
	*block = csv_le64_get(child);
	if (!chk_claim_meta(c, *block, t->ino, "tree node"))
		return false;
	t->nodes++;
	if (!chk_read(c, *block, CSV_MAGIC_TREE, t->ino, page, t->ino))
		return false;
	if (csv_le16_get(head->level) != level_of(n) - 1) {
		chk_report(c, CSV_CHECK_TREE_LEVEL, *block, t->ino, "tree node of level %u under one of level %u",
			   csv_le16_get(head->level), level_of(n));
		return false;
	}
	if (csv_le16_get(head->count) == 0) {
		chk_report(c, CSV_CHECK_TREE_EMPTY, *block, t->ino, "tree node without records");
		return false;
	}
	return true;
}

static void walk_children(struct chk *c, struct chk_tree *t, const struct node *n)
{
	uint8_t *page = chk_page(c);

	for (unsigned i = 0; page && i < count_of(n) && c->err == CSV_OK; i++) {
		struct node child = { .area = page + sizeof(struct csv_block_hdr), .lo = n->lo, .hi = n->hi };

		if (i > 0)
			child.lo = key_of(n, i);
		if (i + 1 < count_of(n))
			child.hi = key_of(n, i + 1) - 1;
		if (read_child(c, t, n, i, page, &child.block))
			walk(c, t, &child);
		else
			broken(c, t);
	}
	free(page);
}

static void walk(struct chk *c, struct chk_tree *t, const struct node *n)
{
	if (!bounds_good(n)) {
		chk_report(c, CSV_CHECK_TREE_BOUNDS, n->block, t->ino,
			   "keys of a tree node are not all from %" PRIu64 " to %" PRIu64, n->lo, n->hi);
		broken(c, t);
	} else if (level_of(n) == 0) {
		walk_leaf(c, t, n);
	} else {
		walk_children(c, t, n);
	}
}

void chk_tree_walk(struct chk *c, struct chk_tree *t)
{
	struct node root = { .area = t->root, .block = t->ino, .lo = 0, .hi = UINT64_MAX };
	struct csv_why why;

	t->nodes = 0;
	t->broken = false;
	csv_why_init(&why);
	if (csv_tree_area_verify(t->root, t->size, &why) != CSV_OK || level_of(&root) >= CSV_TREE_LEVELS_MAX) {
		chk_report(c, CSV_CHECK_TREE_DAMAGED, t->ino, t->ino, "root of a tree: %s",
			   why.err ? why.text : "too many levels");
		broken(c, t);
		return;
	}
	walk(c, t, &root);
}
