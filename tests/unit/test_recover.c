/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fence as fs/ctl/fence.c carries it out, on a device with reservations in memory:
 * every step may fail, the victim and the other half of a duel write in between.  And
 * the replay as far as csvlockd has a say in it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core.h"
#include "fs/ctl/link.h"
#include "lib/bug.h"
#include "sock_lockd.h"

#define OWN_SLOT 0u
#define OWN_LIFE 3u
#define DEAD_SLOT 1u
#define DEAD_LIFE 5u

/* ---- a device with reservations ---------------------------------------------------- */

struct fake_dev {
	struct csv_bdev dev; /* first */
	struct csv_bdev *below;
	uint64_t keys[8];
	unsigned nkeys;
	enum csv_pr_type type;
	unsigned preempts;
	void (*before_preempt)(void); /* what others do between mark and preempt */
	void (*after_preempt)(void);
	enum csv_err preempt_err, status_err, write_err;
	unsigned writes_until_err; /* write_err hits when this many have passed */
};
static struct fake_dev *fake;

static void fake_submit(struct csv_bdev *dev, struct csv_io *io)
{
	if (io->op == CSV_IO_WRITE && fake->write_err && fake->writes_until_err-- == 0) {
		fake->writes_until_err = 0;
		io->done(io, fake->write_err);
		return;
	}
	csv_bdev_submit(fake->below, io);
}
static bool fake_has(uint64_t key)
{
	for (unsigned i = 0; i < fake->nkeys; i++)
		if (fake->keys[i] == key)
			return true;
	return false;
}
static void fake_remove(uint64_t key)
{
	for (unsigned i = 0; i < fake->nkeys; i++)
		if (fake->keys[i] == key)
			fake->keys[i--] = fake->keys[--fake->nkeys];
}
static enum csv_err fake_register(struct csv_bdev *dev, uint64_t key)
{
	fake->keys[fake->nkeys++] = key;
	return CSV_OK;
}
static enum csv_err fake_reserve(struct csv_bdev *dev, uint64_t key, enum csv_pr_type type)
{
	if (!fake_has(key))
		return CSV_CONFLICT;
	fake->type = type;
	return CSV_OK;
}
static enum csv_err fake_preempt(struct csv_bdev *dev, uint64_t key, uint64_t victim, enum csv_pr_type type,
				 bool *aborted)
{
	fake->preempts++;
	if (fake->before_preempt)
		fake->before_preempt();
	if (fake->preempt_err)
		return fake->preempt_err;
	if (!fake_has(key))
		return CSV_CONFLICT;
	fake_remove(victim);
	*aborted = true;
	if (fake->after_preempt)
		fake->after_preempt();
	return CSV_OK;
}
static enum csv_err fake_status(struct csv_bdev *dev, struct csv_pr_status *st)
{
	memset(st, 0, sizeof(*st));
	memcpy(st->keys, fake->keys, sizeof(fake->keys));
	st->nkeys = fake->nkeys;
	st->type = fake->type;
	return fake->status_err;
}
static void fake_close(struct csv_bdev *dev)
{
	csv_bdev_close(fake->below);
	free(fake);
}
static const struct csv_bdev_ops fake_ops = {
	.name = "fake",
	.submit = fake_submit,
	.pr_register = fake_register,
	.pr_reserve = fake_reserve,
	.pr_preempt = fake_preempt,
	.pr_status = fake_status,
	.close = fake_close,
};

/* ---- csvlockd: keeps what is answered to its orders -------------------------------------- */

static struct {
	sem_t done;
	struct csv_msg answer;
	/* what IN_USE is answered (J6) */
	enum csv_mode in_use;
	enum csv_err in_use_err;
	unsigned in_use_errs; /* that many times in_use_err, then in_use */
	void (*on_in_use)(void);
	unsigned asked;
	bool closes; /* the connection ends instead */
} lockd;

