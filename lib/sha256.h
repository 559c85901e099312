/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SHA-256 (FIPS 180-4), for the hash of a VM's definition: small inputs. */
#ifndef CSV_LIB_SHA256_H
#define CSV_LIB_SHA256_H
#include <stddef.h>
#include <stdint.h>

#include "csv/err.h"

struct csv_sha256 {
	uint32_t h[8];
	uint64_t len; /* bytes so far */
	uint8_t block[64];
};
void csv_sha256_init(struct csv_sha256 *s);
void csv_sha256_add(struct csv_sha256 *s, const void *data, size_t len);
void csv_sha256_end(struct csv_sha256 *s, uint8_t sum[32]);
/* Of a whole file, at most `max` bytes (FBIG beyond). Errors: NOENT, ACCESS, IO, ... */
enum csv_err csv_sha256_file(const char *path, uint64_t max, uint64_t *size, uint8_t sum[32]);
#endif
