/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's writes into a preallocated image on a volume without one free block: none may fail, none may be lost. */
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>

#include "findings.h"
#include "fs/data/io.h"
#include "vol.h"

#define BLK CSV_BLOCK_SIZE
#define AT_ONCE 24u

struct full {
	struct vol v;
	struct csv_workq *workq;
	struct csv_data *data;
	struct csv_iref ref;
	struct csv_file *file;
	uint64_t blocks; /* of the image */
	uint8_t *bytes;	 /* what it holds */
	uint64_t rng;
};

static uint64_t rnd(struct full *f, uint64_t n)
{
	return (csv_rng_next(&f->rng) >> 8) % n;
}

static void data_up(struct full *f)
{
	assert_int_equal(csv_workq_new(4, &f->workq), CSV_OK);
	assert_int_equal(csv_data_new(&f->v.fs, f->workq, &f->data), CSV_OK);
	assert_int_equal(csv_file_get(f->data, f->ref, &f->file), CSV_OK);
}

static void data_down(struct full *f)
{
	csv_file_put(f->data, f->file);
	csv_workq_free(f->workq);
	assert_int_equal(csv_journal_commit(&f->v.fs, 0), CSV_OK);
	csv_data_free(f->data);
}

/* What was there before shows wherever a block becomes visible that nobody has written. */
static void poison(struct full *f)
{
	uint8_t *page = aligned_alloc(BLK, 256 * BLK);
	struct csv_map m;

	memset(page, 0xee, 256 * BLK);
	for (uint64_t b = 0; b < f->blocks; b += m.len) {
		struct csv_buf *inode;

		csv_fs_lock_shared(&f->v.fs);
		assert_int_equal(csv_inode_get(&f->v.fs, f->ref, &inode), CSV_OK);
		assert_int_equal(csv_map_lookup(&f->v.fs, inode, b, f->blocks - b < 256 ? f->blocks - b : 256, &m),
				 CSV_OK);
		csv_buf_put(&f->v.fs, inode);
		csv_fs_unlock(&f->v.fs);
		assert_int_equal(m.kind, CSV_MAP_UNWRITTEN);
		assert_int_equal(csv_bdev_write(f->v.dev, m.phys * BLK, page, m.len * BLK, 0), CSV_OK);
	}
	free(page);
}

static void full_make(struct full *f, struct vol_shape shape, uint64_t blocks)
{
	struct csv_new what = { .mode = S_IFREG | 0600 };
	struct csv_attr attr;

	vol_make(&f->v, shape);
	f->blocks = blocks;
	f->bytes = calloc(blocks, BLK);
	assert_non_null(f->bytes);
	VOL_OK(&f->v, csv_create(&f->v.ctx, vol_root(&f->v), "disk.vhd", &what, &attr, NULL));
	f->ref = attr.ref;
	VOL_OK(&f->v, csv_fallocate(&f->v.ctx, f->ref, 0, 0, blocks * BLK, NULL));
	poison(f);
	data_up(f);
}

/* ---- writes, some at once -------------------------------------------------------------- */

struct job {
	struct csv_data_req req;
	struct full *f;
	enum csv_err err;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t idle = PTHREAD_COND_INITIALIZER;
static unsigned left;

/* As a mount does: with the groups that were asked for it is run again. */
static void job_done(struct csv_data_req *req, enum csv_err err)
{
	struct job *j = csv_list_entry(req, struct job, req);

	if (err == CSV_NOSPC && csv_ctx_take_need(&req->ctx)) {
		csv_data_write(j->f->data, req);
		return;
	}
	j->err = err;
	pthread_mutex_lock(&lock);
	if (--left == 0)
		pthread_cond_signal(&idle);
	pthread_mutex_unlock(&lock);
}

static void job_start(struct full *f, struct job *j, uint64_t off, uint64_t len)
{
	for (uint64_t i = off; i < off + len; i++)
		f->bytes[i] = (uint8_t)(1 + rnd(f, 200)); /* neither zero nor poison */
	*j = (struct job){ .f = f, .req = { .file = f->file, .off = off, .len = len, .buf = f->bytes + off } };
	j->req.ctx.fs = &f->v.fs;
	csv_agset_add(&j->req.ctx.ags, (uint32_t)rnd(f, f->v.fs.sb.ag_count));
	j->req.done = job_done;
	pthread_mutex_lock(&lock);
	left++;
	pthread_mutex_unlock(&lock);
	csv_data_write(f->data, &j->req);
}

static void jobs_wait(struct job *j, unsigned n)
{
	pthread_mutex_lock(&lock);
	while (left)
		pthread_cond_wait(&idle, &lock);
	pthread_mutex_unlock(&lock);
	for (unsigned i = 0; i < n; i++)
		if (j[i].err)
			fail_msg("write of %zu at %llu: %s", j[i].req.len, (unsigned long long)j[i].req.off,
				 csv_err_text(j[i].err));
}

/* Pieces of `unit` bytes of [off, off + n * unit), each once, in random order. */
static void write_all(struct full *f, uint64_t off, uint64_t n, uint64_t unit)
{
	uint64_t *order = calloc(n, sizeof(*order));
	struct job jobs[AT_ONCE];
	unsigned k = 0;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t at = rnd(f, i + 1);

		order[i] = order[at];
		order[at] = i;
	}
	for (uint64_t i = 0; i < n; i++) {
		job_start(f, &jobs[k++], off + order[i] * unit, unit);
		if (k == AT_ONCE || i + 1 == n) {
			jobs_wait(jobs, k);
			k = 0;
		}
	}
	free(order);
}

