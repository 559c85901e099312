/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Times of overwrites: in memory until somebody has a reason to journal them. */
#include "fs/data/data_int.h"

bool csv_file_times_pending(struct csv_file *f, struct timespec *mtime)
{
	bool pending;

	pthread_mutex_lock(&f->lock);
	pending = f->mtime_pending;
	*mtime = f->mtime;
	pthread_mutex_unlock(&f->lock);
	return pending;
}

void csv_file_times_settled(struct csv_file *f, struct timespec mtime)
{
	pthread_mutex_lock(&f->lock);
	if (f->mtime.tv_sec == mtime.tv_sec && f->mtime.tv_nsec == mtime.tv_nsec)
		f->mtime_pending = false;
	pthread_mutex_unlock(&f->lock);
}

void csv_file_times_forget(struct csv_file *f)
{
	pthread_mutex_lock(&f->lock);
	f->mtime_pending = false;
	pthread_mutex_unlock(&f->lock);
}

static bool later(struct timespec a, struct timespec b)
{
	return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;
}

void csv_data_overlay(struct csv_data *d, struct csv_attr *attr)
{
	struct csv_file *f = file_find_held(d, attr->ref);
	struct timespec mtime;

	if (!f)
		return;
	if (csv_file_times_pending(f, &mtime)) {
		attr->mtime = mtime;
		if (later(mtime, attr->ctime))
			attr->ctime = mtime;
	}
	csv_file_put(d, f);
}

void csv_data_each_pending(struct csv_data *d, void (*fn)(void *arg, struct csv_file *f), void *arg)
{
	struct csv_file *batch[64];
	unsigned n = 0;

	/* A round takes what fits; the rest has its turn a second later. */
	pthread_mutex_lock(&d->lock);
	for (unsigned i = 0; i < FILE_HASH && n < 64; i++) {
		struct csv_list *pos;

		csv_list_for_each(pos, &d->hash[i]) {
			struct csv_file *f = csv_list_entry(pos, struct csv_file, link);
			struct timespec mtime;

			if (n < 64 && f->count > 0 && !f->condemned && csv_file_times_pending(f, &mtime)) {
				f->count++;
				batch[n++] = f;
			}
		}
	}
	pthread_mutex_unlock(&d->lock);
	for (unsigned i = 0; i < n; i++)
		fn(arg, batch[i]);
}
