/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The iSCSI back end against a real tgtd: I/O, reservations, and the way back after
 * the target was killed, frozen or gone, with and without somebody else's fence.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/bdev.h"
#include "lib/env.h"
#include "tests/unit/tgt.h"

#define MIB (1ull << 20)
#define SIZE (64 * MIB)
#define BLOCK 4096u
#define SLOT_BLOCK 1u
#define ALIVE 'A'
#define FENCED 'F'

static bool possible;

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* An initiator with its guard: its slot is alive as long as the first byte of its slot block says so. */
struct node {
	struct csv_bdev *dev;
	uint64_t key;
	atomic_int judged, paused, online, failed, fenced;
	atomic_uint_fast64_t state_ms; /* of the last change */
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

	n->state_ms = now_ms();
	if (state == CSV_PATH_PAUSED)
		n->paused++;
	if (state == CSV_PATH_ONLINE)
		n->online++;
	if (state == CSV_PATH_FAILED)
		n->failed++;
	if (state == CSV_PATH_FENCED)
		n->fenced++;
	if (getenv("VERBOSE"))
		print_message("node %d: state %d: %s\n", (int)n->key, (int)state, reason);
}

static struct csv_bdev *open_lun(const char *lun)
{
	struct csv_bdev *dev;
	struct csv_why why;

	csv_why_init(&why);
	if (csv_bdev_open(lun, CSV_BDEV_EXCLUSIVE, &dev, &why) != CSV_OK)
		fail_msg("open: %s", why.text);
	return dev;
}

static void mark_slot(struct csv_bdev *dev, uint64_t slot, char c)
{
	static char buf[BLOCK] __attribute__((aligned(4096)));

	memset(buf, c, BLOCK);
	assert_int_equal(csv_bdev_write(dev, slot * BLOCK, buf, BLOCK, CSV_IO_FUA), CSV_OK);
}

static void node_register(struct node *n, uint64_t key)
{
	memset(n, 0, sizeof(*n));
	n->key = key;
	n->dev = open_lun(TGT_LUN);
	assert_int_equal(n->dev->ops->pr_register(n->dev, key), CSV_OK);
	assert_int_equal(n->dev->ops->pr_reserve(n->dev, key, CSV_PR_WRITE_EXCLUSIVE_ALL_REG), CSV_OK);
	mark_slot(n->dev, key, ALIVE);
}

static void node_guard(struct node *n, unsigned path_timeout_ms)
{
	struct csv_bdev_guard guard = {
		.slot_block = n->key,
		.pr_key = n->key,
		.judge = judge,
		.state = on_state,
		.arg = n,
		.path_timeout_ms = path_timeout_ms,
	};

	n->dev->ops->set_guard(n->dev, &guard);
}

static void node_open(struct node *n, uint64_t key, unsigned path_timeout_ms)
{
	node_register(n, key);
	node_guard(n, path_timeout_ms);
}

static void node_close(struct node *n)
{
	n->dev->ops->set_guard(n->dev, NULL);
	n->dev->ops->pr_register(n->dev, 0);
	csv_bdev_close(n->dev);
}

static void wait_until(atomic_int *what, int value, unsigned ms)
{
	uint64_t end = now_ms() + ms;

	while (atomic_load(what) < value && now_ms() < end)
		usleep(5000);
	assert_true(atomic_load(what) >= value);
}

static int setup(void **state)
{
	if (possible) {
		setenv("CSV_ISCSI_SILENCE_MS", "15000", 1);
		tgt_start();
	}
	return 0;
}

static int teardown(void **state)
{
	tgt_kill();
	return 0;
}

#define NEEDS_TGT()                                                                                                    \
	do {                                                                                                           \
		if (!possible)                                                                                         \
			skip();                                                                                        \
	} while (0)

static void fill(void *buf, size_t len, uint64_t seed)
{
	uint64_t *p = buf;

	for (size_t i = 0; i < len / 8; i++)
		p[i] = csv_rng_next(&seed);
}

static void io_done(struct csv_io *io, enum csv_err err)
{
	atomic_store((atomic_int *)io->arg, (int)err + 1);
}

static enum csv_err submit_wait(struct csv_bdev *dev, struct csv_io *io)
{
	atomic_int result = 0;

	io->done = io_done;
	io->arg = &result;
	csv_bdev_submit(dev, io);
	while (!atomic_load(&result))
		usleep(200);
	return (enum csv_err)(result - 1);
}

