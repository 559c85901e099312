/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The back end of the kernel's disks on a LUN in memory: reservations, the way back, flushes that count. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/pr.h"
#include "tests/unit/fake_lun.h"

#define TYPE CSV_PR_WRITE_EXCLUSIVE_ALL_REG
#define SLOT 1u /* + number of the host */
#define ALIVE 'A'
#define FENCED 'F'
#define WAIT_MS 10000

static struct fake_lun lun;

struct node {
	unsigned n;
	uint64_t key;
	struct csv_bdev *dev;
	atomic_int judged, paused, online, failed, fenced;
};

static enum csv_slot_verdict judge(void *arg, const void *block)
{
	struct node *n = arg;

	n->judged++;
	return *(const char *)block == FENCED ? CSV_VERDICT_FENCED : CSV_VERDICT_ALIVE;
}

static void on_state(void *arg, enum csv_path_state state, const char *reason)
{
	struct node *n = arg;

	n->paused += state == CSV_PATH_PAUSED;
	n->online += state == CSV_PATH_ONLINE;
	n->failed += state == CSV_PATH_FAILED;
	n->fenced += state == CSV_PATH_FENCED;
}

/* True once `got` is at least `want`. */
static bool reached(const atomic_int *got, int want)
{
	for (int i = 0; i < WAIT_MS && *got < want; i++)
		usleep(1000);
	return *got >= want;
}

static void mark(unsigned n, char c)
{
	pthread_mutex_lock(&lun.lock);
	memset(lun.cache[SLOT + n], c, FAKE_BLOCK);
	memset(lun.media[SLOT + n], c, FAKE_BLOCK);
	pthread_mutex_unlock(&lun.lock);
}

static void node_guard(struct node *n, unsigned timeout_ms)
{
	struct csv_bdev_guard guard = {
		.slot_block = SLOT + n->n,
		.pr_key = n->key,
		.judge = judge,
		.state = on_state,
		.arg = n,
		.path_timeout_ms = timeout_ms,
	};

	n->dev->ops->set_guard(n->dev, &guard);
}

static void node_open(struct node *n, unsigned number, unsigned npaths, unsigned timeout_ms)
{
	memset(n, 0, sizeof(*n));
	n->n = number;
	n->key = 0xa0 + number;
	n->dev = fake_open(&lun, number, npaths, true);
	assert_non_null(n->dev);
	mark(number, ALIVE);
	assert_int_equal(n->dev->ops->pr_register(n->dev, n->key), CSV_OK);
	assert_int_equal(n->dev->ops->pr_reserve(n->dev, n->key, TYPE), CSV_OK);
	node_guard(n, timeout_ms);
}

static void node_close(struct node *n)
{
	n->dev->ops->set_guard(n->dev, NULL);
	csv_bdev_close(n->dev);
}

static enum csv_err put(struct node *n, unsigned block, char c, unsigned flags)
{
	char buf[FAKE_BLOCK];

	memset(buf, c, sizeof(buf));
	return csv_bdev_write(n->dev, block * FAKE_BLOCK, buf, sizeof(buf), flags);
}

static char on_media(unsigned block)
{
	return (char)lun.media[block][0];
}

/* A write that another thread waits for. */
struct writer {
	struct node *n;
	pthread_t thread;
	atomic_int done;
	enum csv_err err;
};

static void *write_later(void *arg)
{
	struct writer *w = arg;

	w->err = put(w->n, 20, 'w', 0);
	w->done = 1;
	return NULL;
}

static void writer_start(struct writer *w, struct node *n)
{
	*w = (struct writer){ .n = n };
	assert_int_equal(pthread_create(&w->thread, NULL, write_later, w), 0);
}

static enum csv_err writer_end(struct writer *w)
{
	pthread_join(w->thread, NULL);
	return w->err;
}

static int setup(void **state)
{
	fake_init(&lun);
	return 0;
}

