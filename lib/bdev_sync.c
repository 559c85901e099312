/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Waiting for block I/O: single requests, and batches of them. */
#include <pthread.h>
#include <stdlib.h>

#include "lib/bdev_impl.h"
#include "lib/list.h"

struct csv_bdev_batch {
	struct csv_bdev *dev;
	pthread_mutex_t lock; /* covers the next three */
	pthread_cond_t idle;
	unsigned inflight;
	enum csv_err err;     /* the first, but for those of patient requests that met LUNFULL */
	bool full;	      /* there are such */
	struct batch_io *ios; /* all, for the end; the caller's thread only */
};

struct batch_io {
	struct batch_io *next;
	struct csv_io io;
	struct iovec iov;
	bool again; /* patient, and the LUN was full */
};

static void batch_init(struct csv_bdev_batch *batch, struct csv_bdev *dev)
{
	*batch = (struct csv_bdev_batch){ .dev = dev, .err = CSV_OK };
	pthread_mutex_init(&batch->lock, NULL);
	pthread_cond_init(&batch->idle, NULL);
}

static void batch_done(struct csv_io *io, enum csv_err err)
{
	struct batch_io *b = csv_list_entry(io, struct batch_io, io);
	struct csv_bdev_batch *batch = io->arg;

	pthread_mutex_lock(&batch->lock);
	b->again = err == CSV_LUNFULL && (io->flags & CSV_IO_PATIENT);
	if (b->again)
		batch->full = true;
	else if (batch->err == CSV_OK)
		batch->err = err;
	/* Signal under the lock: the waiter frees the batch as soon as it has it. */
	if (--batch->inflight == 0)
		pthread_cond_signal(&batch->idle);
	pthread_mutex_unlock(&batch->lock);
}

static void batch_submit(struct csv_bdev_batch *batch, struct batch_io *b)
{
	b->io.done = batch_done;
	b->io.arg = batch;
	pthread_mutex_lock(&batch->lock);
	batch->inflight++;
	pthread_mutex_unlock(&batch->lock);
	csv_bdev_submit(batch->dev, &b->io);
}

static enum csv_err batch_drain(struct csv_bdev_batch *batch)
{
	enum csv_err err;

	pthread_mutex_lock(&batch->lock);
	while (batch->inflight > 0)
		pthread_cond_wait(&batch->idle, &batch->lock);
	err = batch->err;
	if (err == CSV_OK && batch->full)
		err = CSV_LUNFULL;
	batch->full = false;
	pthread_mutex_unlock(&batch->lock);
	return err;
}

/* Waits for all, and for space if the patient ones lack it: what was refused is written again. */
static enum csv_err batch_end(struct csv_bdev_batch *batch)
{
	struct csv_space_wait wait = { 0 };
	enum csv_err err;

	while (err = batch_drain(batch), csv_bdev_wait_space(batch->dev, &wait, batch->err == CSV_OK ? err : CSV_OK))
		for (struct batch_io *b = batch->ios; b; b = b->next)
			if (b->again)
				batch_submit(batch, b);
	pthread_cond_destroy(&batch->idle);
	pthread_mutex_destroy(&batch->lock);
	return err;
}

static enum csv_err sync_one(struct csv_bdev *dev, enum csv_io_op op, uint64_t off, void *buf, size_t len,
			     unsigned flags)
{
	struct csv_bdev_batch batch;
	struct batch_io b = { .iov = { buf, len } };

	b.io = (struct csv_io){ .op = op, .flags = flags, .off = off, .len = len, .iov = &b.iov, .niov = 1 };
	batch_init(&batch, dev);
	batch.ios = &b;
	batch_submit(&batch, &b);
	return batch_end(&batch);
}

enum csv_err csv_bdev_read(struct csv_bdev *dev, uint64_t off, void *buf, size_t len)
{
	return sync_one(dev, CSV_IO_READ, off, buf, len, 0);
}

enum csv_err csv_bdev_write(struct csv_bdev *dev, uint64_t off, const void *buf, size_t len, unsigned flags)
{
	return sync_one(dev, CSV_IO_WRITE, off, (void *)(uintptr_t)buf, len, flags);
}

enum csv_err csv_bdev_flush(struct csv_bdev *dev)
{
	return sync_one(dev, CSV_IO_FLUSH, 0, NULL, 0, 0);
}

enum csv_err csv_bdev_flush_patient(struct csv_bdev *dev)
{
	return sync_one(dev, CSV_IO_FLUSH, 0, NULL, 0, CSV_IO_PATIENT);
}

enum csv_err csv_bdev_batch_begin(struct csv_bdev *dev, struct csv_bdev_batch **batch)
{
	*batch = malloc(sizeof(**batch));
	if (!*batch)
		return CSV_NOMEM;
	batch_init(*batch, dev);
	return CSV_OK;
}

static enum csv_err batch_add(struct csv_bdev_batch *batch, enum csv_io_op op, uint64_t off, void *buf, size_t len,
			      unsigned flags)
{
	struct batch_io *b = malloc(sizeof(*b));

	if (!b) {
		/* The wait must not report success for a batch that lacks a part. */
		pthread_mutex_lock(&batch->lock);
		if (batch->err == CSV_OK)
			batch->err = CSV_NOMEM;
		pthread_mutex_unlock(&batch->lock);
		return CSV_NOMEM;
	}
	b->next = batch->ios;
	batch->ios = b;
	b->iov = (struct iovec){ buf, len };
	b->io = (struct csv_io){ .op = op, .flags = flags, .off = off, .len = len, .iov = &b->iov, .niov = 1 };
	b->again = false;
	batch_submit(batch, b);
	return CSV_OK;
}

enum csv_err csv_bdev_batch_write(struct csv_bdev_batch *batch, uint64_t off, const void *buf, size_t len,
				  unsigned flags)
{
	return batch_add(batch, CSV_IO_WRITE, off, (void *)(uintptr_t)buf, len, flags);
}

enum csv_err csv_bdev_batch_read(struct csv_bdev_batch *batch, uint64_t off, void *buf, size_t len)
{
	return batch_add(batch, CSV_IO_READ, off, buf, len, 0);
}

enum csv_err csv_bdev_batch_wait(struct csv_bdev_batch *batch)
{
	enum csv_err err = batch_end(batch);

	for (struct batch_io *b = batch->ios, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	free(batch);
	return err;
}
