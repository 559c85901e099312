/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fallocate(2): preallocation, holes, zeroed ranges.  Whole blocks are worked on in
 * the map, in transactions of bounded size; parts of blocks at the edges are zeroed on the LUN.
 */
#include <fcntl.h>
#include <linux/falloc.h>

#include "fs/data/map_int.h"
#include "fs/meta/op.h"

struct falloc {
	struct csv_ctx *ctx;
	struct csv_iref ref;
	uint64_t off, end;    /* bytes */
	uint64_t first, last; /* whole blocks within: [first, last), empty if first >= last */
	uint64_t tid;
};

/* One transaction of a course over blocks: does some of [pos, pos+len), says how many are left at the end it works at.
 */
typedef enum csv_err (*falloc_step)(struct csv_txn *txn, struct falloc *f, struct csv_buf *inode, uint64_t *pos,
				    uint64_t *len);

static enum csv_err check_file(struct csv_buf *inode)
{
	uint32_t mode = csv_le32_get(csv_inode_of(inode)->mode);

	if (S_ISREG(mode))
		return CSV_OK;
	return S_ISDIR(mode) ? CSV_ISDIR : CSV_INVAL;
}

static enum csv_err in_txn(struct falloc *f, falloc_step fn, uint64_t *pos, uint64_t *len)
{
	struct csv_fs *fs = f->ctx->fs;
	uint64_t want = *len;
	struct csv_buf *inode;
	struct csv_txn *txn;
	enum csv_err err = csv_op_begin(f->ctx, &txn);

	if (err)
		return err;
	err = csv_inode_get(fs, f->ref, &inode);
	if (!err) {
		err = check_file(inode);
		if (!err)
			err = csv_txn_dirty(txn, inode);
		if (!err)
			err = fn(txn, f, inode, pos, len);
		if (!err)
			csv_inode_touch(fs, inode, CSV_TOUCH_M | CSV_TOUCH_C);
		csv_buf_put(fs, inode);
	}
	return csv_op_end(f->ctx, txn, err, want, &f->tid);
}

/* *pos and *len: the rest, if it fails. */
static enum csv_err course_rest(struct falloc *f, falloc_step fn, uint64_t *pos, uint64_t *len)
{
	enum csv_err err = CSV_OK;

	while (!err && *len > 0)
		err = in_txn(f, fn, pos, len);
	return err;
}

static enum csv_err course(struct falloc *f, falloc_step fn, uint64_t pos, uint64_t end)
{
	uint64_t len = end > pos ? end - pos : 0;

	return course_rest(f, fn, &pos, &len);
}

/*
 * The same for what makes a range read as zeros. It must not fail for space, a guest may have written them: what the
 * map has no room to say is written to the blocks.
 */
static enum csv_err zero_course(struct falloc *f, falloc_step fn, uint64_t pos, uint64_t end)
{
	uint64_t len = end > pos ? end - pos : 0;
	enum csv_err err = course_rest(f, fn, &pos, &len);

	if (err == CSV_NOSPC && map_is_full(f->ctx))
		err = map_zero_written(f->ctx->fs, f->ref, pos, pos + len);
	return err;
}

static enum csv_err step_alloc(struct csv_txn *txn, struct falloc *f, struct csv_buf *inode, uint64_t *pos,
			       uint64_t *len)
{
	uint64_t done;
	enum csv_err err = csv_map_alloc(txn, f->ctx, inode, *pos, *len, &done);

	if (err)
		return err;
	*pos += done;
	*len -= done;
	return CSV_OK;
}

static enum csv_err step_unwrite(struct csv_txn *txn, struct falloc *f, struct csv_buf *inode, uint64_t *pos,
				 uint64_t *len)
{
	uint64_t done;
	enum csv_err err = csv_map_unwrite(txn, f->ctx, inode, *pos, *len, &done);

	if (err)
		return err;
	*pos += done;
	*len -= done;
	return CSV_OK;
}

static enum csv_err step_punch(struct csv_txn *txn, struct falloc *f, struct csv_buf *inode, uint64_t *pos,
			       uint64_t *len)
{
	uint64_t left;
	enum csv_err err = csv_map_punch(txn, f->ctx, inode, *pos, *len, &left);

	if (!err)
		*len = left;
	return err;
}

/* The size grows to the end of the range. */
static enum csv_err step_size(struct csv_txn *txn, struct falloc *f, struct csv_buf *inode, uint64_t *pos,
			      uint64_t *len)
{
	struct csv_disk_inode *di = csv_inode_of(inode);

	if (csv_le64_get(di->size) < f->end)
		di->size = csv_le64_of(f->end);
	*len = 0;
	return CSV_OK;
}