static void test_conflict_alive(void **state)
{
	struct node a, b;
	uint64_t generation;

	node_open(&a, 0, 1, WAIT_MS);
	node_open(&b, 1, 1, WAIT_MS);
	assert_int_equal(put(&a, 10, 'x', 0), CSV_OK);
	generation = csv_bdev_generation(a.dev);
	fake_preempt(&lun, 0); /* the session has ended, say */
	assert_int_equal(put(&a, 10, 'y', CSV_IO_FUA), CSV_OK);
	assert_int_equal(on_media(10), 'y');
	assert_int_equal(fake_key(&lun, 0, 0), a.key);
	assert_true(a.judged >= 2 && a.paused == 1 && reached(&a.online, 1));
	assert_true(csv_bdev_generation(a.dev) > generation);
	node_close(&a);
	node_close(&b);
}

static void test_conflict_fenced(void **state)
{
	struct csv_pr_status st;
	struct node a, b;

	node_open(&a, 0, 1, WAIT_MS);
	node_open(&b, 1, 1, WAIT_MS);
	mark(0, FENCED);
	fake_preempt(&lun, 0);
	assert_int_equal(put(&a, 10, 'x', 0), CSV_FENCED);
	assert_int_equal(a.fenced, 1);
	assert_int_equal(lun.writes, 0);
	assert_int_equal(fake_key(&lun, 0, 0), 0);
	assert_int_equal(a.dev->ops->pr_status(a.dev, &st), CSV_OK);
	assert_int_equal(a.dev->ops->pr_register(a.dev, a.key), CSV_FENCED);
	assert_int_equal(csv_bdev_flush(a.dev), CSV_FENCED);
	node_close(&a);
	node_close(&b);
}

/* Marked between the two looks: the registration must be given back. */
static enum csv_slot_verdict judge_once(void *arg, const void *block)
{
	struct node *n = arg;

	return n->judged++ ? CSV_VERDICT_FENCED : CSV_VERDICT_ALIVE;
}

static void test_marked_between(void **state)
{
	struct node a, b;
	struct csv_bdev_guard guard = { .slot_block = SLOT, .judge = judge_once, .arg = &a, .path_timeout_ms = 5000 };

	node_open(&a, 0, 1, WAIT_MS);
	node_open(&b, 1, 1, WAIT_MS);
	guard.pr_key = a.key;
	a.dev->ops->set_guard(a.dev, &guard);
	fake_preempt(&lun, 0);
	assert_int_equal(put(&a, 10, 'x', 0), CSV_FENCED);
	assert_int_equal(fake_key(&lun, 0, 0), 0);
	assert_int_equal(lun.writes, 0);
	node_close(&a);
	node_close(&b);
}

static void dropped(struct csv_io *io, enum csv_err err)
{
	*(atomic_int *)io->arg = 1 + (int)err;
}

/* F2: neither a look nor a registration while a command of ours is under way. */
static void test_waits_for_commands(void **state)
{
	static char buf[FAKE_BLOCK];
	struct iovec iov = { buf, sizeof(buf) };
	atomic_int slow = 0;
	struct csv_io io = {
		.op = CSV_IO_WRITE,
		.off = 30 * FAKE_BLOCK,
		.len = sizeof(buf),
		.iov = &iov,
		.niov = 1,
		.done = dropped,
		.arg = &slow,
	};
	struct writer w;
	struct node a, b;

	node_open(&a, 0, 1, WAIT_MS);
	node_open(&b, 1, 1, WAIT_MS);
	fake_park(&lun, 0);
	csv_bdev_submit(a.dev, &io);
	assert_int_equal(fake_waiting(&lun, 0), 1);
	/* The first stays in the kernel, the second comes through to a conflict. */
	pthread_mutex_lock(&lun.lock);
	lun.host[0].parked = false;
	pthread_mutex_unlock(&lun.lock);
	fake_preempt(&lun, 0);
	writer_start(&w, &a);
	assert_true(reached(&a.paused, 1));
	usleep(300000); /* time to do it wrongly */
	assert_int_equal(w.done, 0);
	assert_int_equal(a.judged, 0);
	assert_int_equal(fake_key(&lun, 0, 0), 0);
	fake_let_go(&lun, 0);
	assert_int_equal(writer_end(&w), CSV_OK);
	assert_true(reached(&slow, 1) && slow == 1 + CSV_OK);
	assert_int_equal(lun.host[0].registered_while_busy, 0);
	assert_int_equal(lun.host[0].read_while_busy, 0);
	node_close(&a);
	node_close(&b);
}