static void test_names(void **state)
{
	static const struct {
		const char *name;
		enum csv_err err;
		const char *text;
	} cases[] = {
		{ "iscsi://", CSV_USAGE, "no IQN" },
		{ "iscsi://host", CSV_USAGE, "no IQN" },
		{ "iscsi://host/iqn.x", CSV_USAGE, "no IQN" },
		{ "iscsi://host/iqn.x/", CSV_USAGE, "number" },
		{ "iscsi://host/iqn.x/abc", CSV_USAGE, "number" },
		{ "iscsi://host/iqn.x/-1", CSV_USAGE, "number" },
		{ "iscsi://host/iqn.x/1x", CSV_USAGE, "follows" },
		{ "iscsi:///iqn.x/1", CSV_USAGE, "host is empty" },
		{ "iscsi://a,,b/iqn.x/1", CSV_USAGE, "host is empty" },
		{ "iscsi://a,b,c,d,e/iqn.x/1", CSV_USAGE, "more than 4" },
		{ "iscsi://host/iqn.x/1?what=1", CSV_USAGE, "unknown option" },
		{ "iscsi://user%secret@host/iqn.x/1", CSV_USAGE, "secret" },
		{ "iscsi://host/iqn.x/1?password=x", CSV_USAGE, "secret" },
		{ "iscsi://host/iqn.x/1?chap=../x", CSV_USAGE, "unknown option" },
		{ "iscsi://host/iqn.x/1?chap=no-such-secret", CSV_NOENT, "no-such-secret" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct csv_bdev *dev;
		struct csv_why why;

		csv_why_init(&why);
		assert_int_equal(csv_bdev_open(cases[i].name, 0, &dev, &why), cases[i].err);
		if (!strstr(why.text, cases[i].text))
			fail_msg("%s: %s", cases[i].name, why.text);
		assert_true(why.hint[0] != 0);
		if (strcmp(cases[i].text, "secret") == 0)
			assert_non_null(strstr(why.hint, "/etc/csvfs/chap/"));
	}
}

static void test_round_trip(void **state)
{
	static const size_t lens[] = { 512, 4096, 65536, MIB, 5 * MIB + 512 };
	char *a = aligned_alloc(4096, 8 * MIB), *b = aligned_alloc(4096, 8 * MIB);
	struct csv_bdev *dev;

	NEEDS_TGT();
	dev = open_lun(TGT_LUN);
	assert_int_equal(dev->geo.size, SIZE);
	assert_int_equal(dev->geo.block, 512);
	print_message("tgtd: fua %d, discard %d\n", dev->geo.fua, dev->geo.discard);
	assert_true(dev->geo.discard);
	for (size_t l = 0; l < sizeof(lens) / sizeof(lens[0]); l++) {
		for (size_t shift = 0; shift <= 24; shift += 8) {
			uint64_t off = 512 * (l * 7 + 3);

			fill(a, 8 * MIB, l * 100 + shift);
			assert_int_equal(csv_bdev_write(dev, off, a + shift, lens[l], shift ? CSV_IO_FUA : 0), CSV_OK);
			memset(b, 0, 8 * MIB);
			assert_int_equal(csv_bdev_read(dev, off, b + shift, lens[l]), CSV_OK);
			assert_memory_equal(a + shift, b + shift, lens[l]);
		}
	}
	assert_int_equal(csv_bdev_flush(dev), CSV_OK);
	assert_int_equal(csv_bdev_read(dev, 100, b, 512), CSV_INVAL);
	assert_int_equal(csv_bdev_read(dev, SIZE, b, 512), CSV_INVAL);
	assert_int_equal(csv_bdev_generation(dev), 0);
	assert_int_equal(dev->stats.sessions, 1);
	csv_bdev_close(dev);
	free(a);
	free(b);
}

/* Without DPOFUA a FUA write is a write and a flush. */
static void test_emulated_fua(void **state)
{
	char buf[BLOCK];
	struct csv_bdev *dev;

	NEEDS_TGT();
	dev = open_lun(TGT_LUN);
	dev->geo.fua = false;
	fill(buf, BLOCK, 1);
	assert_int_equal(csv_bdev_write(dev, 0, buf, BLOCK, CSV_IO_FUA), CSV_OK);
	csv_bdev_close(dev);
}

static void test_vectors_and_discard(void **state)
{
	char *mem = malloc(MIB), back[BLOCK * 4], zero[BLOCK] = { 0 };
	struct iovec iov[1500];
	struct csv_io io = { .op = CSV_IO_WRITE, .off = 8192, .iov = iov };
	struct csv_bdev *dev;
	uint64_t len = 0;

	NEEDS_TGT();
	dev = open_lun(TGT_LUN);
	fill(mem, MIB, 4);
	/* More pieces than a command takes, of odd sizes. */
	for (io.niov = 0; io.niov < 1499; io.niov++, len += iov[io.niov - 1].iov_len)
		iov[io.niov] = (struct iovec){ mem + len, (size_t)(io.niov % 13 + 3) };
	iov[io.niov++] = (struct iovec){ mem + len, 512 - len % 512 };
	len += 512 - len % 512;
	io.len = len;
	assert_int_equal(submit_wait(dev, &io), CSV_OK);
	assert_true(len <= sizeof(back));
	assert_int_equal(csv_bdev_read(dev, 8192, back, len), CSV_OK);
	assert_memory_equal(back, mem, len);

	io = (struct csv_io){ .op = CSV_IO_DISCARD, .off = 8192, .len = BLOCK };
	assert_int_equal(submit_wait(dev, &io), CSV_OK);
	assert_int_equal(csv_bdev_read(dev, 8192, back, BLOCK), CSV_OK);
	assert_memory_equal(back, zero, BLOCK);
	csv_bdev_close(dev);
	free(mem);
}

static void test_chap(void **state)
{
	char dir[] = "/tmp/csv-chap-XXXXXX", file[64];
	struct csv_bdev *dev;
	struct csv_why why;
	int fd;

	NEEDS_TGT();
	tgt_chap("joe", "verysecret123");
	assert_non_null(mkdtemp(dir));
	setenv("CSV_CHAP_DIR", dir, 1);
	snprintf(file, sizeof(file), "%s/joe", dir);
	fd = open(file, O_WRONLY | O_CREAT, 0644);
	assert_int_equal(write(fd, "verysecret123\n", 14), 14);
	fchmod(fd, 0644);
	csv_why_init(&why);
	assert_int_equal(csv_bdev_open(TGT_LUN "?chap=joe", 0, &dev, &why), CSV_ACCESS);
	assert_non_null(strstr(why.hint, "0600"));
	fchmod(fd, 0600);
	csv_bdev_close(open_lun(TGT_LUN "?chap=joe"));
	csv_why_init(&why);
	assert_int_equal(csv_bdev_open(TGT_LUN, 0, &dev, &why), CSV_ACCESS);
	assert_int_equal(pwrite(fd, "wrong", 5, 0), 5);
	csv_why_init(&why);
	assert_int_equal(csv_bdev_open(TGT_LUN "?chap=joe", 0, &dev, &why), CSV_ACCESS);
	assert_null(strstr(why.text, "wrong"));
	close(fd);
	unlink(file);
	rmdir(dir);
	unsetenv("CSV_CHAP_DIR");
}

static void test_open_errors(void **state)
{
	struct csv_bdev *dev;
	struct csv_why why;
	uint64_t t0;

	NEEDS_TGT();
	csv_why_init(&why);
	assert_int_equal(csv_bdev_open("iscsi://127.0.0.1/" TGT_IQN "/9", 0, &dev, &why), CSV_NOENT);
	csv_why_init(&why);
	assert_int_equal(csv_bdev_open("iscsi://127.0.0.1/iqn.2026-01.no.such/1", 0, &dev, &why), CSV_NOENT);
	assert_non_null(strstr(why.text, "iqn.2026-01.no.such"));

	/* The first portal is down, the second works. */
	csv_bdev_close(open_lun("iscsi://127.0.0.9:3261,127.0.0.1/" TGT_IQN "/1"));

	tgt_kill();
	t0 = now_ms();
	csv_why_init(&why);
	assert_int_equal(csv_bdev_open(TGT_LUN, 0, &dev, &why), CSV_UNREACH);
	assert_true(now_ms() - t0 < 2000);
	assert_non_null(strstr(why.text, "Connection refused"));
	assert_null(strchr(why.text, '\n'));
	print_message("%s; %s\n", why.text, why.hint);

	/* It accepts but says nothing. */
	tgt_start();
	tgt_freeze();
	setenv("CSV_ISCSI_OPEN_MS", "1000", 1);
	t0 = now_ms();
	csv_why_init(&why);
	assert_int_equal(csv_bdev_open(TGT_LUN, 0, &dev, &why), CSV_UNREACH);
	assert_in_range(now_ms() - t0, 900, 3000);
	print_message("%s\n", why.text);
	unsetenv("CSV_ISCSI_OPEN_MS");
	tgt_thaw();
}

static bool has_key(const struct csv_pr_status *st, uint64_t key)
{
	for (unsigned i = 0; i < st->nkeys; i++)
		if (st->keys[i] == key)
			return true;
	return false;
}

static void test_reservations(void **state)
{
	struct csv_pr_status st;
	struct node a, b;
	bool aborted = true;
	char buf[BLOCK], before[BLOCK];

	NEEDS_TGT();
	node_open(&a, 0xa, 5000);
	node_open(&b, 0xb, 5000);
	assert_int_equal(a.dev->ops->pr_status(a.dev, &st), CSV_OK);
	assert_int_equal(st.nkeys, 2);
	assert_true(has_key(&st, 0xa) && has_key(&st, 0xb));
	assert_int_equal(st.type, CSV_PR_WRITE_EXCLUSIVE_ALL_REG);

	/* Mark, preempt: b's writes are refused, its judge is asked and says so. */
	mark_slot(a.dev, 0xb, FENCED);
	assert_int_equal(a.dev->ops->pr_preempt(a.dev, 0xa, 0xb, CSV_PR_WRITE_EXCLUSIVE_ALL_REG, &aborted), CSV_OK);
	assert_false(aborted); /* tgtd refuses PREEMPT AND ABORT: the reset did it */
	assert_int_equal(a.dev->ops->pr_status(a.dev, &st), CSV_OK);
	assert_int_equal(st.nkeys, 1);
	assert_true(has_key(&st, 0xa));
	assert_int_equal(st.type, CSV_PR_WRITE_EXCLUSIVE_ALL_REG);
	/* Our own reset is no reason to distrust our cache. */
	assert_int_equal(csv_bdev_generation(a.dev), 0);

	assert_int_equal(csv_bdev_read(a.dev, 100 * BLOCK, before, BLOCK), CSV_OK);
	fill(buf, BLOCK, 9);
	assert_int_equal(csv_bdev_write(b.dev, 100 * BLOCK, buf, BLOCK, 0), CSV_FENCED);
	assert_int_equal(csv_bdev_read(b.dev, 100 * BLOCK, buf, BLOCK), CSV_FENCED);
	assert_int_equal(b.fenced, 1);
	assert_true(b.judged >= 1);
	assert_int_equal(a.fenced, 0);
	/* And it has left no key behind. */
	assert_int_equal(a.dev->ops->pr_status(a.dev, &st), CSV_OK);
	assert_int_equal(st.nkeys, 1);
	assert_int_equal(csv_bdev_read(a.dev, 100 * BLOCK, buf, BLOCK), CSV_OK);
	assert_memory_equal(buf, before, BLOCK);
	assert_int_equal(csv_bdev_write(a.dev, 100 * BLOCK, buf, BLOCK, 0), CSV_OK);

	/* Again: the key is absent, which PREEMPT answers with a conflict. */
	assert_int_equal(a.dev->ops->pr_preempt(a.dev, 0xa, 0xb, CSV_PR_WRITE_EXCLUSIVE_ALL_REG, &aborted), CSV_OK);
	/* Without a key of our own it is we who are out. */
	assert_int_equal(a.dev->ops->pr_register(a.dev, 0), CSV_OK);
	assert_int_equal(a.dev->ops->pr_preempt(a.dev, 0xa, 0xb, CSV_PR_WRITE_EXCLUSIVE_ALL_REG, &aborted),
			 CSV_CONFLICT);
	node_close(&b);
	node_close(&a);
}

struct outsider {
	struct csv_bdev *dev;
	atomic_bool stop;
	atomic_int tried, passed;
};

static void *outsider_writes(void *arg)
{
	struct outsider *o = arg;
	char *buf = aligned_alloc(4096, BLOCK);

	memset(buf, 'x', BLOCK);
	while (!o->stop) {
		if (csv_bdev_write(o->dev, 200 * BLOCK, buf, BLOCK, 0) == CSV_OK)
			o->passed++;
		o->tried++;
	}
	free(buf);
	return NULL;
}

static void outsider_start(struct outsider *o, pthread_t *thread)
{
	o->dev = open_lun(TGT_LUN);
	assert_int_equal(pthread_create(thread, NULL, outsider_writes, o), 0);
}

static void outsider_stop(struct outsider *o, pthread_t thread)
{
	o->stop = true;
	pthread_join(thread, NULL);
	print_message("%d writes of the outsider refused\n", (int)o->tried);
	assert_true(o->tried > 100);
	assert_int_equal(o->passed, 0);
	csv_bdev_close(o->dev);
}

/*
 * However often one fences, whoever made the reservation: at no moment may a host that is not registered write, and
 * those that are may always (F1).
 */
static void test_fences_leave_no_gap(void **state)
{
	struct outsider o = { 0 };
	struct csv_pr_status st;
	struct node a, b, c;
	pthread_t thread;
	bool aborted;
	char buf[BLOCK];

	NEEDS_TGT();
	node_open(&b, 0xb, 5000); /* makes the reservation */
	node_open(&a, 0xa, 5000);
	node_open(&c, 0xc, 5000);
	outsider_start(&o, &thread);
	assert_int_equal(a.dev->ops->pr_preempt(a.dev, 0xa, 0xb, CSV_PR_WRITE_EXCLUSIVE_ALL_REG, &aborted), CSV_OK);
	for (int i = 0; i < 100; i++) {
		struct node *fencer = i % 2 ? &a : &c, *other = i % 2 ? &c : &a;

		fill(buf, BLOCK, (uint64_t)i);
		assert_int_equal(fencer->dev->ops->pr_preempt(fencer->dev, fencer->key, 0xdead,
							      CSV_PR_WRITE_EXCLUSIVE_ALL_REG, &aborted),
				 CSV_OK);
		assert_int_equal(csv_bdev_write(other->dev, 50 * BLOCK, buf, BLOCK, 0), CSV_OK);
		assert_int_equal(fencer->dev->ops->pr_status(fencer->dev, &st), CSV_OK);
		assert_int_equal(st.type, CSV_PR_WRITE_EXCLUSIVE_ALL_REG);
		assert_true(has_key(&st, 0xa) && has_key(&st, 0xc) && !has_key(&st, 0xb));
	}
	outsider_stop(&o, thread);
	node_close(&a);
	node_close(&c);
	b.dev->ops->set_guard(b.dev, NULL);
	csv_bdev_close(b.dev);
}

/* ---- two nodes fence each other (F5) ---- */

#define DUELS 50

struct duellist {
	struct node n;
	uint64_t victim;
	pthread_barrier_t *start;
	enum csv_err err;
};

static void *fences(void *arg)
{
	struct duellist *d = arg;
	bool aborted;

	pthread_barrier_wait(d->start);
	d->err = d->n.dev->ops->pr_preempt(d->n.dev, d->n.key, d->victim, CSV_PR_WRITE_EXCLUSIVE_ALL_REG, &aborted);
	return NULL;
}

static void fight(struct duellist *a, struct duellist *b)
{
	pthread_barrier_t start;
	pthread_t thread;

	pthread_barrier_init(&start, NULL, 2);
	a->start = b->start = &start;
	assert_int_equal(pthread_create(&thread, NULL, fences, a), 0);
	fences(b);
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&start);
}

