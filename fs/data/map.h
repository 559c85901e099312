/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Extent map of a file: where logical blocks lie. Blocks are 4096 bytes. */
#ifndef CSV_DATA_MAP_H
#define CSV_DATA_MAP_H

#include "fs/meta/inode.h"

enum csv_map_kind { CSV_MAP_HOLE, CSV_MAP_UNWRITTEN, CSV_MAP_WRITTEN };
struct csv_map {
	uint64_t lblk, len;        /* the asked block and how many from it on are alike */
	enum csv_map_kind kind;
	uint64_t phys;             /* of lblk; unless HOLE */
};

/* inode PR, fs->meta shared. Always fills one piece of at most maxlen blocks, beginning at lblk. */
enum csv_err csv_map_lookup(struct csv_fs *fs, struct csv_buf *inode, uint64_t lblk, uint64_t maxlen,
			    struct csv_map *map);
/*
 * All below: inode EX (leased image: lease.I EX and inode EX for a change of the map), ctx->ags EX, inside txn of the
 * default credits; *inode is the caller's and becomes dirty.  After an error but WAIT the operation must be aborted.
 */
/*
 * Fills holes of [lblk, lblk+len) with unwritten extents, as far as credits and space go: *done blocks from lblk are
 * mapped, at least one. NOSPC: not even that.
 */
enum csv_err csv_map_alloc(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *inode, uint64_t lblk, uint64_t len,
			   uint64_t *done);
/*
 * Turns unwritten blocks of the range into written ones; holes stay.  Their data is on the LUN, written after
 * csv_bdev_generation() gave `generation` (the txn becomes ordered).  INVAL: more than 512 extents in the range.
 */
enum csv_err csv_map_convert(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *inode, uint64_t lblk,
			     uint64_t len, uint64_t generation);
/* The reverse: written blocks become unwritten, from lblk on as far as credits go: *done blocks, at least one. */
enum csv_err csv_map_unwrite(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *inode, uint64_t lblk,
			     uint64_t len, uint64_t *done);
/*
 * Frees blocks of the range, at most what fits the transaction, from the end backwards: *left blocks from lblk remain
 * to be done.  WAIT: nothing changed, ctx->need has the groups that come next.
 */
enum csv_err csv_map_punch(struct csv_txn *txn, struct csv_ctx *ctx, struct csv_buf *inode, uint64_t lblk, uint64_t len,
			   uint64_t *left);

/* ---- whole operations, several transactions if need be ----
 * After each of them the file is whole and what lies beyond its end reads as zeros.  The caller keeps other I/O on the
 * file away (csv_data_drain): parts of blocks are read, zeroed and written.  Blocks for device I/O; not with fs->meta held.
 */
/* inode EX, ags EX; groups to free from: csv_map_groups. Part of a block beyond the new end is zeroed on the LUN. */
enum csv_err csv_truncate(struct csv_ctx *ctx, struct csv_iref ref, uint64_t size, struct csv_attr *attr, uint64_t *tid);
/*
 * mode as fallocate(2): 0, KEEP_SIZE, PUNCH_HOLE|KEEP_SIZE, ZERO_RANGE[|KEEP_SIZE]; else NOTSUP. NOSPC keeps what it got.
 * Where the map cannot grow, a range to be punched or zeroed keeps its blocks and they get zeros.
 */
enum csv_err csv_fallocate(struct csv_ctx *ctx, struct csv_iref ref, int mode, uint64_t off, uint64_t len,
			   uint64_t *tid);
/* Adds the groups that hold blocks of [lblk, lblk+len) and the tree nodes above, as many as fit; fs->meta shared. */
enum csv_err csv_map_groups(struct csv_fs *fs, struct csv_buf *inode, uint64_t lblk, uint64_t len,
			    struct csv_agset *set);
/* inode PR. SEEK_DATA, SEEK_HOLE (unwritten counts as hole). NOENT = ENXIO at the edge. Takes fs->meta. */
enum csv_err csv_map_seek(struct csv_fs *fs, struct csv_iref ref, uint64_t off, bool data, uint64_t *found);

/* Blocks of a file: logical block numbers are below this. */
#define CSV_MAP_BLOCKS_MAX (CSV_FILE_SIZE_MAX >> CSV_BLOCK_SHIFT)

#endif
