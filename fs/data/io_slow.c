/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes that change the map or the size, or that touch parts of device blocks.  Alone on
 * their blocks from look-up to conversion: two neighbours in one block can never fill up
 * each other's sectors with zeros (J7).
 *
 *	look up -> holes allocated unwritten (transactions) -> [io_zero.c] -> edges filled up -> data written
 *	-> converted, size set (transactions, ordered behind the data) -> answered
 */
#include <stdlib.h>
#include <string.h>

#include "fs/data/data_int.h"
#include "fs/data/map_int.h"
#include "fs/meta/op.h"

/* Changes the inode in a transaction of its own; `step` does it. */
typedef enum csv_err (*step_fn)(struct csv_txn *txn, struct csv_data_req *req, struct csv_buf *inode, void *arg);

static enum csv_err in_txn(struct csv_data_req *req, step_fn step, void *arg, uint64_t *tid)
{
	struct csv_fs *fs = req->d->fs;
	uint64_t want = req->len / CSV_BLOCK_SIZE + 2;
	struct csv_buf *inode;
	struct csv_txn *txn;
	enum csv_err err = csv_op_begin(&req->ctx, &txn);

	if (err != CSV_OK)
		return err;
	err = csv_inode_get(fs, req->file->ref, &inode);
	if (err == CSV_OK) {
		err = csv_txn_dirty(txn, inode);
		if (err == CSV_OK)
			err = step(txn, req, inode, arg);
		csv_buf_put(fs, inode);
	}
	return csv_op_end(&req->ctx, txn, err, want, tid);
}

/* ---- look-up and allocation --------------------------------------------------- */

static enum csv_err look(struct csv_xfer *x)
{
	struct csv_data_req *req = x->req;
	struct csv_fs *fs = req->d->fs;
	struct csv_buf *inode;
	enum csv_err err;

	csv_fs_lock_shared(fs);
	err = csv_inode_get(fs, req->file->ref, &inode);
	if (err == CSV_OK) {
		x->size = csv_le64_get(csv_inode_of(inode)->size);
		if (req->append)
			req->off = x->size;
		x->need_first = req->off / CSV_BLOCK_SIZE;
		x->need_last = (req->off + req->len - 1) / CSV_BLOCK_SIZE;
		if (req->len > CSV_FILE_SIZE_MAX - req->off)
			err = CSV_FBIG;
		else
			err = xfer_map(x, inode, req->off, req->off + req->len);
		csv_buf_put(fs, inode);
	}
	csv_fs_unlock(fs);
	return err;
}

static enum csv_err step_alloc(struct csv_txn *txn, struct csv_data_req *req, struct csv_buf *inode, void *arg)
{
	struct csv_piece *hole = arg;
	uint64_t done = 0;
	enum csv_err err = csv_map_alloc(txn, &req->ctx, inode, hole->lblk, hole->len, &done);

	if (err != CSV_OK)
		return err;
	CSV_ASSERT(done > 0 && done <= hole->len);
	hole->lblk += done;
	hole->len -= done;
	return CSV_OK;
}

/* All holes of the range become unwritten blocks. */
static enum csv_err fill_holes(struct csv_xfer *x)
{
	bool any = false;
	enum csv_err err;

	for (unsigned i = 0; i < x->n; i++) {
		struct csv_piece hole = x->piece[i];

		if (hole.kind != CSV_MAP_HOLE)
			continue;
		any = true;
		while (hole.len > 0) {
			err = in_txn(x->req, step_alloc, &hole, &x->req->tid);
			if (err != CSV_OK)
				return err;
		}
	}
	return any ? look(x) : CSV_OK;
}

/* ---- edges ---------------------------------------------------------------------- */

/* Reads [from, to) of a written block of the pieces; bytes at and beyond the end of file count as zero. */
static enum csv_err read_back(struct csv_xfer *x, const struct csv_piece *p, uint64_t from, uint64_t to)
{
	uint64_t at = p->phys * CSV_BLOCK_SIZE + (from - p->lblk * CSV_BLOCK_SIZE);
	unsigned char *mem = x->mem + (from - x->start);
	enum csv_err err = csv_bdev_read(x->req->d->fs->dev, at, mem, to - from);

