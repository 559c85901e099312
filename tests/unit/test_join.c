/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a mount takes its slot (fs/ctl/cluster.c, slot.c): on a device with reservations in memory, with a csvlockd that
 * answers as the test says, and with other mounters that were dropped and wake up in between.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "fs/ctl/link.h"
#include "fs/disk/keys.h"

#define SLOTS 4u
#define STRANGER 0x1234ull

/* ---- a device with reservations ---------------------------------------------------- */

struct fake_dev {
	struct csv_bdev dev; /* first */
	struct csv_bdev *below;
	uint64_t own; /* key of this host; 0: none */
	uint64_t keys[8];
	unsigned nkeys; /* of others */
	enum csv_pr_type type;
	unsigned reserves, preempts;
	uint64_t late_key; /* another host registers when we do */
	void (*before_preempt)(void);
	void (*before_write)(void);
	enum csv_err write_err;
	unsigned writes_until_err; /* write_err hits when this many have passed, once */
};
static struct fake_dev *fake;

static void fake_submit(struct csv_bdev *dev, struct csv_io *io)
{
	if (io->op == CSV_IO_WRITE && fake->before_write)
		fake->before_write();
	if (io->op == CSV_IO_WRITE && fake->write_err && fake->writes_until_err-- == 0) {
		enum csv_err err = fake->write_err;

		fake->write_err = CSV_OK;
		io->done(io, err);
		return;
	}
	csv_bdev_submit(fake->below, io);
}

static bool others_have(uint64_t key)
{
	for (unsigned i = 0; i < fake->nkeys; i++)
		if (fake->keys[i] == key)
			return true;
	return false;
}

static enum csv_err fake_register(struct csv_bdev *dev, uint64_t key)
{
	if (fake->late_key)
		fake->keys[fake->nkeys++] = fake->late_key;
	fake->late_key = 0;
	fake->own = key;
	return CSV_OK;
}

static enum csv_err fake_reserve(struct csv_bdev *dev, uint64_t key, enum csv_pr_type type)
{
	fake->reserves++;
	if (fake->own != key || (fake->type != CSV_PR_NONE && fake->type != type))
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
	if (fake->own != key)
		return CSV_CONFLICT;
	for (unsigned i = 0; i < fake->nkeys; i++)
		if (fake->keys[i] == victim)
			fake->keys[i--] = fake->keys[--fake->nkeys];
	*aborted = true;
	return CSV_OK;
}

static enum csv_err fake_status(struct csv_bdev *dev, struct csv_pr_status *st)
{
	memset(st, 0, sizeof(*st));
	memcpy(st->keys, fake->keys, sizeof(fake->keys));
	st->nkeys = fake->nkeys;
	if (fake->own)
		st->keys[st->nkeys++] = fake->own;
	st->type = fake->type;
	return CSV_OK;
}

static void fake_guard(struct csv_bdev *dev, const struct csv_bdev_guard *guard)
{
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
	.set_guard = fake_guard,
	.close = fake_close,
};

static struct csv_mount m;

static struct csv_slot slot_of(uint32_t n)
{
	struct csv_slot s;

	assert_int_equal(csv_slot_read(fake->below, &m.sb, n, &s, NULL), CSV_OK);
	return s;
}

static void write_slot(uint32_t n, enum csv_slot_state state, uint32_t incarnation, const char *node)
{
	struct csv_slot s = slot_of(n);

	s.state = state;
	s.incarnation = incarnation;
	s.pr_key = csv_slot_pr_key(n, incarnation);
	s.nodeid = 7;
	snprintf(s.node, sizeof(s.node), "%s", node);
	assert_int_equal(csv_slot_write(fake->below, &m.sb, &s), CSV_OK);
}

/* ---- csvlockd ------------------------------------------------------------------------------ */

static struct {
	char dir[64];
	int listener;
	pthread_t thread;
	struct csv_msg_view view;
	enum csv_err attach_err;
	bool silent_attach; /* it dies of the ATTACH */
	struct csv_msg_slot attached;
	uint64_t dirty, dirty_before_attach, over; /* slots told */
	bool key_before_lock;			   /* when slot.N was asked for */
	uint64_t live_later; /* slots that declare themselves a moment after the mounter has come */
	bool fences_late;    /* who is out when the mounter comes fences slot 0 before he is back */
} lockd;

static void answer(int fd, const struct csv_msg *msg)
{
	assert_int_equal(send(fd, msg, sizeof(*msg), MSG_NOSIGNAL), sizeof(*msg));
}

