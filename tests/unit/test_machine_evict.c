/* SPDX-License-Identifier: GPL-2.0-or-later */
/* L5: members whose csvlockd stands still are evicted by a quorum, and by nobody less. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lockd/core/core.h"
#include "tests/unit/machine_rig.h"

#define INODE(n) csv_res(CSV_RES_INODE, n)

static struct rig rig;

static int open_three(void **state)
{
	rig_open_beating(&rig, 3);
	rig_mount(&rig, 1, 0);
	rig_mount(&rig, 3, 2);
	rig_forget(&rig);
	return 0;
}

static int close_rig(void **state)
{
	rig_close(&rig);
	return 0;
}

/* So many beats of these nodes that they call anyone silent whom they do not hear. */
static void beats(unsigned mask)
{
	for (unsigned i = 0; i < RIG_SILENT; i++) {
		for (unsigned n = 1; n <= 3; n++) {
			if (mask >> (n - 1) & 1)
				rig_timers(&rig, n);
		}
	}
}

static unsigned members(unsigned node)
{
	uint32_t ids[CSV_NODES_MAX];
	unsigned n = csv_machine_members(rig.m[node - 1], ids), mask = 0;

	while (n)
		mask |= 1u << (ids[--n] - 1);
	return mask;
}

static void vote(unsigned from, uint32_t accused, uint64_t name)
{
	struct csv_wbuf w;

	csv_msg_begin(&w, CSV_G_VOTE, name, 0);
	csv_put32(&w, accused);
	rig_send_raw(&rig, from, w.data, w.len);
	csv_wbuf_free(&w);
}

/* The others go on; its slot is fenced and replayed; it finds the same when it wakes. */
static void test_evicted(void **state)
{
	rig_lock(&rig, 3, INODE(5), CSV_EX, 0);
	rig_hang(&rig, 3);
	rig_lock(&rig, 1, INODE(5), CSV_EX, 0);
	rig_forget(&rig);
	beats(3);
	assert_int_equal(members(1), 3);
	assert_int_equal(members(2), 3);
	assert_true(csv_machine_formed(rig.m[0]));
	assert_int_equal(rig_view(&rig, 1).out, 4);
	assert_null(rig_take(&rig, 1, CSV_MSG_GRANT));
	assert_int_equal(rig_obey(&rig, 1, CSV_OK), 2);
	assert_int_equal(rig_take(&rig, 1, CSV_MSG_GRANT)->lock.res_id, 5);
	assert_int_equal(rig_view(&rig, 1).frozen, 0);
	assert_true(rig_same(&rig, 3));
	assert_false(rig.evicted[2]);
	rig_go_on(&rig, 3);
	assert_true(rig.evicted[2]);
	assert_false(csv_machine_formed(rig.m[2]));
	assert_null(rig_take(&rig, 3, CSV_MSG_GRANT));
}

/* It says nothing more that counts, and comes back as one that has no state. */
static void test_comes_back(void **state)
{
	uint64_t before;

	rig_hang(&rig, 3);
	beats(3);
	rig_obey(&rig, 1, CSV_OK);
	rig_go_on(&rig, 3);
	before = csv_machine_digest(rig.m[0]);
	rig_lock(&rig, 3, INODE(9), CSV_EX, 0);
	rig_timers(&rig, 3);
	assert_int_equal(csv_machine_digest(rig.m[0]), before);
	rig_restart(&rig, 3);
	rig_group(&rig, 3, false);
	rig_settle(&rig);
	rig_group(&rig, 7, false);
	rig_settle(&rig);
	assert_int_equal(members(1), 7);
	assert_true(csv_machine_formed(rig.m[2]));
	assert_true(rig_same(&rig, 7));
	rig_hello(&rig, 3);
	rig_record(&rig, 3, &(struct csv_msg){ .type = CSV_MSG_REATTACH, .slot = { .slot = 2, .incarnation = 1 } });
	rig_record(&rig, 3, &(struct csv_msg){ .type = CSV_MSG_DECLARED });
	assert_non_null(rig_take(&rig, 3, CSV_MSG_FENCED));
	beats(7);
	assert_int_equal(members(1), 7);
}

static void test_one_vote_is_not_enough(void **state)
{
	rig_hang(&rig, 3);
	beats(1);
	beats(1);
	assert_int_equal(members(1), 7);
	assert_int_equal(members(2), 7);
	rig_timers(&rig, 2); /* it has not listened for long enough yet */
	assert_int_equal(members(1), 7);
	beats(2);
	assert_int_equal(members(1), 3);
}

/* One of three cannot put the second out, however long it is silent. */
static void test_no_quorum(void **state)
{
	rig_group(&rig, 5, true);
	rig_settle(&rig);
	rig_hang(&rig, 3);
	beats(1);
	beats(1);
	assert_int_equal(members(1), 5);
}

/* Who stood still itself has nobody to blame when it wakes. */
static void test_sleeper_blames_nobody(void **state)
{
	rig_hang(&rig, 3);
	beats(1);
	rig_go_on(&rig, 3);
	rig_timers(&rig, 3);
	assert_false(rig.m[2]->against[0] & 4);
	assert_false(rig.m[2]->against[1] & 4);
	beats(7);
	assert_int_equal(members(3), 7);
}

