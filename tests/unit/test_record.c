/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The recording device: what crash images can and can never show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "lib/bdev.h"
#include "lib/env.h"
#include "lib/record.h"

#define SIZE (16u << 20)
#define BLOCK 4096u
#define SEEDS 300

static struct csv_bdev *recorder(void)
{
	struct csv_bdev *mem, *dev;

	assert_int_equal(csv_bdev_mem(SIZE, 512, &mem), CSV_OK);
	assert_int_equal(csv_record_open(mem, &dev), CSV_OK);
	return dev;
}

static void put(struct csv_bdev *dev, unsigned block, int c, unsigned flags)
{
	char buf[BLOCK];

	memset(buf, c, sizeof(buf));
	assert_int_equal(csv_bdev_write(dev, (uint64_t)block * BLOCK, buf, BLOCK, flags), CSV_OK);
}

/* The byte that fills the block, or -1 if it is torn. */
static int content(struct csv_bdev *dev, unsigned block)
{
	unsigned char buf[BLOCK];

	assert_int_equal(csv_bdev_read(dev, (uint64_t)block * BLOCK, buf, BLOCK), CSV_OK);
	for (unsigned s = 1; s < BLOCK; s++) {
		/* Sectors are atomic. */
		if (s % 512)
			assert_int_equal(buf[s], buf[s - 1]);
		else if (buf[s] != buf[s - 1])
			return -1;
	}
	return buf[0];
}

static int crash_content(struct csv_bdev *dev, size_t cut, uint64_t seed, unsigned block)
{
	struct csv_bdev *image;
	int c;

	assert_int_equal(csv_record_crash(dev, cut, seed, &image), CSV_OK);
	c = content(image, block);
	csv_bdev_close(image);
	return c;
}

static void test_log(void **state)
{
	struct csv_bdev *dev = recorder();

	put(dev, 3, 'a', 0);
	csv_bdev_flush(dev);
	csv_record_mark(dev, 42);
	put(dev, 4, 'b', CSV_IO_FUA);
	assert_int_equal(csv_record_count(dev), 4);
	assert_int_equal(csv_record_entry(dev, 0)->kind, CSV_RECORD_WRITE);
	assert_int_equal(csv_record_entry(dev, 0)->off, 3 * BLOCK);
	assert_int_equal(*(const char *)csv_record_entry(dev, 0)->data, 'a');
	assert_int_equal(csv_record_entry(dev, 1)->kind, CSV_RECORD_FLUSH);
	assert_int_equal(csv_record_entry(dev, 2)->mark, 42);
	assert_int_equal(csv_record_entry(dev, 3)->flags, CSV_IO_FUA);
	assert_null(csv_record_entry(dev, 4));
	assert_int_equal(content(dev, 3), 'a');
	assert_int_equal(csv_record_reset(dev), CSV_OK);
	assert_int_equal(csv_record_count(dev), 0);
	assert_int_equal(crash_content(dev, 0, 1, 3), 'a');
	csv_bdev_close(dev);
}

/* An unflushed write is met kept, lost and torn; two of them in every combination. */
static void test_unflushed(void **state)
{
	struct csv_bdev *dev = recorder();
	unsigned kept = 0, lost = 0, torn = 0, only_second = 0, only_first = 0;

	put(dev, 1, 'a', 0);
	put(dev, 2, 'b', 0);
	assert_int_equal(crash_content(dev, 1, 0, 1), 'a');
	assert_int_equal(crash_content(dev, 1, 1, 1), 0);
	for (uint64_t seed = 2; seed < SEEDS; seed++) {
		int a = crash_content(dev, 1, seed, 1), b = crash_content(dev, 1, seed, 2);

		kept += a == 'a';
		lost += a == 0;
		torn += a == -1;
		only_first += a == 'a' && b == 0;
		only_second += a == 0 && b == 'b';
	}
	assert_true(kept > 20 && lost > 20 && torn > 10 && only_first > 5 && only_second > 5);
	/* Nothing from after the cut. */
	for (uint64_t seed = 0; seed < SEEDS; seed++)
		assert_int_equal(crash_content(dev, 0, seed, 2), 0);
	csv_bdev_close(dev);
}

