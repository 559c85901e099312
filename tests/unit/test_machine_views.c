/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Views, freeze, recovery, transfer and merge of csvlockd's machine, step by step. */
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

static int open_three(void **state)
{
	rig_open(&rig, 3);
	rig_mount_all(&rig);
	rig_forget(&rig);
	return 0;
}

static int close_rig(void **state)
{
	rig_close(&rig);
	return 0;
}

/* L1: nothing is granted from the CONF on, until all that are out are fenced and replayed; then the waiter gets it. */
static void test_freeze_and_recover(void **state)
{
	rig_lock(&rig, 3, INODE(5), CSV_EX, 0);
	rig_group(&rig, 3, true);
	rig_settle(&rig);
	assert_int_equal(rig_view(&rig, 1).out, 4);
	rig_lock(&rig, 2, INODE(5), CSV_EX, 0);
	rig_lock(&rig, 2, INODE(6), CSV_EX, 0); /* nobody has it, and yet */
	assert_null(rig_take(&rig, 2, CSV_MSG_GRANT));
	rig_unlock(&rig, 2, csv_res(CSV_RES_SLOT, 1), CSV_NL); /* is taken all the same */

	const struct csv_msg *order = rig_take(&rig, 1, CSV_MSG_FENCE);

	assert_non_null(order);
	assert_int_equal(order->slot.slot, 2);
	assert_int_equal(order->slot.pr_key, 103);
	assert_null(rig_take(&rig, 1, CSV_MSG_REPLAY));
	assert_null(rig_take(&rig, 2, CSV_MSG_FENCE));

	struct csv_msg done = { .type = CSV_MSG_FENCE_DONE, .seq = order->seq };

	done.fence.slot = 2;
	done.fence.incarnation = 1;
	rig_record(&rig, 1, &done);
	assert_null(rig_take(&rig, 2, CSV_MSG_GRANT));
	assert_int_equal(rig_obey(&rig, 1, CSV_OK), 1);
	assert_int_equal(rig_take(&rig, 2, CSV_MSG_GRANT)->lock.res_id, 5);
	assert_int_equal(rig_take(&rig, 2, CSV_MSG_GRANT)->lock.res_id, 6);
	assert_int_equal(rig_view(&rig, 2).out, 0);
	assert_true(rig_same(&rig, 3));
}

static enum csv_err range(unsigned node)
{
	struct csv_msg msg = { .type = CSV_MSG_BRL_SET };
	const struct csv_msg *result;

	msg.brl = (struct csv_msg_brl){ .ino = 9, .type = F_WRLCK, .handle = 11, .owner = 4, .start = 100, .end = 100 };
	rig_record(&rig, node, &msg);
	result = rig_take(&rig, node, CSV_MSG_BRL_RESULT);
	return result ? (enum csv_err)result->err : CSV_WAIT;
}

/*
 * A handoff from node 3, which dies before it unlocks anything: it has dropped its handle before it said COMMITTED, so
 * node 2 is not refused while nobody knows of the death, and what it got stays when the slot is recovered.
 */
static void test_ranges_of_a_dead_source(void **state)
{
	struct csv_msg drop = { .type = CSV_MSG_BRL_DROP };

	drop.brl.handle = 11;
	assert_int_equal(range(3), CSV_OK);
	assert_int_equal(range(2), CSV_LOCKED);
	rig_record(&rig, 3, &drop);
	assert_int_equal(range(2), CSV_OK);
	rig_group(&rig, 3, true);
	rig_settle(&rig);
	rig_obey(&rig, 1, CSV_OK);
	rig_obey(&rig, 1, CSV_OK);
	assert_int_equal(rig_view(&rig, 1).out, 0);
	assert_int_equal(range(1), CSV_LOCKED);
}

static void test_no_quorum_no_grant(void **state)
{
	rig_group(&rig, 1, true);
	rig_settle(&rig);
	rig_lock(&rig, 1, INODE(5), CSV_PR, 0);
	assert_null(rig_take(&rig, 1, CSV_MSG_GRANT));
	assert_null(rig_take(&rig, 1, CSV_MSG_FENCE));
	assert_false(csv_machine_quorate(rig.m[0]));
}

