/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/check/bits.h"

#include <stdlib.h>
#include <string.h>

#include "fs/disk/geometry.h"

static uint8_t full[CHK_LEAF_BYTES];
static const uint8_t empty[CHK_LEAF_BYTES];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill_full(void)
{
	memset(full, 0xff, sizeof(full));
}

enum csv_err chk_bits_init(struct chk_bits *b, const struct csv_super *sb)
{
	pthread_once(&once, fill_full);
	b->sb = sb;
	b->per_ag = csv_ag_bitmaps(sb->ag_blocks);
	b->leaf = calloc((size_t)b->per_ag * sb->ag_count, sizeof(uint8_t *));
	return b->leaf ? CSV_OK : CSV_NOMEM;
}

void chk_bits_free(struct chk_bits *b)
{
	size_t n = b->leaf ? (size_t)b->per_ag * b->sb->ag_count : 0;

	for (size_t i = 0; i < n; i++)
		if (b->leaf[i] != full)
			free(b->leaf[i]);
	free(b->leaf);
	b->leaf = NULL;
}

/* Leaf of a block, and *bit within. */
static uint8_t **leaf_of(const struct chk_bits *b, uint64_t block, uint32_t *bit)
{
	uint64_t ag = (block - b->sb->ag_start) / b->sb->ag_blocks;
	uint64_t off = block - csv_ag_first(b->sb, (uint32_t)ag);

	*bit = (uint32_t)(off % CSV_BITS_PER_BLOCK);
	return &b->leaf[ag * b->per_ag + off / CSV_BITS_PER_BLOCK];
}

bool chk_bits_test(const struct chk_bits *b, uint64_t block)
{
	uint32_t bit;
	const uint8_t *leaf = *leaf_of(b, block, &bit);

	return leaf && chk_bit(leaf, bit);
}

const uint8_t *chk_bits_leaf(const struct chk_bits *b, uint32_t ag, uint32_t i)
{
	const uint8_t *leaf = b->leaf[(size_t)ag * b->per_ag + i];

	return leaf ? leaf : empty;
}

/* Sets [from, to) of a leaf; returns the first bit that was set already, or UINT32_MAX. */
static uint32_t set_in_leaf(uint8_t *leaf, uint32_t from, uint32_t to)
{
	uint32_t dup = UINT32_MAX;

	for (uint32_t i = from; i < to;) {
		uint32_t step = i % 8 == 0 && to - i >= 8 ? 8 : 1;
		uint8_t mask = (uint8_t)(step == 8 ? 0xff : 1u << (i % 8));
		uint8_t had = leaf[i / 8] & mask;

		if (had && dup == UINT32_MAX)
			dup = step == 1 ? i : i + (uint32_t)__builtin_ctz(had);
		leaf[i / 8] |= mask;
		i += step;
	}
	return dup;
}

static enum csv_err set_some(uint8_t **leaf, uint32_t bit, uint32_t n, uint32_t *dup)
{
	*dup = UINT32_MAX;
	if (*leaf == full) {
		*dup = bit;
		return CSV_OK;
	}
	if (!*leaf && n == CSV_BITS_PER_BLOCK) {
		*leaf = full;
		return CSV_OK;
	}
	if (!*leaf)
		*leaf = calloc(1, CHK_LEAF_BYTES);
	if (!*leaf)
		return CSV_NOMEM;
	*dup = set_in_leaf(*leaf, bit, bit + n);
	if (bit + n == CSV_BITS_PER_BLOCK && memcmp(*leaf, full, CHK_LEAF_BYTES) == 0) {
		free(*leaf);
		*leaf = full;
	}
	return CSV_OK;
}

enum csv_err chk_bits_set(struct chk_bits *b, uint64_t block, uint64_t n, uint64_t *dup)
{
	*dup = UINT64_MAX;
	while (n > 0) {
		uint32_t bit, at, step;
		uint8_t **leaf = leaf_of(b, block, &bit);
		enum csv_err err;

		step = CSV_BITS_PER_BLOCK - bit < n ? CSV_BITS_PER_BLOCK - bit : (uint32_t)n;
		err = set_some(leaf, bit, step, &at);
		if (err != CSV_OK)
			return err;
		if (at != UINT32_MAX && *dup == UINT64_MAX)
			*dup = block + (at - bit);
		block += step;
		n -= step;
	}
	return CSV_OK;
}
