/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Journal: physical redo of whole metadata blocks, one per slot.
 *
 * Operations join the running transaction one after the other, each through a
 * handle (struct csv_txn) that owns fs->meta exclusively from begin to end.  A
 * handle keeps pre-images, so that an operation that fails half-way is undone in
 * memory as if it had never been.  The commit takes images of all blocks of the
 * running transaction (J5), lets a new one start, and writes:
 *   data (already out) and images -> flush -> commit block -> flush   (J3)
 * The first flush is skipped if no handle was ordered (csv_txn_ordered).
 * Checkpoint writes the last *committed* image of each block home; the tail moves
 * after the flush that follows.
 */
#ifndef CSV_JOURNAL_H
#define CSV_JOURNAL_H

#include "fs/disk/buf.h"
#include "fs/fs.h"
#include "lib/list.h"

struct csv_txn;

/*
 * Begins an operation that changes at most `credits` blocks (0: the default, 64). Takes fs->meta exclusively and
 * keeps it until end or abort. May commit and checkpoint first if the journal is short of space.
 * Errors: ROFS, WITHDRAWN, FENCED, NOMEM, IO; then nothing is held.
 */
enum csv_err csv_txn_begin(struct csv_fs *fs, unsigned credits, struct csv_txn **txn);
struct csv_fs *csv_txn_fs(struct csv_txn *txn);
/* Before the first change to buf in this operation. NOMEM, INTERNAL (credits used up): abort the operation. */
enum csv_err csv_txn_dirty(struct csv_txn *txn, struct csv_buf *buf);
/*
 * The operation makes data visible that was written before: the commit flushes it first (J3).
 * generation: csv_bdev_generation() read before the first of these data writes was submitted. If the device's
 * generation is another one when the commit has flushed, the data may be lost and csv_journal_on_lost() decides (J4).
 */
void csv_txn_ordered(struct csv_txn *txn, uint64_t generation);
/*
 * One pointer that belongs to the allocator, NULL at begin; what it points to must be released by both a durable
 * and an abort hook.
 */
void **csv_txn_private(struct csv_txn *txn);
/*
 * Runs fn when the transaction is durable (err CSV_OK) or will never be; in the commit thread, no lock held, before
 * those who wait for the commit are told; not if aborted.
 */
struct csv_txn_hook {
	struct csv_list link;
	void (*fn)(struct csv_txn_hook *hook, enum csv_err err);
};
void csv_txn_on_durable(struct csv_txn *txn, struct csv_txn_hook *hook);
/* Runs fn if this operation is aborted, fs->meta still held. */
void csv_txn_on_abort(struct csv_txn *txn, struct csv_txn_hook *hook);
/* Ends the operation; its changes are in the running transaction, whose number (> 0, growing) is returned. */
uint64_t csv_txn_end(struct csv_txn *txn);
/* Undoes all changes of this operation. */
void csv_txn_abort(struct csv_txn *txn);

/* Makes the transaction `tid` and all before it durable. fn runs in any thread, maybe before this returns. */
struct csv_commit_wait {
	struct csv_list link;
	uint64_t tid;
	void (*fn)(struct csv_commit_wait *w, enum csv_err err);
};
void csv_journal_commit_async(struct csv_fs *fs, struct csv_commit_wait *w);
enum csv_err csv_journal_commit(struct csv_fs *fs, uint64_t tid); /* tid 0: everything until now; waits */
uint64_t csv_journal_last_tid(struct csv_fs *fs);                 /* number of the running transaction */
bool csv_journal_is_durable(struct csv_fs *fs, uint64_t tid);

/* Before a lock is given up: commits what touches `res`, writes its blocks home, flushes. Not with fs->meta held. */
enum csv_err csv_journal_sync_res(struct csv_fs *fs, struct csv_res res);
/* Everything home, journal empty. Not with fs->meta held. */
enum csv_err csv_journal_checkpoint(struct csv_fs *fs);
/* Largest `credits` that csv_txn_begin() can grant with this journal; a larger wish is CSV_INVAL. */
unsigned csv_journal_credits_max(struct csv_fs *fs);
/* A running transaction is committed after this time at the latest; 0: only when asked or large. Default 5000. */
void csv_journal_set_interval(struct csv_fs *fs, unsigned ms);
/*
 * Ordered data that was written before `generation` may be lost (session loss, power-on of the target) although its
 * metadata is about to be committed.  fn, called in the commit thread without a lock, either writes the data again or
 * makes sure that its owners get an error at their next fsync, and answers CSV_OK; then the commit goes on.  Anything
 * else, or no fn: the volume is withdrawn on this mount.
 */
typedef enum csv_err (*csv_journal_lost_fn)(void *arg, uint64_t generation);
void csv_journal_on_lost(struct csv_fs *fs, csv_journal_lost_fn fn, void *arg);

enum csv_err csv_journal_open(struct csv_fs *fs, struct csv_why *why); /* slot's journal is clean; starts the commit thread */
enum csv_err csv_journal_close(struct csv_fs *fs);
struct csv_journal_stats {
	uint64_t commits, blocks_journalled, blocks_home, checkpoints;
};
void csv_journal_stats(struct csv_fs *fs, struct csv_journal_stats *st);

/* ---- replay (journal/replay.c): takes no cluster lock, needs no csv_fs ------ */
struct csv_replay_ops {
	/*
	 * J6: does any living member hold the lock that covers a block of this type and owner in use?  An error: there is
	 * no answer, and the replay ends with it.  NULL: nobody lives.
	 */
	enum csv_err (*in_use)(void *arg, uint64_t block, uint32_t magic, uint64_t owner, bool *yes);
	void *arg;
};
struct csv_replay_result {
	uint64_t transactions, blocks, written, skipped_older, skipped_in_use;
};
/*
 * Replays the journal of `slot` as its slot block has it (J5, J6); leaves the journal empty; the slot's state is the
 * caller's to write.  Idempotent: may be cut at any point and run again.
 * write = false: only scans and counts, for `check`.
 * Errors: GAP (damaged record before a valid later commit), IO, CHECKSUM, NOMEM; BUSY (a home block is being written by
 * somebody whom in_use does not know), what in_use said.  After any of them the journal is as it was.
 */
enum csv_err csv_replay(struct csv_bdev *dev, const struct csv_super *sb, uint32_t slot, bool write,
			const struct csv_replay_ops *ops, struct csv_replay_result *res, struct csv_why *why);

#endif
