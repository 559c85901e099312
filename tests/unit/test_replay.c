/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Replay: versions, torn homes, gaps, cuts, damage. */
#include "core.h"
#include "fs/journal/journal_priv.h"

#define N 6u

static uint64_t block[N];

/* N blocks at home with value 0, then three committed transactions: 0..N-1 = 100 + i, block 0 = 200, block 1 = 300. */
static void setup(struct core *c)
{
	core_make(c, 4096, 128);
	core_open(c);
	for (unsigned i = 0; i < N; i++)
		block[i] = core_block_new(c);
	assert_ok(csv_journal_checkpoint(&c->fs));
	for (unsigned i = 0; i < N; i++)
		core_block_set(c, block[i], 100 + i);
	assert_ok(csv_journal_commit(&c->fs, 0));
	core_block_set(c, block[0], 200);
	assert_ok(csv_journal_commit(&c->fs, 0));
	core_block_set(c, block[1], 300);
	assert_ok(csv_journal_commit(&c->fs, 0));
	core_block_set(c, block[2], 400); /* never committed */
	core_crash(c);
}

static void check_homes(struct core *c)
{
	assert_int_equal(core_home_value(c, block[0]), 200);
	assert_int_equal(core_home_value(c, block[1]), 300);
	for (unsigned i = 2; i < N; i++)
		assert_int_equal(core_home_value(c, block[i]), 100 + i);
}

static void test_plain(void **state)
{
	struct csv_replay_result res;
	struct csv_fs fs;
	struct csv_why why;
	struct core c;

	setup(&c);
	csv_why_init(&why);
	assert_int_equal(csv_fs_open(&fs, c.dev, csv_env_system(), false, 0, 9, &why), CSV_DAMAGED);
	assert_non_null(strstr(why.text, "not empty"));

	assert_ok(csv_replay(c.dev, &c.sb, 0, false, NULL, &res, NULL));
	assert_int_equal(res.transactions, 3);
	assert_int_equal(res.written, N);
	assert_int_equal(core_home_value(&c, block[0]), 0); /* only looked */

	core_replay(&c, &res);
	assert_int_equal(res.transactions, 3);
	assert_int_equal(res.blocks, N);
	assert_int_equal(res.written, N);
	check_homes(&c);
	core_replay(&c, &res);
	assert_int_equal(res.transactions, 0);
	core_open(&c);
	assert_int_equal(core_block_get(&c, block[2]), 102);
	core_close(&c);
	core_free(&c);
}

/* J1: another node has changed the block since, or freed it: what the journal has is older. */
static void test_older(void **state)
{
	struct csv_disk_lease d;
	struct csv_replay_result res;
	struct core c;

	setup(&c);
	core_read(&c, block[0], &d);
	d.epoch = csv_le64_of(777);
	d.hdr.version = csv_le64_of(csv_le64_get(d.hdr.version) + 10);
	csv_block_seal(&d, block[0]);
	core_write(&c, block[0], &d);
	csv_block_init(&d, c.sb.uuid, CSV_MAGIC_FREE, block[1], 0, 50);
	csv_block_seal(&d, block[1]);
	core_write(&c, block[1], &d);
	core_replay(&c, &res);
	assert_int_equal(res.skipped_older, 2);
	assert_int_equal(res.written, N - 2);
	assert_int_equal(core_home_value(&c, block[0]), 777);
	core_read(&c, block[1], &d);
	assert_int_equal(csv_le32_get(d.hdr.magic), CSV_MAGIC_FREE);
	core_free(&c);
}

/* What is known of who lives, and what was asked. */
struct living {
	uint64_t owner; /* whose lock is in use */
	enum csv_err err;
	unsigned asked;
	uint32_t magic[8];
	uint64_t owners[8];
	void (*when_asked)(struct core *c);
	struct core *c;
};

static enum csv_err in_use(void *arg, uint64_t blkno, uint32_t magic, uint64_t owner, bool *yes)
{
	struct living *l = arg;

	assert_int_equal(blkno, block[3]);
	assert_true(l->asked < 8);
	l->magic[l->asked] = magic;
	l->owners[l->asked++] = owner;
	if (l->when_asked)
		l->when_asked(l->c);
	*yes = owner == l->owner;
	return l->err;
}

static void tear(struct core *c)
{
	uint8_t page[CSV_BLOCK_SIZE];

	core_read(c, block[3], page);
	memset(page + 2048, 0xee, 512);
	core_write(c, block[3], page);
}

