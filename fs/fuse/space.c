/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a file has blocks: fallocate, SEEK_DATA, SEEK_HOLE. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include "fs/fuse/ops.h"

/* In a worker; no other I/O touches the file. */
static void falloc_go(struct csv_data_gate *g)
{
	struct csv_freq *r = csv_list_entry(g, struct csv_freq, gate);
	enum csv_err err = csv_fallocate(&r->ctx, r->ref, r->u.falloc.mode, r->u.falloc.off, r->u.falloc.len, &r->tid);

	if (err == CSV_OK)
		csv_file_note_tid(r->gate.file, r->tid);
	csv_data_gate_close(g);
	freq_end(r, err);
}

static enum csv_err falloc_body(struct csv_freq *r)
{
	struct csv_gates *g;

	TRY(freq_wait(r, true));
	TRY(freq_hold(r, CSV_RES_INODE, r->ref.ino, CSV_EX));
	TRY(freq_hold_ags(r));
	TRY(freq_missing(r));
	TRY(freq_enter(r, true, &g));
	r->gate.file = r->handle->file;
	r->gate.go = falloc_go;
	csv_data_gate_open(r->m->data, &r->gate, 0, UINT64_MAX);
	freq_leave(g);
	return FREQ_LATER;
}

void op_fallocate(fuse_req_t req, fuse_ino_t node, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
	struct csv_handle *h = csv_handle_find(freq_mount(req)->handles, fi->fh);
	struct csv_freq *r;

	if (!h || off < 0 || len <= 0) {
		fuse_reply_err(req, h ? EINVAL : EBADF);
		return;
	}
	r = freq_new(req, falloc_body);
	if (!r)
		return;
	r->handle = h;
	r->ref = h->ref;
	r->slow = true;
	r->u.falloc.mode = mode;
	r->u.falloc.off = (uint64_t)off;
	r->u.falloc.len = (uint64_t)len;
	freq_start(r);
}

static enum csv_err seek_body(struct csv_freq *r)
{
	TRY(freq_hold(r, CSV_RES_INODE, r->ref.ino, CSV_PR));
	TRY(freq_missing(r));
	return csv_map_seek(&r->m->fs, r->ref, r->u.seek.off, r->u.seek.whence == SEEK_DATA, &r->u.seek.found);
}

static void reply_seek(struct csv_freq *r)
{
	fuse_reply_lseek(r->req, (off_t)r->u.seek.found);
}

void op_lseek(fuse_req_t req, fuse_ino_t node, off_t off, int whence, struct fuse_file_info *fi)
{
	struct csv_freq *r;

	if ((whence != SEEK_DATA && whence != SEEK_HOLE) || off < 0) {
		fuse_reply_err(req, off < 0 ? ENXIO : EINVAL);
		return;
	}
	r = freq_new(req, seek_body);
	if (!r)
		return;
	r->ref = freq_ref(r->m, node);
	r->reply = reply_seek;
	r->noent = ENXIO;
	r->u.seek.off = (uint64_t)off;
	r->u.seek.whence = whence;
	freq_start(r);
}
