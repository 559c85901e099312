/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Byte ranges that are waited for, in csvlockd's machine: who gets them, when, and what ends the wait. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/machine_rig.h"

static struct rig rig;

static int open_three(void **state)
{
	rig_open(&rig, 3);
	rig_mount_all(&rig);
	rig_forget(&rig);
	return 0;
}

static int close_rig(void **state)
{
	assert_true(rig_same(&rig, (1u << rig.nnodes) - 1));
	rig_close(&rig);
	return 0;
}

static uint64_t ask_at(unsigned node, uint64_t owner, uint64_t ino, uint32_t type, uint64_t start, uint64_t end,
		       enum csv_brl_waiting wait)
{
	struct csv_msg msg = { .type = CSV_MSG_BRL_SET };

	msg.brl = (struct csv_msg_brl){ .ino = ino, .type = type, .handle = owner, .owner = owner, .wait = wait };
	msg.brl.start = start;
	msg.brl.end = end;
	return rig_record(&rig, node, &msg);
}

static uint64_t ask(unsigned node, uint32_t type, enum csv_brl_waiting wait)
{
	return ask_at(node, 1, 9, type, 100, 199, wait);
}

static enum csv_err result_of(unsigned node, uint64_t seq)
{
	const struct csv_msg *msg;
	enum csv_err err;

	for (unsigned i = 0; i < rig.ngot[node - 1]; i++) {
		msg = &rig.got[node - 1][i];
		if (msg->type != CSV_MSG_BRL_RESULT || msg->seq != seq)
			continue;
		err = (enum csv_err)msg->err;
		rig.got[node - 1][i].type = 0;
		return err;
	}
	return CSV_WAIT;
}

#define ASK(expect, node, ...) assert_int_equal(result_of(node, ask(node, __VA_ARGS__)), expect)
#define ASK_AT(expect, node, ...) assert_int_equal(result_of(node, ask_at(node, __VA_ARGS__)), expect)

static void record(unsigned node, enum csv_msg_type type, uint64_t seq, uint64_t handle)
{
	struct csv_msg msg = { .type = type, .seq = seq };

	msg.brl.handle = handle;
	rig_record(&rig, node, &msg);
}

static void test_granted_when_it_goes(void **state)
{
	uint64_t a, b, c;

	ASK(CSV_OK, 1, F_WRLCK, CSV_BRL_NOWAIT);
	a = ask(2, F_RDLCK, CSV_BRL_WAIT);
	b = ask(3, F_RDLCK, CSV_BRL_WAIT_PROCESS);
	c = ask_at(3, 2, 9, F_WRLCK, 150, 150, CSV_BRL_WAIT);
	assert_int_equal(result_of(2, a), CSV_WAIT);
	ASK_AT(CSV_OK, 1, 1, 9, F_UNLCK, 100, 149, CSV_BRL_NOWAIT);
	assert_int_equal(result_of(2, a), CSV_WAIT); /* the rest is still in its way */
	ASK_AT(CSV_OK, 1, 1, 9, F_RDLCK, 100, 199, CSV_BRL_NOWAIT);
	assert_int_equal(result_of(2, a), CSV_OK);
	assert_int_equal(result_of(3, b), CSV_OK);
	assert_int_equal(result_of(3, c), CSV_WAIT);
	ASK(CSV_OK, 1, F_UNLCK, CSV_BRL_NOWAIT);
	record(2, CSV_MSG_BRL_DROP, 0, 1);
	assert_int_equal(result_of(3, c), CSV_WAIT);
	record(3, CSV_MSG_BRL_DROP, 0, 1);
	assert_int_equal(result_of(3, c), CSV_OK);
	ASK(CSV_LOCKED, 1, F_RDLCK, CSV_BRL_NOWAIT);
}