	if (err == CSV_OK && to > x->size)
		memset(x->size > from ? mem + (x->size - from) : mem, 0, to - (x->size > from ? x->size : from));
	return err;
}

/*
 * Where the transfer begins and ends on the LUN: an unwritten edge block is written whole, of a
 * written one only its device blocks.  A write that begins behind the end of file, in the block where
 * that lies, also covers what is between: after a crash there may be more than zeros.
 */
static void span_of(struct csv_xfer *x)
{
	struct csv_data_req *req = x->req;
	uint64_t unit = req->d->fs->dev->geo.block, off = req->off, end = off + req->len;
	bool head_new = x->piece[0].kind == CSV_MAP_UNWRITTEN;
	bool tail_new = x->piece[x->n - 1].kind == CSV_MAP_UNWRITTEN;

	if (x->size < off && x->size / CSV_BLOCK_SIZE == off / CSV_BLOCK_SIZE)
		off = x->size;
	x->start = round_down(off, head_new ? CSV_BLOCK_SIZE : unit);
	x->end = round_up(end, tail_new ? CSV_BLOCK_SIZE : unit);
}

/* Makes memory for the whole span: the caller's data with its edges filled up. */
static enum csv_err fill_edges(struct csv_xfer *x)
{
	struct csv_data_req *req = x->req;
	uint64_t unit = req->d->fs->dev->geo.block, off = req->off, end = off + req->len;
	struct csv_piece *head = &x->piece[0], *tail = &x->piece[x->n - 1];
	enum csv_err err;

	span_of(x);
	if (x->start == off && x->end == end) {
		x->mem = req->buf;
		return CSV_OK;
	}
	err = xfer_bounce(x, x->start, x->end);
	if (err != CSV_OK)
		return err;
	memset(x->mem, 0, off - x->start);
	memset(x->mem + (end - x->start), 0, x->end - end);
	if (x->start < off && head->kind == CSV_MAP_WRITTEN)
		err = read_back(x, head, x->start, round_up(off, unit));
	/* Once is enough if head and tail are the same device block. */
	if (err == CSV_OK && x->end > end && tail->kind == CSV_MAP_WRITTEN &&
	    !(x->start < off && head->kind == CSV_MAP_WRITTEN && round_down(end, unit) < round_up(off, unit)))
		err = read_back(x, tail, round_down(end, unit), x->end);
	memcpy(x->mem + (off - x->start), req->buf, req->len);
	return err;
}

/* True if a file of this size ends within a block before the one where the write begins. */
static bool leaves_gap(const struct csv_data_req *req, uint64_t size)
{
	return size % CSV_BLOCK_SIZE && size / CSV_BLOCK_SIZE < req->off / CSV_BLOCK_SIZE;
}

/* The block of the old end of file has to be ours too: it gets its zeros from us. */
static bool gap_not_ours(struct csv_xfer *x)
{
	if (!leaves_gap(x->req, x->size))
		return false;
	x->need_first = x->size / CSV_BLOCK_SIZE;
	return x->req->span.first > x->need_first;
}

/*
 * The gap between the old end of file and the end of its block becomes visible: it must be zeros on the LUN.  It is,
 * unless a write died between data and size.
 */
static enum csv_err clear_gap(struct csv_xfer *x)
{
	return map_zero_part(x->req->d->fs, x->req->file->ref, x->size, round_up(x->size, CSV_BLOCK_SIZE));
}

/* ---- conversion ------------------------------------------------------------------ */

struct convert {
	const struct csv_piece *piece; /* NULL: none */
	bool last;		       /* set size and time too */
};

static enum csv_err step_convert(struct csv_txn *txn, struct csv_data_req *req, struct csv_buf *inode, void *arg)
{
	struct csv_disk_inode *di = csv_inode_of(inode);
	const struct convert *c = arg;
	enum csv_err err = CSV_OK;

	if (c->piece)
		err = csv_map_convert(txn, &req->ctx, inode, c->piece->conv_lblk, c->piece->conv_len, req->generation);
	if (err != CSV_OK)
		return err;
	csv_txn_ordered(txn, req->generation);
	if (!c->last)
		return CSV_OK;
	/* Others may have moved the end of file since: to where a gap would be left that nobody has cleared. */
	if (csv_le64_get(di->size) != req->xfer->size && leaves_gap(req, csv_le64_get(di->size)))
		return CSV_AGAIN;
	if (csv_le64_get(di->size) < req->off + req->len)
		di->size = csv_le64_of(req->off + req->len);
	di->mtime = di->ctime = csv_now(req->d->fs);
	return CSV_OK;
}