/*
 * The winner marks the loser's slot, as a fence ends; then the one can write, the other cannot.  No guard before: a
 * loser that is not marked yet would register again.
 */
static void check_duel(struct duellist *winner, struct duellist *loser)
{
	struct csv_pr_status st;
	char buf[BLOCK];

	assert_int_equal(winner->err, CSV_OK);
	assert_int_equal(loser->err, CSV_CONFLICT);
	assert_int_equal(winner->n.dev->ops->pr_status(winner->n.dev, &st), CSV_OK);
	assert_true(has_key(&st, winner->n.key) && !has_key(&st, loser->n.key));
	assert_int_equal(st.type, CSV_PR_WRITE_EXCLUSIVE_ALL_REG);
	mark_slot(winner->n.dev, loser->n.key, FENCED);
	node_guard(&winner->n, 20000);
	node_guard(&loser->n, 20000);
	fill(buf, BLOCK, winner->n.key);
	assert_int_equal(csv_bdev_write(winner->n.dev, 50 * BLOCK, buf, BLOCK, 0), CSV_OK);
	assert_int_equal(csv_bdev_write(loser->n.dev, 50 * BLOCK, buf, BLOCK, 0), CSV_FENCED);
}

static void test_duel(void **state)
{
	struct duellist a = { .victim = 0xb }, b = { .victim = 0xa };
	struct outsider o = { 0 };
	pthread_t thread;
	int wins = 0;

	NEEDS_TGT();
	node_register(&a.n, 0xa);
	node_register(&b.n, 0xb);
	outsider_start(&o, &thread);
	for (int i = 0; i < DUELS; i++) {
		struct duellist *loser, *winner;

		fight(&a, &b);
		loser = a.err ? &a : &b;
		wins += loser == &b;
		check_duel(a.err ? &b : &a, loser);
		/* Anew, one after the other: with nobody registered the outsider may write. */
		node_close(&loser->n);
		node_register(&loser->n, loser->n.key);
		winner = loser == &a ? &b : &a;
		node_close(&winner->n);
		node_register(&winner->n, winner->n.key);
	}
	print_message("the first won %d of %d\n", wins, DUELS);
	outsider_stop(&o, thread);
	node_close(&a.n);
	node_close(&b.n);
}

