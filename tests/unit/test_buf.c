/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Buffer cache: checks at reading, sharing, limit, dropping by lock. */
#include <pthread.h>

#include "core.h"
#include "fs/disk/geometry.h"

static void setup(struct core *c)
{
	core_make(c, 65536, 1024);
	core_open(c);
}

static void teardown(struct core *c)
{
	core_close(c);
	core_free(c);
}

static enum csv_err get(struct core *c, uint64_t block, uint32_t magic, uint64_t owner)
{
	struct csv_buf *buf;
	enum csv_err err;

	csv_fs_lock_shared(&c->fs);
	err = csv_buf_get(&c->fs, block, magic, owner, core_res(), &buf);
	assert_true((err == CSV_OK) == (buf != NULL));
	csv_buf_put(&c->fs, buf);
	csv_fs_unlock(&c->fs);
	return err;
}

static void test_checks(void **state)
{
	uint8_t page[CSV_BLOCK_SIZE], bad[CSV_BLOCK_SIZE];
	struct core c;
	uint64_t a;

	setup(&c);
	a = core_block_new(&c);
	assert_ok(csv_journal_checkpoint(&c.fs));
	csv_cache_drop(&c.fs, core_res());
	core_read(&c, a, page);

	assert_ok(get(&c, a, CSV_MAGIC_LEASE, CORE_OWNER));
	assert_int_equal(get(&c, a, CSV_MAGIC_LEASE, 1), CSV_IDENTITY); /* from the cache, too */
	assert_int_equal(get(&c, a, CSV_MAGIC_TREE, CORE_OWNER), CSV_IDENTITY);
	csv_cache_drop(&c.fs, core_res());
	assert_int_equal(get(&c, a, CSV_MAGIC_LEASE, 1), CSV_IDENTITY);
	assert_int_equal(get(&c, a, CSV_MAGIC_TREE, CORE_OWNER), CSV_IDENTITY);
	assert_int_equal(get(&c, 3, CSV_MAGIC_LEASE, CORE_OWNER), CSV_DAMAGED); /* no such place */
	assert_int_equal(get(&c, UINT64_MAX, CSV_MAGIC_INODE, UINT64_MAX), CSV_DAMAGED);
	assert_int_equal(get(&c, c.sb.blocks - 1, CSV_MAGIC_LEASE, CORE_OWNER), CSV_DAMAGED);
	assert_int_equal(get(&c, c.sb.ag_start, CSV_MAGIC_LEASE, CORE_OWNER), CSV_DAMAGED);
	assert_int_equal(get(&c, c.sb.ag_start + 1, CSV_MAGIC_AG, 0), CSV_DAMAGED);

	memcpy(bad, page, sizeof(bad));
	bad[3000] ^= 1;
	core_write(&c, a, bad);
	assert_int_equal(get(&c, a, CSV_MAGIC_LEASE, CORE_OWNER), CSV_CHECKSUM);
	memcpy(bad, page, sizeof(bad));
	bad[8] ^= 1; /* UUID */
	csv_block_seal(bad, a);
	core_write(&c, a, bad);
	assert_int_equal(get(&c, a, CSV_MAGIC_LEASE, CORE_OWNER), CSV_IDENTITY);
	memcpy(bad, page, sizeof(bad));
	csv_block_seal(bad, a + 1); /* written to the wrong place */
	core_write(&c, a, bad);
	assert_int_equal(get(&c, a, CSV_MAGIC_LEASE, CORE_OWNER), CSV_IDENTITY);
	memcpy(bad, page, sizeof(bad));
	((struct csv_disk_lease *)(void *)bad)->mode = csv_le32_of(9); /* only the verifier sees it */
	csv_block_seal(bad, a);
	core_write(&c, a, bad);
	assert_int_equal(get(&c, a, CSV_MAGIC_LEASE, CORE_OWNER), CSV_DAMAGED);
	core_write(&c, a, page);
	assert_ok(get(&c, a, CSV_MAGIC_LEASE, CORE_OWNER)); /* an error is not kept */
	teardown(&c);
}