/* A message takes all votes back; those that come later begin again. */
static void test_sign_of_life(void **state)
{
	uint64_t view = rig.m[0]->start;

	vote(1, 3, view);
	assert_int_equal(rig.m[1]->against[2], 1);
	rig_timers(&rig, 3);
	assert_int_equal(rig.m[1]->against[2], 0);
	vote(2, 3, view);
	assert_int_equal(members(1), 7);
	vote(1, 3, view);
	assert_int_equal(members(1), 3);
	assert_int_equal(members(2), 3);
	assert_true(rig.evicted[2]);
}

/* The order decides: the votes of the one that is out first count no more, nor do those under another name. */
static void test_two_accuse_each_other(void **state)
{
	uint64_t view = rig.m[0]->start;

	vote(3, 1, view - 1);
	vote(2, 1, view);
	assert_int_equal(members(2), 7);
	vote(1, 1, view); /* nobody can help to put itself out, it only shows that it lives */
	assert_int_equal(rig.m[1]->against[0], 0);
	vote(3, 1, view);
	rig_hang(&rig, 1);
	vote(1, 3, view); /* crosses the one that decides */
	vote(3, 1, view);
	vote(2, 1, view);
	assert_int_equal(members(2), 6);
	vote(1, 3, rig.m[1]->start);
	vote(2, 3, rig.m[1]->start);
	assert_int_equal(members(2), 6);
	rig_go_on(&rig, 1);
	assert_true(rig.evicted[0]);
	assert_false(rig.evicted[2]);
	assert_true(csv_machine_formed(rig.m[2]));
	assert_true(rig_same(&rig, 6));
}

/* two_node: one vote is a quorum. Both accuse the other: the first vote in the order counts, at both. */
static void test_two_nodes(void **state)
{
	uint64_t view;

	rig_close(&rig);
	rig_open_beating(&rig, 2);
	view = rig.m[0]->start;
	rig_hang(&rig, 2);
	vote(1, 2, view);
	vote(2, 1, view); /* was on its way already */
	assert_int_equal(members(1), 1);
	assert_true(csv_machine_formed(rig.m[0]));
	assert_true(csv_machine_quorate(rig.m[0]));
	rig_go_on(&rig, 2);
	assert_true(rig.evicted[1]);
	assert_false(rig.evicted[0]);
	assert_int_equal(members(1), 1);
}

/* The case of a configuration change while a member hangs: its HELLO does not come. */
static void test_no_hello(void **state)
{
	rig_hang(&rig, 3);
	rig_restart(&rig, 2);
	rig_group(&rig, 5, false);
	rig_settle(&rig);
	assert_false(csv_machine_formed(rig.m[0]));
	rig_group(&rig, 7, false);
	rig_settle(&rig);
	assert_false(csv_machine_formed(rig.m[0]));
	assert_false(csv_machine_formed(rig.m[1]));
	beats(3);
	assert_int_equal(members(1), 3);
	assert_true(csv_machine_formed(rig.m[0]));
	assert_true(csv_machine_formed(rig.m[1]));
	assert_true(rig_same(&rig, 3));
}

/* Another CONF makes it a member again, but it need not be waited for again. */
static void test_conf_while_it_hangs(void **state)
{
	rig_hang(&rig, 3);
	beats(3);
	rig_obey(&rig, 1, CSV_OK);
	assert_int_equal(members(1), 3);
	rig_group(&rig, 7, false);
	assert_int_equal(members(1), 7);
	rig_settle(&rig);
	assert_int_equal(members(1), 3);
	assert_true(csv_machine_formed(rig.m[0]));
	assert_int_equal(rig_view(&rig, 1).frozen, 0);
}

/* SEEN of the one that hangs is not waited for. */
static void test_attach(void **state)
{
	struct csv_msg msg = { .type = CSV_MSG_ATTACH, .slot = { .slot = 1, .incarnation = 1, .node = "n2" } };

	rig_hang(&rig, 3);
	rig_hello(&rig, 2);
	rig_lock(&rig, 2, csv_res(CSV_RES_MOUNT, 0), CSV_EX, 0);
	rig_lock(&rig, 2, csv_res(CSV_RES_SLOT, 1), CSV_EX, CSV_LOCKF_NOQUEUE);
	rig_record(&rig, 2, &msg);
	assert_null(rig_take(&rig, 2, CSV_MSG_ATTACHED));
	beats(3);
	assert_non_null(rig_take(&rig, 2, CSV_MSG_ATTACHED));
}

static void test_malformed(void **state)
{
	struct csv_wbuf w;

	csv_msg_begin(&w, CSV_G_VOTE, rig.m[0]->start, 0);
	rig_send_raw(&rig, 2, w.data, w.len);
	csv_wbuf_free(&w);
	csv_msg_begin(&w, CSV_G_BEAT, 0, 1);
	csv_put8(&w, 1);
	rig_send_raw(&rig, 2, w.data, w.len);
	csv_wbuf_free(&w);
	assert_int_equal(rig.errors, 6);
	vote(2, 77, rig.m[0]->start);
	assert_int_equal(members(1), 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_evicted, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_comes_back, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_one_vote_is_not_enough, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_no_quorum, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_sleeper_blames_nobody, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_sign_of_life, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_two_accuse_each_other, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_two_nodes, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_no_hello, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_conf_while_it_hangs, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_attach, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_malformed, open_three, close_rig),
	};

	return cmocka_run_group_tests_name("machine: eviction", tests, NULL, NULL);
}
