/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Crash images: what a disk with a volatile cache may hold after a power cut.
 *
 * The model, for a cut right after entry `cut` of the log:
 *  - a write that had completed when a flush was submitted that has completed is
 *    on the disk, and so is every FUA write that has completed;
 *  - of each other write any 512-byte sectors may be there: all, none, the first
 *    or last few, or any choice;
 *  - a write that was submitted before the cut and completed after it is like one
 *    that was never flushed;
 *  - of two writes to one sector the one that was submitted after the other had
 *    completed wins if both are there; of two that were under way at the same
 *    time either may.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/env.h"
#include "lib/record_impl.h"

#define SECTOR 512u
#define SEED_KEEP_ALL 0
#define SEED_LOSE_ALL 1
#define AHEAD 4096 /* entries after the cut that are looked at for writes under way */

struct crash {
	struct recorder *r;
	size_t cut;
	uint64_t seed, rng;
	unsigned lose, tear; /* of 256, of this image */
	unsigned char *map;
	struct rec_entry **todo; /* writes to apply, in order */
	size_t ntodo;
};

static unsigned pick(struct crash *c, unsigned n)
{
	return (unsigned)(csv_rng_next(&c->rng) % n);
}

/* True if the write is on the disk whatever the cache did. */
static bool is_durable(const struct crash *c, const struct rec_entry *w)
{
	if (w->index > c->cut)
		return false;
	return w->index < c->r->log[c->cut]->durable || (w->e.flags & CSV_IO_FUA);
}

static void apply(struct crash *c, const struct rec_entry *w, size_t from, size_t to)
{
	memcpy(c->map + w->e.off + from, w->data + from, to - from);
}

/* Some of the write's sectors: the first ones, the last ones, or any. */
static void apply_torn(struct crash *c, const struct rec_entry *w)
{
	unsigned n = (unsigned)(w->e.len / SECTOR), k;

	if (n < 2)
		return; /* one sector is atomic: it is lost */
	switch (pick(c, 3)) {
	case 0:
		apply(c, w, 0, (size_t)(1 + pick(c, n - 1)) * SECTOR);
		break;
	case 1:
		apply(c, w, (size_t)(1 + pick(c, n - 1)) * SECTOR, w->e.len);
		break;
	default:
		for (k = 0; k < n; k++)
			if (pick(c, 2))
				apply(c, w, (size_t)k * SECTOR, (size_t)(k + 1) * SECTOR);
	}
}

static void apply_volatile(struct crash *c, const struct rec_entry *w)
{
	if (c->seed == SEED_LOSE_ALL)
		return;
	if (c->seed != SEED_KEEP_ALL) {
		if (pick(c, 256) < c->lose)
			return;
		if (pick(c, 256) < c->tear) {
			apply_torn(c, w);
			return;
		}
	}
	apply(c, w, 0, w->e.len);
}

static void take(struct crash *c, struct rec_entry *entry)
{
	if (entry->e.kind == CSV_RECORD_WRITE)
		c->todo[c->ntodo++] = entry;
}

/* Swaps neighbours that were under way at the same time. */
static void shuffle(struct crash *c)
{
	for (size_t i = 0; i + 1 < c->ntodo; i++) {
		struct rec_entry *a = c->todo[i], *b = c->todo[i + 1];

		if (b->submitted <= a->index && a->submitted <= b->index && pick(c, 2)) {
			c->todo[i] = b;
			c->todo[i + 1] = a;
		}
	}
}

static bool collect(struct crash *c, size_t from)
{
	struct recorder *r = c->r;
	size_t end = c->cut + 1, ahead = r->count - end < AHEAD ? r->count - end : AHEAD;

	c->todo = malloc((end - from + ahead + 1) * sizeof(struct rec_entry *));
	if (!c->todo)
		return false;
	for (size_t i = from; i < end; i++)
		take(c, r->log[i]);
	if (c->seed == SEED_KEEP_ALL || c->seed == SEED_LOSE_ALL)
		return true;
	for (size_t i = end; i < end + ahead; i++)
		if (r->log[i]->submitted <= c->cut)
			take(c, r->log[i]);
	shuffle(c);
	return true;
}

static enum csv_err build(struct crash *c, struct csv_bdev **image)
{
	struct recorder *r = c->r;
	size_t upto = 0;
	int fd = rec_image_for(r, r->count ? r->log[c->cut]->durable : 0, &upto);
	enum csv_err err = csv_bdev_mem_private(fd, &r->dev.geo, image);

	if (err != CSV_OK || r->count == 0)
		return err;
	if (!collect(c, upto)) {
		csv_bdev_close(*image);
		*image = NULL;
		return CSV_NOMEM;
	}
	c->map = csv_bdev_mem_map(*image);
	for (size_t i = 0; i < c->ntodo; i++) {
		if (is_durable(c, c->todo[i]))
			apply(c, c->todo[i], 0, c->todo[i]->e.len);
		else
			apply_volatile(c, c->todo[i]);
	}
	free(c->todo);
	return CSV_OK;
}

enum csv_err csv_record_crash(struct csv_bdev *dev, size_t cut, uint64_t seed, struct csv_bdev **image)
{
	struct recorder *r = (struct recorder *)dev;
	struct crash c = { .r = r, .cut = cut, .seed = seed, .rng = seed * 0x9e3779b97f4a7c15ull + cut };
	enum csv_err err;

	*image = NULL;
	/* Some images lose nearly all and some nearly nothing: an even mix would hardly meet either. */
	c.lose = pick(&c, 256);
	c.tear = pick(&c, 128);
	pthread_mutex_lock(&r->lock);
	if (r->count && cut >= r->count)
		c.cut = r->count - 1;
	err = build(&c, image);
	pthread_mutex_unlock(&r->lock);
	return err;
}
