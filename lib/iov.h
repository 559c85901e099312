/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Helpers for scattered memory. Offsets count bytes from the start of the whole vector. */
#ifndef CSV_LIB_IOV_H
#define CSV_LIB_IOV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Sum of the lengths. */
uint64_t csv_iov_len(const struct iovec *iov, int niov);
/*
 * Describes up to `max` bytes from `off` in at most nout elements of out.
 * Returns the number of elements used; *len is what they cover (0 at the end).
 */
int csv_iov_slice(const struct iovec *iov, int niov, uint64_t off, size_t max, struct iovec *out, int nout,
		  size_t *len);
/* Copies len bytes at `off` of the vector to buf, or from buf. The vector must reach that far. */
void csv_iov_gather(const struct iovec *iov, int niov, uint64_t off, void *buf, size_t len);
void csv_iov_scatter(const struct iovec *iov, int niov, uint64_t off, const void *buf, size_t len);
/* True if every base is a multiple of `mem` and every length one of `unit`; both powers of two. */
bool csv_iov_aligned(const struct iovec *iov, int niov, size_t mem, size_t unit);

#endif
