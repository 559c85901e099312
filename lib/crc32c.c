/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <isa-l/crc.h>

#include "lib/crc32c.h"

/* crc32_iscsi() takes an int; pieces stay below it. */
#define PIECE (1u << 30)

/*
 * crc32_iscsi() is the bare register: it neither starts from all ones nor
 * inverts its result.  Ours does both, so that a result can be fed back as seed.
 */
uint32_t csv_crc32c(uint32_t seed, const void *data, size_t len)
{
	const unsigned char *p = data;
	uint32_t reg = ~seed;

	while (len > 0) {
		size_t n = len < PIECE ? len : PIECE;

		/* The library takes a non-const pointer but only reads. */
		reg = crc32_iscsi((unsigned char *)(uintptr_t)p, (int)n, reg);
		p += n;
		len -= n;
	}
	return ~reg;
}
