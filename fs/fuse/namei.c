/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names: lookup, make, link, remove, rename. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "fs/fuse/ops.h"

/* ---- lookup ---------------------------------------------------------------------- */

/* Finds name in dir (held) and takes the inode in `mode`: *ref. WAIT: run again. */
static enum csv_err find(struct csv_freq *r, struct csv_iref dir, const char *name, enum csv_mode mode,
			 struct csv_iref *ref)
{
	TRY(freq_missing(r));
	TRY(csv_lookup(&r->ctx, dir, name, ref));
	TRY(freq_hold(r, CSV_RES_INODE, ref->ino, mode));
	return freq_missing(r);
}

static enum csv_err lookup(struct csv_freq *r)
{
	struct csv_iref ref;

	TRY(freq_hold(r, CSV_RES_INODE, r->ref.ino, CSV_PR));
	TRY(find(r, r->ref, r->name, CSV_PR, &ref));
	return freq_getattr(r, ref);
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct csv_freq *r = freq_new(req, lookup);

	if (!r || !freq_names(r, name, NULL))
		return;
	r->ref = freq_ref(r->m, parent);
	r->reply = freq_reply_entry;
	freq_start(r);
}

void op_forget(fuse_req_t req, fuse_ino_t node, uint64_t nlookup)
{
	fuse_reply_none(req); /* node ids are inode numbers: there is nothing to forget */
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	fuse_reply_none(req);
}

/* ---- making ----------------------------------------------------------------------- */

/* Whether csv_create() will make an image; the directory is held. */
static enum csv_err makes_image(struct csv_freq *r, const struct csv_new *what, bool *image)
{
	*image = false;
	if (!S_ISREG(what->mode) || r->nup == 0)
		return CSV_OK;
	TRY(csv_getattr(&r->ctx, r->ref, &r->attr));
	*image = csv_name_is_image(r->name) || r->attr.flags & CSV_INODE_IMAGE_INHERIT;
	return CSV_OK;
}

enum csv_err create_hold(struct csv_freq *r, const struct csv_new *what)
{
	bool image;

	TRY(freq_hold(r, CSV_RES_INODE, r->ref.ino, CSV_EX));
	TRY(freq_hold_ags(r));
	TRY(freq_missing(r));
	TRY(makes_image(r, what, &image));
	/* The new inode's own locks, of which csv_create() has told the number. */
	for (unsigned i = 0; i < r->nup; i++) {
		TRY(freq_hold(r, CSV_RES_INODE, r->up[i], CSV_EX));
		if (image)
			TRY(freq_hold(r, CSV_RES_LEASE, r->up[i], CSV_EX));
	}
	return freq_missing(r);
}

static enum csv_err make(struct csv_freq *r)
{
	TRY(create_hold(r, &r->u.mk.what));
	return csv_create(&r->ctx, r->ref, r->name, &r->u.mk.what, &r->attr, &r->tid);
}

static void start_make(struct csv_freq *r, fuse_ino_t parent, mode_t mode)
{
	r->ref = freq_ref(r->m, parent);
	r->u.mk.what.mode = mode;
	r->reply = freq_reply_entry;
	r->slow = true;
	freq_start(r);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct csv_freq *r = freq_new(req, make);

	if (!r || !freq_names(r, name, NULL))
		return;
	r->u.mk.what.rdev_major = major(rdev);
	r->u.mk.what.rdev_minor = minor(rdev);
	start_make(r, parent, mode & S_IFMT ? mode : mode | S_IFREG);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct csv_freq *r = freq_new(req, make);

	if (!r || !freq_names(r, name, NULL))
		return;
	start_make(r, parent, (mode & ~(mode_t)S_IFMT) | S_IFDIR);
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct csv_freq *r = freq_new(req, make);

	if (!r || !freq_names(r, name, NULL))
		return;
	r->mem = strdup(target);
	if (!r->mem) {
		freq_end(r, CSV_NOMEM);
		return;
	}
	r->u.mk.what.target = r->mem;
	start_make(r, parent, S_IFLNK | 0777);
}

static enum csv_err readlink_body(struct csv_freq *r)
{
	char *target;

	TRY(freq_hold(r, CSV_RES_INODE, r->ref.ino, CSV_PR));
	TRY(freq_missing(r));
	TRY(csv_readlink(&r->ctx, r->ref, &target));
	r->mem = target;
	return CSV_OK;
}

static void reply_readlink(struct csv_freq *r)
{
	fuse_reply_readlink(r->req, r->mem);
}

void op_readlink(fuse_req_t req, fuse_ino_t node)
{
	struct csv_freq *r = freq_new(req, readlink_body);

	if (!r)
		return;
	r->ref = freq_ref(r->m, node);
	r->reply = reply_readlink;
	freq_start(r);
}

