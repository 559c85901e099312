/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Allocation: runs, pending frees, chunks, everything taken and given back, a random model. */
#include <time.h>

#include "core.h"
#include "fs/disk/geometry.h"

static void setup(struct core *c, uint64_t blocks, uint32_t journal)
{
	core_make(c, blocks, journal);
	core_open(c);
}

static void teardown(struct core *c)
{
	core_close(c);
	core_free(c);
}

static enum csv_err take(struct core *c, uint64_t goal, uint64_t want, uint64_t *start, uint64_t *len)
{
	struct csv_txn *txn;
	enum csv_err err;

	assert_ok(csv_txn_begin(&c->fs, 0, &txn));
	err = csv_alloc_data(txn, &c->ags, goal, want, start, len);
	if (err == CSV_OK)
		csv_txn_end(txn);
	else
		csv_txn_abort(txn);
	return err;
}

static enum csv_err give(struct core *c, uint64_t start, uint64_t len)
{
	struct csv_txn *txn;
	enum csv_err err;

	assert_ok(csv_txn_begin(&c->fs, 0, &txn));
	err = csv_free_data(txn, start, len);
	if (err == CSV_OK)
		csv_txn_end(txn);
	else
		csv_txn_abort(txn);
	return err;
}

static uint64_t free_now(struct core *c)
{
	uint64_t sum = 0;

	csv_fs_lock_shared(&c->fs);
	for (uint32_t ag = 0; ag < c->sb.ag_count; ag++) {
		struct csv_buf *buf;

		assert_ok(
		    csv_buf_get(&c->fs, csv_ag_first(&c->sb, ag), CSV_MAGIC_AG, ag, csv_res(CSV_RES_AG, ag), &buf));
		sum += csv_le64_get(((struct csv_disk_ag *)buf->data)->free_total);
		csv_buf_put(&c->fs, buf);
	}
	csv_fs_unlock(&c->fs);
	return sum;
}

static void test_goal(void **state)
{
	uint64_t a, b, n;
	struct core c;

	setup(&c, 65536, 1024);
	assert_ok(take(&c, 0, 10, &a, &n));
	assert_int_equal(n, 10);
	assert_ok(take(&c, a + 10, 5, &b, &n)); /* goes on behind */
	assert_int_equal(b, a + 10);
	assert_int_equal(n, 5);
	assert_ok(take(&c, a, 5, &b, &n)); /* the goal is taken */
	assert_int_equal(n, 5);
	assert_true(b >= a + 15);
	assert_int_equal(take(&c, 0, 0, &b, &n), CSV_INVAL);
	teardown(&c);
}

static void test_free_checks(void **state)
{
	uint64_t a, n, m;
	struct core c;

	setup(&c, 65536, 1024);
	assert_ok(take(&c, 0, 10, &a, &n));
	m = core_block_new(&c);
	assert_ok(give(&c, a + 2, 3));
	assert_int_equal(give(&c, a + 2, 1), CSV_DAMAGED);	     /* twice */
	assert_int_equal(give(&c, a, 4), CSV_DAMAGED);		     /* partly twice */
	assert_int_equal(give(&c, a + 10, 1), CSV_DAMAGED);	     /* never taken */
	assert_int_equal(give(&c, c.sb.ag_start, 1), CSV_DAMAGED);   /* header */
	assert_int_equal(give(&c, m, 1), CSV_DAMAGED);		     /* metadata */
	assert_int_equal(give(&c, 0, 1), CSV_DAMAGED);		     /* superblock */
	assert_int_equal(give(&c, c.sb.blocks - 1, 1), CSV_DAMAGED); /* its copy */
	assert_int_equal(give(&c, UINT64_MAX - 3, 8), CSV_DAMAGED);
	assert_int_equal(give(&c, csv_ag_first(&c.sb, 1) - 1, 3), CSV_DAMAGED); /* across groups */
	assert_ok(give(&c, a, 2));
	assert_ok(give(&c, a + 5, 5));
	teardown(&c);
}

