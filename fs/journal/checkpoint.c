/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoint: durable images go home, then the tail moves.
 *
 *   1. images that are committed and not superseded are collected (J5: never the
 *      content of the buffer, which the running transaction may have changed)
 *   2. they are written home and flushed; again, if the flush did not count (J4)
 *   3. they are done; a buffer with nothing newer is clean again
 *   4. the head moves over transactions that have nothing left, durably, before
 *      their place in the journal is used again
 *
 * home_lock makes sure that two images of one block are never on their way at once.
 */
#include <stdlib.h>
#include <time.h>

#include "fs/journal/journal_priv.h"

/* Home writes in flight at once. */
#define HOME_BATCH 512u

void csv_jbuf_release(struct csv_journal *j, struct csv_cbuf *b)
{
	if (!b->held || !csv_list_empty(&b->run) || b->frozen || b->committed)
		return;
	b->held = false;
	b->ntags = 0;
	csv_buf_put(j->fs, &b->pub);
}

static int by_home(const void *a, const void *b)
{
	const struct csv_block_hdr *x = (*(struct csv_jimage *const *)a)->data;
	const struct csv_block_hdr *y = (*(struct csv_jimage *const *)b)->data;
	uint64_t p = csv_le64_get(x->block), q = csv_le64_get(y->block);

	return (p > q) - (p < q);
}

static enum csv_err write_batch(struct csv_journal *j, struct csv_jimage **img, size_t n)
{
	struct csv_bdev_batch *batch;
	enum csv_err err;

	err = csv_fs_state(j->fs);
	if (err != CSV_OK)
		return err;
	err = csv_bdev_batch_begin(j->fs->dev, &batch);
	if (err != CSV_OK)
		return err;
	for (size_t i = 0; i < n; i++) {
		const struct csv_block_hdr *h = img[i]->data;

		csv_bdev_batch_write(batch, csv_le64_get(h->block) << CSV_BLOCK_SHIFT, h, CSV_BLOCK_SIZE,
				     CSV_IO_PATIENT);
	}
	return csv_bdev_batch_wait(batch);
}

/* Step 2. Images stay in memory while home_lock is held, superseded or not. */
static enum csv_err write_images(struct csv_journal *j, struct csv_jimage **img, size_t n)
{
	for (unsigned tries = 0; tries < CSV_FLUSH_TRIES; tries++) {
		uint64_t generation = csv_bdev_generation(j->fs->dev);
		enum csv_err err = CSV_OK;

		for (size_t i = 0; i < n && err == CSV_OK; i += HOME_BATCH)
			err = write_batch(j, img + i, n - i < HOME_BATCH ? n - i : HOME_BATCH);
		if (err == CSV_OK)
			err = csv_bdev_flush_patient(j->fs->dev);
		if (err != CSV_OK || generation == csv_bdev_generation(j->fs->dev))
			return err;
	}
	return CSV_IO;
}

static size_t count_left(const struct csv_journal *j)
{
	struct csv_list *pos;
	size_t n = 0;

	csv_list_for_each(pos, &j->log)
		n += csv_list_entry(pos, struct csv_jtxn, link)->left;
	return n;
}

/* Step 1: *list is to be freed. */
static enum csv_err collect(struct csv_journal *j, const struct csv_res *res, struct csv_jimage ***list, size_t *n)
{
	struct csv_jimage **out;
	struct csv_list *pos;

	*n = 0;
	*list = NULL;
	pthread_mutex_lock(&j->mutex);
	out = malloc((count_left(j) + 1) * sizeof(struct csv_jimage *));
	csv_list_for_each(pos, &j->log) {
		struct csv_jtxn *t = csv_list_entry(pos, struct csv_jtxn, link);

		for (uint32_t i = 0; out && t->left && i < t->n; i++) {
			struct csv_jimage *img = &t->images[i];

			if (img->buf && (!res || csv_cbuf_touched_by(img->buf, *res)))
				out[(*n)++] = img;
		}
	}
	pthread_mutex_unlock(&j->mutex);
	*list = out;
	return out ? CSV_OK : CSV_NOMEM;
}

/* Step 3. */
static void mark_home(struct csv_journal *j, struct csv_jimage **img, size_t n)
{
	pthread_mutex_lock(&j->mutex);
	for (size_t i = 0; i < n; i++) {
		struct csv_cbuf *b = img[i]->buf;

		if (!b) /* superseded while it was on its way */
			continue;
		CSV_ASSERT(b->committed == img[i]);
		b->committed = NULL;
		img[i]->buf = NULL;
		img[i]->txn->left--;
		csv_jbuf_release(j, b);
	}
	j->stats.blocks_home += n;
	pthread_mutex_unlock(&j->mutex);
}

enum csv_err csv_home_write(struct csv_journal *j, const struct csv_res *res)
{
	struct csv_jimage **img;
	enum csv_err err;
	size_t n;

	err = collect(j, res, &img, &n);
	if (err == CSV_OK && n) {
		qsort(img, n, sizeof(struct csv_jimage *), by_home);
		err = write_images(j, img, n);
		if (err == CSV_OK)
			mark_home(j, img, n);
	}
	free(img);
	return err;
}

