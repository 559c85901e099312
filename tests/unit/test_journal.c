/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Transactions, commit, checkpoint, withdrawal. */
#include <pthread.h>
#include <stdatomic.h>

#include "core.h"
#include "fs/journal/journal_priv.h"

#define TEST_JOURNAL 128u

static void setup(struct core *c)
{
	core_make(c, 4096, TEST_JOURNAL);
	core_open(c);
}

static void teardown(struct core *c)
{
	core_close(c);
	core_free(c);
}

static uint64_t journalled(struct core *c)
{
	struct csv_journal_stats st;

	csv_journal_stats(&c->fs, &st);
	return st.blocks_journalled;
}

struct hook {
	struct csv_txn_hook hook;
	unsigned called;
	enum csv_err err;
};

static void hook_fn(struct csv_txn_hook *h, enum csv_err err)
{
	struct hook *x = csv_list_entry(h, struct hook, hook);

	x->called++;
	x->err = err;
}

/* An operation that allocates, changes and frees, undone: memory, tags and journal are as before. */
static void test_abort(void **state)
{
	uint8_t before[3][CSV_BLOCK_SIZE], after[CSV_BLOCK_SIZE];
	struct hook durable = { .hook.fn = hook_fn }, aborted = { .hook.fn = hook_fn };
	uint64_t a, b, blocks[3], start, len, n;
	struct csv_buf *buf, *bufs[3];
	struct csv_txn *txn;
	struct core c;

	setup(&c);
	a = core_block_new(&c);
	b = core_block_new(&c);
	core_block_set(&c, a, 1);
	assert_ok(csv_journal_checkpoint(&c.fs));
	n = journalled(&c);

	assert_ok(csv_txn_begin(&c.fs, 0, &txn));
	assert_ok(csv_buf_get(&c.fs, a, CSV_MAGIC_LEASE, CORE_OWNER, core_res(), &bufs[0]));
	assert_ok(csv_buf_get(&c.fs, b, CSV_MAGIC_LEASE, CORE_OWNER, core_res(), &bufs[1]));
	assert_ok(csv_buf_get(&c.fs, c.sb.ag_start, CSV_MAGIC_AG, 0, csv_res(CSV_RES_AG, 0), &bufs[2]));
	for (int i = 0; i < 3; i++) {
		memcpy(before[i], bufs[i]->data, CSV_BLOCK_SIZE);
		blocks[i] = bufs[i]->block;
	}
	csv_txn_on_durable(txn, &durable.hook);
	csv_txn_on_abort(txn, &aborted.hook);
	assert_ok(csv_txn_dirty(txn, bufs[0]));
	((struct csv_disk_lease *)bufs[0]->data)->epoch = csv_le64_of(99);
	assert_ok(csv_alloc_meta(txn, &c.ags, 0, CSV_MAGIC_LEASE, 1, csv_res(CSV_RES_LEASE, 1), &buf));
	csv_buf_put(&c.fs, buf);
	assert_ok(csv_alloc_data(txn, &c.ags, 0, 100, &start, &len));
	assert_ok(csv_free_data(txn, start, len / 2));
	assert_true(csv_alloc_pending(&c.fs) > 0);
	assert_ok(csv_free_meta(txn, bufs[1]));
	csv_buf_put(&c.fs, bufs[0]);
	csv_buf_put(&c.fs, bufs[2]);
	csv_txn_abort(txn);

	assert_int_equal(aborted.called, 1);
	assert_int_equal(durable.called, 0);
	assert_int_equal(csv_alloc_pending(&c.fs), 0);
	assert_ok(csv_txn_begin(&c.fs, 0, &txn));
	for (int i = 0; i < 3; i++) {
		if (i < 2)
			assert_ok(csv_buf_get(&c.fs, blocks[i], CSV_MAGIC_LEASE, CORE_OWNER, core_res(), &buf));
		else
			assert_ok(csv_buf_get(&c.fs, blocks[i], CSV_MAGIC_AG, 0, csv_res(CSV_RES_AG, 0), &buf));
		assert_memory_equal(buf->data, before[i], CSV_BLOCK_SIZE);
		assert_true(csv_res_eq(buf->res, i < 2 ? core_res() : csv_res(CSV_RES_AG, 0)));
		csv_buf_put(&c.fs, buf);
	}
	csv_txn_abort(txn);
	assert_ok(csv_journal_checkpoint(&c.fs));
	assert_int_equal(journalled(&c), n); /* nothing was left in the running transaction */
	core_read(&c, a, after);
	assert_int_equal(csv_le64_get(((struct csv_disk_lease *)(void *)after)->epoch), 1);
	assert_int_equal(durable.called, 0);
	teardown(&c);
}

