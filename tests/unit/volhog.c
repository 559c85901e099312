/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Takes all of a volume, so that tests can say how many allocations still succeed. */
#include <stdlib.h>
#include <string.h>

#include "vol.h"

struct run {
	uint64_t start, len;
};
struct vol_hog {
	struct run *data;
	size_t ndata;
	uint64_t *meta;
	size_t nmeta;
};

#define META_MIN 40u /* more metadata blocks than any one operation needs */
#define OWNER(v) ((v)->fs.sb.root_inode)

static void *grow(void *p, size_t n, size_t size)
{
	p = realloc(p, (n + 1) * size);
	assert_non_null(p);
	return p;
}

static bool take_data(struct vol *v, struct vol_hog *h)
{
	struct csv_txn *txn;
	struct run r;
	enum csv_err err;

	assert_int_equal(csv_txn_begin(&v->fs, 0, &txn), CSV_OK);
	err = csv_alloc_data(txn, &v->ctx.ags, 0, 1u << 20, &r.start, &r.len);
	if (err) {
		assert_int_equal(err, CSV_NOSPC);
		csv_txn_abort(txn);
		return false;
	}
	csv_txn_end(txn);
	h->data = grow(h->data, h->ndata, sizeof(*h->data));
	h->data[h->ndata++] = r;
	return true;
}

static bool take_meta(struct vol *v, struct vol_hog *h)
{
	struct csv_txn *txn;
	struct csv_buf *buf;
	enum csv_err err;

	assert_int_equal(csv_txn_begin(&v->fs, 0, &txn), CSV_OK);
	err = csv_alloc_meta(txn, &v->ctx.ags, 0, CSV_MAGIC_LEASE, OWNER(v), csv_res(CSV_RES_LEASE, OWNER(v)), &buf);
	if (err) {
		assert_int_equal(err, CSV_NOSPC);
		csv_txn_abort(txn);
		return false;
	}
	h->meta = grow(h->meta, h->nmeta, sizeof(*h->meta));
	h->meta[h->nmeta++] = buf->block;
	csv_buf_put(&v->fs, buf);
	csv_txn_end(txn);
	return true;
}

void vol_hog_take(struct vol *v)
{
	struct vol_hog *h = calloc(1, sizeof(*h));

	assert_non_null(h);
	assert_null(v->hog);
	v->hog = h;
	vol_hold_all(v);
	assert_int_equal(csv_journal_commit(&v->fs, 0), CSV_OK);
	for (unsigned i = 0; i < META_MIN && take_meta(v, h); i++)
		; /* chunks for these, before there is no room for any */
	while (take_data(v, h))
		;
	while (take_meta(v, h))
		;
	assert_int_equal(csv_journal_commit(&v->fs, 0), CSV_OK);
}

bool vol_hog_give_meta(struct vol *v)
{
	struct vol_hog *h = v->hog;
	struct csv_txn *txn;
	struct csv_buf *buf;

	if (!h || !h->nmeta)
		return false;
	assert_int_equal(csv_txn_begin(&v->fs, 0, &txn), CSV_OK);
	assert_int_equal(
	    csv_buf_get(&v->fs, h->meta[--h->nmeta], CSV_MAGIC_LEASE, OWNER(v), csv_res(CSV_RES_LEASE, OWNER(v)), &buf),
	    CSV_OK);
	assert_int_equal(csv_free_meta(txn, buf), CSV_OK);
	csv_txn_end(txn);
	assert_int_equal(csv_journal_commit(&v->fs, 0), CSV_OK);
	return true;
}

bool vol_hog_give_data(struct vol *v, uint64_t n)
{
	struct vol_hog *h = v->hog;
	struct csv_txn *txn;
	struct run *r;

	if (!h || !h->ndata)
		return false;
	r = &h->data[h->ndata - 1];
	if (n > r->len)
		n = r->len;
	r->len -= n;
	assert_int_equal(csv_txn_begin(&v->fs, 0, &txn), CSV_OK);
	assert_int_equal(csv_free_data(txn, r->start + r->len, n), CSV_OK);
	csv_txn_end(txn);
	if (!r->len)
		h->ndata--;
	assert_int_equal(csv_journal_commit(&v->fs, 0), CSV_OK);
	return true;
}

void vol_hog_give_all(struct vol *v)
{
	while (vol_hog_give_meta(v))
		;
	while (vol_hog_give_data(v, UINT64_MAX))
		;
	if (v->hog) {
		free(v->hog->data);
		free(v->hog->meta);
		free(v->hog);
	}
	v->hog = NULL;
}

void vol_hog_count(const struct vol *v, uint64_t *data, uint64_t *meta)
{
	*data = *meta = 0;
	if (!v->hog)
		return;
	*meta = v->hog->nmeta;
	for (size_t i = 0; i < v->hog->ndata; i++)
		*data += v->hog->data[i].len;
}
