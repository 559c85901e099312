/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The data path against an array in memory: odd sizes, neighbours in one block (J7), fsync and crashes, lost flushes
 * (J4). */
#include "iorig.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>

#include "fs/data/data_int.h"
#include "lib/bdev_impl.h"

#define SPACE (1u << 20) /* bytes of the file that the tests use */

static unsigned rnd(uint64_t *rng, unsigned n)
{
	return (unsigned)(csv_rng_next(rng) >> 16) % n;
}

static void fill(uint64_t *rng, unsigned char *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = (unsigned char)(1 + rnd(rng, 255)); /* never 0: zeros are holes */
}

/* Anything from a byte to a hundred blocks, often on or near a border. */
static void pick_range(uint64_t *rng, size_t *off, size_t *len)
{
	static const unsigned units[] = { 1, 7, 512, 4096, 65536 };
	unsigned unit = units[rnd(rng, 5)];

	*off = (size_t)rnd(rng, SPACE / unit) * unit;
	*len = 1 + rnd(rng, rnd(rng, 4) ? 9000 : 200000);
	if (rnd(rng, 2))
		*len = (*len + 511) / 512 * 512;
	if (*len > SPACE - *off)
		*len = SPACE - *off;
}

/* Of every other block a part, so that the map grows as large as it can; now and then anything. */
static void pick_apart(uint64_t *rng, size_t *off, size_t *len)
{
	pick_range(rng, off, len);
	if (rnd(rng, 8) == 0)
		return;
	*off = (rnd(rng, SPACE / 8192) * 2 + 1) * 4096 + rnd(rng, 1000);
	*len = 1 + rnd(rng, 3000);
}

/* ---- one after the other, against a model ------------------------------------------ */

struct model {
	unsigned char byte[SPACE];
	size_t size;
};

static void model_write(struct model *m, size_t off, const void *buf, size_t len)
{
	memcpy(m->byte + off, buf, len);
	if (off + len > m->size)
		m->size = off + len;
}

static void model_truncate(struct model *m, size_t size)
{
	if (size < m->size)
		memset(m->byte + size, 0, m->size - size);
	m->size = size;
}

/* A full volume with the file on it, preallocated, parts of it written. */
static void make_full(struct iorig *r, struct model *m, uint64_t *rng, unsigned char *buf)
{
	iorig_fill(r, SPACE);
	m->size = SPACE;
	for (size_t off = 4096; off < SPACE / 2; off += 8192) {
		fill(rng, buf, 4096);
		assert_ok(iorig_write(r, off, buf, 4096));
		model_write(m, off, buf, 4096);
	}
}

/* On a full volume: nothing that would need a block. */
static void step_full(struct iorig *r, struct model *m, uint64_t *rng, unsigned char *buf)
{
	size_t off, len;

	pick_apart(rng, &off, &len);
	if (rnd(rng, 6) == 0) {
		assert_ok(iorig_fallocate(r, FALLOC_FL_ZERO_RANGE, off, len));
		memset(m->byte + off, 0, len);
		return;
	}
	fill(rng, buf, len);
	assert_ok(iorig_write(r, off, buf, len));
	model_write(m, off, buf, len);
}

static void check_all(struct iorig *r, const struct model *m)
{
	unsigned char *buf = malloc(SPACE);
	size_t got;

	assert_int_equal(iorig_size(r), m->size);
	assert_ok(iorig_read(r, 0, buf, SPACE, &got));
	assert_int_equal(got, m->size);
	for (size_t i = 0; i < got; i++)
		if (buf[i] != m->byte[i])
			fail_msg("byte %zu of %zu is %02x, not %02x", i, got, buf[i], m->byte[i]);
	free(buf);
}