/* F4: the recoverer goes during replay; the next one fences both, and replays neither before. */
static void test_recoverer_dies(void **state)
{
	rig_close(&rig);
	rig_open(&rig, 3);
	rig_mount(&rig, 1, 5);
	rig_mount(&rig, 2, 0);
	rig_mount(&rig, 3, 7);
	rig_forget(&rig);
	rig_gone(&rig, 1); /* csvfs crash: its own node stays */
	assert_non_null(rig_take(&rig, 2, CSV_MSG_FENCE));

	struct csv_msg done = { .type = CSV_MSG_FENCE_DONE };

	done.fence.slot = 5;
	done.fence.incarnation = 1;
	rig_record(&rig, 2, &done);
	assert_non_null(rig_take(&rig, 2, CSV_MSG_REPLAY));
	rig_gone(&rig, 2);
	assert_int_equal(rig_take(&rig, 3, CSV_MSG_FENCE)->slot.slot, 0);
	assert_int_equal(rig_take(&rig, 3, CSV_MSG_FENCE)->slot.slot, 5);
	rig_record(&rig, 3, &(struct csv_msg){ .type = CSV_MSG_FENCE_DONE, .fence = { .slot = 5, .incarnation = 1 } });
	assert_null(rig_take(&rig, 3, CSV_MSG_REPLAY));
	rig_record(&rig, 3, &(struct csv_msg){ .type = CSV_MSG_FENCE_DONE, .fence = { .slot = 0, .incarnation = 1 } });
	assert_int_equal(rig_obey(&rig, 3, CSV_OK), 2);
	assert_int_equal(rig_view(&rig, 3).frozen, 0);
}

/* A fence that fails is tried by the next live mount, after a while; who finds itself fenced is out. */
static void test_fence_fails(void **state)
{
	rig_gone(&rig, 3);
	assert_int_equal(rig_obey(&rig, 1, CSV_UNREACH), 1);
	assert_null(rig_take(&rig, 2, CSV_MSG_FENCE));
	rig_timers(&rig, 1);
	assert_int_equal(rig_take(&rig, 2, CSV_MSG_FENCE)->slot.slot, 2);
	rig_record(&rig, 2,
		   &(struct csv_msg){
		       .type = CSV_MSG_FENCE_DONE, .err = CSV_FENCED, .fence = { .slot = 2, .incarnation = 1 } });
	assert_non_null(rig_take(&rig, 2, CSV_MSG_FENCED));
	assert_int_equal(rig_view(&rig, 1).out, 6);
	assert_int_equal(rig_obey(&rig, 1, CSV_OK), 4);
	assert_int_equal(rig_view(&rig, 1).out, 0);
}

/* The order of this kind that node has got; it is to be for this slot. Answers it. */
static void answer_order(unsigned node, enum csv_msg_type type, uint32_t slot, enum csv_err err)
{
	const struct csv_msg *order = rig_take(&rig, node, type);
	struct csv_msg msg = { .type = type == CSV_MSG_FENCE ? CSV_MSG_FENCE_DONE : CSV_MSG_REPLAY_DONE, .err = err };

	assert_non_null(order);
	assert_int_equal(order->slot.slot, slot);
	msg.fence.slot = slot; /* where replay has it too */
	msg.fence.incarnation = order->slot.incarnation;
	rig_record(&rig, node, &msg);
}

