/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power cuts under the core: every prefix of the write log, what was not flushed
 * being kept, lost, torn and reordered, must replay to a whole state that lacks
 * nothing acknowledged, with the right data behind it.  And the two-node histories
 * of SAFETY.md that concern the journal alone.
 */
#include "core.h"
#include "fs/disk/geometry.h"
#include "lib/bug.h"
#include "lib/record.h"

#define FILES 6u
#define OPS 120u

/* A "file": a lease block that names one run of data and the operation that wrote it. */
struct rec {
	uint64_t start, len;
};

static struct {
	uint64_t block[FILES];
	unsigned file_of[OPS + 1]; /* file that operation k (1 ..) rewrote */
	uint64_t free_empty;	   /* free blocks without any data */
	uint64_t seed;
} w;

static void rec_get(const struct csv_disk_lease *d, struct rec *r)
{
	memcpy(r, d->vm, sizeof(*r));
}

static void pattern(uint8_t *page, uint64_t op, uint64_t i)
{
	for (unsigned k = 0; k < CSV_BLOCK_SIZE; k += 16) {
		memcpy(page + k, &op, 8);
		memcpy(page + k + 8, &i, 8);
	}
}

static void write_data(struct core *c, uint64_t op, const struct rec *r)
{
	uint8_t page[CSV_BLOCK_SIZE];

	for (uint64_t i = 0; i < r->len; i++) {
		pattern(page, op, i);
		assert_ok(csv_bdev_write(c->dev, (r->start + i) << CSV_BLOCK_SHIFT, page, sizeof(page), 0));
	}
}

/* Operation k: new data elsewhere, then the file points to it and the old run is free, in one transaction. */
static uint64_t operate(struct core *c, uint64_t k)
{
	unsigned f = (unsigned)(csv_rng_next(&w.seed) % FILES);
	uint64_t generation = csv_bdev_generation(c->dev);
	struct csv_disk_lease *d;
	struct csv_txn *txn;
	struct csv_buf *buf;
	struct rec old, new;

	w.file_of[k] = f;
	assert_ok(csv_txn_begin(&c->fs, 0, &txn));
	assert_ok(csv_alloc_data(txn, &c->ags, 0, csv_rng_next(&w.seed) % 6 + 1, &new.start, &new.len));
	write_data(c, k, &new); /* a real file system would not do this inside, but the order is the same */
	assert_ok(csv_buf_get(&c->fs, w.block[f], CSV_MAGIC_LEASE, CORE_OWNER, core_res(), &buf));
	assert_ok(csv_txn_dirty(txn, buf));
	d = buf->data;
	rec_get(d, &old);
	if (old.len)
		assert_ok(csv_free_data(txn, old.start, old.len));
	memcpy(d->vm, &new, sizeof(new));
	d->epoch = csv_le64_of(k);
	csv_txn_ordered(txn, generation);
	csv_buf_put(&c->fs, buf);
	return csv_txn_end(txn);
}

static void workload(struct core *c)
{
	for (uint64_t k = 1; k <= OPS; k++) {
		uint64_t tid = operate(c, k);

		switch (csv_rng_next(&w.seed) % 8) {
		case 0:
		case 1:
		case 2:
			assert_ok(csv_journal_commit(&c->fs, tid));
			csv_record_mark(c->dev, k);
			break;
		case 3:
			assert_ok(csv_journal_sync_res(&c->fs, core_res()));
			csv_record_mark(c->dev, k);
			break;
		case 4:
			if (csv_rng_next(&w.seed) % 4 == 0) {
				assert_ok(csv_journal_checkpoint(&c->fs));
				csv_record_mark(c->dev, k);
			}
			break;
		default:
			break;
		}
	}
}

#define CHECK(cond)                                                                                                    \
	do {                                                                                                           \
		if (!(cond))                                                                                           \
			return #cond;                                                                                  \
	} while (0)

/* NULL, or what is wrong with a file whose last operation should be `op` (0: none). */
static const char *check_file(struct core *c, unsigned f, uint64_t op, struct rec *r)
{
	uint8_t page[CSV_BLOCK_SIZE], want[CSV_BLOCK_SIZE];
	struct csv_disk_lease *d;
	struct csv_buf *buf;
	enum csv_err err;

	csv_fs_lock_shared(&c->fs);
	err = csv_buf_get(&c->fs, w.block[f], CSV_MAGIC_LEASE, CORE_OWNER, core_res(), &buf);
	csv_fs_unlock(&c->fs);
	CHECK(err == CSV_OK);
	d = buf->data;
	rec_get(d, r);
	err = csv_le64_get(d->epoch) == op ? CSV_OK : CSV_DAMAGED;
	csv_buf_put(&c->fs, buf);
	CHECK(err == CSV_OK); /* the state is one between two operations */
	for (uint64_t i = 0; i < r->len; i++) {
		CHECK(csv_bdev_read(c->dev, (r->start + i) << CSV_BLOCK_SHIFT, page, sizeof(page)) == CSV_OK);
		pattern(want, op, i);
		CHECK(memcmp(page, want, sizeof(page)) == 0); /* J2, J3: its data is there and nobody else's */
	}
	return NULL;
}