/* First come, first served, whoever asks; and who takes only a part lets the next one have the rest. */
static void test_in_order(void **state)
{
	uint64_t a, b, c;

	ASK(CSV_OK, 1, F_WRLCK, CSV_BRL_NOWAIT);
	a = ask(3, F_WRLCK, CSV_BRL_WAIT);
	b = ask(2, F_WRLCK, CSV_BRL_WAIT);
	c = ask(1, F_UNLCK, CSV_BRL_NOWAIT);
	assert_int_equal(result_of(1, c), CSV_OK);
	assert_int_equal(result_of(3, a), CSV_OK);
	assert_int_equal(result_of(2, b), CSV_WAIT);
	c = ask(1, F_WRLCK, CSV_BRL_WAIT);
	ASK_AT(CSV_OK, 3, 1, 9, F_UNLCK, 0, UINT64_MAX, CSV_BRL_NOWAIT);
	assert_int_equal(result_of(2, b), CSV_OK);
	assert_int_equal(result_of(1, c), CSV_WAIT);
}

/* Two threads of a process: the one that waits does not hold up what the other unlocks. */
static void test_owner_goes_on(void **state)
{
	uint64_t a;

	ASK_AT(CSV_OK, 2, 1, 9, F_WRLCK, 0, 9, CSV_BRL_NOWAIT);
	ASK_AT(CSV_OK, 1, 1, 9, F_WRLCK, 20, 29, CSV_BRL_NOWAIT);
	a = ask_at(1, 1, 9, F_WRLCK, 0, 9, CSV_BRL_WAIT);
	ASK_AT(CSV_OK, 1, 1, 9, F_UNLCK, 20, 29, CSV_BRL_NOWAIT);
	ASK_AT(CSV_OK, 2, 1, 9, F_WRLCK, 20, 29, CSV_BRL_NOWAIT);
	assert_int_equal(result_of(1, a), CSV_WAIT);
}

/* What a granted request makes weaker lets others in that came before it. */
static void test_grant_gives_way(void **state)
{
	uint64_t a, b;

	ASK_AT(CSV_OK, 1, 1, 9, F_WRLCK, 0, 9, CSV_BRL_NOWAIT);
	ASK_AT(CSV_OK, 2, 1, 9, F_WRLCK, 20, 29, CSV_BRL_NOWAIT);
	a = ask_at(3, 1, 9, F_RDLCK, 0, 9, CSV_BRL_WAIT);
	b = ask_at(1, 1, 9, F_RDLCK, 0, 29, CSV_BRL_WAIT);
	ASK_AT(CSV_OK, 2, 1, 9, F_UNLCK, 20, 29, CSV_BRL_NOWAIT);
	assert_int_equal(result_of(1, b), CSV_OK);
	assert_int_equal(result_of(3, a), CSV_OK);
}

static void test_cancelled(void **state)
{
	uint64_t a, b;

	ASK(CSV_OK, 1, F_WRLCK, CSV_BRL_NOWAIT);
	a = ask(2, F_WRLCK, CSV_BRL_WAIT);
	b = ask(3, F_WRLCK, CSV_BRL_WAIT);
	record(3, CSV_MSG_BRL_CANCEL, a, 0); /* not its own */
	assert_int_equal(result_of(2, a), CSV_WAIT);
	record(2, CSV_MSG_BRL_CANCEL, a, 0);
	assert_int_equal(result_of(2, a), CSV_INTR);
	ASK(CSV_OK, 1, F_UNLCK, CSV_BRL_NOWAIT);
	assert_int_equal(result_of(3, b), CSV_OK);
	record(3, CSV_MSG_BRL_CANCEL, b, 0); /* too late */
	assert_int_equal(result_of(3, b), CSV_WAIT);
	ASK(CSV_LOCKED, 2, F_WRLCK, CSV_BRL_NOWAIT);
}

/* Its file is closed while it waits. */
static void test_dropped(void **state)
{
	uint64_t a;

	ASK(CSV_OK, 1, F_WRLCK, CSV_BRL_NOWAIT);
	a = ask(2, F_WRLCK, CSV_BRL_WAIT);
	record(2, CSV_MSG_BRL_DROP, 0, 1);
	assert_int_not_equal(result_of(2, a), CSV_WAIT);
	ASK(CSV_OK, 1, F_UNLCK, CSV_BRL_NOWAIT);
	ASK(CSV_OK, 3, F_WRLCK, CSV_BRL_NOWAIT);
}

