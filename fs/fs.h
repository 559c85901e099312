/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One volume as the core of the filesystem (disk, journal, meta, data) sees it.
 *
 * Concurrency: one reader-writer lock `meta` over all metadata in memory.  Whoever
 * looks at buffers holds it shared; a transaction holds it exclusively from begin
 * to end.  It is held for memory operations and cache-miss reads only, never while
 * a cluster lock, a journal commit or file data is waited for.  I/O on mapped
 * ranges takes it shared for the map look-up alone.
 *
 * The core never takes a cluster lock: it asserts through `locks` that its caller
 * holds what it needs (ARCHITECTURE 3).  Tools and lock=local pass locks = NULL.
 */
#ifndef CSV_FS_H
#define CSV_FS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "csv/disk.h"
#include "csv/err.h"
#include "csv/lock.h"
#include "lib/bdev.h"
#include "lib/env.h"
#include "lib/log.h"

struct csv_cache;
struct csv_journal;
struct csv_alloc;

struct csv_lockctx {
	/* True if this node holds `res` at least in `mode` right now. */
	bool (*holds)(struct csv_lockctx *ctx, struct csv_res res, enum csv_mode mode);
};

/* The superblock in memory, checked. */
struct csv_super {
	uint8_t uuid[16];
	char name[CSV_VOLNAME_MAX + 1];
	char cluster[CSV_CLUSTER_MAX + 1];
	uint64_t blocks;
	uint64_t ag_start, ag_blocks;
	uint32_t ag_count;
	uint32_t slots;
	uint32_t journal_blocks;
	uint32_t mchunk_blocks;
	uint64_t root_inode;
	uint64_t hash_seed;
	uint64_t created_sec;
	uint64_t features_compat, features_rocompat, features_incompat;
	uint64_t version;         /* of the copy that was used */
	unsigned copy_used;       /* 0 primary, 1 first copy, 2 second copy */
};

struct csv_fs {
	struct csv_bdev *dev;
	struct csv_env *env;
	struct csv_super sb;
	struct csv_lockctx *locks;      /* NULL: no locks to assert */
	bool readonly;                  /* nothing is written */

	/* This life of this mount; slot CSV_SLOT_NONE for tools that only read. */
	uint32_t slot;
	uint32_t incarnation;

	pthread_rwlock_t meta;
	struct csv_cache *cache;
	struct csv_journal *journal;    /* NULL: read-only */
	struct csv_alloc *alloc;

	/*
	 * Set once and for good when the volume can no longer be trusted or written
	 * by this mount (journal I/O error, fenced, damaged metadata met while changing);
	 * every later call answers CSV_WITHDRAWN or CSV_FENCED.
	 */
	_Atomic int withdrawn;          /* enum csv_err; 0: no */
	_Atomic int withdraw_claim;     /* who set it first fills the reason */
	char withdraw_reason[200];      /* valid once `withdrawn` is set */
	void (*on_withdraw)(void *arg, enum csv_err err, const char *reason);
	void *on_withdraw_arg;
};

/*
 * Sets the volume up over an open device: reads and checks the superblock, makes cache,
 * allocator and (unless readonly) journal for the given slot, whose journal must be clean.
 * slot CSV_SLOT_NONE with readonly: look only.  The device stays the caller's.  *fs is overwritten as a whole: set
 * locks and on_withdraw afterwards.  A damaged primary superblock is told in *why though the result is CSV_OK.
 * Errors: NOTCSV, FEATURE, DAMAGED, CHECKSUM, IO, NOMEM.
 */
enum csv_err csv_fs_open(struct csv_fs *fs, struct csv_bdev *dev, struct csv_env *env, bool readonly, uint32_t slot,
			 uint32_t incarnation, struct csv_why *why);
/* Commits, writes everything home, empties the journal (unless withdrawn), frees all. */
enum csv_err csv_fs_close(struct csv_fs *fs);

/* Withdraws the volume on this node: first call wins. Safe in any thread; takes no lock. */
void csv_fs_withdraw(struct csv_fs *fs, enum csv_err err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* CSV_OK, or why the volume is out. */
enum csv_err csv_fs_state(struct csv_fs *fs);

/* The caller must hold `res` at least in `mode`. */
static inline void csv_fs_assert_lock(struct csv_fs *fs, struct csv_res res, enum csv_mode mode)
{
	CSV_ASSERT(!fs->locks || fs->locks->holds(fs->locks, res, mode));
}

static inline void csv_fs_lock_shared(struct csv_fs *fs)
{
	pthread_rwlock_rdlock(&fs->meta);
}
static inline void csv_fs_lock_excl(struct csv_fs *fs)
{
	pthread_rwlock_wrlock(&fs->meta);
}
static inline void csv_fs_unlock(struct csv_fs *fs)
{
	pthread_rwlock_unlock(&fs->meta);
}

/* Number of the group that holds `block`; the block must be in a group. */
static inline uint32_t csv_fs_ag_of(const struct csv_fs *fs, uint64_t block)
{
	return (uint32_t)((block - fs->sb.ag_start) / fs->sb.ag_blocks);
}

#endif
