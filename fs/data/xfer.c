/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One read or write as pieces, each alike on the LUN. */
#include <stdlib.h>
#include <string.h>

#include "fs/data/data_int.h"

enum csv_err xfer_new(struct csv_data_req *req, struct csv_xfer **out)
{
	struct csv_xfer *x = calloc(1, sizeof(*x));

	if (!x)
		return CSV_NOMEM;
	x->req = req;
	x->piece = &x->first;
	x->room = 1;
	*out = x;
	return CSV_OK;
}

void xfer_free(struct csv_xfer *x)
{
	if (!x)
		return;
	if (x->piece != &x->first)
		free(x->piece);
	free(x->bounce);
	free(x);
}

enum csv_err xfer_bounce(struct csv_xfer *x, uint64_t start, uint64_t end)
{
	void *mem = NULL;

	free(x->bounce);
	x->bounce = NULL;
	if (posix_memalign(&mem, CSV_BLOCK_SIZE, end - start))
		return CSV_NOMEM;
	x->bounce = mem;
	x->mem = mem;
	x->start = start;
	x->end = end;
	return CSV_OK;
}

static enum csv_err grow(struct csv_xfer *x)
{
	unsigned room = x->room * 4;
	struct csv_piece *p = malloc(room * sizeof(*p));

	if (!p)
		return CSV_NOMEM;
	memcpy(p, x->piece, x->n * sizeof(*p));
	if (x->piece != &x->first)
		free(x->piece);
	x->piece = p;
	x->room = room;
	return CSV_OK;
}

enum csv_err xfer_map(struct csv_xfer *x, struct csv_buf *inode, uint64_t from, uint64_t to)
{
	uint64_t lblk = from / CSV_BLOCK_SIZE, end = (to - 1) / CSV_BLOCK_SIZE + 1;
	enum csv_err err;

	x->n = 0;
	while (lblk < end) {
		struct csv_map map;
		struct csv_piece *p;

		if (x->n == x->room && (err = grow(x)) != CSV_OK)
			return err;
		err = csv_map_lookup(x->req->d->fs, inode, lblk, end - lblk, &map);
		if (err != CSV_OK)
			return err;
		CSV_ASSERT(map.lblk == lblk && map.len > 0 && map.len <= end - lblk);
		p = &x->piece[x->n++];
		*p = (struct csv_piece){ .lblk = lblk, .len = map.len, .kind = map.kind, .phys = map.phys };
		p->conv_lblk = p->lblk;
		p->conv_len = p->len;
		lblk += map.len;
	}
	return CSV_OK;
}

bool xfer_all(const struct csv_xfer *x, unsigned kinds)
{
	for (unsigned i = 0; i < x->n; i++)
		if (!(KIND_BIT(x->piece[i].kind) & kinds))
			return false;
	return true;
}

/* The last part to end, whichever it is, tells. */
static void part_done(struct csv_xfer *x, enum csv_err err)
{
	if (err != CSV_OK) {
		int none = CSV_OK;

		atomic_compare_exchange_strong(&x->err, &none, (int)err);
	}
	if (atomic_fetch_sub(&x->left, 1) == 1)
		x->landed(x, (enum csv_err)atomic_load(&x->err));
}

static void piece_done(struct csv_io *io, enum csv_err err)
{
	part_done(io->arg, err);
}

/* Bytes of the file that the piece and [x->start, x->end) have in common; false if none. */
static bool piece_span(const struct csv_xfer *x, const struct csv_piece *p, uint64_t *from, uint64_t *to)
{
	*from = p->lblk * CSV_BLOCK_SIZE;
	*to = (p->lblk + p->len) * CSV_BLOCK_SIZE;
	if (*from < x->start)
		*from = x->start;
	if (*to > x->end)
		*to = x->end;
	return *from < *to;
}

static void piece_submit(struct csv_xfer *x, struct csv_piece *p, enum csv_io_op op, uint64_t from, uint64_t to)
{
	p->iov = (struct iovec){ x->mem + (from - x->start), to - from };
	p->io = (struct csv_io){
		.op = op,
		.off = p->phys * CSV_BLOCK_SIZE + (from - p->lblk * CSV_BLOCK_SIZE),
		.len = to - from,
		.iov = &p->iov,
		.niov = 1,
		.done = piece_done,
		.arg = x,
	};
	atomic_fetch_add(&x->left, 1);
	csv_bdev_submit(x->req->d->fs->dev, &p->io);
}

void xfer_submit(struct csv_xfer *x, enum csv_io_op op, unsigned kinds)
{
	uint64_t from, to;

	/* One part is ours until all are on their way, lest landed() run, and free x, too early. */
	atomic_store(&x->left, 1);
	atomic_store(&x->err, CSV_OK);
	for (unsigned i = 0; i < x->n; i++) {
		struct csv_piece *p = &x->piece[i];

		if (!piece_span(x, p, &from, &to))
			continue;
		if (KIND_BIT(p->kind) & kinds)
			piece_submit(x, p, op, from, to);
		else if (op == CSV_IO_READ)
			memset(x->mem + (from - x->start), 0, to - from);
	}
	part_done(x, CSV_OK);
}
