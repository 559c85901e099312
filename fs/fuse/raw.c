/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Answers to OPEN and CREATE as the kernel reads them.  libfuse 3.14 has no field for
 * FOPEN_PARALLEL_DIRECT_WRITES, without which the kernel sends the writes to a file one
 * after the other.
 */
#include <linux/fuse.h>

#include "fs/fuse/req.h"

/* Page cache nowhere (U1), writes side by side. */
#define OPEN_FLAGS (FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES)

static struct fuse_open_out open_out(const struct csv_freq *r)
{
	return (struct fuse_open_out){ .fh = r->handle->id, .open_flags = OPEN_FLAGS };
}

static struct fuse_attr attr_out(const struct stat *st)
{
	return (struct fuse_attr){
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.blocks = (uint64_t)st->st_blocks,
		.atime = (uint64_t)st->st_atim.tv_sec,
		.mtime = (uint64_t)st->st_mtim.tv_sec,
		.ctime = (uint64_t)st->st_ctim.tv_sec,
		.atimensec = (uint32_t)st->st_atim.tv_nsec,
		.mtimensec = (uint32_t)st->st_mtim.tv_nsec,
		.ctimensec = (uint32_t)st->st_ctim.tv_nsec,
		.mode = st->st_mode,
		.nlink = (uint32_t)st->st_nlink,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.rdev = (uint32_t)st->st_rdev,
		.blksize = (uint32_t)st->st_blksize,
	};
}

/* The kernel did not take the answer (the caller was interrupted): nobody will release the handle. */
static void check_taken(struct csv_freq *r, int res)
{
	if (res < 0)
		handle_abandon(r->m, r->handle);
}

void freq_reply_open(struct csv_freq *r)
{
	struct fuse_open_out out = open_out(r);

	check_taken(r, fuse_reply_buf(r->req, (const char *)&out, sizeof(out)));
}

void freq_reply_create(struct csv_freq *r)
{
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out = { .open = open_out(r) };
	struct fuse_entry_param e;

	freq_entry(r->m, &r->attr, &e);
	out.entry.nodeid = e.ino;
	out.entry.generation = e.generation;
	out.entry.attr = attr_out(&e.attr);
	check_taken(r, fuse_reply_buf(r->req, (const char *)&out, sizeof(out)));
}
