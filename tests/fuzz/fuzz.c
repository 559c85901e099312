/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuzz.h"

#include <string.h>

bool fuzz_more(const struct fuzz_in *in)
{
	return in->len > 0;
}

size_t fuzz_take(struct fuzz_in *in, void *to, size_t max)
{
	size_t n = in->len < max ? in->len : max;

	if (n)
		memcpy(to, in->data, n);
	in->data += n;
	in->len -= n;
	return n;
}

uint8_t fuzz_u8(struct fuzz_in *in)
{
	uint8_t v = 0;

	fuzz_take(in, &v, sizeof(v));
	return v;
}

uint16_t fuzz_u16(struct fuzz_in *in)
{
	uint16_t v = 0;

	fuzz_take(in, &v, sizeof(v));
	return v;
}

uint64_t fuzz_u64(struct fuzz_in *in)
{
	uint64_t v = 0;

	fuzz_take(in, &v, sizeof(v));
	return v;
}

void fuzz_put(struct fuzz_out *out, const void *data, size_t len)
{
	if (len > FUZZ_MAX - out->len)
		len = FUZZ_MAX - out->len;
	if (len)
		memcpy(out->data + out->len, data, len);
	out->len += len;
}

void fuzz_put8(struct fuzz_out *out, uint8_t v)
{
	fuzz_put(out, &v, 1);
}