static void on_in_use(struct csv_msg *msg)
{
	uint64_t seq = msg->seq;

	lockd.asked++;
	if (lockd.on_in_use)
		lockd.on_in_use();
	msg->type = CSV_MSG_IN_USE_REPLY;
	msg->lock.mode = lockd.in_use;
	if (!lockd.in_use_errs)
		return;
	lockd.in_use_errs--;
	*msg = (struct csv_msg){ .type = CSV_MSG_ERROR, .err = lockd.in_use_err, .seq = seq };
}

static bool on_record(struct csv_msg *msg)
{
	switch (msg->type) {
	case CSV_MSG_IN_USE:
		if (lockd.closes)
			return false;
		on_in_use(msg);
		sock_lockd_send(msg);
		break;
	case CSV_MSG_FENCE_DONE:
	case CSV_MSG_REPLAY_DONE:
		lockd.answer = *msg;
		sem_post(&lockd.done);
		break;
	default:
		break;
	}
	return true;
}

/* ---- the mount ------------------------------------------------------------------------------ */

static struct csv_mount m;
static struct csv_link *l;
static struct csv_msg order;

static void write_slot(uint32_t slot, enum csv_slot_state state, uint32_t incarnation)
{
	struct csv_slot s;

	assert_int_equal(csv_slot_read(fake->below, &m.sb, slot, &s, NULL), CSV_OK);
	s.state = state;
	s.incarnation = incarnation;
	s.pr_key = csv_slot_pr_key(slot, incarnation);
	assert_int_equal(csv_slot_write(fake->below, &m.sb, &s), CSV_OK);
}
static enum csv_slot_state slot_state(uint32_t slot)
{
	struct csv_slot s;

	assert_int_equal(csv_slot_read(fake->below, &m.sb, slot, &s, NULL), CSV_OK);
	return s.state;
}

static int setup(void **state)
{
	struct csv_format f = { .name = "test", .cluster = "c", .slots = 4, .blocks = 8192, .journal_blocks = 128 };
	struct csv_why why;

	memset(&m, 0, sizeof(m));
	memset(&order, 0, sizeof(order));
	fake = calloc(1, sizeof(*fake));
	assert_non_null(fake);
	csv_why_init(&why);
	assert_int_equal(csv_bdev_mem(8192ull << CSV_BLOCK_SHIFT, 512, &fake->below), CSV_OK);
	fake->dev.ops = &fake_ops;
	fake->dev.geo = fake->below->geo;
	m.env = csv_env_system();
	m.dev = &fake->dev;
	m.slot = OWN_SLOT;
	m.incarnation = OWN_LIFE;
	pthread_mutex_init(&m.lock, NULL);
	assert_int_equal(csv_format_write(fake->below, m.env, &f, &m.sb, &why), CSV_OK);
	assert_int_equal(csv_fs_open(&m.fs, m.dev, m.env, true, CSV_SLOT_NONE, 0, &why), CSV_OK);
	write_slot(OWN_SLOT, CSV_SLOT_LIVE, OWN_LIFE);
	write_slot(DEAD_SLOT, CSV_SLOT_LIVE, DEAD_LIFE);
	fake_register(m.dev, csv_slot_pr_key(OWN_SLOT, OWN_LIFE));
	fake_register(m.dev, csv_slot_pr_key(DEAD_SLOT, DEAD_LIFE));
	fake->type = CSV_PR_WRITE_EXCLUSIVE_ALL_REG;
	memset(&lockd, 0, sizeof(lockd));
	sem_init(&lockd.done, 0, 0);
	m.opts.run_dir = sock_lockd_start(on_record, NULL);
	assert_int_equal(csv_link_open(&m, &l, &why), CSV_OK);
	order.slot.slot = DEAD_SLOT;
	order.slot.incarnation = DEAD_LIFE;
	strcpy(order.slot.node, "n2");
	return 0;
}

