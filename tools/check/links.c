/* SPDX-License-Identifier: GPL-2.0-or-later */
/* After all names are known: link counts, parents, and what no way from the root leads to. */
#include <inttypes.h>

#include "tools/check/check_int.h"

/* The root must be there, a directory, and its own parent. */
static void check_root(struct chk *c)
{
	struct chk_ient *root = chk_inodes_find(&c->inodes, c->sb.root_inode);

	if (root && root->flags & CHK_I_BAD)
		return;
	if (!root || !(root->flags & CHK_I_DIR)) {
		if (!c->ag_bad[chk_ag_of(&c->sb, c->sb.root_inode)])
			chk_report(c, CSV_CHECK_DIRENT_NO_INODE, c->sb.root_inode, c->sb.root_inode,
				   "the root is no directory");
		c->hidden_names = true;
		return;
	}
	root->flags |= CHK_I_REACHED;
	if (root->parent != root->ino)
		chk_report(c, CSV_CHECK_INODE_PARENT, root->ino, root->ino, "the root has the parent %" PRIu64,
			   root->parent);
}

static void check_count(struct chk *c, const struct chk_ient *e)
{
	uint32_t expected =
	    e->flags & CHK_I_DIR ? (e->names || e->ino == c->sb.root_inode ? 2 + e->subdirs : 0) : e->names;

	if (e->nlink != expected)
		chk_report(c, CSV_CHECK_INODE_NLINK, e->ino, e->ino, "inode says %u links, there are %u", e->nlink,
			   expected);
}

static void check_one(struct chk *c, struct chk_ient *e)
{
	bool root = e->ino == c->sb.root_inode;

	if (!e->names && !root) {
		if (!(e->flags & CHK_I_ORPHAN) && !c->hidden_names)
			chk_report(c, CSV_CHECK_INODE_UNREACHABLE, e->ino, e->ino,
				   "inode of mode %o has no name and is on no orphan list", e->mode);
		return; /* an orphan with links was told by its list */
	}
	if (!c->hidden_names)
		check_count(c, e);
	if (e->from && e->parent != e->from)
		chk_report(c, CSV_CHECK_INODE_PARENT, e->ino, e->ino,
			   "directory has the parent %" PRIu64 ", its name is in %" PRIu64, e->parent, e->from);
}

/*
 * Goes up from a directory until something that is known: reached, or nothing above, or a place where this way has been
 * (a ring).  Then the same way again, to mark it.
 */
static void check_way(struct chk *c, struct chk_ient *start)
{
	struct chk_ient *e = start;
	bool reached;

	while (e && !(e->flags & (CHK_I_REACHED | CHK_I_ONWAY | CHK_I_BAD))) {
		e->flags |= CHK_I_ONWAY;
		e = chk_inodes_find(&c->inodes, e->from);
	}
	reached = e && e->flags & CHK_I_REACHED;
	/* Without a name it was told already; in a ring, by its first member. */
	if (e && e->flags & CHK_I_ONWAY && !c->hidden_names)
		chk_report(c, CSV_CHECK_INODE_UNREACHABLE, start->ino, start->ino,
			   "directories name each other in a ring that no way from the root leads to");
	for (e = start; e && e->flags & CHK_I_ONWAY; e = chk_inodes_find(&c->inodes, e->from)) {
		e->flags &= ~CHK_I_ONWAY;
		if (reached)
			e->flags |= CHK_I_REACHED;
		else
			e->flags |= CHK_I_BAD; /* known: not to be told again */
	}
}

void chk_links(struct chk *c)
{
	check_root(c);
	for (size_t i = 0; i < c->inodes.places; i++) {
		struct chk_ient *e = &c->inodes.place[i];

		if (e->ino && !(e->flags & CHK_I_BAD))
			check_one(c, e);
	}
	for (size_t i = 0; i < c->inodes.places; i++) {
		struct chk_ient *e = &c->inodes.place[i];

		if (e->ino && (e->flags & (CHK_I_DIR | CHK_I_BAD)) == CHK_I_DIR)
			check_way(c, e);
	}
}
