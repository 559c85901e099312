/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside of a buffer, for buf.c and journal/ only.
 *
 * Life: loading -> clean (in the LRU while nobody refers to it) -> in the journal
 * (changed by the running transaction, being committed, or committed and not yet
 * home; the journal then holds one reference) -> clean.
 */
#ifndef CSV_DISK_BUF_PRIV_H
#define CSV_DISK_BUF_PRIV_H

#include "fs/disk/buf.h"
#include "lib/list.h"

struct csv_jimage;

/* More locks than this since the block was last clean: it counts as touched by every lock. */
#define CSV_BUF_TAGS 3

struct csv_cbuf {
	struct csv_buf pub;             /* res: changed with fs->meta exclusive and the cache's mutex */

	/* The cache's, under its mutex. */
	struct csv_list hash;           /* by block */
	struct csv_list by_res;         /* by covering lock */
	struct csv_list lru;            /* in the LRU list only while refs is 0 */
	unsigned refs;
	bool loading;                   /* being read: others wait */
	enum csv_err load_err;          /* why loading failed; the buffer is out of the table then */
	bool fresh;                     /* lazily laid out, nothing valid at home: version 0 */

	/* The journal's, under its mutex. */
	struct csv_list run;            /* in the running transaction's list; else empty */
	struct csv_jimage *frozen;      /* image that is being committed */
	struct csv_jimage *committed;   /* newest durable image that is not home yet */
	bool held;                      /* the journal has its reference */
	uint64_t op;                    /* last operation that saved a pre-image of it */
	struct csv_res tags[CSV_BUF_TAGS]; /* locks that covered it since it was last clean */
	unsigned ntags;                 /* CSV_BUF_TAGS + 1: more */
};

static inline struct csv_cbuf *csv_cbuf_of(struct csv_buf *buf)
{
	return csv_list_entry(buf, struct csv_cbuf, pub);
}

/*
 * Finds the buffer, waiting while another thread loads it, or adds one that the caller is to load (*mine) and to
 * finish with csv_cache_loaded().  One reference is the caller's.
 */
enum csv_err csv_cache_get(struct csv_fs *fs, uint64_t block, struct csv_res res, struct csv_cbuf **out, bool *mine);
/* Ends the loading; a failed buffer leaves the table, and the caller's reference is gone with it. */
void csv_cache_loaded(struct csv_fs *fs, struct csv_cbuf *b, enum csv_err err);
/* One more reference to a buffer that the caller has one of. */
void csv_buf_ref(struct csv_fs *fs, struct csv_cbuf *b);
/* Moves a buffer to another covering lock; fs->meta exclusive. */
void csv_buf_retag(struct csv_fs *fs, struct csv_cbuf *b, struct csv_res res);
/* Notes in the journal that a changed buffer was covered by `res` as well (journal/txn.c). */
void csv_journal_note_res(struct csv_fs *fs, struct csv_cbuf *b, struct csv_res res);
/* Drops a clean, unused buffer of [block, block + n), whose home is about to be rewritten directly. */
void csv_cache_forget(struct csv_fs *fs, uint64_t block, unsigned n);
/* Copies a cached block's content to `page`; false if it is not in the cache. fs->meta held. */
bool csv_cache_peek(struct csv_fs *fs, uint64_t block, void *page);

#endif
