/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lock requests that wait long are logged: when, where, and what of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/machine_rig.h"

#define INODE(n) csv_res(CSV_RES_INODE, n)

static struct rig rig;

static int open_three(void **state)
{
	rig_open_beating(&rig, 3);
	rig_mount_all(&rig);
	rig_forget(&rig);
	return 0;
}

static int close_rig(void **state)
{
	rig_close(&rig);
	return 0;
}

/* A second for all. */
static void second(void)
{
	for (unsigned n = 1; n <= rig.nnodes; n++)
		if (rig.group[n - 1])
			rig_timers(&rig, n);
}

static void seconds(unsigned n)
{
	while (n--)
		second();
}

static void test_told_again(void **state)
{
	static const unsigned told[] = { 4, 8, 16, 32, 64, 128, 192 };
	unsigned n = 0;

	rig_lock(&rig, 2, INODE(77), CSV_PR, 0);
	rig_lock(&rig, 3, INODE(77), CSV_PR, 0);
	rig_lock(&rig, 1, INODE(77), CSV_EX, 0);
	second(); /* it came at any time before */
	for (unsigned s = 1; s <= 200; s++) {
		unsigned before = rig.warnings[0];
		char text[100];

		second();
		if (rig.warnings[0] == before)
			continue;
		assert_int_equal(rig.warnings[0], before + 1);
		snprintf(text, sizeof(text), "n1 waits %u s for inode 77 EX of rig: held PR by n2 n3", s);
		assert_string_equal(rig.warning[0], text);
		assert_int_equal(s, told[n++]);
	}
	assert_int_equal(n, sizeof(told) / sizeof(told[0]));
	assert_int_equal(rig.warnings[1] + rig.warnings[2], 0); /* the waiter's node says it */

	/* It gets the lock; the same one is asked for anew. */
	rig_unlock(&rig, 2, INODE(77), CSV_NL);
	rig_unlock(&rig, 3, INODE(77), CSV_NL);
	assert_non_null(rig_take(&rig, 1, CSV_MSG_GRANT));
	rig_unlock(&rig, 1, INODE(77), CSV_NL);
	rig_lock(&rig, 2, INODE(77), CSV_EX, 0);
	rig_lock(&rig, 1, INODE(77), CSV_PR, 0);
	n = rig.warnings[0];
	seconds(4);
	assert_int_equal(rig.warnings[0], n);
	second();
	assert_string_equal(rig.warning[0], "n1 waits 4 s for inode 77 PR of rig: held EX by n2");
}

/* Nobody who holds it is in the way: who came before is. */
static void test_behind_a_waiter(void **state)
{
	rig_lock(&rig, 1, INODE(5), CSV_PR, 0);
	rig_lock(&rig, 2, INODE(5), CSV_EX, 0);
	rig_lock(&rig, 3, INODE(5), CSV_PR, 0);
	seconds(5);
	assert_string_equal(rig.warning[1], "n2 waits 4 s for inode 5 EX of rig: held PR by n1");
	assert_string_equal(rig.warning[2], "n3 waits 4 s for inode 5 PR of rig: behind EX by n2");
}

/* Taken back, or gone with its csvfs: nothing waits any more. */
static void test_ended(void **state)
{
	rig_lock(&rig, 1, INODE(5), CSV_EX, 0);
	rig_lock(&rig, 2, INODE(5), CSV_EX, 0);
	rig_lock(&rig, 3, INODE(5), CSV_EX, 0);
	seconds(3);
	rig_unlock(&rig, 2, INODE(5), CSV_NL);
	rig_gone(&rig, 3);
	seconds(9);
	assert_null(strstr(rig.warning[1], "waits")); /* (that the slot is out is told) */
	assert_null(strstr(rig.warning[2], "waits"));
}

/* While the volume is frozen that is what all wait for; then what still waits is told with all its time. */
static void test_frozen(void **state)
{
	unsigned before;

	rig_lock(&rig, 3, INODE(5), CSV_EX, 0);
	rig_lock(&rig, 2, INODE(6), CSV_EX, 0);
	rig_group(&rig, 3, false);
	rig.group[2] = 0;
	rig_settle(&rig);
	rig_lock(&rig, 1, INODE(5), CSV_PR, 0);
	rig_lock(&rig, 1, INODE(6), CSV_PR, 0);
	before = rig.warnings[0];
	for (unsigned s = 0; s < 7; s++)
		second();
	assert_null(strstr(rig.warning[0], "waits"));
	while (rig_obey(&rig, 1, CSV_OK) + rig_obey(&rig, 2, CSV_OK))
		;
	assert_int_equal(rig_view(&rig, 1).frozen, 0);
	second();
	assert_true(rig.warnings[0] > before);
	assert_non_null(strstr(rig.warning[0], "for inode 6 PR of rig: held EX by n2"));
}

/* Of very many some are told, and how many there are. */
static void test_many(void **state)
{
	for (unsigned i = 0; i < 30; i++) {
		rig_lock(&rig, 2, INODE(100 + i), CSV_EX, 0);
		rig_lock(&rig, 1, INODE(100 + i), CSV_EX, 0);
	}
	seconds(5);
	assert_int_equal(rig.warnings[0], 9);
	assert_string_equal(rig.warning[0], "n1 waits for 22 more locks of rig");
}

/* The DLM's engine: who holds it is not known, but that it waits is. */
static void test_dlm(void **state)
{
	rig_close(&rig);
	rig_open_beating(&rig, 3);
	rig.engine = CSV_ENGINE_DLM;
	rig_mount(&rig, 1, 0);
	rig_lock(&rig, 1, INODE(5), CSV_EX, 0);
	seconds(5);
	assert_string_equal(rig.warning[0], "n1 waits 4 s for inode 5 EX of rig: asked of the DLM, which does not say "
					    "who holds it");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_told_again, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_behind_a_waiter, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_ended, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_frozen, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_many, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_dlm, open_three, close_rig),
	};

	return cmocka_run_group_tests_name("waits", tests, NULL, NULL);
}