/* J2: what was freed is taken again only when that is durable. */
static void test_pending(void **state)
{
	uint64_t a, b, n, len, all;
	struct core c;

	setup(&c, 2048, 128);
	assert_ok(take(&c, 0, 8, &a, &n));
	assert_ok(csv_journal_commit(&c.fs, 0));
	while (take(&c, 0, 512, &b, &len) == CSV_OK)
		;
	assert_int_equal(free_now(&c), 0);
	assert_ok(csv_journal_commit(&c.fs, 0));
	assert_ok(give(&c, a, 8));
	assert_int_equal(csv_alloc_pending(&c.fs), 8);
	assert_int_equal(free_now(&c), 8);
	assert_int_equal(take(&c, 0, 1, &b, &len), CSV_NOSPC);
	assert_ok(csv_journal_commit(&c.fs, 0));
	assert_int_equal(csv_alloc_pending(&c.fs), 0);
	assert_ok(take(&c, 0, 8, &b, &len));
	assert_int_equal(b, a);
	assert_int_equal(len, 8);
	/* The free that was not committed is undone by a crash, and the file has its blocks. */
	assert_ok(csv_journal_commit(&c.fs, 0));
	all = free_now(&c);
	assert_ok(give(&c, a, 8));
	core_restart(&c);
	assert_int_equal(free_now(&c), all);
	teardown(&c);
}

/* J1: each block of a new chunk has a valid header at home before anything is committed; versions go on. */
static void test_chunk(void **state)
{
	struct csv_block_hdr h[CSV_BLOCK_SIZE / sizeof(struct csv_block_hdr)];
	struct csv_txn *txn;
	struct csv_buf *buf;
	uint64_t block = 0;
	struct core c;

	setup(&c, 65536, 1024);
	/* Past group 0's first chunk. */
	for (unsigned i = 0; i < c.sb.mchunk_blocks; i++)
		block = core_block_new(&c);
	core_read(&c, block, h);
	assert_ok(csv_block_verify(h, c.sb.uuid, block, CSV_MAGIC_FREE, NULL));
	assert_int_equal(csv_le64_get(h->version), 1);
	assert_ok(csv_journal_checkpoint(&c.fs));
	assert_int_equal(core_home_version(&c, block), 2);

	/* Freed: a tombstone with a higher version; taken again: higher still. */
	assert_ok(csv_txn_begin(&c.fs, 0, &txn));
	assert_ok(csv_buf_get(&c.fs, block, CSV_MAGIC_LEASE, CORE_OWNER, core_res(), &buf));
	assert_ok(csv_free_meta(txn, buf));
	csv_txn_end(txn);
	assert_ok(csv_journal_checkpoint(&c.fs));
	core_read(&c, block, h);
	assert_ok(csv_block_verify(h, c.sb.uuid, block, CSV_MAGIC_FREE, NULL));
	assert_int_equal(csv_le64_get(h->version), 3);
	assert_int_equal(core_block_new(&c), block);
	assert_ok(csv_journal_checkpoint(&c.fs));
	assert_int_equal(core_home_version(&c, block), 4);
	teardown(&c);
}

/* A chunk whose operation was undone, and made again in the same place: the versions at home and in memory agree. */
static void test_chunk_again(void **state)
{
	struct csv_txn *txn;
	struct csv_buf *buf;
	uint64_t block;
	struct core c;

	setup(&c, 65536, 1024);
	for (unsigned i = 0; i < c.sb.mchunk_blocks - 2; i++)
		core_block_new(&c);
	for (int i = 0; i < 3; i++) {
		assert_ok(csv_txn_begin(&c.fs, 0, &txn));
		assert_ok(csv_alloc_meta(txn, &c.ags, 0, CSV_MAGIC_LEASE, CORE_OWNER, core_res(), &buf));
		csv_buf_put(&c.fs, buf);
		csv_txn_abort(txn);
	}
	block = core_block_new(&c);
	core_block_set(&c, block, 5);
	assert_ok(csv_journal_commit(&c.fs, 0));
	core_restart(&c);
	assert_int_equal(core_block_get(&c, block), 5);
	teardown(&c);
}

