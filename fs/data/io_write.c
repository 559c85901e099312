/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing.  Range shared, look-up; if all is written, within the size and made of whole
 * device blocks, it goes straight to the LUN.  Else the range is taken again, alone (J7),
 * and io_slow.c goes on in a worker.
 */
#include <stdlib.h>

#include "fs/data/data_int.h"

void write_end(struct csv_data_req *req, enum csv_err err)
{
	struct csv_data *d = req->d;
	struct csv_file *f = req->file;

	xfer_free(req->xfer);
	req->xfer = NULL;
	req->result = err == CSV_OK ? req->len : 0;
	atomic_fetch_add_explicit(&d->writes, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&d->bytes_written, req->result, memory_order_relaxed);
	csv_span_unlock(&f->spans, &req->span);
	file_end(f);
	if (err == CSV_OK && req->sync)
		sync_start(req);
	else
		req->done(req, err);
}

static void write_landed(struct csv_xfer *x, enum csv_err err)
{
	struct csv_data_req *req = x->req;
	struct csv_env *env = req->d->fs->env;
	struct timespec now;
	int64_t sec;
	uint32_t nsec;

	if (err == CSV_OK) {
		env->wall(env, &sec, &nsec);
		now = (struct timespec){ sec, nsec };
		file_wrote(req->d, req->file, req->generation, 0, &now);
	}
	write_end(req, err);
}

/* *plain: pieces are looked up and the write needs no transaction. fs->meta held shared. */
static enum csv_err write_look(struct csv_xfer *x, bool *plain)
{
	struct csv_data_req *req = x->req;
	struct csv_fs *fs = req->d->fs;
	struct csv_buf *inode;
	enum csv_err err = csv_inode_get(fs, req->file->ref, &inode);

	if (err != CSV_OK)
		return err;
	x->size = csv_le64_get(csv_inode_of(inode)->size);
	*plain = false;
	if (req->off + req->len <= x->size) {
		err = xfer_map(x, inode, req->off, req->off + req->len);
		*plain = err == CSV_OK && xfer_all(x, KIND_BIT(CSV_MAP_WRITTEN));
	}
	csv_buf_put(fs, inode);
	return err;
}

static void slow_work(struct csv_work *work)
{
	write_slow(csv_list_entry(work, struct csv_data_req, work));
}

static void slow_granted(struct csv_span *r)
{
	struct csv_data_req *req = csv_list_entry(r, struct csv_data_req, span);

	csv_workq_add(req->d->workq, &req->work);
}

void write_take_alone(struct csv_data_req *req, uint64_t first, uint64_t last)
{
	req->work.fn = slow_work;
	req->span = (struct csv_span){ .first = first, .last = last, .excl = true, .granted = slow_granted };
	if (csv_span_lock(&req->file->spans, &req->span))
		csv_workq_add(req->d->workq, &req->work);
}

static void go_alone(struct csv_data_req *req)
{
	uint64_t first = req->span.first, last = req->span.last;

	csv_span_unlock(&req->file->spans, &req->span);
	write_take_alone(req, first, last);
}

/* Range held shared, whole device blocks. */
static void write_start(struct csv_data_req *req)
{
	struct csv_fs *fs = req->d->fs;
	struct csv_xfer *x = req->xfer;
	enum csv_err err = csv_fs_state(fs);
	bool plain;

	if (err == CSV_OK) {
		csv_fs_lock_shared(fs);
		err = write_look(x, &plain);
		csv_fs_unlock(fs);
	}
	if (err == CSV_OK && !plain && req->map_only)
		err = CSV_WAIT;
	if (err != CSV_OK) {
		write_end(req, err);
		return;
	}
	if (!plain) {
		go_alone(req);
		return;
	}
	x->mem = req->buf;
	x->start = req->off;
	x->end = req->off + req->len;
	x->landed = write_landed;
	req->generation = csv_bdev_generation(fs->dev);
	xfer_submit(x, CSV_IO_WRITE, KIND_BIT(CSV_MAP_WRITTEN));
}

static void write_work(struct csv_work *work)
{
	write_start(csv_list_entry(work, struct csv_data_req, work));
}

static void write_granted(struct csv_span *r)
{
	struct csv_data_req *req = csv_list_entry(r, struct csv_data_req, span);

	csv_workq_add(req->d->workq, &req->work);
}

static enum csv_err write_check(struct csv_data_req *req)
{
	if (req->d->fs->readonly)
		return CSV_ROFS;
	if (!req->append && (req->off > CSV_FILE_SIZE_MAX || req->len > CSV_FILE_SIZE_MAX - req->off))
		return CSV_FBIG;
	return xfer_new(req, &req->xfer);
}

void csv_data_write(struct csv_data *d, struct csv_data_req *req)
{
	uint64_t unit = d->fs->dev->geo.block;
	uint64_t first = req->off / CSV_BLOCK_SIZE, last = (req->off + req->len - 1) / CSV_BLOCK_SIZE;
	enum csv_err err;

	req->d = d;
	req->xfer = NULL;
	req->result = 0;
	req->tid = 0;
	req->zero = false;
	req->err_from = atomic_load(&req->file->err_seq);
	err = req->len ? write_check(req) : CSV_OK;
	if (err != CSV_OK || req->len == 0) {
		req->done(req, err);
		return;
	}
	file_begin(req->file);
	if (req->append) {
		/* The end of file must stand still. */
		write_take_alone(req, 0, UINT64_MAX);
	} else if ((req->off | req->len) & (unit - 1)) {
		write_take_alone(req, first, last);
	} else {
		req->work.fn = write_work;
		req->span = (struct csv_span){ .first = first, .last = last, .granted = write_granted };
		if (csv_span_lock(&req->file->spans, &req->span))
			write_start(req);
	}
}