static void step(struct iorig *r, struct model *m, uint64_t *rng, unsigned char *buf)
{
	size_t off, len, got;

	pick_range(rng, &off, &len);
	switch (rnd(rng, 12)) {
	case 0:
		assert_ok(iorig_truncate(r, off));
		model_truncate(m, off);
		break;
	case 1:
		assert_ok(iorig_fallocate(r, 0, off, len));
		if (off + len > m->size)
			m->size = off + len;
		break;
	case 2:
		assert_ok(iorig_fallocate(r, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len));
		memset(m->byte + off, 0, len);
		break;
	case 3:
		assert_ok(iorig_sync(r, NULL));
		break;
	case 4:
	case 5:
	case 6:
		assert_ok(iorig_read(r, off, buf, len, &got));
		assert_int_equal(got, off >= m->size ? 0 : m->size - off < len ? m->size - off : len);
		assert_memory_equal(buf, m->byte + off, got);
		break;
	default:
		fill(rng, buf, len);
		assert_ok(iorig_write(r, off, buf, len));
		model_write(m, off, buf, len);
	}
}

static void run_model(uint32_t block)
{
	uint64_t rng = iorig_seed(__func__);
	struct model *m = calloc(1, sizeof(*m));
	unsigned char *buf = malloc(SPACE);
	struct iorig r;

	iorig_make(&r, block, false);
	for (unsigned i = 0; i < 1500; i++) {
		step(&r, m, &rng, buf);
		if (i % 50 == 0)
			check_all(&r, m);
	}
	check_all(&r, m);
	iorig_free(&r);
	free(buf);
	free(m);
}

static void test_model_512(void **state)
{
	run_model(512);
}
static void test_model_4096(void **state)
{
	run_model(4096);
}

/* ---- many at once --------------------------------------------------------------------- */

#define JOBS 96

/* Cuts an area into JOBS pieces and writes them all at once. Whatever the order, all must be there. */
static void write_pieces(struct iorig *r, uint64_t *rng, struct model *m, size_t start, size_t piece)
{
	struct iojob *job = calloc(JOBS, sizeof(*job));
	struct ioset s;

	ioset_init(&s);
	for (unsigned i = 0; i < JOBS; i++) {
		unsigned k = (i * 37) % JOBS; /* a permutation: 37 and 96 have no common divisor */
		size_t off = start + k * piece;

		fill(rng, m->byte + off, piece);
		if (off + piece > m->size)
			m->size = off + piece;
		job[i].req.off = off;
		job[i].req.len = piece;
		job[i].req.buf = m->byte + off;
		iojob_write(r, &s, &job[i]);
	}
	ioset_wait(&s);
	for (unsigned i = 0; i < JOBS; i++)
		assert_ok(job[i].err);
	free(job);
}

static void run_neighbours(uint32_t block)
{
	static const size_t pieces[] = { 512, 100, 513, 1024, 4096, 4000 };
	uint64_t rng = iorig_seed(__func__);
	struct model *m = calloc(1, sizeof(*m));
	struct iorig r;

	for (unsigned round = 0; round < 12; round++) {
		iorig_make(&r, block, false);
		memset(m, 0, sizeof(*m));
		if (round & 1)
			assert_ok(iorig_fallocate(&r, FALLOC_FL_KEEP_SIZE, 0, SPACE));
		write_pieces(&r, &rng, m, rnd(&rng, 5000), pieces[round % 6]);
		check_all(&r, m);
		write_pieces(&r, &rng, m, rnd(&rng, 5000), pieces[(round + 1) % 6]); /* over what is there */
		check_all(&r, m);
		iorig_free(&r);
	}
	free(m);
}

static void test_neighbours_512(void **state)
{
	run_neighbours(512);
}
static void test_neighbours_4096(void **state)
{
	run_neighbours(4096);
}

/* Appending writers at once: each record whole, none over another. */
static void test_append(void **state)
{
	struct iojob *job = calloc(JOBS, sizeof(*job));
	unsigned char buf[JOBS][100], *all = malloc(JOBS * 100);
	bool seen[JOBS] = { false };
	struct ioset s;
	struct iorig r;
	size_t got;

	iorig_make(&r, 512, false);
	ioset_init(&s);
	for (unsigned i = 0; i < JOBS; i++) {
		memset(buf[i], (int)i + 1, 100);
		job[i].req.append = true;
		job[i].req.len = 100;
		job[i].req.buf = buf[i];
		iojob_write(&r, &s, &job[i]);
	}
	ioset_wait(&s);
	assert_ok(iorig_read(&r, 0, all, JOBS * 100, &got));
	assert_int_equal(got, JOBS * 100);
	for (unsigned i = 0; i < JOBS; i++) {
		unsigned who = all[i * 100] - 1u;

		assert_true(who < JOBS && !seen[who]);
		seen[who] = true;
		for (unsigned k = 0; k < 100; k++)
			assert_int_equal(all[i * 100 + k], who + 1);
	}
	iorig_free(&r);
	free(job);
	free(all);
}

