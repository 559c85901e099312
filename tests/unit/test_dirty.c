/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The comparison of the slot table on disk with csvlockd's view: which slots are told, and what is answered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fs/ctl/link.h"
#include "lib/bdev_impl.h"
#include "sock_lockd.h"

#define OWN_SLOT 0u
#define OWN_LIFE 3u
#define SLOTS 6u

static struct csv_mount m;
static struct csv_link *l;
static struct {
	sem_t done;
	uint32_t told[SLOTS], over[SLOTS]; /* incarnation; 0: not told */
	enum csv_err refuses, answer;
} lockd;

/* A device of which one block cannot be read, and with keys: slot n's is registered if bit n is set. */
static struct {
	struct csv_bdev dev; /* first */
	struct csv_bdev *below;
	uint64_t bad;
	unsigned keys;
	uint32_t key_life[SLOTS];
	unsigned asked; /* for the keys */
	bool restore;	/* slot 1 is live again by then */
} sick;

static void write_slot(uint32_t slot, enum csv_slot_state state, uint32_t incarnation);

static void sick_submit(struct csv_bdev *dev, struct csv_io *io)
{
	if (io->op == CSV_IO_READ && sick.bad && io->off == sick.bad << CSV_BLOCK_SHIFT)
		io->done(io, CSV_IO);
	else
		csv_bdev_submit(sick.below, io);
}

static enum csv_err sick_status(struct csv_bdev *dev, struct csv_pr_status *st)
{
	*st = (struct csv_pr_status){ 0 };
	sick.asked++;
	for (uint32_t n = 0; n < SLOTS; n++) {
		if (sick.keys >> n & 1)
			st->keys[st->nkeys++] = csv_slot_pr_key(n, sick.key_life[n]);
	}
	if (sick.restore)
		write_slot(1, CSV_SLOT_LIVE, 5);
	return CSV_OK;
}

static const struct csv_bdev_ops sick_ops = { .name = "sick", .submit = sick_submit, .pr_status = sick_status };

static bool on_record(struct csv_msg *msg)
{
	struct csv_msg answer = { .type = CSV_MSG_DONE, .seq = msg->seq };

	if (msg->type == CSV_MSG_DONE) {
		lockd.answer = (enum csv_err)msg->err;
		sem_post(&lockd.done);
		return true;
	}
	if (msg->type == CSV_MSG_OVER)
		lockd.over[msg->slot.slot] = msg->slot.incarnation;
	else if (msg->type == CSV_MSG_DIRTY)
		lockd.told[msg->slot.slot] = msg->slot.incarnation;
	else
		return true;
	if (lockd.refuses) {
		answer.type = CSV_MSG_ERROR;
		answer.err = lockd.refuses;
	}
	sock_lockd_send(&answer);
	return true;
}

static void write_slot(uint32_t slot, enum csv_slot_state state, uint32_t incarnation)
{
	struct csv_slot s;

	assert_int_equal(csv_slot_read(sick.below, &m.sb, slot, &s, NULL), CSV_OK);
	s.state = state;
	s.incarnation = incarnation;
	s.pr_key = csv_slot_pr_key(slot, incarnation);
	assert_int_equal(csv_slot_write(sick.below, &m.sb, &s), CSV_OK);
}

static bool any_view(const struct csv_msg_view *v, void *arg)
{
	return true;
}

/* Slot 1 is alive, slot 2 out, both with incarnation 5. */
static int setup(void **state)
{
	struct csv_format f = { .name = "test", .cluster = "c", .slots = SLOTS, .blocks = 8192, .journal_blocks = 128 };
	struct csv_msg_view view = { .quorate = 1, .live = 3, .out = 4, .incarnation = { OWN_LIFE, 5, 5 } };
	struct csv_why why;

	memset(&m, 0, sizeof(m));
	memset(&lockd, 0, sizeof(lockd));
	memset(&sick, 0, sizeof(sick));
	sem_init(&lockd.done, 0, 0);
	csv_why_init(&why);
	assert_int_equal(csv_bdev_mem(8192ull << CSV_BLOCK_SHIFT, 512, &sick.below), CSV_OK);
	sick.dev.ops = &sick_ops;
	sick.dev.geo = sick.below->geo;
	m.env = csv_env_system();
	m.dev = &sick.dev;
	m.slot = OWN_SLOT;
	m.incarnation = OWN_LIFE;
	pthread_mutex_init(&m.lock, NULL);
	assert_int_equal(csv_format_write(sick.below, m.env, &f, &m.sb, &why), CSV_OK);
	write_slot(OWN_SLOT, CSV_SLOT_LIVE, OWN_LIFE);
	write_slot(1, CSV_SLOT_LIVE, 5);
	write_slot(2, CSV_SLOT_FENCED, 5);
	sick.keys = 3;
	sick.key_life[OWN_SLOT] = OWN_LIFE;
	sick.key_life[1] = 5;
	m.opts.run_dir = sock_lockd_start(on_record, &view);
	assert_int_equal(csv_link_open(&m, &l, &why), CSV_OK);
	assert_int_equal(csv_link_wait_view(l, any_view, NULL, 5000), CSV_OK);
	return 0;
}

static int teardown(void **state)
{
	csv_link_close(l);
	sock_lockd_stop();
	csv_bdev_close(sick.below);
	sem_destroy(&lockd.done);
	pthread_mutex_destroy(&m.lock);
	return 0;
}

