/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One inode: its fields against each other and against what its trees hold. Directories' trees come later (dir.c). */
#include <inttypes.h>
#include <sys/stat.h>

#include "tools/check/check_int.h"

#define FLAGS_KNOWN (CSV_INODE_IMAGE | CSV_INODE_IMAGE_INHERIT | CSV_INODE_SHARED)

static uint64_t number(const struct csv_disk_inode *d)
{
	return csv_le64_get(d->hdr.block);
}

static void check_flags(struct chk *c, const struct csv_disk_inode *d)
{
	uint32_t flags = csv_le32_get(d->flags), mode = csv_le32_get(d->mode);

	if (flags & ~FLAGS_KNOWN)
		chk_report(c, CSV_CHECK_INODE_FLAGS, number(d), number(d), "unknown flags %x", flags & ~FLAGS_KNOWN);
	if (flags & (CSV_INODE_IMAGE | CSV_INODE_SHARED) && !S_ISREG(mode))
		chk_report(c, CSV_CHECK_INODE_FLAGS, number(d), number(d), "image flags on mode %o", mode);
	if (flags & CSV_INODE_IMAGE_INHERIT && !S_ISDIR(mode))
		chk_report(c, CSV_CHECK_INODE_FLAGS, number(d), number(d), "directory's flag on mode %o", mode);
}

void chk_inode_blocks(struct chk *c, const struct csv_disk_inode *d, uint64_t found)
{
	if (csv_le64_get(d->blocks) != found)
		chk_report(c, CSV_CHECK_INODE_BLOCKS, number(d), number(d),
			   "inode counts %" PRIu64 " blocks, its trees hold %" PRIu64, csv_le64_get(d->blocks), found);
}

bool chk_xattrs(struct chk *c, const struct csv_disk_inode *d, uint64_t *nodes)
{
	struct chk_tree t = { .ino = number(d), .root = d->xtree, .size = CSV_INODE_XTREE_SIZE };

	chk_tree_walk(c, &t);
	*nodes = t.nodes;
	return !t.broken;
}

/* A symbolic link's target: records 0, 1, ... that make up `size` bytes without a NUL. */
struct target {
	uint64_t ino, next, bytes;
	bool bad;
};

static void target_rec(struct chk *c, void *arg, const struct chk_rec *r)
{
	struct target *t = arg;

	if (r->key != t->next++ || r->len == 0)
		t->bad = true;
	for (unsigned i = 0; i < r->len; i++)
		if (!r->value[i])
			t->bad = true;
	t->bytes += r->len;
}

static void check_symlink(struct chk *c, const struct csv_disk_inode *d)
{
	struct target target = { .ino = number(d) };
	struct chk_tree t = {
		.ino = number(d), .root = d->tree, .size = CSV_INODE_TREE_SIZE, .rec = target_rec, .arg = &target
	};
	uint64_t size = csv_le64_get(d->size), xnodes;

	chk_tree_walk(c, &t);
	if (!chk_xattrs(c, d, &xnodes) || t.broken)
		return;
	chk_inode_blocks(c, d, t.nodes + xnodes);
	/* An orphan that is being taken apart may have lost its target. */
	if (csv_le32_get(d->nlink) == 0)
		return;
	if (size == 0 || size > CSV_SYMLINK_MAX)
		chk_report(c, CSV_CHECK_INODE_SIZE, number(d), number(d), "symbolic link of %" PRIu64 " bytes", size);
	else if (target.bad || target.bytes != size)
		chk_report(c, CSV_CHECK_SYMLINK, number(d), number(d),
			   "symbolic link of %" PRIu64 " bytes has a target of %" PRIu64 "%s", size, target.bytes,
			   target.bad ? " with gaps or zero bytes" : "");
}

static void check_special(struct chk *c, const struct csv_disk_inode *d)
{
	struct chk_tree t = { .ino = number(d), .root = d->tree, .size = CSV_INODE_TREE_SIZE };
	uint64_t xnodes;

	chk_tree_walk(c, &t);
	if (chk_xattrs(c, d, &xnodes) && !t.broken)
		chk_inode_blocks(c, d, t.nodes + xnodes);
	if (csv_le64_get(d->size))
		chk_report(c, CSV_CHECK_INODE_SIZE, number(d), number(d), "special file of %" PRIu64 " bytes",
			   csv_le64_get(d->size));
}

static void check_file(struct chk *c, const struct csv_disk_inode *d)
{
	uint64_t nodes, blocks, xnodes;
	bool whole = chk_extents(c, d, &nodes, &blocks);

	if (chk_xattrs(c, d, &xnodes) && whole)
		chk_inode_blocks(c, d, nodes + blocks + xnodes);
}

void chk_inode(struct chk *c, const struct csv_disk_inode *d)
{
	uint32_t mode = csv_le32_get(d->mode);

	c->sum->inodes++;
	check_flags(c, d);
	chk_lease(c, d);
	if (S_ISREG(mode))
		check_file(c, d);
	else if (S_ISLNK(mode))
		check_symlink(c, d);
	else if (!S_ISDIR(mode))
		check_special(c, d);
}