static enum csv_err convert(struct csv_xfer *x)
{
	struct csv_data_req *req = x->req;
	struct convert c = { 0 };
	enum csv_err err;

	for (unsigned i = 0; i < x->n; i++) {
		if (x->piece[i].kind != CSV_MAP_UNWRITTEN)
			continue;
		if (c.piece && (err = in_txn(req, step_convert, &c, &req->tid)) != CSV_OK)
			return err;
		c.piece = &x->piece[i];
		atomic_fetch_add_explicit(&req->d->converted, c.piece->len, memory_order_relaxed);
	}
	c.last = true;
	return in_txn(req, step_convert, &c, &req->tid);
}

static bool needs_txn(const struct csv_xfer *x)
{
	return x->req->off + x->req->len > x->size || !xfer_all(x, KIND_BIT(CSV_MAP_WRITTEN));
}

static void convert_work(struct csv_work *work)
{
	struct csv_data_req *req = csv_list_entry(work, struct csv_data_req, work);
	struct csv_xfer *x = req->xfer;
	struct csv_disk_time t;
	struct timespec now;
	enum csv_err err = (enum csv_err)atomic_load(&x->err);

	if (err == CSV_OK && needs_txn(x)) {
		err = convert(x);
		if (err == CSV_OK)
			file_wrote(req->d, req->file, req->generation, req->tid, NULL);
		if (err == CSV_NOSPC && map_is_full(&req->ctx)) {
			req->zero = true;
			err = CSV_AGAIN;
		}
	} else if (err == CSV_OK) {
		t = csv_now(req->d->fs);
		now = (struct timespec){ (int64_t)csv_le64_get(t.sec), csv_le32_get(t.nsec) };
		file_wrote(req->d, req->file, req->generation, 0, &now);
	}
	if (err == CSV_AGAIN)
		write_slow(req); /* from the look-up; what is written by now is written over */
	else
		write_end(req, err);
}

static void slow_landed(struct csv_xfer *x, enum csv_err err)
{
	/* We may be in the device's thread: transactions are a worker's. */
	x->req->work.fn = convert_work;
	csv_workq_add(x->req->d->workq, &x->req->work);
}

/* AGAIN: the write has to be alone on more blocks: x->need_first to x->need_last. */
static enum csv_err prepare(struct csv_xfer *x)
{
	struct csv_data_req *req = x->req;
	enum csv_err err;

	if (req->map_only && needs_txn(x))
		return CSV_WAIT;
	err = fill_holes(x);
	if (err == CSV_OK && gap_not_ours(x))
		err = CSV_AGAIN;
	if (err != CSV_OK)
		return err;
	req->generation = csv_bdev_generation(req->d->fs->dev);
	err = leaves_gap(req, x->size) ? clear_gap(x) : CSV_OK;
	if (err == CSV_OK && req->zero)
		err = zero_extents(x);
	return err == CSV_OK ? fill_edges(x) : err;
}

static void take_more(struct csv_data_req *req)
{
	uint64_t first = req->span.first, last = req->span.last;

	if (req->xfer->need_first < first)
		first = req->xfer->need_first;
	if (req->xfer->need_last > last)
		last = req->xfer->need_last;
	csv_span_unlock(&req->file->spans, &req->span);
	write_take_alone(req, first, last);
}

void write_slow(struct csv_data_req *req)
{
	struct csv_xfer *x = req->xfer;
	enum csv_err err = csv_fs_state(req->d->fs);

	if (err == CSV_OK)
		err = look(x);
	if (err == CSV_OK)
		err = gap_not_ours(x) && !req->map_only ? CSV_AGAIN : prepare(x);
	if (err == CSV_AGAIN) {
		take_more(req);
		return;
	}
	if (err != CSV_OK) {
		write_end(req, err);
		return;
	}
	x->landed = slow_landed;
	xfer_submit(x, CSV_IO_WRITE, KINDS_MAPPED);
}
