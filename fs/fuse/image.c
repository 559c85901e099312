/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ioctl CSV_IOC_IMAGE (include/csv/ioctl.h): the image flag and the lease of a file, for administrators. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csv/ioctl.h"
#include "fs/data/map.h"
#include "fs/fuse/ops.h"
#include "fs/lock/lease.h"

#define EXTENTS_AT_ONCE 1000u /* looked up without letting others change metadata */

static struct csv_ioctl_image *image_of(struct csv_freq *r)
{
	return r->mem;
}

static enum csv_err find(struct csv_freq *r)
{
	TRY(freq_hold(r, CSV_RES_INODE, r->ref.ino, CSV_PR));
	TRY(freq_missing(r));
	return csv_lookup(&r->ctx, r->ref, image_of(r)->name, &r->victim);
}

/* From *lblk on, at most EXTENTS_AT_ONCE; fs->meta shared. */
static enum csv_err count_some(struct csv_freq *r, uint64_t *lblk, uint64_t end, uint64_t *count)
{
	struct csv_buf *inode;
	enum csv_err err = csv_inode_get(&r->m->fs, r->victim, &inode);

	if (err)
		return err;
	for (unsigned i = 0; !err && *lblk < end && i < EXTENTS_AT_ONCE; i++) {
		struct csv_map map;

		err = csv_map_lookup(&r->m->fs, inode, *lblk, end - *lblk, &map);
		if (!err) {
			*count += map.kind != CSV_MAP_HOLE;
			*lblk += map.len;
		}
	}
	csv_buf_put(&r->m->fs, inode);
	return err;
}

/* inode PR: the map stands still, others may work on other files between two looks. */
static enum csv_err count_extents(struct csv_freq *r, uint64_t *count)
{
	uint64_t end = (r->attr.size + CSV_BLOCK_SIZE - 1) >> CSV_BLOCK_SHIFT, lblk = 0;
	enum csv_err err = CSV_OK;

	*count = 0;
	while (!err && lblk < end) {
		csv_fs_lock_shared(&r->m->fs);
		err = count_some(r, &lblk, end, count);
		csv_fs_unlock(&r->m->fs);
	}
	return err;
}

/*
 * What the lease block says.  Ours is in memory.  Nobody's lock: the block, wherever it is at the moment.  Another's
 * lock: it was written home before the open that took it was answered.
 */
static enum csv_err lease_now(struct csv_freq *r, struct csv_lease *l)
{
	struct csv_fs *fs = &r->m->fs;
	enum csv_err err;

	if (csv_lease_held(r->m->leases, r->attr.ref, l))
		return CSV_OK;
	err = csv_hold_noqueue(&r->op, csv_res(CSV_RES_LEASE, r->attr.ref.ino), CSV_PR);
	if (err == CSV_BUSY)
		return csv_lease_peek(fs, r->attr.ref, r->attr.lease, l);
	if (err != CSV_OK)
		return err;
	csv_fs_lock_shared(fs);
	err = csv_lease_read(fs, r->attr.ref, r->attr.lease, l);
	csv_fs_unlock(fs);
	return err;
}

static enum csv_err lease_info(struct csv_freq *r, struct csv_ioctl_image *out)
{
	struct csv_lease l;

	if (!r->attr.lease)
		return CSV_OK;
	TRY(lease_now(r, &l));
	out->lease_mode = l.mode;
	out->lease_run = l.run;
	out->lease_nodeid = l.nodeid;
	out->lease_epoch = l.epoch;
	out->lease_since = l.since_sec;
	out->lease_alive = csv_lease_alive(r->m->leases, &l);
	memcpy(out->lease_vm, l.vm, sizeof(out->lease_vm));
	memcpy(out->lease_node, l.node, sizeof(out->lease_node));
	return CSV_OK;
}

static enum csv_err info(struct csv_freq *r)
{
	struct csv_ioctl_image *out = image_of(r);

