/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The commit of one transaction, in the commit thread:
 *
 *   1. freeze    with fs->meta exclusive: images of all its blocks are copied, a new
 *                running transaction starts; operations go on meanwhile
 *   2. build     descriptors, checksums, commit block; each image is verified
 *   3. write     ordered: descriptors and images - flush - commit block - flush;
 *                else all at once - flush: the commit's checksum covers them (J3)
 *   4. J4        if the device's generation changed since before the first write of
 *                what the flush covers, 3 is done again from memory
 *   5. durable   images take the place of older ones that were not home yet; hooks,
 *                then waiters, are told
 *
 * An error in 1 to 4 withdraws the volume: whether the transaction is durable is
 * then unknown, and only replay decides.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs/disk/super.h"
#include "fs/journal/journal_priv.h"
#include "lib/bug.h"
#include "lib/crc32c.h"

/* Room for blocks that join while the record is being allocated. */
#define FREEZE_SLACK 64u
/* Blocks of one write request. */
#define WRITE_PIECE 256u

struct csv_jtxn *csv_jtxn_new(uint64_t tid)
{
	struct csv_jtxn *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->tid = tid;
	csv_list_init(&t->link);
	csv_list_init(&t->blocks);
	csv_list_init(&t->hooks);
	return t;
}

void csv_jtxn_free(struct csv_jtxn *t)
{
	if (!t)
		return;
	free(t->rec);
	free(t->images);
	free(t);
}

/* Copies one block of the running transaction into its record; fs->meta exclusive, mutex held. */
static void freeze_block(struct csv_journal *j, struct csv_jtxn *t, struct csv_cbuf *b, uint32_t i)
{
	struct csv_jimage *img = &t->images[i];
	struct csv_block_hdr *h = b->pub.data;

	CSV_ASSERT(!b->frozen);
	h->version = csv_le64_of(csv_le64_get(h->version) + 1); /* J1: once per block and transaction */
	h->slot = csv_le16_of((uint16_t)j->fs->slot);
	h->incarnation = csv_le32_of(j->fs->incarnation);
	h->seq = csv_le64_of(t->seq);
	img->txn = t;
	img->buf = b;
	img->data = t->rec + (size_t)csv_jrec_image(i) * CSV_BLOCK_SIZE;
	memcpy(img->data, b->pub.data, CSV_BLOCK_SIZE);
	csv_list_del(&b->run);
	b->frozen = img;
}

/* Makes the running transaction the committing one; fs->meta exclusive, mutex held. */
static void freeze_locked(struct csv_journal *j, struct csv_jtxn *next)
{
	struct csv_jtxn *t = j->running;
	uint32_t i = 0;

	next->tid = t->tid + 1;
	j->running = next;
	j->committing = t;
	if (t->n == 0)
		return; /* hooks alone: nothing to write */
	t->seq = j->commit_seq;
	t->pos = j->commit_pos;
	t->rec_blocks = csv_jrec_blocks(t->n);
	t->left = t->n;
	while (!csv_list_empty(&t->blocks))
		freeze_block(j, t, csv_list_entry(t->blocks.next, struct csv_cbuf, run), i++);
	CSV_ASSERT(i == t->n);
	j->used += t->rec_blocks;
	CSV_ASSERT(j->used <= j->ring); /* csv_txn_begin() saw to it */
}

/* Step 1. The memory is got before fs->meta is taken, as much as the transaction seems to need. */
static enum csv_err freeze(struct csv_journal *j)
{
	struct csv_jimage *images = NULL;
	struct csv_jtxn *next = NULL;
	uint8_t *rec = NULL;
	uint32_t room;
	bool done;

	do {
		pthread_mutex_lock(&j->mutex);
		room = j->running->n + FREEZE_SLACK;
		pthread_mutex_unlock(&j->mutex);
		free(rec);
		free(images);
		if (!next)
			next = csv_jtxn_new(0);
		rec = aligned_alloc(CSV_BLOCK_SIZE, (size_t)csv_jrec_blocks(room) * CSV_BLOCK_SIZE);
		images = calloc(room, sizeof(*images));
		if (!next || !rec || !images)
			goto nomem;
		csv_fs_lock_excl(j->fs);
		pthread_mutex_lock(&j->mutex);
		done = j->running->n <= room;
		if (done) {
			j->running->rec = rec;
			j->running->images = images;
			freeze_locked(j, next);
		}
		pthread_mutex_unlock(&j->mutex);
		csv_fs_unlock(j->fs);
	} while (!done);
	return CSV_OK;
nomem:
	free(rec);
	free(images);
	csv_jtxn_free(next);
	return CSV_NOMEM;
}

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
static enum csv_err build(struct csv_journal *j, struct csv_jtxn *t)
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
				     (size_t)n * CSV_BLOCK_SIZE, flags);
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
		err = csv_bdev_flush(j->fs->dev);
		if (err != CSV_OK || generation != csv_bdev_generation(j->fs->dev))
			return err; /* not yet the commit block: the caller sees the generation and starts again */
	}
	if (j->fs->dev->geo.fua)
		return write_record(j, t, body, t->rec_blocks, CSV_IO_FUA);
	err = write_record(j, t, body, t->rec_blocks, 0);
	return err == CSV_OK ? csv_bdev_flush(j->fs->dev) : err;
}