static enum csv_err link_body(struct csv_freq *r)
{
	TRY(freq_hold(r, CSV_RES_INODE, r->ref2.ino, CSV_EX));
	TRY(freq_hold(r, CSV_RES_INODE, r->ref.ino, CSV_EX));
	TRY(freq_hold_ags(r));
	TRY(freq_missing(r));
	TRY(csv_link(&r->ctx, r->ref, r->ref2, r->name, &r->attr, &r->tid));
	return freq_getattr(r, r->attr.ref);
}

void op_link(fuse_req_t req, fuse_ino_t node, fuse_ino_t parent, const char *name)
{
	struct csv_freq *r = freq_new(req, link_body);

	if (!r || !freq_names(r, name, NULL))
		return;
	r->ref = freq_ref(r->m, node);
	r->ref2 = freq_ref(r->m, parent);
	r->reply = freq_reply_entry;
	r->slow = true;
	freq_start(r);
}

/* ---- removing ---------------------------------------------------------------------- */

static enum csv_err unlink_body(struct csv_freq *r)
{
	struct csv_iref victim;
	uint32_t nlink;

	TRY(freq_hold(r, CSV_RES_INODE, r->ref.ino, CSV_EX));
	TRY(freq_hold_ags(r));
	TRY(find(r, r->ref, r->name, CSV_EX, &victim));
	TRY(csv_unlink(&r->ctx, r->ref, r->name, victim, &nlink, &r->tid));
	if (nlink > 0)
		return CSV_OK;
	reap_then_reply(r, victim);
	return FREQ_LATER;
}

static enum csv_err rmdir_body(struct csv_freq *r)
{
	struct csv_iref victim;

	TRY(freq_hold(r, CSV_RES_INODE, r->ref.ino, CSV_EX));
	TRY(freq_hold_ags(r));
	TRY(find(r, r->ref, r->name, CSV_EX, &victim));
	TRY(csv_rmdir(&r->ctx, r->ref, r->name, victim, &r->tid));
	reap_then_reply(r, victim);
	return FREQ_LATER;
}

static void start_remove(fuse_req_t req, fuse_ino_t parent, const char *name, freq_body body)
{
	struct csv_freq *r = freq_new(req, body);

	if (!r || !freq_names(r, name, NULL))
		return;
	r->ref = freq_ref(r->m, parent);
	r->slow = true;
	freq_start(r);
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	start_remove(req, parent, name, unlink_body);
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	start_remove(req, parent, name, rmdir_body);
}

/* ---- rename -------------------------------------------------------------------------- */

/* Looks both names up and takes what they mean; the directories are held. */
static enum csv_err rename_find(struct csv_freq *r, struct csv_rename *mv)
{
	enum csv_err err;

	TRY(freq_missing(r));
	TRY(csv_lookup(&r->ctx, mv->from_dir, mv->from, &mv->moved));
	TRY(freq_hold(r, CSV_RES_INODE, mv->moved.ino, CSV_EX));
	err = csv_lookup(&r->ctx, mv->to_dir, mv->to, &mv->replaced);
	if (err == CSV_NOENT)
		mv->replaced = (struct csv_iref){ 0 };
	else if (err != CSV_OK)
		return err;
	else
		TRY(freq_hold(r, CSV_RES_INODE, mv->replaced.ino, CSV_EX));
	return freq_missing(r);
}

static enum csv_err rename_body(struct csv_freq *r)
{
	struct csv_rename mv = {
		.from_dir = r->ref, .to_dir = r->ref2, .from = r->name, .to = r->name2, .flags = r->u.rename.flags
	};
	uint32_t nlink = 1;

	/*
	 * Two directories: it might be one that moves, which is known only once they are held, and then rename would
	 * come too late in lock order.  So always, they are rare.
	 */
	if (mv.from_dir.ino != mv.to_dir.ino)
		TRY(freq_hold(r, CSV_RES_RENAME, 0, CSV_EX));
	TRY(freq_hold(r, CSV_RES_INODE, mv.from_dir.ino, CSV_EX));
	TRY(freq_hold(r, CSV_RES_INODE, mv.to_dir.ino, CSV_EX));
	for (unsigned i = 0; i < r->nup; i++)
		TRY(freq_hold(r, CSV_RES_INODE, r->up[i], CSV_PR));
	TRY(freq_hold_ags(r));
	TRY(rename_find(r, &mv));
	TRY(csv_rename(&r->ctx, &mv, &nlink, &r->tid));
	if (!mv.replaced.ino || nlink > 0)
		return CSV_OK;
	reap_then_reply(r, mv.replaced);
	return FREQ_LATER;
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent, const char *newname,
	       unsigned flags)
{
	struct csv_freq *r = freq_new(req, rename_body);

	if (!r || !freq_names(r, name, newname))
		return;
	r->ref = freq_ref(r->m, parent);
	r->ref2 = freq_ref(r->m, newparent);
	r->u.rename.flags = flags;
	r->slow = true;
	freq_start(r);
}
