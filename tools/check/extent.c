/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Extents of one file: place, order, overlap, owner, end of file. */
#include <inttypes.h>
#include <string.h>

#include "fs/data/map.h"
#include "fs/disk/geometry.h"
#include "tools/check/check_int.h"

struct file {
	uint64_t ino;
	uint64_t end;	 /* logical block behind the extent before */
	uint64_t eof;	 /* first logical block beyond the end of the file */
	uint64_t blocks; /* mapped */
	bool bad;
};

static void bad_extent(struct chk *c, struct file *f, uint64_t lblk, const char *why)
{
	chk_report(c, CSV_CHECK_EXTENT_BAD, f->ino, f->ino, "extent at logical block %" PRIu64 ": %s", lblk, why);
	f->bad = true;
	c->hidden_blocks = true;
}

/* True if the blocks are data blocks of one group. */
static bool place_good(const struct chk *c, uint64_t phys, uint64_t len)
{
	uint32_t ag;

	if (!csv_geo_in_group(&c->sb, phys, len))
		return false;
	ag = chk_ag_of(&c->sb, phys);
	return phys - csv_ag_first(&c->sb, ag) >= csv_ag_own(csv_ag_len(&c->sb, ag));
}

static void extent_rec(struct chk *c, void *arg, const struct chk_rec *r)
{
	struct csv_disk_extent d;
	struct file *f = arg;
	uint64_t phys, len;

	if (r->len != sizeof(d)) {
		bad_extent(c, f, r->key, "record of another size");
		return;
	}
	memcpy(&d, r->value, sizeof(d));
	phys = csv_le64_get(d.phys);
	len = csv_le32_get(d.len);
	if (len == 0 || csv_le32_get(d.flags) & ~CSV_EXTENT_UNWRITTEN) {
		bad_extent(c, f, r->key, len ? "unknown flags" : "no blocks");
		return;
	}
	if (r->key >= CSV_MAP_BLOCKS_MAX || len > CSV_MAP_BLOCKS_MAX - r->key) {
		bad_extent(c, f, r->key, "beyond the largest file");
		return;
	}
	if (!place_good(c, phys, len)) {
		bad_extent(c, f, r->key, "its blocks are no data blocks of one group");
		return;
	}
	if (r->key < f->end)
		chk_report(c, CSV_CHECK_EXTENT_OVERLAP, f->ino, f->ino,
			   "extent at logical block %" PRIu64 " begins within the one before, which ends at %" PRIu64,
			   r->key, f->end);
	if (!(csv_le32_get(d.flags) & CSV_EXTENT_UNWRITTEN) && r->key + len > f->eof)
		chk_report(c, CSV_CHECK_EXTENT_BEYOND, f->ino, f->ino,
			   "written blocks %" PRIu64 " to %" PRIu64 ", the file ends before block %" PRIu64, r->key,
			   r->key + len - 1, f->eof);
	chk_claim_data(c, phys, len, f->ino, "extent");
	f->end = r->key + len;
	f->blocks += len;
}

bool chk_extents(struct chk *c, const struct csv_disk_inode *d, uint64_t *nodes, uint64_t *blocks)
{
	uint64_t ino = csv_le64_get(d->hdr.block), size = csv_le64_get(d->size);
	struct file f = { .ino = ino, .eof = (size + CSV_BLOCK_SIZE - 1) >> CSV_BLOCK_SHIFT };
	struct chk_tree t = { .ino = ino, .root = d->tree, .size = CSV_INODE_TREE_SIZE, .rec = extent_rec, .arg = &f };

	chk_tree_walk(c, &t);
	*nodes = t.nodes;
	*blocks = f.blocks;
	return !t.broken && !f.bad;
}