/* J6: a home block that fails its check is written, unless a living node holds its lock in use. */
static void test_torn(void **state)
{
	struct csv_replay_result res;
	struct core c;

	for (int living = 0; living < 2; living++) {
		struct living l = { .owner = living ? CORE_OWNER : 0 };
		struct csv_replay_ops ops = { in_use, &l };

		setup(&c);
		tear(&c);
		assert_ok(csv_replay(c.dev, &c.sb, 0, true, &ops, &res, NULL));
		assert_int_equal(l.asked, 1);
		assert_int_equal(l.magic[0], CSV_MAGIC_LEASE);
		assert_int_equal(l.owners[0], CORE_OWNER);
		assert_int_equal(res.skipped_in_use, living);
		assert_int_equal(res.written, N - (unsigned)living);
		if (!living)
			check_homes(&c);
		core_free(&c);
	}
}

/* No answer: nothing is written, and the journal is as it was. */
static void test_no_answer(void **state)
{
	struct living l = { .err = CSV_NOTCONN };
	struct csv_replay_ops ops = { in_use, &l };
	struct csv_replay_result res;
	struct core c;

	setup(&c);
	tear(&c);
	assert_int_equal(csv_replay(c.dev, &c.sb, 0, true, &ops, &res, NULL), CSV_NOTCONN);
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(core_home_value(&c, block[i]), 0);
	core_replay(&c, &res);
	assert_int_equal(res.transactions, 3);
	check_homes(&c);
	core_free(&c);
}

#define OTHER 8000u

/* The block as its next owner writes it: a tree node of another file, far above the journal's version. */
static void reuse(struct core *c, uint8_t *page)
{
	csv_block_init(page, c->sb.uuid, CSV_MAGIC_TREE, block[3], OTHER, 1000);
	csv_block_seal(page, block[3]);
}

/* Freed and given to another file since; its write is half done: its own header tells whom to ask. */
static void test_torn_and_another_owners(void **state)
{
	struct living l = { .owner = OTHER };
	struct csv_replay_ops ops = { in_use, &l };
	struct csv_replay_result res;
	uint8_t page[CSV_BLOCK_SIZE];
	struct core c;

	setup(&c);
	reuse(&c, page);
	core_write(&c, block[3], page);
	tear(&c);
	assert_ok(csv_replay(c.dev, &c.sb, 0, true, &ops, &res, NULL));
	assert_int_equal(res.skipped_in_use, 1);
	assert_int_equal(l.asked, 2);
	assert_int_equal(l.magic[1], CSV_MAGIC_TREE);
	assert_int_equal(l.owners[1], OTHER);
	core_free(&c);
}

struct finishing {
	unsigned reads; /* the write is over after that many reads */
	struct core *c;
};

static enum csv_err finish_write(void *arg, const struct csv_io *io)
{
	struct finishing *f = arg;
	uint8_t page[CSV_BLOCK_SIZE];

	if (io->op != CSV_IO_READ || io->off != block[3] << CSV_BLOCK_SHIFT || f->reads-- != 0)
		return CSV_OK;
	reuse(f->c, page);
	core_write(f->c, block[3], page);
	return CSV_OK;
}

/* The same, and only the old part of the block is there when it is read first: its write ends meanwhile. */
static void test_torn_for_a_moment(void **state)
{
	struct living l = { 0 };
	struct csv_replay_ops ops = { in_use, &l };
	struct finishing f = { .reads = 2 };
	struct csv_replay_result res;
	uint8_t page[CSV_BLOCK_SIZE];
	struct core c;

	setup(&c);
	tear(&c);
	f.c = &c;
	c.watch.arg = &f;
	c.watch.watch = finish_write;
	assert_ok(csv_replay(c.dev, &c.sb, 0, true, &ops, &res, NULL));
	assert_int_equal(l.asked, 0);
	assert_int_equal(res.skipped_older, 1);
	core_read(&c, block[3], page);
	assert_ok(csv_block_verify(page, c.sb.uuid, block[3], CSV_MAGIC_TREE, NULL));
	core_free(&c);
}

static void goes_on_writing(struct core *c)
{
	uint8_t page[CSV_BLOCK_SIZE];

	core_read(c, block[3], page);
	page[512]++;
	core_write(c, block[3], page);
}

static void ends_writing(struct core *c)
{
	uint8_t page[CSV_BLOCK_SIZE];

	reuse(c, page);
	core_write(c, block[3], page);
}