/* An aborted operation on top of an earlier one of the same transaction leaves the earlier one's changes. */
static void test_abort_on_running(void **state)
{
	struct csv_buf *buf;
	struct csv_txn *txn;
	struct core c;
	uint64_t a;

	setup(&c);
	a = core_block_new(&c);
	core_block_set(&c, a, 5);
	assert_ok(csv_txn_begin(&c.fs, 0, &txn));
	assert_ok(csv_buf_get(&c.fs, a, CSV_MAGIC_LEASE, CORE_OWNER, core_res(), &buf));
	assert_ok(csv_txn_dirty(txn, buf));
	((struct csv_disk_lease *)buf->data)->epoch = csv_le64_of(6);
	csv_buf_put(&c.fs, buf);
	csv_txn_abort(txn);
	assert_int_equal(core_block_get(&c, a), 5);
	assert_ok(csv_journal_commit(&c.fs, 0));
	core_restart(&c);
	assert_int_equal(core_block_get(&c, a), 5);
	teardown(&c);
}

static void test_credits(void **state)
{
	struct csv_txn *txn;
	struct csv_buf *buf;
	uint64_t block[3];
	struct core c;

	setup(&c);
	for (int i = 0; i < 3; i++)
		block[i] = core_block_new(&c);
	assert_int_equal(csv_txn_begin(&c.fs, csv_journal_credits_max(&c.fs) + 1, &txn), CSV_INVAL);
	assert_null(txn);
	assert_ok(csv_txn_begin(&c.fs, csv_journal_credits_max(&c.fs), &txn));
	csv_txn_abort(txn);
	assert_ok(csv_txn_begin(&c.fs, 2, &txn));
	for (int i = 0; i < 3; i++) {
		assert_ok(csv_buf_get(&c.fs, block[i], CSV_MAGIC_LEASE, CORE_OWNER, core_res(), &buf));
		assert_int_equal(csv_txn_dirty(txn, buf), i < 2 ? CSV_OK : CSV_INTERNAL);
		if (i < 2)
			assert_ok(csv_txn_dirty(txn, buf)); /* again costs nothing */
		csv_buf_put(&c.fs, buf);
	}
	csv_txn_abort(txn);
	teardown(&c);
}

/* Committed is there after a crash, not committed is not; versions grow by one a transaction. */
static void test_commit_crash(void **state)
{
	uint64_t a, tid, version;
	struct core c;

	setup(&c);
	a = core_block_new(&c);
	assert_ok(csv_journal_checkpoint(&c.fs));
	version = core_home_version(&c, a);
	tid = core_block_set(&c, a, 10);
	assert_false(csv_journal_is_durable(&c.fs, tid));
	assert_ok(csv_journal_commit(&c.fs, tid));
	assert_true(csv_journal_is_durable(&c.fs, tid));
	core_block_set(&c, a, 11);
	core_block_set(&c, a, 12);
	assert_int_equal(core_home_version(&c, a), version);
	core_crash(&c);
	core_replay(&c, NULL);
	assert_int_equal(core_home_value(&c, a), 10);
	assert_int_equal(core_home_version(&c, a), version + 1);
	core_open(&c);
	assert_int_equal(core_block_get(&c, a), 10);
	core_block_set(&c, a, 13);
	core_close(&c);
	assert_int_equal(core_home_value(&c, a), 13);
	assert_int_equal(core_home_version(&c, a), version + 2);
	core_free(&c);
}

