/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is done again: a look at the leases that failed, until it has an answer; not what is over and forgotten. */
#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fake_lockd.h"
#include "fs/lock/cache.h"
#include "fs/lock/handoff.h"
#include "fs/lock/lease.h"
#include "lib/bdev_impl.h"
#include "migrate/core/handoff.h"
#include "vol.h"

#define ANSWER_S 20

static const struct vol_shape shape = { .blocks = 8192, .ag_blocks = 2048, .journal_blocks = 512 };

static struct vol v;
static struct fake_lockd *lockd;
static struct csv_fs fs; /* slot 1, on the sick device */
static struct csv_workq *workq;
static struct csv_locks *locks;
static struct csv_data *data;
static struct csv_leases *leases;
static struct csv_handoffs *hs;
static struct csv_attr image;

/* A device on which one block cannot be read for a while. */
static struct {
	struct csv_bdev dev; /* first */
	uint64_t block;
	_Atomic unsigned left, failed;
} sick;

static void sick_submit(struct csv_bdev *dev, struct csv_io *io)
{
	if (io->op == CSV_IO_READ && io->off == sick.block << CSV_BLOCK_SHIFT && sick.left) {
		sick.left--;
		sick.failed++;
		io->done(io, CSV_IO);
		return;
	}
	csv_bdev_submit(v.dev, io);
}

static const struct csv_bdev_ops sick_ops = { .name = "sick", .submit = sick_submit };

/* ---- what a mount gives the handoffs ---- */

static struct csv_msg answer;
static sem_t answered;

static enum csv_err send_msg(void *arg, const struct csv_msg *msg)
{
	if (msg->type != CSV_MSG_HO_ANSWER)
		return CSV_OK;
	answer = *msg;
	sem_post(&answered);
	return CSV_OK;
}
static unsigned revoked; /* by the thread; read once it has answered what came behind */
static void revoke(void *arg, struct csv_iref ref, bool on)
{
	revoked += on;
}
static void adopt(void *arg, struct csv_iref ref, const uint8_t id[16], uint64_t ordered_ns)
{
}
static void set_state(void *arg, struct csv_iref ref, enum csv_handle_state state, uint64_t epoch)
{
}
static void ranges(void *arg, struct csv_iref ref, bool gone)
{
}
static bool is_alive(void *arg, uint32_t slot, uint32_t incarnation)
{
	return true;
}

static int setup(void **state)
{
	struct csv_new what = { .mode = S_IFREG | 0600 };
	struct csv_leases_cfg leases_cfg = { .fs = &fs, .nodeid = 2, .alive = is_alive };
	struct csv_handoffs_cfg cfg = { .fs = &fs,
					.nodeid = 2,
					.send = send_msg,
					.revoke = revoke,
					.adopt = adopt,
					.state = set_state,
					.ranges = ranges };
	struct csv_why why;

	sem_init(&answered, 0, 0);
	vol_make(&v, shape);
	VOL_OK(&v, csv_create(&v.ctx, vol_root(&v), "vm.vhd", &what, &image, NULL));
	assert_int_equal(csv_journal_checkpoint(&v.fs), CSV_OK);
	memset(&sick, 0, sizeof(sick));
	sick.dev.ops = &sick_ops;
	sick.dev.geo = v.dev->geo;
	sick.block = image.lease;
	lockd = fake_lockd_new(1);
	csv_why_init(&why);
	assert_int_equal(csv_fs_open(&fs, &sick.dev, csv_env_system(), false, 1, 7, &why), CSV_OK);
	assert_int_equal(csv_workq_new(2, &workq), CSV_OK);
	assert_int_equal(csv_locks_new(&fs, workq, fake_lockd_engine(lockd, 0), NULL, &locks), CSV_OK);
	assert_int_equal(csv_data_new(&fs, workq, &data), CSV_OK);
	fs.locks = csv_locks_ctx(locks);
	leases_cfg.locks = cfg.locks = locks;
	leases_cfg.data = cfg.data = data;
	assert_int_equal(csv_leases_new(&leases_cfg, &leases), CSV_OK);
	cfg.leases = leases;
	assert_int_equal(csv_handoffs_new(&cfg, &hs), CSV_OK);
	return 0;
}

static int teardown(void **state)
{
	csv_handoffs_free(hs);
	fs.locks = NULL;
	csv_leases_free(leases);
	csv_data_free(data);
	csv_locks_free(locks);
	csv_workq_free(workq);
	fake_lockd_free(lockd);
	csv_fs_close(&fs);
	vol_free(&v);
	sem_destroy(&answered);
	return 0;
}

static void order(uint8_t id, enum csv_ho_state state, enum csv_ho_verb verb)
{
	struct csv_msg file = { .type = CSV_MSG_HO_FILE }, msg = { .type = CSV_MSG_HO_ORDER };

	file.ho_file.ino = image.ref.ino;
	file.ho_file.gen = image.ref.gen;
	assert_true(csv_handoffs_record(hs, &file));
	msg.ho.id[0] = id;
	msg.ho.state = state;
	msg.ho.outcome = state == CSV_HO_DONE ? CSV_HO_MOVED : CSV_HO_NONE;
	msg.ho.verb = verb;
	msg.ho.nfiles = 1;
	msg.ho.src_slot = 0;
	msg.ho.src_incarnation = 1;
	msg.ho.dst_slot = 1;
	msg.ho.dst_incarnation = 7;
	assert_true(csv_handoffs_record(hs, &msg));
}

static bool wait_answer(void)
{
	struct timespec ts;
	int no;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += ANSWER_S;
	while ((no = sem_timedwait(&answered, &ts)) && errno == EINTR)
		;
	return no == 0;
}

static void test_resolve(void **state)
{
	sick.left = 2;
	order(1, CSV_HO_RESOLVING, CSV_HO_RESOLVE);
	assert_true(wait_answer());
	assert_int_equal(sick.failed, 2);
	assert_int_equal(answer.ho.event, CSV_HO_EV_IS_OTHER); /* nobody has the lease */
}

/*
 * A VM has moved away and come back; then csvlockd is restarted and tells all it knows of.  The first move's REVOKE is
 * not for the handles that the VM has now.
 */
static void test_forgotten(void **state)
{
	revoked = 0;
	order(2, CSV_HO_DONE, CSV_HO_REVOKE);
	order(2, CSV_HO_DONE, CSV_HO_DECIDED);
	order(1, CSV_HO_RESOLVING, CSV_HO_RESOLVE);
	assert_true(wait_answer());
	assert_int_equal(revoked, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_resolve, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forgotten, setup, teardown),
	};

	return cmocka_run_group_tests_name("handoff: once more", tests, NULL, NULL);
}
