/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inodes without names: the slot's list over several blocks, and their destruction step by step. */
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>

#include "fs/data/map.h"
#include "vol.h"

#define BLK CSV_BLOCK_SIZE
#define MANY 700u /* more than two blocks of entries */

static const struct vol_shape shape = { .blocks = 16384, .ag_blocks = 2048, .journal_blocks = 1024 };

static struct csv_iref make(struct vol *v, const char *name, uint32_t mode)
{
	struct csv_new what = { .mode = mode };
	struct csv_attr attr;

	VOL_OK(v, csv_create(&v->ctx, vol_root(v), name, &what, &attr, NULL));
	return attr.ref;
}

static struct csv_iref make_orphan(struct vol *v, const char *name)
{
	struct csv_iref ref = make(v, name, S_IFREG | 0600);
	uint32_t nlink = 9;

	VOL_OK(v, csv_unlink(&v->ctx, vol_root(v), name, ref, &nlink, NULL));
	assert_int_equal(nlink, 0);
	return ref;
}

static bool listed(struct vol *v, struct csv_iref ref, size_t *count)
{
	struct csv_iref *refs;
	bool found = false;

	assert_int_equal(csv_orphan_list(&v->fs, 0, &refs, count), CSV_OK);
	for (size_t i = 0; i < *count; i++)
		found |= refs[i].ino == ref.ino && refs[i].gen == ref.gen;
	free(refs);
	return found;
}

static void test_many(void **state)
{
	uint64_t seed = vol_seed("orphan");
	struct csv_iref ref[MANY];
	size_t n, left = MANY;
	struct vol v;

	vol_make(&v, shape);
	for (unsigned i = 0; i < MANY; i++)
		ref[i] = make_orphan(&v, "x");
	vol_remount(&v);
	assert_true(listed(&v, ref[0], &n) && listed(&v, ref[MANY - 1], &n));
	assert_int_equal(n, MANY);
	vol_check(&v, NULL);
	while (left) {
		size_t i = csv_rng_next(&seed) % left;
		struct csv_iref gone = ref[i];

		ref[i] = ref[--left];
		VOL_OK(&v, csv_inode_destroy(&v.ctx, gone));
		if (left % 50 == 0) {
			assert_false(listed(&v, gone, &n));
			assert_int_equal(n, left);
			vol_check(&v, NULL);
		}
	}
	/* The further blocks stay and serve again. */
	for (unsigned i = 0; i < 300; i++)
		make_orphan(&v, "y");
	vol_remount(&v);
	listed(&v, ref[0], &n);
	assert_int_equal(n, 300);
	vol_check(&v, NULL);
	vol_free(&v);
}

static void test_list_errors(void **state)
{
	struct csv_iref *refs, none = { 500, 1 };
	struct csv_txn *txn;
	struct vol v;
	size_t n;

	vol_make(&v, shape);
	assert_int_equal(csv_orphan_list(&v.fs, 0, &refs, &n), CSV_OK);
	assert_int_equal(n, 0);
	free(refs);
	assert_int_equal(csv_orphan_list(&v.fs, 1, &refs, &n), CSV_OK);
	free(refs);
	assert_int_equal(csv_orphan_list(&v.fs, 2, &refs, &n), CSV_INVAL); /* the volume has two slots */
	assert_null(refs);
	assert_int_equal(csv_txn_begin(&v.fs, 0, &txn), CSV_OK);
	assert_int_equal(csv_orphan_del(txn, 0, none), CSV_NOENT);
	csv_txn_abort(txn);
	vol_free(&v);
}

