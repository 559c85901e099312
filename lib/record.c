/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Recording block device: passes requests on and keeps their log. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/iov.h"
#include "lib/record_impl.h"

/* A request on its way through the device below. */
struct rec_req {
	struct recorder *r;
	struct csv_io io; /* what the device below sees */
	struct csv_io *orig;
	struct rec_entry *entry; /* becomes part of the log on completion */
};

/* Makes room for one more entry. Caller holds the lock. */
static bool grow(struct recorder *r)
{
	size_t room = r->room ? 2 * r->room : 256;
	struct rec_entry **log;

	if (r->count < r->room)
		return true;
	log = realloc(r->log, room * sizeof(*log));
	if (!log)
		return false;
	r->log = log;
	r->room = room;
	return true;
}

/* Appends; a flush makes durable what had completed when it was submitted. Caller holds the lock. */
static void append(struct recorder *r, struct rec_entry *entry)
{
	size_t durable = r->count ? r->log[r->count - 1]->durable : 0;

	/* A log with a gap would turn a crash test green that is red. */
	if (!grow(r))
		abort();
	if (entry->e.kind == CSV_RECORD_FLUSH && entry->submitted > durable)
		durable = entry->submitted;
	entry->durable = durable;
	entry->index = r->count;
	r->log[r->count++] = entry;
}

static void rec_done(struct csv_io *io, enum csv_err err)
{
	struct rec_req *req = io->arg;
	struct recorder *r = req->r;
	struct csv_io *orig = req->orig;

	/* A failed write may still be on the disk, in whole or part: as one that was never flushed. */
	if (err != CSV_OK)
		req->entry->e.flags = 0;
	__atomic_store_n(&r->dev.generation, csv_bdev_generation(r->below), __ATOMIC_RELEASE);
	if (err != CSV_OK && req->entry->e.kind == CSV_RECORD_FLUSH) {
		free(req->entry);
	} else {
		pthread_mutex_lock(&r->lock);
		append(r, req->entry);
		pthread_mutex_unlock(&r->lock);
	}
	free(req);
	orig->done(orig, err);
}

/* The log entry of a request. A discard is kept as a write of zeros: like one it may be lost or late. */
static struct rec_entry *new_entry(const struct csv_io *io)
{
	size_t len = io->op == CSV_IO_FLUSH ? 0 : io->len;
	struct rec_entry *entry = calloc(1, sizeof(*entry) + len);

	if (!entry)
		return NULL;
	entry->e.kind = io->op == CSV_IO_FLUSH ? CSV_RECORD_FLUSH : CSV_RECORD_WRITE;
	entry->e.off = io->op == CSV_IO_FLUSH ? 0 : io->off;
	entry->e.len = len;
	entry->e.data = entry->data;
	if (io->op == CSV_IO_WRITE) {
		entry->e.flags = io->flags & CSV_IO_FUA;
		csv_iov_gather(io->iov, io->niov, 0, entry->data, len);
	}
	return entry;
}

static void rec_submit(struct csv_bdev *dev, struct csv_io *io)
{
	struct recorder *r = (struct recorder *)dev;
	enum csv_err err = csv_bdev_check(dev, io, false);
	struct rec_req *req = NULL;

	if (err == CSV_OK && io->op == CSV_IO_READ) {
		csv_bdev_count(dev, io);
		csv_bdev_submit(r->below, io);
		return;
	}
	if (err == CSV_OK) {
		req = calloc(1, sizeof(*req));
		if (req)
			req->entry = new_entry(io);
		if (!req || !req->entry)
			err = CSV_NOMEM;
	}
	if (err != CSV_OK) {
		free(req);
		io->done(io, err);
		return;
	}
	csv_bdev_count(dev, io);
	req->r = r;
	req->orig = io;
	req->io = (struct csv_io){ .op = io->op, .flags = io->flags, .off = io->off, .len = io->len };
	req->io.iov = io->iov;
	req->io.niov = io->niov;
	req->io.done = rec_done;
	req->io.arg = req;
	pthread_mutex_lock(&r->lock);
	req->entry->submitted = r->count;
	pthread_mutex_unlock(&r->lock);
	csv_bdev_submit(r->below, &req->io);
}

static void forget(struct recorder *r)
{
	for (size_t i = 0; i < r->count; i++)
		free(r->log[i]);
	r->count = 0;
	rec_images_drop(r);
}

static void rec_close(struct csv_bdev *dev)
{
	struct recorder *r = (struct recorder *)dev;

	csv_bdev_close(r->below); /* waits for requests in flight */
	forget(r);
	free(r->log);
	close(r->base);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static const struct csv_bdev_ops rec_ops = {
	.name = "record",
	.submit = rec_submit,
	.close = rec_close,
};

enum csv_err csv_record_open(struct csv_bdev *below, struct csv_bdev **dev)
{
	struct recorder *r = calloc(1, sizeof(*r));
	enum csv_err err;

	*dev = NULL;
	if (!r)
		return CSV_NOMEM;
	r->base = rec_image_take(below, &err);
	if (r->base < 0) {
		free(r);
		return err;
	}
	r->dev.ops = &rec_ops;
	r->dev.geo = below->geo;
	r->dev.generation = csv_bdev_generation(below);
	r->below = below;
	for (int i = 0; i < REC_SNAPSHOTS; i++)
		r->snap[i].fd = -1;
	pthread_mutex_init(&r->lock, NULL);
	*dev = &r->dev;
	return CSV_OK;
}

void csv_record_mark(struct csv_bdev *dev, uint64_t mark)
{
	struct recorder *r = (struct recorder *)dev;
	struct rec_entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		abort();
	entry->e.kind = CSV_RECORD_MARK;
	entry->e.mark = mark;
	pthread_mutex_lock(&r->lock);
	entry->submitted = r->count;
	append(r, entry);
	pthread_mutex_unlock(&r->lock);
}

size_t csv_record_count(struct csv_bdev *dev)
{
	struct recorder *r = (struct recorder *)dev;
	size_t n;

	pthread_mutex_lock(&r->lock);
	n = r->count;
	pthread_mutex_unlock(&r->lock);
	return n;
}

const struct csv_record_entry *csv_record_entry(struct csv_bdev *dev, size_t i)
{
	struct recorder *r = (struct recorder *)dev;
	const struct csv_record_entry *e;

	pthread_mutex_lock(&r->lock);
	e = i < r->count ? &r->log[i]->e : NULL;
	pthread_mutex_unlock(&r->lock);
	return e;
}

enum csv_err csv_record_reset(struct csv_bdev *dev)
{
	struct recorder *r = (struct recorder *)dev;
	enum csv_err err;
	int base = rec_image_take(r->below, &err);

	if (base < 0)
		return err;
	pthread_mutex_lock(&r->lock);
	forget(r);
	close(r->base);
	r->base = base;
	pthread_mutex_unlock(&r->lock);
	return CSV_OK;
}
