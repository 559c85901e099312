/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside of the check.  Its course (check.c):
 *   1. volume.c   superblock and copies, slots, journals; replay on the overlay
 *   2. group.c    group headers and chunk headers: which blocks are metadata
 *   3. scan.c     every block of every chunk; inodes with their trees but directories'
 *   4. dir.c      directories' trees and entries: who names whom
 *   5. orphan.c   lists of nameless inodes
 *   6. links.c    link counts, parents, what cannot be reached
 *   7. space.c    bitmaps and chunks against what 2 to 5 came across
 * Everything below reads blocks itself and not through the core's cache, so that it
 * can say what is wrong and go on, and trusts nothing it has not looked at.
 */
#ifndef CSV_TOOLS_CHECK_INT_H
#define CSV_TOOLS_CHECK_INT_H

#include "fs/disk/super.h"
#include "tools/check/bits.h"
#include "tools/check/check.h"
#include "tools/check/inodes.h"

#define CHK_NO_BLOCK UINT64_MAX

struct chk {
	struct csv_bdev *dev; /* the device, or the overlay over it */
	const struct csv_check_opts *opts;
	struct csv_super sb;
	struct csv_slot slot[CSV_SLOTS_MAX];
	bool slot_good[CSV_SLOTS_MAX];

	struct chk_bits used;	/* owned: groups' own blocks, metadata chunks, extents */
	struct chk_bits meta;	/* metadata blocks that something refers to */
	struct chk_bits chunk;	/* blocks of chunks */
	struct chk_bits in_use; /* metadata blocks that their chunk has as used */
	struct chk_inodes inodes;
	uint8_t *ag_bad; /* groups whose header cannot be used; a byte each */

	/* Damage keeps these out of sight: what would only follow from it is not told. */
	bool hidden_blocks; /* owners of blocks */
	bool hidden_names;  /* names of inodes */

	void (*finding)(void *arg, const struct csv_finding *f);
	void *arg;
	struct csv_check_summary *sum;
	enum csv_err err; /* NOMEM: ends the check */
};

/* Number of the group that holds `block`, which is in a group. */
static inline uint32_t chk_ag_of(const struct csv_super *sb, uint64_t block)
{
	return (uint32_t)((block - sb->ag_start) / sb->ag_blocks);
}

/* ---- report.c ---- */
void chk_report(struct chk *c, enum csv_check_code code, uint64_t block, uint64_t inode, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
void chk_note(struct chk *c, enum csv_check_code code, uint64_t block, uint64_t inode, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* Remembers an error that ends the check; false if there is one. */
bool chk_ok(struct chk *c, enum csv_err err);

/* ---- read.c ---- */
/* A page for one block, aligned; NULL: no memory, c->err is set. To be freed with free(). */
void *chk_page(struct chk *c);
/* Reads blocks; an I/O error is told as a finding. */
bool chk_read_raw(struct chk *c, uint64_t block, unsigned n, void *page, uint64_t inode);
/* Header, type (0: any) and its own fields of a block in memory; tells what is wrong. */
bool chk_verify(struct chk *c, const void *page, uint64_t block, uint32_t magic, uint64_t inode);
/* Reads and verifies, owner too. */
bool chk_read(struct chk *c, uint64_t block, uint32_t magic, uint64_t owner, void *page, uint64_t inode);
/*
 * Something refers to metadata block `block` as one of its own: it must be in use in a chunk and have no other owner.
 * False: told, not to be followed.
 */
bool chk_claim_meta(struct chk *c, uint64_t block, uint64_t inode, const char *what);
/* Data blocks [block, block + n) of one group get an owner. */
bool chk_claim_data(struct chk *c, uint64_t block, uint64_t n, uint64_t inode, const char *what);
static inline const struct csv_block_hdr *chk_hdr(const void *page)
{
	return page;
}

/* ---- tree.c ---- */
struct chk_rec {
	uint64_t key;
	unsigned len;
	const uint8_t *value; /* not aligned */
};
struct chk_tree {
	uint64_t ino;
	const void *root; /* the inode's tree area, verified or not */
	unsigned size;	  /* of the area */
	void (*rec)(struct chk *c, void *arg, const struct chk_rec *r);
	void *arg;
	uint64_t nodes; /* out: node blocks */
	bool broken;	/* out: some of the tree could not be looked at */
};
/* Walks a tree in the order of keys; tells what is wrong with its nodes and claims them. */
void chk_tree_walk(struct chk *c, struct chk_tree *t);

/* ---- the passes ---- */
enum csv_err chk_superblocks(struct chk *c, struct csv_why *why); /* error: no superblock can be used */
void chk_slots(struct chk *c);
/* Journals of slots that are clean; of the others it makes *overlay and replays there. */
void chk_journals(struct chk *c, struct csv_bdev **overlay);
void chk_groups(struct chk *c);
void chk_scan(struct chk *c);
void chk_directories(struct chk *c);
void chk_orphans(struct chk *c);
void chk_links(struct chk *c);
void chk_space(struct chk *c);

/* ---- inode.c, extent.c, lease.c ---- */
/* An inode that its chunk has as used and whose block is good. */
void chk_inode(struct chk *c, const struct csv_disk_inode *d);
/* Walks a file's extents; *nodes tree blocks and *blocks mapped blocks. False: some were not seen. */
bool chk_extents(struct chk *c, const struct csv_disk_inode *d, uint64_t *nodes, uint64_t *blocks);
void chk_lease(struct chk *c, const struct csv_disk_inode *d);
/* blocks field against what the trees hold. */
void chk_inode_blocks(struct chk *c, const struct csv_disk_inode *d, uint64_t found);
/* Node blocks of the attribute tree, walked. False: some were not seen. */
bool chk_xattrs(struct chk *c, const struct csv_disk_inode *d, uint64_t *nodes);

#endif