/* What cannot be replayed holds nobody else up. It stays, is tried again now and then, and the reason is told once. */
static void test_one_journal_is_damaged(void **state)
{
	unsigned errors = rig.errors;

	rig_gone(&rig, 2);
	rig_gone(&rig, 3);
	answer_order(1, CSV_MSG_FENCE, 1, CSV_OK);
	answer_order(1, CSV_MSG_FENCE, 2, CSV_OK);
	answer_order(1, CSV_MSG_REPLAY, 1, CSV_GAP);
	answer_order(1, CSV_MSG_REPLAY, 2, CSV_OK);
	assert_int_equal(rig_view(&rig, 1).out, 2);
	assert_int_equal(rig_view(&rig, 1).frozen, 1);
	assert_string_equal(rig_view(&rig, 1).waits_for,
			    "node n2 (slot 1), which cannot be replayed: gap in the journal");
	assert_int_equal(rig.errors - errors, 3); /* each member tells it once */
	for (unsigned tries = 0; tries < 3; tries++) {
		assert_null(rig_take(&rig, 1, CSV_MSG_REPLAY));
		rig_timers(&rig, 1);
		assert_null(rig_take(&rig, 1, CSV_MSG_FENCE)); /* it stands */
		assert_non_null(strstr(rig_view(&rig, 1).waits_for, "cannot be replayed"));
		answer_order(1, CSV_MSG_REPLAY, 1, CSV_GAP);
	}
	assert_int_equal(rig.errors - errors, 3);
	rig_timers(&rig, 1);
	answer_order(1, CSV_MSG_REPLAY, 1, CSV_IO); /* something new */
	assert_int_equal(rig.errors - errors, 6);
	rig_timers(&rig, 1);
	answer_order(1, CSV_MSG_REPLAY, 1, CSV_OK);
	assert_int_equal(rig_view(&rig, 1).frozen, 0);
	assert_string_equal(rig_view(&rig, 1).waits_for, "");
	assert_true(rig_same(&rig, 7));
}

/* A slot that goes out while another is stuck is recovered at once, and in a common round before it. */
static void test_stuck_slot_goes_last(void **state)
{
	rig_gone(&rig, 1);
	answer_order(2, CSV_MSG_FENCE, 0, CSV_OK);
	answer_order(2, CSV_MSG_REPLAY, 0, CSV_CHECKSUM);
	rig_timers(&rig, 1);
	assert_non_null(rig_take(&rig, 3, CSV_MSG_REPLAY)); /* the other one tries */
	rig_gone(&rig, 3);				    /* and dies of it: now all are fenced anew (F4) */
	answer_order(2, CSV_MSG_FENCE, 0, CSV_OK);
	assert_null(rig_take(&rig, 2, CSV_MSG_REPLAY));
	answer_order(2, CSV_MSG_FENCE, 2, CSV_OK);
	answer_order(2, CSV_MSG_REPLAY, 2, CSV_OK);
	answer_order(2, CSV_MSG_REPLAY, 0, CSV_CHECKSUM);
	assert_int_equal(rig_view(&rig, 1).out, 1);
	assert_null(rig_take(&rig, 2, CSV_MSG_REPLAY));
}

/* Nobody is left: the next mounter gets `mount` and a slot, and recovers. */
static void test_last_mount_crashes(void **state)
{
	rig_gone(&rig, 1);
	rig_gone(&rig, 2);
	rig_gone(&rig, 3);
	rig_forget(&rig);
	rig_hello(&rig, 2);
	rig_lock(&rig, 2, csv_res(CSV_RES_MOUNT, 0), CSV_EX, 0);
	assert_non_null(rig_take(&rig, 2, CSV_MSG_GRANT));
	rig_lock(&rig, 2, csv_res(CSV_RES_SLOT, 4), CSV_EX, CSV_LOCKF_NOQUEUE);
	assert_non_null(rig_take(&rig, 2, CSV_MSG_GRANT));
	rig_record(&rig, 2, &(struct csv_msg){ .type = CSV_MSG_ATTACH, .slot = { .slot = 4, .incarnation = 1 } });
	assert_int_equal(rig_take(&rig, 2, CSV_MSG_ATTACHED)->view.out, 7);
	assert_int_equal(rig_obey(&rig, 2, CSV_OK), 6);
	rig_lock(&rig, 2, INODE(1), CSV_EX, 0);
	assert_non_null(rig_take(&rig, 2, CSV_MSG_GRANT));
}