/* Nobody says that it is his, and yet it changes: decided by what it becomes, or not at all. */
static void test_torn_and_changing(void **state)
{
	struct csv_replay_result res;
	uint8_t page[CSV_BLOCK_SIZE];
	struct csv_why why;
	struct core c;

	for (int ends = 0; ends < 2; ends++) {
		struct living l = { .when_asked = ends ? ends_writing : goes_on_writing, .c = &c };
		struct csv_replay_ops ops = { in_use, &l };

		setup(&c);
		tear(&c);
		csv_why_init(&why);
		assert_int_equal(csv_replay(c.dev, &c.sb, 0, true, &ops, &res, &why), ends ? CSV_OK : CSV_BUSY);
		core_read(&c, block[3], page);
		assert_int_equal(csv_block_verify(page, c.sb.uuid, block[3], 0, NULL) == CSV_OK, ends);
		if (ends)
			assert_int_equal(res.skipped_older, 1);
		else
			assert_non_null(strstr(why.text, "is being written"));
		core_free(&c);
	}
}

/* Changes a byte of record block `i` of the k-th transaction (0 ..) behind the tail. */
static void spoil(struct core *c, unsigned k, unsigned i)
{
	uint8_t page[CSV_BLOCK_SIZE];
	struct csv_jscan_txn t;
	struct csv_jscan s;
	uint64_t seq;
	uint32_t pos;

	assert_ok(csv_jscan_open(&s, c->dev, &c->sb, 0, NULL));
	pos = s.head.tail_pos;
	seq = s.head.tail_seq;
	for (;; k--) {
		assert_ok(csv_jscan_txn(&s, pos, seq, &t));
		if (k == 0)
			break;
		pos = csv_jring_add(s.ring, pos, t.rec_blocks);
		seq++;
	}
	pos = csv_jring_add(s.ring, pos, i == UINT32_MAX ? t.rec_blocks - 1 : i);
	csv_jscan_close(&s);
	core_read(c, CSV_JOURNAL_START + pos, page);
	page[1000] ^= 4;
	core_write(c, CSV_JOURNAL_START + pos, page);
}

/* J5: descriptor, image or commit of the middle transaction damaged: nothing is written, the journal stays. */
static void test_gap(void **state)
{
	static const unsigned at[] = { 0, 1, UINT32_MAX };
	struct csv_replay_result res;
	struct csv_why why;
	struct core c;

	for (unsigned i = 0; i < 3; i++) {
		setup(&c);
		spoil(&c, 1, at[i]);
		for (int again = 0; again < 2; again++) {
			csv_why_init(&why);
			assert_int_equal(csv_replay(c.dev, &c.sb, 0, true, NULL, &res, &why), CSV_GAP);
			assert_non_null(strstr(why.text, "is damaged"));
		}
		for (unsigned k = 0; k < N; k++)
			assert_int_equal(core_home_value(&c, block[k]), 0);
		core_free(&c);
	}
}

/* The last transaction incomplete: that is the end, as after any power cut. */
static void test_end(void **state)
{
	static const unsigned at[] = { 0, 1, UINT32_MAX };
	struct csv_replay_result res;
	struct core c;

	for (unsigned i = 0; i < 3; i++) {
		setup(&c);
		spoil(&c, 2, at[i]);
		core_replay(&c, &res);
		assert_int_equal(res.transactions, 2);
		assert_int_equal(core_home_value(&c, block[0]), 200);
		assert_int_equal(core_home_value(&c, block[1]), 101);
		core_open(&c); /* goes on in the same place */
		core_block_set(&c, block[1], 500);
		assert_ok(csv_journal_commit(&c.fs, 0));
		core_restart(&c);
		assert_int_equal(core_block_get(&c, block[1]), 500);
		core_close(&c);
		core_free(&c);
	}
}

struct cut {
	unsigned left;
	struct csv_bdev *bump;
};

static enum csv_err cut_watch(void *arg, const struct csv_io *io)
{
	struct cut *cut = arg;

	if (io->op != CSV_IO_WRITE && io->op != CSV_IO_FLUSH)
		return CSV_OK;
	if (cut->left == 0)
		return CSV_IO;
	cut->left--;
	return CSV_OK;
}

/* Cut after each of its requests and run again: the same end. */
static void test_cut(void **state)
{
	enum csv_err err = CSV_IO;
	struct core c;

	for (unsigned n = 0; err != CSV_OK; n++) {
		struct cut cut = { .left = n };

		setup(&c);
		c.watch.arg = &cut;
		c.watch.watch = cut_watch;
		err = csv_replay(c.dev, &c.sb, 0, true, NULL, NULL, NULL);
		c.watch.watch = NULL;
		core_replay(&c, NULL);
		check_homes(&c);
		core_free(&c);
		assert_true(n < 100);
	}
}

