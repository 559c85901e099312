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
 * Steps 2 to 4 are in record.c.  An error in 1 to 4 withdraws the volume: whether the transaction is durable is
 * then unknown, and only replay decides.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs/journal/journal_priv.h"

/* Room for blocks that join while the record is being allocated. */
#define FREEZE_SLACK 64u

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
		err = csv_record_build(j, t);
		if (err == CSV_OK)
			err = csv_record_write(j, t);
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
