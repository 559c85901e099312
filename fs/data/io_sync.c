/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fsync: the commit of the file's transactions and a flush of the device side by side
 * (the journal orders its own data itself).  The flush always is our own: the last flush of a
 * commit that was under way already need not cover the last overwrite.
 */
#include "fs/data/data_int.h"

/* A handle's account is behind: it is told of all losses up to `now`. */
static void tell(struct csv_file *f, uint64_t now)
{
	uint64_t told = atomic_load(&f->err_told);

	while (told < now && !atomic_compare_exchange_weak(&f->err_told, &told, now))
		;
}

/*
 * True once for each handle, and for all of its syncs that began before it was told: of several that wait for the same
 * flush the first to end may not take the error for all.  A write tells of itself alone: the handle's earlier ones are
 * its fsync's.  Without a handle there is nobody to tell.
 */
static bool lost_since(struct csv_data_req *req)
{
	uint64_t now = atomic_load(&req->file->err_seq);

	if (!req->sync && !req->err_seen)
		return false;
	if (!req->sync && atomic_exchange(req->err_seen, now) != now)
		tell(req->file, now);
	return now != req->err_from;
}

static void sync_part_done(struct csv_data_req *req, enum csv_err err)
{
	int none = CSV_OK;

	if (err != CSV_OK)
		atomic_compare_exchange_strong(&req->err, &none, (int)err);
	if (atomic_fetch_sub(&req->parts, 1) > 1)
		return;
	err = (enum csv_err)atomic_load(&req->err);
	if (lost_since(req) && err == CSV_OK)
		err = CSV_IO;
	req->done(req, err);
}

static void commit_done(struct csv_commit_wait *w, enum csv_err err)
{
	sync_part_done(csv_list_entry(w, struct csv_data_req, commit), err);
}

static void flush_done(struct csv_io *io, enum csv_err err)
{
	struct csv_data_req *req = io->arg;
	struct csv_data *d = req->d;

	/* A flush that failed covers nothing; the writes stay unflushed and may be flushed by the next (the caller
	 * knows). */
	if (err == CSV_OK)
		file_flushed(d, req->flush_seq, csv_bdev_generation(d->fs->dev));
	sync_part_done(req, err);
}

static void start_flush(struct csv_data_req *req)
{
	struct csv_data *d = req->d;

	atomic_fetch_add_explicit(&d->flushes, 1, memory_order_relaxed);
	req->io = (struct csv_io){ .op = CSV_IO_FLUSH, .done = flush_done, .arg = req };
	csv_bdev_submit(d->fs->dev, &req->io);
}

void sync_start(struct csv_data_req *req)
{
	struct csv_data *d = req->d;
	struct csv_fs *fs = d->fs;
	struct csv_file *f = req->file;
	enum csv_err err = csv_fs_state(fs);

	if (err != CSV_OK || fs->readonly) {
		req->done(req, err);
		return;
	}
	pthread_mutex_lock(&f->lock);
	req->commit.tid = f->tid;
	pthread_mutex_unlock(&f->lock);
	req->commit.fn = commit_done;
	atomic_store(&req->err, CSV_OK);
	atomic_store(&req->parts, 1);
	req->flush_seq = atomic_load(&d->write_seq);
	if (req->commit.tid && !csv_journal_is_durable(fs, req->commit.tid)) {
		atomic_fetch_add(&req->parts, 1);
		csv_journal_commit_async(fs, &req->commit);
	}
	if (req->flush_seq > atomic_load(&d->flush_seq)) {
		atomic_fetch_add(&req->parts, 1);
		start_flush(req);
	}
	sync_part_done(req, CSV_OK);
}

void csv_data_sync(struct csv_data *d, struct csv_data_req *req, bool datasync)
{
	req->d = d;
	req->result = 0;
	req->datasync = datasync;
	req->sync = false;
	req->err_from = req->err_seen ? atomic_load(req->err_seen) : 0;
	sync_start(req);
}

/* ---- the mount ------------------------------------------------------------------- */

/* J4: the journal's flush did not count for its ordered data. Its owners hear of it at their next fsync. */
static enum csv_err on_lost(void *arg, uint64_t generation)
{
	file_lost_all(arg, generation);
	return CSV_OK;
}

void csv_data_tick(struct csv_data *d)
{
	uint64_t seq = atomic_load(&d->write_seq);
	bool lingering;

	pthread_mutex_lock(&d->lock);
	lingering = d->lingering > 0;
	pthread_mutex_unlock(&d->lock);
	if (!lingering || d->fs->readonly || csv_fs_state(d->fs) != CSV_OK)
		return;
	if (csv_bdev_flush(d->fs->dev) == CSV_OK)
		file_flushed(d, seq, csv_bdev_generation(d->fs->dev));
}

void csv_data_attach(struct csv_data *d)
{
	if (d->fs->journal)
		csv_journal_on_lost(d->fs, on_lost, d);
}