/* The allocator calls exactly the runs of the files taken. */
static const char *check_space(struct core *c, const struct rec *r)
{
	struct csv_txn *txn;
	uint64_t nfree;

	CHECK(csv_txn_begin(&c->fs, 0, &txn) == CSV_OK);
	for (unsigned f = 0; f < FILES; f++)
		if (r[f].len && csv_free_data(txn, r[f].start, r[f].len) != CSV_OK) {
			csv_txn_abort(txn);
			return "a file's blocks are not taken";
		}
	csv_txn_end(txn);
	CHECK(csv_alloc_free_blocks(&c->fs, &nfree) == CSV_OK);
	CHECK(nfree == w.free_empty);
	return NULL;
}

static const char *check_image(struct csv_bdev *image, const struct csv_super *sb, uint64_t acked)
{
	struct core c = { .mem = image, .dev = image, .sb = *sb };
	uint64_t last[FILES] = { 0 }, newest = 0;
	const char *bad = NULL;
	struct rec r[FILES];
	struct csv_disk_lease d;

	CHECK(csv_replay(image, sb, 0, true, NULL, NULL, NULL) == CSV_OK);
	for (unsigned f = 0; f < FILES; f++) {
		core_read(&c, w.block[f], &d);
		if (csv_le64_get(d.epoch) > newest)
			newest = csv_le64_get(d.epoch);
	}
	CHECK(newest >= acked && newest <= OPS);
	for (uint64_t k = 1; k <= newest; k++)
		last[w.file_of[k]] = k;
	CHECK(csv_fs_open(&c.fs, image, csv_env_system(), false, 0, 77, NULL) == CSV_OK);
	for (unsigned f = 0; f < FILES && !bad; f++)
		bad = check_file(&c, f, last[f], &r[f]);
	if (!bad)
		bad = check_space(&c, r);
	if (bad)
		csv_fs_withdraw(&c.fs, CSV_IO, "%s", bad);
	csv_fs_close(&c.fs);
	return bad;
}

/* Runs the workload and all cuts; number of bad images, of which the first is told. */
static unsigned crash_run(uint64_t seed, unsigned variants, uint32_t journal, bool tell)
{
	unsigned bad = 0, images = 0;
	struct csv_bdev *rec, *image;
	uint64_t acked = 0;
	struct core c;

	memset(&w, 0, sizeof(w));
	w.seed = seed;
	core_make(&c, 2048, journal);
	assert_ok(csv_record_open(c.mem, &rec));
	c.dev = rec;
	core_open(&c);
	for (unsigned f = 0; f < FILES; f++)
		w.block[f] = core_block_new(&c);
	assert_ok(csv_journal_checkpoint(&c.fs));
	assert_ok(csv_alloc_free_blocks(&c.fs, &w.free_empty));
	assert_ok(csv_record_reset(rec));
	workload(&c);
	for (size_t cut = 0; cut < csv_record_count(rec); cut++) {
		const struct csv_record_entry *e = csv_record_entry(rec, cut);

		if (e->kind == CSV_RECORD_MARK)
			acked = e->mark;
		for (unsigned v = 0; v < variants; v++) {
			const char *why;

			assert_ok(csv_record_crash(rec, cut, v < 2 ? v : seed * 1000 + v, &image));
			why = check_image(image, &c.sb, acked);
			images++;
			if (why && bad++ == 0 && tell)
				print_message("cut %zu variant %u acked %llu: %s\n", cut, v, (unsigned long long)acked,
					      why);
			csv_bdev_close(image);
		}
	}
	core_crash(&c);
	csv_bdev_close(rec);
	if (tell)
		print_message("%u images, %u bad\n", images, bad);
	return bad;
}

static void test_cuts(void **state)
{
	uint64_t seed = core_seed("cuts");

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(crash_run(seed + i, 4, 128, true), 0);
}

