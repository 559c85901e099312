/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The record of one transaction, as it lies in the journal: built from frozen images, written in the right order. */
#include "fs/disk/super.h"
#include "fs/journal/journal_priv.h"
#include "lib/bug.h"
#include "lib/crc32c.h"

/* Blocks of one write request. */
#define WRITE_PIECE 256u

/* Absolute block number of record block i. */
static uint64_t rec_block(const struct csv_journal *j, const struct csv_jtxn *t, uint32_t i)
{
	return j->start + csv_jring_add(j->ring, t->pos, i);
}

static void *rec_init(struct csv_journal *j, struct csv_jtxn *t, uint32_t i, uint32_t magic, uint64_t version)
{
	void *page = t->rec + (size_t)i * CSV_BLOCK_SIZE;
	struct csv_block_hdr *h = page;

	csv_block_init(page, j->fs->sb.uuid, magic, rec_block(j, t, i), 0, version);
	h->slot = csv_le16_of((uint16_t)j->fs->slot);
	h->incarnation = csv_le32_of(j->fs->incarnation);
	h->seq = csv_le64_of(t->seq);
	return page;
}

/* A block that would not be believed when read must not be written. */
static enum csv_err build_image(struct csv_journal *j, struct csv_jimage *img)
{
	csv_verifier verify = csv_verifier_of(csv_le32_get(((struct csv_block_hdr *)img->data)->magic));
	uint64_t home = img->buf->pub.block;
	struct csv_why why;
	enum csv_err err;

	csv_why_init(&why);
	err = verify ? verify(&j->fs->sb, img->data, &why) : CSV_OK;
	if (err != CSV_OK) {
		csv_fs_withdraw(j->fs, CSV_DAMAGED, "block %llu would be written damaged: %s", (unsigned long long)home,
				why.text);
		return err;
	}
	csv_block_seal(img->data, home);
	return CSV_OK;
}

static void build_desc(struct csv_journal *j, struct csv_jtxn *t, uint32_t index)
{
	uint32_t first = index * CSV_JDESC_ENTRIES, at = index * (CSV_JDESC_ENTRIES + 1);
	struct csv_disk_jdesc *d = rec_init(j, t, at, CSV_MAGIC_JDESC, index);
	uint32_t n = t->n - first < CSV_JDESC_ENTRIES ? t->n - first : CSV_JDESC_ENTRIES;

	d->count = csv_le32_of(n);
	d->more = csv_le32_of(first + n < t->n);
	for (uint32_t i = 0; i < n; i++) {
		d->entry[i].block = csv_le64_of(t->images[first + i].buf->pub.block);
		d->entry[i].crc = csv_le32_of(csv_crc32c(0, t->images[first + i].data, CSV_BLOCK_SIZE));
	}
	csv_block_seal(d, rec_block(j, t, at));
}

/* Step 2. No lock: the record is this thread's alone. */
enum csv_err csv_record_build(struct csv_journal *j, struct csv_jtxn *t)
{
	uint32_t body = t->rec_blocks - 1;
	struct csv_disk_jcommit *c;
	enum csv_err err;
	uint32_t nsec;
	int64_t sec;

	for (uint32_t i = 0; i < t->n; i++) {
		err = build_image(j, &t->images[i]);
		if (err != CSV_OK)
			return err;
	}
	for (uint32_t i = 0; i * CSV_JDESC_ENTRIES < t->n; i++)
		build_desc(j, t, i);
	j->fs->env->wall(j->fs->env, &sec, &nsec);
	c = rec_init(j, t, body, CSV_MAGIC_JCOMMIT, 0);
	c->blocks = csv_le32_of(body);
	c->crc = csv_le32_of(csv_crc32c(0, t->rec, (size_t)body * CSV_BLOCK_SIZE));
	c->time_ns = csv_le64_of((uint64_t)sec * 1000000000u + nsec);
	csv_block_seal(c, rec_block(j, t, body));
	return CSV_OK;
}

