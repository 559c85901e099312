/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The course of one request on a file or device. */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

#include "lib/bdev_file.h"
#include "lib/iov.h"

#define BOUNCE_MAX (1u << 20)
#define PIECE_MAX (1u << 30) /* the kernel moves at most 2 GiB - 4 KiB at once (read(2)) */

int file_req_rwf(const struct file_req *req)
{
	/* RWF_DSYNC is FUA where the device has it, else the kernel flushes: durable either way. */
	return req->io->op == CSV_IO_WRITE && (req->io->flags & CSV_IO_FUA) ? RWF_DSYNC : 0;
}

/* Prepares the piece at req->pos. */
static void next_piece(struct file_req *req)
{
	struct csv_io *io = req->io;
	uint64_t left = io->len - req->pos;

	if (io->op == CSV_IO_FLUSH || io->op == CSV_IO_DISCARD)
		return;
	if (req->bounce) {
		req->len = left < req->bounce_size ? left : req->bounce_size;
		if (io->op == CSV_IO_WRITE)
			csv_iov_gather(io->iov, io->niov, req->pos, req->bounce, req->len);
		req->own[0] = (struct iovec){ req->bounce, req->len };
		req->vec = req->own;
		req->nvec = 1;
	} else if (req->pos == 0 && io->niov <= IOV_MAX && io->len <= PIECE_MAX) {
		req->vec = io->iov;
		req->nvec = io->niov;
		req->len = io->len;
	} else {
		req->nvec = csv_iov_slice(io->iov, io->niov, req->pos, PIECE_MAX, req->own, FILE_PIECE_VECS, &req->len);
		req->vec = req->own;
	}
}

static enum csv_err get_bounce(struct file_req *req)
{
	struct csv_io *io = req->io;

	if (!req->f->direct || csv_iov_aligned(io->iov, io->niov, req->f->mem_align, req->f->dev.geo.block))
		return CSV_OK;
	req->bounce_size = io->len < BOUNCE_MAX ? io->len : BOUNCE_MAX;
	return posix_memalign(&req->bounce, 4096, req->bounce_size) ? CSV_NOMEM : CSV_OK;
}

static void end(struct file_req *req, enum csv_err err)
{
	struct file_dev *f = req->f;
	struct csv_io *io = req->io;

	free(req->bounce);
	free(req);
	io->done(io, err);
	pthread_mutex_lock(&f->lock);
	if (--f->inflight == 0)
		pthread_cond_broadcast(&f->idle);
	pthread_mutex_unlock(&f->lock);
}

static enum csv_err outcome(struct file_req *req, int64_t res)
{
	if (res >= 0)
		return CSV_OK;
	/* A discard is a hint. */
	if (req->io->op == CSV_IO_DISCARD && (res == -EOPNOTSUPP || res == -ENOSYS || res == -EINVAL))
		return CSV_OK;
	/*
	 * After a failed fdatasync the kernel may have thrown away what it could not
	 * write and let the next one succeed: that one must not count (J4).
	 */
	if (req->io->op == CSV_IO_FLUSH || file_req_rwf(req))
		csv_bdev_generation_bump(&req->f->dev);
	/* A disk of the kernel: 27h/07h (BLK_STS_NOSPC). A file: what it lies on is full. */
	if (res == -ENOSPC || res == -EDQUOT)
		return CSV_LUNFULL;
	return csv_err_from_errno((int)-res);
}

bool file_req_piece_done(struct file_req *req, int64_t res)
{
	struct csv_io *io = req->io;

	if (res == -EAGAIN || res == -EINTR)
		return true; /* the same piece again */
	if (res < 0 || io->op == CSV_IO_FLUSH || io->op == CSV_IO_DISCARD) {
		end(req, outcome(req, res));
		return false;
	}
	if (res == 0 || (size_t)res > req->len) {
		end(req, CSV_IO); /* end of file: it has been truncated under us */
		return false;
	}
	if (req->bounce && io->op == CSV_IO_READ)
		csv_iov_scatter(io->iov, io->niov, req->pos, req->bounce, (size_t)res);
	req->pos += (uint64_t)res;
	if (req->pos == io->len) {
		end(req, CSV_OK);
		return false;
	}
	next_piece(req);
	return true;
}

void file_submit(struct csv_bdev *dev, struct csv_io *io)
{
	struct file_dev *f = (struct file_dev *)dev;
	enum csv_err err = csv_bdev_check(dev, io, f->rdonly);
	struct file_req *req;

	/* An empty transfer would look like the end of the file. */
	if (err != CSV_OK || (io->op != CSV_IO_FLUSH && io->len == 0)) {
		io->done(io, err);
		return;
	}
	req = calloc(1, sizeof(*req));
	if (!req) {
		io->done(io, CSV_NOMEM);
		return;
	}
	req->f = f;
	req->io = io;
	csv_bdev_count(dev, io);
	pthread_mutex_lock(&f->lock);
	f->inflight++;
	pthread_mutex_unlock(&f->lock);
	if (io->op == CSV_IO_READ || io->op == CSV_IO_WRITE)
		err = get_bounce(req);
	if (err != CSV_OK) {
		end(req, err);
		return;
	}
	next_piece(req);
	f->engine->push(f, req);
}