static void test_flushed_stays(void **state)
{
	struct csv_bdev *dev = recorder();
	unsigned old = 0, torn = 0;

	put(dev, 1, 'a', 0);
	csv_bdev_flush(dev);
	put(dev, 1, 'b', 0);
	put(dev, 1, 'c', 0);
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		int c;

		assert_int_equal(crash_content(dev, 1, seed, 1), 'a');
		c = crash_content(dev, 3, seed, 1);
		assert_true(c != 0);
		old += c == 'a' || c == 'b';
		torn += c == -1;
	}
	assert_true(old > 20 && torn > 10);
	csv_bdev_close(dev);
}

static void test_fua(void **state)
{
	struct csv_bdev *dev = recorder();
	unsigned lost = 0;

	put(dev, 1, 'a', 0);
	put(dev, 2, 'b', CSV_IO_FUA);
	put(dev, 1, 'c', CSV_IO_FUA);
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		/* The FUA write is there by itself, and does not make its elder durable. */
		assert_int_equal(crash_content(dev, 1, seed, 2), 'b');
		lost += crash_content(dev, 1, seed, 1) == 0;
		/* An older write that is still in the cache does not come back over it. */
		assert_int_equal(crash_content(dev, 2, seed, 1), 'c');
	}
	assert_true(lost > 20);
	csv_bdev_close(dev);
}

static void ignore(struct csv_io *io, enum csv_err err)
{
}

static void test_discard(void **state)
{
	struct csv_bdev *dev = recorder();
	struct csv_io io = { .op = CSV_IO_DISCARD, .off = 5 * BLOCK, .len = BLOCK, .done = ignore };
	unsigned there = 0, gone = 0;

	put(dev, 5, 'x', 0);
	csv_bdev_flush(dev);
	csv_bdev_submit(dev, &io); /* memory: done on return */
	for (uint64_t seed = 2; seed < SEEDS; seed++) {
		int c = crash_content(dev, 2, seed, 5);

		there += c == 'x';
		gone += c == 0;
	}
	assert_true(there > 10 && gone > 10);
	csv_bdev_close(dev);
}

/* A device that holds requests back until the test lets them go, in the test's order. */
struct slow_dev {
	struct csv_bdev dev;
	struct csv_bdev *mem;
	struct csv_io *held[8];
	int nheld;
};

static void slow_submit(struct csv_bdev *dev, struct csv_io *io)
{
	struct slow_dev *s = (struct slow_dev *)dev;

	if (io->op == CSV_IO_READ)
		csv_bdev_submit(s->mem, io);
	else
		s->held[s->nheld++] = io;
}

static void slow_close(struct csv_bdev *dev)
{
	struct slow_dev *s = (struct slow_dev *)dev;

	csv_bdev_close(s->mem);
	free(s);
}

static const struct csv_bdev_ops slow_ops = { .name = "slow", .submit = slow_submit, .close = slow_close };

static void test_under_way(void **state)
{
	struct slow_dev *s = calloc(1, sizeof(*s));
	char a[BLOCK], b[BLOCK];
	struct iovec iov[2] = { { a, BLOCK }, { b, BLOCK } };
	struct csv_io w1 = {
		.op = CSV_IO_WRITE, .off = BLOCK, .len = BLOCK, .iov = &iov[0], .niov = 1, .done = ignore
	};
	struct csv_io w2 = {
		.op = CSV_IO_WRITE, .off = BLOCK, .len = BLOCK, .iov = &iov[1], .niov = 1, .done = ignore
	};
	struct csv_io fl = { .op = CSV_IO_FLUSH, .done = ignore };
	unsigned first = 0, second = 0, lost = 0;
	struct csv_bdev *dev;

	memset(a, 'a', BLOCK);
	memset(b, 'b', BLOCK);
	s->dev.ops = &slow_ops;
	assert_int_equal(csv_bdev_mem(SIZE, 512, &s->mem), CSV_OK);
	s->dev.geo = s->mem->geo;
	assert_int_equal(csv_record_open(&s->dev, &dev), CSV_OK);

	/* The flush is submitted while w1 is under way: it does not cover it, though it completes later. */
	csv_bdev_submit(dev, &w1);
	csv_bdev_submit(dev, &fl);
	csv_bdev_submit(dev, &w2);
	csv_bdev_submit(s->mem, s->held[0]);
	csv_bdev_submit(s->mem, s->held[1]);
	csv_bdev_submit(s->mem, s->held[2]);
	assert_int_equal(csv_record_count(dev), 3);
	for (uint64_t seed = 2; seed < SEEDS; seed++) {
		int c = crash_content(dev, 1, seed, 1);

		/* At the cut w2 is under way and may be there, even below w1. */
		first += c == 'a';
		second += c == 'b';
		lost += c == 0;
	}
	assert_true(first > 10 && second > 10 && lost > 10);
	first = 0;
	/* Both done, both at the same time: either may win. */
	for (uint64_t seed = 2; seed < SEEDS; seed++)
		first += crash_content(dev, 2, seed, 1) == 'a';
	assert_true(first > 10);
	csv_bdev_close(dev);
}