/* Readers and writers of one area: a reader sees each block whole, old or new. */
static void test_read_while_write(void **state)
{
	uint64_t rng = iorig_seed(__func__);
	struct iojob *job = calloc(JOBS, sizeof(*job));
	unsigned char *mem = calloc(JOBS, 4096);
	struct ioset s;
	struct iorig r;

	iorig_make(&r, 4096, false);
	for (unsigned round = 0; round < 20; round++) {
		ioset_init(&s);
		memset(job, 0, JOBS * sizeof(*job));
		for (unsigned i = 0; i < JOBS; i++) {
			job[i].req.off = (uint64_t)rnd(&rng, 16) * 4096;
			job[i].req.len = 4096;
			job[i].req.buf = mem + i * 4096;
			if (i % 2) {
				iojob_read(&r, &s, &job[i]);
				continue;
			}
			memset(mem + i * 4096, (int)(1 + rnd(&rng, 255)), 4096);
			iojob_write(&r, &s, &job[i]);
		}
		ioset_wait(&s);
		for (unsigned i = 0; i < JOBS; i++) {
			assert_ok(job[i].err);
			for (size_t k = 1; k < job[i].req.result; k++)
				assert_int_equal(mem[i * 4096 + k], mem[i * 4096]);
		}
	}
	iorig_free(&r);
	free(mem);
	free(job);
}

/* ---- what the caller may not change ---------------------------------------------------- */

static enum csv_err write_map_only(struct iorig *r, uint64_t off, const void *buf, size_t len)
{
	struct iojob job = { .req = { .off = off, .len = len, .buf = (void *)(uintptr_t)buf, .map_only = true } };
	struct ioset s;

	ioset_init(&s);
	iojob_write(r, &s, &job);
	ioset_wait(&s);
	return job.err;
}

static void test_map_only(void **state)
{
	unsigned char buf[8192];
	struct iorig r;

	iorig_make(&r, 512, false);
	memset(buf, 'a', sizeof(buf));
	assert_int_equal(write_map_only(&r, 0, buf, 4096), CSV_WAIT); /* hole */
	assert_ok(iorig_fallocate(&r, 0, 0, 16384));
	assert_int_equal(write_map_only(&r, 0, buf, 4096), CSV_WAIT); /* unwritten */
	assert_ok(iorig_write(&r, 0, buf, 8192));
	assert_ok(write_map_only(&r, 0, buf, 8192));
	assert_ok(write_map_only(&r, 100, buf, 1000));			 /* parts of sectors, all written */
	assert_int_equal(write_map_only(&r, 8000, buf, 1000), CSV_WAIT); /* on into unwritten */
	assert_int_equal(iorig_size(&r), 16384);
	iorig_free(&r);
}

/* ---- fsync -------------------------------------------------------------------------------- */

/* J4: a generation that changed between write and flush: each handle hears of it, once. */
static void test_lost_flush(void **state)
{
	_Atomic uint64_t a = 0, b = 0;
	unsigned char buf[4096] = { 1 };
	struct iorig r;

	iorig_make(&r, 4096, false);
	a = b = csv_file_err_now(r.file);
	assert_ok(iorig_write(&r, 0, buf, sizeof(buf)));
	assert_ok(iorig_sync(&r, &a));
	csv_bdev_generation_bump(r.dev); /* nothing unflushed: no harm */
	assert_ok(iorig_sync(&r, &a));
	assert_ok(iorig_write(&r, 0, buf, sizeof(buf)));
	csv_bdev_generation_bump(r.dev);
	assert_int_equal(iorig_sync(&r, &a), CSV_IO);
	assert_ok(iorig_sync(&r, &a));
	assert_int_equal(iorig_sync(&r, &b), CSV_IO);
	assert_ok(iorig_sync(&r, &b));
	assert_ok(iorig_write(&r, 8192, buf, sizeof(buf))); /* allocates: the journal's flush meets the change */
	csv_bdev_generation_bump(r.dev);
	assert_int_equal(iorig_sync(&r, &a), CSV_IO);
	assert_ok(iorig_write(&r, 0, buf, sizeof(buf)));
	assert_ok(iorig_sync(&r, &a));
	iorig_free(&r);
}

