/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Locks and byte ranges of csvlockd's machine, step by step, in one view. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/machine_rig.h"

#define INODE(n) csv_res(CSV_RES_INODE, n)

static struct rig rig;

static int open_two(void **state)
{
	rig_open(&rig, 2);
	rig_mount(&rig, 1, 0);
	rig_mount(&rig, 2, 1);
	rig_forget(&rig);
	return 0;
}

static int close_rig(void **state)
{
	assert_true(rig_same(&rig, (1u << rig.nnodes) - 1));
	rig_close(&rig);
	return 0;
}

static void test_grant(void **state)
{
	uint64_t seq = rig_lock(&rig, 1, INODE(5), CSV_EX, 0);
	const struct csv_msg *msg = rig_take(&rig, 1, CSV_MSG_GRANT);

	assert_non_null(msg);
	assert_int_equal(msg->seq, seq);
	assert_int_equal(msg->lock.res_id, 5);
	assert_int_equal(msg->lock.mode, CSV_EX);
	assert_null(rig_take(&rig, 2, CSV_MSG_GRANT));
}

static void test_bast_then_grant(void **state)
{
	rig_lock(&rig, 1, INODE(5), CSV_EX, 0);
	rig_lock(&rig, 2, INODE(5), CSV_PR, 0);
	assert_null(rig_take(&rig, 2, CSV_MSG_GRANT));
	assert_int_equal(rig_take(&rig, 1, CSV_MSG_BAST)->lock.mode, CSV_PR);
	assert_null(rig_take(&rig, 1, CSV_MSG_BAST));
	rig_unlock(&rig, 1, INODE(5), CSV_PR);
	assert_int_equal(rig_take(&rig, 2, CSV_MSG_GRANT)->lock.mode, CSV_PR);
	assert_null(rig_take(&rig, 1, CSV_MSG_BAST));
}

/* One BAST a conflict, another for a stronger want, and again if a lower mode still conflicts. */
static void test_bast_again(void **state)
{
	rig_close(&rig);
	rig_open(&rig, 3);
	for (unsigned n = 1; n <= 3; n++)
		rig_mount(&rig, n, n);
	rig_forget(&rig);
	rig_lock(&rig, 1, INODE(5), CSV_EX, 0);
	rig_lock(&rig, 2, INODE(5), CSV_PR, 0);
	rig_lock(&rig, 3, INODE(5), CSV_EX, 0);
	assert_int_equal(rig_take(&rig, 1, CSV_MSG_BAST)->lock.mode, CSV_PR);
	assert_int_equal(rig_take(&rig, 1, CSV_MSG_BAST)->lock.mode, CSV_EX);
	rig_unlock(&rig, 1, INODE(5), CSV_PR);
	assert_non_null(rig_take(&rig, 2, CSV_MSG_GRANT));
	assert_int_equal(rig_take(&rig, 1, CSV_MSG_BAST)->lock.mode, CSV_EX);
	assert_int_equal(rig_take(&rig, 2, CSV_MSG_BAST)->lock.mode, CSV_EX);
	rig_unlock(&rig, 1, INODE(5), CSV_NL);
	assert_null(rig_take(&rig, 3, CSV_MSG_GRANT));
	rig_unlock(&rig, 2, INODE(5), CSV_NL);
	assert_non_null(rig_take(&rig, 3, CSV_MSG_GRANT));
}

static void test_noqueue_names_holder(void **state)
{
	const struct csv_msg *msg;

	rig_lock(&rig, 1, INODE(5), CSV_PR, 0);
	rig_lock(&rig, 2, INODE(5), CSV_EX, CSV_LOCKF_NOQUEUE);
	msg = rig_take(&rig, 2, CSV_MSG_DENY);
	assert_non_null(msg);
	assert_int_equal(msg->lock.holder_nodeid, 1);
	assert_int_equal(msg->lock.holder_slot, 0);
	assert_string_equal(msg->lock.holder_node, "n1");
	assert_null(rig_take(&rig, 1, CSV_MSG_BAST));
	rig_lock(&rig, 2, INODE(5), CSV_PR, CSV_LOCKF_NOQUEUE);
	assert_non_null(rig_take(&rig, 2, CSV_MSG_GRANT));
}

static void test_taken_back(void **state)
{
	rig_lock(&rig, 1, INODE(5), CSV_EX, 0);
	rig_lock(&rig, 2, INODE(5), CSV_EX, 0);
	rig_unlock(&rig, 2, INODE(5), CSV_NL);
	rig_unlock(&rig, 1, INODE(5), CSV_NL);
	assert_null(rig_take(&rig, 2, CSV_MSG_GRANT));
	rig_lock(&rig, 2, INODE(5), CSV_EX, 0);
	assert_non_null(rig_take(&rig, 2, CSV_MSG_GRANT));
}