/* An image with extents in several groups goes in steps, each asking for what it needs; all steps are whole. */
static void test_steps(void **state)
{
	struct csv_new dir = { .mode = S_IFDIR | 0700 };
	struct csv_agset groups = { 0 };
	struct csv_attr attr;
	struct csv_iref ref;
	unsigned waits = 0;
	struct vol_sum sum;
	enum csv_err err;
	struct vol v;
	size_t n;

	vol_make(&v, shape);
	VOL_OK(&v, csv_create(&v.ctx, vol_root(&v), "d", &dir, &attr, NULL));
	ref = make(&v, "disk.vhd", S_IFREG | 0600);
	VOL_OK(&v, csv_fallocate(&v.ctx, ref, 0, 0, 8000 * (uint64_t)BLK, NULL));
	for (uint64_t b = 0; b < 8000; b += 20)
		VOL_OK(&v, csv_fallocate(&v.ctx, ref, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, b * BLK, BLK, NULL));
	VOL_OK(&v, csv_unlink(&v.ctx, vol_root(&v), "disk.vhd", ref, NULL, NULL));
	csv_fs_lock_shared(&v.fs);
	assert_int_equal(csv_inode_groups(&v.fs, ref, &groups), CSV_OK);
	csv_fs_unlock(&v.fs);
	assert_in_range(groups.n, 4, 7);
	vol_drop_groups(&v);
	/* Only what was asked for, and a new mount between steps. */
	while ((err = csv_inode_destroy(&v.ctx, ref)) == CSV_WAIT) {
		assert_true(v.ctx.need.n > 0 && csv_agset_has(&groups, v.ctx.need.ag[0]));
		assert_true(listed(&v, ref, &n));
		vol_remount(&v);
		vol_check(&v, NULL);
		vol_drop_groups(&v);
		assert_true(csv_ctx_take_need(&v.ctx));
		if (++waits > 1000)
			fail_msg("destroy does not get on");
	}
	assert_int_equal(err, CSV_OK);
	assert_in_range(waits, 3, 100);
	assert_false(listed(&v, ref, &n));
	assert_int_equal(n, 0);
	vol_check(&v, &sum);
	assert_int_equal(sum.inodes, 2);
	assert_int_equal(sum.data + sum.leases, 0);
	vol_free(&v);
}

static void test_nospc(void **state)
{
	struct vol_shape small = { .blocks = 4096, .ag_blocks = 2048, .journal_blocks = 512 };
	struct csv_iref ref;
	struct vol v;
	unsigned fails;

	vol_make(&v, small);
	for (unsigned i = 0; i < CSV_ORPHANS_PER_BLOCK; i++)
		make_orphan(&v, "x");
	ref = make(&v, "last", S_IFREG | 0600);
	fails = VOL_EVERY_NOSPC(&v, false, csv_unlink(&v.ctx, vol_root(&v), "last", ref, NULL, NULL));
	assert_int_equal(fails, 1);
	vol_free(&v);
}

/* An entry whose inode somebody else has freed goes without ado. */
static void test_gone_elsewhere(void **state)
{
	struct csv_iref ref, other;
	struct csv_txn *txn;
	struct vol v;
	size_t n;

	vol_make(&v, shape);
	ref = make_orphan(&v, "x");
	VOL_OK(&v, csv_inode_destroy(&v.ctx, ref));
	assert_int_equal(csv_txn_begin(&v.fs, 0, &txn), CSV_OK);
	assert_int_equal(csv_orphan_add(txn, &v.ctx, ref), CSV_OK);
	csv_txn_end(txn);
	other = make(&v, "new", S_IFREG | 0600); /* most likely in the same block */
	assert_true(listed(&v, ref, &n));
	VOL_OK(&v, csv_inode_destroy(&v.ctx, ref));
	assert_false(listed(&v, ref, &n));
	assert_int_equal(VOL_RUN(&v, csv_inode_destroy(&v.ctx, other)), CSV_INVAL);
	vol_check(&v, NULL);
	vol_free(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many),  cmocka_unit_test(test_list_errors),    cmocka_unit_test(test_steps),
		cmocka_unit_test(test_nospc), cmocka_unit_test(test_gone_elsewhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