static void send_view(int fd)
{
	struct csv_msg msg = { .type = CSV_MSG_VIEW, .view = lockd.view };

	answer(fd, &msg);
}

static void on_lock(int fd, struct csv_msg *msg)
{
	if (msg->lock.res_type == CSV_RES_SLOT)
		lockd.key_before_lock = fake->own != 0;
	msg->type = CSV_MSG_GRANT;
	answer(fd, msg);
	if (msg->lock.res_type != CSV_RES_MOUNT)
		return;
	send_view(fd);
	if (lockd.live_later) {
		usleep(100000);
		lockd.view.live = lockd.live_later;
		send_view(fd);
	}
}

/* Whoever lives recovers the slot at once. */
static void on_dirty(int fd, struct csv_msg *msg)
{
	uint32_t n = msg->slot.slot;

	lockd.dirty |= 1ull << n;
	if (!lockd.attached.incarnation)
		lockd.dirty_before_attach |= 1ull << n;
	write_slot(n, CSV_SLOT_CLEAN, msg->slot.incarnation, msg->slot.node);
	*msg = (struct csv_msg){ .type = CSV_MSG_DONE, .seq = msg->seq };
	answer(fd, msg);
}

static void on_over(int fd, struct csv_msg *msg)
{
	uint32_t n = msg->slot.slot;

	lockd.over |= 1ull << n;
	lockd.view.live &= ~(1ull << n);
	write_slot(n, CSV_SLOT_CLEAN, msg->slot.incarnation, msg->slot.node);
	*msg = (struct csv_msg){ .type = CSV_MSG_DONE, .seq = msg->seq };
	send_view(fd);
	answer(fd, msg);
}

/* False: the connection ends. */
static bool on_attach(int fd, struct csv_msg *msg)
{
	struct csv_msg reply = { .type = CSV_MSG_ATTACHED, .seq = msg->seq, .view = lockd.view };

	if (lockd.silent_attach)
		return false;
	if (lockd.attach_err) {
		reply = (struct csv_msg){ .type = CSV_MSG_ERROR, .seq = msg->seq, .err = lockd.attach_err };
	} else {
		lockd.attached = msg->slot;
		lockd.view.live |= 1ull << msg->slot.slot;
		lockd.view.incarnation[msg->slot.slot] = msg->slot.incarnation;
		reply.view = lockd.view;
	}
	answer(fd, &reply);
	if (lockd.fences_late) {
		usleep(100000);
		write_slot(0, CSV_SLOT_FENCED, 5, "n2");
		lockd.view.out = 0;
		send_view(fd);
	}
	return true;
}

static bool on_record(int fd, struct csv_msg *msg)
{
	switch (msg->type) {
	case CSV_MSG_HELLO:
		*msg = (struct csv_msg){ .type = CSV_MSG_WELCOME, .seq = msg->seq };
		msg->welcome.version = CSV_PROTO_VERSION;
		msg->welcome.nodeid = 1;
		msg->welcome.quorate = 1;
		strcpy(msg->welcome.node, "n1");
		answer(fd, msg);
		return true;
	case CSV_MSG_LOCK:
		on_lock(fd, msg);
		return true;
	case CSV_MSG_DIRTY:
		on_dirty(fd, msg);
		return true;
	case CSV_MSG_OVER:
		on_over(fd, msg);
		return true;
	case CSV_MSG_ATTACH:
		return on_attach(fd, msg);
	default:
		return true;
	}
}

static void *lockd_thread(void *arg)
{
	int fd = accept(lockd.listener, NULL, NULL);
	struct csv_msg msg;

	while (fd >= 0 && recv(fd, &msg, sizeof(msg), 0) == (ssize_t)sizeof(msg) && on_record(fd, &msg))
		;
	close(fd);
	return NULL;
}

static void lockd_start(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	strcpy(lockd.dir, "/tmp/csv-test-join.XXXXXX");
	assert_non_null(mkdtemp(lockd.dir));
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/lockd.sock", lockd.dir);
	lockd.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(lockd.listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(lockd.listener, 1), 0);
	assert_int_equal(pthread_create(&lockd.thread, NULL, lockd_thread, NULL), 0);
}

static void lockd_stop(void)
{
	char path[128];

	pthread_join(lockd.thread, NULL);
	close(lockd.listener);
	snprintf(path, sizeof(path), "%s/lockd.sock", lockd.dir);
	unlink(path);
	rmdir(lockd.dir);
}