/* A write with `sync`, and the target restarts before its flush, which then says that all is well. */
static enum csv_err write_sync(struct iorig *r, uint64_t off, const void *buf, size_t len)
{
	struct iojob job = { .req = { .off = off, .len = len, .buf = (void *)(uintptr_t)buf, .sync = true } };
	struct ioset s;

	ioset_init(&s);
	iojob_write(r, &s, &job);
	ioset_wait(&s);
	return job.err;
}

static void check_block(struct iorig *r, uint64_t off, int byte)
{
	unsigned char buf[4096];
	size_t got;

	assert_ok(iorig_read(r, off, buf, sizeof(buf), &got));
	assert_int_equal(got, sizeof(buf));
	for (size_t i = 0; i < got; i++)
		assert_int_equal(buf[i], byte);
}

static void test_sync_write(void **state)
{
	_Atomic uint64_t account = 0;
	unsigned char buf[4096];
	struct iorig r;

	iorig_make(&r, 512, false);
	iorig_cache(&r);
	memset(buf, 'a', sizeof(buf));
	assert_ok(write_sync(&r, 0, buf, sizeof(buf))); /* allocates */
	iorig_lose(&r);
	check_block(&r, 0, 'a');
	memset(buf, 'b', sizeof(buf));
	assert_ok(write_sync(&r, 0, buf, sizeof(buf))); /* overwrites */
	iorig_lose(&r);
	check_block(&r, 0, 'b');
	memset(buf, 'c', sizeof(buf));
	iorig_lose_at_flush(&r, true);
	assert_int_equal(write_sync(&r, 0, buf, sizeof(buf)), CSV_IO);
	check_block(&r, 0, 'b');
	iorig_lose_at_flush(&r, true);
	assert_int_equal(write_sync(&r, 4096, buf, sizeof(buf)), CSV_IO);
	/* The handle's account is as it was: its fsync tells, once. */
	assert_int_equal(iorig_sync(&r, &account), CSV_IO);
	assert_ok(iorig_sync(&r, &account));
	assert_ok(write_sync(&r, 0, buf, sizeof(buf)));
	iorig_lose(&r);
	check_block(&r, 0, 'c');
	iorig_free(&r);
}

/* Several that wait for flushes when the loss comes out: none of them may say that its data is there. */
static void test_sync_writes_at_once(void **state)
{
	struct iojob job[16];
	unsigned char *mem = malloc(sizeof(job) / sizeof(job[0]) * 4096);
	struct ioset s;
	struct iorig r;

	iorig_make(&r, 512, false);
	iorig_cache(&r);
	memset(mem, 'a', 16 * 4096);
	assert_ok(iorig_write(&r, 0, mem, 16 * 4096));
	assert_ok(iorig_sync(&r, NULL));
	for (int round = 'b'; round <= 'z'; round++) {
		memset(job, 0, sizeof(job));
		memset(mem, round, 16 * 4096);
		ioset_init(&s);
		iorig_lose_at_flush(&r, true);
		for (unsigned i = 0; i < 16; i++) {
			job[i].req.off = i * 4096;
			job[i].req.len = 4096;
			job[i].req.buf = mem + i * 4096;
			job[i].req.sync = true;
			iojob_write(&r, &s, &job[i]);
		}
		ioset_wait(&s);
		iorig_lose(&r);
		for (unsigned i = 0; i < 16; i++)
			if (job[i].err == CSV_OK)
				check_block(&r, i * 4096, round);
	}
	iorig_free(&r);
	free(mem);
}

