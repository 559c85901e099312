/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Orphan lists (U4): a slot's own block and the metadata blocks in which the list goes on. */
#include <inttypes.h>
#include <stdlib.h>

#include "tools/check/check_int.h"

static void check_entry(struct chk *c, uint64_t block, const struct csv_disk_orphan_entry *o)
{
	uint64_t ino = csv_le64_get(o->inode);
	struct chk_ient *e = chk_inodes_find(&c->inodes, ino);

	if (e && e->flags & CHK_I_BAD)
		return;
	if (!e || e->gen != csv_le32_get(o->gen)) {
		/* Whoever closes it last destroys an orphan; the entry in another slot's list stays until that slot
		 * looks. */
		chk_note(c, CSV_CHECK_ORPHAN_GONE, block, ino, "orphan list names an inode that is gone");
		return;
	}
	e->flags |= CHK_I_ORPHAN;
	if (e->nlink || e->names)
		chk_report(c, CSV_CHECK_ORPHAN_LINKED, block, ino, "inode on an orphan list has %u links and %u names",
			   e->nlink, e->names);
}

static void check_list(struct chk *c, uint32_t slot, struct csv_disk_orphans *o)
{
	uint64_t block = CSV_ORPHAN_BLOCK(slot);

	/* Ends: no block of a chunk is claimed twice. */
	while (block && c->err == CSV_OK) {
		if (!chk_read(c, block, CSV_MAGIC_ORPHAN, slot, o, 0)) {
			c->hidden_names = true;
			c->hidden_blocks = true;
			return;
		}
		for (uint32_t i = 0; i < csv_le32_get(o->count); i++)
			check_entry(c, block, &o->entry[i]);
		block = csv_le64_get(o->next);
		if (block && !chk_claim_meta(c, block, 0, "orphan list")) {
			c->hidden_names = true;
			return;
		}
	}
}

void chk_orphans(struct chk *c)
{
	struct csv_disk_orphans *page = chk_page(c);

	for (uint32_t n = 0; page && n < c->sb.slots && c->err == CSV_OK; n++)
		check_list(c, n, page);
	free(page);
}
