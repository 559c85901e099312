/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Crashes that are about the journal itself: two nodes, checkpoints, damaged records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "fs/disk/super.h"
#include "scenarios.h"
#include "tools/check/check.h"

CRASH_TEST(idle_node, 0)
CRASH_TEST(home_image, .slow = true, .journal_blocks = 220)
CRASH_TEST(wrap, 0)
CRASH_TEST(remount, 0)

/* Several transactions in the journal, none home. */
static void run_few(struct crash *c)
{
	static const char *const name[] = { "a", "b", "c", "d" };

	for (unsigned i = 0; i < 4; i++) {
		crash_expect(c, crash_create(c, crash_root(c), name[i], S_IFREG | 0644, NULL), "create");
		crash_commit(c);
	}
}

/* Position of the commit block number `nth` in the journal of slot 0, by block; 0: none. */
static uint64_t find_commit(struct crash *c, struct csv_bdev *dev, unsigned nth)
{
	uint8_t page[CSV_BLOCK_SIZE];

	for (uint64_t b = CSV_JOURNAL_START + 1; b < CSV_JOURNAL_START + c->sb.journal_blocks; b++) {
		const struct csv_block_hdr *h = (const void *)page;

		assert_int_equal(csv_bdev_read(dev, b << CSV_BLOCK_SHIFT, page, sizeof(page)), CSV_OK);
		if (csv_le32_get(h->magic) == CSV_MAGIC_JCOMMIT && nth-- == 0)
			return b;
	}
	return 0;
}

static void on_finding(void *arg, const struct csv_finding *f)
{
	if (!f->note && f->id == CSV_CHECK_JOURNAL_GAP)
		*(bool *)arg = true;
}

/* J5: a damaged record with a valid later commit behind it is no end of the journal: it is reported, nothing is
 * written. */
static void crash_journal_gap(void **state)
{
	static const struct crash_scenario s = { "journal_gap", run_few, { 0 } };
	static struct crash c;
	struct csv_check_summary sum;
	struct csv_bdev *image;
	struct csv_why why;
	uint8_t page[CSV_BLOCK_SIZE];
	uint64_t block;
	bool told = false;

	assert_true(crash_run(&c, &s, crash_seed(), 40));
	assert_int_equal(csv_record_crash(c.dev, csv_record_count(c.dev) - 1, 0, &image), CSV_OK);
	block = find_commit(&c, image, 1);
	assert_int_not_equal(block, 0);
	/* An image of the second transaction rots. */
	assert_int_equal(csv_bdev_read(image, (block - 1) << CSV_BLOCK_SHIFT, page, sizeof(page)), CSV_OK);
	page[2000] ^= 1;
	assert_int_equal(csv_bdev_write(image, (block - 1) << CSV_BLOCK_SHIFT, page, sizeof(page), 0), CSV_OK);
	csv_why_init(&why);
	assert_int_equal(csv_replay(image, &c.sb, 0, true, NULL, NULL, &why), CSV_GAP);
	csv_why_init(&why);
	assert_int_equal(csv_check_run(image, csv_env_system(), NULL, on_finding, &told, &sum, &why), CSV_OK);
	assert_true(told);
	csv_bdev_close(image);

	/* The same damage in the last one is what a crash leaves: the transaction is not there. */
	assert_int_equal(csv_record_crash(c.dev, csv_record_count(c.dev) - 1, 0, &image), CSV_OK);
	block = find_commit(&c, image, 3);
	assert_int_not_equal(block, 0);
	memset(page, 0, sizeof(page));
	assert_int_equal(csv_bdev_write(image, (block - 1) << CSV_BLOCK_SHIFT, page, sizeof(page), 0), CSV_OK);
	assert_true(crash_recover(&c, image));
	assert_true(crash_check_clean(&c, image, "after a damaged last record"));
	csv_bdev_close(image);
	crash_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CRASH_UNIT(idle_node),
		CRASH_UNIT(home_image),
		CRASH_UNIT(wrap),
		CRASH_UNIT(remount),
		cmocka_unit_test(crash_journal_gap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
