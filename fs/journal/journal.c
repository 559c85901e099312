/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The journal of this mount: opened, closed, set. */
#include <stdlib.h>

#include "fs/journal/journal_priv.h"

/* The journal must hold nothing: what a dead life left is for recovery to replay first. */
static enum csv_err open_head(struct csv_journal *j, struct csv_jhead *h, struct csv_why *why)
{
	struct csv_fs *fs = j->fs;
	struct csv_jscan_txn t;
	struct csv_jscan scan;
	enum csv_err err;

	err = csv_jscan_open(&scan, fs->dev, &fs->sb, fs->slot, why);
	if (err != CSV_OK)
		return err;
	*h = scan.head;
	err = csv_jscan_txn(&scan, h->tail_pos, h->tail_seq, &t);
	csv_jscan_close(&scan);
	if (err == CSV_OK)
		return csv_fail(why, CSV_DAMAGED, "have the slot recovered first", "journal of slot %u is not empty",
				fs->slot);
	return err == CSV_NOENT ? CSV_OK : err;
}

/* From here on, the journal belongs to this life. */
static enum csv_err claim(struct csv_journal *j, struct csv_why *why)
{
	struct csv_fs *fs = j->fs;
	struct csv_jhead h;
	enum csv_err err;

	err = open_head(j, &h, why);
	if (err != CSV_OK)
		return err;
	h.incarnation = fs->incarnation;
	err = csv_jhead_write(fs->dev, &fs->sb, &h);
	if (err != CSV_OK)
		return csv_fail(why, err, "", "journal head of slot %u cannot be written: %s", fs->slot,
				csv_err_text(err));
	j->head_version = h.version;
	j->tail_pos = j->commit_pos = h.tail_pos;
	j->tail_seq = j->commit_seq = h.tail_seq;
	return CSV_OK;
}

static void journal_init(struct csv_journal *j, struct csv_fs *fs)
{
	pthread_condattr_t attr;

	j->fs = fs;
	j->start = csv_journal_start(&fs->sb, fs->slot);
	j->ring = fs->sb.journal_blocks - 1;
	j->interval_ms = CSV_JOURNAL_INTERVAL_MS;
	csv_list_init(&j->log);
	csv_list_init(&j->waiters);
	pthread_mutex_init(&j->home_lock, NULL);
	pthread_mutex_init(&j->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&j->wake, &attr);
	pthread_condattr_destroy(&attr);
}

static void journal_free(struct csv_journal *j)
{
	pthread_cond_destroy(&j->wake);
	pthread_mutex_destroy(&j->mutex);
	pthread_mutex_destroy(&j->home_lock);
	csv_jtxn_free(j->running);
	free(j);
}

static void stop_threads(struct csv_journal *j, bool home_too)
{
	pthread_mutex_lock(&j->mutex);
	j->stop = true;
	pthread_cond_broadcast(&j->wake);
	pthread_mutex_unlock(&j->mutex);
	pthread_join(j->commit_thread, NULL);
	if (home_too)
		pthread_join(j->home_thread, NULL);
}

static enum csv_err start_threads(struct csv_journal *j)
{
	if (pthread_create(&j->commit_thread, NULL, csv_commit_main, j))
		return CSV_NOMEM;
	if (pthread_create(&j->home_thread, NULL, csv_home_main, j)) {
		stop_threads(j, false);
		return CSV_NOMEM;
	}
	return CSV_OK;
}

enum csv_err csv_journal_open(struct csv_fs *fs, struct csv_why *why)
{
	struct csv_journal *j = calloc(1, sizeof(*j));
	enum csv_err err;

	if (!j)
		return csv_fail(why, CSV_NOMEM, "", "no memory for the journal");
	journal_init(j, fs);
	j->running = csv_jtxn_new(1);
	if (!j->running) {
		journal_free(j);
		return csv_fail(why, CSV_NOMEM, "", "no memory for the journal");
	}
	err = claim(j, why);
	if (err == CSV_OK) {
		fs->journal = j;
		err = start_threads(j);
	}
	if (err != CSV_OK) {
		fs->journal = NULL;
		journal_free(j);
	}
	return err;
}

/* Gives back what a withdrawn volume leaves behind: buffers are dropped with their changes. */
static void drop_rest(struct csv_journal *j)
{
	struct csv_list *pos, *tmp;

	pthread_mutex_lock(&j->mutex);
	csv_list_for_each_safe(pos, tmp, &j->running->blocks) {
		struct csv_cbuf *b = csv_list_entry(pos, struct csv_cbuf, run);

		csv_list_del(&b->run);
		csv_jbuf_release(j, b);
	}
	for (uint32_t i = 0; j->committing && i < j->committing->n; i++) {
		struct csv_cbuf *b = j->committing->images[i].buf;

		b->frozen = NULL;
		csv_jbuf_release(j, b);
	}
	csv_list_for_each_safe(pos, tmp, &j->log) {
		struct csv_jtxn *t = csv_list_entry(pos, struct csv_jtxn, link);

		for (uint32_t i = 0; i < t->n; i++) {
			struct csv_cbuf *b = t->images[i].buf;

			if (!b)
				continue;
			b->committed = NULL;
			csv_jbuf_release(j, b);
		}
		csv_jtxn_free(t);
	}
	csv_jtxn_free(j->committing);
	pthread_mutex_unlock(&j->mutex);
}

enum csv_err csv_journal_close(struct csv_fs *fs)
{
	struct csv_journal *j = fs->journal;
	enum csv_err err;

	if (!j)
		return CSV_OK;
	err = csv_journal_checkpoint(fs);
	stop_threads(j, true);
	drop_rest(j);
	journal_free(j);
	fs->journal = NULL;
	return err;
}

void csv_journal_set_interval(struct csv_fs *fs, unsigned ms)
{
	struct csv_journal *j = fs->journal;

	if (!j)
		return;
	pthread_mutex_lock(&j->mutex);
	j->interval_ms = ms;
	pthread_cond_broadcast(&j->wake);
	pthread_mutex_unlock(&j->mutex);
}

void csv_journal_on_lost(struct csv_fs *fs, csv_journal_lost_fn fn, void *arg)
{
	struct csv_journal *j = fs->journal;

	if (!j)
		return;
	pthread_mutex_lock(&j->mutex);
	j->lost = fn;
	j->lost_arg = arg;
	pthread_mutex_unlock(&j->mutex);
}

void csv_journal_stats(struct csv_fs *fs, struct csv_journal_stats *st)
{
	struct csv_journal *j = fs->journal;

	*st = (struct csv_journal_stats){ 0 };
	if (!j)
		return;
	pthread_mutex_lock(&j->mutex);
	*st = j->stats;
	pthread_mutex_unlock(&j->mutex);
}
