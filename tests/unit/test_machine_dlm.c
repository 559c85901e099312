/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A volume whose locks are the DLM's: which engine, what goes past the group, what must wait (L1), J6, expelled nodes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/machine_rig.h"

static struct rig rig;
static const struct csv_res inode = { CSV_RES_INODE, 12 };

static void open_dlm(unsigned nnodes)
{
	rig_open(&rig, nnodes);
	rig.engine = CSV_ENGINE_DLM;
}

static void mount_all(void)
{
	rig_mount_all(&rig);
	rig_forget(&rig);
	memset(rig.norders, 0, sizeof(rig.norders));
}

static uint64_t ask(unsigned node, enum csv_mode mode)
{
	return rig_lock(&rig, node, inode, mode, 0);
}

static void test_engine_is_chosen(void **state)
{
	rig_open(&rig, 3);
	rig.choose = true;
	rig.unfit[2] = true;
	rig_hello(&rig, 1);
	assert_int_equal(rig_view(&rig, 1).engine, CSV_ENGINE_DLM);
	assert_non_null(rig_order(&rig, 1, CSV_DLM_DO_OPEN));
	rig_hello(&rig, 2);
	assert_non_null(rig_order(&rig, 2, CSV_DLM_DO_OPEN));
	rig_hello(&rig, 3); /* cannot */
	assert_non_null(rig_take(&rig, 3, CSV_MSG_ERROR));
	assert_true(rig.closed[2]);
	rig_gone(&rig, 3);
	rig.choose = false; /* wants cpg */
	rig_hello(&rig, 3);
	assert_non_null(strstr(rig_take(&rig, 3, CSV_MSG_ERROR)->text, "lock=auto"));
	assert_true(rig_same(&rig, 7));
	rig_close(&rig);
}

static void test_engine_of_who_comes_first(void **state)
{
	rig_open(&rig, 2);
	rig.choose = true;
	rig.unfit[0] = true;
	rig_hello(&rig, 1);
	rig_hello(&rig, 2);
	assert_int_equal(rig_view(&rig, 2).engine, CSV_ENGINE_CPG);
	assert_null(rig_order(&rig, 2, CSV_DLM_DO_OPEN));
	rig_gone(&rig, 1);
	rig_gone(&rig, 2);
	rig_hello(&rig, 2); /* nobody has it any more: chosen anew */
	assert_int_equal(rig_view(&rig, 2).engine, CSV_ENGINE_DLM);
	rig_close(&rig);
}

static void test_lock_goes_to_the_dlm(void **state)
{
	const struct csv_dlm_order *o;
	uint64_t seq;

	open_dlm(2);
	mount_all();
	seq = ask(1, CSV_EX);
	o = rig_order(&rig, 1, CSV_DLM_DO_LOCK);
	assert_non_null(o);
	assert_int_equal(o->res.id, 12);
	assert_int_equal(o->mode, CSV_EX);
	assert_int_equal(o->seq, seq);
	assert_null(rig_take(&rig, 1, CSV_MSG_GRANT));
	rig_said(&rig, 1, CSV_DLM_SAID_GRANT, inode, CSV_EX, seq);
	assert_int_equal(rig_take(&rig, 1, CSV_MSG_GRANT)->seq, seq);
	rig_said(&rig, 1, CSV_DLM_SAID_BAST, inode, CSV_PR, 0);
	assert_int_equal(rig_take(&rig, 1, CSV_MSG_BAST)->lock.mode, CSV_PR);
	rig_unlock(&rig, 1, inode, CSV_PR);
	assert_int_equal(rig_order(&rig, 1, CSV_DLM_DO_UNLOCK)->mode, CSV_PR);
	rig_unlock(&rig, 1, inode, CSV_NL);
	assert_int_equal(rig_order(&rig, 1, CSV_DLM_DO_UNLOCK)->mode, CSV_NL);
	seq = rig_lock(&rig, 1, inode, CSV_EX, CSV_LOCKF_NOQUEUE);
	assert_true(rig_order(&rig, 1, CSV_DLM_DO_LOCK)->noqueue);
	rig_said(&rig, 1, CSV_DLM_SAID_DENY, inode, CSV_EX, seq);
	assert_int_equal(rig_take(&rig, 1, CSV_MSG_DENY)->seq, seq);
	rig_close(&rig);
}

static void test_answers_to_what_was_taken_back(void **state)
{
	uint64_t seq, again;

	open_dlm(2);
	mount_all();
	seq = ask(1, CSV_EX);
	rig_unlock(&rig, 1, inode, CSV_NL);
	rig_said(&rig, 1, CSV_DLM_SAID_GRANT, inode, CSV_EX, seq);
	assert_null(rig_take(&rig, 1, CSV_MSG_GRANT));
	again = ask(1, CSV_PR);
	rig_said(&rig, 1, CSV_DLM_SAID_GRANT, inode, CSV_EX, seq); /* the old one's */
	assert_null(rig_take(&rig, 1, CSV_MSG_GRANT));
	rig_said(&rig, 1, CSV_DLM_SAID_GRANT, inode, CSV_PR, again);
	assert_int_equal(rig_take(&rig, 1, CSV_MSG_GRANT)->lock.mode, CSV_PR);
	rig_close(&rig);
}