static int teardown(void **state)
{
	csv_link_close(l);
	sock_lockd_stop();
	sem_destroy(&lockd.done);
	csv_fs_close(&m.fs);
	csv_bdev_close(m.dev);
	pthread_mutex_destroy(&m.lock);
	return 0;
}

static enum csv_err fence(void)
{
	order.type = CSV_MSG_FENCE;
	csv_fence_order(l, &order);
	sem_wait(&lockd.done);
	assert_int_equal(lockd.answer.type, CSV_MSG_FENCE_DONE);
	assert_int_equal(lockd.answer.fence.slot, DEAD_SLOT);
	assert_int_equal(lockd.answer.fence.incarnation, DEAD_LIFE);
	return (enum csv_err)lockd.answer.err;
}

static bool dead_key_stands(void)
{
	return fake_has(csv_slot_pr_key(DEAD_SLOT, DEAD_LIFE));
}

/* ---- tests --------------------------------------------------------------------------------------- */

static void test_fence(void **state)
{
	struct csv_slot s;

	assert_int_equal(fence(), CSV_OK);
	assert_int_equal(slot_state(DEAD_SLOT), CSV_SLOT_FENCED);
	assert_int_equal(csv_slot_read(m.dev, &m.sb, DEAD_SLOT, &s, NULL), CSV_OK);
	assert_int_equal(s.fenced_by, OWN_SLOT);
	assert_int_equal(s.incarnation, DEAD_LIFE); /* only a mount increments it (J8) */
	assert_false(dead_key_stands());
	assert_int_equal(lockd.answer.fence.aborted, 1);
	assert_int_equal(slot_state(OWN_SLOT), CSV_SLOT_LIVE);
	assert_int_equal(m.fs.withdrawn, 0);
	assert_int_equal(fence(), CSV_OK); /* by somebody who starts over: F4 */
}

static void unmount_lands_late(void)
{
	write_slot(DEAD_SLOT, CSV_SLOT_CLEAN, DEAD_LIFE);
}

/* F5: the victim's own clean unmount falls between mark and preempt; its journal is not taken for empty. */
static void test_marks_twice(void **state)
{
	fake->before_preempt = unmount_lands_late;
	assert_int_equal(fence(), CSV_OK);
	assert_int_equal(slot_state(DEAD_SLOT), CSV_SLOT_FENCED);
}

#ifdef CSV_BUGS
/* Shows that the test above would find it. */
static void test_mark_once_is_found(void **state)
{
	fake->before_preempt = unmount_lands_late;
	csv_bug_set(1ul << CSV_BUG_F5_MARK_ONCE);
	assert_int_equal(fence(), CSV_OK);
	csv_bug_set(0);
	assert_int_equal(slot_state(DEAD_SLOT), CSV_SLOT_CLEAN); /* its journal would never be replayed */
}
#endif

static void loser_marks_us(void)
{
	write_slot(OWN_SLOT, CSV_SLOT_FENCED, OWN_LIFE);
}

/* F5: both halves of a two-node cluster fence each other; we win, but had been marked. */
static void test_duel_won(void **state)
{
	fake->before_preempt = loser_marks_us;
	assert_int_equal(fence(), CSV_OK);
	assert_int_equal(slot_state(OWN_SLOT), CSV_SLOT_LIVE);
	assert_int_equal(slot_state(DEAD_SLOT), CSV_SLOT_FENCED);
	assert_int_equal(m.fs.withdrawn, 0);
}

static void other_half_wins(void)
{
	fake_remove(csv_slot_pr_key(OWN_SLOT, OWN_LIFE));
}

/* Its PREEMPT came first: ours is refused, and we are out. The winner's slot is not ours to restore or replay. */
static void test_duel_lost(void **state)
{
	fake->before_preempt = other_half_wins;
	assert_int_equal(fence(), CSV_FENCED);
	assert_true(dead_key_stands());
	assert_int_equal(m.fs.withdrawn, CSV_FENCED);
}

