/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a block's own fields must satisfy once its header is good: run after every
 * read and before every write, so that code elsewhere may index by them.
 */
#include <sys/stat.h>

#include "fs/disk/geometry.h"
#include "fs/meta/tree.h"

static uint64_t blkno_of(const void *block)
{
	return csv_le64_get(((const struct csv_block_hdr *)block)->block);
}

static uint64_t owner_of(const void *block)
{
	return csv_le64_get(((const struct csv_block_hdr *)block)->owner);
}

static enum csv_err verify_ag_chunks(const struct csv_super *sb, const struct csv_disk_ag *d, uint64_t len,
				     struct csv_why *why)
{
	uint32_t n = csv_le32_get(d->mchunks);

	if (n > CSV_AG_MCHUNKS_MAX)
		return csv_fail_block(why, CSV_DAMAGED, blkno_of(d), "group has %u metadata chunks", n);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t start = csv_le32_get(d->mchunk[i].start), nfree = csv_le16_get(d->mchunk[i].free);

		if (start < csv_ag_own(len) || start + (uint64_t)sb->mchunk_blocks > len || nfree >= sb->mchunk_blocks)
			return csv_fail_block(why, CSV_DAMAGED, blkno_of(d),
					      "metadata chunk %u of the group at %u with %u free blocks", i, start,
					      nfree);
	}
	return CSV_OK;
}

static enum csv_err verify_ag(const struct csv_super *sb, const void *block, struct csv_why *why)
{
	const struct csv_disk_ag *d = block;
	uint64_t ag = owner_of(block), total = 0, len;
	uint32_t bitmaps;

	if (ag >= sb->ag_count || csv_ag_first(sb, (uint32_t)ag) != blkno_of(block))
		return csv_fail_block(why, CSV_DAMAGED, blkno_of(block), "group header of group %llu",
				      (unsigned long long)ag);
	len = csv_ag_len(sb, (uint32_t)ag);
	bitmaps = csv_ag_bitmaps(len);
	if (csv_le64_get(d->start) != blkno_of(block) || csv_le64_get(d->blocks) != len ||
	    csv_le32_get(d->bitmaps) != bitmaps || bitmaps > CSV_AG_BITMAPS_MAX)
		return csv_fail_block(why, CSV_DAMAGED, blkno_of(block), "group header with other bounds");
	for (uint32_t i = 0; i < bitmaps; i++) {
		uint32_t nfree = csv_le16_get(d->free[i]);

		if (nfree > csv_ag_stretch_max(len, i))
			return csv_fail_block(why, CSV_DAMAGED, blkno_of(block), "%u blocks free under bitmap %u",
					      nfree, i);
		total += nfree;
	}
	if (total != csv_le64_get(d->free_total))
		return csv_fail_block(why, CSV_DAMAGED, blkno_of(block), "free counts of the group do not add up");
	return verify_ag_chunks(sb, d, len, why);
}

/* What its bits must be depends on the group header: checked by the allocator. */
static enum csv_err verify_bitmap(const struct csv_super *sb, const void *block, struct csv_why *why)
{
	uint64_t ag = owner_of(block), first;

	if (ag >= sb->ag_count)
		return csv_fail_block(why, CSV_DAMAGED, blkno_of(block), "bitmap of group %llu",
				      (unsigned long long)ag);
	first = csv_ag_first(sb, (uint32_t)ag);
	if (blkno_of(block) <= first || blkno_of(block) >= first + csv_ag_own(csv_ag_len(sb, (uint32_t)ag)))
		return csv_fail_block(why, CSV_DAMAGED, blkno_of(block), "bitmap outside group %llu",
				      (unsigned long long)ag);
	return CSV_OK;
}

static enum csv_err verify_mchunk(const struct csv_super *sb, const void *block, struct csv_why *why)
{
	const struct csv_disk_mchunk *d = block;
	uint64_t used = csv_le64_get(d->used), ag = owner_of(block);

	if (ag >= sb->ag_count || !csv_geo_in_group(sb, blkno_of(block), sb->mchunk_blocks) ||
	    (blkno_of(block) - sb->ag_start) / sb->ag_blocks != ag)
		return csv_fail_block(why, CSV_DAMAGED, blkno_of(block), "metadata chunk of group %llu",
				      (unsigned long long)ag);
	if (!(used & 1) || (sb->mchunk_blocks < 64 && used >> sb->mchunk_blocks))
		return csv_fail_block(why, CSV_DAMAGED, blkno_of(block), "metadata chunk uses %016llx",
				      (unsigned long long)used);
	return CSV_OK;
}

static enum csv_err verify_free(const struct csv_super *sb, const void *block, struct csv_why *why)
{
	if (owner_of(block) >= sb->ag_count)
		return csv_fail_block(why, CSV_DAMAGED, blkno_of(block), "free block of group %llu",
				      (unsigned long long)owner_of(block));
	return CSV_OK;
}

static bool type_known(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return true;
	default:
		return false;
	}
}