/* L1: granted while somebody is out: told after his replay, with the wants that came meanwhile. */
static void test_grant_waits_for_the_replay(void **state)
{
	uint64_t seq;

	open_dlm(3);
	mount_all();
	seq = ask(1, CSV_EX);
	rig_gone(&rig, 3);
	assert_true(rig_view(&rig, 1).frozen);
	rig_said(&rig, 1, CSV_DLM_SAID_GRANT, inode, CSV_EX, seq);
	rig_said(&rig, 1, CSV_DLM_SAID_BAST, inode, CSV_EX, 0);
	assert_null(rig_take(&rig, 1, CSV_MSG_GRANT));
	while (rig_obey(&rig, 1, CSV_OK) + rig_obey(&rig, 2, CSV_OK))
		;
	assert_false(rig_view(&rig, 1).frozen);
	assert_int_equal(rig_take(&rig, 1, CSV_MSG_GRANT)->seq, seq);
	assert_non_null(rig_take(&rig, 1, CSV_MSG_BAST));
	assert_non_null(rig_order(&rig, 3, CSV_DLM_DO_DROP)); /* by its own csvlockd */
	rig_close(&rig);
}

/* While it is frozen the DLM is not even asked: what a dead csvfs of the same node had is still its. */
static void test_request_waits_for_the_thaw(void **state)
{
	uint64_t seq;

	open_dlm(2);
	mount_all();
	rig_gone(&rig, 2);
	seq = ask(1, CSV_PR);
	assert_null(rig_order(&rig, 1, CSV_DLM_DO_LOCK));
	rig_obey(&rig, 1, CSV_OK);
	rig_obey(&rig, 1, CSV_OK);
	assert_int_equal(rig_order(&rig, 1, CSV_DLM_DO_LOCK)->seq, seq);
	rig_close(&rig);
}

static void test_no_grant_without_quorum(void **state)
{
	uint64_t seq;

	open_dlm(3);
	mount_all();
	seq = ask(1, CSV_EX);
	rig_group(&rig, 1, true);
	rig_settle(&rig);
	rig_said(&rig, 1, CSV_DLM_SAID_GRANT, inode, CSV_EX, seq);
	assert_null(rig_take(&rig, 1, CSV_MSG_GRANT));
	rig_close(&rig);
}

/* L3: csvlockd was restarted; what its csvfs declares goes to the DLM as claims. */
static void test_claims(void **state)
{
	struct csv_msg msg = { .type = CSV_MSG_REATTACH, .slot = { .slot = 1, .incarnation = 1, .node = "n2" } };

	open_dlm(3);
	mount_all();
	rig_restart(&rig, 2);
	rig_group(&rig, 5, false);
	rig_settle(&rig);
	rig_group(&rig, 7, false);
	rig_settle(&rig);
	rig.again = true;
	rig.unfit[1] = true; /* nobody has looked: it has locks there */
	rig_hello(&rig, 2);
	assert_non_null(rig_order(&rig, 2, CSV_DLM_DO_OPEN));
	assert_null(rig_order(&rig, 2, CSV_DLM_DO_DROP));
	rig_record(&rig, 2, &msg);
	rig_lock(&rig, 2, csv_res(CSV_RES_SLOT, 1), CSV_EX, CSV_LOCKF_DECLARE);
	rig_lock(&rig, 2, inode, CSV_EX, CSV_LOCKF_DECLARE);
	rig_record(&rig, 2, &(struct csv_msg){ .type = CSV_MSG_DECLARED });
	assert_int_equal(rig_order(&rig, 2, CSV_DLM_DO_CLAIM)->mode, CSV_EX);
	assert_null(rig_order(&rig, 2, CSV_DLM_DO_CLAIM));
	assert_non_null(rig_order(&rig, 2, CSV_DLM_DO_CLAIMED));
	assert_non_null(rig_take(&rig, 2, CSV_MSG_ATTACHED));
	rig_said(&rig, 2, CSV_DLM_SAID_LOST, inode, CSV_NL, 0);
	assert_true(rig.closed[1]);
	rig_close(&rig);
}

/* A fresh mount on a node that has left locks behind: they are nobody's. */
static void test_fresh_mount_drops(void **state)
{
	open_dlm(2);
	rig_hello(&rig, 1);
	assert_non_null(rig_order(&rig, 1, CSV_DLM_DO_DROP));
	rig_close(&rig);
}

