// SPDX-License-Identifier: GPL-2.0-or-later
/* The demo's records: place, length and bytes, all computed from the sequence number. */
#include "record.h"

#include <assert.h>
#include <string.h>

#define MAGIC 0x3144524f43565343ull /* "CSVCORD1" on the disk */
#define MIX_BITS 19		    /* smallest power of two that covers RECORD_SLOTS */
#define MIX_MASK ((1u << MIX_BITS) - 1)

/* Little-endian, as both the guest and the host are x86-64. */
struct header {
	uint64_t magic;
	uint64_t seq;
	uint64_t seed;
	uint32_t length; /* bytes of the whole record, header included */
	uint32_t crc;	 /* CRC-32 of the whole record with this field zero */
};

static_assert(sizeof(struct header) == 32, "header layout");
static_assert(RECORD_SLOTS <= MIX_MASK + 1, "mix() covers all slots");

/* A bijection on MIX_BITS bits: each step (odd product, xor with own high half) can be undone. */
static uint32_t mix(uint32_t x)
{
	for (int round = 0; round < 3; round++) {
		x = (x * 0x2c1b3c6du + 0x297a2d39u) & MIX_MASK;
		x ^= x >> 10;
	}
	return x;
}

uint32_t record_slot(uint64_t seq)
{
	/* Walking the cycle until the value is in range restricts the bijection to the slots. */
	uint32_t x = mix((uint32_t)(seq % RECORD_SLOTS));

	while (x >= RECORD_SLOTS)
		x = mix(x);
	return x;
}

/* splitmix64: every seq has a stream of its own. */
static uint64_t next_word(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static uint64_t stream_start(uint64_t seq, uint64_t seed)
{
	uint64_t state = seq;

	return next_word(&state) ^ seed;
}

/* CRC-32 (IEEE 802.3), four bits at a time: the guest runs emulated, a bit at a time costs too much. */
static uint32_t crc32_of(const uint8_t *data, size_t length)
{
	static const uint32_t table[16] = {
		0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
		0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
	};
	uint32_t crc = ~0u;

	for (size_t i = 0; i < length; i++) {
		crc ^= data[i];
		crc = (crc >> 4) ^ table[crc & 15];
		crc = (crc >> 4) ^ table[crc & 15];
	}
	return ~crc;
}

size_t record_length(uint64_t seq, uint64_t seed)
{
	uint64_t state = stream_start(seq, seed);

	return RECORD_SECTOR * (1 + next_word(&state) % (RECORD_SLOT_SIZE / RECORD_SECTOR));
}

size_t record_fill(uint8_t *buf, uint64_t seq, uint64_t seed)
{
	size_t length = record_length(seq, seed);
	uint64_t state = stream_start(seq, seed);
	struct header header = {
		.magic = MAGIC,
		.seq = seq,
		.seed = seed,
		.length = (uint32_t)length,
	};

	memcpy(buf, &header, sizeof(header));
	for (size_t at = sizeof(header); at < length; at += sizeof(uint64_t)) {
		uint64_t word = next_word(&state);

		memcpy(buf + at, &word, sizeof(word));
	}
	header.crc = crc32_of(buf, length);
	memcpy(buf, &header, sizeof(header));
	return length;
}

enum record_state record_compare(const uint8_t *buf, uint64_t seq, uint64_t seed, uint64_t *found)
{
	uint8_t want[RECORD_SLOT_SIZE];
	struct header header;
	size_t length;

	memcpy(&header, buf, sizeof(header));
	if (header.magic != MAGIC)
		return RECORD_ABSENT;
	if (header.seed != seed)
		return RECORD_OTHER;
	/* Its own checksum would do; rebuilding the record also proves that its text fits its number. */
	length = record_fill(want, header.seq, header.seed);
	if (memcmp(buf, want, length) != 0)
		return RECORD_TORN;
	*found = header.seq;
	return header.seq == seq ? RECORD_GOOD : RECORD_OTHER;
}

const char *record_state_name(enum record_state state)
{
	static const char *const names[] = {
		[RECORD_GOOD] = "good",
		[RECORD_ABSENT] = "absent",
		[RECORD_TORN] = "torn",
		[RECORD_OTHER] = "other",
	};

	return names[state];
}