static void test_free_meta_checks(void **state)
{
	struct csv_txn *txn;
	struct csv_buf *buf;
	struct core c;
	uint64_t a;

	setup(&c, 65536, 1024);
	a = core_block_new(&c);
	assert_ok(csv_txn_begin(&c.fs, 0, &txn));
	assert_ok(csv_buf_get(&c.fs, a, CSV_MAGIC_LEASE, CORE_OWNER, core_res(), &buf));
	assert_ok(csv_free_meta(txn, buf));
	assert_ok(csv_buf_get(&c.fs, a, CSV_MAGIC_FREE, 0, csv_res(CSV_RES_AG, 0), &buf));
	assert_int_equal(csv_free_meta(txn, buf), CSV_DAMAGED);
	assert_ok(csv_buf_get(&c.fs, c.sb.ag_start, CSV_MAGIC_AG, 0, csv_res(CSV_RES_AG, 0), &buf));
	assert_int_equal(csv_free_meta(txn, buf), CSV_DAMAGED);
	csv_txn_abort(txn);
	teardown(&c);
}

/* Bits and counts that do not agree are found before they are used. */
static void test_damage(void **state)
{
	struct csv_disk_bitmap d;
	uint64_t a, n, b = 0;
	struct core c;

	setup(&c, 65536, 1024);
	assert_ok(take(&c, 0, 10, &a, &n));
	core_close(&c);
	b = csv_ag_first(&c.sb, 0) + 1;
	core_read(&c, b, &d);
	d.bits[400] ^= 1;
	csv_block_seal(&d, b);
	core_write(&c, b, &d);
	core_open(&c);
	assert_int_equal(take(&c, a + 10, 10, &a, &n), CSV_DAMAGED);
	teardown(&c);
}

/* All blocks taken in random sizes, then all given back in random order: all is as it was. */
static void test_fill(void **state)
{
	static struct {
		uint64_t start, len;
	} run[20000];
	uint64_t seed = core_seed("fill"), before, sum = 0;
	unsigned n = 0;
	struct core c;

	setup(&c, 65536, 1024);
	before = free_now(&c);
	for (;;) {
		uint64_t want = csv_rng_next(&seed) % 300 + 1;
		enum csv_err err =
		    take(&c, n ? run[n - 1].start + run[n - 1].len : 0, want, &run[n].start, &run[n].len);

		if (err != CSV_OK) {
			assert_int_equal(err, CSV_NOSPC);
			break;
		}
		assert_in_range(run[n].len, 1, want);
		sum += run[n++].len;
		assert_true(n < 20000);
	}
	assert_int_equal(sum, before);
	assert_int_equal(free_now(&c), 0);
	core_close(&c);
	core_open(&c);
	while (n) {
		unsigned i = (unsigned)(csv_rng_next(&seed) % n);

		assert_ok(give(&c, run[i].start, run[i].len));
		run[i] = run[--n];
	}
	assert_int_equal(free_now(&c), before);
	assert_ok(csv_journal_commit(&c.fs, 0));
	assert_int_equal(csv_alloc_pending(&c.fs), 0);
	teardown(&c);
}

/* Metadata until nothing is left; the last error is NOSPC, and data and metadata share the space. */
static void test_meta_fill(void **state)
{
	static uint64_t block[4096];
	struct csv_txn *txn;
	struct csv_buf *buf;
	unsigned n = 0;
	struct core c;
	enum csv_err err;

	setup(&c, 2048, 128);
	for (;;) {
		assert_ok(csv_txn_begin(&c.fs, 0, &txn));
		err = csv_alloc_meta(txn, &c.ags, 0, CSV_MAGIC_LEASE, CORE_OWNER, core_res(), &buf);
		if (err != CSV_OK)
			break;
		block[n++] = buf->block;
		csv_buf_put(&c.fs, buf);
		csv_txn_end(txn);
		assert_true(n < 4096);
	}
	assert_int_equal(err, CSV_NOSPC);
	csv_txn_abort(txn);
	assert_true(free_now(&c) < 2 * c.sb.mchunk_blocks);
	assert_true(n > 1000);
	for (unsigned i = 0; i < n; i++) {
		assert_ok(csv_txn_begin(&c.fs, 0, &txn));
		assert_ok(csv_buf_get(&c.fs, block[i], CSV_MAGIC_LEASE, CORE_OWNER, core_res(), &buf));
		assert_ok(csv_free_meta(txn, buf));
		csv_txn_end(txn);
	}
	core_restart(&c); /* what was committed along the way is whole */
	core_block_new(&c);
	teardown(&c);
}