/* Many times round a small journal, with crashes in between. */
static void test_wrap(void **state)
{
	uint64_t seed = core_seed("wrap"), block[40], value[40];
	struct csv_journal_stats st;
	struct core c;

	setup(&c);
	for (int i = 0; i < 40; i++)
		block[i] = core_block_new(&c);
	for (int i = 0; i < 40; i++) {
		value[i] = 0;
		core_block_set(&c, block[i], 0);
	}
	assert_ok(csv_journal_commit(&c.fs, 0));
	for (int round = 0; round < 600; round++) {
		unsigned n = (unsigned)(csv_rng_next(&seed) % 20) + 1;

		for (unsigned k = 0; k < n; k++) {
			unsigned i = (unsigned)(csv_rng_next(&seed) % 40);

			value[i] = csv_rng_next(&seed);
			core_block_set(&c, block[i], value[i]);
		}
		assert_ok(csv_journal_commit(&c.fs, 0));
		if (csv_rng_next(&seed) % 50 == 0)
			core_restart(&c);
		if (round % 100 == 99)
			for (int i = 0; i < 40; i++)
				assert_int_equal(core_block_get(&c, block[i]), value[i]);
	}
	csv_journal_stats(&c.fs, &st);
	core_close(&c);
	for (int i = 0; i < 40; i++)
		assert_int_equal(core_home_value(&c, block[i]), value[i]);
	core_free(&c);
}

/* J5: what goes home is what was committed, not what the running transaction has made of it. */
static void test_home_image(void **state)
{
	struct core c;
	uint64_t a;

	setup(&c);
	a = core_block_new(&c);
	core_block_set(&c, a, 1);
	assert_ok(csv_journal_commit(&c.fs, 0));
	core_block_set(&c, a, 2);
	pthread_mutex_lock(&c.fs.journal->home_lock);
	assert_ok(csv_home_write(c.fs.journal, NULL));
	assert_ok(csv_home_trim(c.fs.journal));
	pthread_mutex_unlock(&c.fs.journal->home_lock);
	assert_int_equal(core_home_value(&c, a), 1);
	assert_int_equal(core_block_get(&c, a), 2);
	core_restart(&c);
	assert_int_equal(core_block_get(&c, a), 1);
	teardown(&c);
}

/* A newer durable image replaces an older one that was not home yet. */
static void test_superseded(void **state)
{
	struct csv_journal_stats st, st2;
	struct core c;
	uint64_t a;

	setup(&c);
	a = core_block_new(&c);
	assert_ok(csv_journal_checkpoint(&c.fs));
	csv_journal_stats(&c.fs, &st);
	for (uint64_t i = 1; i <= 5; i++) {
		core_block_set(&c, a, i);
		assert_ok(csv_journal_commit(&c.fs, 0));
	}
	assert_ok(csv_journal_checkpoint(&c.fs));
	csv_journal_stats(&c.fs, &st2);
	assert_int_equal(st2.blocks_home - st.blocks_home, 1);
	assert_int_equal(core_home_value(&c, a), 5);
	teardown(&c);
}

static void test_sync_res(void **state)
{
	struct csv_res other = csv_res(CSV_RES_LEASE, 8);
	struct csv_disk_lease *d;
	struct csv_txn *txn;
	struct csv_buf *buf;
	uint64_t a, b;
	struct core c;

	setup(&c);
	a = core_block_new(&c);
	assert_ok(csv_txn_begin(&c.fs, 0, &txn));
	assert_ok(csv_alloc_meta(txn, &c.ags, 0, CSV_MAGIC_LEASE, 8, other, &buf));
	b = buf->block;
	csv_buf_put(&c.fs, buf);
	csv_txn_end(txn);
	assert_ok(csv_journal_checkpoint(&c.fs));

	assert_ok(csv_txn_begin(&c.fs, 0, &txn));
	assert_ok(csv_buf_get(&c.fs, b, CSV_MAGIC_LEASE, 8, other, &buf));
	assert_ok(csv_txn_dirty(txn, buf));
	d = buf->data;
	d->epoch = csv_le64_of(3);
	csv_buf_put(&c.fs, buf);
	csv_txn_end(txn);
	core_block_set(&c, a, 3);

	assert_ok(csv_journal_sync_res(&c.fs, other));
	assert_int_equal(core_home_value(&c, b), 3);
	assert_int_equal(core_home_value(&c, a), 0);
	csv_cache_drop(&c.fs, other);
	assert_ok(csv_journal_sync_res(&c.fs, core_res()));
	assert_int_equal(core_home_value(&c, a), 3);
	csv_cache_drop(&c.fs, core_res());

	/* A block that moved from one lock to another goes home with either. */
	assert_ok(csv_txn_begin(&c.fs, 0, &txn));
	assert_ok(csv_buf_get(&c.fs, b, CSV_MAGIC_LEASE, 8, other, &buf));
	assert_ok(csv_free_meta(txn, buf));
	csv_txn_end(txn);
	assert_ok(csv_journal_sync_res(&c.fs, other));
	{
		struct csv_block_hdr h[CSV_BLOCK_SIZE / sizeof(struct csv_block_hdr)];

		core_read(&c, b, h);
		assert_int_equal(csv_le32_get(h->magic), CSV_MAGIC_FREE);
	}
	assert_ok(csv_journal_sync_res(&c.fs, csv_res(CSV_RES_AG, 0)));
	csv_cache_drop(&c.fs, csv_res(CSV_RES_AG, 0));
	teardown(&c);
}