static void test_deadlock(void **state)
{
	uint64_t a;

	ASK_AT(CSV_OK, 1, 1, 8, F_WRLCK, 0, 9, CSV_BRL_NOWAIT);
	ASK_AT(CSV_OK, 2, 1, 9, F_WRLCK, 0, 9, CSV_BRL_NOWAIT);
	a = ask_at(1, 1, 9, F_RDLCK, 9, 9, CSV_BRL_WAIT_PROCESS);
	ASK_AT(CSV_WAIT, 2, 7, 8, F_WRLCK, 0, 0, CSV_BRL_WAIT_PROCESS); /* another process of that node */
	ASK_AT(CSV_DEADLK, 2, 1, 8, F_WRLCK, 0, 0, CSV_BRL_WAIT_PROCESS);
	ASK_AT(CSV_OK, 2, 1, 9, F_UNLCK, 0, 9, CSV_BRL_NOWAIT); /* it still has what it had, and gives way */
	assert_int_equal(result_of(1, a), CSV_OK);
}

/* Open files and flocks: nobody can say that nobody will give way. */
static void test_no_deadlock_of_files(void **state)
{
	ASK_AT(CSV_OK, 1, 1, 8, F_WRLCK, 0, 9, CSV_BRL_NOWAIT);
	ASK_AT(CSV_OK, 2, 1, 9, F_WRLCK, 0, 9, CSV_BRL_NOWAIT);
	ask_at(1, 1, 9, F_RDLCK, 9, 9, CSV_BRL_WAIT);
	ASK_AT(CSV_WAIT, 2, 1, 8, F_WRLCK, 0, 0, CSV_BRL_WAIT);
	ASK_AT(CSV_WAIT, 2, 1, 8, F_WRLCK, 0, 0, CSV_BRL_WAIT_PROCESS);
}

/* The cycle closes when a lock changes hands, not when somebody asks: two threads of owner 1. */
static void test_deadlock_by_a_grant(void **state)
{
	uint64_t a, b;

	ASK_AT(CSV_OK, 3, 1, 8, F_WRLCK, 0, 9, CSV_BRL_NOWAIT);
	ASK_AT(CSV_OK, 2, 1, 9, F_WRLCK, 0, 9, CSV_BRL_NOWAIT);
	a = ask_at(1, 1, 8, F_WRLCK, 0, 9, CSV_BRL_WAIT_PROCESS);
	ask_at(1, 1, 9, F_WRLCK, 0, 9, CSV_BRL_WAIT_PROCESS);
	b = ask_at(2, 1, 8, F_WRLCK, 0, 9, CSV_BRL_WAIT_PROCESS);
	assert_int_equal(result_of(2, b), CSV_WAIT);
	ASK_AT(CSV_OK, 3, 1, 8, F_UNLCK, 0, 9, CSV_BRL_NOWAIT);
	assert_int_equal(result_of(1, a), CSV_OK);
	assert_int_equal(result_of(2, b), CSV_DEADLK);
}

/* A holder's node dies: nothing before its slot is recovered, everything after. */
static void test_holder_dies(void **state)
{
	uint64_t a, b;

	ASK(CSV_OK, 3, F_WRLCK, CSV_BRL_NOWAIT);
	a = ask(1, F_RDLCK, CSV_BRL_WAIT);
	rig_gone(&rig, 3);
	b = ask(2, F_RDLCK, CSV_BRL_WAIT_PROCESS); /* nobody has looked yet what is in its way */
	assert_int_equal(result_of(1, a), CSV_WAIT);
	while (rig_obey(&rig, 1, CSV_OK) + rig_obey(&rig, 2, CSV_OK))
		;
	assert_int_equal(result_of(1, a), CSV_OK);
	assert_int_equal(result_of(2, b), CSV_OK);
}

