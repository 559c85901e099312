/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading: range shared, so that no block is freed or half converted under us; look-up;
 * written pieces from the LUN, the others zeros.
 */
#include <stdlib.h>
#include <string.h>

#include "fs/data/data_int.h"

static void read_end(struct csv_data_req *req, enum csv_err err)
{
	struct csv_data *d = req->d;
	struct csv_file *f = req->file;

	xfer_free(req->xfer);
	req->xfer = NULL;
	if (err != CSV_OK)
		req->result = 0;
	atomic_fetch_add_explicit(&d->reads, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&d->bytes_read, req->result, memory_order_relaxed);
	csv_span_unlock(&f->spans, &req->span);
	file_end(f);
	req->done(req, err);
}

static void read_landed(struct csv_xfer *x, enum csv_err err)
{
	struct csv_data_req *req = x->req;

	if (err == CSV_OK && x->bounce)
		memcpy(req->buf, x->bounce + (req->off - x->start), req->result);
	read_end(req, err);
}

/* The device works in its own blocks: round out, into own memory if the caller's has no room for that. */
static enum csv_err read_place(struct csv_xfer *x)
{
	struct csv_data_req *req = x->req;
	uint64_t unit = req->d->fs->dev->geo.block;
	uint64_t start = round_down(req->off, unit), end = round_up(req->off + req->result, unit);

	if (start != req->off || end - start > req->len)
		return xfer_bounce(x, start, end);
	x->mem = req->buf;
	x->start = start;
	x->end = end;
	return CSV_OK;
}

/* Fills req->result and the pieces; fs->meta held shared. */
static enum csv_err read_look(struct csv_xfer *x)
{
	struct csv_data_req *req = x->req;
	struct csv_fs *fs = req->d->fs;
	struct csv_buf *inode;
	enum csv_err err = csv_inode_get(fs, req->file->ref, &inode);

	if (err != CSV_OK)
		return err;
	x->size = csv_le64_get(csv_inode_of(inode)->size);
	req->result = 0;
	if (req->off < x->size) {
		req->result = x->size - req->off < req->len ? x->size - req->off : req->len;
		err = xfer_map(x, inode, req->off, req->off + req->result);
	}
	csv_buf_put(fs, inode);
	return err;
}

static void read_start(struct csv_data_req *req)
{
	struct csv_fs *fs = req->d->fs;
	struct csv_xfer *x;
	enum csv_err err = csv_fs_state(fs);

	if (err == CSV_OK)
		err = xfer_new(req, &req->xfer);
	if (err != CSV_OK) {
		read_end(req, err);
		return;
	}
	x = req->xfer;
	csv_fs_lock_shared(fs);
	err = read_look(x);
	csv_fs_unlock(fs);
	if (err == CSV_OK && req->result > 0)
		err = read_place(x);
	if (err != CSV_OK || req->result == 0) {
		read_end(req, err);
		return;
	}
	x->landed = read_landed;
	xfer_submit(x, CSV_IO_READ, KIND_BIT(CSV_MAP_WRITTEN));
}

static void read_work(struct csv_work *work)
{
	read_start(csv_list_entry(work, struct csv_data_req, work));
}

static void read_granted(struct csv_span *r)
{
	struct csv_data_req *req = csv_list_entry(r, struct csv_data_req, span);

	csv_workq_add(req->d->workq, &req->work);
}

void csv_data_read(struct csv_data *d, struct csv_data_req *req)
{
	req->d = d;
	req->xfer = NULL;
	req->result = 0;
	req->tid = 0;
	if (req->len == 0 || req->off >= CSV_FILE_SIZE_MAX) {
		req->done(req, CSV_OK);
		return;
	}
	req->work.fn = read_work;
	req->span = (struct csv_span){
		.first = req->off / CSV_BLOCK_SIZE,
		.last = (req->off + req->len - 1) / CSV_BLOCK_SIZE,
		.granted = read_granted,
	};
	file_begin(req->file);
	if (csv_span_lock(&req->file->spans, &req->span))
		read_start(req);
}
