/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A bit for each block of the groups, in leaves that have the very layout of the
 * bitmap blocks on disk.  Leaves with no bit or with all bits take no memory, so a
 * volume full of large VHDs costs little.
 */
#ifndef CSV_TOOLS_CHECK_BITS_H
#define CSV_TOOLS_CHECK_BITS_H

#include "fs/fs.h"

#define CHK_LEAF_BYTES (CSV_BITS_PER_BLOCK / 8)

struct chk_bits {
	const struct csv_super *sb;
	uint32_t per_ag; /* leaves of a full group */
	uint8_t **leaf;	 /* NULL: no bit set; chk_full: all */
};

enum csv_err chk_bits_init(struct chk_bits *b, const struct csv_super *sb);
void chk_bits_free(struct chk_bits *b);
/* Block must lie in a group. */
bool chk_bits_test(const struct chk_bits *b, uint64_t block);
/*
 * Sets the bits of [block, block + n), which lies in one group.  *dup gets the first that was set already, UINT64_MAX
 * if none.  NOMEM.
 */
enum csv_err chk_bits_set(struct chk_bits *b, uint64_t block, uint64_t n, uint64_t *dup);
/* Bits of bitmap block i of a group, CHK_LEAF_BYTES long; never NULL. Bits beyond the group's end may be anything. */
const uint8_t *chk_bits_leaf(const struct chk_bits *b, uint32_t ag, uint32_t i);

static inline bool chk_bit(const uint8_t *bits, uint64_t i)
{
	return (bits[i / 8] >> (i % 8)) & 1;
}

#endif
