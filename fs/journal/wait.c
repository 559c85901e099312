/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Waiting for commits: whoever asks while one is being written is served by the next (group commit). */
#include "fs/journal/journal_priv.h"

/* Number of the newest transaction that holds anything; mutex held. */
static uint64_t newest(const struct csv_journal *j)
{
	const struct csv_jtxn *r = j->running;

	return r->n || !csv_list_empty(&r->hooks) ? r->tid : r->tid - 1;
}

void csv_journal_commit_async(struct csv_fs *fs, struct csv_commit_wait *w)
{
	struct csv_journal *j = fs->journal;
	enum csv_err err = csv_fs_state(fs);
	bool queued = false;

	if (!j) {
		w->fn(w, CSV_OK);
		return;
	}
	pthread_mutex_lock(&j->mutex);
	if (w->tid == 0)
		w->tid = newest(j);
	CSV_ASSERT(w->tid <= j->running->tid);
	if (w->tid > j->durable_tid && err == CSV_OK) {
		csv_list_push_back(&j->waiters, &w->link);
		if (j->want_tid < w->tid)
			j->want_tid = w->tid;
		pthread_cond_broadcast(&j->wake);
		queued = true;
	} else if (w->tid <= j->durable_tid) {
		err = CSV_OK; /* durable is durable, whatever came later */
	}
	pthread_mutex_unlock(&j->mutex);
	if (!queued)
		w->fn(w, err);
}

struct sync_wait {
	struct csv_commit_wait w;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
	enum csv_err err;
};

static void sync_done(struct csv_commit_wait *w, enum csv_err err)
{
	struct sync_wait *s = csv_list_entry(w, struct sync_wait, w);

	/* Signal under the lock: the waiter's stack is gone as soon as it has it. */
	pthread_mutex_lock(&s->lock);
	s->done = true;
	s->err = err;
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

enum csv_err csv_journal_commit(struct csv_fs *fs, uint64_t tid)
{
	struct sync_wait s = { .w = { .tid = tid, .fn = sync_done } };

	pthread_mutex_init(&s.lock, NULL);
	pthread_cond_init(&s.cond, NULL);
	csv_journal_commit_async(fs, &s.w);
	pthread_mutex_lock(&s.lock);
	while (!s.done)
		pthread_cond_wait(&s.cond, &s.lock);
	pthread_mutex_unlock(&s.lock);
	pthread_cond_destroy(&s.cond);
	pthread_mutex_destroy(&s.lock);
	return s.err;
}

uint64_t csv_journal_last_tid(struct csv_fs *fs)
{
	struct csv_journal *j = fs->journal;
	uint64_t tid;

	if (!j)
		return 0;
	pthread_mutex_lock(&j->mutex);
	tid = j->running->tid;
	pthread_mutex_unlock(&j->mutex);
	return tid;
}

bool csv_journal_is_durable(struct csv_fs *fs, uint64_t tid)
{
	struct csv_journal *j = fs->journal;
	bool durable;

	if (!j)
		return true;
	pthread_mutex_lock(&j->mutex);
	durable = tid <= j->durable_tid;
	pthread_mutex_unlock(&j->mutex);
	return durable;
}

void csv_journal_tell(struct csv_journal *j, enum csv_err err)
{
	struct csv_list *pos, *tmp, told;

	csv_list_init(&told);
	pthread_mutex_lock(&j->mutex);
	csv_list_for_each_safe(pos, tmp, &j->waiters) {
		struct csv_commit_wait *w = csv_list_entry(pos, struct csv_commit_wait, link);

		if (err == CSV_OK && w->tid > j->durable_tid)
			continue;
		csv_list_del(pos);
		csv_list_push_back(&told, pos);
	}
	pthread_mutex_unlock(&j->mutex);
	csv_list_for_each_safe(pos, tmp, &told) {
		struct csv_commit_wait *w = csv_list_entry(pos, struct csv_commit_wait, link);

		csv_list_del(pos);
		w->fn(w, err);
	}
}

void csv_journal_run_hooks(struct csv_list *hooks, enum csv_err err)
{
	struct csv_list *pos, *tmp;

	csv_list_for_each_safe(pos, tmp, hooks) {
		struct csv_txn_hook *hook = csv_list_entry(pos, struct csv_txn_hook, link);

		csv_list_del(pos);
		hook->fn(hook, err);
	}
}