/* More blocks than one descriptor names. */
static void test_large(void **state)
{
	enum { N = 700 };
	static uint64_t block[N];
	struct csv_replay_result res;
	struct csv_txn *txn;
	struct csv_buf *buf;
	struct core c;

	core_make(&c, 65536, 2048);
	core_open(&c);
	for (int i = 0; i < N; i++)
		block[i] = core_block_new(&c);
	assert_ok(csv_journal_checkpoint(&c.fs));
	assert_ok(csv_txn_begin(&c.fs, N, &txn));
	for (unsigned i = 0; i < N; i++) {
		assert_ok(csv_buf_get(&c.fs, block[i], CSV_MAGIC_LEASE, CORE_OWNER, core_res(), &buf));
		assert_ok(csv_txn_dirty(txn, buf));
		((struct csv_disk_lease *)buf->data)->epoch = csv_le64_of(i + 1000);
		csv_buf_put(&c.fs, buf);
	}
	csv_txn_end(txn);
	assert_ok(csv_journal_commit(&c.fs, 0));
	core_crash(&c);
	core_replay(&c, &res);
	assert_int_equal(res.transactions, 1);
	assert_int_equal(res.written, N);
	core_open(&c);
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(core_block_get(&c, block[i]), i + 1000);
	teardown(&c);
}

/* ---- order of writes, errors, lost flushes -------------------------------- */

struct log {
	char text[256];
	unsigned n;
	uint64_t journal, end; /* bytes */
	int fail_at;	       /* request of the log to fail, -1 none */
	struct csv_bdev *bump; /* device whose generation grows at... */
	int bump_at;
};

static void log_add(struct log *l, char what)
{
	if (l->n < sizeof(l->text) - 1)
		l->text[l->n++] = what;
	l->text[l->n] = 0;
}

/* j: journal write, c: its commit block (last), F: flush, h: anything else */
static enum csv_err log_watch(void *arg, const struct csv_io *io)
{
	struct log *l = arg;
	int now = (int)l->n;

	if (io->op == CSV_IO_READ)
		return CSV_OK;
	if (io->op == CSV_IO_FLUSH) {
		log_add(l, 'F');
	} else {
		const struct csv_block_hdr *h = io->iov[0].iov_base;
		bool journal = io->off >= l->journal && io->off < l->end;

		log_add(l, !journal								      ? 'h'
			   : io->len == CSV_BLOCK_SIZE && csv_le32_get(h->magic) == CSV_MAGIC_JCOMMIT ? 'c'
			   : csv_le32_get(h->magic) == CSV_MAGIC_JHEAD				      ? 'H'
												      : 'j');
	}
	if (l->bump && now == l->bump_at)
		__atomic_add_fetch(&l->bump->generation, 1, __ATOMIC_ACQ_REL);
	return now == l->fail_at ? CSV_IO : CSV_OK;
}

static void log_start(struct log *l, struct core *c)
{
	*l = (struct log){ .fail_at = -1, .bump_at = -1 };
	l->journal = (uint64_t)CSV_JOURNAL_START << CSV_BLOCK_SHIFT;
	l->end = c->sb.ag_start << CSV_BLOCK_SHIFT;
	c->watch.arg = l;
	c->watch.watch = log_watch;
}