/* Nobody has made the reservation, as after a restart of the target: the fence does, before it removes the key (F1). */
static void test_fence_reserves(void **state)
{
	struct csv_pr_status st;
	struct csv_bdev *a, *b;
	char buf[BLOCK] = { 0 };
	bool aborted;

	NEEDS_TGT();
	tgt_disguise();
	a = open_lun(TGT_LUN);
	b = open_lun(TGT_LUN);
	assert_int_equal(a->ops->pr_register(a, 0xa), CSV_OK);
	assert_int_equal(b->ops->pr_register(b, 0xb), CSV_OK);
	assert_int_equal(b->ops->pr_preempt(b, 0xb, 0xa, CSV_PR_WRITE_EXCLUSIVE_ALL_REG, &aborted), CSV_OK);
	assert_int_equal(b->ops->pr_status(b, &st), CSV_OK);
	assert_int_equal(st.type, CSV_PR_WRITE_EXCLUSIVE_ALL_REG);
	assert_true(st.nkeys == 1 && has_key(&st, 0xb));
	assert_int_equal(csv_bdev_write(b, 0, buf, BLOCK, 0), CSV_OK);
	csv_bdev_close(b);
	csv_bdev_close(a);
}

/* A conflict that is no fence: the key was removed, but the slot says alive. The node comes back by itself. */
static void test_conflict_but_alive(void **state)
{
	struct node a, b;
	char buf[BLOCK];
	bool aborted;

	NEEDS_TGT();
	node_open(&a, 0xa, 5000);
	node_open(&b, 0xb, 5000);
	fill(buf, BLOCK, 2);
	assert_int_equal(a.dev->ops->pr_preempt(a.dev, 0xa, 0xb, CSV_PR_WRITE_EXCLUSIVE_ALL_REG, &aborted), CSV_OK);
	assert_int_equal(csv_bdev_write(b.dev, 50 * BLOCK, buf, BLOCK, 0), CSV_OK);
	assert_true(csv_bdev_generation(b.dev) > 0);
	assert_true(b.paused >= 1 && b.online == b.paused && b.judged >= 2);
	node_close(&b);
	node_close(&a);
}