/* A waiter's node dies: its place in the line goes with it. */
static void test_waiter_dies(void **state)
{
	uint64_t b;

	ASK(CSV_OK, 1, F_WRLCK, CSV_BRL_NOWAIT);
	ask(3, F_WRLCK, CSV_BRL_WAIT);
	b = ask(2, F_WRLCK, CSV_BRL_WAIT);
	rig_group(&rig, 3, true);
	rig_settle(&rig);
	ASK(CSV_OK, 1, F_UNLCK, CSV_BRL_NOWAIT);
	assert_int_equal(result_of(2, b), CSV_WAIT);
	while (rig_obey(&rig, 1, CSV_OK) + rig_obey(&rig, 2, CSV_OK))
		;
	assert_int_equal(result_of(2, b), CSV_OK);
	rig_group(&rig, 4, false); /* so that close_rig() may compare: a state of its own */
	rig_restart(&rig, 3);
	rig_group(&rig, 7, false);
	rig_settle(&rig);
}

/* While the volume is frozen nobody is granted what goes meanwhile; at the thaw it is, in order. */
static void test_unlocked_while_frozen(void **state)
{
	uint64_t a, b;

	ASK(CSV_OK, 1, F_WRLCK, CSV_BRL_NOWAIT);
	a = ask(2, F_WRLCK, CSV_BRL_WAIT);
	rig_gone(&rig, 3);
	b = ask_at(1, 2, 9, F_WRLCK, 100, 199, CSV_BRL_WAIT);
	ASK(CSV_OK, 1, F_UNLCK, CSV_BRL_NOWAIT);
	assert_int_equal(result_of(2, a), CSV_WAIT);
	while (rig_obey(&rig, 1, CSV_OK) + rig_obey(&rig, 2, CSV_OK))
		;
	assert_int_equal(result_of(2, a), CSV_OK);
	assert_int_equal(result_of(1, b), CSV_WAIT);
}

/* A member that gets the state from others has the line of waiters with it, and grants as they do. */
static void test_state_transfer(void **state)
{
	uint64_t a, b;

	ASK(CSV_OK, 1, F_WRLCK, CSV_BRL_NOWAIT);
	ASK_AT(CSV_OK, 2, 1, 8, F_WRLCK, 0, 9, CSV_BRL_NOWAIT);
	a = ask(2, F_WRLCK, CSV_BRL_WAIT_PROCESS);
	b = ask_at(1, 2, 9, F_WRLCK, 100, 199, CSV_BRL_WAIT);
	rig_gone(&rig, 3);
	while (rig_obey(&rig, 1, CSV_OK) + rig_obey(&rig, 2, CSV_OK))
		;
	rig_restart(&rig, 3);
	rig_group(&rig, 3, true);
	rig_settle(&rig);
	rig_group(&rig, 7, false);
	rig_settle(&rig);
	assert_true(rig_same(&rig, 7));
	ASK_AT(CSV_DEADLK, 1, 1, 8, F_WRLCK, 0, 0, CSV_BRL_WAIT_PROCESS);
	ASK_AT(CSV_OK, 1, 2, 7, F_WRLCK, 0, 0, CSV_BRL_NOWAIT);
	ASK_AT(CSV_OK, 1, 2, 9, F_WRLCK, 0, 9, CSV_BRL_NOWAIT); /* not behind what its owner waits for */
	assert_true(rig_same(&rig, 7));
	ASK(CSV_OK, 1, F_UNLCK, CSV_BRL_NOWAIT);
	assert_int_equal(result_of(2, a), CSV_OK);
	assert_int_equal(result_of(1, b), CSV_WAIT);
}

static void reattach(unsigned node, bool has)
{
	struct csv_msg msg = { .type = CSV_MSG_REATTACH, .slot = { .slot = node - 1, .incarnation = 1 } };

	rig_hello(&rig, node);
	rig_record(&rig, node, &msg);
	msg = (struct csv_msg){ .type = CSV_MSG_BRL_SET };
	msg.brl = (struct csv_msg_brl){ .ino = 9, .type = F_WRLCK, .handle = 1, .owner = 1, .start = 100, .end = 199 };
	msg.brl.declare = 1;
	if (has)
		rig_record(&rig, node, &msg);
	rig_record(&rig, node, &(struct csv_msg){ .type = CSV_MSG_DECLARED });
	assert_non_null(rig_take(&rig, node, CSV_MSG_ATTACHED));
}

