/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading directories: without state between calls, the cookie says where to go on. */
#include <stdlib.h>
#include <string.h>

#include "fs/fuse/ops.h"

static bool add(void *arg, const char *name, struct csv_iref ref, uint8_t type, uint64_t cookie)
{
	struct csv_freq *r = arg;
	struct stat st = { .st_ino = ref.ino, .st_mode = DTTOIF(type) };
	size_t room = r->u.dir.size - r->mem_len;
	size_t need = fuse_add_direntry(r->req, (char *)r->mem + r->mem_len, room, name, &st, (off_t)cookie);

	if (need > room)
		return false;
	r->mem_len += need;
	return true;
}

static enum csv_err readdir_body(struct csv_freq *r)
{
	TRY(freq_hold(r, CSV_RES_INODE, r->ref.ino, CSV_PR));
	TRY(freq_missing(r));
	r->mem_len = 0;
	return csv_readdir(&r->ctx, r->ref, r->u.dir.cookie, add, r);
}

static void reply_buf(struct csv_freq *r)
{
	fuse_reply_buf(r->req, r->mem, r->mem_len);
}

void op_readdir(fuse_req_t req, fuse_ino_t node, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct csv_freq *r = freq_new(req, readdir_body);

	if (!r)
		return;
	r->ref = freq_ref(r->m, node);
	r->reply = reply_buf;
	r->u.dir.size = size;
	r->u.dir.cookie = (uint64_t)off;
	r->mem = malloc(size);
	if (!r->mem)
		freq_end(r, CSV_NOMEM);
	else
		freq_start(r);
}

static void committed(struct csv_commit_wait *w, enum csv_err err)
{
	freq_end(csv_list_entry(w, struct csv_freq, commit), err);
}

/* All of the journal: which transactions touched this directory is not kept. */
static enum csv_err fsyncdir_body(struct csv_freq *r)
{
	if (!r->m->fs.journal)
		return CSV_OK;
	r->commit.tid = csv_journal_last_tid(&r->m->fs);
	r->commit.fn = committed;
	csv_journal_commit_async(&r->m->fs, &r->commit);
	return FREQ_LATER;
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t node, int datasync, struct fuse_file_info *fi)
{
	struct csv_freq *r = freq_new(req, fsyncdir_body);

	if (r)
		freq_start(r);
}