/* Writes blocks [from, to) of the record; they may wrap around the end of the journal. */
static enum csv_err write_record(struct csv_journal *j, struct csv_jtxn *t, uint32_t from, uint32_t to, unsigned flags)
{
	struct csv_bdev_batch *batch;
	enum csv_err err;

	err = csv_fs_state(j->fs);
	if (err != CSV_OK)
		return err;
	err = csv_bdev_batch_begin(j->fs->dev, &batch);
	if (err != CSV_OK)
		return err;
	while (from < to) {
		uint32_t pos = csv_jring_add(j->ring, t->pos, from), n = to - from;

		if (n > j->ring - pos + 1)
			n = j->ring - pos + 1;
		if (n > WRITE_PIECE)
			n = WRITE_PIECE;
		csv_bdev_batch_write(batch, (j->start + pos) << CSV_BLOCK_SHIFT, t->rec + (size_t)from * CSV_BLOCK_SIZE,
				     (size_t)n * CSV_BLOCK_SIZE, flags | CSV_IO_PATIENT);
		from += n;
	}
	return csv_bdev_batch_wait(batch);
}

/* Once through step 3 for a transaction whose data must be durable first. *generation: the device's at the start. */
static enum csv_err write_ordered(struct csv_journal *j, struct csv_jtxn *t, uint64_t generation)
{
	uint32_t body = t->rec_blocks - 1;
	enum csv_err err;

	err = write_record(j, t, 0, body, 0);
	if (err != CSV_OK)
		return err;
	if (!CSV_BUG(NO_FLUSH_BEFORE_COMMIT)) {
		err = csv_bdev_flush_patient(j->fs->dev);
		if (err != CSV_OK || generation != csv_bdev_generation(j->fs->dev))
			return err; /* not yet the commit block: the caller sees the generation and starts again */
	}
	if (j->fs->dev->geo.fua)
		return write_record(j, t, body, t->rec_blocks, CSV_IO_FUA);
	err = write_record(j, t, body, t->rec_blocks, 0);
	return err == CSV_OK ? csv_bdev_flush_patient(j->fs->dev) : err;
}

static enum csv_err write_plain(struct csv_journal *j, struct csv_jtxn *t)
{
	enum csv_err err = write_record(j, t, 0, t->rec_blocks, 0);

	return err == CSV_OK ? csv_bdev_flush_patient(j->fs->dev) : err;
}

/* The device's memory was lost after ordered data had been written and before it was flushed (J4). */
static enum csv_err data_lost(struct csv_journal *j, uint64_t generation)
{
	csv_journal_lost_fn fn;
	enum csv_err err;
	void *arg;

	pthread_mutex_lock(&j->mutex);
	fn = j->lost;
	arg = j->lost_arg;
	pthread_mutex_unlock(&j->mutex);
	err = fn ? fn(arg, generation) : CSV_IO;
	if (err != CSV_OK)
		csv_fs_withdraw(j->fs, CSV_IO,
				"the LUN's connection or power was lost before written data was flushed");
	return err;
}

/* Steps 3 and 4. */
enum csv_err csv_record_write(struct csv_journal *j, struct csv_jtxn *t)
{
	struct csv_bdev *dev = j->fs->dev;
	uint64_t generation;
	enum csv_err err;

	if (CSV_BUG(HOME_BEFORE_COMMIT))
		for (uint32_t i = 0; i < t->n; i++)
			csv_bdev_write(dev, t->images[i].buf->pub.block << CSV_BLOCK_SHIFT, t->images[i].data,
				       CSV_BLOCK_SIZE, 0);
	for (unsigned tries = 0; tries < CSV_FLUSH_TRIES; tries++) {
		generation = csv_bdev_generation(dev);
		if (t->ordered && t->generation != generation) {
			err = data_lost(j, generation);
			if (err != CSV_OK)
				return err;
			t->generation = generation;
		}
		err = t->ordered ? write_ordered(j, t, generation) : write_plain(j, t);
		if (err != CSV_OK)
			return err;
		if (generation == csv_bdev_generation(dev))
			return CSV_OK;
	}
	return CSV_IO;
}
