/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Times of a leased image, and giving the lease back.
 *
 * Whoever writes the block reads it again within the transaction, which owns all
 * metadata: a handoff may have given the lease away in the meantime, and then there is
 * nothing to write any more.
 */
#include <stdlib.h>

#include "fs/lock/lease_int.h"
#include "fs/meta/op.h"

static bool later(struct timespec a, struct timespec b)
{
	return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;
}

/* ---- times ------------------------------------------------------------------------ */

/* In txn: *l is what the block says. STALE: it names this mount no more. */
static enum csv_err read_own(struct csv_leases *ls, const struct lease_image *im, struct csv_lease *l)
{
	enum csv_err err = csv_lease_read(ls->cfg.fs, im->image, im->l.block, l);

	return err || csv_lease_is_own(ls, l) ? err : CSV_STALE;
}

enum csv_err csv_lease_sync_times(struct csv_leases *ls, struct csv_file *file, uint64_t *tid)
{
	struct csv_iref ref = csv_file_ref(file);
	struct lease_image im = { .image = ref };
	struct timespec mtime;
	struct csv_lease l;
	struct csv_txn *txn;
	enum csv_err err;

	*tid = 0;
	if (!csv_lease_held(ls, ref, &im.l))
		return CSV_NOENT;
	if (!csv_file_times_pending(file, &mtime))
		return CSV_OK;
	err = csv_txn_begin(ls->cfg.fs, 0, &txn);
	if (err)
		return err;
	err = read_own(ls, &im, &l);
	if (!err) {
		l.mtime = l.ctime = mtime;
		err = csv_lease_write(txn, &l);
	}
	if (err) {
		csv_txn_abort(txn);
		return err == CSV_STALE ? CSV_NOENT : err;
	}
	*tid = csv_txn_end(txn);
	csv_file_note_tid(file, *tid);
	csv_file_times_settled(file, mtime);
	csv_lease_note_times(ls, ref, mtime);
	return CSV_OK;
}

void csv_lease_note_times(struct csv_leases *ls, struct csv_iref image, struct timespec mtime)
{
	struct lease_image *im;

	pthread_mutex_lock(&ls->mutex);
	im = csv_lease_find(ls, image.ino, false);
	if (im && im->state != LEASE_TAKING) {
		im->l.mtime = im->l.ctime = mtime;
		im->times = true;
	}
	pthread_mutex_unlock(&ls->mutex);
}

void csv_lease_forget_times(struct csv_leases *ls, struct csv_iref image)
{
	struct lease_image *im;

	pthread_mutex_lock(&ls->mutex);
	im = csv_lease_find(ls, image.ino, false);
	if (im && im->state != LEASE_TAKING)
		im->times = false;
	pthread_mutex_unlock(&ls->mutex);
}

/* Attributes of an inode that this node has in EX; mtime as it lies in the inode. */
static enum csv_err inode_attr(struct csv_fs *fs, struct csv_iref ref, struct csv_attr *attr)
{
	struct csv_buf *buf;
	enum csv_err err;

	csv_fs_lock_shared(fs);
	err = csv_inode_get(fs, ref, &buf);
	if (!err) {
		csv_inode_attr(buf, attr);
		csv_buf_put(fs, buf);
	}
	csv_fs_unlock(fs);
	return err;
}

enum csv_err csv_times_before_flush(void *arg, struct csv_fs *fs, struct csv_res res)
{
	struct csv_data *d = arg;
	struct csv_ctx ctx = { .fs = fs };
	struct timespec on_disk;
	struct csv_attr attr;
	struct csv_file *file;

	if (res.type != CSV_RES_INODE || csv_fs_state(fs))
		return CSV_OK;
	/* An inode that is gone, or cannot be read, has no time worth a withdrawal. */
	if (inode_attr(fs, (struct csv_iref){ .ino = res.id }, &attr) || attr.lease)
		return CSV_OK;
	on_disk = attr.mtime;
	csv_data_overlay(d, &attr);
	if (!later(attr.mtime, on_disk) && !later(on_disk, attr.mtime))
		return CSV_OK;
	if (csv_setattr(&ctx, attr.ref, CSV_SET_MTIME | CSV_SET_CTIME, &attr, NULL))
		return CSV_OK;
	if (csv_file_get(d, attr.ref, &file) == CSV_OK) {
		csv_file_times_settled(file, attr.mtime);
		csv_file_put(d, file);
	}
	return CSV_OK;
}

/* ---- giving back -------------------------------------------------------------------- */