/* Its PREEMPT came right after ours: only READ KEYS shows it. */
static void test_duel_lost_after_preempt(void **state)
{
	fake->after_preempt = other_half_wins;
	assert_int_equal(fence(), CSV_FENCED);
	assert_int_equal(m.fs.withdrawn, CSV_FENCED);
}

static void reservation_released(void)
{
	fake->type = CSV_PR_NONE;
}

/* F1: without a reservation a missing key keeps nobody from writing. */
static void test_reservation_made_sure_of(void **state)
{
	fake->after_preempt = reservation_released;
	assert_int_equal(fence(), CSV_OK);
	assert_int_equal(fake->type, CSV_PR_WRITE_EXCLUSIVE_ALL_REG);
}

static void victim_registers_again(void)
{
	fake_register(m.dev, csv_slot_pr_key(DEAD_SLOT, DEAD_LIFE));
}

static void test_key_still_there(void **state)
{
	fake->after_preempt = victim_registers_again;
	assert_int_not_equal(fence(), CSV_OK);
	assert_int_equal(m.fs.withdrawn, 0);
	fake->after_preempt = NULL;
	assert_int_equal(fence(), CSV_OK);
	assert_false(dead_key_stands());
}

/* "Key no longer listed" counts only after a read that succeeded. */
static void test_status_unreadable(void **state)
{
	fake->status_err = CSV_IO;
	assert_int_equal(fence(), CSV_IO);
	assert_int_equal(m.fs.withdrawn, 0);
	fake->status_err = CSV_OK;
	assert_int_equal(fence(), CSV_OK);
}

static void test_preempt_fails(void **state)
{
	fake->preempt_err = CSV_UNREACH;
	assert_int_equal(fence(), CSV_UNREACH);
	assert_int_equal(slot_state(DEAD_SLOT), CSV_SLOT_FENCED); /* marked all the same: who comes back reads that */
	fake->preempt_err = CSV_OK;
	assert_int_equal(fence(), CSV_OK);
}

/* The first mark does not reach the LUN: nothing is preempted. Later ones: it is not reported as done. */
static void test_write_fails(void **state)
{
	fake->before_preempt = unmount_lands_late; /* so that the second mark writes */
	for (unsigned n = 0; n < 2; n++) {
		write_slot(DEAD_SLOT, CSV_SLOT_LIVE, DEAD_LIFE);
		fake->preempts = 0;
		fake->write_err = CSV_IO;
		fake->writes_until_err = n;
		assert_int_equal(fence(), CSV_IO);
		assert_int_equal(fake->preempts, n);
		fake->write_err = CSV_OK;
	}
	assert_int_equal(fence(), CSV_OK);
}

/* The slot has a later life on disk: that one is not ours to touch. */
static void test_later_life(void **state)
{
	write_slot(DEAD_SLOT, CSV_SLOT_LIVE, DEAD_LIFE + 1);
	assert_int_equal(fence(), CSV_OK);
	assert_int_equal(slot_state(DEAD_SLOT), CSV_SLOT_LIVE);
}

static void test_replay(void **state)
{
	assert_int_equal(fence(), CSV_OK);
	order.type = CSV_MSG_REPLAY;
	csv_replay_order(l, &order);
	sem_wait(&lockd.done);
	assert_int_equal(lockd.answer.type, CSV_MSG_REPLAY_DONE);
	assert_int_equal(lockd.answer.err, CSV_OK);
	assert_int_equal(slot_state(DEAD_SLOT), CSV_SLOT_CLEAN);
	csv_replay_order(l, &order); /* again: nothing to do */
	sem_wait(&lockd.done);
	assert_int_equal(lockd.answer.err, CSV_OK);
}

static void test_replay_cannot_mark_clean(void **state)
{
	assert_int_equal(fence(), CSV_OK);
	fake->write_err = CSV_IO;
	csv_replay_order(l, &order);
	sem_wait(&lockd.done);
	assert_int_not_equal(lockd.answer.err, CSV_OK);
	assert_int_equal(slot_state(DEAD_SLOT), CSV_SLOT_FENCED);
}