/* ---- the mount ------------------------------------------------------------------------------ */

static int setup(void **state)
{
	struct csv_format f = { .name = "test", .cluster = "c", .slots = SLOTS, .blocks = 8192, .journal_blocks = 128 };
	struct csv_why why;

	memset(&m, 0, sizeof(m));
	csv_why_init(&why);
	fake = calloc(1, sizeof(*fake));
	assert_non_null(fake);
	assert_int_equal(csv_bdev_mem(8192ull << CSV_BLOCK_SHIFT, 512, &fake->below), CSV_OK);
	fake->dev.ops = &fake_ops;
	fake->dev.geo = fake->below->geo;
	m.env = csv_env_system();
	m.dev = &fake->dev;
	m.kind = &csv_mount_cluster;
	m.slot = CSV_SLOT_NONE;
	m.opts.lun = "memory";
	pthread_mutex_init(&m.lock, NULL);
	assert_int_equal(csv_format_write(fake->below, m.env, &f, &m.sb, &why), CSV_OK);
	memset(&lockd, 0, sizeof(lockd));
	lockd.view.quorate = 1;
	m.opts.run_dir = lockd.dir;
	return 0;
}

static int teardown(void **state)
{
	csv_bdev_close(m.dev);
	pthread_mutex_destroy(&m.lock);
	return 0;
}

/* Joins, checks nothing, and is gone again without a word. */
static enum csv_err join(void)
{
	enum csv_err err;
	struct csv_why why;

	csv_why_init(&why);
	lockd_start();
	err = m.kind->join(&m, &why);
	if (getenv("VERBOSE"))
		print_message("join: %s; %s; %s\n", csv_err_text(err), why.text, why.hint);
	if (!err)
		m.kind->left(&m, false);
	lockd_stop();
	return err;
}

static void assert_ours(uint32_t n, uint32_t incarnation)
{
	struct csv_slot s = slot_of(n);

	assert_int_equal(s.state, CSV_SLOT_LIVE);
	assert_int_equal(s.incarnation, incarnation);
	assert_int_equal(s.pr_key, csv_slot_pr_key(n, incarnation));
	assert_string_equal(s.node, "n1");
	assert_int_equal(fake->own, s.pr_key);
	assert_int_equal(lockd.attached.slot, n);
	assert_int_equal(lockd.attached.incarnation, incarnation);
	assert_int_equal(lockd.attached.pr_key, s.pr_key);
	assert_int_equal(fake->type, CSV_PR_WRITE_EXCLUSIVE_ALL_REG);
}

/* ---- tests --------------------------------------------------------------------------------------- */

/* F1: also where the reservation stands, so that the device makes it again after a restart of the target. */
static void test_reserves_always(void **state)
{
	fake->type = CSV_PR_WRITE_EXCLUSIVE_ALL_REG;
	assert_int_equal(join(), CSV_OK);
	assert_ours(0, 1);
	assert_int_equal(fake->reserves, 1);
	assert_true(lockd.key_before_lock);
}

static void test_strangers_are_removed(void **state)
{
	uint64_t living = csv_slot_pr_key(0, 5), dead = csv_slot_pr_key(1, 2), leaving = csv_slot_pr_key(2, 3);

	write_slot(0, CSV_SLOT_LIVE, 5, "n2");
	write_slot(1, CSV_SLOT_FENCED, 2, "n3");
	write_slot(2, CSV_SLOT_CLEAN, 3, "n4"); /* its DETACH is on its way */
	lockd.view.live = 1 | 4;
	lockd.view.out = 2;
	lockd.view.incarnation[0] = 5;
	lockd.view.incarnation[1] = 2;
	lockd.view.incarnation[2] = 3;
	fake->keys[fake->nkeys++] = living;
	fake->keys[fake->nkeys++] = dead;
	fake->keys[fake->nkeys++] = leaving;
	fake->keys[fake->nkeys++] = csv_slot_pr_key(0, 4);
	fake->keys[fake->nkeys++] = csv_slot_pr_key(3, 9);
	fake->keys[fake->nkeys++] = STRANGER;
	/* What is out is for the others: this mount fails when it has waited for them, after its ATTACH. */
	lockd.attach_err = CSV_STALE;
	assert_int_equal(join(), CSV_STALE);
	assert_int_equal(fake->nkeys, 3);
	assert_true(others_have(living) && others_have(dead) && others_have(leaving));
}

