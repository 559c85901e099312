/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Members of several versions: which one a view uses, and who is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lockd/core/core.h"
#include "tests/unit/machine_rig.h"

#define NOW CSV_GROUP_VERSION
#define ALL 7u

static struct rig rig;

/* Node begins again as csvlockd of another release, and joins those of the mask. */
static void replace(unsigned node, unsigned low, unsigned high, unsigned mask)
{
	unsigned others = mask & ~(1u << (node - 1));

	if (others)
		rig_group(&rig, others, false);
	rig_settle(&rig);
	rig.versions[node - 1][0] = (uint8_t)low;
	rig.versions[node - 1][1] = (uint8_t)high;
	rig_restart(&rig, node);
	rig_group(&rig, mask, false);
	rig_settle(&rig);
}

/* All begin again at once, with these highest versions and without any state. */
static void all_new(const uint8_t versions[RIG_NODES][2])
{
	memcpy(rig.versions, versions, sizeof(rig.versions));
	for (unsigned n = 1; n <= 3; n++)
		rig_restart(&rig, n);
	rig_group(&rig, ALL, false);
	rig_settle(&rig);
}

static int open_three(void **state)
{
	rig_open(&rig, 3);
	return 0;
}

static int close_rig(void **state)
{
	rig_close(&rig);
	return 0;
}

static void expect_version(unsigned mask, unsigned version)
{
	for (unsigned n = 0; n < 3; n++)
		assert_int_equal(csv_machine_version(rig.m[n]), mask >> n & 1 ? version : 0);
	assert_true(rig_same(&rig, mask));
}

/* A lock is granted, by an operation of this version. */
static void expect_grant(unsigned node, uint64_t ino, unsigned version)
{
	rig_lock(&rig, node, csv_res(CSV_RES_INODE, ino), CSV_PR, 0);
	assert_non_null(rig_take(&rig, node, CSV_MSG_GRANT));
	assert_int_equal(rig.op_version, version);
}

/* One after the other is upgraded; and one goes back. */
static void test_upgrade(void **state)
{
	rig_mount(&rig, 1, 0);
	expect_version(ALL, NOW);
	replace(3, NOW, NOW + 1, ALL);
	expect_version(ALL, NOW);
	expect_grant(1, 5, NOW);
	replace(2, NOW, NOW + 2, ALL);
	expect_version(ALL, NOW);
	replace(1, NOW, NOW + 1, ALL);
	expect_version(ALL, NOW + 1);
	rig_hello(&rig, 3); /* JOIN */
	assert_int_equal(rig.op_version, NOW + 1);
	replace(2, NOW, NOW, ALL);
	expect_version(ALL, NOW);
	rig_hello(&rig, 2);
	assert_int_equal(rig.op_version, NOW);
	assert_int_equal(rig.errors, 0);
}

/* What is on its way when the version changes is sent again in the new one. */
static void test_waiting_operation(void **state)
{
	struct csv_msg lock = { .type = CSV_MSG_LOCK };
	struct csv_event ev = { .type = CSV_EV_CLIENT, .msg = &lock };
	struct csv_actions acts = { 0 };

	rig_mount(&rig, 1, 0);
	rig_forget(&rig);
	lock.seq = 77;
	lock.lock.res_type = CSV_RES_INODE;
	lock.lock.res_id = 9;
	lock.lock.mode = CSV_EX;
	ev.client = rig.client[0];
	csv_machine_step(rig.m[0], &ev, &acts); /* and is lost with the configuration */
	csv_actions_free(&acts);
	replace(2, NOW, NOW + 1, ALL);
	replace(3, NOW, NOW + 1, ALL);
	expect_version(ALL, NOW);
	assert_int_equal(rig_take(&rig, 1, CSV_MSG_GRANT)->seq, 77);
	assert_int_equal(rig.errors, 0);
}

static const char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *text(const char *format, ...)
{
	static char made[256];
	va_list ap;

	va_start(ap, format);
	vsnprintf(made, sizeof(made), format, ap);
	va_end(ap);
	return made;
}

/* An old csvlockd joins a group that works: it is refused by name, on both sides, and the group goes on. */
static void test_old_one_is_refused(void **state)
{
	const struct csv_msg *why;

	rig_mount(&rig, 1, 0);
	rig_mount(&rig, 2, 1);
	replace(3, NOW - 2, NOW - 1, ALL);
	expect_version(3, NOW);
	assert_string_equal(rig.error[0],
			    text("node n3 is refused: it speaks message versions %u to %u, this group %u; "
				 "install the same csvlockd there",
				 NOW - 2, NOW - 1, NOW));
	assert_string_equal(rig.error[1], rig.error[0]);
	assert_non_null(strstr(rig.error[2], text("this node's csvlockd speaks message versions %u to %u, the group %u",
						  NOW - 2, NOW - 1, NOW)));
	assert_int_equal(rig.errors, 3);
	expect_grant(1, 5, NOW);
	rig_lock(&rig, 2, csv_res(CSV_RES_INODE, 6), CSV_EX, 0);
	assert_non_null(rig_take(&rig, 2, CSV_MSG_GRANT));
	assert_false(csv_machine_quorate(rig.m[2]));

	/* Nobody mounts there, and hears why. */
	rig_hello(&rig, 3);
	why = rig_take(&rig, 3, CSV_MSG_ERROR);
	assert_non_null(why);
	assert_int_equal(why->err, CSV_PROTO);
	assert_non_null(strstr(why->text, text("versions %u to %u", NOW - 2, NOW - 1)));
	assert_true(rig.closed[2]);

	/* The right one is installed. */
	replace(3, 0, 0, ALL);
	expect_version(ALL, NOW);
	rig_mount(&rig, 3, 2);
	expect_grant(3, 7, NOW);
}

