/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs of bits in a bitmap block. */
#include <string.h>

#include "fs/meta/alloc_priv.h"

void csv_bits_set(uint8_t *bits, uint32_t from, uint32_t n)
{
	for (; n && from % 8; from++, n--)
		bits[from / 8] |= (uint8_t)(1u << from % 8);
	memset(bits + from / 8, 0xff, n / 8);
	from += n / 8 * 8;
	for (n %= 8; n; from++, n--)
		bits[from / 8] |= (uint8_t)(1u << from % 8);
}

void csv_bits_clear(uint8_t *bits, uint32_t from, uint32_t n)
{
	for (; n && from % 8; from++, n--)
		bits[from / 8] &= (uint8_t) ~(1u << from % 8);
	memset(bits + from / 8, 0, n / 8);
	from += n / 8 * 8;
	for (n %= 8; n; from++, n--)
		bits[from / 8] &= (uint8_t) ~(1u << from % 8);
}

uint32_t csv_bits_next(const uint8_t *bits, uint32_t from, uint32_t end, bool value)
{
	const uint8_t skip = value ? 0 : 0xff;

	while (from < end) {
		if (from % 8 == 0 && bits[from / 8] == skip) {
			from += 8;
			continue;
		}
		if (((bits[from / 8] >> from % 8) & 1) == value)
			return from;
		from++;
	}
	return end;
}

uint32_t csv_bits_count_clear(const uint8_t *bits, uint32_t n)
{
	uint32_t set = 0, i = 0;
	uint64_t word;

	for (; i + 64 <= n; i += 64) {
		memcpy(&word, bits + i / 8, 8);
		set += (uint32_t)__builtin_popcountll(word);
	}
	for (; i < n; i++)
		set += (bits[i / 8] >> i % 8) & 1u;
	return n - set;
}
