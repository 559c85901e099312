/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A thin LUN that is full at the array: who hears of it, who waits, and that nothing is lost by it. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "iorig.h"
#include "lib/bdev_impl.h"
#include "lib/scsi.h"

#define BLOCK 4096u

/* Passes on to memory what comes; while it is full, writes (flushes too, if `flushes`) are refused. */
struct thin {
	struct csv_bdev dev;
	struct csv_bdev *below;
	atomic_bool full, flushes;
	atomic_uint refused;
};

static void thin_submit(struct csv_bdev *dev, struct csv_io *io)
{
	struct thin *t = (struct thin *)dev;

	if (atomic_load(&t->full) && (io->op == CSV_IO_WRITE || (io->op == CSV_IO_FLUSH && atomic_load(&t->flushes)))) {
		if (io->op == CSV_IO_FLUSH)
			csv_bdev_generation_bump(dev);
		atomic_fetch_add(&t->refused, 1);
		io->done(io, CSV_LUNFULL);
		return;
	}
	csv_bdev_submit(t->below, io);
}

static const struct csv_bdev_ops thin_ops = { .name = "thin", .submit = thin_submit };

/* A volume on a thin LUN. */
struct rig {
	struct thin thin;
	struct iorig r;
	struct csv_bdev_full wait;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool waits; /* as told */
	unsigned told;
};

static void tell(void *arg, bool waits)
{
	struct rig *g = arg;

	pthread_mutex_lock(&g->lock);
	g->waits = waits;
	g->told++;
	pthread_cond_broadcast(&g->changed);
	pthread_mutex_unlock(&g->lock);
}

/* False: not within ten seconds. */
static bool until_waits(struct rig *g, bool waits)
{
	struct timespec end;
	int gone = 0;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += 10;
	pthread_mutex_lock(&g->lock);
	while (g->waits != waits && gone == 0)
		gone = pthread_cond_timedwait(&g->changed, &g->lock, &end);
	pthread_mutex_unlock(&g->lock);
	return gone == 0;
}

static void setup(struct rig *g)
{
	memset(g, 0, sizeof(*g));
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->changed, NULL);
	iorig_make(&g->r, 512, false);
	g->thin.dev.ops = &thin_ops;
	g->thin.dev.geo = g->r.dev->geo;
	g->thin.below = g->r.dev;
	g->r.fs.dev = &g->thin.dev;
	csv_bdev_on_full(&g->thin.dev, &g->wait, tell, g);
}

static void teardown(struct rig *g)
{
	iorig_free(&g->r);
	pthread_mutex_destroy(&g->wait.lock);
	pthread_mutex_destroy(&g->lock);
	pthread_cond_destroy(&g->changed);
}

static unsigned char data[BLOCK] __attribute__((aligned(4096)));

/* Who writes data is told; no wait, no withdrawal, and what he writes later is there. */
static void test_data(void **state)
{
	unsigned char back[BLOCK];
	_Atomic uint64_t seen = 0;
	struct rig g;
	size_t got;

	setup(&g);
	memset(data, 'a', sizeof(data));
	assert_ok(iorig_write(&g.r, 0, data, BLOCK));
	assert_ok(iorig_sync(&g.r, &seen));
	atomic_store(&g.thin.full, true);
	memset(data, 'b', sizeof(data));
	assert_int_equal(iorig_write(&g.r, 0, data, BLOCK), CSV_LUNFULL);
	assert_int_equal(csv_err_errno(CSV_LUNFULL), ENOSPC);
	/* A part of a block, and one that grows the file. */
	assert_int_equal(iorig_write(&g.r, 100, data, 8), CSV_LUNFULL);
	assert_int_equal(iorig_write(&g.r, 10 * BLOCK + 5, data, 8), CSV_LUNFULL);
	assert_int_equal(g.told, 0);
	atomic_store(&g.thin.full, false);
	assert_ok(csv_fs_state(&g.r.fs));
	assert_ok(iorig_read(&g.r, 0, back, BLOCK, &got));
	assert_int_equal(got, BLOCK);
	assert_int_equal(back[0], 'a');
	assert_int_equal(iorig_size(&g.r), BLOCK);
	assert_ok(iorig_write(&g.r, 0, data, BLOCK));
	assert_ok(iorig_sync(&g.r, &seen));
	assert_ok(iorig_read(&g.r, 0, back, BLOCK, &got));
	assert_int_equal(back[0], 'b');
	teardown(&g);
}

static void *sync_main(void *arg)
{
	static _Atomic uint64_t seen;
	struct rig *g = arg;

	atomic_store(&seen, 0);
	return (void *)(intptr_t)iorig_sync(&g->r, &seen);
}

/* A commit waits as long as it takes, and is durable when it answers. */
static void test_commit_waits(void **state)
{
	pthread_t thread;
	struct rig g;
	void *err;

	setup(&g);
	assert_ok(iorig_truncate(&g.r, 5 * BLOCK));
	atomic_store(&g.thin.full, true);
	assert_int_equal(pthread_create(&thread, NULL, sync_main, &g), 0);
	assert_true(until_waits(&g, true));
	while (atomic_load(&g.thin.refused) < 4) /* tried again and again */
		sched_yield();
	assert_ok(csv_fs_state(&g.r.fs));
	atomic_store(&g.thin.full, false);
	pthread_join(thread, &err);
	assert_int_equal((intptr_t)err, CSV_OK);
	assert_true(until_waits(&g, false));
	assert_int_equal(g.told, 2);
	assert_ok(csv_fs_state(&g.r.fs));
	assert_int_equal(iorig_size(&g.r), 5 * BLOCK);
	teardown(&g);
}

