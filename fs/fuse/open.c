/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Open, create, flush, release. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "fs/fuse/ops.h"
#include "fs/handoff.h"
#include "fs/lock/handoff.h"
#include "fs/lock/lease.h"
#include "fs/lock/vm.h"

/* ---- handles ---------------------------------------------------------------------- */

/* Gives up what a handle has. */
static void handle_drop(struct csv_mount *m, struct csv_handle *h)
{
	csv_mount_handle_gone(m, h);
	csv_handle_del(m->handles, h);
	csv_hold_unpin(m->locks, csv_res(CSV_RES_OPEN, h->ref.ino));
	csv_file_put(m->data, h->file);
	free(h);
}

/* inode PR and open.I PR are held; the latter becomes the handle's. */
static enum csv_err handle_make(struct csv_freq *r, struct csv_iref ref)
{
	struct csv_handle *h;

	TRY(freq_file(r, ref));
	h = calloc(1, sizeof(*h));
	if (!h)
		return CSV_NOMEM;
	h->ref = ref;
	h->flags = r->u.open.flags;
	h->writable = (h->flags & O_ACCMODE) != O_RDONLY;
	h->image = r->attr.flags & CSV_INODE_IMAGE;
	h->pid = csv_process_of(r->pid);
	h->lease = r->lease;
	r->lease = NULL;
	h->file = r->file;
	csv_file_hold(r->m->data, h->file);
	atomic_store(&h->err_seen, csv_file_err_now(h->file));
	csv_hold_pin(&r->op, csv_res(CSV_RES_OPEN, ref.ino));
	csv_handle_add(r->m->handles, h);
	csv_mount_handle_tell(r->m, h);
	r->handle = h;
	return CSV_OK;
}

/* ---- open and create ----------------------------------------------------------------- */

/* An image that is about to come here by a handoff is opened without a share: armed. */
static enum csv_err lease_or_arm(struct csv_freq *r)
{
	enum csv_err err = freq_lease(r);

	if (err == CSV_LEASED && r->m->handoffs && csv_handoffs_may_arm(r->m->handoffs, r->attr.ref.ino))
		return CSV_OK;
	return err;
}

static enum csv_err open_body(struct csv_freq *r)
{
	TRY(freq_hold(r, CSV_RES_INODE, r->ref.ino, CSV_PR));
	TRY(freq_hold(r, CSV_RES_OPEN, r->ref.ino, CSV_PR));
	TRY(freq_missing(r));
	TRY(freq_getattr(r, r->ref));
	if (!S_ISREG(r->attr.mode))
		return S_ISDIR(r->attr.mode) ? CSV_ISDIR : CSV_INVAL;
	if ((r->u.open.flags & O_ACCMODE) != O_RDONLY && r->attr.lease)
		TRY(lease_or_arm(r));
	return handle_make(r, r->attr.ref);
}

void op_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct csv_freq *r = freq_new(req, open_body);

	if (!r)
		return;
	r->ref = freq_ref(r->m, node);
	r->u.open.flags = fi->flags;
	r->reply = freq_reply_open;
	freq_start(r);
}

/* The kernel thought that there is no such name; another node may have made it since. */
static enum csv_err open_existing(struct csv_freq *r)
{
	struct csv_iref ref;

	if (r->u.open.flags & O_EXCL)
		return CSV_EXIST;
	TRY(csv_lookup(&r->ctx, r->ref, r->name, &ref));
	r->ref = ref;
	freq_next(r, open_body);
	return FREQ_LATER;
}

static enum csv_err create_body(struct csv_freq *r)
{
	enum csv_err err;

	TRY(create_hold(r, &r->u.open.what));
	err = csv_create(&r->ctx, r->ref, r->name, &r->u.open.what, &r->attr, &r->tid);
	if (err == CSV_EXIST)
		return open_existing(r);
	if (err != CSV_OK)
		return err;
	/* From here on it is an open like any other; it must not be made twice. */
	r->ref = r->attr.ref;
	freq_next(r, open_body);
	return FREQ_LATER;
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct csv_freq *r = freq_new(req, create_body);

	if (!r || !freq_names(r, name, NULL))
		return;
	r->ref = freq_ref(r->m, parent);
	r->u.open.flags = fi->flags;
	r->u.open.what.mode = (mode & ~(mode_t)S_IFMT) | S_IFREG;
	r->reply = freq_reply_create;
	r->slow = true;
	freq_start(r);
}

/* ---- close ------------------------------------------------------------------------------ */

void op_flush(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	/* Durability is fsync's. */
	locks_drop_owner(freq_mount(req), fi->fh, fi->lock_owner);
	fuse_reply_err(req, 0);
}

/* The last one to close an inode without links frees it. */
static enum csv_err closed_body(struct csv_freq *r)
{
	TRY(freq_hold(r, CSV_RES_INODE, r->ref.ino, CSV_PR));
	TRY(freq_missing(r));
	TRY(csv_getattr(&r->ctx, r->ref, &r->attr));
	if (r->attr.nlink > 0)
		return CSV_OK;
	reap_then_reply(r, r->ref);
	return FREQ_LATER;
}

static enum csv_err release_body(struct csv_freq *r)
{
	struct csv_handle *h = r->handle;
	enum csv_err err = csv_fs_state(&r->m->fs);

	if (err == CSV_OK && h->writable && !h->lease)
		err = times_flush(r, h->file);
	if (err == CSV_OK && h->lease) {
		/* Times go into the inode with the last share. */
		err = csv_lease_close(r->m->leases, &r->op, h->lease);
		if (err != CSV_WAIT)
			h->lease = NULL;
	}
	if (err == CSV_WAIT)
		return err;
	handle_drop(r->m, r->handle);
	r->handle = NULL;
	if (err != CSV_OK)
		return CSV_OK;
	freq_next(r, closed_body);
	return FREQ_LATER;
}

/* However it ended, also while parked: the handle is gone. */
static void release_cleanup(struct csv_freq *r)
{
	if (!r->handle)
		return;
	if (r->handle->lease)
		csv_lease_forget(r->m->leases, &r->op, r->handle->lease);
	handle_drop(r->m, r->handle);
}

static void start_release(struct csv_freq *r, struct csv_handle *h)
{
	r->handle = h;
	r->ref = h->ref;
	r->always = true;
	r->succeeded = true;
	r->slow = true;
	r->cleanup = release_cleanup;
	locks_drop_handle(r->m, h);
	freq_start(r);
}

void op_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct csv_freq *r;
	struct csv_handle *h = csv_handle_find(freq_mount(req)->handles, fi->fh);

	if (!h) {
		fuse_reply_err(req, EBADF);
		return;
	}
	r = freq_new(req, release_body);
	if (r)
		start_release(r, h);
}

void handle_abandon(struct csv_mount *m, struct csv_handle *h)
{
	struct csv_freq *r = freq_new_own(m, release_body);

	if (r)
		start_release(r, h);
}