/* csvlockd of a waiter ends: the request is gone with it, is asked again, and nobody has it twice. */
static void test_lockd_of_waiter_ends(void **state)
{
	uint64_t a, b;

	ASK(CSV_OK, 1, F_WRLCK, CSV_BRL_NOWAIT);
	ask(2, F_WRLCK, CSV_BRL_WAIT);
	b = ask(3, F_WRLCK, CSV_BRL_WAIT);
	rig_restart(&rig, 2);
	rig_group(&rig, 1 | 4, false);
	rig_settle(&rig);
	rig_group(&rig, 7, false);
	rig_settle(&rig);
	reattach(2, false);
	a = ask(2, F_WRLCK, CSV_BRL_WAIT);
	ASK(CSV_OK, 1, F_UNLCK, CSV_BRL_NOWAIT);
	assert_int_equal(result_of(3, b), CSV_OK);
	assert_int_equal(result_of(2, a), CSV_WAIT);
	ASK(CSV_OK, 3, F_UNLCK, CSV_BRL_NOWAIT);
	assert_int_equal(result_of(2, a), CSV_OK);
}

/* csvlockd of a holder ends and comes back: the lock stands, and is waited for. */
static void test_lockd_of_holder_ends(void **state)
{
	uint64_t b;

	ASK(CSV_OK, 2, F_WRLCK, CSV_BRL_NOWAIT);
	b = ask(3, F_WRLCK, CSV_BRL_WAIT);
	rig_restart(&rig, 2);
	rig_group(&rig, 1 | 4, false);
	rig_settle(&rig);
	rig_group(&rig, 7, false);
	rig_settle(&rig);
	reattach(2, true);
	assert_int_equal(result_of(3, b), CSV_WAIT);
	ASK(CSV_OK, 2, F_UNLCK, CSV_BRL_NOWAIT);
	assert_int_equal(result_of(3, b), CSV_OK);
}

/*
 * A node loses the group and its state, its csvfs and csvlockd live: csvlockd itself asks again for what was waited
 * for, with the cancellation that had come.
 */
static void test_other_line(void **state)
{
	uint64_t a, b;

	ASK(CSV_OK, 1, F_WRLCK, CSV_BRL_NOWAIT);
	a = ask(3, F_WRLCK, CSV_BRL_WAIT);
	b = ask_at(3, 2, 9, F_WRLCK, 100, 199, CSV_BRL_WAIT);
	rig_group(&rig, 3, false);
	rig_group(&rig, 4, false);
	rig_settle(&rig);
	record(3, CSV_MSG_BRL_CANCEL, b, 0);
	rig_group(&rig, 7, false);
	rig_settle(&rig);
	assert_int_equal(rig_view(&rig, 1).live, 7);
	assert_int_equal(result_of(3, b), CSV_INTR);
	assert_int_equal(result_of(3, a), CSV_WAIT);
	ASK(CSV_OK, 1, F_UNLCK, CSV_BRL_NOWAIT);
	assert_int_equal(result_of(3, a), CSV_OK);
}

static void test_bad_record(void **state)
{
	ask(1, F_WRLCK, (enum csv_brl_waiting)(CSV_BRL_WAIT_PROCESS + 1));
	assert_int_equal(rig_take(&rig, 1, CSV_MSG_ERROR)->err, CSV_PROTO);
	assert_true(rig.closed[0]);
}

#define T(name) cmocka_unit_test_setup_teardown(name, open_three, close_rig)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_granted_when_it_goes),
		T(test_in_order),
		T(test_owner_goes_on),
		T(test_grant_gives_way),
		T(test_cancelled),
		T(test_dropped),
		T(test_deadlock),
		T(test_no_deadlock_of_files),
		T(test_deadlock_by_a_grant),
		T(test_holder_dies),
		T(test_waiter_dies),
		T(test_unlocked_while_frozen),
		T(test_state_transfer),
		T(test_lockd_of_waiter_ends),
		T(test_lockd_of_holder_ends),
		T(test_other_line),
		T(test_bad_record),
	};

	return cmocka_run_group_tests_name("machine: waiting for ranges", tests, NULL, NULL);
}
