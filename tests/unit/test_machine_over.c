/* SPDX-License-Identifier: GPL-2.0-or-later */
/* L9: a mount that counts as alive and is over on disk. Who looks, when a look counts, and what becomes of the mount.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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

static int open_two(void **state)
{
	rig_open_beating(&rig, 2);
	rig_mount_all(&rig);
	rig_forget(&rig);
	return 0;
}

static int close_rig(void **state)
{
	rig_close(&rig);
	return 0;
}

/* No view of these was quorate: what they know is in doubt. */
static void doubt(unsigned mask)
{
	for (unsigned n = 0; n < rig.nnodes; n++)
		rig_group(&rig, 1u << n, true);
	rig_settle(&rig);
	rig_group(&rig, mask, false);
	rig_settle(&rig);
}

/* Who was asked to compare the slot table; its number in *seq. 0: nobody. */
static unsigned who_looks(uint64_t *seq)
{
	rig_timers(&rig, 1);
	for (unsigned n = 1; n <= rig.nnodes; n++) {
		const struct csv_msg *look = rig_take(&rig, n, CSV_MSG_DIRTY);

		if (!look)
			continue;
		*seq = look->seq;
		return n;
	}
	return 0;
}

static void answer(unsigned node, uint64_t seq, enum csv_err err)
{
	rig_record(&rig, node, &(struct csv_msg){ .type = CSV_MSG_DONE, .seq = seq, .err = err });
}

static void tell_over(unsigned node, uint32_t slot, uint32_t incarnation)
{
	struct csv_msg msg = { .type = CSV_MSG_OVER };
	uint64_t seq;

	msg.slot.slot = slot;
	msg.slot.incarnation = incarnation;
	seq = rig_record(&rig, node, &msg);
	assert_int_equal(rig_take(&rig, node, CSV_MSG_DONE)->seq, seq);
}

static void test_is_put_out(void **state)
{
	uint64_t seq = 0, again = 0;
	unsigned who, victim, other;
	uint32_t life;

	doubt(7);
	who = who_looks(&seq);
	assert_int_not_equal(who, 0);
	victim = who % 3 + 1;
	other = victim % 3 + 1;
	life = rig_view(&rig, who).incarnation[victim - 1];
	tell_over(who, victim - 1, life + 1);
	tell_over(who, victim - 1, life - 1);
	assert_int_equal(rig_view(&rig, who).live, 7);
	assert_null(rig_take(&rig, victim, CSV_MSG_FENCED));

	tell_over(who, victim - 1, life);
	assert_non_null(rig_take(&rig, victim, CSV_MSG_FENCED));
	assert_int_equal(rig_view(&rig, who).out, 1u << (victim - 1));
	answer(who, seq, CSV_OK); /* of a volume that is not at rest */
	assert_int_equal(rig_obey(&rig, who, CSV_OK) + rig_obey(&rig, other, CSV_OK), 2);
	assert_int_equal(rig_view(&rig, who).out, 0);
	assert_int_equal(rig_view(&rig, who).frozen, 1);
	who = who_looks(&again);
	assert_int_not_equal(who, 0);
	answer(who, again, CSV_OK);
	assert_int_equal(rig_view(&rig, who).frozen, 0);
	assert_true(rig_same(&rig, 7));
}

static void test_finds_itself(void **state)
{
	uint64_t seq = 0;
	unsigned who;

	doubt(7);
	who = who_looks(&seq);
	answer(who, seq, CSV_FENCED);
	assert_non_null(rig_take(&rig, who, CSV_MSG_FENCED));
	assert_int_equal(rig_view(&rig, who % 3 + 1).out, 1u << (who - 1));
}

/* Who was asked has left instead: another one is asked. */
static void test_who_looks_leaves(void **state)
{
	struct csv_msg detach = { .type = CSV_MSG_DETACH };
	uint64_t seq = 0;
	unsigned who, next;

	doubt(7);
	who = who_looks(&seq);
	assert_int_not_equal(who, 0);
	rig_record(&rig, who, &detach);
	answer(who, seq, CSV_OK);
	assert_int_equal(rig_view(&rig, who % 3 + 1).frozen, 1);
	next = who_looks(&seq);
	assert_true(next && next != who);
	answer(next, seq, CSV_OK);
	assert_int_equal(rig_view(&rig, next).frozen, 0);
}

