/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Orphans: inodes that have no name any more but may still be open somewhere (U4).
 * The list of a slot begins in its orphan block and goes on in metadata blocks, which
 * stay for later use once they are there.  Order means nothing; an entry that goes
 * is filled by the last one of its block.
 */
#include <stdlib.h>
#include <string.h>

#include "fs/disk/geometry.h"
#include "fs/meta/inode.h"

#define CHAIN_MAX 4096u /* blocks: a million orphans; more is a chain that bites its tail */

static struct csv_disk_orphans *orphans_of(struct csv_buf *buf)
{
	return buf->data;
}

static enum csv_err get_block(struct csv_fs *fs, uint32_t slot, uint64_t block, struct csv_buf **buf)
{
	if (slot >= fs->sb.slots)
		return CSV_INVAL;
	return csv_buf_get(fs, block, CSV_MAGIC_ORPHAN, slot, csv_res(CSV_RES_SLOT, slot), buf);
}

/* Goes from *buf, which is put, to the next block of the chain; NOENT at the end, then *buf stays. */
static enum csv_err next_block(struct csv_fs *fs, uint32_t slot, struct csv_buf **buf, unsigned *steps)
{
	uint64_t next = csv_le64_get(orphans_of(*buf)->next);
	struct csv_buf *n;
	enum csv_err err;

	if (!next)
		return CSV_NOENT;
	if (++*steps > CHAIN_MAX)
		return CSV_DAMAGED;
	err = get_block(fs, slot, next, &n);
	if (err)
		return err;
	csv_buf_put(fs, *buf);
	*buf = n;
	return CSV_OK;
}

static enum csv_err append_block(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf **last)
{
	struct csv_fs *fs = ctx->fs;
	struct csv_buf *buf;
	enum csv_err err = csv_txn_dirty(txn, *last);

	if (!err)
		err = csv_alloc_meta(txn, &ctx->ags, 0, CSV_MAGIC_ORPHAN, fs->slot, csv_res(CSV_RES_SLOT, fs->slot),
				     &buf);
	if (err)
		return err;
	orphans_of(*last)->next = csv_le64_of(buf->block);
	csv_buf_put(fs, *last);
	*last = buf;
	return CSV_OK;
}

enum csv_err csv_orphan_add(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_iref ref)
{
	struct csv_fs *fs = ctx->fs;
	struct csv_disk_orphans *o;
	struct csv_buf *buf;
	unsigned steps = 0;
	uint32_t n;
	enum csv_err err = get_block(fs, fs->slot, CSV_ORPHAN_BLOCK(fs->slot), &buf);

	if (err)
		return err;
	while (!err && csv_le32_get(orphans_of(buf)->count) == CSV_ORPHANS_PER_BLOCK) {
		err = next_block(fs, fs->slot, &buf, &steps);
		if (err == CSV_NOENT)
			err = append_block(txn, ctx, &buf);
	}
	if (!err)
		err = csv_txn_dirty(txn, buf);
	if (!err) {
		o = orphans_of(buf);
		n = csv_le32_get(o->count);
		o->entry[n] = (struct csv_disk_orphan_entry){ csv_le64_of(ref.ino), csv_le32_of(ref.gen), { 0 } };
		o->count = csv_le32_of(n + 1);
	}
	csv_buf_put(fs, buf);
	return err;
}

/* Index of ref in a block, -1 if it is not there. */
static int find_entry(const struct csv_disk_orphans *o, struct csv_iref ref)
{
	uint32_t n = csv_le32_get(o->count);

	for (uint32_t i = 0; i < n; i++)
		if (csv_le64_get(o->entry[i].inode) == ref.ino && csv_le32_get(o->entry[i].gen) == ref.gen)
			return (int)i;
	return -1;
}

enum csv_err csv_orphan_del(struct csv_txn *txn, uint32_t slot, struct csv_iref ref)
{
	struct csv_fs *fs = csv_txn_fs(txn);
	struct csv_disk_orphans *o;
	struct csv_buf *buf;
	unsigned steps = 0;
	uint32_t last;
	int i;
	enum csv_err err = get_block(fs, slot, CSV_ORPHAN_BLOCK(slot), &buf);

	if (err)
		return err;
	while (!err && (i = find_entry(orphans_of(buf), ref)) < 0)
		err = next_block(fs, slot, &buf, &steps);
	if (!err)
		err = csv_txn_dirty(txn, buf);
	if (!err) {
		o = orphans_of(buf);
		last = csv_le32_get(o->count) - 1;
		o->entry[i] = o->entry[last];
		memset(&o->entry[last], 0, sizeof(o->entry[last]));
		o->count = csv_le32_of(last);
	}
	csv_buf_put(fs, buf);
	return err;
}

/* Appends the entries of one block to the array. */
static enum csv_err collect(const struct csv_disk_orphans *o, struct csv_iref **refs, size_t *n)
{
	uint32_t count = csv_le32_get(o->count);
	struct csv_iref *more = realloc(*refs, (*n + count + 1) * sizeof(**refs));

	if (!more)
		return CSV_NOMEM;
	*refs = more;
	for (uint32_t i = 0; i < count; i++)
		more[(*n)++] = (struct csv_iref){ csv_le64_get(o->entry[i].inode), csv_le32_get(o->entry[i].gen) };
	return CSV_OK;
}

enum csv_err csv_orphan_list(struct csv_fs *fs, uint32_t slot, struct csv_iref **refs, size_t *n)
{
	struct csv_buf *buf;
	unsigned steps = 0;
	enum csv_err err;

	*refs = NULL;
	*n = 0;
	csv_fs_lock_shared(fs);
	err = get_block(fs, slot, CSV_ORPHAN_BLOCK(slot), &buf);
	if (err)
		goto unlock;
	do {
		err = collect(orphans_of(buf), refs, n);
		if (!err)
			err = next_block(fs, slot, &buf, &steps);
	} while (!err);
	csv_buf_put(fs, buf);
	if (err == CSV_NOENT)
		err = CSV_OK;
unlock:
	csv_fs_unlock(fs);
	if (err) {
		free(*refs);
		*refs = NULL;
		*n = 0;
	}
	return err;
}