struct read_wait {
	struct csv_data_req req;
	enum csv_err err;
};

static void read_done(struct csv_data_req *req, enum csv_err err)
{
	csv_list_entry(req, struct read_wait, req)->err = err;
	pthread_mutex_lock(&lock);
	if (--left == 0)
		pthread_cond_signal(&idle);
	pthread_mutex_unlock(&lock);
}

static void compare(struct full *f)
{
	uint8_t *buf = aligned_alloc(BLK, 256 * BLK);

	for (uint64_t b = 0; b < f->blocks; b += 256) {
		uint64_t n = f->blocks - b < 256 ? f->blocks - b : 256;
		struct read_wait w = { .req = { .file = f->file, .off = b * BLK, .len = n * BLK, .buf = buf } };

		w.req.ctx.fs = &f->v.fs;
		w.req.done = read_done;
		left = 1;
		csv_data_read(f->data, &w.req);
		pthread_mutex_lock(&lock);
		while (left)
			pthread_cond_wait(&idle, &lock);
		pthread_mutex_unlock(&lock);
		assert_int_equal(w.err, CSV_OK);
		assert_int_equal(w.req.result, n * BLK);
		assert_memory_equal(buf, f->bytes + b * BLK, n * BLK);
	}
	free(buf);
}

static uint64_t zeroed(struct full *f)
{
	struct csv_data_stats st;

	csv_data_stats(f->data, &st);
	return st.zeroed;
}

/* Nothing is free, the image is as it should be; also when everything is read anew; and the volume is sound. */
static void full_end(struct full *f)
{
	uint64_t n = zeroed(f);

	compare(f);
	vol_check(&f->v, NULL);
	data_down(f);
	vol_remount(&f->v);
	data_up(f);
	compare(f);
	data_down(f);
	vol_hog_give_all(&f->v);
	vol_check(&f->v, NULL);
	assert_int_equal(csv_fs_close(&f->v.fs), CSV_OK);
	check_expect_clean(f->v.dev);
	csv_bdev_close(f->v.dev);
	free(f->bytes);
	printf("%llu blocks zeroed beside the data\n", (unsigned long long)n);
	assert_true(n > 0);
}

/* ---- tests -------------------------------------------------------------------------------- */

static void run_every_block(uint64_t unit)
{
	struct full f = { .rng = vol_seed("every block") };

	full_make(&f, (struct vol_shape){ .blocks = 16384, .ag_blocks = 4096, .journal_blocks = 1024 }, 3000);
	vol_hog_take(&f.v);
	write_all(&f, 0, f.blocks * BLK / unit, unit);
	full_end(&f);
}

static void test_every_block(void **state)
{
	run_every_block(BLK);
}

/* Neighbours within a block, and writes over borders of blocks (J7). */
static void test_every_part(void **state)
{
	run_every_block(1024);
	run_every_block(1536 * 5);
}

/* The tree has grown high and wide, and is full at places, before the last block goes. */
static void test_fragmented(void **state)
{
	struct full f = { .rng = vol_seed("fragmented") };

	full_make(&f, (struct vol_shape){ .blocks = 16384, .ag_blocks = 4096, .journal_blocks = 1024 }, 8000);
	for (unsigned i = 0; i < 2000; i++)
		write_all(&f, rnd(&f, 6000) * BLK, 1, BLK);
	compare(&f);
	vol_hog_take(&f.v);
	for (unsigned i = 0; i < 500; i++)
		write_all(&f, rnd(&f, f.blocks) * BLK, 1, BLK);
	compare(&f); /* what is left unwritten reads as zeros */
	write_all(&f, 0, f.blocks, BLK);
	full_end(&f);
}

