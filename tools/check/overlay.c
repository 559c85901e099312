/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copy-on-write block device.  What was written is kept by 4096-byte page with a
 * bit for each 512-byte sector, so that a write never has to read from below.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bdev_impl.h"
#include "lib/iov.h"
#include "tools/check/overlay.h"

#define PAGE 4096u
#define SECTOR 512u
#define BUCKETS_MIN 256u

struct page {
	struct page *next;
	uint64_t no;
	uint8_t have; /* bit i: sector i was written */
	uint8_t data[PAGE];
};

struct overlay {
	struct csv_bdev dev;
	struct csv_bdev *below;
	pthread_mutex_t lock; /* covers all below */
	struct page **bucket;
	size_t buckets, count;
};

/* A read on its way through the device below. */
struct pass {
	struct csv_io io;
	struct csv_io *orig;
	struct overlay *o;
};

static size_t bucket_of(const struct overlay *o, uint64_t no)
{
	return (size_t)((no * 0x9e3779b97f4a7c15ull) >> 32) & (o->buckets - 1);
}

static struct page *find(const struct overlay *o, uint64_t no)
{
	struct page *p = o->bucket[bucket_of(o, no)];

	while (p && p->no != no)
		p = p->next;
	return p;
}

/* Doubles the table; without memory for it chains get longer, no more. */
static void grow(struct overlay *o)
{
	struct overlay bigger = { .buckets = 2 * o->buckets };

	bigger.bucket = calloc(bigger.buckets, sizeof(struct page *));
	if (!bigger.bucket)
		return;
	for (size_t i = 0; i < o->buckets; i++) {
		while (o->bucket[i]) {
			struct page *p = o->bucket[i];
			size_t to = bucket_of(&bigger, p->no);

			o->bucket[i] = p->next;
			p->next = bigger.bucket[to];
			bigger.bucket[to] = p;
		}
	}
	free(o->bucket);
	o->bucket = bigger.bucket;
	o->buckets = bigger.buckets;
}

static struct page *find_or_add(struct overlay *o, uint64_t no)
{
	struct page *p = find(o, no);

	if (p)
		return p;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	if (o->count >= 2 * o->buckets)
		grow(o);
	p->no = no;
	p->next = o->bucket[bucket_of(o, no)];
	o->bucket[bucket_of(o, no)] = p;
	o->count++;
	return p;
}

static enum csv_err keep(struct overlay *o, const struct csv_io *io)
{
	for (uint64_t done = 0; done < io->len; done += SECTOR) {
		uint64_t off = io->off + done;
		struct page *p = find_or_add(o, off / PAGE);

		if (!p)
			return CSV_NOMEM;
		csv_iov_gather(io->iov, io->niov, done, p->data + off % PAGE, SECTOR);
		p->have |= (uint8_t)(1u << (off % PAGE / SECTOR));
	}
	return CSV_OK;
}

/* Lays what was written over what was read from below. */
static void patch(struct overlay *o, const struct csv_io *io)
{
	for (uint64_t done = 0; done < io->len; done += SECTOR) {
		uint64_t off = io->off + done;
		const struct page *p = find(o, off / PAGE);

		if (p && (p->have >> (off % PAGE / SECTOR)) & 1)
			csv_iov_scatter(io->iov, io->niov, done, p->data + off % PAGE, SECTOR);
	}
}

static void read_done(struct csv_io *io, enum csv_err err)
{
	struct pass *pass = io->arg;
	struct csv_io *orig = pass->orig;

	if (err == CSV_OK) {
		pthread_mutex_lock(&pass->o->lock);
		if (pass->o->count)
			patch(pass->o, orig);
		pthread_mutex_unlock(&pass->o->lock);
	}
	free(pass);
	orig->done(orig, err);
}

static enum csv_err pass_read(struct overlay *o, struct csv_io *io)
{
	struct pass *pass = calloc(1, sizeof(*pass));

	if (!pass)
		return CSV_NOMEM;
	pass->o = o;
	pass->orig = io;
	pass->io =
	    (struct csv_io){ .op = CSV_IO_READ, .off = io->off, .len = io->len, .iov = io->iov, .niov = io->niov };
	pass->io.done = read_done;
	pass->io.arg = pass;
	csv_bdev_submit(o->below, &pass->io);
	return CSV_OK;
}

static void overlay_submit(struct csv_bdev *dev, struct csv_io *io)
{
	struct overlay *o = (struct overlay *)dev;
	enum csv_err err = csv_bdev_check(dev, io, false);

	if (err == CSV_OK) {
		csv_bdev_count(dev, io);
		if (io->op == CSV_IO_READ) {
			err = pass_read(o, io);
			if (err == CSV_OK)
				return; /* read_done() answers */
		} else if (io->op == CSV_IO_WRITE) {
			pthread_mutex_lock(&o->lock);
			err = keep(o, io);
			pthread_mutex_unlock(&o->lock);
		}
	}
	io->done(io, err);
}

static void overlay_close(struct csv_bdev *dev)
{
	struct overlay *o = (struct overlay *)dev;

	for (size_t i = 0; i < o->buckets; i++) {
		while (o->bucket[i]) {
			struct page *p = o->bucket[i];

			o->bucket[i] = p->next;
			free(p);
		}
	}
	free(o->bucket);
	pthread_mutex_destroy(&o->lock);
	free(o);
}

static const struct csv_bdev_ops overlay_ops = {
	.name = "overlay",
	.submit = overlay_submit,
	.close = overlay_close,
};

enum csv_err csv_overlay_open(struct csv_bdev *below, struct csv_bdev **dev)
{
	struct overlay *o = calloc(1, sizeof(*o));

	*dev = NULL;
	if (!o)
		return CSV_NOMEM;
	o->buckets = BUCKETS_MIN;
	o->bucket = calloc(o->buckets, sizeof(struct page *));
	if (!o->bucket) {
		free(o);
		return CSV_NOMEM;
	}
	o->dev.ops = &overlay_ops;
	o->dev.geo = below->geo;
	o->below = below;
	pthread_mutex_init(&o->lock, NULL);
	*dev = &o->dev;
	return CSV_OK;
}

size_t csv_overlay_blocks(struct csv_bdev *dev)
{
	return ((struct overlay *)dev)->count;
}