/* The order of a journal: data, flush, commit, flush. No cut may show a commit without its data. */
static void test_prefixes(void **state)
{
	struct csv_bdev *dev = recorder();
	uint64_t rng = 7;

	for (int k = 1; k <= 40; k++) {
		put(dev, 100 + (unsigned)k, k, 0);
		csv_bdev_flush(dev);
		put(dev, 10, k, k % 2 ? CSV_IO_FUA : 0);
		if (k % 2 == 0)
			csv_bdev_flush(dev);
		csv_record_mark(dev, (uint64_t)k);
	}
	for (size_t cut = 0; cut < csv_record_count(dev); cut++) {
		for (int i = 0; i < 10; i++) {
			struct csv_bdev *image;
			uint64_t acked = 0;
			int k;

			for (size_t j = 0; j <= cut; j++)
				if (csv_record_entry(dev, j)->kind == CSV_RECORD_MARK)
					acked = csv_record_entry(dev, j)->mark;
			assert_int_equal(csv_record_crash(dev, cut, csv_rng_next(&rng), &image), CSV_OK);
			k = content(image, 10);
			if (k > 0)
				assert_int_equal(content(image, 100 + (unsigned)k), k);
			if (k >= 0)
				assert_true((uint64_t)k >= acked);
			csv_bdev_close(image);
		}
	}
	csv_bdev_close(dev);
}

/* Snapshots must not change what an image shows: compare with a plain replay of the log. */
static void test_long_log(void **state)
{
	struct csv_bdev *dev = recorder();
	unsigned char *model = calloc(1, SIZE), *got = malloc(SIZE);
	uint64_t rng = 3;
	struct timespec t0, t1;
	double ms;

	for (int i = 0; i < 20000; i++) {
		put(dev, (unsigned)(csv_rng_next(&rng) % (SIZE / BLOCK)), (int)(csv_rng_next(&rng) & 0xff), 0);
		if (i % 10 == 9)
			csv_bdev_flush(dev);
	}
	for (size_t i = 0; i < csv_record_count(dev); i++) {
		const struct csv_record_entry *e = csv_record_entry(dev, i);
		struct csv_bdev *image;

		if (e->kind == CSV_RECORD_WRITE)
			memcpy(model + e->off, e->data, e->len);
		if (i % 1571)
			continue;
		assert_int_equal(csv_record_crash(dev, i, 0, &image), CSV_OK);
		assert_int_equal(csv_bdev_read(image, 0, got, SIZE), CSV_OK);
		assert_memory_equal(model, got, SIZE);
		csv_bdev_close(image);
	}
	clock_gettime(CLOCK_MONOTONIC, &t0);
	for (int i = 0; i < 1000; i++) {
		struct csv_bdev *image;

		assert_int_equal(csv_record_crash(dev, csv_rng_next(&rng) % 22000, csv_rng_next(&rng), &image), CSV_OK);
		csv_bdev_close(image);
	}
	clock_gettime(CLOCK_MONOTONIC, &t1);
	ms = (double)(t1.tv_sec - t0.tv_sec) * 1e3 + (double)(t1.tv_nsec - t0.tv_nsec) / 1e6;
	print_message("1000 images of 16 MiB from a log of 22000 entries: %.0f ms\n", ms);
	free(model);
	free(got);
	csv_bdev_close(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_log),	 cmocka_unit_test(test_unflushed), cmocka_unit_test(test_flushed_stays),
		cmocka_unit_test(test_fua),	 cmocka_unit_test(test_discard),   cmocka_unit_test(test_under_way),
		cmocka_unit_test(test_prefixes), cmocka_unit_test(test_long_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
