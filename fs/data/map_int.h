/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Extents as the files of the map handle them. Used by fs/data/map*.c alone. */
#ifndef CSV_DATA_MAP_INT_H
#define CSV_DATA_MAP_INT_H

#include "fs/data/map.h"

/* What one transaction of the default credits may do: 3 blocks for each run taken or freed, the rest for tree nodes. */
#define MAP_RUNS_MAX 10u
/* Records looked at or changed in one transaction: a few leaves, and fs->meta is not held for long. */
#define MAP_RECORDS_MAX 512u
/*
 * Blocks of an unwritten extent, at most: 252 MiB. As much is written with zeros where a conversion finds no tree node
 * (io_zero.c).  Longer runs are divided where two bitmap blocks end, so that freeing their extents one by one touches
 * no bitmap.
 */
#define MAP_UNWRITTEN_MAX (2u * CSV_BITS_PER_BLOCK)
/* No further run is taken in a transaction that has made so many records: about a leaf full. */
#define MAP_NEW_RECORDS_MAX 128u
/* Groups tried before the map counts as one that cannot grow. */
#define MAP_FULL_GROUPS 4u

struct ext {
	uint64_t lblk, len; /* len > 0 */
	uint64_t phys;
	bool unwritten;
};
static inline uint64_t ext_end(const struct ext *e)
{
	return e->lblk + e->len;
}

struct csv_tree map_tree(struct csv_fs *fs, struct csv_buf *inode);
/* Extent that begins at or before / at or after lblk, checked. NOENT: none; DAMAGED. */
enum csv_err ext_floor(const struct csv_tree *t, uint64_t lblk, struct ext *e);
enum csv_err ext_ceil(const struct csv_tree *t, uint64_t lblk, struct ext *e);
/* First extent that ends behind lblk: covers it or comes later. */
enum csv_err ext_at_or_after(const struct csv_tree *t, uint64_t lblk, struct ext *e);
/* Writes the record at e->lblk, new or not. */
enum csv_err ext_set(struct csv_txn *txn, const struct csv_agset *ags, const struct csv_tree *t, const struct ext *e);
/* Whether b may be added to the end of a. */
bool ext_adjoins(const struct csv_fs *fs, const struct ext *a, const struct ext *b);
/*
 * Makes one of the extents that end and begin at lblk, if they are alike. Where a tree node would run empty in a group
 * that is not held they stay two.
 */
enum csv_err ext_join(struct csv_txn *txn, const struct csv_agset *ags, const struct csv_tree *t, uint64_t lblk);
/* Gives [from, to), part of e, its kind: up to three records instead of one. */
enum csv_err ext_mark(struct csv_txn *txn, const struct csv_agset *ags, const struct csv_tree *t, const struct ext *e,
		      uint64_t from, uint64_t to, bool unwritten);
/* Adds n to the inode's count of blocks; the inode is dirty. */
void map_account(struct csv_buf *inode, int64_t n);

/* The extent, all of it, that has this block, which is mapped; inode PR, fs->meta shared. NOENT: it is not. */
enum csv_err map_extent(struct csv_fs *fs, struct csv_buf *inode, uint64_t lblk, struct ext *e);
/* Writes zeros to blocks of the LUN. Not flushed. Blocks: fs->meta is not held meanwhile. */
enum csv_err map_zero_blocks(struct csv_fs *fs, uint64_t phys, uint64_t len);
/* The same for all written blocks of a file's [lblk, end), durable when it returns; the map stands still meanwhile. */
enum csv_err map_zero_written(struct csv_fs *fs, struct csv_iref ref, uint64_t lblk, uint64_t end);

/*
 * A change of the map has got NOSPC: true if that is to be taken for an answer.  Each further group costs a round over
 * the cluster, and where all is full they are asked in vain: zeros in place cost no more than the writes of a guest.
 */
static inline bool map_is_full(const struct csv_ctx *ctx)
{
	return ctx->need.n == 0 || ctx->ags.n >= MAP_FULL_GROUPS;
}

/*
 * Zeroes bytes [from, to), which lie in one block of the file, on the LUN, if that block is written. They are durable
 * when it returns: no transaction need be ordered behind them.
 */
enum csv_err map_zero_part(struct csv_fs *fs, struct csv_iref ref, uint64_t from, uint64_t to);

static inline uint64_t blk_floor(uint64_t bytes)
{
	return bytes >> CSV_BLOCK_SHIFT;
}
static inline uint64_t blk_ceil(uint64_t bytes)
{
	return (bytes + CSV_BLOCK_SIZE - 1) >> CSV_BLOCK_SHIFT;
}

#endif
