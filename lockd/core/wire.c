/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes of messages and snapshots. */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lockd/core/wire.h"

void csv_wbuf_free(struct csv_wbuf *w)
{
	free(w->data);
	*w = (struct csv_wbuf){ 0 };
}

void csv_put(struct csv_wbuf *w, const void *data, size_t len)
{
	if (w->cap - w->len < len) {
		size_t cap = (w->len + len) * 2 + 64;

		w->data = realloc(w->data, cap);
		CSV_ASSERT(w->data);
		w->cap = cap;
	}
	if (len)
		memcpy(w->data + w->len, data, len);
	w->len += len;
}

void csv_put8(struct csv_wbuf *w, uint8_t v)
{
	csv_put(w, &v, 1);
}

void csv_put32(struct csv_wbuf *w, uint32_t v)
{
	v = htole32(v);
	csv_put(w, &v, sizeof(v));
}

void csv_put64(struct csv_wbuf *w, uint64_t v)
{
	v = htole64(v);
	csv_put(w, &v, sizeof(v));
}

void csv_put_str(struct csv_wbuf *w, const char *s)
{
	size_t len = strlen(s);

	CSV_ASSERT(len < 256);
	csv_put8(w, (uint8_t)len);
	csv_put(w, s, len);
}

void csv_get(struct csv_rbuf *r, void *data, size_t len)
{
	if (r->bad || r->len - r->pos < len) {
		r->bad = true;
		memset(data, 0, len);
		return;
	}
	if (len)
		memcpy(data, r->data + r->pos, len);
	r->pos += len;
}

uint8_t csv_get8(struct csv_rbuf *r)
{
	uint8_t v;

	csv_get(r, &v, 1);
	return v;
}

uint32_t csv_get32(struct csv_rbuf *r)
{
	uint32_t v;

	csv_get(r, &v, sizeof(v));
	return le32toh(v);
}

uint64_t csv_get64(struct csv_rbuf *r)
{
	uint64_t v;

	csv_get(r, &v, sizeof(v));
	return le64toh(v);
}

void csv_get_str(struct csv_rbuf *r, char *s, size_t size)
{
	size_t len = csv_get8(r);

	memset(s, 0, size);
	if (len >= size) {
		r->bad = true;
		return;
	}
	csv_get(r, s, len);
	if (memchr(s, 0, size) != s + len)
		r->bad = true;
}

bool csv_get_end(const struct csv_rbuf *r)
{
	return !r->bad && r->pos == r->len;
}

uint64_t csv_mix64(uint64_t h, uint64_t v)
{
	h = h * 0xd1342543de82ef95ull + v + 0x9e3779b97f4a7c15ull;
	h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ull;
	h = (h ^ (h >> 27)) * 0x94d049bb133111ebull;
	return h ^ (h >> 31);
}

uint64_t csv_mix(uint64_t h, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t v;

	h = csv_mix64(h, len);
	for (; len >= 8; len -= 8, p += 8) {
		memcpy(&v, p, 8);
		h = csv_mix64(h, le64toh(v));
	}
	v = 0;
	memcpy(&v, p, len);
	return len ? csv_mix64(h, le64toh(v)) : h;
}