/* The same for what goes home. */
static void *home_main(void *arg)
{
	struct rig *g = arg;

	return (void *)(intptr_t)csv_journal_checkpoint(&g->r.fs);
}

static void test_home_waits(void **state)
{
	_Atomic uint64_t seen = 0;
	pthread_t thread;
	struct rig g;
	void *err;

	setup(&g);
	assert_ok(iorig_truncate(&g.r, 5 * BLOCK));
	assert_ok(iorig_sync(&g.r, &seen)); /* committed, not home */
	atomic_store(&g.thin.full, true);
	assert_int_equal(pthread_create(&thread, NULL, home_main, &g), 0);
	assert_true(until_waits(&g, true));
	atomic_store(&g.thin.full, false);
	pthread_join(thread, &err);
	assert_int_equal((intptr_t)err, CSV_OK);
	assert_ok(csv_fs_state(&g.r.fs));
	teardown(&g);
}

/* The array took the writes into its cache and has no place for them: an fsync does not succeed, then or later. */
static void test_flush_refused(void **state)
{
	_Atomic uint64_t seen = 0;
	struct rig g;

	setup(&g);
	memset(data, 'c', sizeof(data));
	assert_ok(iorig_write(&g.r, 0, data, BLOCK));
	assert_ok(iorig_sync(&g.r, &seen));
	assert_ok(iorig_write(&g.r, 0, data, BLOCK)); /* written in place: no metadata waits */
	atomic_store(&g.thin.flushes, true);
	atomic_store(&g.thin.full, true);
	assert_int_equal(iorig_sync(&g.r, &seen), CSV_LUNFULL);
	atomic_store(&g.thin.full, false);
	assert_int_equal(iorig_sync(&g.r, &seen), CSV_IO); /* once: what was lost has to be written again */
	assert_ok(iorig_write(&g.r, 0, data, BLOCK));
	assert_ok(iorig_sync(&g.r, &seen));
	assert_ok(csv_fs_state(&g.r.fs));
	teardown(&g);
}

static void *write_main(void *arg)
{
	struct rig *g = arg;

	return (void *)(intptr_t)csv_bdev_write(&g->thin.dev, 100 * BLOCK, data, BLOCK, CSV_IO_PATIENT);
}

/* A device that is stopped, for the volume is out, ends the wait. */
static void test_stopped(void **state)
{
	pthread_t thread;
	struct rig g;
	void *err;

	setup(&g);
	atomic_store(&g.thin.full, true);
	assert_int_equal(pthread_create(&thread, NULL, write_main, &g), 0);
	assert_true(until_waits(&g, true));
	csv_bdev_stop(&g.thin.dev);
	pthread_join(thread, &err);
	assert_int_not_equal((intptr_t)err, CSV_OK);
	assert_true(until_waits(&g, false));
	g.thin.dev.stopped = 0;

	/* So does the end of a mount, who begins to wait then too. */
	assert_int_equal(pthread_create(&thread, NULL, write_main, &g), 0);
	assert_true(until_waits(&g, true));
	csv_bdev_full_at_most(&g.thin.dev, 0);
	pthread_join(thread, &err);
	assert_int_equal((intptr_t)err, CSV_LUNFULL);
	assert_int_equal((intptr_t)write_main(&g), CSV_LUNFULL);
	assert_true(until_waits(&g, false));
	atomic_store(&g.thin.full, false);
	teardown(&g);
}

/* Of a batch, what was refused is written again, and only that; another error is not waited over. */
static void test_batch(void **state)
{
	struct csv_bdev_batch *batch;
	struct rig g;

	setup(&g);
	memset(data, 'd', sizeof(data));
	assert_ok(csv_bdev_batch_begin(&g.thin.dev, &batch));
	atomic_store(&g.thin.full, true);
	assert_ok(csv_bdev_batch_write(batch, 100 * BLOCK, data, BLOCK, CSV_IO_PATIENT));
	assert_ok(csv_bdev_batch_write(batch, 101 * BLOCK, data, BLOCK, 0));
	assert_int_equal(csv_bdev_batch_wait(batch), CSV_LUNFULL); /* not all of it is patient */
	assert_int_equal(g.told, 0);
	assert_int_equal(csv_bdev_write(&g.thin.dev, 100 * BLOCK, data, BLOCK, 0), CSV_LUNFULL);
	g.thin.dev.full = NULL; /* a tool's device */
	assert_int_equal(csv_bdev_write(&g.thin.dev, 100 * BLOCK, data, BLOCK, CSV_IO_PATIENT), CSV_LUNFULL);
	atomic_store(&g.thin.full, false);
	teardown(&g);
}

static void test_sense(void **state)
{
	assert_int_equal(csv_scsi_protect(0x2707), CSV_LUNFULL);
	assert_int_equal(csv_scsi_protect(0x2700), CSV_ROFS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_data),	   cmocka_unit_test(test_commit_waits),
		cmocka_unit_test(test_home_waits), cmocka_unit_test(test_flush_refused),
		cmocka_unit_test(test_stopped),	   cmocka_unit_test(test_batch),
		cmocka_unit_test(test_sense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
