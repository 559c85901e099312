/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cache of metadata blocks.  A buffer is tagged with the cluster lock that covers
 * it, so that giving up the lock writes and drops just these.  Content is covered
 * by fs->meta: shared to look, a transaction (exclusive) to change.
 */
#ifndef CSV_DISK_BUF_H
#define CSV_DISK_BUF_H

#include "fs/fs.h"

/* data is 4096 bytes, aligned to 4096, beginning with struct csv_block_hdr; the rest is private to buf.c and journal/. */
struct csv_buf {
	uint64_t block;
	struct csv_res res;
	void *data;
};

enum csv_err csv_cache_new(struct csv_fs *fs, struct csv_cache **cache);
void csv_cache_free(struct csv_cache *cache);

/*
 * Gets a block, reading and verifying it if needed: magic, volume, own number, CRC, and owner (inode for
 * INODE, TREE, LEASE; group for AG, BITMAP, MCHUNK, FREE).  The block must lie inside the volume's metadata
 * bounds.  The caller holds `res` (asserted) and fs->meta; *buf is released with csv_buf_put().
 * A type's own fields are checked once, right after the read, by the verifier registered for its magic.
 * Errors: IO, CHECKSUM, IDENTITY, DAMAGED, NOMEM.
 */
enum csv_err csv_buf_get(struct csv_fs *fs, uint64_t block, uint32_t magic, uint64_t owner, struct csv_res res,
			 struct csv_buf **buf);
/* BITMAP blocks are laid out lazily: one with no valid header of ours counts as version 0, content is zeroed for the caller to fill. */
enum csv_err csv_buf_get_lazy(struct csv_fs *fs, uint64_t block, uint32_t magic, uint64_t owner, struct csv_res res,
			      struct csv_buf **buf, bool *fresh);
void csv_buf_put(struct csv_fs *fs, struct csv_buf *buf);

/*
 * Changes type, owner and covering lock of a block within a transaction (free <-> in use); the rest of the block
 * is zeroed, the version goes on.  csv_txn_dirty() has been called.
 */
void csv_buf_become(struct csv_fs *fs, struct csv_buf *buf, uint32_t magic, uint64_t owner, struct csv_res res);

/* Drops all clean buffers of a lock. None may be dirty, unwritten or in use (asserted). */
void csv_cache_drop(struct csv_fs *fs, struct csv_res res);
/* Bound on clean buffers; 0: default. Least recently used go first. */
void csv_cache_set_limit(struct csv_fs *fs, unsigned blocks);

/* Checks a block's own fields after the header was found good; gives the reason. One per magic, in meta/ and journal/. */
typedef enum csv_err (*csv_verifier)(const struct csv_super *sb, const void *block, struct csv_why *why);
csv_verifier csv_verifier_of(uint32_t magic); /* table in fs/meta/verify.c */

#endif
