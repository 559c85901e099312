/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Attributes: getattr, setattr with truncation, statfs. */
#include <sys/statvfs.h>

#include "fs/fuse/ops.h"
#include "fs/lock/lease.h"

static enum csv_err getattr(struct csv_freq *r)
{
	TRY(freq_hold(r, CSV_RES_INODE, r->ref.ino, CSV_PR));
	TRY(freq_missing(r));
	return freq_getattr(r, r->ref);
}

void op_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct csv_freq *r = freq_new(req, getattr);

	if (!r)
		return;
	r->ref = freq_ref(r->m, node);
	r->reply = freq_reply_attr;
	freq_start(r);
}

/* ---- setattr ----------------------------------------------------------------------- */

/* A truncation without a write handle had a share in the lease of its own. */
static enum csv_err unlease_body(struct csv_freq *r)
{
	enum csv_err err = csv_lease_close(r->m->leases, &r->op, r->lease);

	if (err == CSV_WAIT)
		return err;
	r->lease = NULL;
	return r->u.set.err;
}

/* In a worker; no other I/O touches the file. */
static void truncate_go(struct csv_data_gate *g)
{
	struct csv_freq *r = csv_list_entry(g, struct csv_freq, gate);
	enum csv_err err = csv_truncate(&r->ctx, r->ref, r->u.set.size, &r->attr, &r->tid);

	if (err == CSV_OK) {
		csv_file_times_forget(r->file);
		csv_file_note_tid(r->file, r->tid);
	}
	csv_data_gate_close(g);
	if (r->lease && err != CSV_WAIT && err != CSV_NOSPC) {
		r->u.set.err = err;
		freq_next(r, unlease_body);
		return;
	}
	freq_end(r, err);
}

/* Which groups a shorter file frees from, csv_truncate() itself asks for. */
static enum csv_err truncate_body(struct csv_freq *r)
{
	struct csv_gates *g;

	TRY(freq_hold_ags(r));
	TRY(freq_missing(r));
	TRY(csv_getattr(&r->ctx, r->ref, &r->attr));
	if (!S_ISREG(r->attr.mode))
		return S_ISDIR(r->attr.mode) ? CSV_ISDIR : CSV_INVAL;
	if (r->attr.lease && !(r->handle && r->handle->lease))
		TRY(freq_lease(r));
	TRY(freq_file(r, r->attr.ref));
	TRY(freq_enter(r, true, &g));
	r->gate.file = r->file;
	r->gate.go = truncate_go;
	csv_data_gate_open(r->m->data, &r->gate, 0, UINT64_MAX);
	freq_leave(g);
	return FREQ_LATER;
}

static enum csv_err setattr(struct csv_freq *r)
{
	TRY(freq_hold(r, CSV_RES_INODE, r->ref.ino, CSV_EX));
	TRY(freq_missing(r));
	if (r->u.set.what & CSV_SET_MTIME) {
		TRY(freq_getattr(r, r->ref));
		if (S_ISREG(r->attr.mode)) {
			TRY(freq_file(r, r->attr.ref));
			csv_file_times_forget(r->file);
			csv_lease_note_times(r->m->leases, r->attr.ref, r->u.set.to.mtime);
		}
	}
	if (r->u.set.what) {
		TRY(csv_setattr(&r->ctx, r->ref, r->u.set.what, &r->u.set.to, &r->tid));
		r->u.set.what = 0; /* a second run has only the size left */
	}
	return r->u.set.truncate ? truncate_body(r) : freq_getattr(r, r->ref);
}

static struct timespec now_of(struct csv_mount *m)
{
	struct csv_disk_time t = csv_now(&m->fs);

	return csv_time_get(&t);
}

static void decode(struct csv_freq *r, const struct stat *st, int to_set)
{
	struct csv_attr *to = &r->u.set.to;
	unsigned what = 0;

	if (to_set & FUSE_SET_ATTR_MODE)
		what |= CSV_SET_MODE;
	if (to_set & FUSE_SET_ATTR_UID)
		what |= CSV_SET_UID;
	if (to_set & FUSE_SET_ATTR_GID)
		what |= CSV_SET_GID;
	if (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW))
		what |= CSV_SET_ATIME;
	if (to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW))
		what |= CSV_SET_MTIME;
	if (to_set & FUSE_SET_ATTR_CTIME)
		what |= CSV_SET_CTIME;
	to->mode = st->st_mode;
	to->uid = st->st_uid;
	to->gid = st->st_gid;
	to->atime = to_set & FUSE_SET_ATTR_ATIME_NOW ? now_of(r->m) : st->st_atim;
	to->mtime = to_set & FUSE_SET_ATTR_MTIME_NOW ? now_of(r->m) : st->st_mtim;
	to->ctime = st->st_ctim;
	r->u.set.what = what;
	r->u.set.truncate = to_set & FUSE_SET_ATTR_SIZE;
	r->u.set.size = (uint64_t)st->st_size;
}

void op_setattr(fuse_req_t req, fuse_ino_t node, struct stat *st, int to_set, struct fuse_file_info *fi)
{
	struct csv_freq *r = freq_new(req, setattr);

	if (!r)
		return;
	r->ref = freq_ref(r->m, node);
	r->reply = freq_reply_attr;
	r->handle = fi ? csv_handle_find(r->m->handles, fi->fh) : NULL;
	r->slow = true;
	decode(r, st, to_set);
	freq_start(r);
}

/* ---- statfs --------------------------------------------------------------------------- */

void op_statfs(fuse_req_t req, fuse_ino_t node)
{
	struct csv_mount *m = freq_mount(req);
	struct statvfs st = { .f_bsize = CSV_BLOCK_SIZE, .f_frsize = CSV_BLOCK_SIZE, .f_namemax = CSV_NAME_MAX };
	uint64_t free_blocks = 0;
	enum csv_err err = csv_alloc_free_blocks(&m->fs, &free_blocks);

	if (err != CSV_OK) {
		fuse_reply_err(req, csv_err_errno(err));
		return;
	}
	st.f_blocks = m->fs.sb.blocks;
	st.f_bfree = st.f_bavail = free_blocks;
	/* An inode is a block like any other. */
	st.f_files = m->fs.sb.blocks;
	st.f_ffree = st.f_favail = free_blocks;
	fuse_reply_statfs(req, &st);
}