static void test_no_upgrade_in_place(void **state)
{
	rig_lock(&rig, 1, INODE(5), CSV_PR, 0);
	rig_lock(&rig, 1, INODE(5), CSV_EX, 0);
	assert_int_equal(rig_take(&rig, 1, CSV_MSG_ERROR)->err, CSV_PROTO);
	assert_true(rig.closed[0]);
}

static void test_slot_is_one_nodes(void **state)
{
	struct csv_msg msg = { .type = CSV_MSG_ATTACH };

	rig_close(&rig);
	rig_open(&rig, 3);
	rig_mount(&rig, 1, 0);
	rig_hello(&rig, 2);
	msg.slot.slot = 0;
	msg.slot.incarnation = 7;
	rig_record(&rig, 2, &msg);
	assert_int_equal(rig_take(&rig, 2, CSV_MSG_ERROR)->err, CSV_BUSY);
	assert_null(rig_take(&rig, 2, CSV_MSG_ATTACHED));
}

static void test_view(void **state)
{
	struct csv_msg msg = { .type = CSV_MSG_DETACH };

	assert_int_equal(rig_view(&rig, 1).live, 3);
	rig_record(&rig, 2, &msg);
	assert_non_null(rig_take(&rig, 2, CSV_MSG_DONE));
	assert_int_equal(rig_take(&rig, 1, CSV_MSG_VIEW)->view.live, 1);
	assert_int_equal(rig_view(&rig, 2).out, 0);
}

/*
 * A csvfs ends right behind its DETACH, and a member that still saw its slot dirty says so in between: GONE finds both
 * the slot, out by then, and the place that DETACH has left.  The next csvfs of that node must not inherit that place,
 * with a client that is no more: what is granted to it nobody would hear of.
 */
static void test_gone_behind_detach(void **state)
{
	struct csv_msg detach = { .type = CSV_MSG_DETACH }, dirty = { .type = CSV_MSG_DIRTY };

	dirty.slot.slot = 1;
	dirty.slot.incarnation = rig_view(&rig, 1).incarnation[1];
	dirty.slot.nodeid = 2;
	rig_hang(&rig, 2);
	rig_record(&rig, 2, &detach);
	rig_record(&rig, 1, &dirty);
	rig_gone(&rig, 2);
	rig_go_on(&rig, 2);
	while (rig_obey(&rig, 1, CSV_OK))
		;
	assert_int_equal(rig_view(&rig, 1).out, 0);
	rig_hello(&rig, 2);
	rig_lock(&rig, 2, csv_res(CSV_RES_MOUNT, 0), CSV_EX, 0);
	assert_non_null(rig_take(&rig, 2, CSV_MSG_GRANT));
}

static uint64_t brl(unsigned node, uint32_t type, uint64_t handle)
{
	struct csv_msg msg = { .type = CSV_MSG_BRL_SET };

	msg.brl =
	    (struct csv_msg_brl){ .ino = 9, .type = type, .handle = handle, .owner = 4, .start = 100, .end = 100 };
	return rig_record(&rig, node, &msg);
}

static void test_ranges(void **state)
{
	struct csv_msg drop = { .type = CSV_MSG_BRL_DROP };
	const struct csv_msg *msg;

	brl(1, F_WRLCK, 11);
	assert_int_equal(rig_take(&rig, 1, CSV_MSG_BRL_RESULT)->err, CSV_OK);
	brl(2, F_RDLCK, 22);
	msg = rig_take(&rig, 2, CSV_MSG_BRL_RESULT);
	assert_int_equal(msg->err, CSV_LOCKED);
	assert_int_equal(msg->brl.nodeid, 1);
	assert_int_equal(msg->brl.type, F_WRLCK);
	drop.brl.handle = 11;
	rig_record(&rig, 1, &drop);
	brl(2, F_RDLCK, 22);
	assert_int_equal(rig_take(&rig, 2, CSV_MSG_BRL_RESULT)->err, CSV_OK);
}

/* While the volume is frozen a signal ends what waits for the thaw, and nothing else. */
static void test_ranges_cancelled(void **state)
{
	struct csv_msg cancel = { .type = CSV_MSG_BRL_CANCEL };
	const struct csv_msg *msg;
	uint64_t seq;

	rig_close(&rig);
	rig_open(&rig, 3);
	rig_mount(&rig, 1, 0);
	rig_mount(&rig, 2, 1);
	rig_gone(&rig, 2);
	seq = cancel.seq = brl(1, F_WRLCK, 11);
	assert_null(rig_take(&rig, 1, CSV_MSG_BRL_RESULT));
	rig_record(&rig, 1, &cancel);
	msg = rig_take(&rig, 1, CSV_MSG_BRL_RESULT);
	assert_non_null(msg);
	assert_int_equal(msg->err, CSV_INTR);
	assert_int_equal(msg->seq, seq);
	cancel.seq = brl(1, F_UNLCK, 11);
	rig_record(&rig, 1, &cancel);
	assert_int_equal(rig_take(&rig, 1, CSV_MSG_BRL_RESULT)->err, CSV_OK);
	while (rig_obey(&rig, 1, CSV_OK))
		;
	assert_false(rig_view(&rig, 1).frozen);
	assert_null(rig_take(&rig, 1, CSV_MSG_BRL_RESULT));
	cancel.seq = brl(1, F_WRLCK, 12);
	assert_int_equal(rig_take(&rig, 1, CSV_MSG_BRL_RESULT)->err, CSV_OK);
	rig_record(&rig, 1, &cancel); /* too late */
	assert_null(rig_take(&rig, 1, CSV_MSG_BRL_RESULT));
}