/* The same for fsyncs through one handle: the first to end does not take the error for all. */
static void test_syncs_at_once(void **state)
{
	_Atomic uint64_t account = 0;
	unsigned char buf[4096] = { 1 };
	struct iojob job[8] = { 0 };
	struct ioset s;
	struct iorig r;

	iorig_make(&r, 512, false);
	assert_ok(iorig_write(&r, 0, buf, sizeof(buf)));
	csv_bdev_generation_bump(r.dev);
	ioset_init(&s);
	iorig_stop(&r, true);
	for (unsigned i = 0; i < 8; i++) {
		job[i].req.err_seen = &account;
		iojob_sync(&r, &s, &job[i]);
	}
	iorig_stop(&r, false);
	ioset_wait(&s);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(job[i].err, CSV_IO);
	assert_ok(iorig_sync(&r, &account));
	iorig_free(&r);
}

/* Many files that come before r->file wherever all are walked through. */
#define OTHERS 5000

static void other_files(struct iorig *r, struct csv_file **other)
{
	uint64_t hash = r->ref.ino * 0x9e3779b97f4a7c15ull >> 56, ino = 1000000;

	csv_file_put(r->data, r->file);
	for (unsigned i = 0; i < OTHERS; ino++)
		if (ino * 0x9e3779b97f4a7c15ull >> 56 == hash)
			assert_ok(csv_file_get(r->data, (struct csv_iref){ ino, 1 }, &other[i++]));
	assert_ok(csv_file_get(r->data, r->ref, &r->file));
}

/* An fsync that finds its writes flushed by another also finds the loss that this one has met. */
static void test_loss_before_flushed(void **state)
{
	struct csv_file **other = calloc(OTHERS, sizeof(struct csv_file *));
	_Atomic uint64_t a = 0, b = 0;
	unsigned char buf[4096] = { 1 };
	struct iojob job = { .req = { .err_seen = &a } };
	struct ioset s;
	struct iorig r;

	iorig_make(&r, 512, false);
	other_files(&r, other);
	for (unsigned round = 0; round < 20; round++) {
		uint64_t seq;

		assert_ok(iorig_write(&r, 0, buf, sizeof(buf)));
		assert_ok(iorig_sync(&r, NULL));
		assert_ok(iorig_write(&r, 0, buf, sizeof(buf)));
		seq = atomic_load(&r.data->write_seq);
		csv_bdev_generation_bump(r.dev);
		ioset_init(&s);
		iojob_sync(&r, &s, &job);
		while (atomic_load(&r.data->flush_seq) < seq)
			;
		assert_int_equal(iorig_sync(&r, &b), CSV_IO);
		ioset_wait(&s);
		assert_int_equal(job.err, CSV_IO);
	}
	for (unsigned i = 0; i < OTHERS; i++)
		csv_file_put(r.data, other[i]);
	free(other);
	iorig_free(&r);
}

/* A loss that no handle was told of stays known: to those who ask, and to the next handle. */
static void test_untold(void **state)
{
	_Atomic uint64_t account = 0;
	unsigned char buf[4096] = { 1 };
	struct iorig r;

	iorig_make(&r, 512, false);
	assert_ok(iorig_write(&r, 0, buf, sizeof(buf)));
	assert_false(csv_file_err_untold(r.file));
	csv_bdev_generation_bump(r.dev);
	assert_ok(iorig_sync(&r, NULL)); /* nobody to tell */
	assert_true(csv_file_err_untold(r.file));
	account = csv_file_err_now(r.file);
	assert_int_equal(iorig_sync(&r, &account), CSV_IO);
	assert_false(csv_file_err_untold(r.file));
	assert_ok(iorig_sync(&r, &account));
	account = csv_file_err_now(r.file);
	assert_ok(iorig_sync(&r, &account));
	iorig_free(&r);
}