/* ---- random model: owners of blocks in memory against the allocator, with aborts and crashes ---- */

#define MODEL_BLOCKS 16384u
struct model {
	uint8_t now[MODEL_BLOCKS];     /* 1 taken */
	uint8_t durable[MODEL_BLOCKS]; /* as of the last commit */
	uint64_t tid;		       /* of the last operation */
};

static void model_mark(struct model *m, uint64_t start, uint64_t len, uint8_t value)
{
	for (uint64_t b = start; b < start + len; b++) {
		assert_in_range(b, 0, MODEL_BLOCKS - 1);
		assert_int_equal(m->now[b], !value);
		/* J2: what the last commit still calls taken is not given to anybody else. */
		if (value)
			assert_int_equal(m->durable[b], 0);
		m->now[b] = value;
	}
}

static void model_step(struct core *c, struct model *m, uint64_t *seed)
{
	static struct model saved;
	unsigned ops = (unsigned)(csv_rng_next(seed) % 4) + 1;
	bool undo = csv_rng_next(seed) % 4 == 0;
	struct csv_txn *txn;

	assert_ok(csv_txn_begin(&c->fs, 0, &txn));
	/* Begin may have had to commit to make room. */
	if (csv_journal_is_durable(&c->fs, m->tid))
		memcpy(m->durable, m->now, sizeof(m->now));
	saved = *m;
	while (ops--) {
		uint64_t start, len, at = csv_rng_next(seed) % MODEL_BLOCKS;
		enum csv_err err;

		if (csv_rng_next(seed) % 2) {
			uint64_t want = csv_rng_next(seed) % (csv_rng_next(seed) % 8 ? 40 : 3000) + 1;

			err = csv_alloc_data(txn, &c->ags, csv_rng_next(seed) % 2 ? at : 0, want, &start, &len);
			if (err == CSV_OK)
				model_mark(m, start, len, 1);
			else
				assert_int_equal(err, CSV_NOSPC);
			continue;
		}
		for (start = at; start < MODEL_BLOCKS && !m->now[start]; start++)
			;
		for (len = 0; start + len < MODEL_BLOCKS && m->now[start + len] &&
			      csv_geo_in_group(&c->sb, start, len + 1) && len < csv_rng_next(seed) % 200 + 1;)
			len++;
		if (len == 0)
			continue;
		assert_ok(csv_free_data(txn, start, len));
		model_mark(m, start, len, 0);
	}
	if (undo) {
		csv_txn_abort(txn);
		*m = saved;
	} else {
		m->tid = csv_txn_end(txn);
	}
}

static void test_model(void **state)
{
	static struct model m;
	uint64_t seed = core_seed("model"), all;
	struct core c;

	setup(&c, MODEL_BLOCKS, 256);
	memset(&m, 0, sizeof(m));
	all = free_now(&c);
	for (int i = 0; i < 5000; i++) {
		uint64_t taken = 0;

		model_step(&c, &m, &seed);
		if (csv_rng_next(&seed) % 6 == 0) {
			assert_ok(csv_journal_commit(&c.fs, 0));
			memcpy(m.durable, m.now, sizeof(m.now));
		}
		if (csv_rng_next(&seed) % 100 == 0) {
			assert_ok(csv_journal_commit(&c.fs, 0));
			memcpy(m.durable, m.now, sizeof(m.now));
			core_restart(&c);
			m.tid = 0;
		}
		if (i % 50 == 0) {
			for (unsigned b = 0; b < MODEL_BLOCKS; b++)
				taken += m.now[b];
			assert_int_equal(free_now(&c), all - taken);
		}
	}
	teardown(&c);
}

