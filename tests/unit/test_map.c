/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The extent map, truncate, fallocate and seek against a file as an array of bytes and kinds of blocks. */
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs/data/map.h"
#include "vol.h"

#define BLK CSV_BLOCK_SIZE
#define BLOCKS 600u /* of the model's file */
#define BYTES (BLOCKS * (uint64_t)BLK)
#define PUNCH (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
#define KEEP FALLOC_FL_KEEP_SIZE
#define ZERO FALLOC_FL_ZERO_RANGE

static const struct vol_shape shape = { .blocks = 16384, .ag_blocks = 4096, .journal_blocks = 1024 };

struct file {
	struct vol *v;
	struct csv_iref ref;
	uint64_t size;
	enum csv_map_kind kind[BLOCKS];
	uint8_t *bytes; /* what reads give; zeros beyond size */
	uint64_t rng;
};

static uint64_t rnd(struct file *f, uint64_t n)
{
	return (csv_rng_next(&f->rng) >> 8) % n;
}

static struct csv_iref make(struct vol *v, const char *name)
{
	struct csv_new what = { .mode = S_IFREG | 0600 };
	struct csv_attr attr;

	VOL_OK(v, csv_create(&v->ctx, vol_root(v), name, &what, &attr, NULL));
	return attr.ref;
}

/* ---- writing as fs/data/io.c does it ------------------------------------------------- */

static enum csv_err alloc_in(struct vol *v, struct csv_iref ref, uint64_t lblk, uint64_t len, uint64_t *done)
{
	struct csv_buf *inode;
	struct csv_txn *txn;
	enum csv_err err;
	uint32_t ag;

	v->ctx.need.n = 0;
	assert_int_equal(csv_txn_begin(&v->fs, 0, &txn), CSV_OK);
	assert_int_equal(csv_inode_get(&v->fs, ref, &inode), CSV_OK);
	err = csv_map_alloc(txn, &v->ctx, inode, lblk, len, done);
	csv_buf_put(&v->fs, inode);
	if (err) {
		csv_txn_abort(txn);
		if (err == CSV_NOSPC && csv_alloc_candidate(&v->fs, &v->ctx.ags, len, &ag))
			csv_agset_add(&v->ctx.need, ag);
	} else {
		csv_txn_end(txn);
	}
	return err;
}

static enum csv_err convert_in(struct vol *v, struct csv_iref ref, uint64_t lblk, uint64_t len, uint64_t size)
{
	struct csv_buf *inode;
	struct csv_txn *txn;
	enum csv_err err;
	uint32_t ag;

	v->ctx.need.n = 0;
	assert_int_equal(csv_txn_begin(&v->fs, 0, &txn), CSV_OK);
	assert_int_equal(csv_inode_get(&v->fs, ref, &inode), CSV_OK);
	err = csv_map_convert(txn, &v->ctx, inode, lblk, len, csv_bdev_generation(v->dev));
	if (!err && csv_le64_get(csv_inode_of(inode)->size) < size)
		csv_inode_of(inode)->size = csv_le64_of(size);
	csv_buf_put(&v->fs, inode);
	if (err) {
		csv_txn_abort(txn);
		if (err == CSV_NOSPC && csv_alloc_candidate(&v->fs, &v->ctx.ags, 1, &ag))
			csv_agset_add(&v->ctx.need, ag);
	} else {
		csv_txn_end(txn);
	}
	return err;
}

static void lookup(struct vol *v, struct csv_iref ref, uint64_t lblk, uint64_t max, struct csv_map *m)
{
	struct csv_buf *inode;

	csv_fs_lock_shared(&v->fs);
	assert_int_equal(csv_inode_get(&v->fs, ref, &inode), CSV_OK);
	assert_int_equal(csv_map_lookup(&v->fs, inode, lblk, max, m), CSV_OK);
	csv_buf_put(&v->fs, inode);
	csv_fs_unlock(&v->fs);
	assert_int_equal(m->lblk, lblk);
	assert_in_range(m->len, 1, max);
}

static void write_blocks(struct file *f, uint64_t lblk, uint64_t len)
{
	uint64_t end = lblk + len, pos, n;

	for (pos = lblk; pos < end; pos += n)
		VOL_OK(f->v, alloc_in(f->v, f->ref, pos, end - pos, &n));
	for (pos = lblk; pos < end; pos += n) {
		struct csv_map m;

		lookup(f->v, f->ref, pos, end - pos, &m);
		n = m.len;
		assert_int_not_equal(m.kind, CSV_MAP_HOLE);
		assert_int_equal(csv_bdev_write(f->v->dev, m.phys * BLK, f->bytes + pos * BLK, n * BLK, 0), CSV_OK);
	}
	VOL_OK(f->v, convert_in(f->v, f->ref, lblk, len, f->size));
}