/* Frees the transactions at the log's beginning that the head on disk has passed; mutex held. */
static void drop_passed(struct csv_journal *j, uint64_t tail_seq)
{
	while (!csv_list_empty(&j->log)) {
		struct csv_jtxn *t = csv_list_entry(j->log.next, struct csv_jtxn, link);

		if (t->seq >= tail_seq)
			break;
		csv_list_del(&t->link);
		j->used -= t->rec_blocks;
		csv_jtxn_free(t);
	}
}

enum csv_err csv_home_trim(struct csv_journal *j)
{
	struct csv_jhead h = { .slot = j->fs->slot, .incarnation = j->fs->incarnation, .version = j->head_version };
	struct csv_list *pos;
	enum csv_err err;
	bool moved;

	pthread_mutex_lock(&j->mutex);
	h.tail_pos = j->commit_pos;
	h.tail_seq = j->commit_seq;
	csv_list_for_each(pos, &j->log) {
		struct csv_jtxn *t = csv_list_entry(pos, struct csv_jtxn, link);

		if (t->left) {
			h.tail_pos = t->pos;
			h.tail_seq = t->seq;
			break;
		}
	}
	moved = h.tail_seq != j->tail_seq;
	pthread_mutex_unlock(&j->mutex);
	if (!moved)
		return CSV_OK;
	err = csv_fs_state(j->fs);
	if (err == CSV_OK)
		err = csv_jhead_write(j->fs->dev, &j->fs->sb, &h);
	if (err != CSV_OK)
		return err;
	j->head_version = h.version;
	pthread_mutex_lock(&j->mutex);
	j->tail_pos = h.tail_pos;
	j->tail_seq = h.tail_seq;
	drop_passed(j, h.tail_seq);
	j->stats.checkpoints++;
	pthread_mutex_unlock(&j->mutex);
	return CSV_OK;
}

/* Everything that is durable goes home; *res alone if given, and then the tail moves only if that is worth a write. */
static enum csv_err home(struct csv_journal *j, const struct csv_res *res)
{
	enum csv_err err;
	bool trim;

	pthread_mutex_lock(&j->home_lock);
	err = csv_fs_state(j->fs);
	if (err == CSV_OK)
		err = csv_home_write(j, res);
	pthread_mutex_lock(&j->mutex);
	trim = !res || j->used > j->ring / 4;
	pthread_mutex_unlock(&j->mutex);
	if (err == CSV_OK && trim)
		err = csv_home_trim(j);
	pthread_mutex_unlock(&j->home_lock);
	if (err != CSV_OK && err != CSV_NOMEM)
		csv_fs_withdraw(j->fs, err == CSV_FENCED ? CSV_FENCED : CSV_IO, "metadata cannot be written home: %s",
				csv_err_text(err));
	return err;
}

enum csv_err csv_journal_checkpoint(struct csv_fs *fs)
{
	enum csv_err err;

	if (!fs->journal)
		return CSV_OK;
	err = csv_journal_commit(fs, 0);
	return err == CSV_OK ? home(fs->journal, NULL) : err;
}

/* Number of the newest transaction, not durable yet, in which `res` covered a block; 0: none. Mutex held. */
static uint64_t tid_touching(struct csv_journal *j, struct csv_res res)
{
	struct csv_jtxn *c = j->committing;
	struct csv_list *pos;

	csv_list_for_each(pos, &j->running->blocks)
		if (csv_cbuf_touched_by(csv_list_entry(pos, struct csv_cbuf, run), res))
			return j->running->tid;
	for (uint32_t i = 0; c && i < c->n; i++)
		if (csv_cbuf_touched_by(c->images[i].buf, res))
			return c->tid;
	return 0;
}

/*
 * A block that changed its lock (csv_buf_become) since it was last clean counts as touched by all of its locks, so
 * whichever of them is given up first takes the block home.
 */
enum csv_err csv_journal_sync_res(struct csv_fs *fs, struct csv_res res)
{
	struct csv_journal *j = fs->journal;
	enum csv_err err = CSV_OK;
	uint64_t tid;

	if (!j)
		return CSV_OK;
	pthread_mutex_lock(&j->mutex);
	tid = tid_touching(j, res);
	pthread_mutex_unlock(&j->mutex);
	if (tid)
		err = csv_journal_commit(fs, tid);
	return err == CSV_OK ? home(j, &res) : err;
}

/* Whether the home thread has work: asked for, or nothing was committed for an interval. Mutex held. */
static bool home_due(struct csv_journal *j)
{
	uint64_t now = j->fs->env->mono_ns(j->fs->env);
	bool idle = j->interval_ms && j->running->n == 0 && !csv_list_empty(&j->log) &&
		    now - j->last_commit_ns > j->interval_ms * 1000000ull;

	return j->want_home || idle;
}

/* Takes committed blocks home in the background: when the journal is half full, and when nothing else goes on. */
void *csv_home_main(void *arg)
{
	struct csv_journal *j = arg;
	struct timespec ts;
	bool due, stop;

	do {
		pthread_mutex_lock(&j->mutex);
		due = home_due(j);
		if (!due && !j->stop) {
			clock_gettime(CLOCK_MONOTONIC, &ts);
			ts.tv_sec += 1;
			pthread_cond_timedwait(&j->wake, &j->mutex, &ts);
			due = home_due(j);
		}
		j->want_home = false;
		stop = j->stop;
		pthread_mutex_unlock(&j->mutex);
		if (due && !stop && csv_fs_state(j->fs) == CSV_OK)
			home(j, NULL);
	} while (!stop);
	return NULL;
}
