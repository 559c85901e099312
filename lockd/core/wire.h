/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes of messages and snapshots: little-endian, bounds-checked. */
#ifndef CSV_LOCKD_WIRE_H
#define CSV_LOCKD_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Grows as needed. */
struct csv_wbuf {
	uint8_t *data;
	size_t len, cap;
};
void csv_wbuf_free(struct csv_wbuf *w);
void csv_put(struct csv_wbuf *w, const void *data, size_t len);
void csv_put8(struct csv_wbuf *w, uint8_t v);
void csv_put32(struct csv_wbuf *w, uint32_t v);
void csv_put64(struct csv_wbuf *w, uint64_t v);
/* A string of a fixed field: its length, then its bytes. */
void csv_put_str(struct csv_wbuf *w, const char *s);

/* After the first read beyond the end all reads give 0 and `bad` stays set: check once at the end. */
struct csv_rbuf {
	const uint8_t *data;
	size_t len, pos;
	bool bad;
};
void csv_get(struct csv_rbuf *r, void *data, size_t len);
uint8_t csv_get8(struct csv_rbuf *r);
uint32_t csv_get32(struct csv_rbuf *r);
uint64_t csv_get64(struct csv_rbuf *r);
/* size: of the field with its NUL; a longer string is bad. */
void csv_get_str(struct csv_rbuf *r, char *s, size_t size);
/* Nothing missing and nothing left over. */
bool csv_get_end(const struct csv_rbuf *r);

/* 64-bit mixing for digests and chains; not for keys of hash tables that outsiders choose. */
uint64_t csv_mix64(uint64_t h, uint64_t v);
uint64_t csv_mix(uint64_t h, const void *data, size_t len);

#endif
