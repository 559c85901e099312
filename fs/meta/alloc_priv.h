/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside of the allocator.
 *
 *   alloc.c          sets of groups, hints, free space
 *   alloc_group.c    one group: what is free, taking and giving back
 *   alloc_pending.c  freed blocks that wait for their commit (J2)
 *   alloc_data.c     where data goes
 *   alloc_meta.c     metadata chunks and blocks (J1)
 *   bits.c           runs of bits
 *
 * "Stretch" i of a group is what bitmap block i covers.  It is whole (all free),
 * full (none free) or mixed; only for a mixed one are the bits looked at.
 * Offsets (off) count blocks from the group's start.
 */
#ifndef CSV_META_ALLOC_PRIV_H
#define CSV_META_ALLOC_PRIV_H

#include "fs/disk/geometry.h"
#include "fs/meta/alloc.h"

#define CSV_BITMAP_BYTES (CSV_BITS_PER_BLOCK / 8)

/* Freed by an operation whose transaction is not durable yet. */
struct csv_pending {
	uint64_t off, len;
	uint64_t id;                    /* of the operation */
};

struct csv_ag_mem {
	uint64_t hint;                  /* free blocks, as last seen */
	bool known;                     /* hint has been seen */
	struct csv_pending *pending;    /* sorted by off, disjoint */
	unsigned npending, room;
};

struct csv_alloc {
	pthread_mutex_t mutex;          /* all below; durable hooks run without fs->meta */
	struct csv_ag_mem *ag;          /* sb.ag_count */
	uint64_t pending_blocks;
	uint64_t next_id;
	uint64_t scanned_ns;            /* last time that headers were read for csv_alloc_free_blocks() */
};

/* One group within an operation. */
struct csv_group {
	struct csv_fs *fs;
	uint32_t ag;
	uint64_t first, len;
	uint32_t bitmaps;
	struct csv_buf *buf;            /* its header */
	struct csv_disk_ag *d;
};

struct csv_run {
	uint64_t off, len;              /* len 0: nothing */
};

static inline struct csv_res csv_ag_res(uint32_t ag)
{
	return csv_res(CSV_RES_AG, ag);
}

/* ---- alloc_group.c ---------------------------------------------------------- */
enum csv_err csv_group_get(struct csv_fs *fs, uint32_t ag, struct csv_group *g);
void csv_group_put(struct csv_group *g);
/* Fills bits[]: 1 for all blocks of the stretch that cannot be taken, pending ones included. */
enum csv_err csv_group_view(struct csv_group *g, uint32_t stretch, uint8_t bits[CSV_BITMAP_BYTES]);
/* Whole, and nothing pending in it. */
bool csv_group_is_whole(struct csv_group *g, uint32_t stretch);
enum csv_err csv_group_take(struct csv_txn *txn, struct csv_group *g, uint64_t off, uint64_t len);
/* Pending is the caller's. */
enum csv_err csv_group_give(struct csv_txn *txn, struct csv_group *g, uint64_t off, uint64_t len);

static inline uint32_t csv_group_free(const struct csv_group *g, uint32_t stretch)
{
	return csv_le16_get(g->d->free[stretch]);
}

/* First block of a stretch that can be taken at all, and the first behind it. */
static inline uint64_t csv_stretch_start(const struct csv_group *g, uint32_t i)
{
	return i == 0 ? csv_ag_own(g->len) : (uint64_t)i * CSV_BITS_PER_BLOCK;
}

static inline uint64_t csv_stretch_end(const struct csv_group *g, uint32_t i)
{
	uint64_t end = ((uint64_t)i + 1) * CSV_BITS_PER_BLOCK;

	return end < g->len ? end : g->len;
}

/*
 * A run of up to `want` free blocks within stretches, from the one of `near` on: mixed ones first so that whole ones
 * stay whole, the first that is long enough, else the longest.
 */
enum csv_err csv_group_search(struct csv_group *g, uint64_t near, uint64_t want, struct csv_run *run);

/* ---- alloc_pending.c -------------------------------------------------------- */
enum csv_err csv_pending_add(struct csv_txn *txn, uint32_t ag, uint64_t off, uint64_t len);
bool csv_pending_any(struct csv_fs *fs, uint32_t ag, uint64_t off, uint64_t len);
/* Sets the bits of pending blocks in the picture of [off, off + len). */
void csv_pending_mark(struct csv_fs *fs, uint32_t ag, uint64_t off, uint64_t len, uint8_t *bits);

/* ---- bits.c: bit i of byte i / 8, lowest first ------------------------------- */
void csv_bits_set(uint8_t *bits, uint32_t from, uint32_t n);
void csv_bits_clear(uint8_t *bits, uint32_t from, uint32_t n);
/* First bit of that value in [from, end), or end. */
uint32_t csv_bits_next(const uint8_t *bits, uint32_t from, uint32_t end, bool value);
/* Number of clear bits in [0, n). */
uint32_t csv_bits_count_clear(const uint8_t *bits, uint32_t n);

/* ---- alloc.c ----------------------------------------------------------------- */
void csv_alloc_saw(struct csv_group *g); /* keeps the hint */

#endif
