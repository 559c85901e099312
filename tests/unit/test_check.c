/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csv_check_run(): a volume that was only ever changed by csvfs is clean. What it finds: test_check_wounds.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "findings.h"
#include "fs/data/map.h"
#include "fs/disk/super.h"
#include "lib/env.h"
#include "vol.h"

#define BLOCK CSV_BLOCK_SIZE

static struct csv_iref make(struct vol *v, struct csv_iref dir, const char *name, uint32_t mode, const char *target)
{
	const struct csv_new what = { .mode = mode, .target = target };
	struct csv_attr a;

	VOL_OK(v, csv_create(&v->ctx, dir, name, &what, &a, NULL));
	return a.ref;
}

static void fresh_volume_is_clean(void **state)
{
	struct csv_format f = { .name = "fresh", .cluster = "", .slots = 3, .journal_blocks = 128 };
	struct csv_super sb;
	struct csv_bdev *dev;

	assert_int_equal(csv_bdev_mem(64u << 20, 4096, &dev), CSV_OK);
	assert_int_equal(csv_format_write(dev, csv_env_system(), &f, &sb, NULL), CSV_OK);
	check_expect_clean(dev);
	csv_bdev_close(dev);
}

static void random_step(struct vol *v, uint64_t *rng)
{
	struct csv_iref root = vol_root(v), ref;
	char name[80], other[80];
	uint64_t r = csv_rng_next(rng);
	struct csv_attr a;
	uint32_t nlink = 1;
	struct csv_rename mv = { .from_dir = root, .to_dir = root, .from = name, .to = other };

	snprintf(name, sizeof(name), "name %u, long enough to fill nodes of the directory's tree",
		 (unsigned)(r >> 8) % 150);
	snprintf(other, sizeof(other), "disk %u.vhd", (unsigned)(r >> 20) % 150);
	if (r % 8 < 4) {
		const struct csv_new what = { .mode = r % 8 == 0 ? S_IFDIR | 0755 : S_IFREG | 0644 };

		if (VOL_RUN(v, csv_create(&v->ctx, root, r % 2 ? name : other, &what, &a, NULL)) == CSV_OK &&
		    r % 8 == 1)
			VOL_RUN(v, csv_fallocate(&v->ctx, a.ref, 0, 0, (r >> 32) % 40 * BLOCK, NULL));
		return;
	}
	if (csv_lookup(&v->ctx, root, name, &ref) != CSV_OK || csv_getattr(&v->ctx, ref, &a) != CSV_OK)
		return;
	if (r % 8 < 6) {
		if (S_ISDIR(a.mode))
			VOL_RUN(v, csv_rmdir(&v->ctx, root, name, a.ref, NULL));
		else if (VOL_RUN(v, csv_unlink(&v->ctx, root, name, a.ref, &nlink, NULL)) == CSV_OK && r % 3)
			VOL_RUN(v, csv_inode_destroy(&v->ctx, a.ref));
	} else {
		mv.moved = a.ref;
		if (csv_lookup(&v->ctx, root, other, &mv.replaced) != CSV_OK)
			mv.replaced = (struct csv_iref){ 0 };
		VOL_RUN(v, csv_rename(&v->ctx, &mv, &nlink, NULL));
	}
}

static void random_volume_is_clean(void **state)
{
	uint64_t rng = vol_seed("check");
	struct csv_check_summary sum;
	struct check_seen seen;
	struct vol v;

	vol_make(&v, (struct vol_shape){ .blocks = 4096, .ag_blocks = 1024, .journal_blocks = 128 });
	for (unsigned round = 0; round < 6; round++) {
		for (unsigned i = 0; i < 250; i++)
			random_step(&v, &rng);
		assert_int_equal(csv_fs_close(&v.fs), CSV_OK);
		check_run(v.dev, &seen, &sum);
		if (sum.findings)
			fail_msg("round %u:\n%s", round, seen.text);
		assert_true(sum.inodes > 20);
		assert_int_equal(csv_fs_open(&v.fs, v.dev, csv_env_system(), false, 0, ++v.incarnation, NULL), CSV_OK);
	}
	printf("check: %llu inodes, %llu blocks used, %.2f ms\n", (unsigned long long)sum.inodes,
	       (unsigned long long)sum.blocks_used, (double)sum.ns / 1e6);
	vol_free(&v);
}

/* A slot that is not clean: its journal is replayed beside the device, and that is only a note. */
static void dirty_volume_is_replayed(void **state)
{
	struct csv_check_summary sum;
	struct csv_slot slot;
	struct check_seen seen;
	struct vol v;
	uint64_t writes;

	vol_make(&v, (struct vol_shape){ .blocks = 4096, .ag_blocks = 1024, .journal_blocks = 128 });
	assert_int_equal(csv_slot_read(v.dev, &v.fs.sb, 0, &slot, NULL), CSV_OK);
	slot.state = CSV_SLOT_LIVE;
	slot.incarnation = v.incarnation;
	assert_int_equal(csv_slot_write(v.dev, &v.fs.sb, &slot), CSV_OK);
	make(&v, vol_root(&v), "in the journal", S_IFREG | 0644, NULL);
	assert_int_equal(csv_journal_commit(&v.fs, 0), CSV_OK);
	writes = v.dev->stats.writes;
	check_run(v.dev, &seen, &sum);
	if (sum.findings)
		fail_msg("dirty volume:\n%s", seen.text);
	assert_true(seen.code[CSV_CHECK_JOURNAL_DIRTY]);
	assert_int_equal(sum.dirty_slots, 1);
	assert_true(sum.replayed > 0);
	assert_int_equal(sum.inodes, 2);
	assert_int_equal(v.dev->stats.writes, writes);
	vol_free(&v);
}

static void foreign_is_no_volume(void **state)
{
	struct csv_check_summary sum;
	struct csv_bdev *dev;
	struct csv_why why;

	assert_int_equal(csv_bdev_mem(16u << 20, 512, &dev), CSV_OK);
	csv_why_init(&why);
	assert_int_equal(csv_check_run(dev, csv_env_system(), NULL, NULL, NULL, &sum, &why), CSV_NOTCSV);
	assert_false(sum.done);
	csv_bdev_close(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fresh_volume_is_clean),
		cmocka_unit_test(random_volume_is_clean),
		cmocka_unit_test(dirty_volume_is_replayed),
		cmocka_unit_test(foreign_is_no_volume),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