/* ---- operations on both ------------------------------------------------------------- */

static void set_kind(struct file *f, uint64_t first, uint64_t end, enum csv_map_kind kind)
{
	for (; first < end; first++)
		f->kind[first] = kind;
}

static void do_write(struct file *f)
{
	uint64_t lblk = rnd(f, BLOCKS), len = 1 + rnd(f, rnd(f, 4) ? 4 : 60), end;

	if (len > BLOCKS - lblk)
		len = BLOCKS - lblk;
	end = (lblk + len) * BLK - rnd(f, BLK);
	if (end < f->size) /* a part of a block that is within the file is written whole here */
		end = (lblk + len) * BLK < f->size ? (lblk + len) * BLK : f->size;
	for (uint64_t i = lblk * BLK; i < end; i++)
		f->bytes[i] = (uint8_t)(1 + rnd(f, 255));
	if (end > f->size)
		f->size = end;
	write_blocks(f, lblk, len);
	set_kind(f, lblk, lblk + len, CSV_MAP_WRITTEN);
}

static void range(struct file *f, uint64_t *off, uint64_t *end)
{
	*off = rnd(f, BYTES);
	*end = *off + 1 + rnd(f, rnd(f, 3) ? 20 * BLK : BYTES / 2);
	if (rnd(f, 2))
		*off -= *off % BLK;
	if (rnd(f, 2))
		*end += BLK - *end % BLK;
	if (*end > BYTES)
		*end = BYTES;
}

static void do_fallocate(struct file *f)
{
	static const int modes[] = { 0, KEEP, PUNCH, PUNCH, ZERO, ZERO | KEEP };
	int mode = modes[rnd(f, 6)];
	uint64_t off, end, first, last;

	range(f, &off, &end);
	VOL_OK(f->v, csv_fallocate(&f->v->ctx, f->ref, mode, off, end - off, NULL));
	first = (off + BLK - 1) / BLK;
	last = end / BLK;
	if (mode == PUNCH || mode & ZERO)
		memset(f->bytes + off, 0, end - off);
	if (mode == PUNCH)
		set_kind(f, first, last, CSV_MAP_HOLE);
	if (mode & ZERO)
		for (uint64_t b = first; b < last; b++)
			f->kind[b] = f->kind[b] == CSV_MAP_HOLE ? CSV_MAP_HOLE : CSV_MAP_UNWRITTEN;
	if (mode != PUNCH)
		for (uint64_t b = off / BLK; b < (end + BLK - 1) / BLK; b++)
			f->kind[b] = f->kind[b] == CSV_MAP_HOLE ? CSV_MAP_UNWRITTEN : f->kind[b];
	if (!(mode & KEEP) && end > f->size)
		f->size = end;
}

static void do_truncate(struct file *f)
{
	uint64_t size = rnd(f, 3) ? rnd(f, BYTES + 1) : f->size + rnd(f, 2);
	struct csv_attr attr;

	if (size > BYTES || rnd(f, 3) == 0)
		size = size / 4 * 3 / BLK * BLK;
	VOL_OK(f->v, csv_truncate(&f->v->ctx, f->ref, size, &attr, NULL));
	assert_int_equal(attr.size, size);
	if (size <= f->size) {
		set_kind(f, (size + BLK - 1) / BLK, BLOCKS, CSV_MAP_HOLE);
		memset(f->bytes + size, 0, BYTES - size);
	}
	f->size = size;
}

static void check_seek(struct file *f)
{
	uint64_t off = rnd(f, BYTES), found, want;
	bool data = rnd(f, 2);
	enum csv_err err = csv_map_seek(&f->v->fs, f->ref, off, data, &found);

	if (off >= f->size) {
		assert_int_equal(err, CSV_NOENT);
		return;
	}
	for (want = off / BLK; want * BLK < f->size && (f->kind[want] == CSV_MAP_WRITTEN) != data;)
		want++;
	want = want == off / BLK ? off : want * BLK;
	if (data && want >= f->size) {
		assert_int_equal(err, CSV_NOENT);
		return;
	}
	assert_int_equal(err, CSV_OK);
	assert_int_equal(found, want < f->size ? want : f->size);
}