	TRY(find(r));
	TRY(freq_hold(r, CSV_RES_INODE, r->victim.ino, CSV_PR));
	TRY(freq_missing(r));
	TRY(freq_getattr(r, r->victim));
	if (!S_ISREG(r->attr.mode))
		return S_ISDIR(r->attr.mode) ? CSV_ISDIR : CSV_INVAL;
	out->image = !!(r->attr.flags & CSV_INODE_IMAGE);
	TRY(lease_info(r, out));
	return count_extents(r, &out->extents);
}

/* A lease that a living mount has is not pulled from under it: such a file is open, or just being closed. */
static enum csv_err unleased(struct csv_freq *r)
{
	struct csv_fs *fs = &r->m->fs;
	struct csv_lease l;
	enum csv_err err;

	csv_fs_lock_shared(fs);
	err = csv_lease_read(fs, r->attr.ref, r->attr.lease, &l);
	csv_fs_unlock(fs);
	return err ? err : csv_lease_alive(r->m->leases, &l) ? CSV_BUSY : CSV_OK;
}

/* Nobody may have the file open, on any node: an open without a lease would go on writing beside the first holder. */
static enum csv_err change(struct csv_freq *r)
{
	bool mark = image_of(r)->op == CSV_IMAGE_MARK;
	enum csv_err err;

	TRY(find(r));
	TRY(freq_hold(r, CSV_RES_INODE, r->victim.ino, CSV_EX));
	err = csv_hold_noqueue(&r->op, csv_res(CSV_RES_OPEN, r->victim.ino), CSV_EX);
	if (err != CSV_OK && err != CSV_WAIT)
		return err;
	TRY(freq_hold(r, CSV_RES_LEASE, r->victim.ino, CSV_EX));
	TRY(freq_hold_ags(r));
	TRY(freq_missing(r));
	TRY(csv_getattr(&r->ctx, r->victim, &r->attr));
	if (!S_ISREG(r->attr.mode))
		return S_ISDIR(r->attr.mode) ? CSV_ISDIR : CSV_INVAL;
	if (r->ctx.uid != 0 && r->ctx.uid != r->attr.uid)
		return CSV_PERM;
	if (!!(r->attr.flags & CSV_INODE_IMAGE) != mark) {
		if (r->attr.lease)
			TRY(unleased(r));
		r->attr.flags = mark ? r->attr.flags | CSV_INODE_IMAGE : 0;
		TRY(csv_setattr(&r->ctx, r->victim, CSV_SET_FLAGS, &r->attr, &r->tid));
	}
	freq_next(r, info);
	return FREQ_LATER;
}

static void reply(struct csv_freq *r)
{
	fuse_reply_ioctl(r->req, 0, r->mem, sizeof(struct csv_ioctl_image));
}

void op_ioctl(fuse_req_t req, fuse_ino_t node, unsigned cmd, void *arg, struct fuse_file_info *fi, unsigned flags,
	      const void *in, size_t in_size, size_t out_size)
{
	const struct csv_ioctl_image *ask = in;
	struct csv_freq *r;

	if (cmd != CSV_IOC_IMAGE || !(flags & FUSE_IOCTL_DIR)) {
		fuse_reply_err(req, ENOTTY);
		return;
	}
	if (in_size != sizeof(*ask) || out_size != sizeof(*ask) || !memchr(ask->name, 0, sizeof(ask->name)) ||
	    ask->op > CSV_IMAGE_UNMARK) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	r = freq_new(req, ask->op == CSV_IMAGE_INFO ? info : change);
	if (!r)
		return;
	r->ref = freq_ref(r->m, node);
	r->mem = calloc(1, sizeof(*ask));
	r->slow = true;
	r->reply = reply;
	if (!r->mem) {
		freq_end(r, CSV_NOMEM);
		return;
	}
	memcpy(image_of(r)->name, ask->name, sizeof(ask->name));
	image_of(r)->op = ask->op;
	freq_start(r);
}