/* J4: write, the target forgets it, flush. No conflict tells of it, for the reservation is forgotten too. */
static void forgetful_target(bool aptpl)
{
	uint64_t generation;
	struct node a;

	lun.refuse_aptpl = !aptpl;
	node_open(&a, 0, 1, WAIT_MS);
	generation = csv_bdev_generation(a.dev);
	assert_int_equal(put(&a, 10, 'x', 0), CSV_OK);
	assert_int_equal(csv_bdev_flush(a.dev), CSV_OK);
	assert_int_equal(csv_bdev_generation(a.dev), generation);
	assert_int_equal(put(&a, 11, 'x', 0), CSV_OK);
	fake_power_cut(&lun);
	assert_int_equal(csv_bdev_flush(a.dev), CSV_OK);
	assert_true(csv_bdev_generation(a.dev) > generation);
	assert_int_equal(fake_key(&lun, 0, 0), a.key);
	assert_int_equal(lun.type, TYPE); /* made again (F1) */
	generation = csv_bdev_generation(a.dev);
	assert_int_equal(put(&a, 11, 'x', 0), CSV_OK);
	assert_int_equal(csv_bdev_flush(a.dev), CSV_OK);
	assert_int_equal(csv_bdev_generation(a.dev), generation);
	assert_int_equal(on_media(11), 'x');
	node_close(&a);
}

static void test_power_cut(void **state)
{
	forgetful_target(false);
}

static void test_power_cut_aptpl(void **state)
{
	forgetful_target(true);
}

/* An I/O error of one block is no matter of the path. */
static void test_bad_block(void **state)
{
	struct node a;

	node_open(&a, 0, 1, WAIT_MS);
	lun.bad_block = 12;
	assert_int_equal(put(&a, 12, 'x', 0), CSV_IO);
	assert_int_equal(put(&a, 13, 'x', CSV_IO_FUA), CSV_OK);
	assert_int_equal(a.failed + a.fenced + a.paused, 0);
	node_close(&a);
}

static void test_path_back(void **state)
{
	struct writer w;
	struct node a;

	node_open(&a, 0, 1, WAIT_MS);
	fake_set_dead(&lun, 0, 0, true);
	writer_start(&w, &a);
	assert_true(reached(&a.paused, 1));
	assert_int_equal(w.done, 0);
	fake_set_dead(&lun, 0, 0, false);
	assert_int_equal(writer_end(&w), CSV_OK);
	assert_true(reached(&a.online, 1));
	assert_int_equal(lun.cache[20][0], 'w');
	node_close(&a);
}

/* The kernel tells of some lost paths by EIO only. */
static void test_path_error_is_eio(void **state)
{
	struct writer w;
	struct node a;

	node_open(&a, 0, 1, WAIT_MS);
	lun.path_error = CSV_IO;
	fake_set_dead(&lun, 0, 0, true);
	writer_start(&w, &a);
	assert_true(reached(&a.paused, 1));
	fake_set_dead(&lun, 0, 0, false);
	assert_int_equal(writer_end(&w), CSV_OK);
	assert_int_equal(lun.cache[20][0], 'w');
	node_close(&a);
}