static void set_ordered(struct core *c, uint64_t block, uint64_t value, uint64_t generation)
{
	struct csv_txn *txn;
	struct csv_buf *buf;

	assert_ok(csv_txn_begin(&c->fs, 0, &txn));
	assert_ok(csv_buf_get(&c->fs, block, CSV_MAGIC_LEASE, CORE_OWNER, core_res(), &buf));
	assert_ok(csv_txn_dirty(txn, buf));
	((struct csv_disk_lease *)buf->data)->epoch = csv_le64_of(value);
	csv_txn_ordered(txn, generation);
	csv_buf_put(&c->fs, buf);
	csv_txn_end(txn);
}

static void test_order(void **state)
{
	struct core c;
	struct log l;
	uint64_t a;

	setup(&c);
	a = core_block_new(&c);
	assert_ok(csv_journal_checkpoint(&c.fs));
	log_start(&l, &c);
	core_block_set(&c, a, 1);
	assert_ok(csv_journal_commit(&c.fs, 0));
	assert_string_equal(l.text, "jF"); /* all in one, then the flush */
	log_start(&l, &c);
	set_ordered(&c, a, 2, csv_bdev_generation(c.dev));
	assert_ok(csv_journal_commit(&c.fs, 0));
	assert_string_equal(l.text, "jFc"); /* the device has FUA */
	c.watch.dev.geo.fua = false;
	log_start(&l, &c);
	set_ordered(&c, a, 3, csv_bdev_generation(c.dev));
	assert_ok(csv_journal_commit(&c.fs, 0));
	assert_string_equal(l.text, "jFcF");
	log_start(&l, &c);
	assert_ok(csv_journal_checkpoint(&c.fs));
	assert_string_equal(l.text, "hFH");
	log_start(&l, &c);
	assert_ok(csv_journal_checkpoint(&c.fs)); /* nothing to do */
	assert_string_equal(l.text, "");
	teardown(&c);
}

/* J4: a session loss between write and flush: written again. */
static void test_generation(void **state)
{
	struct core c;
	struct log l;
	uint64_t a;

	setup(&c);
	a = core_block_new(&c);
	assert_ok(csv_journal_checkpoint(&c.fs));
	for (int at = 0; at < 2; at++) {
		log_start(&l, &c);
		l.bump = c.dev;
		l.bump_at = at;
		core_block_set(&c, a, 10 + (uint64_t)at);
		assert_ok(csv_journal_commit(&c.fs, 0));
		assert_string_equal(l.text, "jFjF");
	}
	log_start(&l, &c);
	l.bump = c.dev;
	l.bump_at = 1;
	assert_ok(csv_journal_checkpoint(&c.fs));
	assert_string_equal(l.text, "hFhFH");
	log_start(&l, &c);
	c.watch.watch = NULL;
	core_restart(&c);
	assert_int_equal(core_block_get(&c, a), 11);
	teardown(&c);
}

static unsigned lost_called;
static enum csv_err lost_answer;
static enum csv_err lost(void *arg, uint64_t generation)
{
	lost_called++;
	return lost_answer;
}

/* J4 for data that is in no journal: asked, else withdrawn. */
static void test_lost_data(void **state)
{
	struct core c;
	struct log l;
	uint64_t a;

	setup(&c);
	a = core_block_new(&c);
	assert_ok(csv_journal_checkpoint(&c.fs));
	csv_journal_on_lost(&c.fs, lost, NULL);
	lost_called = 0;
	lost_answer = CSV_OK;
	log_start(&l, &c);
	l.bump = c.dev;
	l.bump_at = 1; /* the flush before the commit block */
	set_ordered(&c, a, 1, csv_bdev_generation(c.dev));
	assert_ok(csv_journal_commit(&c.fs, 0));
	assert_string_equal(l.text, "jFjFc");
	assert_int_equal(lost_called, 1);
	/* Lost already before the commit began. */
	set_ordered(&c, a, 2, csv_bdev_generation(c.dev) - 1);
	assert_ok(csv_journal_commit(&c.fs, 0));
	assert_int_equal(lost_called, 2);

	csv_journal_on_lost(&c.fs, NULL, NULL);
	set_ordered(&c, a, 3, csv_bdev_generation(c.dev) - 1);
	assert_int_equal(csv_journal_commit(&c.fs, 0), CSV_WITHDRAWN);
	assert_non_null(strstr(c.fs.withdraw_reason, "lost"));
	c.watch.watch = NULL;
	core_restart(&c);
	assert_int_equal(core_block_get(&c, a), 2);
	teardown(&c);
}