/* The same with one that is too new. Its slot, from before, has the re-attach time, and is then recovered. */
static void test_new_one_is_refused(void **state)
{
	rig_mount_all(&rig);
	rig_lock(&rig, 3, csv_res(CSV_RES_INODE, 5), CSV_EX, 0);
	replace(3, NOW + 1, NOW + 1, ALL);
	expect_version(3, NOW);
	assert_non_null(strstr(rig.error[0],
			       text("node n3 is refused: it speaks message versions %u, this group %u", NOW + 1, NOW)));
	rig_forget(&rig);
	rig_lock(&rig, 1, csv_res(CSV_RES_INODE, 5), CSV_EX, 0);
	assert_null(rig_take(&rig, 1, CSV_MSG_GRANT));
	assert_null(rig_take(&rig, 1, CSV_MSG_FENCE));
	assert_int_equal(rig_view(&rig, 1).frozen, 1);
	rig_timers(&rig, 1);
	assert_int_equal(rig_obey(&rig, 1, CSV_OK), 2);
	assert_non_null(rig_take(&rig, 1, CSV_MSG_GRANT));
}

/* Who has the state decides, be it one. */
static void test_state_decides(void **state)
{
	static const uint8_t versions[RIG_NODES][2] = { { NOW, NOW + 2 }, { NOW, NOW + 1 }, { NOW, NOW } };

	rig_mount(&rig, 1, 0);
	rig_group(&rig, 1, true);
	rig_settle(&rig);
	memcpy(rig.versions, versions, sizeof(versions));
	rig.versions[1][0] = rig.versions[2][0] = NOW + 1;
	rig.versions[2][1] = NOW + 1;
	rig_restart(&rig, 2);
	rig_restart(&rig, 3);
	rig_group(&rig, ALL, false);
	rig_settle(&rig);
	expect_version(1, NOW);
	assert_int_equal(rig.errors, 4); /* two lines there, one on each of the others */
}

/* Nobody has any: the most votes decide, and of as many the higher version. */
static void test_votes_decide(void **state)
{
	static const uint8_t two_old[RIG_NODES][2] = { { NOW + 1, NOW + 2 }, { NOW, NOW }, { NOW, NOW } };
	static const uint8_t two_new[RIG_NODES][2] = { { NOW + 1, NOW + 2 }, { NOW, NOW + 2 }, { NOW, NOW } };
	static const uint8_t common[RIG_NODES][2] = { { NOW - 1, NOW }, { NOW, NOW + 2 }, { NOW - 1, NOW + 3 } };
	static const uint8_t none[RIG_NODES][2] = { { 9, 8 }, { NOW, NOW }, { NOW, NOW } };

	all_new(two_old);
	expect_version(6, NOW);
	all_new(two_new);
	expect_version(3, NOW + 2);
	all_new(common);
	expect_version(ALL, NOW);
	all_new(none); /* a range that is none */
	expect_version(6, NOW);
}

/* An operation that bears another version than the view's changes nothing but the digest of what was delivered. */
static void test_wrong_version(void **state)
{
	struct csv_actions acts = { 0 };
	struct csv_wbuf w;
	struct csv_event ev = { .type = CSV_EV_MSG, .sender = 3 };

	csv_msg_begin(&w, CSV_G_EXPEL, rig.m[0]->state.vid, 1);
	csv_put32(&w, 2);
	for (unsigned version = NOW + 2; version-- > NOW;) {
		w.data[CSV_GROUP_VERSION_OFF] = (uint8_t)version;
		ev.data = w.data;
		ev.len = w.len;
		csv_machine_step(rig.m[0], &ev, &acts);
		assert_int_equal(csv_is_expelled(&rig.m[0]->state, 2), version == NOW);
	}
	csv_wbuf_free(&w);
	csv_actions_free(&acts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_upgrade, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_waiting_operation, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_old_one_is_refused, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_new_one_is_refused, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_state_decides, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_votes_decide, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_wrong_version, open_three, close_rig),
	};

	return cmocka_run_group_tests_name("versions", tests, NULL, NULL);
}
