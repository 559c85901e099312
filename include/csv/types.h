/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Little-endian integers as they lie on disk and in messages.
 *
 * Each is a struct of one member, so that the compiler rejects a use without
 * conversion.  Read with csv_leNN_get(), make with csv_leNN_of().
 */
#ifndef CSV_TYPES_H
#define CSV_TYPES_H

#include <endian.h>
#include <stdint.h>

typedef struct {
	uint16_t raw;
} csv_le16;

typedef struct {
	uint32_t raw;
} csv_le32;

typedef struct {
	uint64_t raw;
} csv_le64;

static inline uint16_t csv_le16_get(csv_le16 v)
{
	return le16toh(v.raw);
}

static inline uint32_t csv_le32_get(csv_le32 v)
{
	return le32toh(v.raw);
}

static inline uint64_t csv_le64_get(csv_le64 v)
{
	return le64toh(v.raw);
}

static inline csv_le16 csv_le16_of(uint16_t v)
{
	return (csv_le16){ htole16(v) };
}

static inline csv_le32 csv_le32_of(uint32_t v)
{
	return (csv_le32){ htole32(v) };
}

static inline csv_le64 csv_le64_of(uint64_t v)
{
	return (csv_le64){ htole64(v) };
}

#endif
