/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CSV_LIB_CRC32C_H
#define CSV_LIB_CRC32C_H
#include <stddef.h>
#include <stdint.h>
/*
 * CRC32C (Castagnoli; RFC 3720 12.1), initial value and final xor all ones.
 * seed: 0 to start, the previous result to go on over adjacent pieces.
 */
uint32_t csv_crc32c(uint32_t seed, const void *data, size_t len);
#endif