static enum csv_err replay(void)
{
	order.type = CSV_MSG_REPLAY;
	csv_replay_order(l, &order);
	sem_wait(&lockd.done);
	assert_int_equal(lockd.answer.type, CSV_MSG_REPLAY_DONE);
	assert_int_equal(lockd.answer.replay.slot, DEAD_SLOT);
	return (enum csv_err)lockd.answer.err;
}

/* The slot block is damaged: its node is kept from writing all the same, so that other slots can be recovered. */
static void test_slot_block_damaged(void **state)
{
	uint8_t page[CSV_BLOCK_SIZE];

	assert_ok(csv_bdev_read(fake->below, CSV_SLOT_BLOCK(DEAD_SLOT) << CSV_BLOCK_SHIFT, page, sizeof(page)));
	page[200] ^= 1;
	assert_ok(csv_bdev_write(fake->below, CSV_SLOT_BLOCK(DEAD_SLOT) << CSV_BLOCK_SHIFT, page, sizeof(page), 0));
	assert_int_equal(fence(), CSV_OK);
	assert_false(dead_key_stands());
	assert_int_equal(replay(), CSV_CHECKSUM);
}

/* J8: the order is late. The life that it names was recovered by others, and the slot's present one is alive. */
static void test_replay_of_a_former_life(void **state)
{
	write_slot(DEAD_SLOT, CSV_SLOT_LIVE, DEAD_LIFE + 1);
	assert_int_equal(replay(), CSV_OK);
	assert_int_equal(slot_state(DEAD_SLOT), CSV_SLOT_LIVE);
	write_slot(DEAD_SLOT, CSV_SLOT_FENCED, DEAD_LIFE - 1);
	assert_int_equal(replay(), CSV_STALE);
	assert_int_equal(slot_state(DEAD_SLOT), CSV_SLOT_FENCED);
}

/* Our own slot says clean: that life of ours was recovered, and is not to be brought back. */
static void we_are_recovered(void)
{
	write_slot(OWN_SLOT, CSV_SLOT_CLEAN, OWN_LIFE);
}

static void test_own_slot_clean(void **state)
{
	fake->before_preempt = we_are_recovered;
	assert_int_equal(fence(), CSV_FENCED);
	assert_int_equal(slot_state(OWN_SLOT), CSV_SLOT_CLEAN);
}

/* F4: an order that comes while we unmount is left to others, and nothing of it is on its way afterwards. */
static void test_orders_while_leaving(void **state)
{
	pthread_mutex_lock(&l->lock);
	l->leaving = true;
	pthread_mutex_unlock(&l->lock);
	assert_int_equal(fence(), CSV_BUSY);
	assert_int_equal(fake->preempts, 0);
	assert_int_equal(slot_state(DEAD_SLOT), CSV_SLOT_LIVE);
	write_slot(DEAD_SLOT, CSV_SLOT_FENCED, DEAD_LIFE);
	assert_int_equal(replay(), CSV_BUSY);
	assert_int_equal(slot_state(DEAD_SLOT), CSV_SLOT_FENCED);
}

/* ---- J6: a journal whose block is torn at home ---- */

#define VALUE 42u

static struct core dead;
static uint64_t torn;

static void tear(void)
{
	uint8_t page[CSV_BLOCK_SIZE];

	core_read(&dead, torn, page);
	memset(page + 2048, 0xee, 512);
	core_write(&dead, torn, page);
}

static void die_with_a_torn_block(void)
{
	struct csv_why why;

	csv_why_init(&why);
	memset(&dead, 0, sizeof(dead));
	dead.mem = dead.dev = fake->below;
	dead.sb = m.sb;
	csv_agset_add(&dead.ags, 0);
	assert_ok(csv_fs_open(&dead.fs, dead.dev, m.env, false, DEAD_SLOT, DEAD_LIFE, &why));
	csv_journal_set_interval(&dead.fs, 0);
	torn = core_block_new(&dead);
	assert_ok(csv_journal_checkpoint(&dead.fs));
	core_block_set(&dead, torn, VALUE);
	assert_ok(csv_journal_commit(&dead.fs, 0));
	core_crash(&dead);
	tear();
	write_slot(DEAD_SLOT, CSV_SLOT_FENCED, DEAD_LIFE);
}

