/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Replay of a slot's journal, by a survivor after the fence (F1 to F5) or by the
 * node itself at its next mount.  No cluster lock is taken: those of the dead life
 * are still its own.
 *
 *   1. scan     from the tail, transaction by transaction, until one is not there.
 *               That is the end, unless a later commit of the same life exists: a
 *               commit is written only when the one before is durable, so then the
 *               journal itself is damaged, and nothing is written (J5, CSV_GAP)
 *   2. gather   the newest image of each block
 *   3. apply    an image is written home only over an older version of the block, so
 *               that a lock the dead node had given up before is not undone (J1).  A
 *               home block that fails its check was torn by the dead node's own write,
 *               or never laid out: written; or it is being written by a living node
 *               that got the lock since, at this moment: then skipped (J6, torn.c)
 *   4. finish   flush (J4), then the head: the journal is empty
 *
 * Until 4 nothing of the journal changes, and 3 gives the same result however often
 * it is run: a replay that is cut anywhere is simply run again.
 */
#include <stdlib.h>

#include "fs/disk/geometry.h"
#include "fs/disk/super.h"
#include "fs/journal/journal_priv.h"
#include "lib/bug.h"

/* Home blocks handled at once. */
#define APPLY_BATCH 256u

struct rblock {
	uint64_t home;
	const struct csv_block_hdr *image; /* NULL: free place of the table */
};

struct replay {
	struct csv_bdev *dev;
	const struct csv_super *sb;
	const struct csv_replay_ops *ops;
	struct csv_replay_result *res;
	struct csv_why *why;
	struct csv_jscan scan;
	struct csv_jscan_txn *txns;
	size_t ntxns;
	uint32_t end_pos;
	uint64_t end_seq;
	struct rblock *table; /* open addressing; a power of two */
	size_t table_size, nblocks;
	struct rblock *list; /* the table's entries in the order of homes */
	uint8_t *pages;	     /* APPLY_BATCH home blocks */
};

static enum csv_err add_txn(struct replay *r, const struct csv_jscan_txn *t)
{
	if ((r->ntxns & (r->ntxns - 1)) == 0) { /* full at each power of two */
		size_t n = r->ntxns ? r->ntxns * 2 : 1;
		void *more = realloc(r->txns, n * sizeof(*r->txns));

		if (!more)
			return csv_fail(r->why, CSV_NOMEM, "", "no memory for replay");
		r->txns = more;
	}
	r->txns[r->ntxns++] = *t;
	r->res->transactions++;
	return CSV_OK;
}

/* Pass 1. */
static enum csv_err scan_all(struct replay *r)
{
	uint32_t total = 0;
	struct csv_jscan_txn t;
	enum csv_err err;

	r->end_pos = r->scan.head.tail_pos;
	r->end_seq = r->scan.head.tail_seq;
	for (;;) {
		err = csv_jscan_txn(&r->scan, r->end_pos, r->end_seq, &t);
		/* No more than one round: what lies behind the tail again has other sequences. */
		if (err == CSV_NOENT || (err == CSV_OK && total + t.rec_blocks > r->scan.ring))
			break;
		if (err != CSV_OK)
			return csv_fail(r->why, err, "", "journal of slot %u cannot be read: %s", r->scan.head.slot,
					csv_err_text(err));
		err = add_txn(r, &t);
		if (err != CSV_OK)
			return err;
		total += t.rec_blocks;
		r->end_pos = csv_jring_add(r->scan.ring, r->end_pos, t.rec_blocks);
		r->end_seq++;
	}
	return csv_jscan_gap(&r->scan, r->end_seq, r->why);
}

/* The checksums were good, so this is what the dead node wrote; it must also make sense. */
static enum csv_err check_image(struct replay *r, const struct csv_jscan_txn *t, uint64_t home, const void *image)
{
	const struct csv_block_hdr *h = image;
	uint32_t magic = csv_le32_get(h->magic);
	csv_verifier verify = csv_verifier_of(magic);
	enum csv_err err;