/* Kinds, bytes, size, and that neighbours that could be one extent are. */
static void compare(struct file *f)
{
	uint8_t *page = aligned_alloc(BLK, BYTES);
	struct csv_map m, last = { .kind = CSV_MAP_HOLE };
	struct csv_attr attr;

	assert_non_null(page);
	assert_int_equal(csv_getattr(&f->v->ctx, f->ref, &attr), CSV_OK);
	assert_int_equal(attr.size, f->size);
	for (uint64_t b = 0; b < BLOCKS; b += m.len) {
		lookup(f->v, f->ref, b, BLOCKS - b, &m);
		for (uint64_t i = b; i < b + m.len; i++)
			assert_int_equal(f->kind[i], m.kind);
		memset(page, 0, m.len * BLK);
		if (m.kind == CSV_MAP_WRITTEN)
			assert_int_equal(csv_bdev_read(f->v->dev, m.phys * BLK, page, m.len * BLK), CSV_OK);
		assert_memory_equal(page, f->bytes + b * BLK, m.len * BLK);
		if (m.kind != CSV_MAP_HOLE && last.kind == m.kind)
			assert_true(last.phys + last.len != m.phys);
		last = m;
	}
	free(page);
	vol_check(f->v, NULL);
}

static void run_model(uint64_t seed, unsigned ops)
{
	struct file f = { .rng = seed, .bytes = aligned_alloc(BLK, BYTES) };
	struct vol v;

	assert_non_null(f.bytes);
	memset(f.bytes, 0, BYTES);
	vol_make(&v, shape);
	f.v = &v;
	f.ref = make(&v, "f");
	for (unsigned i = 0; i < ops; i++) {
		static void (*const op[])(struct file *) = { do_write, do_write, do_write, do_fallocate, do_truncate };

		if (rnd(&f, 4) == 0)
			vol_drop_groups(&v);
		op[rnd(&f, i % 400 < 200 ? 4 : 5)](&f);
		check_seek(&f);
		if (i % 20 == 19)
			compare(&f);
		if (i % 200 == 199)
			vol_remount(&v);
	}
	compare(&f);
	VOL_OK(&v, csv_unlink(&v.ctx, vol_root(&v), "f", f.ref, NULL, NULL));
	VOL_OK(&v, csv_inode_destroy(&v.ctx, f.ref));
	vol_check(&v, NULL);
	vol_free(&v);
	free(f.bytes);
}

static void test_model(void **state)
{
	uint64_t seed = vol_seed("map");

	for (unsigned i = 0; i < 4; i++)
		run_model(seed + i, 1000);
}

/* ---- single rules --------------------------------------------------------------------- */

/* Every other block is punched: many extents, a tree of some height, then all goes in bounded steps. */
static void test_fragmented(void **state)
{
	const uint64_t n = 3000;
	struct vol_sum sum;
	struct csv_attr attr;
	struct csv_iref ref;
	struct vol v;

	vol_make(&v, shape);
	ref = make(&v, "f");
	VOL_OK(&v, csv_fallocate(&v.ctx, ref, 0, 0, n * BLK, NULL));
	for (uint64_t b = 1; b < n; b += 2)
		VOL_OK(&v, csv_fallocate(&v.ctx, ref, PUNCH, b * BLK, BLK, NULL));
	vol_check(&v, &sum);
	assert_int_equal(sum.data, n / 2);
	assert_true(sum.nodes > 10);
	vol_drop_groups(&v);
	VOL_OK(&v, csv_truncate(&v.ctx, ref, BLK * 100, &attr, NULL));
	assert_int_equal(attr.blocks, 50);
	vol_check(&v, &sum);
	assert_int_equal(sum.nodes, 0); /* back in the root */
	vol_free(&v);
}