static enum csv_err verify_inode(const struct csv_super *sb, const void *block, struct csv_why *why)
{
	const struct csv_disk_inode *d = block;
	uint32_t mode = csv_le32_get(d->mode);
	uint64_t lease = csv_le64_get(d->lease), parent = csv_le64_get(d->parent);
	enum csv_err err;

	if (owner_of(block) != blkno_of(block))
		return csv_fail_block(why, CSV_DAMAGED, blkno_of(block), "inode has owner %llu",
				      (unsigned long long)owner_of(block));
	if (!type_known(mode))
		return csv_fail_block(why, CSV_DAMAGED, blkno_of(block), "inode has mode %o", mode);
	if (csv_le64_get(d->size) > CSV_FILE_SIZE_MAX)
		return csv_fail_block(why, CSV_DAMAGED, blkno_of(block), "inode has size %llu",
				      (unsigned long long)csv_le64_get(d->size));
	if (lease && !csv_geo_fits(sb, lease, CSV_MAGIC_LEASE))
		return csv_fail_block(why, CSV_DAMAGED, blkno_of(block), "inode has its lease at block %llu",
				      (unsigned long long)lease);
	if (parent && !csv_geo_fits(sb, parent, CSV_MAGIC_INODE))
		return csv_fail_block(why, CSV_DAMAGED, blkno_of(block), "inode has the parent %llu",
				      (unsigned long long)parent);
	err = csv_tree_area_verify(d->tree, CSV_INODE_TREE_SIZE, why);
	if (err != CSV_OK)
		return err;
	return csv_tree_area_verify(d->xtree, CSV_INODE_XTREE_SIZE, why);
}

static enum csv_err verify_tree(const struct csv_super *sb, const void *block, struct csv_why *why)
{
	const struct csv_block_hdr *h = block;
	const struct csv_disk_tree_head *head = (const void *)(h + 1);

	(void)sb;
	if (csv_le16_get(head->level) != csv_le16_get(h->level) || csv_le16_get(h->level) >= CSV_TREE_LEVELS_MAX)
		return csv_fail_block(why, CSV_DAMAGED, blkno_of(block), "tree node of level %u says level %u",
				      csv_le16_get(h->level), csv_le16_get(head->level));
	return csv_tree_area_verify(h + 1, CSV_TREE_NODE_AREA, why);
}

static enum csv_err verify_lease(const struct csv_super *sb, const void *block, struct csv_why *why)
{
	const struct csv_disk_lease *d = block;
	uint32_t mode = csv_le32_get(d->mode);

	if (mode > CSV_LEASE_SHARED)
		return csv_fail_block(why, CSV_DAMAGED, blkno_of(block), "lease has mode %u", mode);
	if (mode != CSV_LEASE_NONE && csv_le32_get(d->slot) >= sb->slots && csv_le32_get(d->slot) != CSV_SLOT_NONE)
		return csv_fail_block(why, CSV_DAMAGED, blkno_of(block), "lease of slot %u", csv_le32_get(d->slot));
	if (d->vm[sizeof(d->vm) - 1] || d->node[sizeof(d->node) - 1])
		return csv_fail_block(why, CSV_DAMAGED, blkno_of(block), "lease has a name without end");
	return CSV_OK;
}

static enum csv_err verify_orphans(const struct csv_super *sb, const void *block, struct csv_why *why)
{
	const struct csv_disk_orphans *d = block;
	uint64_t next = csv_le64_get(d->next);
	uint32_t n = csv_le32_get(d->count);

	if (n > CSV_ORPHANS_PER_BLOCK)
		return csv_fail_block(why, CSV_DAMAGED, blkno_of(block), "orphan list with %u entries", n);
	if (next && !csv_geo_in_group(sb, next, 1))
		return csv_fail_block(why, CSV_DAMAGED, blkno_of(block), "orphan list goes on at block %llu",
				      (unsigned long long)next);
	for (uint32_t i = 0; i < n; i++)
		if (!csv_geo_fits(sb, csv_le64_get(d->entry[i].inode), CSV_MAGIC_INODE))
			return csv_fail_block(why, CSV_DAMAGED, blkno_of(block), "orphan list names inode %llu",
					      (unsigned long long)csv_le64_get(d->entry[i].inode));
	return CSV_OK;
}

csv_verifier csv_verifier_of(uint32_t magic)
{
	static const struct {
		uint32_t magic;
		csv_verifier verify;
	} table[] = {
		{ CSV_MAGIC_AG, verify_ag },	     { CSV_MAGIC_BITMAP, verify_bitmap },
		{ CSV_MAGIC_MCHUNK, verify_mchunk }, { CSV_MAGIC_FREE, verify_free },
		{ CSV_MAGIC_INODE, verify_inode },   { CSV_MAGIC_TREE, verify_tree },
		{ CSV_MAGIC_LEASE, verify_lease },   { CSV_MAGIC_ORPHAN, verify_orphans },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].magic == magic)
			return table[i].verify;
	return NULL;
}
