/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File engine without io_uring: a few threads with preadv2 and pwritev2. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/bdev_file.h"

#define POOL_THREADS 8

static int64_t run_piece(struct file_req *req)
{
	struct csv_io *io = req->io;
	off_t off = (off_t)(io->off + req->pos);
	int64_t res = -1;

	switch (io->op) {
	case CSV_IO_READ:
		res = preadv(req->f->fd, req->vec, req->nvec, off);
		break;
	case CSV_IO_WRITE:
		res = pwritev2(req->f->fd, req->vec, req->nvec, off, file_req_rwf(req));
		break;
	case CSV_IO_FLUSH:
		res = fdatasync(req->f->fd);
		break;
	case CSV_IO_DISCARD:
		res = fallocate(req->f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, (off_t)io->len);
		break;
	}
	return res < 0 ? -errno : res;
}

static void run(struct csv_work *work)
{
	struct file_req *req = csv_list_entry(work, struct file_req, work);

	while (file_req_piece_done(req, run_piece(req)))
		;
}

static enum csv_err pool_start(struct file_dev *f)
{
	struct csv_workq *q;
	enum csv_err err = csv_workq_new(POOL_THREADS, &q);

	if (err == CSV_OK)
		f->engine_data = q;
	return err;
}

static void pool_push(struct file_dev *f, struct file_req *req)
{
	req->work.fn = run;
	csv_workq_add(f->engine_data, &req->work);
}

static void pool_stop(struct file_dev *f)
{
	csv_workq_free(f->engine_data);
}

const struct file_engine file_engine_pool = { "threads", pool_start, pool_push, pool_stop };
