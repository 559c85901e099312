/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One allocation group: its header's counts, its bitmaps where they matter, taking and giving back. */
#include <string.h>

#include "fs/meta/alloc_priv.h"

/* Mixed stretches looked at for a good run before a whole one is broken into. */
#define SEARCH_MIXED 8u
/* When no whole stretch is left, a run this long is good enough for any wish: 16 MiB. */
#define SEARCH_ENOUGH 4096u

enum csv_err csv_group_get(struct csv_fs *fs, uint32_t ag, struct csv_group *g)
{
	enum csv_err err;

	*g = (struct csv_group){ .fs = fs, .ag = ag };
	if (ag >= fs->sb.ag_count)
		return CSV_DAMAGED;
	g->first = csv_ag_first(&fs->sb, ag);
	g->len = csv_ag_len(&fs->sb, ag);
	g->bitmaps = csv_ag_bitmaps(g->len);
	err = csv_buf_get(fs, g->first, CSV_MAGIC_AG, ag, csv_ag_res(ag), &g->buf);
	if (err != CSV_OK)
		return err;
	g->d = g->buf->data;
	csv_alloc_saw(g);
	return CSV_OK;
}

void csv_group_put(struct csv_group *g)
{
	if (!g->buf)
		return;
	csv_alloc_saw(g);
	csv_buf_put(g->fs, g->buf);
	g->buf = NULL;
}

static uint32_t stretch_max(const struct csv_group *g, uint32_t i)
{
	return csv_ag_stretch_max(g->len, i);
}

/* Bits as a whole or full stretch means them. */
static void fill_bits(const struct csv_group *g, uint32_t i, bool full, uint8_t *bits)
{
	uint32_t cover = (uint32_t)(csv_stretch_end(g, i) - (uint64_t)i * CSV_BITS_PER_BLOCK);

	memset(bits, full ? 0xff : 0, CSV_BITMAP_BYTES);
	if (i == 0)
		csv_bits_set(bits, 0, csv_ag_own(g->len));
	csv_bits_set(bits, cover, CSV_BITS_PER_BLOCK - cover);
}

/* The bitmap block of a mixed stretch, checked against the header's count. */
static enum csv_err mixed_get(struct csv_group *g, uint32_t i, struct csv_buf **buf)
{
	const struct csv_disk_bitmap *d;
	enum csv_err err;

	err = csv_buf_get(g->fs, g->first + 1 + i, CSV_MAGIC_BITMAP, g->ag, csv_ag_res(g->ag), buf);
	if (err != CSV_OK)
		return err;
	d = (*buf)->data;
	if (csv_bits_count_clear(d->bits, CSV_BITS_PER_BLOCK) == csv_group_free(g, i))
		return CSV_OK;
	csv_buf_put(g->fs, *buf);
	*buf = NULL;
	return CSV_DAMAGED;
}

/* The bitmap block of a stretch, dirty, with bits that say what the header says. */
static enum csv_err bitmap_dirty(struct csv_txn *txn, struct csv_group *g, uint32_t i, struct csv_buf **buf)
{
	uint32_t nfree = csv_group_free(g, i);
	bool mixed = nfree != 0 && nfree != stretch_max(g, i), fresh;
	struct csv_disk_bitmap *d;
	enum csv_err err;

	if (mixed)
		err = mixed_get(g, i, buf);
	else
		err =
		    csv_buf_get_lazy(g->fs, g->first + 1 + i, CSV_MAGIC_BITMAP, g->ag, csv_ag_res(g->ag), buf, &fresh);
	if (err != CSV_OK)
		return err;
	err = csv_txn_dirty(txn, *buf);
	if (err != CSV_OK) {
		csv_buf_put(g->fs, *buf);
		*buf = NULL;
		return err;
	}
	d = (*buf)->data;
	if (!mixed)
		fill_bits(g, i, nfree == 0, d->bits);
	return CSV_OK;
}

bool csv_group_is_whole(struct csv_group *g, uint32_t i)
{
	uint64_t start = csv_stretch_start(g, i);

	return csv_group_free(g, i) == stretch_max(g, i) && csv_stretch_end(g, i) > start &&
	       !csv_pending_any(g->fs, g->ag, start, csv_stretch_end(g, i) - start);
}

enum csv_err csv_group_view(struct csv_group *g, uint32_t i, uint8_t bits[CSV_BITMAP_BYTES])
{
	uint32_t nfree = csv_group_free(g, i);
	struct csv_buf *buf;
	enum csv_err err;

	if (nfree == 0 || nfree == stretch_max(g, i)) {
		fill_bits(g, i, nfree == 0, bits);
	} else {
		err = mixed_get(g, i, &buf);
		if (err != CSV_OK)
			return err;
		memcpy(bits, ((struct csv_disk_bitmap *)buf->data)->bits, CSV_BITMAP_BYTES);
		csv_buf_put(g->fs, buf);
	}
	csv_pending_mark(g->fs, g->ag, (uint64_t)i * CSV_BITS_PER_BLOCK, CSV_BITS_PER_BLOCK, bits);
	return CSV_OK;
}

static void set_free(struct csv_group *g, uint32_t i, uint32_t nfree)
{
	uint64_t total = csv_le64_get(g->d->free_total) - csv_group_free(g, i) + nfree;

	g->d->free[i] = csv_le16_of((uint16_t)nfree);
	g->d->free_total = csv_le64_of(total);
}

/* `n` blocks of stretch i, from bit `bit` on. */
static enum csv_err take_piece(struct csv_txn *txn, struct csv_group *g, uint32_t i, uint32_t bit, uint32_t n)
{
	uint32_t nfree = csv_group_free(g, i);
	struct csv_disk_bitmap *d;
	struct csv_buf *buf;
	enum csv_err err;