static void test_limits(void **state)
{
	struct csv_new what = { .mode = S_IFDIR | 0700 };
	struct csv_attr attr;
	struct csv_iref ref;
	struct vol v;

	vol_make(&v, shape);
	ref = make(&v, "f");
	VOL_OK(&v, csv_truncate(&v.ctx, ref, CSV_FILE_SIZE_MAX, &attr, NULL));
	assert_int_equal(VOL_RUN(&v, csv_truncate(&v.ctx, ref, CSV_FILE_SIZE_MAX + 1, &attr, NULL)), CSV_FBIG);
	VOL_OK(&v, csv_fallocate(&v.ctx, ref, 0, CSV_FILE_SIZE_MAX - BLK, BLK, NULL));
	assert_int_equal(VOL_RUN(&v, csv_fallocate(&v.ctx, ref, 0, CSV_FILE_SIZE_MAX, 1, NULL)), CSV_FBIG);
	assert_int_equal(VOL_RUN(&v, csv_fallocate(&v.ctx, ref, 0, UINT64_MAX, 2, NULL)), CSV_FBIG);
	assert_int_equal(VOL_RUN(&v, csv_fallocate(&v.ctx, ref, 0, 0, 0, NULL)), CSV_INVAL);
	assert_int_equal(VOL_RUN(&v, csv_fallocate(&v.ctx, ref, FALLOC_FL_COLLAPSE_RANGE, 0, BLK, NULL)), CSV_NOTSUP);
	assert_int_equal(VOL_RUN(&v, csv_fallocate(&v.ctx, ref, FALLOC_FL_PUNCH_HOLE, 0, BLK, NULL)), CSV_NOTSUP);
	VOL_OK(&v, csv_create(&v.ctx, vol_root(&v), "d", &what, &attr, NULL));
	assert_int_equal(VOL_RUN(&v, csv_truncate(&v.ctx, attr.ref, 0, &attr, NULL)), CSV_ISDIR);
	vol_check(&v, NULL);
	vol_free(&v);
}

static unsigned longest(struct vol *v, struct csv_iref ref, uint64_t blocks, enum csv_map_kind kind)
{
	uint64_t most = 0;
	struct csv_map m;

	for (uint64_t b = 0; b < blocks; b += m.len) {
		lookup(v, ref, b, blocks - b, &m);
		assert_int_equal(m.kind, kind);
		most = m.len > most ? m.len : most;
	}
	return (unsigned)most;
}

/* However it came to be, an unwritten extent is never so long that it could not be zeroed while a guest waits. */
static void test_unwritten_is_short(void **state)
{
	struct vol_shape big = { 40ull << 30 >> CSV_BLOCK_SHIFT, 20ull << 30 >> CSV_BLOCK_SHIFT, 16384 };
	const uint64_t blocks = 20ull << 30 >> CSV_BLOCK_SHIFT, most = 2 * CSV_BITS_PER_BLOCK;
	struct csv_iref ref;
	struct vol v;

	vol_make(&v, big);
	ref = make(&v, "f");
	VOL_OK(&v, csv_fallocate(&v.ctx, ref, 0, 0, blocks * BLK, NULL));
	assert_int_equal(longest(&v, ref, blocks, CSV_MAP_UNWRITTEN), most);
	VOL_OK(&v, convert_in(&v, ref, 0, blocks, 0));
	assert_true(longest(&v, ref, blocks, CSV_MAP_WRITTEN) > 4 * most);
	VOL_OK(&v, csv_fallocate(&v.ctx, ref, ZERO, 0, blocks * BLK, NULL));
	assert_int_equal(longest(&v, ref, blocks, CSV_MAP_UNWRITTEN), most);
	ref = make(&v, "piece by piece");
	for (uint64_t b = 0; b < 3 * most; b += 1000)
		VOL_OK(&v, csv_fallocate(&v.ctx, ref, 0, b * BLK, 1000 * BLK, NULL));
	assert_in_range(longest(&v, ref, 3 * most / 1000 * 1000, CSV_MAP_UNWRITTEN), most - 1000, most);
	vol_free(&v);
}

/* A file larger than the volume: all there is is taken, the rest says NOSPC; the file is whole and can go. */
static void test_too_large(void **state)
{
	struct csv_iref ref;
	struct vol_sum sum;
	struct vol v;

	vol_make(&v, shape);
	ref = make(&v, "f");
	assert_int_equal(VOL_RUN(&v, csv_fallocate(&v.ctx, ref, 0, 0, 1ull << 30, NULL)), CSV_NOSPC);
	vol_check(&v, &sum);
	assert_true(sum.data > 12000);
	VOL_OK(&v, csv_fallocate(&v.ctx, ref, PUNCH, 0, 1ull << 30, NULL));
	vol_check(&v, &sum);
	assert_int_equal(sum.data, 0);
	/* Freed blocks wait for their commit (J2); then they serve again. */
	VOL_OK(&v, csv_fallocate(&v.ctx, ref, 0, 0, 10000 * (uint64_t)BLK, NULL));
	vol_check(&v, NULL);
	vol_free(&v);
}

/* ---- full volume ------------------------------------------------------------------------ */

static enum csv_err alloc_all(struct vol *v, struct csv_iref ref, uint64_t lblk, uint64_t len)
{
	struct csv_buf *inode;
	struct csv_txn *txn;
	uint64_t done = 0;
	enum csv_err err;