/* The same, and no slot is clean: the mounter has recovered one itself and attaches to its next life. */
static void test_no_clean_slot(void **state)
{
	rig_gone(&rig, 1);
	rig_gone(&rig, 2);
	rig_gone(&rig, 3);
	rig_forget(&rig);
	rig_hello(&rig, 2);
	rig_lock(&rig, 2, csv_res(CSV_RES_MOUNT, 0), CSV_EX, 0);
	rig_lock(&rig, 2, csv_res(CSV_RES_SLOT, 1), CSV_EX, CSV_LOCKF_NOQUEUE);
	assert_non_null(rig_take(&rig, 2, CSV_MSG_GRANT));
	assert_non_null(rig_take(&rig, 2, CSV_MSG_GRANT));
	rig_record(&rig, 2, &(struct csv_msg){ .type = CSV_MSG_ATTACH, .slot = { .slot = 1, .incarnation = 1 } });
	assert_int_equal(rig_take(&rig, 2, CSV_MSG_ERROR)->err, CSV_BUSY);
	rig_record(&rig, 2, &(struct csv_msg){ .type = CSV_MSG_ATTACH, .slot = { .slot = 1, .incarnation = 2 } });
	assert_int_equal(rig_take(&rig, 2, CSV_MSG_ATTACHED)->view.out, 5);
	assert_int_equal(rig_obey(&rig, 2, CSV_OK), 4);
	rig_lock(&rig, 2, INODE(1), CSV_EX, 0);
	assert_non_null(rig_take(&rig, 2, CSV_MSG_GRANT));
}

/* L3: csvlockd restarts while its node lives; its csvfs declares, what it does not declare is dropped. */
static void test_reattach(void **state)
{
	rig_lock(&rig, 3, INODE(5), CSV_EX, 0);
	rig_lock(&rig, 3, INODE(6), CSV_EX, 0);
	rig_restart(&rig, 3);
	rig_group(&rig, 3, false);
	rig_settle(&rig);
	assert_int_equal(rig_view(&rig, 1).frozen, 1);
	assert_null(rig_take(&rig, 1, CSV_MSG_FENCE));
	rig_lock(&rig, 2, INODE(6), CSV_EX, 0);
	rig_group(&rig, 7, false);
	rig_settle(&rig);
	assert_true(csv_machine_formed(rig.m[2]));
	rig_hello(&rig, 3);
	rig_record(&rig, 3, &(struct csv_msg){ .type = CSV_MSG_REATTACH, .slot = { .slot = 2, .incarnation = 1 } });
	rig_lock(&rig, 3, INODE(5), CSV_EX, CSV_LOCKF_DECLARE);
	assert_null(rig_take(&rig, 2, CSV_MSG_GRANT));
	rig_record(&rig, 3, &(struct csv_msg){ .type = CSV_MSG_DECLARED });
	assert_non_null(rig_take(&rig, 3, CSV_MSG_ATTACHED));
	assert_int_equal(rig_take(&rig, 2, CSV_MSG_GRANT)->lock.res_id, 6);
	rig_lock(&rig, 1, INODE(5), CSV_PR, 0);
	assert_non_null(rig_take(&rig, 3, CSV_MSG_BAST));
	assert_true(rig_same(&rig, 7));
}

/* First its csvlockd ends, then its node: nobody can come back, so the re-attach time need not run out. */
static void test_node_follows_its_csvlockd(void **state)
{
	rig_restart(&rig, 3);
	rig_group(&rig, 3, false);
	rig_settle(&rig);
	assert_null(rig_take(&rig, 1, CSV_MSG_FENCE));
	rig_down(&rig, 4, 3);
	assert_non_null(rig_take(&rig, 1, CSV_MSG_FENCE));
	assert_true(rig_same(&rig, 3));
}

/* The same while no view is formed. */
static void test_node_follows_at_once(void **state)
{
	rig_restart(&rig, 3);
	rig_group(&rig, 3, false);
	rig_down(&rig, 4, 3);
	assert_non_null(rig_take(&rig, 1, CSV_MSG_FENCE));
}

/* Of a member in the configuration the CONF tells; a node that comes back is none that is gone. */
static void test_node_goes_and_comes(void **state)
{
	rig_down(&rig, 4, 7);
	assert_int_equal(rig_view(&rig, 1).frozen, 0);
	rig_restart(&rig, 3);
	rig_group(&rig, 3, false);
	rig_settle(&rig);
	assert_null(rig_take(&rig, 1, CSV_MSG_FENCE)); /* that its csvlockd ended is no reason */
}

