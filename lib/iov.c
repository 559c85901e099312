/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "lib/iov.h"

uint64_t csv_iov_len(const struct iovec *iov, int niov)
{
	uint64_t sum = 0;

	for (int i = 0; i < niov; i++)
		sum += iov[i].iov_len;
	return sum;
}

int csv_iov_slice(const struct iovec *iov, int niov, uint64_t off, size_t max, struct iovec *out, int nout, size_t *len)
{
	int n = 0;

	*len = 0;
	for (int i = 0; i < niov && n < nout && *len < max; i++) {
		size_t part;

		if (off >= iov[i].iov_len) {
			off -= iov[i].iov_len;
			continue;
		}
		part = iov[i].iov_len - off;
		if (part > max - *len)
			part = max - *len;
		out[n].iov_base = (char *)iov[i].iov_base + off;
		out[n++].iov_len = part;
		*len += part;
		off = 0;
	}
	return n;
}

void csv_iov_gather(const struct iovec *iov, int niov, uint64_t off, void *buf, size_t len)
{
	struct iovec part;
	size_t n;

	for (size_t pos = 0; pos < len; pos += n) {
		if (csv_iov_slice(iov, niov, off + pos, len - pos, &part, 1, &n) == 0)
			return;
		memcpy((char *)buf + pos, part.iov_base, n);
	}
}

void csv_iov_scatter(const struct iovec *iov, int niov, uint64_t off, const void *buf, size_t len)
{
	struct iovec part;
	size_t n;

	for (size_t pos = 0; pos < len; pos += n) {
		if (csv_iov_slice(iov, niov, off + pos, len - pos, &part, 1, &n) == 0)
			return;
		memcpy(part.iov_base, (const char *)buf + pos, n);
	}
}

bool csv_iov_aligned(const struct iovec *iov, int niov, size_t mem, size_t unit)
{
	for (int i = 0; i < niov; i++)
		if (((uintptr_t)iov[i].iov_base & (mem - 1)) || (iov[i].iov_len & (unit - 1)))
			return false;
	return true;
}