/* What the inode has to be told, if anything. Stays pending, and is seen by stat, until the inode has it (settle). */
static bool times_of(struct lease_image *im, struct csv_file *file, struct timespec *mtime)
{
	struct timespec pending;
	bool have;

	pthread_mutex_lock(&im->ls->mutex);
	have = im->times;
	*mtime = im->l.mtime;
	pthread_mutex_unlock(&im->ls->mutex);
	if (file && csv_file_times_pending(file, &pending)) {
		*mtime = pending;
		have = true;
	}
	return have;
}

static enum csv_err write_inode_times(struct csv_txn *txn, struct lease_image *im, struct timespec mtime)
{
	struct csv_fs *fs = im->ls->cfg.fs;
	struct csv_buf *buf;
	enum csv_err err = csv_inode_get(fs, im->image, &buf);

	if (err)
		return err;
	err = csv_txn_dirty(txn, buf);
	if (!err) {
		struct csv_disk_inode *di = csv_inode_of(buf);

		di->mtime = csv_time_of(mtime);
		if (later(mtime, csv_time_get(&di->ctime)))
			di->ctime = csv_time_of(mtime);
	}
	csv_buf_put(fs, buf);
	return err;
}

/* One transaction: nobody's lease, the times in the inode. It needs not be durable before lease.I goes (its row
 * flushes). */
static enum csv_err write_back(struct lease_image *im, bool times, struct timespec mtime)
{
	struct csv_leases *ls = im->ls;
	struct csv_lease l;
	struct csv_txn *txn;
	enum csv_err err = csv_txn_begin(ls->cfg.fs, 0, &txn);

	if (err)
		return err;
	err = read_own(ls, im, &l);
	if (!err) {
		l.mode = CSV_LEASE_NONE;
		l.run = false;
		if (times)
			l.mtime = l.ctime = mtime;
		err = csv_lease_write(txn, &l);
	}
	if (!err && times)
		err = write_inode_times(txn, im, mtime);
	if (err)
		csv_txn_abort(txn);
	else
		csv_txn_end(txn);
	return err;
}

/* WAIT: comes again with GIVING and owner as they are. */
static enum csv_err give_back(struct lease_image *im)
{
	struct csv_leases *ls = im->ls;
	struct timespec mtime = { 0 };
	enum csv_err err = csv_fs_state(ls->cfg.fs);
	struct csv_file *file = NULL;
	bool times;

	if (err)
		return err;
	/* Asked for in any case: whether a time is pending is only certain when no write can come any more. */
	err = csv_hold(im->owner, csv_res(CSV_RES_INODE, im->image.ino), CSV_EX);
	if (err)
		return err;
	if (ls->cfg.data && csv_file_get(ls->cfg.data, im->image, &file))
		file = NULL;
	times = times_of(im, file, &mtime);
	err = write_back(im, times, mtime);
	if (file && times && !err)
		csv_file_times_settled(file, mtime);
	if (file)
		csv_file_put(ls->cfg.data, file);
	if (!err && ls->cfg.given_back)
		ls->cfg.given_back(ls->cfg.arg, im->image);
	return err;
}

static void given(struct lease_image *im)
{
	struct csv_leases *ls = im->ls;

	csv_hold_unpin(ls->cfg.locks, lease_res(im));
	pthread_mutex_lock(&ls->mutex);
	im->owner = NULL;
	csv_lease_wake(im);
	csv_lease_image_free(im);
	pthread_mutex_unlock(&ls->mutex);
}

/* With the mutex: takes the share away. True: it was the last one of a lease that is ours, op has to give it back. */
static bool drop_share(struct lease_image *im, struct csv_op *op)
{
	if (im->state == LEASE_HELD && im->shares == 1) {
		im->state = LEASE_GIVING;
		im->owner = op;
		return true;
	}
	if (--im->shares == 0)
		csv_lease_image_free(im);
	return false;
}

enum csv_err csv_lease_close(struct csv_leases *ls, struct csv_op *op, struct csv_lease_ref *ref)
{
	struct lease_image *im = ref->im;
	enum csv_err err = CSV_OK;
	bool mine;

	pthread_mutex_lock(&ls->mutex);
	mine = (im->state == LEASE_GIVING && im->owner == op) || drop_share(im, op);
	pthread_mutex_unlock(&ls->mutex);
	if (mine) {
		err = give_back(im);
		if (err == CSV_WAIT)
			return err;
		given(im);
	}
	free(ref);
	return err;
}

void csv_lease_forget(struct csv_leases *ls, struct csv_op *op, struct csv_lease_ref *ref)
{
	struct lease_image *im = ref->im;
	bool mine;

	pthread_mutex_lock(&ls->mutex);
	mine = (im->state == LEASE_GIVING && im->owner == op) || drop_share(im, op);
	pthread_mutex_unlock(&ls->mutex);
	if (mine)
		given(im);
	free(ref);
}