static enum csv_err step_touch(struct csv_txn *txn, struct falloc *f, struct csv_buf *inode, uint64_t *pos,
			       uint64_t *len)
{
	*len = 0;
	return CSV_OK;
}

/* ---- edges ---------------------------------------------------------------------- */

/* Parts of blocks at both ends of the range. */
static enum csv_err zero_edges(struct falloc *f)
{
	struct csv_fs *fs = f->ctx->fs;
	uint64_t head = f->first << CSV_BLOCK_SHIFT, tail = f->last << CSV_BLOCK_SHIFT;
	enum csv_err err;

	if (f->first > f->last) /* within one block */
		return map_zero_part(fs, f->ref, f->off, f->end);
	err = map_zero_part(fs, f->ref, f->off, head);
	return err ? err : map_zero_part(fs, f->ref, tail, f->end);
}

/* A file that grows shows the rest of its last block, which must be zeros (see map_truncate.c). */
static enum csv_err zero_gap(struct falloc *f, uint64_t size)
{
	return map_zero_part(f->ctx->fs, f->ref, size, blk_ceil(size) << CSV_BLOCK_SHIFT);
}

/* Size of the file; groups that a punch frees from must be held before anything is changed. */
static enum csv_err look(struct falloc *f, bool punch, uint64_t *size)
{
	struct csv_fs *fs = f->ctx->fs;
	struct csv_agset groups = { 0 };
	struct csv_buf *inode;
	enum csv_err err;

	csv_fs_lock_shared(fs);
	err = csv_inode_get(fs, f->ref, &inode);
	if (!err) {
		err = check_file(inode);
		*size = csv_le64_get(csv_inode_of(inode)->size);
		if (!err && punch && f->first < f->last)
			err = csv_map_groups(fs, inode, f->first, f->last - f->first, &groups);
		csv_buf_put(fs, inode);
	}
	csv_fs_unlock(fs);
	return err ? err : csv_op_groups(f->ctx, &groups);
}

/* ---- modes ------------------------------------------------------------------------ */

static enum csv_err grow(struct falloc *f, bool keep_size, uint64_t size)
{
	enum csv_err err = CSV_OK;

	if (!keep_size && size < f->end)
		err = zero_gap(f, size);
	return err ? err : course(f, keep_size ? step_touch : step_size, 0, 1);
}

static enum csv_err punch(struct falloc *f)
{
	uint64_t size;
	enum csv_err err = look(f, true, &size);

	if (!err)
		err = zero_edges(f);
	if (!err)
		err = zero_course(f, step_punch, f->first, f->last);
	return err ? err : course(f, step_touch, 0, 1);
}

static enum csv_err preallocate(struct falloc *f, bool keep_size)
{
	uint64_t size;
	enum csv_err err = look(f, false, &size);

	if (!err)
		err = course(f, step_alloc, blk_floor(f->off), blk_ceil(f->end));
	return err ? err : grow(f, keep_size, size);
}

static enum csv_err zero_range(struct falloc *f, bool keep_size)
{
	uint64_t size;
	enum csv_err err = look(f, false, &size);

	if (!err)
		err = zero_edges(f);
	if (!err)
		err = zero_course(f, step_unwrite, f->first, f->last);
	if (!err)
		err = course(f, step_alloc, blk_floor(f->off), blk_ceil(f->end));
	return err ? err : grow(f, keep_size, size);
}

enum csv_err csv_fallocate(struct csv_ctx *ctx, struct csv_iref ref, int mode, uint64_t off, uint64_t len,
			   uint64_t *tid)
{
	struct falloc f = { .ctx = ctx, .ref = ref, .off = off, .end = off + len };
	bool keep = mode & FALLOC_FL_KEEP_SIZE;
	enum csv_err err;

	csv_fs_assert_lock(ctx->fs, csv_res(CSV_RES_INODE, ref.ino), CSV_EX);
	if (len == 0)
		return CSV_INVAL;
	if (f.end < off || f.end > CSV_FILE_SIZE_MAX)
		return CSV_FBIG;
	f.first = blk_ceil(f.off);
	f.last = blk_floor(f.end);
	ctx->need.n = 0;
	ctx->need_ino = 0;
	err = csv_fs_state(ctx->fs);
	if (err)
		return err;
	if (mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE))
		err = punch(&f);
	else if ((mode & ~FALLOC_FL_KEEP_SIZE) == 0)
		err = preallocate(&f, keep);
	else if ((mode & ~FALLOC_FL_KEEP_SIZE) == FALLOC_FL_ZERO_RANGE)
		err = zero_range(&f, keep);
	else
		err = CSV_NOTSUP;
	if (!err && tid)
		*tid = f.tid;
	return err;
}