/* ---- load ---- */

#define WRITERS 16

struct load {
	struct node *n;
	pthread_t thread[WRITERS];
	atomic_bool stop;
	atomic_int errors, acked;
	uint64_t last[WRITERS]; /* last number acknowledged to this writer */
	int ids;
};

/* Writer i counts upwards in block 1000 + i, waiting for each write. */
static void *writer(void *arg)
{
	struct load *l = arg;
	int i = __atomic_fetch_add(&l->ids, 1, __ATOMIC_RELAXED);
	uint64_t *buf = aligned_alloc(4096, BLOCK);

	for (uint64_t k = 1; !l->stop; k++) {
		memset(buf, 0, BLOCK);
		for (unsigned w = 0; w < BLOCK / 8; w += 64)
			buf[w] = k; /* in each sector */
		if (csv_bdev_write(l->n->dev, (1000 + (uint64_t)i) * BLOCK, buf, BLOCK, 0) != CSV_OK) {
			l->errors++;
			break;
		}
		l->last[i] = k;
		l->acked++;
	}
	free(buf);
	return NULL;
}

static void load_start(struct load *l, struct node *n)
{
	memset(l, 0, sizeof(*l));
	l->n = n;
	for (int i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&l->thread[i], NULL, writer, l), 0);
}

static void load_stop(struct load *l)
{
	l->stop = true;
	for (int i = 0; i < WRITERS; i++)
		pthread_join(l->thread[i], NULL);
}

