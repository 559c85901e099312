/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where things lie: arithmetic on a checked superblock, no I/O. */
#ifndef CSV_DISK_GEOMETRY_H
#define CSV_DISK_GEOMETRY_H

#include "fs/fs.h"

#define CSV_AG_BLOCKS_MIN 1024u              /* 4 MiB */
#define CSV_AG_BLOCKS_MAX (64ull << 30 >> 12) /* 64 GiB: its bitmaps fit the group header */
#define CSV_AG_LAST_MIN 64u                  /* a shorter rest at the end belongs to no group */
#define CSV_AG_COUNT_MAX (1u << 20)
#define CSV_JOURNAL_BLOCKS_MAX (1u << 18)    /* 1 GiB */
#define CSV_MCHUNK_BLOCKS_MIN 16u
#define CSV_MCHUNK_BLOCKS_MAX 64u            /* bits of csv_disk_mchunk.used */

/* First block behind the journals, where group 0 begins. */
static inline uint64_t csv_geo_ag_start(uint32_t slots, uint32_t journal_blocks)
{
	return CSV_JOURNAL_START + (uint64_t)slots * journal_blocks;
}

/* Number of groups of a volume; the last block of the volume is the second copy of the superblock. */
static inline uint64_t csv_geo_ag_count(uint64_t blocks, uint64_t ag_start, uint64_t ag_blocks)
{
	uint64_t room = blocks > ag_start + 1 ? blocks - 1 - ag_start : 0;

	return room / ag_blocks + (room % ag_blocks >= CSV_AG_LAST_MIN);
}

static inline uint64_t csv_ag_first(const struct csv_super *sb, uint32_t ag)
{
	return sb->ag_start + ag * sb->ag_blocks;
}

/* Length of a group in blocks. */
static inline uint64_t csv_ag_len(const struct csv_super *sb, uint32_t ag)
{
	uint64_t rest = sb->blocks - 1 - csv_ag_first(sb, ag);

	return rest < sb->ag_blocks ? rest : sb->ag_blocks;
}

/* Bitmap blocks of a group of `len` blocks. */
static inline uint32_t csv_ag_bitmaps(uint64_t len)
{
	return (uint32_t)((len + CSV_BITS_PER_BLOCK - 1) / CSV_BITS_PER_BLOCK);
}

/* Header and bitmaps: blocks at the group's start that are never data. */
static inline uint32_t csv_ag_own(uint64_t len)
{
	return 1 + csv_ag_bitmaps(len);
}

/* Blocks under bitmap i that can be data or chunks: the most free[i] can be. */
static inline uint32_t csv_ag_stretch_max(uint64_t len, uint32_t i)
{
	uint64_t base = (uint64_t)i * CSV_BITS_PER_BLOCK;
	uint64_t n = len - base < CSV_BITS_PER_BLOCK ? len - base : CSV_BITS_PER_BLOCK;

	return (uint32_t)(i == 0 ? n - csv_ag_own(len) : n);
}

/* True if [block, block + n) lies inside one group. */
static inline bool csv_geo_in_group(const struct csv_super *sb, uint64_t block, uint64_t n)
{
	uint64_t ag;

	if (block < sb->ag_start || n == 0)
		return false;
	ag = (block - sb->ag_start) / sb->ag_blocks;
	if (ag >= sb->ag_count)
		return false;
	block -= csv_ag_first(sb, (uint32_t)ag);
	return block < csv_ag_len(sb, (uint32_t)ag) && n <= csv_ag_len(sb, (uint32_t)ag) - block;
}

/* True if a metadata block of this magic may lie at `block`: the first check of every pointer read from disk. */
static inline bool csv_geo_fits(const struct csv_super *sb, uint64_t block, uint32_t magic)
{
	uint64_t ag, off, len;

	if (magic == CSV_MAGIC_SLOT)
		return block >= CSV_SLOT_BLOCK(0) && block < CSV_SLOT_BLOCK(CSV_SLOTS_MAX);
	if (magic == CSV_MAGIC_ORPHAN && block >= CSV_ORPHAN_BLOCK(0) && block < CSV_ORPHAN_BLOCK(CSV_SLOTS_MAX))
		return true;
	if (!csv_geo_in_group(sb, block, 1))
		return false;
	ag = (block - sb->ag_start) / sb->ag_blocks;
	off = block - csv_ag_first(sb, (uint32_t)ag);
	len = csv_ag_len(sb, (uint32_t)ag);
	if (magic == CSV_MAGIC_AG)
		return off == 0;
	if (magic == CSV_MAGIC_BITMAP)
		return off >= 1 && off < csv_ag_own(len);
	return off >= csv_ag_own(len);
}

#endif
