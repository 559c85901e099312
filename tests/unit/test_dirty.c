/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The comparison of the slot table on disk with csvlockd's view: which slots are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fs/ctl/link.h"
#include "sock_lockd.h"

#define OWN_SLOT 0u
#define OWN_LIFE 3u
#define SLOTS 6u

static struct csv_mount m;
static struct csv_link *l;
static struct {
	uint32_t told[SLOTS]; /* incarnation; 0: not told */
	enum csv_err refuses;
} lockd;

static struct csv_bdev *dev;

static bool on_record(struct csv_msg *msg)
{
	struct csv_msg answer = { .type = CSV_MSG_DONE, .seq = msg->seq };

	if (msg->type != CSV_MSG_DIRTY)
		return true;
	lockd.told[msg->slot.slot] = msg->slot.incarnation;
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

	assert_int_equal(csv_slot_read(dev, &m.sb, slot, &s, NULL), CSV_OK);
	s.state = state;
	s.incarnation = incarnation;
	s.pr_key = csv_slot_pr_key(slot, incarnation);
	assert_int_equal(csv_slot_write(dev, &m.sb, &s), CSV_OK);
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
	csv_why_init(&why);
	assert_int_equal(csv_bdev_mem(8192ull << CSV_BLOCK_SHIFT, 512, &dev), CSV_OK);
	m.env = csv_env_system();
	m.dev = dev;
	m.slot = OWN_SLOT;
	m.incarnation = OWN_LIFE;
	pthread_mutex_init(&m.lock, NULL);
	assert_int_equal(csv_format_write(dev, m.env, &f, &m.sb, &why), CSV_OK);
	write_slot(OWN_SLOT, CSV_SLOT_LIVE, OWN_LIFE);
	write_slot(1, CSV_SLOT_LIVE, 5);
	write_slot(2, CSV_SLOT_FENCED, 5);
	m.opts.run_dir = sock_lockd_start(on_record, &view);
	assert_int_equal(csv_link_open(&m, &l, &why), CSV_OK);
	assert_int_equal(csv_link_wait_view(l, any_view, NULL, 5000), CSV_OK);
	return 0;
}

static int teardown(void **state)
{
	csv_link_close(l);
	sock_lockd_stop();
	csv_bdev_close(dev);
	pthread_mutex_destroy(&m.lock);
	return 0;
}

static unsigned tell(enum csv_err want)
{
	struct csv_why why;
	unsigned found;

	csv_why_init(&why);
	assert_int_equal(csv_link_tell_dirty(l, &found, &why), want);
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

static void test_refused(void **state)
{
	lockd.refuses = CSV_FENCED;
	tell(CSV_FENCED);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_as_in_the_view),
		T(test_later_life_on_disk),
		T(test_refused),
	};

	return cmocka_run_group_tests_name("slot table", tests, NULL, NULL);
}