/* What was acknowledged last is what lies in the image, in every sector. */
static void load_verify(struct load *l)
{
	int fd = tgt_image();
	uint64_t buf[BLOCK / 8];

	for (int i = 0; i < WRITERS; i++) {
		assert_int_equal(pread(fd, buf, BLOCK, (1000 + i) * (off_t)BLOCK), BLOCK);
		for (unsigned w = 0; w < BLOCK / 8; w += 64)
			assert_int_equal(buf[w], l->last[i]);
	}
	close(fd);
}

static void test_target_restart(void **state)
{
	struct csv_pr_status st;
	struct node a;
	struct load l;
	int before;

	NEEDS_TGT();
	node_open(&a, 0xa, 20000);
	load_start(&l, &a);
	for (int round = 1; round <= 2; round++) {
		usleep(300000);
		tgt_kill();
		wait_until(&a.paused, round, 3000);
		usleep(300000);
		before = l.acked;
		tgt_start();
		wait_until(&a.online, round, 10000);
		usleep(300000);
		assert_true(l.acked > before);
		assert_int_equal(csv_bdev_generation(a.dev), (uint64_t)round);
	}
	load_stop(&l);
	assert_int_equal(l.errors, 0);
	assert_int_equal(a.failed, 0);
	assert_int_equal(a.judged, 4); /* before and after the registration, each time */
	assert_int_equal(a.dev->stats.sessions, 3);
	/* The target had forgotten key and reservation. */
	assert_int_equal(a.dev->ops->pr_status(a.dev, &st), CSV_OK);
	assert_true(st.nkeys == 1 && has_key(&st, 0xa));
	assert_int_equal(st.type, CSV_PR_WRITE_EXCLUSIVE_ALL_REG);
	load_verify(&l);
	print_message("%d writes acknowledged\n", (int)l.acked);
	node_close(&a);
}

