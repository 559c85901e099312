/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvadm lun check against a real tgtd: what it finds, and that it leaves things as they were. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/unit/fake_lun.h"
#include "tests/unit/tgt.h"
#include "tools/lun/probe.h"

#define SIZE (64ull << 20)
#define BLOCK 4096u
#define TYPE CSV_PR_WRITE_EXCLUSIVE_ALL_REG

static bool possible;

static struct csv_bdev *open_lun(void)
{
	struct csv_bdev *dev;
	struct csv_why why;

	csv_why_init(&why);
	if (csv_bdev_open(TGT_LUN, 0, &dev, &why) != CSV_OK)
		fail_msg("open: %s", why.text);
	return dev;
}

static struct csv_pr_status status(struct csv_bdev *dev)
{
	struct csv_pr_status st;

	assert_int_equal(dev->ops->pr_status(dev, &st), CSV_OK);
	return st;
}

/* With both ways, as the command has them. */
static enum csv_err probe(struct csv_lun_report *r)
{
	struct csv_bdev *dev = open_lun(), *other = open_lun();
	struct csv_why why;
	enum csv_err err;

	csv_why_init(&why);
	err = csv_lun_probe(dev, other, false, r, &why);
	csv_bdev_close(other);
	csv_bdev_close(dev);
	return err;
}

static void test_finds(void **state)
{
	static char before[BLOCK], after[BLOCK];
	struct csv_bdev *dev = open_lun();
	struct csv_lun_report r;

	memset(before, 0x5a, sizeof(before));
	assert_int_equal(csv_bdev_write(dev, SIZE - BLOCK, before, BLOCK, 0), CSV_OK);
	assert_int_equal(probe(&r), CSV_OK);
	assert_true(r.type[5] && r.type[TYPE]);
	assert_true(r.enforced_known && r.enforced);
	/* What it advertises, but refuses. */
	assert_false(r.preempt_abort);
	assert_false(r.compare_write);
	assert_false(r.aptpl);
	assert_int_equal(r.standing, CSV_PR_NONE);
	assert_int_equal(status(dev).nkeys, 0);
	assert_int_equal(status(dev).type, CSV_PR_NONE);
	assert_int_equal(csv_bdev_read(dev, SIZE - BLOCK, after, BLOCK), CSV_OK);
	assert_memory_equal(before, after, BLOCK);
	/* And it may be done again. */
	assert_int_equal(probe(&r), CSV_OK);
	assert_true(r.type[TYPE]);
	csv_bdev_close(dev);
}

/* A reservation without keys keeps out late writes, and would go with our key. */
static void test_standing_reservation(void **state)
{
	static struct fake_lun lun;
	struct csv_lun_report r;
	struct csv_bdev *dev;
	struct csv_why why;

	csv_why_init(&why);
	fake_init(&lun);
	lun.type = TYPE;
	dev = fake_open(&lun, 0, 1, true);
	assert_non_null(dev);
	assert_int_equal(csv_lun_probe(dev, NULL, false, &r, &why), CSV_OK);
	assert_int_equal(r.standing, TYPE);
	assert_true(r.type[TYPE] && !r.type[5] && !r.enforced_known);
	assert_int_equal(lun.type, TYPE);
	assert_int_equal(lun.generation, 0); /* nobody has registered */
	csv_bdev_close(dev);
}

/* A target that can do everything; somebody mounts while it is being tried. */
static void test_able_target(void **state)
{
	static struct fake_lun lun;
	struct csv_lun_report r;
	struct csv_bdev *dev;
	struct csv_why why;

	csv_why_init(&why);
	fake_init(&lun);
	dev = fake_open(&lun, 0, 1, true);
	assert_non_null(dev);
	assert_int_equal(csv_lun_probe(dev, NULL, false, &r, &why), CSV_OK);
	assert_true(r.type[TYPE] && r.preempt_abort && r.aptpl && r.compare_write && r.unmap);
	assert_false(lun.aptpl); /* what lasts is what was registered last */
	assert_int_equal(lun.type, CSV_PR_NONE);
	assert_int_equal(fake_key(&lun, 0, 0), 0);
	lun.intruder = true;
	assert_int_equal(csv_lun_probe(dev, NULL, false, &r, &why), CSV_CONFLICT);
	assert_int_equal(lun.type, TYPE); /* his */
	assert_int_equal(fake_key(&lun, 0, 0), 0);
	assert_int_equal(fake_key(&lun, 2, 0), FAKE_INTRUDER);
	csv_bdev_close(dev);
}

static void test_in_use(void **state)
{
	struct csv_bdev *dev = open_lun();
	struct csv_lun_report r;

	assert_int_equal(dev->ops->pr_register(dev, 0xabc), CSV_OK);
	assert_int_equal(probe(&r), CSV_BUSY);
	assert_int_equal(status(dev).nkeys, 1);
	assert_int_equal(status(dev).keys[0], 0xabc);
	assert_int_equal(dev->ops->pr_register(dev, 0), CSV_OK);
	csv_bdev_close(dev);
}

static void test_no_scsi(void **state)
{
	struct csv_lun_report r;
	struct csv_bdev *dev;
	struct csv_why why;

	csv_why_init(&why);
	assert_int_equal(csv_bdev_mem(SIZE, 512, &dev), CSV_OK);
	assert_int_equal(csv_lun_probe(dev, NULL, false, &r, &why), CSV_NOTSUP);
	csv_bdev_close(dev);
}

static int start(void **state)
{
	if (!possible)
		skip();
	tgt_start();
	return 0;
}

static int stop(void **state)
{
	if (possible)
		tgt_kill();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_finds, start, stop),
		cmocka_unit_test(test_standing_reservation),
		cmocka_unit_test(test_able_target),
		cmocka_unit_test_setup_teardown(test_in_use, start, stop),
		cmocka_unit_test(test_no_scsi),
	};
	int res;

	possible = tgt_enter(SIZE);
	res = cmocka_run_group_tests(tests, NULL, NULL);
	tgt_leave();
	return res;
}