static enum csv_err bump_once(void *arg, const struct csv_io *io)
{
	struct cut *cut = arg;

	if (io->op == CSV_IO_FLUSH && cut->left) {
		cut->left--;
		__atomic_add_fetch(&cut->bump->generation, 1, __ATOMIC_ACQ_REL);
	}
	return CSV_OK;
}

/* J4: the flush of the replay did not count. */
static void test_replay_generation(void **state)
{
	struct csv_replay_result res;
	struct cut cut = { .left = 1 };
	struct core c;

	setup(&c);
	cut.bump = c.dev;
	c.watch.arg = &cut;
	c.watch.watch = bump_once;
	assert_ok(csv_replay(c.dev, &c.sb, 0, true, NULL, &res, NULL));
	assert_int_equal(cut.left, 0);
	assert_int_equal(res.skipped_older, N); /* the second time round it was all there */
	check_homes(&c);
	core_free(&c);
}

/* An image in a good transaction that belongs elsewhere: refused as a whole. */
static void test_misplaced(void **state)
{
	struct csv_why why;
	struct core c;

	setup(&c);
	{
		/* The same journal under a superblock with other groups: homes are out of bounds. */
		struct csv_super sb = c.sb;

		sb.ag_start = 3000;
		csv_why_init(&why);
		assert_int_equal(csv_replay(c.dev, &sb, 0, true, NULL, NULL, &why), CSV_DAMAGED);
		assert_non_null(strstr(why.text, "misplaced"));
	}
	core_free(&c);
}

/* Random damage anywhere in the journal: an answer, no crash, and never more than was committed. */
static void test_fuzz(void **state)
{
	uint64_t seed = core_seed("fuzz");
	size_t size = 128 * CSV_BLOCK_SIZE;
	uint8_t *journal = malloc(size), *bad = malloc(size), *homes = malloc(N * CSV_BLOCK_SIZE);
	unsigned ok = 0, gap = 0, other = 0;
	struct core c;

	setup(&c);
	assert_ok(csv_bdev_read(c.mem, CSV_JOURNAL_START << CSV_BLOCK_SHIFT, journal, size));
	for (unsigned i = 0; i < N; i++)
		core_read(&c, block[i], homes + i * CSV_BLOCK_SIZE);
	for (int round = 0; round < 2000; round++) {
		unsigned flips = (unsigned)(csv_rng_next(&seed) % 3) + 1;

		memcpy(bad, journal, size);
		for (unsigned k = 0; k < flips; k++) {
			size_t b = csv_rng_next(&seed) % 24; /* where the journal is in use */
			bool head = csv_rng_next(&seed) % 2; /* mostly headers and entries */
			size_t at = csv_rng_next(&seed) % (head ? 128 : CSV_BLOCK_SIZE);

			bad[b * CSV_BLOCK_SIZE + at] = (uint8_t)csv_rng_next(&seed);
			if (csv_rng_next(&seed) % 2) /* and a checksum that says it is right */
				csv_block_seal(bad + b * CSV_BLOCK_SIZE, CSV_JOURNAL_START + b);
		}
		assert_ok(csv_bdev_write(c.mem, CSV_JOURNAL_START << CSV_BLOCK_SHIFT, bad, size, 0));
		for (unsigned i = 0; i < N; i++)
			core_write(&c, block[i], homes + i * CSV_BLOCK_SIZE);
		switch ((int)csv_replay(c.dev, &c.sb, 0, true, NULL, NULL, NULL)) {
		case CSV_OK:
			ok++;
			break;
		case CSV_GAP:
			gap++;
			break;
		default:
			other++;
		}
		for (unsigned i = 0; i < N; i++) {
			uint64_t v = core_home_value(&c, block[i]);

			assert_true(v == 0 || v == 100 + i || (i == 0 && v == 200) || (i == 1 && v == 300));
		}
	}
	print_message("fuzz: %u replayed, %u gaps, %u refused\n", ok, gap, other);
	assert_true(gap > 0 && other > 0);
	free(journal);
	free(bad);
	free(homes);
	core_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_older),
		cmocka_unit_test(test_torn),
		cmocka_unit_test(test_no_answer),
		cmocka_unit_test(test_torn_and_another_owners),
		cmocka_unit_test(test_torn_for_a_moment),
		cmocka_unit_test(test_torn_and_changing),
		cmocka_unit_test(test_gap),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_replay_generation),
		cmocka_unit_test(test_misplaced),
		cmocka_unit_test(test_fuzz),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
