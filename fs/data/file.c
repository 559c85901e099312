/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files in use on this mount, what of them is unflushed (J4), and the times that only memory knows. */
#include <stdlib.h>

#include "fs/data/data_int.h"

static struct csv_list *chain(struct csv_data *d, uint64_t ino)
{
	return &d->hash[(ino * 0x9e3779b97f4a7c15ull) >> 56];
}
static_assert(FILE_HASH == 256, "chain() takes 8 bits");

static struct csv_file *find(struct csv_data *d, uint64_t ino)
{
	struct csv_list *pos, *head = chain(d, ino);

	csv_list_for_each(pos, head) {
		struct csv_file *f = csv_list_entry(pos, struct csv_file, link);

		if (f->ref.ino == ino)
			return f;
	}
	return NULL;
}

static struct csv_file *make(struct csv_data *d, struct csv_iref ref)
{
	struct csv_file *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->ref = ref;
	csv_spans_init(&f->spans);
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->idle, NULL);
	/* Whatever was done to it before we looked: its first fsync commits that too. */
	if (d->fs->journal)
		f->tid = csv_journal_last_tid(d->fs);
	csv_list_push_back(chain(d, ref.ino), &f->link);
	return f;
}

static void destroy(struct csv_file *f)
{
	csv_list_del(&f->link);
	csv_spans_destroy(&f->spans);
	pthread_cond_destroy(&f->idle);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

/* Drops a file that nobody uses; true if it was kept for its unflushed writes. d->lock held. */
static bool drop_or_keep(struct csv_data *d, struct csv_file *f)
{
	bool dirty;

	pthread_mutex_lock(&f->lock);
	dirty = f->dirty;
	pthread_mutex_unlock(&f->lock);
	if (!dirty)
		destroy(f);
	return dirty;
}

enum csv_err csv_file_get(struct csv_data *d, struct csv_iref ref, struct csv_file **out)
{
	enum csv_err err = CSV_OK;
	struct csv_file *f;

	pthread_mutex_lock(&d->lock);
	f = find(d, ref.ino);
	/* Another generation, unused: a former life of the block. */
	if (f && f->ref.gen != ref.gen && f->count == 0) {
		d->lingering--;
		destroy(f);
		f = NULL;
	}
	if (f && (f->condemned || f->ref.gen != ref.gen)) {
		err = CSV_STALE;
	} else if (f) {
		if (f->count++ == 0)
			d->lingering--;
	} else if ((f = make(d, ref)) != NULL) {
		f->count = 1;
	} else {
		err = CSV_NOMEM;
	}
	pthread_mutex_unlock(&d->lock);
	*out = err == CSV_OK ? f : NULL;
	return err;
}

struct csv_file *file_find_held(struct csv_data *d, struct csv_iref ref)
{
	struct csv_file *f;

	pthread_mutex_lock(&d->lock);
	f = find(d, ref.ino);
	if (f && (f->count == 0 || f->condemned || f->ref.gen != ref.gen))
		f = NULL;
	if (f)
		f->count++;
	pthread_mutex_unlock(&d->lock);
	return f;
}

void csv_file_hold(struct csv_data *d, struct csv_file *f)
{
	pthread_mutex_lock(&d->lock);
	f->count++;
	pthread_mutex_unlock(&d->lock);
}

void csv_file_put(struct csv_data *d, struct csv_file *f)
{
	pthread_mutex_lock(&d->lock);
	CSV_ASSERT(f->count > 0);
	if (--f->count == 0 && drop_or_keep(d, f))
		d->lingering++;
	pthread_mutex_unlock(&d->lock);
}

struct csv_iref csv_file_ref(const struct csv_file *f)
{
	return f->ref;
}

enum csv_err csv_file_condemn(struct csv_data *d, struct csv_iref ref)
{
	enum csv_err err = CSV_OK;
	struct csv_file *f;

	pthread_mutex_lock(&d->lock);
	f = find(d, ref.ino);
	if (f && f->count > 0) {
		err = CSV_BUSY;
	} else if (f) {
		d->lingering--;
		f->count = 1;
		f->ref = ref;
		f->condemned = true;
	} else if ((f = make(d, ref)) != NULL) {
		f->count = 1;
		f->condemned = true;
	} else {
		err = CSV_NOMEM;
	}
	pthread_mutex_unlock(&d->lock);
	return err;
}

void csv_file_bury(struct csv_data *d, struct csv_iref ref, bool gone)
{
	struct csv_file *f;

	pthread_mutex_lock(&d->lock);
	f = find(d, ref.ino);
	CSV_ASSERT(f && f->condemned && f->count == 1);
	f->condemned = false;
	f->count = 0;
	if (gone)
		destroy(f);
	else if (drop_or_keep(d, f))
		d->lingering++;
	pthread_mutex_unlock(&d->lock);
}

void csv_file_note_tid(struct csv_file *f, uint64_t tid)
{
	pthread_mutex_lock(&f->lock);
	if (tid > f->tid)
		f->tid = tid;
	pthread_mutex_unlock(&f->lock);
}

uint64_t csv_file_err_now(const struct csv_file *f)
{
	return atomic_load(&f->err_told);
}

bool csv_file_err_untold(const struct csv_file *f)
{
	return atomic_load(&f->err_seq) != atomic_load(&f->err_told);
}

/* ---- I/O in flight ---------------------------------------------------------- */

void file_begin(struct csv_file *f)
{
	pthread_mutex_lock(&f->lock);
	f->inflight++;
	pthread_mutex_unlock(&f->lock);
}

void file_end(struct csv_file *f)
{
	pthread_mutex_lock(&f->lock);
	if (--f->inflight == 0)
		pthread_cond_broadcast(&f->idle);
	pthread_mutex_unlock(&f->lock);
}

void csv_data_drain(struct csv_data *d, struct csv_file *f)
{
	pthread_mutex_lock(&f->lock);
	while (f->inflight > 0)
		pthread_cond_wait(&f->idle, &f->lock);
	pthread_mutex_unlock(&f->lock);
}

/* ---- unflushed writes --------------------------------------------------------- */

void file_wrote(struct csv_data *d, struct csv_file *f, uint64_t generation, uint64_t tid, const struct timespec *now)
{
	pthread_mutex_lock(&f->lock);
	if (!f->dirty || generation < f->dirty_gen)
		f->dirty_gen = generation;
	f->dirty = true;
	f->dirty_seq = atomic_fetch_add(&d->write_seq, 1) + 1;
	if (tid > f->tid)
		f->tid = tid;
	if (now) {
		f->mtime = *now;
		f->mtime_pending = true;
	} else {
		f->mtime_pending = false;
	}
	pthread_mutex_unlock(&f->lock);
}

/* One file, after a flush. A write of before another generation is lost: the flush did not cover it. */
static void flushed_one(struct csv_file *f, uint64_t seq, uint64_t generation)
{
	pthread_mutex_lock(&f->lock);
	if (f->dirty && f->dirty_gen != generation) {
		f->dirty = false;
		atomic_fetch_add(&f->err_seq, 1);
	} else if (f->dirty && f->dirty_seq <= seq) {
		f->dirty = false;
	}
	pthread_mutex_unlock(&f->lock);
}

static void each(struct csv_data *d, void (*fn)(struct csv_file *f, uint64_t a, uint64_t b), uint64_t a, uint64_t b)
{
	struct csv_list *pos, *tmp;

	pthread_mutex_lock(&d->lock);
	for (unsigned i = 0; i < FILE_HASH; i++) {
		csv_list_for_each_safe(pos, tmp, &d->hash[i]) {
			struct csv_file *f = csv_list_entry(pos, struct csv_file, link);

			fn(f, a, b);
			if (f->count == 0 && !drop_or_keep(d, f))
				d->lingering--;
		}
	}
	pthread_mutex_unlock(&d->lock);
}

void file_flushed(struct csv_data *d, uint64_t seq, uint64_t generation)
{
	uint64_t old = atomic_load(&d->flush_seq);

	/* First the losses, then the number by which others pass their own flush over. */
	each(d, flushed_one, seq, generation);
	while (old < seq && !atomic_compare_exchange_weak(&d->flush_seq, &old, seq))
		;
}

static void lost_one(struct csv_file *f, uint64_t generation, uint64_t unused)
{
	pthread_mutex_lock(&f->lock);
	if (f->dirty && f->dirty_gen < generation) {
		f->dirty = false;
		atomic_fetch_add(&f->err_seq, 1);
	}
	pthread_mutex_unlock(&f->lock);
}

void file_lost_all(struct csv_data *d, uint64_t generation)
{
	each(d, lost_one, generation, 0);
}

void file_drop_all(struct csv_data *d)
{
	for (unsigned i = 0; i < FILE_HASH; i++) {
		while (!csv_list_empty(&d->hash[i])) {
			struct csv_file *f = csv_list_entry(d->hash[i].next, struct csv_file, link);

			CSV_ASSERT(f->count == 0);
			destroy(f);
		}
	}
}
