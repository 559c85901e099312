/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Times of overwrites, which live in memory (fs/data/io.h): journalled once a second, at fsync and at close. */
#include "fs/fuse/ops.h"
#include "fs/lock/lease.h"

static enum csv_err into_inode(struct csv_freq *r, struct csv_file *f, uint64_t *tid)
{
	struct csv_iref ref = csv_file_ref(f);
	struct csv_attr attr = { 0 };

	if (!csv_file_times_pending(f, &attr.mtime))
		return CSV_OK;
	TRY(freq_hold(r, CSV_RES_INODE, ref.ino, CSV_EX));
	TRY(freq_missing(r));
	attr.ctime = attr.mtime;
	TRY(csv_setattr(&r->ctx, ref, CSV_SET_MTIME | CSV_SET_CTIME, &attr, tid));
	csv_file_times_settled(f, attr.mtime);
	return CSV_OK;
}

enum csv_err times_flush(struct csv_freq *r, struct csv_file *f)
{
	uint64_t tid = 0;
	enum csv_err err = csv_lease_sync_times(r->m->leases, f, &tid);

	if (err == CSV_NOENT)
		err = into_inode(r, f, &tid);
	if (err == CSV_OK)
		csv_file_note_tid(f, tid);
	return err;
}

static enum csv_err tick_body(struct csv_freq *r)
{
	return times_flush(r, r->file);
}

static void tick_one(void *arg, struct csv_file *f)
{
	struct csv_mount *m = arg;
	struct csv_freq *r = freq_new_own(m, tick_body);

	if (!r) {
		csv_file_put(m->data, f);
		return;
	}
	r->file = f;
	r->slow = true;
	freq_start(r);
}

void times_tick(struct csv_mount *m)
{
	csv_data_each_pending(m->data, tick_one, m);
}