static enum csv_err write_plain(struct csv_journal *j, struct csv_jtxn *t)
{
	enum csv_err err = write_record(j, t, 0, t->rec_blocks, 0);

	return err == CSV_OK ? csv_bdev_flush(j->fs->dev) : err;
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
static enum csv_err write_txn(struct csv_journal *j, struct csv_jtxn *t)
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

/* Step 5: the images become what checkpoints write (J5). */
static void make_durable(struct csv_journal *j, struct csv_jtxn *t)
{
	pthread_mutex_lock(&j->mutex);
	for (uint32_t i = 0; i < t->n; i++) {
		struct csv_cbuf *b = t->images[i].buf;
		struct csv_jimage *older = b->committed;

		b->frozen = NULL;
		b->committed = &t->images[i];
		if (older) { /* a newer durable image covers it: nobody needs the older one at home */
			older->buf = NULL;
			older->txn->left--;
		}
	}
	j->durable_tid = t->tid;
	j->committing = NULL;
	j->last_commit_ns = j->fs->env->mono_ns(j->fs->env);
	if (t->n) {
		csv_list_push_back(&j->log, &t->link);
		j->commit_pos = csv_jring_add(j->ring, j->commit_pos, t->rec_blocks);
		j->commit_seq++;
		j->stats.commits++;
		j->stats.blocks_journalled += t->n;
		if (j->used > j->ring / 2 && !j->want_home) {
			j->want_home = true;
			pthread_cond_broadcast(&j->wake);
		}
	}
	pthread_mutex_unlock(&j->mutex);
}

static void commit_one(struct csv_journal *j)
{
	struct csv_list hooks;
	struct csv_jtxn *t;
	enum csv_err err;
	bool empty;

	err = freeze(j);
	if (err != CSV_OK) {
		csv_fs_withdraw(j->fs, err, "transaction cannot be committed: %s", csv_err_text(err));
		return;
	}
	t = j->committing;
	csv_list_init(&hooks);
	while (!csv_list_empty(&t->hooks)) {
		struct csv_list *pos = t->hooks.next;

		csv_list_del(pos);
		csv_list_push_back(&hooks, pos);
	}
	if (t->n) {
		err = build(j, t);
		if (err == CSV_OK)
			err = write_txn(j, t);
	}
	if (err != CSV_OK) {
		csv_fs_withdraw(j->fs, err == CSV_FENCED ? CSV_FENCED : CSV_IO, "journal cannot be written: %s",
				csv_err_text(err));
		csv_journal_run_hooks(&hooks, csv_fs_state(j->fs));
		return; /* t stays in j->committing until close */
	}
	empty = t->n == 0;
	make_durable(j, t); /* in the log now: a checkpoint may free it at any time */
	if (empty)
		csv_jtxn_free(t);
	csv_journal_run_hooks(&hooks, CSV_OK);
	csv_journal_tell(j, CSV_OK);
}

/* The volume is withdrawn: nothing will become durable any more. */
static void fail_all(struct csv_journal *j)
{
	struct csv_list hooks;

	csv_list_init(&hooks);
	pthread_mutex_lock(&j->mutex);
	while (!csv_list_empty(&j->running->hooks)) {
		struct csv_list *pos = j->running->hooks.next;

		csv_list_del(pos);
		csv_list_push_back(&hooks, pos);
	}
	j->want_tid = j->durable_tid;
	pthread_mutex_unlock(&j->mutex);
	csv_journal_run_hooks(&hooks, csv_fs_state(j->fs));
	csv_journal_tell(j, csv_fs_state(j->fs));
}

/* Waits until there is something to commit or the journal closes; mutex held. True: commit. */
static bool wait_for_work(struct csv_journal *j)
{
	struct csv_env *env = j->fs->env;
	uint64_t now = env->mono_ns(env), due;
	struct timespec ts;

	if (j->want_tid > j->durable_tid)
		return true;
	if (j->stop)
		return false;
	if (j->interval_ms && j->running->n && csv_fs_state(j->fs) == CSV_OK) {
		due = j->running->since_ns + j->interval_ms * 1000000ull;
		if (due <= now)
			return true;
	} else {
		due = now + (j->interval_ms ? j->interval_ms : CSV_JOURNAL_INTERVAL_MS) * 1000000ull;
	}
	clock_gettime(CLOCK_MONOTONIC, &ts);
	due = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec + (due - now);
	ts.tv_sec = (time_t)(due / 1000000000u);
	ts.tv_nsec = (long)(due % 1000000000u);
	pthread_cond_timedwait(&j->wake, &j->mutex, &ts);
	return false;
}

void *csv_commit_main(void *arg)
{
	struct csv_journal *j = arg;
	bool work, stop;

	do {
		pthread_mutex_lock(&j->mutex);
		work = wait_for_work(j);
		stop = j->stop && !work;
		pthread_mutex_unlock(&j->mutex);
		if (csv_fs_state(j->fs) != CSV_OK)
			fail_all(j);
		else if (work)
			commit_one(j);
	} while (!stop);
	return NULL;
}