static void test_reattach_too_late(void **state)
{
	rig_restart(&rig, 3);
	rig_group(&rig, 3, false);
	rig_settle(&rig);
	rig_timers(&rig, 2);
	assert_non_null(rig_take(&rig, 1, CSV_MSG_FENCE));
	rig_group(&rig, 7, false);
	rig_settle(&rig);
	rig_hello(&rig, 3);
	rig_record(&rig, 3, &(struct csv_msg){ .type = CSV_MSG_REATTACH, .slot = { .slot = 2, .incarnation = 1 } });
	rig_record(&rig, 3, &(struct csv_msg){ .type = CSV_MSG_DECLARED });
	assert_non_null(rig_take(&rig, 3, CSV_MSG_FENCED));
}

static void test_joiner_gets_state(void **state)
{
	/* More than one piece of state. */
	for (uint64_t i = 1; i < 15000; i++) {
		rig_lock(&rig, 1, INODE(i), CSV_PR, 0);
		rig_forget(&rig);
	}
	rig_restart(&rig, 3);
	rig_group(&rig, 3, true);
	rig_settle(&rig);
	rig_group(&rig, 7, false);
	rig_settle(&rig);
	assert_true(csv_machine_formed(rig.m[2]));
	assert_true(rig_same(&rig, 7));
	assert_int_equal(rig_view(&rig, 3).live, 3);
}

/* L9: a node that was frozen wakes, sees the others leave and merges back: its state is worth nothing. */
static void test_merge(void **state)
{
	rig_lock(&rig, 3, INODE(5), CSV_EX, 0);
	rig_forget(&rig);
	rig_group(&rig, 3, true);
	rig_settle(&rig);
	rig_lock(&rig, 2, INODE(5), CSV_EX, 0);
	assert_int_equal(rig_obey(&rig, 1, CSV_OK), 2);
	assert_non_null(rig_take(&rig, 2, CSV_MSG_GRANT));
	rig_group(&rig, 4, true);
	rig_settle(&rig);
	assert_null(rig_take(&rig, 3, CSV_MSG_FENCED));
	rig_group(&rig, 7, false);
	rig_settle(&rig);
	assert_non_null(rig_take(&rig, 3, CSV_MSG_FENCED));
	assert_true(rig_same(&rig, 7));
	assert_int_equal(rig_view(&rig, 3).live, 3);
	rig_lock(&rig, 3, INODE(5), CSV_EX, 0);
	assert_int_equal(rig_take(&rig, 3, CSV_MSG_ERROR)->err, CSV_FENCED);
}

/* Nobody was quorate: nothing was granted, nobody fenced; all declare and go on, and somebody looks at the disk. */
static void test_merge_without_quorum(void **state)
{
	rig_lock(&rig, 3, INODE(5), CSV_EX, 0);
	rig_forget(&rig);
	for (unsigned n = 0; n < 3; n++)
		rig_group(&rig, 1u << n, true);
	rig_settle(&rig);
	rig_lock(&rig, 1, INODE(5), CSV_PR, 0);
	rig_group(&rig, 7, false);
	rig_settle(&rig);
	for (unsigned n = 1; n <= 3; n++)
		assert_null(rig_take(&rig, n, CSV_MSG_FENCED));
	assert_int_equal(rig_view(&rig, 2).live, 7);
	assert_int_equal(rig_view(&rig, 2).frozen, 1);
	rig_timers(&rig, 1);

	const struct csv_msg *look = NULL;
	unsigned who = 0;

	while (!look && ++who <= 3)
		look = rig_take(&rig, who, CSV_MSG_DIRTY);
	assert_non_null(look);
	rig_record(&rig, who, &(struct csv_msg){ .type = CSV_MSG_DONE, .seq = look->seq });
	assert_int_equal(rig_view(&rig, 2).frozen, 0);
	assert_non_null(rig_take(&rig, 3, CSV_MSG_BAST));
	rig_unlock(&rig, 3, INODE(5), CSV_PR);
	assert_non_null(rig_take(&rig, 1, CSV_MSG_GRANT));
	assert_true(rig_same(&rig, 7));
}

/* Nobody has the state any more: all three have lost it. */
static void lose_all_state(void)
{
	for (unsigned n = 0; n < 3; n++)
		rig_group(&rig, 1u << n, true);
	rig_settle(&rig);
	rig_group(&rig, 7, false);
	rig_settle(&rig);
	rig_timers(&rig, 1);
}