/* Who is out, or may come back, may be fencing somebody for a group that is no more: nobody looks before that is over.
 */
static void test_nobody_looks_too_early(void **state)
{
	uint64_t seq = 0;
	unsigned orders = 0;

	doubt(3);
	assert_int_equal(rig_view(&rig, 1).out, 4);
	assert_int_equal(who_looks(&seq), 0);
	orders = rig_obey(&rig, 1, CSV_OK) + rig_obey(&rig, 2, CSV_OK);
	assert_int_equal(orders, 2);
	assert_int_equal(rig_view(&rig, 1).out, 0);
	assert_int_equal(rig_view(&rig, 1).frozen, 1);
	assert_int_not_equal(who_looks(&seq), 0);
}

static void back_with_slot(unsigned node, uint32_t slot)
{
	rig_hello(&rig, node);
	rig_record(&rig, node,
		   &(struct csv_msg){ .type = CSV_MSG_REATTACH, .slot = { .slot = slot, .incarnation = 1 } });
	rig_record(&rig, node, &(struct csv_msg){ .type = CSV_MSG_DECLARED });
	assert_non_null(rig_take(&rig, node, CSV_MSG_ATTACHED));
}

/* A mounter has looked; somebody whom nobody knew comes back behind that: the look does not count for him. */
static void test_who_comes_back_is_looked_at(void **state)
{
	struct csv_msg attach = { .type = CSV_MSG_ATTACH, .slot = { .slot = 0, .incarnation = 2 } };
	uint64_t seq = 0;

	rig.engine = CSV_ENGINE_CPG;
	for (unsigned n = 1; n <= 3; n++)
		rig_restart(&rig, n);
	rig_group(&rig, 7, false);
	rig_settle(&rig);
	rig_hello(&rig, 1);
	rig_lock(&rig, 1, csv_res(CSV_RES_MOUNT, 0), CSV_EX, 0);
	rig_lock(&rig, 1, csv_res(CSV_RES_SLOT, 0), CSV_EX, CSV_LOCKF_NOQUEUE);
	rig_record(&rig, 1, &attach);
	assert_non_null(rig_take(&rig, 1, CSV_MSG_ATTACHED));
	back_with_slot(2, 1);
	rig_unlock(&rig, 1, csv_res(CSV_RES_MOUNT, 0), CSV_NL);
	assert_int_equal(rig_view(&rig, 2).live, 3);
	assert_int_equal(rig_view(&rig, 2).frozen, 1);
	assert_int_not_equal(who_looks(&seq), 0);
}

/* Of two nodes each is quorate alone: who slept through it all may have been fenced by who has forgotten it since. */
static void test_two_nodes(void **state)
{
	uint64_t seq = 0;

	rig_group(&rig, 1, true);
	rig_settle(&rig);
	assert_int_equal(rig_obey(&rig, 1, CSV_OK), 2);
	rig_restart(&rig, 1);
	rig_group(&rig, 2, true);
	rig_settle(&rig);
	rig_group(&rig, 3, false);
	rig_settle(&rig);
	assert_int_equal(rig_obey(&rig, 2, CSV_OK), 2);
	assert_int_equal(rig_view(&rig, 2).out, 0);
	assert_int_equal(rig_view(&rig, 2).frozen, 1);
	assert_int_equal(who_looks(&seq), 2);
	answer(2, seq, CSV_FENCED);
	assert_int_equal(rig_view(&rig, 1).live, 0);
}

#define WITH(open, f) cmocka_unit_test_setup_teardown(f, open, close_rig)
int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(open_three, test_is_put_out),
		WITH(open_three, test_finds_itself),
		WITH(open_three, test_who_looks_leaves),
		WITH(open_three, test_nobody_looks_too_early),
		WITH(open_three, test_who_comes_back_is_looked_at),
		WITH(open_two, test_two_nodes),
	};

	return cmocka_run_group_tests_name("mounts that are over on disk", tests, NULL, NULL);
}