/* ---- size ------------------------------------------------------------------- */

/* 1 TiB on a used 2 TiB LUN: few extents, few blocks, little time. */
static void test_terabyte(void **state)
{
	uint64_t left = (1ull << 40) >> CSV_BLOCK_SHIFT, start, len, begun, ms, a, n, blocks;
	struct csv_env *env = csv_env_system();
	struct csv_journal_stats st, st2;
	struct csv_txn *txn;
	struct csv_bdev *probe;
	unsigned extents = 0;
	struct core c;

	/* A sanitizer may leave less address space than that. */
	if (csv_bdev_mem(2ull << 40, 4096, &probe) != CSV_OK)
		skip();
	csv_bdev_close(probe);
	setup(&c, (2ull << 40) >> CSV_BLOCK_SHIFT, 16384);
	/* Used: something small in each group, and a hole in it. */
	for (uint32_t ag = 0; ag < c.sb.ag_count; ag++) {
		assert_ok(take(&c, csv_ag_first(&c.sb, ag) + csv_ag_own(csv_ag_len(&c.sb, ag)) + 100, 1000, &a, &n));
		assert_ok(give(&c, a + 10, 10));
	}
	assert_ok(csv_journal_checkpoint(&c.fs));
	csv_journal_stats(&c.fs, &st);
	begun = env->mono_ns(env);
	assert_ok(csv_txn_begin(&c.fs, 1000, &txn));
	while (left) {
		assert_ok(csv_alloc_data(txn, &c.ags, 0, left, &start, &len));
		left -= len;
		extents++;
	}
	csv_txn_end(txn);
	assert_ok(csv_journal_checkpoint(&c.fs));
	ms = (env->mono_ns(env) - begun) / 1000000;
	csv_journal_stats(&c.fs, &st2);
	blocks = st2.blocks_journalled - st.blocks_journalled + st2.blocks_home - st.blocks_home;
	print_message("1 TiB: %u extents, %llu blocks written, %llu ms\n", extents, (unsigned long long)blocks,
		      (unsigned long long)ms);
	assert_true(extents < 64 && blocks < 200 && ms < 100);
	teardown(&c);
}

static void test_candidate(void **state)
{
	struct csv_agset set = { 0 };
	struct csv_fs fs;
	struct core c;
	uint32_t ag;
	unsigned n = 0;

	setup(&c, 65536, 1024);
	assert_true(csv_alloc_candidate(&c.fs, &set, 1, &ag));
	assert_int_equal(ag, 0);
	while (csv_alloc_candidate(&c.fs, &set, 1, &ag)) {
		assert_false(csv_agset_has(&set, ag));
		assert_true(csv_agset_add(&set, ag));
		n++;
	}
	assert_int_equal(n, c.sb.ag_count);
	teardown(&c);
	/* Another slot begins elsewhere. */
	setup(&c, 65536, 1024);
	assert_ok(csv_fs_open(&fs, c.dev, csv_env_system(), false, 1, 1, NULL));
	set.n = 0;
	assert_true(csv_alloc_candidate(&fs, &set, 1, &ag));
	assert_int_equal(ag, c.sb.ag_count / 2);
	assert_ok(csv_fs_close(&fs));
	teardown(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_goal),	    cmocka_unit_test(test_free_checks),
		cmocka_unit_test(test_pending),	    cmocka_unit_test(test_chunk),
		cmocka_unit_test(test_chunk_again), cmocka_unit_test(test_free_meta_checks),
		cmocka_unit_test(test_damage),	    cmocka_unit_test(test_fill),
		cmocka_unit_test(test_meta_fill),   cmocka_unit_test(test_model),
		cmocka_unit_test(test_terabyte),    cmocka_unit_test(test_candidate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