/* A mounter that was dropped wakes up before its key is removed, and writes the block that we have written. */
static void sleeper_writes(void)
{
	if (others_have(csv_slot_pr_key(0, 1)))
		write_slot(0, CSV_SLOT_LIVE, 1, "sleeper");
}

static void test_sleeper(void **state)
{
	fake->keys[fake->nkeys++] = csv_slot_pr_key(0, 1); /* the very life that comes next */
	fake->before_preempt = sleeper_writes;
	assert_int_equal(join(), CSV_OK);
	assert_ours(0, 2);
	assert_int_equal(fake->nkeys, 0);
}

static enum csv_err refuse(const struct csv_super *sb)
{
	struct csv_why why;

	csv_why_init(&why);
	return csv_keys_refuse(&fake->dev, sb, 0, &why);
}

/* A key that a lost path has left says nothing if its life ended cleanly; all others mean that somebody is there. */
static void test_key_of_a_life_that_is_over(void **state)
{
	uint64_t key = csv_slot_pr_key(1, 2);

	fake->keys[fake->nkeys++] = key;
	write_slot(1, CSV_SLOT_CLEAN, 2, "n2");
	assert_int_equal(refuse(&m.sb), CSV_OK);
	assert_int_equal(refuse(NULL), CSV_BUSY); /* nothing tells that it is over */
	write_slot(1, CSV_SLOT_LIVE, 2, "n2");
	assert_int_equal(refuse(&m.sb), CSV_BUSY);
	write_slot(1, CSV_SLOT_FENCED, 2, "n2");
	assert_int_equal(refuse(&m.sb), CSV_BUSY);
	write_slot(1, CSV_SLOT_CLEAN, 1, "n2"); /* the next life has registered, and not yet written its block */
	assert_int_equal(refuse(&m.sb), CSV_BUSY);
	write_slot(1, CSV_SLOT_CLEAN, 2, "n2");
	fake->keys[0] = csv_slot_pr_key(SLOTS, 2); /* names no slot */
	assert_int_equal(refuse(&m.sb), CSV_BUSY);
	fake->keys[0] = key;
	fake->keys[fake->nkeys++] = csv_slot_pr_key(0, 1); /* beside it one that is not over */
	assert_int_equal(refuse(&m.sb), CSV_BUSY);
}

/* A local mount may choose the number in its key again before its block says so. */
static void test_local_key_is_never_over(void **state)
{
	struct csv_slot s = slot_of(0);

	s.state = CSV_SLOT_CLEAN;
	s.pr_key = 0xC5F5800000000001ull;
	assert_int_equal(csv_slot_write(fake->below, &m.sb, &s), CSV_OK);
	fake->keys[fake->nkeys++] = s.pr_key;
	assert_int_equal(refuse(&m.sb), CSV_BUSY);
}

static void test_refused_attach_gives_the_slot_back(void **state)
{
	lockd.attach_err = CSV_STALE;
	assert_int_equal(join(), CSV_STALE);
	assert_int_equal(slot_of(0).state, CSV_SLOT_CLEAN);
	assert_int_equal(slot_of(0).incarnation, 1);
	assert_int_equal(fake->own, 0);
}

/* The write of the slot block fails; it may be on disk all the same. */
static void test_failed_write_gives_the_slot_back(void **state)
{
	fake->write_err = CSV_IO;
	assert_int_equal(join(), CSV_IO);
	assert_int_equal(slot_of(0).state, CSV_SLOT_CLEAN);
	assert_int_equal(fake->own, 0);
}

/* Nobody knows whether it was attached: the slot is for the others to recover. */
static void test_unanswered_attach_leaves_the_slot(void **state)
{
	lockd.silent_attach = true;
	assert_int_equal(join(), CSV_NOTCONN);
	assert_int_equal(slot_of(0).state, CSV_SLOT_LIVE);
	assert_int_equal(fake->own, csv_slot_pr_key(0, 1));
}

/* ---- no slot is clean ---- */

/* What is on disk, and the lives of these slots should csvlockd know of them. */
static void fill_slots(void)
{
	for (uint32_t n = 0; n < SLOTS; n++)
		lockd.view.incarnation[n] = 5 + n;
	write_slot(0, CSV_SLOT_LIVE, 5, "n2");
	write_slot(1, CSV_SLOT_LIVE, 6, "n1");
	write_slot(2, CSV_SLOT_FENCED, 7, "n3");
	write_slot(3, CSV_SLOT_LIVE, 8, "n4");
}