/* A slot of a former life of node 1 is found on disk while its present mount is at work. */
static void test_former_life_is_found_late(void **state)
{
	struct csv_msg dirty = { .type = CSV_MSG_DIRTY,
				 .slot = { .slot = 5, .incarnation = 3, .nodeid = 1, .node = "n1" } };
	const struct csv_dlm_order *o;

	open_dlm(2);
	mount_all();
	rig_said(&rig, 1, CSV_DLM_SAID_GRANT, inode, CSV_EX, ask(1, CSV_EX));
	rig_record(&rig, 1, &dirty);
	while (rig_obey(&rig, 1, CSV_OK) + rig_obey(&rig, 2, CSV_OK))
		;
	o = rig_order(&rig, 1, CSV_DLM_DO_DROP);
	assert_non_null(o);
	assert_int_equal(o->client, rig.client[0]); /* what it has it keeps */
	rig_close(&rig);
}

static uint64_t ask_in_use(unsigned node)
{
	return rig_record(&rig, node,
			  &(struct csv_msg){ .type = CSV_MSG_IN_USE,
					     .lock = { .res_type = CSV_RES_INODE, .res_id = 12, .mode = CSV_EX } });
}

static void grant(unsigned node, enum csv_mode mode)
{
	rig_said(&rig, node, CSV_DLM_SAID_GRANT, inode, mode, ask(node, mode));
	assert_non_null(rig_take(&rig, node, CSV_MSG_GRANT));
}

static void test_in_use_is_asked_of_all(void **state)
{
	const struct csv_msg *reply;
	uint64_t seq;

	open_dlm(3);
	mount_all();
	seq = ask_in_use(1);
	reply = rig_take(&rig, 1, CSV_MSG_IN_USE_REPLY);
	assert_int_equal(reply->seq, seq);
	assert_int_equal(reply->lock.mode, CSV_NL);
	grant(2, CSV_PR); /* reads only */
	ask_in_use(1);
	assert_int_equal(rig_take(&rig, 1, CSV_MSG_IN_USE_REPLY)->lock.mode, CSV_NL);
	grant(3, CSV_EX);
	ask_in_use(1);
	assert_int_equal(rig_take(&rig, 1, CSV_MSG_IN_USE_REPLY)->lock.mode, CSV_EX);
	rig_close(&rig);
}

/* Who has it is out and not fenced: nobody can say. */
static void test_in_use_by_somebody_unknown(void **state)
{
	open_dlm(3);
	mount_all();
	grant(3, CSV_EX);
	rig_group(&rig, 3, true);
	rig_settle(&rig);
	ask_in_use(1);
	assert_null(rig_take(&rig, 1, CSV_MSG_IN_USE_REPLY));
	assert_non_null(rig_take(&rig, 1, CSV_MSG_ERROR));
	rig_close(&rig);
}

/* The members change while they are asked. */
static void test_in_use_is_asked_again(void **state)
{
	struct csv_msg ask = { .type = CSV_MSG_IN_USE,
			       .lock = { .res_type = CSV_RES_INODE, .res_id = 12, .mode = CSV_EX } };

	open_dlm(3);
	mount_all();
	rig_hang(&rig, 3);
	rig_record(&rig, 1, &ask);
	assert_null(rig_take(&rig, 1, CSV_MSG_IN_USE_REPLY));
	rig_group(&rig, 3, false);
	rig_settle(&rig);
	assert_int_equal(rig_take(&rig, 1, CSV_MSG_ERROR)->err, CSV_AGAIN);
	rig_close(&rig);
}

static void test_expelled(void **state)
{
	open_dlm(3);
	mount_all();
	assert_false(csv_machine_expelled(rig.m[0], 3));
	rig_expel(&rig, 1, 3);
	assert_non_null(rig_take(&rig, 3, CSV_MSG_FENCED));
	assert_false(csv_machine_expelled(rig.m[0], 3)); /* not recovered yet */
	while (rig_obey(&rig, 1, CSV_OK) + rig_obey(&rig, 2, CSV_OK))
		;
	assert_true(csv_machine_expelled(rig.m[0], 3));
	assert_true(csv_machine_expelled(rig.m[1], 3));
	assert_true(csv_machine_dlm_unused(rig.m[2], rig_volume));
	rig_expel(&rig, 2, 3); /* nothing more to do */
	assert_true(csv_machine_expelled(rig.m[1], 3));
	rig_close(&rig);
}

static void forget_all(void)
{
	rig_group(&rig, 2, false);
	rig_settle(&rig);
	for (unsigned n = 1; n <= 3; n++)
		rig_restart(&rig, n);
	rig_group(&rig, 7, false);
	rig_settle(&rig);
}