static void declare_range(uint32_t type, uint64_t handle, enum csv_msg_type kind, bool declare)
{
	struct csv_msg msg = { .type = kind };

	msg.brl =
	    (struct csv_msg_brl){ .ino = 9, .type = type, .handle = handle, .owner = 5, .start = 100, .end = 100 };
	msg.brl.declare = declare;
	rig_record(&rig, 2, &msg);
}

/* Node 2's csvlockd is new, its csvfs declares. */
static void reattach(void)
{
	rig_restart(&rig, 2);
	rig_group(&rig, 1 | 4, false);
	rig_settle(&rig);
	rig_group(&rig, 7, false);
	rig_settle(&rig);
	rig_hello(&rig, 2);
	rig_record(&rig, 2, &(struct csv_msg){ .type = CSV_MSG_REATTACH, .slot = { .slot = 1, .incarnation = 1 } });
}

/* Only what stands can be declared: a question or a request among it would become a lock that nobody has. */
static void test_ranges_declared(void **state)
{
	rig_close(&rig);
	rig_open(&rig, 3);
	rig_mount(&rig, 1, 0);
	rig_mount(&rig, 2, 1);
	reattach();
	declare_range(F_WRLCK, 22, CSV_MSG_BRL_SET, true);
	rig_record(&rig, 2, &(struct csv_msg){ .type = CSV_MSG_DECLARED });
	assert_non_null(rig_take(&rig, 2, CSV_MSG_ATTACHED));
	assert_null(rig_take(&rig, 2, CSV_MSG_BRL_RESULT));
	brl(1, F_RDLCK, 11);
	assert_int_equal(rig_take(&rig, 1, CSV_MSG_BRL_RESULT)->err, CSV_LOCKED);
	reattach();
	declare_range(F_WRLCK, 22, CSV_MSG_BRL_TEST, false);
	assert_int_equal(rig_take(&rig, 2, CSV_MSG_ERROR)->err, CSV_PROTO);
	assert_true(rig.closed[1]);
	reattach();
	declare_range(F_WRLCK, 22, CSV_MSG_BRL_SET, false);
	assert_int_equal(rig_take(&rig, 2, CSV_MSG_ERROR)->err, CSV_PROTO);
	assert_true(rig.closed[1]);
}

static void test_malformed(void **state)
{
	uint64_t digest = csv_machine_digest(rig.m[0]);
	uint8_t junk[64];

	rig_send_raw(&rig, 2, "x", 1);
	assert_int_equal(rig.errors, 2);
	for (unsigned kind = 0; kind < 256; kind++) {
		memset(junk, 0xee, sizeof(junk));
		memcpy(junk, "CSVM\x01", 5);
		junk[5] = (uint8_t)kind;
		rig_send_raw(&rig, 2, junk, sizeof(junk));
	}
	assert_true(csv_machine_digest(rig.m[0]) == digest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_grant, open_two, close_rig),
		cmocka_unit_test_setup_teardown(test_bast_then_grant, open_two, close_rig),
		cmocka_unit_test_setup_teardown(test_bast_again, open_two, close_rig),
		cmocka_unit_test_setup_teardown(test_noqueue_names_holder, open_two, close_rig),
		cmocka_unit_test_setup_teardown(test_taken_back, open_two, close_rig),
		cmocka_unit_test_setup_teardown(test_no_upgrade_in_place, open_two, close_rig),
		cmocka_unit_test_setup_teardown(test_slot_is_one_nodes, open_two, close_rig),
		cmocka_unit_test_setup_teardown(test_view, open_two, close_rig),
		cmocka_unit_test_setup_teardown(test_gone_behind_detach, open_two, close_rig),
		cmocka_unit_test_setup_teardown(test_ranges, open_two, close_rig),
		cmocka_unit_test_setup_teardown(test_ranges_cancelled, open_two, close_rig),
		cmocka_unit_test_setup_teardown(test_ranges_declared, open_two, close_rig),
		cmocka_unit_test_setup_teardown(test_malformed, open_two, close_rig),
	};

	return cmocka_run_group_tests_name("machine: locks", tests, NULL, NULL);
}