/* The target hangs with writes queued, the session is given up, the target goes on: nothing old may land late. */
static void test_frozen_target(void **state)
{
	struct node a;
	struct load l;

	NEEDS_TGT();
	setenv("CSV_ISCSI_SILENCE_MS", "900", 1);
	node_open(&a, 0xa, 20000);
	load_start(&l, &a);
	for (int round = 1; round <= 3; round++) {
		usleep(200000);
		tgt_freeze();
		wait_until(&a.paused, round, 5000);
		usleep(500000);
		tgt_thaw();
		wait_until(&a.online, round, 10000);
	}
	usleep(300000);
	load_stop(&l);
	assert_int_equal(l.errors, 0);
	assert_int_equal(csv_bdev_generation(a.dev), 3);
	load_verify(&l);
	node_close(&a);
}

/* Frozen as above, and fenced meanwhile by another node: it comes back to find out, and writes nothing. */
static void test_frozen_and_fenced(void **state)
{
	struct node a, b;
	struct load l;
	char slot[BLOCK];
	bool aborted;
	int fd;

	NEEDS_TGT();
	setenv("CSV_ISCSI_SILENCE_MS", "900", 1);
	node_open(&a, 0xa, 20000);
	load_start(&l, &a);
	usleep(200000);
	tgt_freeze();
	wait_until(&a.paused, 1, 5000);
	/* The mark goes in past the target, which is what a survivor with another path would do. */
	fd = tgt_image();
	memset(slot, FENCED, BLOCK);
	assert_int_equal(pwrite(fd, slot, BLOCK, 0xa * BLOCK), BLOCK);
	fsync(fd);
	close(fd);
	tgt_thaw();
	wait_until(&a.fenced, 1, 10000);
	load_stop(&l);
	assert_int_equal(l.errors, WRITERS);
	assert_int_equal(a.online, 0);
	assert_int_equal(csv_bdev_write(a.dev, 0, slot, BLOCK, 0), CSV_FENCED);
	/* Its key is gone, so a survivor's PREEMPT finds nothing and says so. */
	setenv("CSV_ISCSI_SILENCE_MS", "15000", 1);
	node_open(&b, 0xb, 5000);
	assert_int_equal(b.dev->ops->pr_preempt(b.dev, 0xb, 0xa, CSV_PR_WRITE_EXCLUSIVE_ALL_REG, &aborted), CSV_OK);
	node_close(&b);
	node_close(&a);
}

static void test_path_timeout(void **state)
{
	uint64_t t0;
	struct node a;
	struct load l;

	NEEDS_TGT();
	node_open(&a, 0xa, 1500);
	load_start(&l, &a);
	usleep(200000);
	t0 = now_ms();
	tgt_kill();
	wait_until(&a.failed, 1, 5000);
	assert_in_range(a.state_ms - t0, 1400, 4000);
	load_stop(&l);
	assert_int_equal(l.errors, WRITERS);
	/* For good: the owner has acted on it. */
	tgt_start();
	usleep(300000);
	assert_int_equal(csv_bdev_flush(a.dev), CSV_UNREACH);
	assert_int_equal(a.online, 0);
	node_close(&a);
}

/* After the guard is taken away nothing held may be sent on a new session. */
static void test_no_return_after_guard(void **state)
{
	char buf[BLOCK] = { 0 };
	struct node a;

	NEEDS_TGT();
	node_open(&a, 0xa, 5000);
	a.dev->ops->set_guard(a.dev, NULL);
	assert_int_equal(csv_bdev_write(a.dev, 0, buf, BLOCK, 0), CSV_OK);
	tgt_kill();
	tgt_start();
	assert_int_equal(csv_bdev_write(a.dev, 0, buf, BLOCK, 0), CSV_UNREACH);
	csv_bdev_close(a.dev);
}

