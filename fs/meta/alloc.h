/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Allocation of data blocks and metadata blocks.
 *
 * An operation works on the groups of its csv_agset alone, whose `ag` locks its
 * caller holds EX.  If these are full it gets CSV_NOSPC and is undone; the caller
 * adds a group (csv_agset_add) and runs it again, until no group is left.
 *
 * Freed data blocks can be taken again only once the transaction that freed them is
 * durable (J2): until then they are in the allocator's pending list.
 *
 * Credits (blocks changed) at most: csv_alloc_data 3; csv_free_data 3 per group touched; csv_alloc_meta 6
 * (3 without a new chunk); csv_free_meta 3.  One group's header counts once per operation.
 */
#ifndef CSV_META_ALLOC_H
#define CSV_META_ALLOC_H

#include "fs/journal/journal.h"

#define CSV_AGSET_MAX 128u
struct csv_agset {
	unsigned n;
	uint32_t ag[CSV_AGSET_MAX];   /* in the order of preference */
};
bool csv_agset_has(const struct csv_agset *set, uint32_t ag);
bool csv_agset_add(struct csv_agset *set, uint32_t ag); /* false: full */

enum csv_err csv_alloc_new(struct csv_fs *fs);
void csv_alloc_free(struct csv_fs *fs);

/*
 * Takes up to `want` data blocks in one run, as near behind `goal` as can be (0: anywhere): *start, *len (1..want).
 * Prefers runs of whole bitmap blocks when want is large, so that bitmaps stay untouched.
 * Errors: NOSPC, IO, CHECKSUM, ...
 */
enum csv_err csv_alloc_data(struct csv_txn *txn, const struct csv_agset *ags, uint64_t goal, uint64_t want,
			    uint64_t *start, uint64_t *len);
/*
 * Gives data blocks back; the group is held EX. DAMAGED if any is free already, is not data, or if they span groups
 * (no run that csv_alloc_data() gave does).
 */
enum csv_err csv_free_data(struct csv_txn *txn, uint64_t start, uint64_t len);

/*
 * Takes one metadata block from a metadata chunk, adding a chunk if none has room (written home with valid headers and
 * flushed before: J1).  *buf is dirty in txn, zeroed but for its header (magic, owner, version goes on), tagged `res`.
 */
enum csv_err csv_alloc_meta(struct csv_txn *txn, const struct csv_agset *ags, uint64_t goal, uint32_t magic,
			    uint64_t owner, struct csv_res res, struct csv_buf **buf);
/* For an inode the owner is its own number: magic INODE, owner UINT64_MAX means "itself". Same with res.id. */
#define CSV_OWNER_SELF UINT64_MAX
/* Frees a metadata block: it becomes a tombstone (J1). Its group is held EX. buf is released, whatever the result. */
enum csv_err csv_free_meta(struct csv_txn *txn, struct csv_buf *buf);

/*
 * Free data blocks: sum of the group headers, cached ones as they are, others read past the cache, at most once a
 * second. Blocks; not with fs->meta held.
 */
enum csv_err csv_alloc_free_blocks(struct csv_fs *fs, uint64_t *free_blocks);
uint64_t csv_alloc_free_known(struct csv_fs *fs); /* the same as of the last count; reads nothing */
/*
 * Freed blocks that wait for their commit (J2). An operation that gets NOSPC from all groups while this is not 0
 * calls csv_journal_commit(fs, 0) and tries once more.
 */
uint64_t csv_alloc_pending(struct csv_fs *fs);
/* Largest hint first: a group this node would like to try that is not in `set`; false if none is left. */
bool csv_alloc_candidate(struct csv_fs *fs, const struct csv_agset *set, uint64_t want, uint32_t *ag);

#endif