	err = csv_block_verify(image, r->sb->uuid, home, 0, r->why);
	if (err != CSV_OK)
		return err;
	if (!verify || !csv_geo_fits(r->sb, home, magic) || csv_le64_get(h->seq) != t->seq ||
	    csv_le16_get(h->slot) != r->scan.head.slot || csv_le32_get(h->incarnation) != r->scan.head.incarnation)
		return csv_fail_block(r->why, CSV_DAMAGED, home, "journal of slot %u holds a misplaced %s",
				      r->scan.head.slot, csv_magic_name(magic));
	return verify(r->sb, image, r->why);
}

static struct rblock *table_find(struct replay *r, uint64_t home)
{
	size_t i = (home * 0x9e3779b97f4a7c15ull >> 20) & (r->table_size - 1);

	while (r->table[i].image && r->table[i].home != home)
		i = (i + 1) & (r->table_size - 1);
	return &r->table[i];
}

static enum csv_err gather_txn(struct replay *r, const struct csv_jscan_txn *t)
{
	for (uint32_t i = 0; i < t->images; i++) {
		const struct csv_block_hdr *h;
		struct rblock *b;
		enum csv_err err;
		uint64_t home;
		void *image;

		csv_jscan_image(&r->scan, t, i, &home, &image);
		err = check_image(r, t, home, image);
		if (err != CSV_OK)
			return err;
		h = image;
		b = table_find(r, home);
		if (!b->image)
			r->nblocks++;
		if (!b->image || csv_le64_get(h->version) > csv_le64_get(b->image->version))
			*b = (struct rblock){ home, h };
	}
	return CSV_OK;
}

static int by_home(const void *a, const void *b)
{
	const struct rblock *x = a, *y = b;

	return (x->home > y->home) - (x->home < y->home);
}

/* Pass 2. */
static enum csv_err gather(struct replay *r)
{
	enum csv_err err = CSV_OK;
	size_t images = 0, n = 0;

	for (size_t i = 0; i < r->ntxns; i++)
		images += r->txns[i].images;
	for (r->table_size = 64; r->table_size < images * 2;)
		r->table_size *= 2;
	r->table = calloc(r->table_size, sizeof(*r->table));
	if (!r->table)
		return csv_fail(r->why, CSV_NOMEM, "", "no memory for replay");
	for (size_t i = 0; i < r->ntxns && err == CSV_OK; i++)
		err = gather_txn(r, &r->txns[i]);
	if (err != CSV_OK)
		return err;
	r->list = malloc((r->nblocks + 1) * sizeof(*r->list));
	if (!r->list)
		return csv_fail(r->why, CSV_NOMEM, "", "no memory for replay");
	for (size_t i = 0; i < r->table_size; i++)
		if (r->table[i].image)
			r->list[n++] = r->table[i];
	qsort(r->list, n, sizeof(*r->list), by_home);
	r->res->blocks = n;
	return CSV_OK;
}

static enum csv_err read_homes(struct replay *r, const struct csv_rhome *h, size_t n)
{
	struct csv_bdev_batch *batch;
	enum csv_err err;

	err = csv_bdev_batch_begin(r->dev, &batch);
	if (err != CSV_OK)
		return err;
	for (size_t i = 0; i < n; i++)
		csv_bdev_batch_read(batch, h[i].home << CSV_BLOCK_SHIFT, h[i].page, CSV_BLOCK_SIZE);
	return csv_bdev_batch_wait(batch);
}

static enum csv_err write_homes(struct replay *r, const struct csv_rhome *h, size_t n, bool write)
{
	struct csv_bdev_batch *batch;
	enum csv_err err;

	err = csv_bdev_batch_begin(r->dev, &batch);
	if (err != CSV_OK)
		return err;
	for (size_t i = 0; i < n; i++) {
		r->res->skipped_older += h[i].fate == CSV_RHOME_OLDER;
		r->res->skipped_in_use += h[i].fate == CSV_RHOME_IN_USE;
		if (h[i].fate != CSV_RHOME_WRITE)
			continue;
		r->res->written++;
		if (write)
			csv_bdev_batch_write(batch, h[i].home << CSV_BLOCK_SHIFT, h[i].image, CSV_BLOCK_SIZE, 0);
	}
	return csv_bdev_batch_wait(batch);
}