/* With a deliberate bug the same test must fail, or it proves nothing. */
static void test_bugs_are_found(void **state)
{
#ifdef CSV_BUGS
	csv_bug_set(1ul << CSV_BUG_NO_FLUSH_BEFORE_COMMIT);
	assert_true(crash_run(1, 4, 128, false) > 0);
	csv_bug_set(1ul << CSV_BUG_HOME_BEFORE_COMMIT);
	assert_true(crash_run(1, 4, 128, false) > 0);
	csv_bug_set(0);
#else
	print_message("(deliberate bugs are in the build VARIANT=bugs)\n");
#endif
}

/* ---- J1: two nodes on one LUN ------------------------------------------------ */

static void give_up(struct csv_fs *fs, struct csv_res res)
{
	assert_ok(csv_journal_sync_res(fs, res));
	csv_cache_drop(fs, res);
}

/*
 * D journals X, writes it home, gives its locks up and idles: X stays in D's journal.  L frees X and uses it for
 * something else.  D dies: its replay must leave X alone.
 */
static enum csv_err idle_node_replay(uint64_t *value)
{
	struct csv_res other = csv_res(CSV_RES_LEASE, 99), ag = csv_res(CSV_RES_AG, 0);
	struct csv_replay_result res;
	struct csv_txn *txn;
	struct csv_buf *buf;
	struct csv_fs l;
	struct core d;
	uint64_t x;

	core_make(&d, 4096, 512);
	core_open(&d);
	x = core_block_new(&d);
	core_block_set(&d, x, 5);
	give_up(&d.fs, core_res());
	give_up(&d.fs, ag);

	assert_ok(csv_fs_open(&l, d.dev, csv_env_system(), false, 1, 1, NULL));
	assert_ok(csv_txn_begin(&l, 0, &txn));
	assert_ok(csv_buf_get(&l, x, CSV_MAGIC_LEASE, CORE_OWNER, core_res(), &buf));
	assert_ok(csv_free_meta(txn, buf));
	assert_ok(csv_alloc_meta(txn, &d.ags, 0, CSV_MAGIC_LEASE, 99, other, &buf));
	assert_int_equal(buf->block, x);
	((struct csv_disk_lease *)buf->data)->epoch = csv_le64_of(42);
	csv_buf_put(&l, buf);
	csv_txn_end(txn);
	give_up(&l, other);
	give_up(&l, ag);

	core_crash(&d);
	core_replay(&d, &res);
	assert_true(res.transactions > 0);
	*value = core_home_value(&d, x);
	assert_ok(csv_fs_close(&l));
	core_free(&d);
	return CSV_OK;
}

static void test_crash_idle_node_replay(void **state)
{
	uint64_t value;

	idle_node_replay(&value);
	assert_int_equal(value, 42);
#ifdef CSV_BUGS
	csv_bug_set(1ul << CSV_BUG_REPLAY_IGNORES_VERSION);
	idle_node_replay(&value);
	assert_int_equal(value, 5); /* the bug does harm, and this test sees it */
	csv_bug_set(0);
#endif
}

/* A guest has written blocks that look like ours, with high versions; then they become a metadata chunk. */
static void test_crash_forged_header(void **state)
{
	static const uint64_t versions[] = { 7, 1ull << 40, UINT64_MAX / 4, UINT64_MAX };

	for (unsigned i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		uint64_t start, len, x = 0, n;
		struct csv_disk_lease d;
		struct csv_txn *txn;
		struct core c;

		core_make(&c, 4096, 256);
		core_open(&c);
		assert_ok(csv_txn_begin(&c.fs, 0, &txn));
		assert_ok(csv_alloc_data(txn, &c.ags, 0, c.sb.mchunk_blocks, &start, &len));
		csv_txn_end(txn);
		for (uint64_t b = start; b < start + len; b++) {
			csv_block_init(&d, c.sb.uuid, CSV_MAGIC_LEASE, b, CORE_OWNER, versions[i]);
			d.epoch = csv_le64_of(666);
			csv_block_seal(&d, b);
			core_write(&c, b, &d);
		}
		assert_ok(csv_txn_begin(&c.fs, 0, &txn));
		assert_ok(csv_free_data(txn, start, len));
		csv_txn_end(txn);
		assert_ok(csv_journal_commit(&c.fs, 0));
		for (n = 0; n < 2 * c.sb.mchunk_blocks && !(x > start && x < start + len); n++)
			x = core_block_new(&c);
		assert_in_range(x, start, start + len - 1);
		core_block_set(&c, x, 3);
		assert_ok(csv_journal_commit(&c.fs, 0));
		core_restart(&c);
		assert_int_equal(core_block_get(&c, x), 3);
		assert_int_equal(core_home_value(&c, x), 3);
		core_close(&c);
		core_free(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_bugs_are_found),
		cmocka_unit_test(test_crash_idle_node_replay),
		cmocka_unit_test(test_crash_forged_header),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
