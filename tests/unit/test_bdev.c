/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Block devices in memory and on files, by both file engines. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/bdev.h"
#include "lib/env.h"
#include "lib/iov.h"

#define MIB (1ull << 20)

static char path[] = "/tmp/csv-bdev-XXXXXX";

static void make_file(uint64_t size)
{
	int fd;

	strcpy(path + strlen(path) - 6, "XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

static struct csv_bdev *open_file(unsigned flags)
{
	struct csv_bdev *dev;
	struct csv_why why;

	csv_why_init(&why);
	if (csv_bdev_open(path, flags, &dev, &why) != CSV_OK)
		fail_msg("open: %s", why.text);
	return dev;
}

static void fill(void *buf, size_t len, uint64_t seed)
{
	unsigned char *p = buf;

	for (size_t i = 0; i < len; i++)
		p[i] = (unsigned char)(csv_rng_next(&seed) >> 11);
}

/* Writes and reads back with every alignment of memory and a few lengths. */
static void round_trip(struct csv_bdev *dev)
{
	static const size_t lens[] = { 512, 4096, 12288, 65536, 3 * MIB };
	size_t max = 3 * MIB + 64;
	char *a = aligned_alloc(4096, 4 * MIB), *b = aligned_alloc(4096, 4 * MIB);

	for (size_t l = 0; l < sizeof(lens) / sizeof(lens[0]); l++) {
		for (size_t shift = 0; shift <= 64; shift = shift * 8 + 1) {
			size_t len = lens[l];
			uint64_t off = 4096 * (l + 1);

			if (len % dev->geo.block)
				continue;
			fill(a, max, len + shift);
			assert_int_equal(csv_bdev_write(dev, off, a + shift, len, shift & 1 ? CSV_IO_FUA : 0), CSV_OK);
			memset(b, 0, max);
			assert_int_equal(csv_bdev_read(dev, off, b + shift, len), CSV_OK);
			assert_memory_equal(a + shift, b + shift, len);
		}
	}
	assert_int_equal(csv_bdev_flush(dev), CSV_OK);
	free(a);
	free(b);
}

static void wait_done(struct csv_io *io, enum csv_err err)
{
	__atomic_store_n((int *)io->arg, (int)err + 1, __ATOMIC_RELEASE);
}

static enum csv_err submit_wait(struct csv_bdev *dev, struct csv_io *io)
{
	int result = 0;

	io->done = wait_done;
	io->arg = &result;
	csv_bdev_submit(dev, io);
	while (!__atomic_load_n(&result, __ATOMIC_ACQUIRE))
		usleep(100);
	return (enum csv_err)(result - 1);
}

/* Many small vectors whose borders are no block borders. */
static void scattered(struct csv_bdev *dev)
{
	static const size_t parts[] = { 1, 511, 512, 1000, 24, 4096, 2048 };
	char *mem = malloc(65536), *flat = malloc(8192);
	struct iovec iov[7];
	struct csv_io io = { .op = CSV_IO_WRITE, .off = 8192, .len = 8192, .iov = iov, .niov = 7 };
	size_t pos = 0;

	fill(mem, 65536, 5);
	for (int i = 0; i < 7; i++) {
		iov[i] = (struct iovec){ mem + 9000 * i, parts[i] };
		memcpy(flat + pos, iov[i].iov_base, parts[i]);
		pos += parts[i];
	}
	assert_int_equal(pos, 8192);
	assert_int_equal(submit_wait(dev, &io), CSV_OK);
	assert_int_equal(csv_bdev_read(dev, 8192, mem, 8192), CSV_OK);
	assert_memory_equal(mem, flat, 8192);
	io.op = CSV_IO_READ;
	memset(mem, 0, 65536);
	assert_int_equal(submit_wait(dev, &io), CSV_OK);
	for (int i = 0, at = 0; i < 7; at += (int)parts[i], i++)
		assert_memory_equal(iov[i].iov_base, flat + at, parts[i]);
	free(mem);
	free(flat);
}

static void bounds(struct csv_bdev *dev)
{
	char buf[8192];
	uint64_t end = dev->geo.size;

	assert_int_equal(csv_bdev_read(dev, 1, buf, 4096), CSV_INVAL);
	assert_int_equal(csv_bdev_read(dev, 0, buf, 100), CSV_INVAL);
	assert_int_equal(csv_bdev_read(dev, end - 4096, buf, 8192), CSV_INVAL);
	assert_int_equal(csv_bdev_read(dev, UINT64_MAX - 4095, buf, 4096), CSV_INVAL);
	assert_int_equal(csv_bdev_read(dev, end - 4096, buf, 4096), CSV_OK);
	assert_int_equal(csv_bdev_write(dev, end, buf, 0, 0), CSV_OK);
}

static void batches(struct csv_bdev *dev)
{
	struct csv_bdev_batch *batch;
	char *w = aligned_alloc(4096, MIB * 4), *r = aligned_alloc(4096, MIB * 4);

	/* More requests than the ring holds. */
	fill(w, MIB * 4, 9);
	assert_int_equal(csv_bdev_batch_begin(dev, &batch), CSV_OK);
	for (size_t i = 0; i < 1024; i++)
		assert_int_equal(csv_bdev_batch_write(batch, i * 4096, w + i * 4096, 4096, 0), CSV_OK);
	assert_int_equal(csv_bdev_batch_wait(batch), CSV_OK);
	assert_int_equal(csv_bdev_batch_begin(dev, &batch), CSV_OK);
	for (size_t i = 0; i < 1024; i++)
		assert_int_equal(csv_bdev_batch_read(batch, i * 4096, r + i * 4096, 4096), CSV_OK);
	assert_int_equal(csv_bdev_batch_wait(batch), CSV_OK);
	assert_memory_equal(w, r, MIB * 4);

	assert_int_equal(csv_bdev_batch_begin(dev, &batch), CSV_OK);
	csv_bdev_batch_write(batch, 0, w, 4096, 0);
	csv_bdev_batch_write(batch, 1, w, 4096, 0);
	assert_int_equal(csv_bdev_batch_wait(batch), CSV_INVAL);
	free(w);
	free(r);
}

static void discard(struct csv_bdev *dev)
{
	struct csv_io io = { .op = CSV_IO_DISCARD, .off = 0, .len = MIB };

	assert_int_equal(submit_wait(dev, &io), CSV_OK);
	assert_int_equal(dev->stats.discards, 1);
	assert_true(dev->stats.writes > 0 && dev->stats.bytes_read > 0 && dev->stats.flushes > 0);
}

static void all_of(struct csv_bdev *dev)
{
	round_trip(dev);
	scattered(dev);
	batches(dev);
	bounds(dev);
	discard(dev);
	assert_int_equal(csv_bdev_generation(dev), 0);
	csv_bdev_close(dev);
}

static void test_mem(void **state)
{
	struct csv_bdev *dev;
	char buf[512], zero[512] = { 0 };

	assert_int_equal(csv_bdev_mem(100, 512, &dev), CSV_INVAL);
	assert_int_equal(csv_bdev_mem(16 * MIB, 512, &dev), CSV_OK);
	assert_int_equal(csv_bdev_read(dev, 4096, buf, 512), CSV_OK);
	assert_memory_equal(buf, zero, 512);
	all_of(dev);
	assert_int_equal(csv_bdev_mem(16 * MIB, 4096, &dev), CSV_OK);
	assert_int_equal(csv_bdev_read(dev, 512, buf, 512), CSV_INVAL);
	all_of(dev);
	/* Sparse (as large as the thread sanitizer lets a mapping be). */
	assert_int_equal(csv_bdev_mem(64ull << 30, 512, &dev), CSV_OK);
	assert_int_equal(csv_bdev_write(dev, (64ull << 30) - 512, buf, 512, 0), CSV_OK);
	csv_bdev_close(dev);
}

static void test_file_ring(void **state)
{
	make_file(16 * MIB);
	all_of(open_file(0));
	all_of(open_file(CSV_BDEV_BUFFERED));
	unlink(path);
}

static void test_file_threads(void **state)
{
	make_file(16 * MIB);
	setenv("CSV_BDEV_NO_URING", "1", 1);
	all_of(open_file(0));
	all_of(open_file(CSV_BDEV_BUFFERED));
	unsetenv("CSV_BDEV_NO_URING");
	unlink(path);
}

static void test_file_sparse(void **state)
{
	struct csv_bdev *dev;
	struct stat st;
	char buf[4096];

	make_file(2048ull << 30);
	dev = open_file(0);
	assert_true(dev->geo.size == 2048ull << 30);
	fill(buf, sizeof(buf), 3);
	assert_int_equal(csv_bdev_write(dev, (2048ull << 30) - 4096, buf, 4096, 0), CSV_OK);
	csv_bdev_close(dev);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_blocks < 2048);
	unlink(path);
}

static void test_file_exclusive(void **state)
{
	struct csv_bdev *dev, *other;
	struct csv_why why;
	char me[64];

	make_file(MIB);
	dev = open_file(CSV_BDEV_EXCLUSIVE);
	csv_why_init(&why);
	assert_int_equal(csv_bdev_open(path, CSV_BDEV_EXCLUSIVE, &other, &why), CSV_BUSY);
	snprintf(me, sizeof(me), "process %d (", (int)getpid());
	assert_non_null(strstr(why.text, "is in use"));
	assert_non_null(strstr(why.text, me));
	assert_null(other);
	csv_bdev_close(dev);
	csv_bdev_close(open_file(CSV_BDEV_EXCLUSIVE));
	unlink(path);
}

static void test_file_rdonly(void **state)
{
	struct csv_bdev *dev;
	char buf[4096] = { 0 };

	make_file(MIB);
	dev = open_file(CSV_BDEV_RDONLY);
	assert_int_equal(csv_bdev_write(dev, 0, buf, 4096, 0), CSV_ROFS);
	assert_int_equal(csv_bdev_read(dev, 0, buf, 4096), CSV_OK);
	csv_bdev_close(dev);
	unlink(path);
}

static void test_open_errors(void **state)
{
	static const struct {
		const char *name;
		enum csv_err err;
	} cases[] = {
		{ "", CSV_USAGE },	    { "/nonexistent/lun", CSV_NOENT }, { "/tmp", CSV_INVAL },
		{ "/dev/null", CSV_INVAL }, { "http://x/y", CSV_USAGE },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct csv_bdev *dev;
		struct csv_why why;

		csv_why_init(&why);
		assert_int_equal(csv_bdev_open(cases[i].name, 0, &dev, &why), cases[i].err);
		assert_null(dev);
		assert_true(why.text[0] != 0);
	}
}

/* A file cut short under us gives an error, not silence. */
static void test_file_truncated(void **state)
{
	struct csv_bdev *dev;
	char buf[8192];

	make_file(MIB);
	dev = open_file(0);
	assert_int_equal(truncate(path, 4096), 0);
	assert_int_equal(csv_bdev_read(dev, 0, buf, 8192), CSV_IO);
	csv_bdev_close(dev);
	unlink(path);
}

/* A stopped device takes no more writes; what is there can be read. */
static void test_stop(void **state)
{
	char a[4096], b[4096];
	struct csv_bdev_batch *batch;
	struct csv_bdev *dev;

	assert_int_equal(csv_bdev_mem(MIB, 512, &dev), CSV_OK);
	fill(a, sizeof(a), 1);
	assert_int_equal(csv_bdev_write(dev, 0, a, sizeof(a), 0), CSV_OK);
	csv_bdev_stop(dev);
	fill(b, sizeof(b), 2);
	assert_int_equal(csv_bdev_write(dev, 0, b, sizeof(b), CSV_IO_FUA), CSV_WITHDRAWN);
	assert_int_equal(csv_bdev_batch_begin(dev, &batch), CSV_OK);
	csv_bdev_batch_write(batch, 0, b, sizeof(b), 0);
	assert_int_equal(csv_bdev_batch_wait(batch), CSV_WITHDRAWN);
	assert_int_equal(csv_bdev_flush(dev), CSV_OK);
	assert_int_equal(csv_bdev_read(dev, 0, b, sizeof(b)), CSV_OK);
	assert_memory_equal(a, b, sizeof(a));
	csv_bdev_close(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mem),
		cmocka_unit_test(test_file_ring),
		cmocka_unit_test(test_file_threads),
		cmocka_unit_test(test_file_sparse),
		cmocka_unit_test(test_file_exclusive),
		cmocka_unit_test(test_file_rdonly),
		cmocka_unit_test(test_open_errors),
		cmocka_unit_test(test_file_truncated),
		cmocka_unit_test(test_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
