/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Zeros on the LUN: in a part of a written block, durably, and over whole blocks. fs->meta is not held meanwhile. */
#include <stdlib.h>
#include <string.h>

#include "fs/data/map_int.h"

/* How often the write is repeated whose flush did not count. */
#define ZERO_TRIES 8u

/* Where the block lies on the LUN; 0: not written, it reads as zeros anyway. */
static enum csv_err find_written(struct csv_fs *fs, struct csv_iref ref, uint64_t lblk, uint64_t *phys)
{
	struct csv_map m = { .kind = CSV_MAP_HOLE };
	struct csv_buf *inode;
	enum csv_err err;

	csv_fs_lock_shared(fs);
	err = csv_inode_get(fs, ref, &inode);
	if (!err) {
		err = csv_map_lookup(fs, inode, lblk, 1, &m);
		csv_buf_put(fs, inode);
	}
	csv_fs_unlock(fs);
	*phys = m.kind == CSV_MAP_WRITTEN ? m.phys : 0;
	return err;
}

/*
 * Writes until a flush has counted (J4).  Nobody else could: an answered write is its owner's to write again, these
 * zeros are only known here.
 */
static enum csv_err write_durably(struct csv_bdev *dev, uint64_t at, const void *mem, size_t len)
{
	unsigned tries = 0;
	uint64_t generation;
	enum csv_err err;

	do {
		generation = csv_bdev_generation(dev);
		err = csv_bdev_write(dev, at, mem, len, 0);
		if (!err)
			err = csv_bdev_flush(dev);
	} while (!err && generation != csv_bdev_generation(dev) && ++tries < ZERO_TRIES);
	return tries == ZERO_TRIES ? CSV_IO : err;
}

/* Only the device blocks that hold some of the bytes are read and written. */
static enum csv_err zero_bytes(struct csv_bdev *dev, uint64_t block, unsigned from, unsigned to)
{
	unsigned unit = dev->geo.block, lo = from / unit * unit, hi = (to + unit - 1) / unit * unit;
	uint64_t at = (block << CSV_BLOCK_SHIFT) + lo;
	uint8_t *mem = aligned_alloc(CSV_BLOCK_SIZE, CSV_BLOCK_SIZE);
	enum csv_err err;

	if (!mem)
		return CSV_NOMEM;
	err = csv_bdev_read(dev, at, mem + lo, hi - lo);
	if (!err) {
		memset(mem + from, 0, to - from);
		err = write_durably(dev, at, mem + lo, hi - lo);
	}
	free(mem);
	return err;
}

enum csv_err map_zero_part(struct csv_fs *fs, struct csv_iref ref, uint64_t from, uint64_t to)
{
	uint64_t lblk = blk_floor(from), phys = 0;
	enum csv_err err = CSV_OK;

	CSV_ASSERT(from <= to && to <= (lblk + 1) << CSV_BLOCK_SHIFT);
	if (from < to)
		err = find_written(fs, ref, lblk, &phys);
	if (err || !phys)
		return err;
	return zero_bytes(fs->dev, phys, (unsigned)(from % CSV_BLOCK_SIZE), (unsigned)(to - (lblk << CSV_BLOCK_SHIFT)));
}

/* Bytes of zeros in memory, and such requests in flight at once. */
#define ZERO_PIECE (1u << 20)
#define ZERO_PIECES 8u

/* Some of the range, from its front: *n blocks. */
static enum csv_err zero_some(struct csv_bdev *dev, const void *zeros, uint64_t phys, uint64_t len, uint64_t *n)
{
	uint64_t piece = ZERO_PIECE >> CSV_BLOCK_SHIFT;
	struct csv_bdev_batch *batch;
	enum csv_err err = csv_bdev_batch_begin(dev, &batch);

	*n = 0;
	if (err)
		return err;
	for (unsigned i = 0; i < ZERO_PIECES && *n < len; i++) {
		uint64_t now = len - *n < piece ? len - *n : piece;

		csv_bdev_batch_write(batch, (phys + *n) << CSV_BLOCK_SHIFT, zeros, now << CSV_BLOCK_SHIFT, 0);
		*n += now;
	}
	return csv_bdev_batch_wait(batch);
}

enum csv_err map_zero_blocks(struct csv_fs *fs, uint64_t phys, uint64_t len)
{
	void *zeros = len ? aligned_alloc(CSV_BLOCK_SIZE, ZERO_PIECE) : NULL;
	enum csv_err err = CSV_OK;
	uint64_t n;

	if (!len)
		return CSV_OK;
	if (!zeros)
		return CSV_NOMEM;
	memset(zeros, 0, ZERO_PIECE);
	for (; !err && len; phys += n, len -= n)
		err = zero_some(fs->dev, zeros, phys, len, &n);
	free(zeros);
	return err;
}

/* *m: where the written blocks are that come first in [lblk, end); len 0: none. */
static enum csv_err next_written(struct csv_fs *fs, struct csv_iref ref, uint64_t lblk, uint64_t end, struct csv_map *m)
{
	struct csv_buf *inode;
	enum csv_err err;

	*m = (struct csv_map){ 0 };
	csv_fs_lock_shared(fs);
	err = csv_inode_get(fs, ref, &inode);
	for (; !err && lblk < end; lblk += m->len) {
		err = csv_map_lookup(fs, inode, lblk, end - lblk, m);
		if (err || m->kind == CSV_MAP_WRITTEN)
			break;
	}
	if (inode)
		csv_buf_put(fs, inode);
	csv_fs_unlock(fs);
	if (lblk >= end)
		m->len = 0;
	return err;
}

enum csv_err map_zero_written(struct csv_fs *fs, struct csv_iref ref, uint64_t lblk, uint64_t end)
{
	unsigned tries = 0;
	uint64_t generation;
	enum csv_err err;

	do {
		struct csv_map m;

		generation = csv_bdev_generation(fs->dev);
		err = next_written(fs, ref, lblk, end, &m);
		while (!err && m.len) {
			err = map_zero_blocks(fs, m.phys, m.len);
			if (!err)
				err = next_written(fs, ref, m.lblk + m.len, end, &m);
		}
		if (!err)
			err = csv_bdev_flush(fs->dev);
	} while (!err && generation != csv_bdev_generation(fs->dev) && ++tries < ZERO_TRIES);
	return tries == ZERO_TRIES ? CSV_IO : err;
}