/* The fate of all is known before the first of them is written. */
static enum csv_err apply_some(struct replay *r, const struct rblock *b, size_t n, bool write)
{
	struct csv_rhome h[APPLY_BATCH];
	enum csv_err err;

	for (size_t i = 0; i < n; i++)
		h[i] = (struct csv_rhome){ b[i].home, b[i].image, r->pages + i * CSV_BLOCK_SIZE, CSV_RHOME_TORN };
	err = read_homes(r, h, n);
	for (size_t i = 0; i < n && err == CSV_OK; i++)
		csv_rhome_judge(r->sb, &h[i]);
	if (err == CSV_OK)
		err = csv_rhome_torn(r->dev, r->sb, r->ops, h, n, r->why);
	return err == CSV_OK ? write_homes(r, h, n, write) : err;
}

/* Pass 3, with the flush. The second time round, what is home already is skipped and covered by the second flush. */
static enum csv_err apply(struct replay *r, bool write)
{
	enum csv_err err = CSV_OK;

	r->pages = aligned_alloc(CSV_BLOCK_SIZE, (size_t)APPLY_BATCH * CSV_BLOCK_SIZE);
	if (!r->pages)
		return csv_fail(r->why, CSV_NOMEM, "", "no memory for replay");
	for (unsigned tries = 0; tries < CSV_FLUSH_TRIES; tries++) {
		uint64_t generation = csv_bdev_generation(r->dev);

		r->res->written = r->res->skipped_older = r->res->skipped_in_use = 0;
		for (size_t i = 0; i < r->nblocks && err == CSV_OK; i += APPLY_BATCH)
			err = apply_some(r, r->list + i, r->nblocks - i < APPLY_BATCH ? r->nblocks - i : APPLY_BATCH,
					 write);
		if (err == CSV_OK && write)
			err = csv_bdev_flush(r->dev);
		if (err == CSV_OK && generation == csv_bdev_generation(r->dev))
			return CSV_OK;
		if (err != CSV_OK)
			break;
	}
	if (err == CSV_OK)
		err = CSV_IO;
	return csv_fail(r->why, err, "", "replay of slot %u: %s", r->scan.head.slot, csv_err_text(err));
}

static enum csv_err finish(struct replay *r)
{
	struct csv_jhead h = r->scan.head;
	enum csv_err err;

	h.tail_pos = r->end_pos;
	h.tail_seq = r->end_seq;
	err = csv_jhead_write(r->dev, r->sb, &h);
	return err == CSV_OK ? CSV_OK
			     : csv_fail(r->why, err, "", "journal head of slot %u cannot be written: %s", h.slot,
					csv_err_text(err));
}

enum csv_err csv_replay(struct csv_bdev *dev, const struct csv_super *sb, uint32_t slot, bool write,
			const struct csv_replay_ops *ops, struct csv_replay_result *res, struct csv_why *why)
{
	struct csv_replay_result ignored;
	struct replay r = { .dev = dev, .sb = sb, .ops = ops, .res = res ? res : &ignored, .why = why };
	struct csv_slot s;
	enum csv_err err;

	*r.res = (struct csv_replay_result){ 0 };
	if (slot >= sb->slots)
		return csv_fail(why, CSV_INVAL, "", "volume has %u slots, none with number %u", sb->slots, slot);
	/* Its check makes sure that the journal lies where geometry says. */
	err = csv_slot_read(dev, sb, slot, &s, why);
	if (err == CSV_OK)
		err = csv_jscan_open(&r.scan, dev, sb, slot, why);
	if (err != CSV_OK)
		return err;
	err = scan_all(&r);
	if (err == CSV_OK)
		err = gather(&r);
	if (err == CSV_OK && r.ntxns)
		err = apply(&r, write);
	if (err == CSV_OK && r.ntxns && write)
		err = finish(&r);
	free(r.pages);
	free(r.list);
	free(r.table);
	free(r.txns);
	csv_jscan_close(&r.scan);
	return err;
}