static void test_path_failed(void **state)
{
	struct csv_pr_status st;
	struct node a;

	node_open(&a, 0, 1, 1500);
	fake_set_dead(&lun, 0, 0, true);
	assert_int_equal(put(&a, 10, 'x', 0), CSV_UNREACH);
	assert_int_equal(a.failed, 1);
	assert_int_equal(a.dev->ops->pr_status(a.dev, &st), CSV_UNREACH);
	fake_set_dead(&lun, 0, 0, false);
	assert_int_equal(put(&a, 10, 'x', 0), CSV_UNREACH); /* for good */
	assert_int_equal(lun.writes, 0);
	node_close(&a);
}

/* What a clean unmount, or a mount that is not through, still has must not be sent later. */
static void test_no_return_without_guard(void **state)
{
	struct writer w;
	struct node a;

	node_open(&a, 0, 1, WAIT_MS);
	a.dev->ops->set_guard(a.dev, NULL);
	fake_set_dead(&lun, 0, 0, true);
	writer_start(&w, &a);
	usleep(300000); /* time to wait for the path */
	fake_set_dead(&lun, 0, 0, false);
	assert_int_equal(writer_end(&w), CSV_UNREACH);
	assert_int_equal(lun.writes, 0);
	node_close(&a);
}

static void test_every_path(void **state)
{
	struct node a, b;

	node_open(&b, 1, 1, WAIT_MS);
	node_open(&a, 0, 2, WAIT_MS);
	assert_int_equal(fake_key(&lun, 0, 0), a.key);
	assert_int_equal(fake_key(&lun, 0, 1), a.key);
	/* One path dies: nothing is noticed. */
	fake_set_dead(&lun, 0, 0, true);
	assert_int_equal(put(&a, 10, 'x', CSV_IO_FUA), CSV_OK);
	assert_int_equal(a.paused, 0);
	/* It comes back without its registration (tgtd): a conflict on it is no fence. */
	pthread_mutex_lock(&lun.lock);
	lun.host[0].path[0].key = 0;
	lun.host[0].path[0].dead = false;
	pthread_mutex_unlock(&lun.lock);
	assert_int_equal(put(&a, 10, 'y', CSV_IO_FUA), CSV_OK);
	assert_int_equal(fake_key(&lun, 0, 0), a.key);
	/* The fence covers both. */
	mark(0, FENCED);
	assert_int_equal(b.dev->ops->pr_preempt(b.dev, b.key, a.key, TYPE, NULL), CSV_OK);
	assert_int_equal(fake_key(&lun, 0, 0) | fake_key(&lun, 0, 1), 0);
	assert_int_equal(put(&a, 10, 'z', 0), CSV_FENCED);
	assert_int_equal(lun.cache[10][0], 'y');
	node_close(&a);
	node_close(&b);
}

static void test_fence(void **state)
{
	struct csv_pr_status st;
	struct node a, b;
	bool aborted;

	node_open(&a, 0, 1, WAIT_MS);
	node_open(&b, 1, 1, WAIT_MS);
	assert_int_equal(a.dev->ops->pr_preempt(a.dev, a.key, b.key, TYPE, &aborted), CSV_OK);
	assert_true(aborted);
	assert_int_equal(lun.host[0].resets, 0);
	assert_int_equal(a.dev->ops->pr_status(a.dev, &st), CSV_OK);
	assert_int_equal(st.nkeys, 1);
	assert_int_equal(st.keys[0], a.key);
	assert_int_equal(st.type, TYPE);
	/* Its key is gone already: its commands may live. */
	assert_int_equal(a.dev->ops->pr_preempt(a.dev, a.key, b.key, TYPE, &aborted), CSV_OK);
	assert_int_equal(lun.host[0].resets, 1);
	/* We have lost the duel. */
	fake_preempt(&lun, 0);
	assert_int_equal(a.dev->ops->pr_preempt(a.dev, a.key, b.key, TYPE, &aborted), CSV_CONFLICT);
	node_close(&a);
	node_close(&b);
}

static void *fence_b(void *arg)
{
	struct node *a = arg;
	bool aborted;

	return (void *)(uintptr_t)a->dev->ops->pr_preempt(a->dev, a->key, 0xa1, TYPE, &aborted);
}