	v->ctx.need.n = 0;
	assert_int_equal(csv_txn_begin(&v->fs, 0, &txn), CSV_OK);
	assert_int_equal(csv_inode_get(&v->fs, ref, &inode), CSV_OK);
	err = csv_map_alloc(txn, &v->ctx, inode, lblk, len, &done);
	if (!err && done < len)
		err = CSV_NOSPC;
	csv_buf_put(&v->fs, inode);
	if (err)
		csv_txn_abort(txn);
	else
		csv_txn_end(txn);
	return err;
}

static void test_nospc(void **state)
{
	struct vol_shape small = { .blocks = 4096, .ag_blocks = 2048, .journal_blocks = 512 };
	unsigned fails[3] = { 0 };
	struct csv_iref ref;
	struct vol v;

	vol_make(&v, small);
	ref = make(&v, "f");
	VOL_OK(&v, csv_fallocate(&v.ctx, ref, 0, 0, 800 * (uint64_t)BLK, NULL));
	for (uint64_t b = 0; b < 180; b++) { /* the root runs full, then the leaves */
		fails[0] += VOL_EVERY_NOSPC(&v, false, convert_in(&v, ref, b * 4 + 1, 1, 0));
		fails[1] += VOL_EVERY_NOSPC(&v, false, csv_fallocate(&v.ctx, ref, PUNCH, (b * 4 + 3) * BLK, BLK, NULL));
		if (b % 10 == 0)
			fails[2] += VOL_EVERY_NOSPC(&v, true, alloc_all(&v, ref, 1000 + b * 8, 3));
	}
	printf("failures: %u convert, %u punch, %u allocate\n", fails[0], fails[1], fails[2]);
	assert_true(fails[0] > 0 && fails[2] > 20);
	assert_int_equal(fails[1], 0); /* it keeps its blocks rather than fail */
	vol_remount(&v);
	vol_check(&v, NULL);
	vol_free(&v);
}

/* ---- size --------------------------------------------------------------------------------- */

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* A fixed VHD of 1 TiB: metadata only, and little of it. */
static void test_tib(void **state)
{
	struct vol_shape big = { .blocks = 3ull << 40 >> CSV_BLOCK_SHIFT, .journal_blocks = 16384 };
	struct csv_journal_stats a, b;
	struct vol_sum sum = { 0 };
	struct csv_bdev_stats *st;
	uint64_t bytes;
	struct csv_attr attr;
	struct csv_iref ref;
	struct csv_map m;
	unsigned extents = 0;
	struct vol v;
	double t;

	vol_make(&v, big);
	ref = make(&v, "disk.vhd");
	assert_int_equal(csv_journal_checkpoint(&v.fs), CSV_OK);
	csv_journal_stats(&v.fs, &a);
	st = &v.dev->stats;
	bytes = st->bytes_written;
	t = now();
	VOL_OK(&v, csv_fallocate(&v.ctx, ref, 0, 0, 1ull << 40, NULL));
	t = now() - t;
	assert_int_equal(csv_journal_checkpoint(&v.fs), CSV_OK);
	csv_journal_stats(&v.fs, &b);
	bytes = st->bytes_written - bytes;
	for (uint64_t blk = 0; blk < 1ull << 28; blk += m.len, extents++)
		lookup(&v, ref, blk, (1ull << 28) - blk, &m);
	assert_int_equal(csv_getattr(&v.ctx, ref, &attr), CSV_OK);
	printf("1 TiB: %u extents, %.1f ms, %llu blocks journalled, %llu home, %llu written in all\n", extents, t * 1e3,
	       (unsigned long long)(b.blocks_journalled - a.blocks_journalled),
	       (unsigned long long)(b.blocks_home - a.blocks_home), (unsigned long long)(bytes / BLK));
	assert_true(bytes / BLK < 200);
	assert_true(t < 0.1);
	assert_int_equal(attr.size, 1ull << 40);
	assert_in_range(attr.blocks, 1ull << 28, (1ull << 28) + 40); /* with the nodes of its map */
	t = now();
	VOL_OK(&v, csv_unlink(&v.ctx, vol_root(&v), "disk.vhd", ref, NULL, NULL));
	VOL_OK(&v, csv_inode_destroy(&v.ctx, ref));
	printf("and gone in %.1f ms\n", (now() - t) * 1e3);
	(void)sum;
	vol_free(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model),	  cmocka_unit_test(test_fragmented),
		cmocka_unit_test(test_limits),	  cmocka_unit_test(test_unwritten_is_short),
		cmocka_unit_test(test_too_large), cmocka_unit_test(test_nospc),
		cmocka_unit_test(test_tib),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