static char withdraw_text[200];
static void withdrawn(void *arg, enum csv_err err, const char *reason)
{
	snprintf(withdraw_text, sizeof(withdraw_text), "%s", reason);
}

/* An error of any request of a commit: withdrawn, those who wait hear of it, nothing works any more. */
static void test_write_error(void **state)
{
	struct hook durable;
	struct csv_txn *txn;
	struct core c;
	struct log l;
	uint64_t a;

	for (int at = 0; at < 3; at++) {
		setup(&c);
		a = core_block_new(&c);
		assert_ok(csv_journal_checkpoint(&c.fs));
		c.fs.on_withdraw = withdrawn;
		withdraw_text[0] = 0;
		set_ordered(&c, a, 1, csv_bdev_generation(c.dev));
		durable = (struct hook){ .hook.fn = hook_fn };
		assert_ok(csv_txn_begin(&c.fs, 0, &txn));
		csv_txn_on_durable(txn, &durable.hook);
		csv_txn_end(txn);
		log_start(&l, &c);
		l.fail_at = at;
		assert_int_equal(csv_journal_commit(&c.fs, 0), CSV_WITHDRAWN);
		assert_int_equal(durable.called, 1);
		assert_int_equal(durable.err, CSV_WITHDRAWN);
		assert_non_null(strstr(withdraw_text, "journal cannot be written"));
		assert_int_equal(csv_txn_begin(&c.fs, 0, &txn), CSV_WITHDRAWN);
		assert_int_equal(csv_journal_sync_res(&c.fs, core_res()), CSV_WITHDRAWN);
		assert_int_equal(csv_journal_checkpoint(&c.fs), CSV_WITHDRAWN);
		l.n = 0;
		assert_int_equal(csv_fs_close(&c.fs), CSV_WITHDRAWN);
		assert_int_equal(l.n, 0); /* silent to the end */
		core_free(&c);
	}
}

/* Somebody else withdraws while an operation is open. */
static void test_withdraw_open(void **state)
{
	struct hook durable = { .hook.fn = hook_fn };
	struct csv_txn *txn;
	struct core c;
	uint64_t tid;

	setup(&c);
	assert_ok(csv_txn_begin(&c.fs, 0, &txn));
	csv_txn_on_durable(txn, &durable.hook);
	csv_fs_withdraw(&c.fs, CSV_FENCED, "fenced by node 2");
	csv_fs_withdraw(&c.fs, CSV_IO, "later");
	tid = csv_txn_end(txn);
	assert_int_equal(csv_journal_commit(&c.fs, tid), CSV_FENCED);
	assert_string_equal(c.fs.withdraw_reason, "fenced by node 2");
	assert_int_equal(csv_fs_close(&c.fs), CSV_FENCED);
	assert_int_equal(durable.called, 1);
	core_free(&c);
}

/* A block that its verifier refuses is never written. */
static void test_verify_before_write(void **state)
{
	struct csv_txn *txn;
	struct csv_buf *buf;
	struct core c;
	uint64_t a;

	setup(&c);
	a = core_block_new(&c);
	assert_ok(csv_journal_checkpoint(&c.fs));
	assert_ok(csv_txn_begin(&c.fs, 0, &txn));
	assert_ok(csv_buf_get(&c.fs, a, CSV_MAGIC_LEASE, CORE_OWNER, core_res(), &buf));
	assert_ok(csv_txn_dirty(txn, buf));
	((struct csv_disk_lease *)buf->data)->mode = csv_le32_of(77);
	csv_buf_put(&c.fs, buf);
	csv_txn_end(txn);
	assert_int_equal(csv_journal_commit(&c.fs, 0), CSV_WITHDRAWN);
	assert_non_null(strstr(c.fs.withdraw_reason, "lease has mode 77"));
	core_restart(&c);
	assert_int_equal(core_block_get(&c, a), 0);
	teardown(&c);
}

