/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/meta/dir.h"

/*
 * For docs/FORMAT.md, directories:
 *
 * The key of a name is its hash in bits 62..16 and a collision number in bits 15..0;
 * bit 63 is 0, so that a key is also a listing's cookie in a signed 64-bit offset.
 * The hash is SipHash-2-4 of the name's bytes (no NUL) with the key k0 = hash_seed of
 * the superblock, k1 = hash_seed xor 0x6373766673646972 ("csvfsdir", big-endian); its
 * result shifted right by one and with bits 15..0 cleared.  A name takes the lowest
 * collision number that no name of the same hash has at the time; it keeps it when
 * others go.  Keys 0..2 are never used: names whose hash is 0 count from 3.
 */
uint64_t csv_dir_hash(uint64_t seed, const char *name, size_t len)
{
	return csv_siphash(seed, seed ^ 0x6373766673646972ull, name, len) >> 1 & ~0xffffull;
}