/* All csvlockds were restarted; node 3 is expelled before its csvfs is back: its locks may be others' by then. */
static void test_expelled_does_not_come_back(void **state)
{
	struct csv_msg msg = { .type = CSV_MSG_REATTACH, .slot = { .slot = 2, .incarnation = 1, .node = "n3" } };

	open_dlm(3);
	mount_all();
	forget_all();
	rig_expel(&rig, 1, 3);
	assert_true(csv_machine_expelled(rig.m[0], 3));
	rig.again = true;
	rig_hello(&rig, 3);
	rig_record(&rig, 3, &msg);
	rig_record(&rig, 3, &(struct csv_msg){ .type = CSV_MSG_DECLARED });
	assert_non_null(rig_take(&rig, 3, CSV_MSG_FENCED));
	assert_true(rig_same(&rig, 7));
	rig_close(&rig);
}

static void come_back(unsigned node)
{
	struct csv_msg msg = { .type = CSV_MSG_REATTACH,
			       .slot = { .slot = node - 1, .incarnation = 1, .node = "back" } };

	rig.again = true;
	rig_hello(&rig, node);
	rig_record(&rig, node, &msg);
	rig_record(&rig, node, &(struct csv_msg){ .type = CSV_MSG_DECLARED });
}

/* They are all restarted once more before it is back. */
static void test_expelled_is_remembered(void **state)
{
	open_dlm(3);
	mount_all();
	forget_all();
	rig_expel(&rig, 1, 3);
	assert_true(csv_machine_expelled(rig.m[0], 3));
	forget_all();
	come_back(1);
	assert_non_null(rig_take(&rig, 1, CSV_MSG_ATTACHED));
	come_back(3);
	assert_non_null(rig_take(&rig, 3, CSV_MSG_FENCED));
	assert_true(rig_same(&rig, 7));
	rig_close(&rig);
}

/* Who has mounted anew since has nothing of then. */
static void test_expelled_mounts_anew(void **state)
{
	open_dlm(3);
	rig_expel(&rig, 1, 3);
	mount_all();
	forget_all();
	come_back(3);
	assert_non_null(rig_take(&rig, 3, CSV_MSG_ATTACHED));
	assert_null(rig_take(&rig, 3, CSV_MSG_FENCED));
	rig_close(&rig);
}

/* Somebody has the volume mounted, and nobody has looked yet whether the node has a slot. */
static void test_expelled_while_in_doubt(void **state)
{
	const struct csv_msg *look;

	open_dlm(3);
	mount_all();
	forget_all();
	come_back(1);
	rig_expel(&rig, 2, 3);
	assert_false(csv_machine_expelled(rig.m[1], 3));
	rig_timers(&rig, 1);
	look = rig_take(&rig, 1, CSV_MSG_DIRTY);
	assert_non_null(look);
	rig_record(&rig, 1, &(struct csv_msg){ .type = CSV_MSG_DONE, .seq = look->seq });
	assert_true(csv_machine_expelled(rig.m[1], 3));
	rig_close(&rig);
}

/* L3: its csvlockd is gone for good, the node is not: recovered, and then out of the DLM by force. */
static void test_node_without_csvlockd_leaves_the_dlm(void **state)
{
	open_dlm(3);
	mount_all();
	rig_group(&rig, 3, false);
	rig_settle(&rig);
	for (unsigned i = 0; i < 4 && !rig.killed; i++) {
		rig_timers(&rig, 1); /* the re-attach time is over */
		rig_obey(&rig, 1, CSV_OK);
		rig_obey(&rig, 2, CSV_OK);
	}
	assert_int_equal(rig.killed, 3);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_engine_is_chosen),
		cmocka_unit_test(test_engine_of_who_comes_first),
		cmocka_unit_test(test_lock_goes_to_the_dlm),
		cmocka_unit_test(test_answers_to_what_was_taken_back),
		cmocka_unit_test(test_grant_waits_for_the_replay),
		cmocka_unit_test(test_request_waits_for_the_thaw),
		cmocka_unit_test(test_no_grant_without_quorum),
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_fresh_mount_drops),
		cmocka_unit_test(test_former_life_is_found_late),
		cmocka_unit_test(test_in_use_is_asked_of_all),
		cmocka_unit_test(test_in_use_by_somebody_unknown),
		cmocka_unit_test(test_in_use_is_asked_again),
		cmocka_unit_test(test_expelled),
		cmocka_unit_test(test_expelled_does_not_come_back),
		cmocka_unit_test(test_expelled_is_remembered),
		cmocka_unit_test(test_expelled_mounts_anew),
		cmocka_unit_test(test_expelled_while_in_doubt),
		cmocka_unit_test(test_node_without_csvlockd_leaves_the_dlm),
	};

	return cmocka_run_group_tests_name("machine with the DLM", tests, NULL, NULL);
}