static void test_hooks(void **state)
{
	struct hook first = { .hook.fn = hook_fn }, only = { .hook.fn = hook_fn };
	struct csv_txn *txn;
	struct core c;
	uint64_t a, tid;

	setup(&c);
	a = core_block_new(&c);
	assert_ok(csv_txn_begin(&c.fs, 0, &txn));
	csv_txn_on_durable(txn, &first.hook);
	csv_txn_end(txn);
	tid = core_block_set(&c, a, 1);
	assert_ok(csv_journal_commit(&c.fs, tid));
	assert_int_equal(first.called, 1);
	assert_int_equal(first.err, CSV_OK);
	/* An operation without changes: its hook still runs. */
	assert_ok(csv_txn_begin(&c.fs, 0, &txn));
	csv_txn_on_durable(txn, &only.hook);
	tid = csv_txn_end(txn);
	assert_true(tid == csv_journal_last_tid(&c.fs));
	assert_ok(csv_journal_commit(&c.fs, 0));
	assert_int_equal(only.called, 1);
	teardown(&c);
}

static void test_interval(void **state)
{
	struct timespec ms = { 0, 10 * 1000 * 1000 };
	struct core c;
	uint64_t a, tid;

	setup(&c);
	a = core_block_new(&c);
	assert_ok(csv_journal_checkpoint(&c.fs));
	csv_journal_set_interval(&c.fs, 30);
	tid = core_block_set(&c, a, 1);
	for (int i = 0; i < 300 && !csv_journal_is_durable(&c.fs, tid); i++)
		nanosleep(&ms, NULL);
	assert_true(csv_journal_is_durable(&c.fs, tid));
	for (int i = 0; i < 500 && core_home_value(&c, a) != 1; i++)
		nanosleep(&ms, NULL); /* idle: taken home too */
	assert_int_equal(core_home_value(&c, a), 1);
	teardown(&c);
}

/* ---- threads -------------------------------------------------------------- */

struct worker {
	struct core *c;
	uint64_t block[8];
	unsigned id;
	_Atomic bool *stop;
	uint64_t sets;
};

static void *writer(void *arg)
{
	struct worker *w = arg;
	uint64_t seed = w->id;

	for (unsigned i = 0; i < 400; i++) {
		uint64_t tid = core_block_set(w->c, w->block[csv_rng_next(&seed) % 8], i);

		if (csv_rng_next(&seed) % 4 == 0)
			assert_ok(csv_journal_commit(&w->c->fs, tid));
		if (csv_rng_next(&seed) % 64 == 0)
			assert_ok(csv_journal_sync_res(&w->c->fs, core_res()));
		w->sets++;
	}
	return NULL;
}

static void *reader(void *arg)
{
	struct worker *w = arg;
	uint64_t seed = w->id;

	while (!*w->stop)
		core_block_get(w->c, w->block[csv_rng_next(&seed) % 8]);
	return NULL;
}

static void test_threads(void **state)
{
	_Atomic bool stop = false;
	struct worker w[6] = { 0 };
	struct csv_journal_stats st;
	pthread_t t[6];
	struct core c;

	setup(&c);
	for (int i = 0; i < 8; i++) {
		uint64_t b = core_block_new(&c);

		for (int k = 0; k < 6; k++)
			w[k].block[i] = b;
	}
	csv_journal_set_interval(&c.fs, 5);
	for (unsigned k = 0; k < 6; k++) {
		w[k].c = &c;
		w[k].id = k;
		w[k].stop = &stop;
		pthread_create(&t[k], NULL, k < 4 ? writer : reader, &w[k]);
	}
	for (unsigned k = 0; k < 6; k++) {
		if (k == 4)
			stop = true;
		pthread_join(t[k], NULL);
	}
	csv_journal_stats(&c.fs, &st);
	print_message("1600 changes, %llu commits, %llu checkpoints\n", (unsigned long long)st.commits,
		      (unsigned long long)st.checkpoints);
	teardown(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_abort),
		cmocka_unit_test(test_abort_on_running),
		cmocka_unit_test(test_credits),
		cmocka_unit_test(test_commit_crash),
		cmocka_unit_test(test_wrap),
		cmocka_unit_test(test_home_image),
		cmocka_unit_test(test_superseded),
		cmocka_unit_test(test_sync_res),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_generation),
		cmocka_unit_test(test_lost_data),
		cmocka_unit_test(test_write_error),
		cmocka_unit_test(test_withdraw_open),
		cmocka_unit_test(test_verify_before_write),
		cmocka_unit_test(test_hooks),
		cmocka_unit_test(test_interval),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