/* Extents of any length are bounded: a write does not wait for the whole of the image to be zeroed. */
static void test_large(void **state)
{
	struct full f = { .rng = vol_seed("large") };

	full_make(&f, (struct vol_shape){ .blocks = 98304, .ag_blocks = 98304, .journal_blocks = 1024 }, 80000);
	vol_hog_take(&f.v);
	for (uint64_t i = 0; zeroed(&f) == 0; i++)
		write_all(&f, (70000 + i * 2) * BLK, 1, BLK);
	assert_in_range(zeroed(&f), 1, 2 * CSV_BITS_PER_BLOCK);
	write_all(&f, 100 * BLK, 200, BLK);
	full_end(&f);
}

/* Blocks behind the end of the file, which grows into them. */
static void test_grows_into(void **state)
{
	struct full f = { .rng = vol_seed("grows into") };
	struct csv_attr attr;
	struct job j;

	full_make(&f, (struct vol_shape){ .blocks = 16384, .ag_blocks = 4096, .journal_blocks = 1024 }, 2000);
	VOL_OK(&f.v, csv_truncate(&f.v.ctx, f.ref, 0, &attr, NULL));
	assert_int_equal(csv_journal_commit(&f.v.fs, 0), CSV_OK);
	VOL_OK(&f.v, csv_fallocate(&f.v.ctx, f.ref, FALLOC_FL_KEEP_SIZE, 0, f.blocks * BLK, NULL));
	poison(&f);
	vol_hog_take(&f.v);
	for (uint64_t b = 0; b < 300; b++) { /* the root of the tree is full */
		job_start(&f, &j, (b * 2 + 1) * BLK + 700, 1000);
		jobs_wait(&j, 1);
	}
	job_start(&f, &j, f.blocks * BLK - 100, 100);
	jobs_wait(&j, 1);
	full_end(&f);
}

static void zero(struct full *f, int mode)
{
	uint64_t off = rnd(f, (f->blocks - 40) * BLK), len = 1 + rnd(f, rnd(f, 4) ? 3 * BLK : 30 * BLK);

	if (rnd(f, 2))
		off -= off % 512;
	VOL_OK(&f->v, csv_fallocate(&f->v.ctx, f->ref, mode, off, len, NULL));
	memset(f->bytes + off, 0, len);
}

/* Zeros that a guest asks for: they are there, whether the map can say so or not. */
static void test_zeroed_ranges(void **state)
{
	struct full f = { .rng = vol_seed("zeroed ranges") };
	struct vol_sum before, after;

	full_make(&f, (struct vol_shape){ .blocks = 16384, .ag_blocks = 4096, .journal_blocks = 1024 }, 3000);
	vol_hog_take(&f.v);
	for (unsigned i = 0; i < 1500; i++) {
		write_all(&f, rnd(&f, f.blocks) * BLK, 1, BLK);
		if (i % 3 == 0)
			zero(&f, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
		if (i % 100 == 0)
			compare(&f);
	}
	compare(&f);
	write_all(&f, 0, f.blocks, BLK);
	vol_check(&f.v, &before);
	for (unsigned i = 0; i < 400; i++)
		zero(&f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	vol_check(&f.v, &after);
	assert_true(after.data < before.data);
	full_end(&f);
}

/* What gives blocks back needs none. */
static void test_goes(void **state)
{
	struct full f = { .rng = vol_seed("goes") };
	struct csv_attr attr;
	uint32_t nlink;

	full_make(&f, (struct vol_shape){ .blocks = 16384, .ag_blocks = 4096, .journal_blocks = 1024 }, 3000);
	for (unsigned i = 0; i < 1000; i++)
		write_all(&f, rnd(&f, f.blocks) * BLK, 1, BLK);
	vol_hog_take(&f.v);
	for (uint64_t size = f.blocks * BLK; size > 1000 * BLK; size -= rnd(&f, 20 * BLK))
		VOL_OK(&f.v, csv_truncate(&f.v.ctx, f.ref, size, &attr, NULL));
	data_down(&f);
	VOL_OK(&f.v, csv_unlink(&f.v.ctx, vol_root(&f.v), "disk.vhd", f.ref, &nlink, NULL));
	VOL_OK(&f.v, csv_inode_destroy(&f.v.ctx, f.ref));
	vol_check(&f.v, NULL);
	vol_free(&f.v);
	free(f.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_block), cmocka_unit_test(test_every_part),
		cmocka_unit_test(test_fragmented),  cmocka_unit_test(test_large),
		cmocka_unit_test(test_grows_into),  cmocka_unit_test(test_zeroed_ranges),
		cmocka_unit_test(test_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