/* Who was asked to compare the slot table; its number in *seq. 0: nobody. */
static unsigned who_looks(uint64_t *seq)
{
	for (unsigned n = 1; n <= 3; n++) {
		const struct csv_msg *look = rig_take(&rig, n, CSV_MSG_DIRTY);

		if (!look)
			continue;
		*seq = look->seq;
		return n;
	}
	return 0;
}

/* A mount cannot read the slot table: the next one is asked, round and round, and the view says why it takes so long.
 */
static void test_verify_fails(void **state)
{
	unsigned first, who;
	uint64_t seq = 0;

	lose_all_state();
	first = who = who_looks(&seq);
	assert_int_not_equal(who, 0);
	for (unsigned tries = 0; tries < 4; tries++) {
		unsigned before = who;

		rig_record(&rig, who,
			   &(struct csv_msg){ .type = CSV_MSG_DONE, .seq = seq, .err = tries ? CSV_IO : CSV_CHECKSUM });
		assert_int_equal(rig_view(&rig, 2).frozen, 1);
		assert_non_null(strstr(rig_view(&rig, 2).waits_for, tries ? "input/output error" : "bad checksum"));
		assert_int_equal(who_looks(&seq), 0); /* not at once */
		rig_timers(&rig, 1);
		who = who_looks(&seq);
		assert_int_not_equal(who, 0);
		assert_int_not_equal(who, before);
		assert_true(tries != 2 || who == first);
	}
	rig_record(&rig, who, &(struct csv_msg){ .type = CSV_MSG_DONE, .seq = seq });
	assert_int_equal(rig_view(&rig, 2).frozen, 0);
	assert_string_equal(rig_view(&rig, 2).waits_for, "");
	assert_true(rig_same(&rig, 7));
}

/* It is the only one: it is asked again. */
static void test_verify_fails_alone(void **state)
{
	uint64_t seq = 0;

	rig_gone(&rig, 2);
	rig_gone(&rig, 3);
	assert_int_equal(rig_obey(&rig, 1, CSV_OK), 4);
	lose_all_state();
	for (unsigned tries = 0; tries < 3; tries++) {
		assert_int_equal(who_looks(&seq), 1);
		rig_record(&rig, 1, &(struct csv_msg){ .type = CSV_MSG_DONE, .seq = seq, .err = CSV_IO });
		rig_timers(&rig, 2);
	}
	assert_int_equal(who_looks(&seq), 1);
	rig_record(&rig, 1, &(struct csv_msg){ .type = CSV_MSG_DONE, .seq = seq });
	assert_int_equal(rig_view(&rig, 3).frozen, 0);
}

/* J6: mode NL: no; -1: there is no answer but ERROR, whose error is in *err. */
static int ask_in_use(unsigned node, uint64_t inode, enum csv_err *err)
{
	struct csv_msg ask = { .type = CSV_MSG_IN_USE };
	const struct csv_msg *got;

	ask.lock.res_type = CSV_RES_INODE;
	ask.lock.res_id = inode;
	rig_record(&rig, node, &ask);
	got = rig_take(&rig, node, CSV_MSG_IN_USE_REPLY);
	if (got)
		return (int)got->lock.mode;
	got = rig_take(&rig, node, CSV_MSG_ERROR);
	assert_non_null(got);
	*err = (enum csv_err)got->err;
	return -1;
}

static void test_in_use(void **state)
{
	enum csv_err err;

	rig_lock(&rig, 2, INODE(5), CSV_EX, 0);
	rig_lock(&rig, 2, INODE(6), CSV_PR, 0);
	rig_lock(&rig, 3, INODE(7), CSV_EX, 0);
	rig_gone(&rig, 3);
	assert_int_equal(ask_in_use(1, 5, &err), CSV_EX);
	assert_int_equal(ask_in_use(1, 7, &err), CSV_EX); /* out, but nobody has fenced it: it may be writing */
	assert_int_equal(rig_obey(&rig, 1, CSV_OK), 2);
	assert_int_equal(ask_in_use(1, 5, &err), CSV_EX);
	assert_int_equal(ask_in_use(1, 6, &err), CSV_NL);
	assert_int_equal(ask_in_use(1, 7, &err), CSV_NL);
}