static unsigned tell(enum csv_err want)
{
	struct csv_why why;
	unsigned found;

	csv_why_init(&why);
	assert_int_equal(csv_link_tell_slots(l, &found, &why), want);
	return found;
}

/* Out it is already, and a word more does no harm; alive are our own slot and slot 1. */
static void test_as_in_the_view(void **state)
{
	assert_int_equal(tell(CSV_OK), 1);
	assert_int_equal(lockd.told[1], 0);
	assert_int_equal(lockd.told[2], 5);
	write_slot(4, CSV_SLOT_LIVE, 2);
	assert_int_equal(tell(CSV_OK), 2);
	assert_int_equal(lockd.told[4], 2);
}

/* J8: of a slot whose later life is on disk the view has a former one, which others have recovered. */
static void test_later_life_on_disk(void **state)
{
	write_slot(1, CSV_SLOT_LIVE, 6);
	write_slot(2, CSV_SLOT_LIVE, 7);
	assert_int_equal(tell(CSV_OK), 2);
	assert_int_equal(lockd.told[1], 6);
	assert_int_equal(lockd.told[2], 7);
	assert_int_equal(lockd.told[OWN_SLOT], 0);
}

/* A slot that somebody else recovered has no key of its own in its block (csv_recover_slot). */
static void recovered(uint32_t slot, uint32_t incarnation)
{
	struct csv_slot s;

	write_slot(slot, CSV_SLOT_CLEAN, incarnation);
	assert_int_equal(csv_slot_read(sick.below, &m.sb, slot, &s, NULL), CSV_OK);
	s.pr_key = 0;
	assert_int_equal(csv_slot_write(sick.below, &m.sb, &s), CSV_OK);
}

/* L9: alive in the view, but fenced, and perhaps recovered, by a group that nobody remembers. */
static void test_over_on_disk(void **state)
{
	sick.keys = 1;
	write_slot(1, CSV_SLOT_FENCED, 5);
	assert_int_equal(tell(CSV_OK), 2);
	assert_int_equal(lockd.over[1], 5);
	lockd.over[1] = 0;
	recovered(1, 5);
	assert_int_equal(tell(CSV_OK), 2);
	assert_int_equal(lockd.over[1], 5);
	lockd.over[1] = 0;
	write_slot(1, CSV_SLOT_CLEAN, 6); /* of the next life, which has left again */
	assert_int_equal(tell(CSV_OK), 2);
	assert_int_equal(lockd.over[1], 5);
	assert_int_equal(lockd.told[1], 0);
	assert_int_equal(lockd.over[2], 0);
}

/* It can still write, or will again, or it is about to tell that it has left: nobody is put out. */
static void test_no_false_alarm(void **state)
{
	sick.keys = 1; /* its session is lost for a moment */
	assert_int_equal(tell(CSV_OK), 1);
	assert_int_equal(sick.asked, 0);
	write_slot(1, CSV_SLOT_CLEAN, 5); /* its own unmount */
	assert_int_equal(tell(CSV_OK), 1);
	sick.keys = 3;
	write_slot(1, CSV_SLOT_FENCED, 5); /* marked, not fenced */
	assert_int_equal(tell(CSV_OK), 1);
	assert_int_equal(sick.asked, 1);
	sick.keys = 1;
	sick.restore = true; /* and the mark is taken back while we look */
	assert_int_equal(tell(CSV_OK), 1);
	assert_int_equal(sick.asked, 2);
	assert_int_equal(lockd.over[1], 0);
	assert_int_equal(lockd.told[1], 0);
}

static void test_refused(void **state)
{
	lockd.refuses = CSV_FENCED;
	tell(CSV_FENCED);
}

static enum csv_err verify(void)
{
	struct csv_msg look = { .type = CSV_MSG_DIRTY, .seq = 77 };

	sock_lockd_send(&look);
	sem_wait(&lockd.done);
	return lockd.answer;
}

/* csvlockd asks: it gets an answer in any case, so that it can ask somebody else. */
static void test_verify(void **state)
{
	assert_int_equal(verify(), CSV_OK);
	assert_int_equal(lockd.told[2], 5);
	sick.bad = CSV_SLOT_BLOCK(3);
	assert_int_equal(verify(), CSV_IO);
	sick.bad = 0;
	assert_int_equal(verify(), CSV_OK);
	pthread_mutex_lock(&l->lock);
	l->leaving = true;
	pthread_mutex_unlock(&l->lock);
	assert_int_equal(verify(), CSV_BUSY);
}

/* What we hold may be others' for long: the volume is withdrawn, and csvlockd hears why. */
static void test_own_slot_is_over(void **state)
{
	write_slot(OWN_SLOT, CSV_SLOT_FENCED, OWN_LIFE);
	assert_int_equal(verify(), CSV_OK);
	assert_int_equal(csv_fs_state(&m.fs), CSV_OK);
	sick.keys = 2;
	assert_int_equal(verify(), CSV_FENCED);
	csv_link_settle(l);
	assert_int_equal(csv_fs_state(&m.fs), CSV_FENCED);
	assert_int_equal(lockd.told[OWN_SLOT], 0);
	assert_int_equal(lockd.over[OWN_SLOT], 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_as_in_the_view), T(test_later_life_on_disk), T(test_refused),	      T(test_verify),
		T(test_over_on_disk),	T(test_no_false_alarm),	    T(test_own_slot_is_over),
	};

	return cmocka_run_group_tests_name("slot table", tests, NULL, NULL);
}