/* Zeros at the edges of a hole, of a zeroed range: they are on the LUN when that is acknowledged. */
static void test_lost_edges(void **state)
{
	static const int modes[] = { FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE };
	_Atomic uint64_t account = 0;
	unsigned char buf[16384], want[16384];
	struct iorig r;
	size_t got;

	iorig_make(&r, 512, false);
	iorig_cache(&r);
	for (unsigned i = 0; i < 2; i++) {
		memset(buf, 'a', sizeof(buf));
		memset(want, 'a', sizeof(want));
		memset(want + 100, 0, 12000);
		assert_ok(iorig_write(&r, 0, buf, sizeof(buf)));
		assert_ok(iorig_sync(&r, &account));
		iorig_lose_at_flush(&r, true);
		assert_ok(iorig_fallocate(&r, modes[i], 100, 12000));
		assert_ok(iorig_sync(&r, &account));
		iorig_lose(&r);
		assert_ok(iorig_read(&r, 0, buf, sizeof(buf), &got));
		assert_memory_equal(buf, want, sizeof(want));
	}
	iorig_free(&r);
}

/* The same on a full volume, where whole blocks get zeros because the map cannot say that they are unwritten. */
static void test_lost_zeros(void **state)
{
	uint64_t rng = iorig_seed(__func__);
	struct model *m = calloc(1, sizeof(*m));
	unsigned char *buf = malloc(SPACE);
	_Atomic uint64_t account = 0;
	struct iorig r;

	iorig_make(&r, 512, false);
	iorig_cache(&r);
	make_full(&r, m, &rng, buf);
	fill(&rng, buf, SPACE);
	assert_ok(iorig_write(&r, 0, buf, SPACE));
	model_write(m, 0, buf, SPACE);
	assert_ok(iorig_sync(&r, &account));
	for (size_t off = 4096; off < SPACE; off += 8192) {
		iorig_lose_at_flush(&r, true);
		assert_ok(iorig_fallocate(&r, FALLOC_FL_ZERO_RANGE, off, 4096));
		memset(m->byte + off, 0, 4096);
		assert_ok(iorig_sync(&r, &account));
		iorig_lose_at_flush(&r, false);
		iorig_lose(&r);
		check_all(&r, m);
	}
	iorig_free(&r);
	free(buf);
	free(m);
}

/*
 * Anything, and at any time the target restarts.  What an fsync says is there is there; if it says that something was
 * lost, nothing is known until it is read.
 */
static void learn(struct iorig *r, struct model *m)
{
	size_t got;

	m->size = iorig_size(r);
	assert_ok(iorig_read(r, 0, m->byte, SPACE, &got));
	assert_int_equal(got, m->size);
	memset(m->byte + got, 0, SPACE - got);
}

static uint64_t zeroed(struct iorig *r)
{
	struct csv_data_stats st;

	csv_data_stats(r->data, &st);
	return st.zeroed;
}

static void run_losses(uint32_t block, bool full)
{
	uint64_t rng = iorig_seed(__func__);
	struct model *m = calloc(1, sizeof(*m));
	unsigned char *buf = malloc(SPACE);
	_Atomic uint64_t account = 0;
	unsigned good = 0, bad = 0;
	struct iorig r;

	iorig_make(&r, block, false);
	iorig_cache(&r);
	if (full)
		make_full(&r, m, &rng, buf);
	for (unsigned round = 0; round < 300; round++) {
		enum csv_err err;

		for (unsigned i = rnd(&rng, 6); i > 0; i--)
			(full ? step_full : step)(&r, m, &rng, buf);
		if (rnd(&rng, 3) == 0)
			iorig_lose_at_flush(&r, true);
		else if (rnd(&rng, 3) == 0)
			iorig_lose(&r);
		err = iorig_sync(&r, &account);
		iorig_lose_at_flush(&r, false);
		if (err == CSV_OK) {
			iorig_lose(&r);
			check_all(&r, m);
			good++;
		} else {
			assert_int_equal(err, CSV_IO);
			learn(&r, m);
			bad++;
		}
	}
	assert_true(good > 50 && bad > 20);
	assert_true(!full || zeroed(&r) > 0);
	iorig_free(&r);
	free(buf);
	free(m);
}

static void test_losses_512(void **state)
{
	run_losses(512, false);
	run_losses(512, true);
}
static void test_losses_4096(void **state)
{
	run_losses(4096, false);
	run_losses(4096, true);
}

/* A crash image after each of some points of the log has what the last fsync before it acknowledged. */
struct acked {
	size_t at; /* log entries when it was acknowledged */
	struct model m;
	bool touched[SPACE]; /* written, cut or punched since */
	size_t least, most;  /* sizes that the file may have since */
};