static bool replaying;

/* When anything is replayed or taken, every slot is marked and no other key stands. */
static void watch_rescue(void)
{
	bool marked = true;

	for (uint32_t n = 0; n < SLOTS; n++)
		marked &= slot_of(n).state == CSV_SLOT_FENCED;
	if (marked && !fake->nkeys)
		replaying = true;
	else if (slot_of(1).state == CSV_SLOT_CLEAN)
		assert_true(replaying);
}

/* L9: all were in use at a power cut. Its own slot first; the others are told as dirty, marked. */
static void test_deserted(void **state)
{
	fill_slots();
	replaying = false;
	fake->before_write = watch_rescue;
	assert_int_equal(join(), CSV_OK);
	assert_ours(1, 7);
	assert_true(replaying);
	assert_int_equal(lockd.dirty, 1 | 4 | 8);
	assert_int_equal(lockd.dirty_before_attach, 0);
}

static unsigned unmounts;

static void unmounts_late(void)
{
	if (!unmounts++)
		write_slot(3, CSV_SLOT_CLEAN, 8, "n4");
}

/* F5: a clean unmount lands between mark and preempt; its journal is not taken for empty. */
static void test_deserted_marks_twice(void **state)
{
	fill_slots();
	unmounts = 0;
	fake->late_key = csv_slot_pr_key(3, 8);
	fake->before_preempt = unmounts_late;
	assert_int_equal(join(), CSV_OK);
	assert_ours(1, 7);
	assert_int_equal(fake->nkeys, 0);
	assert_int_equal(lockd.dirty, 1 | 4 | 8);
}

/* As csvlockd knows them, if it knows of them. */
static void fill_alive(void)
{
	fill_slots();
	write_slot(2, CSV_SLOT_LIVE, 7, "n3");
}

/* Who has lost his csvlockd only comes back, and the mounter does not touch him. */
static void test_not_deserted(void **state)
{
	fill_alive();
	fake->keys[fake->nkeys++] = csv_slot_pr_key(0, 5);
	lockd.live_later = 15;
	assert_int_equal(join(), CSV_BUSY);
	assert_int_equal(fake->preempts, 0);
	assert_int_equal(slot_of(0).state, CSV_SLOT_LIVE);
	assert_true(others_have(csv_slot_pr_key(0, 5)));
}

/* Somebody lives, but knows nothing of the slot of a mounter that died before its ATTACH. */
static void test_burnt_slot(void **state)
{
	fill_alive();
	lockd.view.live = 1 | 4 | 8;
	assert_int_equal(join(), CSV_OK);
	assert_ours(1, 7);
	assert_int_equal(lockd.dirty_before_attach, 2);
}

static void test_all_in_use(void **state)
{
	fill_alive();
	lockd.view.live = 15;
	assert_int_equal(join(), CSV_BUSY);
	assert_int_equal(fake->own, 0);
}

/* L9: a node that was fenced, which nobody remembers, and which knows nothing of it, is put out. */
static void test_one_was_fenced(void **state)
{
	fill_slots();
	lockd.view.live = 15;
	assert_int_equal(join(), CSV_OK);
	assert_ours(2, 8);
	assert_int_equal(lockd.over, 4);
}

/* A look that finds nothing counts only if nobody was out when it began. */
static void test_looks_when_all_are_back(void **state)
{
	fill_alive();
	write_slot(1, CSV_SLOT_CLEAN, 6, "n1");
	write_slot(3, CSV_SLOT_CLEAN, 8, "n4");
	lockd.view.live = 1 | 4;
	lockd.view.out = 8;
	lockd.fences_late = true;
	assert_int_equal(join(), CSV_OK);
	assert_ours(1, 7);
	assert_int_equal(lockd.dirty, 0);
	assert_int_equal(lockd.over, 1);
}

#define WITH(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(test_reserves_always),
		WITH(test_strangers_are_removed),
		WITH(test_sleeper),
		WITH(test_key_of_a_life_that_is_over),
		WITH(test_local_key_is_never_over),
		WITH(test_refused_attach_gives_the_slot_back),
		WITH(test_failed_write_gives_the_slot_back),
		WITH(test_unanswered_attach_leaves_the_slot),
		WITH(test_deserted),
		WITH(test_deserted_marks_twice),
		WITH(test_not_deserted),
		WITH(test_burnt_slot),
		WITH(test_all_in_use),
		WITH(test_one_was_fenced),
		WITH(test_looks_when_all_are_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