	if (n > nfree)
		return CSV_DAMAGED;
	if (n < nfree) { /* what makes a stretch full needs no bits */
		err = bitmap_dirty(txn, g, i, &buf);
		if (err != CSV_OK)
			return err;
		d = buf->data;
		if (csv_bits_next(d->bits, bit, bit + n, true) != bit + n)
			err = CSV_DAMAGED;
		else
			csv_bits_set(d->bits, bit, n);
		csv_buf_put(g->fs, buf);
		if (err != CSV_OK)
			return err;
	}
	set_free(g, i, nfree - n);
	return CSV_OK;
}

static enum csv_err give_piece(struct csv_txn *txn, struct csv_group *g, uint32_t i, uint32_t bit, uint32_t n)
{
	uint32_t nfree = csv_group_free(g, i), max = stretch_max(g, i);
	struct csv_disk_bitmap *d;
	struct csv_buf *buf;
	enum csv_err err;

	if (n > max - nfree)
		return CSV_DAMAGED; /* freed twice */
	if (nfree + n < max) {
		err = bitmap_dirty(txn, g, i, &buf);
	} else { /* becomes whole: the bits are only looked at, if they count */
		if (nfree == 0)
			goto count;
		err = mixed_get(g, i, &buf);
	}
	if (err != CSV_OK)
		return err;
	d = buf->data;
	if (csv_bits_next(d->bits, bit, bit + n, false) != bit + n)
		err = CSV_DAMAGED;
	else if (nfree + n < max)
		csv_bits_clear(d->bits, bit, n);
	csv_buf_put(g->fs, buf);
	if (err != CSV_OK)
		return err;
count:
	set_free(g, i, nfree + n);
	return CSV_OK;
}

/* Applies take or give to each stretch of a run. */
static enum csv_err each_piece(struct csv_txn *txn, struct csv_group *g, uint64_t off, uint64_t len,
			       enum csv_err (*fn)(struct csv_txn *, struct csv_group *, uint32_t, uint32_t, uint32_t))
{
	enum csv_err err;

	if (off < csv_ag_own(g->len) || off >= g->len || len > g->len - off)
		return CSV_DAMAGED;
	err = csv_txn_dirty(txn, g->buf);
	while (err == CSV_OK && len) {
		uint32_t i = (uint32_t)(off / CSV_BITS_PER_BLOCK), bit = (uint32_t)(off % CSV_BITS_PER_BLOCK);
		uint64_t n = csv_stretch_end(g, i) - off;

		n = n < len ? n : len;
		err = fn(txn, g, i, bit, (uint32_t)n);
		off += n;
		len -= n;
	}
	return err;
}

enum csv_err csv_group_take(struct csv_txn *txn, struct csv_group *g, uint64_t off, uint64_t len)
{
	return each_piece(txn, g, off, len, take_piece);
}

enum csv_err csv_group_give(struct csv_txn *txn, struct csv_group *g, uint64_t off, uint64_t len)
{
	return each_piece(txn, g, off, len, give_piece);
}

/* Longest run of stretch i, or the first of at least `want` blocks, if it is longer than *run. */
static enum csv_err search_stretch(struct csv_group *g, uint32_t i, uint64_t want, struct csv_run *run)
{
	uint32_t from = 0, end = (uint32_t)(csv_stretch_end(g, i) - (uint64_t)i * CSV_BITS_PER_BLOCK);
	uint8_t bits[CSV_BITMAP_BYTES];
	enum csv_err err;

	err = csv_group_view(g, i, bits);
	if (err != CSV_OK)
		return err;
	while (run->len < want) {
		uint32_t start = csv_bits_next(bits, from, end, false);

		if (start == end)
			break;
		from = csv_bits_next(bits, start, end, true);
		if (from - start > run->len)
			*run = (struct csv_run){ (uint64_t)i * CSV_BITS_PER_BLOCK + start, from - start };
	}
	return CSV_OK;
}

/* Stretches that are not whole, in order from the one of `near`: [skip, skip + most) of them. */
static enum csv_err search_mixed(struct csv_group *g, uint32_t first, uint64_t want, unsigned skip, unsigned most,
				 struct csv_run *run)
{
	unsigned seen = 0;

	for (uint32_t k = 0; k < g->bitmaps && seen < skip + most && run->len < want; k++) {
		uint32_t i = (first + k) % g->bitmaps;
		enum csv_err err;

		if (csv_group_free(g, i) <= run->len || csv_group_is_whole(g, i))
			continue;
		if (seen++ < skip)
			continue;
		err = search_stretch(g, i, want, run);
		if (err != CSV_OK)
			return err;
	}
	return CSV_OK;
}

enum csv_err csv_group_search(struct csv_group *g, uint64_t near, uint64_t want, struct csv_run *run)
{
	uint32_t first = near < g->len ? (uint32_t)(near / CSV_BITS_PER_BLOCK) : 0;
	uint64_t enough = want < SEARCH_ENOUGH ? want : SEARCH_ENOUGH;
	enum csv_err err;

	*run = (struct csv_run){ 0, 0 };
	err = search_mixed(g, first, want, 0, SEARCH_MIXED, run);
	for (uint32_t k = 0; err == CSV_OK && run->len < want && k < g->bitmaps; k++) {
		uint32_t i = (first + k) % g->bitmaps;

		if (csv_group_is_whole(g, i) && csv_stretch_end(g, i) - csv_stretch_start(g, i) > run->len)
			*run = (struct csv_run){ csv_stretch_start(g, i),
						 csv_stretch_end(g, i) - csv_stretch_start(g, i) };
	}
	if (err == CSV_OK)
		err = search_mixed(g, first, enough, 0, g->bitmaps, run);
	if (run->len > want)
		run->len = want;
	return err;
}