static void check_crash(struct iorig *r, const struct acked *a, size_t cut, uint64_t seed)
{
	unsigned char *buf = malloc(SPACE);
	struct csv_bdev *image;
	struct iorig c;
	size_t got;

	assert_ok(csv_record_crash(r->below, cut, seed, &image));
	iorig_mount(&c, image);
	assert_in_range(iorig_size(&c), a->least, a->most);
	assert_ok(iorig_read(&c, 0, buf, SPACE, &got));
	for (size_t i = 0; i < got && i < a->m.size; i++)
		if (!a->touched[i] && buf[i] != a->m.byte[i])
			fail_msg("cut %zu: byte %zu is %02x; fsync acknowledged %02x", cut, i, buf[i], a->m.byte[i]);
	iorig_free(&c);
	free(buf);
}

static void touch(struct acked *a, size_t off, size_t len, size_t size)
{
	memset(a->touched + off, 1, len);
	if (size < a->least)
		a->least = size;
	if (size > a->most)
		a->most = size;
}

static void crash_step(struct iorig *r, struct model *m, struct acked *a, uint64_t *rng, unsigned char *buf, bool full)
{
	size_t off, len;

	full ? pick_apart(rng, &off, &len) : pick_range(rng, &off, &len);
	if (!full && rnd(rng, 8) == 0) {
		assert_ok(iorig_truncate(r, off));
		model_truncate(m, off);
		touch(a, off, SPACE - off, m->size);
	} else {
		fill(rng, buf, len);
		assert_ok(iorig_write(r, off, buf, len));
		model_write(m, off, buf, len);
		touch(a, off, len, m->size);
	}
}

static void run_crash(uint32_t block, bool full)
{
	uint64_t rng = iorig_seed(__func__);
	struct model *m = calloc(1, sizeof(*m));
	struct acked *a = calloc(1, sizeof(*a));
	unsigned char *buf = malloc(SPACE);
	struct iorig r;

	iorig_make(&r, block, true);
	if (full)
		make_full(&r, m, &rng, buf);
	for (unsigned round = 0; round < 12; round++) {
		for (unsigned i = rnd(&rng, 10); i > 0; i--)
			crash_step(&r, m, a, &rng, buf, full);
		assert_ok(iorig_sync(&r, NULL));
		a->at = csv_record_count(r.below);
		a->m = *m;
		a->least = a->most = m->size;
		memset(a->touched, 0, sizeof(a->touched));
		for (unsigned i = 1 + rnd(&rng, 4); i > 0; i--)
			crash_step(&r, m, a, &rng, buf, full);
		for (unsigned i = 0; i < 3; i++) {
			size_t more = csv_record_count(r.below) - a->at;

			check_crash(&r, a, a->at + (more ? rnd(&rng, (unsigned)more) : 0), csv_rng_next(&rng));
		}
	}
	assert_true(!full || zeroed(&r) > 0);
	iorig_free(&r);
	free(buf);
	free(a);
	free(m);
}

static void test_crash_512(void **state)
{
	run_crash(512, false);
	run_crash(512, true);
}
static void test_crash_4096(void **state)
{
	run_crash(4096, false);
	run_crash(4096, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model_512),      cmocka_unit_test(test_model_4096),
		cmocka_unit_test(test_neighbours_512), cmocka_unit_test(test_neighbours_4096),
		cmocka_unit_test(test_append),	       cmocka_unit_test(test_read_while_write),
		cmocka_unit_test(test_map_only),       cmocka_unit_test(test_lost_flush),
		cmocka_unit_test(test_sync_write),     cmocka_unit_test(test_sync_writes_at_once),
		cmocka_unit_test(test_syncs_at_once),  cmocka_unit_test(test_loss_before_flushed),
		cmocka_unit_test(test_untold),	       cmocka_unit_test(test_lost_edges),
		cmocka_unit_test(test_lost_zeros),     cmocka_unit_test(test_losses_512),
		cmocka_unit_test(test_losses_4096),    cmocka_unit_test(test_crash_512),
		cmocka_unit_test(test_crash_4096),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
