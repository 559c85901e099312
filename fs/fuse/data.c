/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Read, write, fsync. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fs/fuse/ops.h"
#include "fs/handoff.h"

/* Payloads up to this are copied; for larger ones the receiving thread gives its buffer away. */
#define COPY_MAX (32u << 10)

/* A request on a handle; NULL: answered. */
static struct csv_freq *new_on_handle(fuse_req_t req, freq_body body, uint64_t fh)
{
	struct csv_handle *h = csv_handle_find(freq_mount(req)->handles, fh);
	struct csv_freq *r;

	if (!h) {
		fuse_reply_err(req, EBADF);
		return NULL;
	}
	r = freq_new(req, body);
	if (!r)
		return NULL;
	r->handle = h;
	r->ref = h->ref;
	r->data.file = h->file;
	return r;
}

/*
 * O_DIRECT wants multiples of a sector, as on other filesystems.  Programs find the alignment out by trying: one that
 * is told that single bytes will do takes that for a lie and goes by the page, and QEMU then refuses a fixed VHD, whose
 * footer makes its size a multiple of 512 only.
 */
#define DIRECT_ALIGN 512u

static bool misaligned(const struct fuse_file_info *fi, off_t off, size_t size)
{
	return fi->flags & O_DIRECT && ((uint64_t)off | size) % DIRECT_ALIGN;
}

static struct csv_freq *of_data(struct csv_data_req *req)
{
	return csv_list_entry(req, struct csv_freq, data);
}

static void note_io(struct csv_freq *r)
{
	if (csv_handle_note_io(r->handle))
		csv_mount_first_io(r->m, r->handle);
}

static enum csv_err alloc_mem(struct csv_freq *r, size_t len)
{
	return posix_memalign(&r->mem, CSV_BLOCK_SIZE, len ? len : 1) ? CSV_NOMEM : CSV_OK;
}

/* ---- read -------------------------------------------------------------------------------- */

static void read_done(struct csv_data_req *req, enum csv_err err)
{
	freq_end(of_data(req), err);
}

static void reply_read(struct csv_freq *r)
{
	fuse_reply_buf(r->req, r->mem, r->data.result);
}

static enum csv_err read_body(struct csv_freq *r)
{
	struct csv_gates *g;

	TRY(freq_hold(r, CSV_RES_INODE, r->ref.ino, CSV_PR));
	TRY(freq_missing(r));
	TRY(freq_enter(r, false, &g));
	r->data.done = read_done;
	csv_data_read(r->m->data, &r->data); /* r may be gone */
	freq_leave(g);
	return FREQ_LATER;
}

void op_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct csv_freq *r;

	if (misaligned(fi, off, size)) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	r = new_on_handle(req, read_body, fi->fh);
	if (!r)
		return;
	r->reply = reply_read;
	if (alloc_mem(r, size) != CSV_OK) {
		freq_end(r, CSV_NOMEM);
		return;
	}
	r->data.off = (uint64_t)off;
	r->data.len = size;
	r->data.buf = r->mem;
	freq_start(r);
}

/* ---- write ------------------------------------------------------------------------------- */

static void reply_write(struct csv_freq *r)
{
	fuse_reply_write(r->req, r->u.io.result);
}

static void write_done(struct csv_data_req *req, enum csv_err err)
{
	struct csv_freq *r = of_data(req);

	if (err == CSV_WAIT && req->map_only) {
		r->u.io.full = true;
		freq_again(r);
		return;
	}
	r->ctx.need = req->ctx.need;
	r->ctx.need_ino = 0;
	r->u.io.result = req->result;
	if (err == CSV_OK)
		note_io(r);
	freq_end(r, err);
}

/*
 * First as an overwrite, which changes no map and needs no group, and of a leased image not even EX; if it turns out to
 * be more, once again with all that a change needs.
 */
static enum csv_err write_body(struct csv_freq *r)
{
	struct csv_gates *g;

	TRY(freq_wait(r, true));
	TRY(freq_hold(r, CSV_RES_INODE, r->ref.ino, r->handle->lease && !r->u.io.full ? CSV_PR : CSV_EX));
	if (r->u.io.full)
		TRY(freq_hold_ags(r));
	TRY(freq_missing(r));
	TRY(freq_enter(r, true, &g));
	r->data.ctx = r->ctx;
	r->data.map_only = !r->u.io.full;
	r->data.done = write_done;
	csv_data_write(r->m->data, &r->data); /* r may be gone */
	freq_leave(g);
	return FREQ_LATER;
}

/* The payload lies in the receiving thread's buffer, on a page boundary. */
static enum csv_err take_payload(struct csv_freq *r, const char *buf, size_t size)
{
	if (size > COPY_MAX && (r->mem = session_take_buffer()) != NULL) {
		r->data.buf = (void *)(uintptr_t)buf;
		return CSV_OK;
	}
	TRY(alloc_mem(r, size));
	memcpy(r->mem, buf, size);
	r->data.buf = r->mem;
	return CSV_OK;
}

void op_write(fuse_req_t req, fuse_ino_t node, const char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct csv_freq *r;

	if (misaligned(fi, off, size)) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	r = new_on_handle(req, write_body, fi->fh);
	if (!r)
		return;
	r->reply = reply_write;
	if (take_payload(r, buf, size) != CSV_OK) {
		freq_end(r, CSV_NOMEM);
		return;
	}
	r->data.off = (uint64_t)off;
	r->data.len = size;
	/* The flags of the moment: fcntl(2) changes O_APPEND. The kernel does not sync after direct writes. */
	r->data.append = fi->flags & O_APPEND;
	r->u.io.full = r->data.append;
	r->data.sync = fi->flags & O_DSYNC; /* O_SYNC has that bit too */
	freq_start(r);
}

/* ---- fsync ------------------------------------------------------------------------------- */

static void sync_done(struct csv_data_req *req, enum csv_err err)
{
	if (err == CSV_OK)
		note_io(of_data(req));
	freq_end(of_data(req), err);
}

static enum csv_err fsync_body(struct csv_freq *r)
{
	if (r->handle->revoked)
		return CSV_OK; /* H5: what was written was flushed before the image went */
	if (!r->u.io.datasync)
		TRY(times_flush(r, r->data.file));
	r->data.err_seen = &r->handle->err_seen;
	r->data.done = sync_done;
	csv_data_sync(r->m->data, &r->data, r->u.io.datasync);
	return FREQ_LATER;
}

void op_fsync(fuse_req_t req, fuse_ino_t node, int datasync, struct fuse_file_info *fi)
{
	struct csv_freq *r = new_on_handle(req, fsync_body, fi->fh);

	if (!r)
		return;
	r->u.io.datasync = datasync;
	r->slow = !datasync; /* may journal times */
	freq_start(r);
}