/* The reset would abort our own commands too: it waits for them, and new ones for it. */
static void test_fence_by_reset(void **state)
{
	struct writer w;
	struct node a, b;
	pthread_t fence;
	void *res;

	lun.refuse_abort = true;
	node_open(&a, 0, 1, WAIT_MS);
	node_open(&b, 1, 1, WAIT_MS);
	fake_park(&lun, 0);
	writer_start(&w, &a);
	while (!fake_waiting(&lun, 0))
		usleep(1000);
	assert_int_equal(pthread_create(&fence, NULL, fence_b, &a), 0);
	while (fake_key(&lun, 1, 0))
		usleep(1000);
	usleep(100000); /* time to do it wrongly */
	pthread_mutex_lock(&lun.lock);
	assert_int_equal(lun.host[0].resets, 0);
	pthread_mutex_unlock(&lun.lock);
	fake_let_go(&lun, 0);
	pthread_join(fence, &res);
	assert_int_equal((uintptr_t)res, CSV_OK);
	assert_int_equal(lun.host[0].resets, 1);
	assert_int_equal(writer_end(&w), CSV_OK);
	assert_int_equal(put(&a, 10, 'x', 0), CSV_OK);
	node_close(&a);
	node_close(&b);
}

/* Reservations and the path to them come back together. */
static void test_reservation_waits_for_path(void **state)
{
	struct writer w;
	struct node a, b;
	pthread_t fence;
	void *res;

	node_open(&a, 0, 1, WAIT_MS);
	node_open(&b, 1, 1, WAIT_MS);
	fake_set_dead(&lun, 0, 0, true);
	assert_int_equal(pthread_create(&fence, NULL, fence_b, &a), 0);
	writer_start(&w, &a);
	assert_true(reached(&a.paused, 1));
	fake_set_dead(&lun, 0, 0, false);
	pthread_join(fence, &res);
	assert_int_equal((uintptr_t)res, CSV_OK);
	assert_int_equal(writer_end(&w), CSV_OK);
	assert_int_equal(fake_key(&lun, 1, 0), 0);
	node_close(&a);
	node_close(&b);
}

static void test_attentions(void **state)
{
	struct csv_pr_status st;
	uint64_t generation;
	struct node a;

	node_open(&a, 0, 1, WAIT_MS);
	generation = csv_bdev_generation(a.dev);
	lun.host[0].path[0].attention = 0x2a03;
	assert_int_equal(a.dev->ops->pr_status(a.dev, &st), CSV_OK);
	assert_true(reached(&a.judged, 2));
	assert_int_equal(csv_bdev_generation(a.dev), generation); /* the key is there */
	lun.host[0].path[0].attention = 0x2901;
	assert_int_equal(a.dev->ops->pr_status(a.dev, &st), CSV_OK);
	assert_true(csv_bdev_generation(a.dev) > generation);
	assert_true(reached(&a.judged, 4));
	node_close(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_conflict_alive, setup),
		cmocka_unit_test_setup(test_conflict_fenced, setup),
		cmocka_unit_test_setup(test_marked_between, setup),
		cmocka_unit_test_setup(test_waits_for_commands, setup),
		cmocka_unit_test_setup(test_power_cut, setup),
		cmocka_unit_test_setup(test_power_cut_aptpl, setup),
		cmocka_unit_test_setup(test_bad_block, setup),
		cmocka_unit_test_setup(test_path_back, setup),
		cmocka_unit_test_setup(test_path_error_is_eio, setup),
		cmocka_unit_test_setup(test_path_failed, setup),
		cmocka_unit_test_setup(test_no_return_without_guard, setup),
		cmocka_unit_test_setup(test_every_path, setup),
		cmocka_unit_test_setup(test_fence, setup),
		cmocka_unit_test_setup(test_fence_by_reset, setup),
		cmocka_unit_test_setup(test_reservation_waits_for_path, setup),
		cmocka_unit_test_setup(test_attentions, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