/* Its csvlockd is new and knows nothing of the group yet: neither yes nor no. */
static void test_in_use_without_state(void **state)
{
	enum csv_err err;

	rig_restart(&rig, 3);
	rig_hello(&rig, 3);
	assert_int_equal(ask_in_use(3, 5, &err), -1);
	assert_int_equal(err, CSV_AGAIN);
}

/* A life that is out and not fenced: the replay is given up, so that its fence can go first. */
static void test_in_use_while_one_is_not_fenced(void **state)
{
	struct csv_msg done = { .type = CSV_MSG_FENCE_DONE };
	enum csv_err err;

	done.fence.slot = 2;
	done.fence.incarnation = 1;
	rig_gone(&rig, 3);
	assert_non_null(rig_take(&rig, 1, CSV_MSG_FENCE));
	rig_record(&rig, 1, &done);
	assert_non_null(rig_take(&rig, 1, CSV_MSG_REPLAY));
	assert_int_equal(ask_in_use(1, 5, &err), CSV_NL);
	rig_gone(&rig, 2);
	assert_int_equal(ask_in_use(1, 5, &err), -1);
	assert_int_equal(err, CSV_BUSY);
	assert_non_null(rig_take(&rig, 1, CSV_MSG_FENCE));
	done.seq = 0;
	done.fence.slot = 1;
	rig_record(&rig, 1, &done);
	assert_int_equal(ask_in_use(1, 5, &err), CSV_NL);
}

/* A holder whose csvlockd is new has not declared all it holds: it is asked again when it has. */
static void test_in_use_while_one_declares(void **state)
{
	enum csv_err err;

	rig_lock(&rig, 3, INODE(5), CSV_EX, 0);
	rig_lock(&rig, 3, INODE(6), CSV_EX, 0);
	rig_restart(&rig, 3);
	rig_group(&rig, 3, false);
	rig_settle(&rig);
	assert_int_equal(ask_in_use(1, 6, &err), CSV_EX);
	assert_int_equal(ask_in_use(1, 7, &err), -1);
	assert_int_equal(err, CSV_AGAIN);
	rig_group(&rig, 7, false);
	rig_settle(&rig);
	rig_hello(&rig, 3);
	rig_record(&rig, 3, &(struct csv_msg){ .type = CSV_MSG_REATTACH, .slot = { .slot = 2, .incarnation = 1 } });
	rig_lock(&rig, 3, INODE(5), CSV_EX, CSV_LOCKF_DECLARE);
	rig_record(&rig, 3, &(struct csv_msg){ .type = CSV_MSG_DECLARED });
	assert_int_equal(ask_in_use(1, 5, &err), CSV_EX);
	assert_int_equal(ask_in_use(1, 6, &err), CSV_NL);
}

/* The recoverer's state was discarded: the order is of a line that is over, and its answer is waited for. */
static void test_in_use_for_a_void_order(void **state)
{
	enum csv_err err;

	rig_gone(&rig, 3);
	assert_non_null(rig_take(&rig, 1, CSV_MSG_FENCE));
	rig_group(&rig, 6, true);
	rig_settle(&rig);
	rig_group(&rig, 1, true);
	rig_settle(&rig);
	rig_group(&rig, 7, false);
	rig_settle(&rig);
	assert_int_equal(ask_in_use(1, 5, &err), -1);
	assert_int_equal(err, CSV_BUSY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_freeze_and_recover, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_ranges_of_a_dead_source, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_no_quorum_no_grant, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_recoverer_dies, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_fence_fails, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_one_journal_is_damaged, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_stuck_slot_goes_last, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_last_mount_crashes, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_no_clean_slot, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_reattach, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_node_follows_its_csvlockd, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_node_follows_at_once, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_node_goes_and_comes, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_reattach_too_late, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_joiner_gets_state, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_merge, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_merge_without_quorum, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_verify_fails, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_verify_fails_alone, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_in_use, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_in_use_without_state, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_in_use_while_one_is_not_fenced, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_in_use_while_one_declares, open_three, close_rig),
		cmocka_unit_test_setup_teardown(test_in_use_for_a_void_order, open_three, close_rig),
	};

	return cmocka_run_group_tests_name("machine: views and recovery", tests, NULL, NULL);
}