static bool is_home(void)
{
	uint8_t page[CSV_BLOCK_SIZE];

	core_read(&dead, torn, page);
	return csv_block_verify(page, m.sb.uuid, torn, CSV_MAGIC_LEASE, NULL) == CSV_OK &&
	       core_home_value(&dead, torn) == VALUE;
}

/* Nothing was decided: who asks again later replays it. */
static void check_untouched(void)
{
	struct csv_replay_result res;

	assert_false(is_home());
	assert_int_equal(slot_state(DEAD_SLOT), CSV_SLOT_FENCED);
	assert_ok(csv_replay(dead.dev, &m.sb, DEAD_SLOT, true, NULL, &res, NULL));
	assert_true(res.transactions > 0);
	assert_true(is_home());
}

static void test_torn_and_nobodys(void **state)
{
	die_with_a_torn_block();
	lockd.in_use = CSV_NL;
	assert_int_equal(replay(), CSV_OK);
	assert_true(lockd.asked > 0);
	assert_true(is_home());
}

static void test_torn_and_in_use(void **state)
{
	die_with_a_torn_block();
	lockd.in_use = CSV_EX;
	assert_int_equal(replay(), CSV_OK);
	assert_false(is_home());
}

/* csvlockd has no state at the moment: neither yes nor no, so it is asked until it knows. */
static void test_torn_and_not_known_yet(void **state)
{
	die_with_a_torn_block();
	lockd.in_use_err = CSV_AGAIN;
	lockd.in_use_errs = 2;
	assert_int_equal(replay(), CSV_OK);
	assert_int_equal(lockd.asked, 3);
	assert_true(is_home());
}

static void test_order_given_up(void **state)
{
	die_with_a_torn_block();
	lockd.in_use_err = CSV_BUSY;
	lockd.in_use_errs = 1;
	assert_int_equal(replay(), CSV_BUSY);
	assert_int_equal(lockd.asked, 1);
	check_untouched();
}

/* csvlockd dies when it is asked: this thread is the one that has to find its successor. */
static void test_lockd_dies_when_asked(void **state)
{
	die_with_a_torn_block();
	lockd.closes = true;
	order.type = CSV_MSG_REPLAY;
	csv_replay_order(l, &order);
	check_untouched();
}

static void withdraw(void)
{
	csv_fs_withdraw(&m.fs, CSV_IO, "the test says so");
}

static void test_withdrawn_when_asked(void **state)
{
	die_with_a_torn_block();
	lockd.on_in_use = withdraw;
	lockd.in_use_err = CSV_AGAIN;
	lockd.in_use_errs = UINT32_MAX;
	assert_int_equal(replay(), CSV_WITHDRAWN);
	check_untouched();
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_fence),
		T(test_marks_twice),
#ifdef CSV_BUGS
		T(test_mark_once_is_found),
#endif
		T(test_duel_won),
		T(test_duel_lost),
		T(test_duel_lost_after_preempt),
		T(test_reservation_made_sure_of),
		T(test_key_still_there),
		T(test_status_unreadable),
		T(test_preempt_fails),
		T(test_write_fails),
		T(test_later_life),
		T(test_replay),
		T(test_replay_cannot_mark_clean),
		T(test_slot_block_damaged),
		T(test_replay_of_a_former_life),
		T(test_own_slot_clean),
		T(test_orders_while_leaving),
		T(test_torn_and_nobodys),
		T(test_torn_and_in_use),
		T(test_torn_and_not_known_yet),
		T(test_order_given_up),
		T(test_lockd_dies_when_asked),
		T(test_withdrawn_when_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