/* A mounter that has registered and has no guard yet: nothing held may be sent without its key. */
static void test_no_return_before_guard(void **state)
{
	char buf[BLOCK] = { 0 };
	struct csv_bdev *dev;

	NEEDS_TGT();
	dev = open_lun(TGT_LUN);
	assert_int_equal(dev->ops->pr_register(dev, 0xa), CSV_OK);
	tgt_kill();
	tgt_start();
	assert_int_equal(csv_bdev_write(dev, 0, buf, BLOCK, 0), CSV_UNREACH);
	csv_bdev_close(dev);
}

/* A tool without a guard just goes on. */
static void test_tool_restart(void **state)
{
	char buf[BLOCK] = { 0 };
	struct csv_bdev *dev;

	NEEDS_TGT();
	dev = open_lun(TGT_LUN);
	tgt_kill();
	tgt_start();
	assert_int_equal(csv_bdev_write(dev, 0, buf, BLOCK, 0), CSV_OK);
	assert_int_equal(csv_bdev_generation(dev), 1);
	csv_bdev_close(dev);
}

/* Another host resets the LUN in the middle of our load: all is retried, and as no session was lost nothing was
 * forgotten. */
static void test_reset_under_load(void **state)
{
	struct node a, b;
	struct load l;
	bool aborted;

	NEEDS_TGT();
	setenv("CSV_ISCSI_SILENCE_MS", "900", 1);
	node_open(&a, 0xa, 20000);
	node_open(&b, 0xb, 20000);
	load_start(&l, &a);
	for (int i = 0; i < 5; i++) {
		usleep(100000);
		assert_int_equal(b.dev->ops->pr_preempt(b.dev, 0xb, 0xdead, CSV_PR_WRITE_EXCLUSIVE_ALL_REG, &aborted),
				 CSV_OK);
	}
	usleep(200000);
	load_stop(&l);
	assert_int_equal(l.errors, 0);
	assert_int_equal(csv_bdev_generation(a.dev), 0);
	assert_int_equal(csv_bdev_generation(b.dev), 0);
	load_verify(&l);
	node_close(&b);
	node_close(&a);
}

static void test_many_in_flight(void **state)
{
	char *w = aligned_alloc(4096, 16 * MIB), *r = aligned_alloc(4096, 16 * MIB);
	struct csv_bdev_batch *batch;
	struct csv_bdev *dev;
	uint64_t t0;

	NEEDS_TGT();
	dev = open_lun(TGT_LUN);
	fill(w, 16 * MIB, 77);
	t0 = now_ms();
	assert_int_equal(csv_bdev_batch_begin(dev, &batch), CSV_OK);
	for (size_t i = 0; i < 4096; i++)
		csv_bdev_batch_write(batch, i * BLOCK, w + i * BLOCK, BLOCK, 0);
	assert_int_equal(csv_bdev_batch_wait(batch), CSV_OK);
	print_message("4096 writes of 4 KiB: %d ms\n", (int)(now_ms() - t0));
	t0 = now_ms();
	assert_int_equal(csv_bdev_batch_begin(dev, &batch), CSV_OK);
	for (size_t i = 0; i < 4096; i++)
		csv_bdev_batch_read(batch, i * BLOCK, r + i * BLOCK, BLOCK);
	assert_int_equal(csv_bdev_batch_wait(batch), CSV_OK);
	print_message("4096 reads of 4 KiB: %d ms\n", (int)(now_ms() - t0));
	assert_memory_equal(w, r, 16 * MIB);
	csv_bdev_close(dev);
	free(w);
	free(r);
}

#define WITH_TGT(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),	      WITH_TGT(test_round_trip),
		WITH_TGT(test_emulated_fua),	      WITH_TGT(test_vectors_and_discard),
		WITH_TGT(test_many_in_flight),	      WITH_TGT(test_chap),
		WITH_TGT(test_open_errors),	      WITH_TGT(test_reservations),
		WITH_TGT(test_conflict_but_alive),    WITH_TGT(test_target_restart),
		WITH_TGT(test_fences_leave_no_gap),   WITH_TGT(test_frozen_target),
		WITH_TGT(test_frozen_and_fenced),     WITH_TGT(test_path_timeout),
		WITH_TGT(test_no_return_after_guard), WITH_TGT(test_tool_restart),
		WITH_TGT(test_reset_under_load),      WITH_TGT(test_duel),
		WITH_TGT(test_fence_reserves),	      WITH_TGT(test_no_return_before_guard),
	};
	int failed;

	possible = tgt_enter(SIZE);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	tgt_leave();
	return failed;
}