/* A lazily laid out block: fresh until it is changed, and again if that is undone. */
static void test_lazy(void **state)
{
	struct csv_res ag = csv_res(CSV_RES_AG, 1);
	struct csv_txn *txn;
	struct csv_buf *buf;
	struct core c;
	uint64_t b;
	bool fresh;

	setup(&c);
	b = csv_ag_first(&c.sb, 1) + 1;
	assert_ok(csv_txn_begin(&c.fs, 0, &txn));
	assert_int_equal(csv_buf_get(&c.fs, b, CSV_MAGIC_BITMAP, 1, ag, &buf), CSV_IDENTITY);
	assert_ok(csv_buf_get_lazy(&c.fs, b, CSV_MAGIC_BITMAP, 1, ag, &buf, &fresh));
	assert_true(fresh);
	assert_ok(csv_txn_dirty(txn, buf));
	memset((uint8_t *)buf->data + 64, 0xff, 10);
	csv_buf_put(&c.fs, buf);
	csv_txn_abort(txn);
	assert_ok(csv_txn_begin(&c.fs, 0, &txn));
	assert_ok(csv_buf_get_lazy(&c.fs, b, CSV_MAGIC_BITMAP, 1, ag, &buf, &fresh));
	assert_true(fresh);
	assert_int_equal(((uint8_t *)buf->data)[64], 0);
	assert_ok(csv_txn_dirty(txn, buf));
	csv_buf_put(&c.fs, buf);
	csv_txn_end(txn);
	csv_fs_lock_shared(&c.fs);
	assert_ok(csv_buf_get(&c.fs, b, CSV_MAGIC_BITMAP, 1, ag, &buf));
	csv_buf_put(&c.fs, buf);
	csv_fs_unlock(&c.fs);
	teardown(&c);
}

static void test_limit(void **state)
{
	uint64_t block[200], reads;
	struct core c;

	setup(&c);
	for (int i = 0; i < 200; i++)
		block[i] = core_block_new(&c);
	assert_ok(csv_journal_checkpoint(&c.fs));
	csv_cache_set_limit(&c.fs, 20);
	for (int i = 0; i < 200; i++)
		core_block_set(&c, block[i], (uint64_t)i); /* changed ones do not count and are not dropped */
	reads = c.mem->stats.reads;
	for (int i = 0; i < 200; i++)
		assert_int_equal(core_block_get(&c, block[i]), i);
	assert_int_equal(c.mem->stats.reads, reads);
	assert_ok(csv_journal_checkpoint(&c.fs));
	for (int i = 0; i < 200; i++)
		assert_int_equal(core_block_get(&c, block[i]), i);
	assert_true(c.mem->stats.reads - reads >= 180);
	reads = c.mem->stats.reads;
	for (int i = 190; i < 200; i++)
		assert_int_equal(core_block_get(&c, block[i]), i);
	assert_int_equal(c.mem->stats.reads, reads); /* the last used are there */
	teardown(&c);
}

struct job {
	struct core *c;
	uint64_t *block;
	unsigned n, id;
};

static void *read_all(void *arg)
{
	struct job *j = arg;

	for (unsigned k = 0; k < 20 * j->n; k++)
		assert_int_equal(core_block_get(j->c, j->block[(k * 7 + j->id) % j->n]), 42);
	return NULL;
}

/* Many readers of few blocks with a cache that is too small: each block is read once at a time. */
static void test_readers(void **state)
{
	uint64_t block[64];
	struct job job[8];
	pthread_t t[8];
	struct core c;

	setup(&c);
	for (int i = 0; i < 64; i++) {
		block[i] = core_block_new(&c);
		core_block_set(&c, block[i], 42);
	}
	assert_ok(csv_journal_checkpoint(&c.fs));
	csv_cache_set_limit(&c.fs, 8);
	for (unsigned i = 0; i < 8; i++) {
		job[i] = (struct job){ &c, block, 64, i };
		pthread_create(&t[i], NULL, read_all, &job[i]);
	}
	for (unsigned i = 0; i < 8; i++)
		pthread_join(t[i], NULL);
	teardown(&c);
}

/* Read errors come back and leave nothing behind. */
static enum csv_err fail_reads(void *arg, const struct csv_io *io)
{
	return io->op == CSV_IO_READ ? CSV_UNREACH : CSV_OK;
}

static void test_read_error(void **state)
{
	struct core c;
	uint64_t a;

	setup(&c);
	a = core_block_new(&c);
	assert_ok(csv_journal_checkpoint(&c.fs));
	csv_cache_drop(&c.fs, core_res());
	c.watch.watch = fail_reads;
	assert_int_equal(get(&c, a, CSV_MAGIC_LEASE, CORE_OWNER), CSV_UNREACH);
	c.watch.watch = NULL;
	assert_ok(get(&c, a, CSV_MAGIC_LEASE, CORE_OWNER));
	teardown(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_checks),	cmocka_unit_test(test_lazy),	   cmocka_unit_test(test_limit),
		cmocka_unit_test(test_readers), cmocka_unit_test(test_read_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
