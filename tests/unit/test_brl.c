/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Byte-range table: POSIX rules one by one, then against a table of single bytes. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "lib/brl.h"
#include "lib/env.h"

static struct csv_brl range(uint32_t node, uint64_t owner, uint32_t type, uint64_t start, uint64_t end)
{
	return (struct csv_brl){ .ino = 1,
				 .gen = 1,
				 .node = node,
				 .handle = owner,
				 .owner = owner,
				 .type = type,
				 .start = start,
				 .end = end };
}

static bool set(struct csv_brl_table *t, struct csv_brl l)
{
	return csv_brl_set(t, &l, NULL);
}

struct listing {
	unsigned n;
	struct csv_brl l[256];
};

static void collect(void *arg, const struct csv_brl *l)
{
	struct listing *li = arg;

	assert_true(li->n < 256);
	li->l[li->n++] = *l;
}

static struct listing list(const struct csv_brl_table *t)
{
	struct listing li = { 0 };

	csv_brl_walk(t, collect, &li);
	assert_int_equal(li.n, csv_brl_count(t));
	return li;
}

static void test_conflicts(void **state)
{
	struct csv_brl_table *t = csv_brl_new();
	struct csv_brl found, want = range(2, 9, F_WRLCK, 5, 5);

	assert_true(set(t, range(1, 7, F_RDLCK, 0, 9)));
	assert_true(set(t, range(2, 8, F_RDLCK, 5, 20)));
	assert_false(csv_brl_set(t, &want, &found));
	assert_int_equal(found.node, 1);
	assert_int_equal(found.start, 0);
	assert_int_equal(csv_brl_count(t), 2);
	want.start = want.end = 21;
	assert_true(csv_brl_set(t, &want, &found));
	assert_false(set(t, range(1, 7, F_RDLCK, 21, UINT64_MAX)));
	/* the same owner number on another node is somebody else */
	assert_false(set(t, range(1, 9, F_WRLCK, 21, 21)));
	/* flock is a space of its own */
	want = range(1, 1, F_WRLCK, 0, UINT64_MAX);
	want.flock = 1;
	assert_true(csv_brl_set(t, &want, NULL));
	want.owner = 2;
	assert_false(csv_brl_set(t, &want, NULL));
	csv_brl_free(t);
}

static void test_split_and_join(void **state)
{
	struct csv_brl_table *t = csv_brl_new();
	struct listing li;

	assert_true(set(t, range(1, 7, F_WRLCK, 0, 99)));
	assert_true(set(t, range(1, 7, F_RDLCK, 40, 49)));
	li = list(t);
	assert_int_equal(li.n, 3);
	assert_int_equal(li.l[0].end, 39);
	assert_int_equal(li.l[1].type, F_RDLCK);
	assert_int_equal(li.l[2].start, 50);
	assert_true(set(t, range(1, 7, F_WRLCK, 40, 49)));
	li = list(t);
	assert_int_equal(li.n, 1);
	assert_int_equal(li.l[0].end, 99);
	assert_true(set(t, range(1, 7, F_UNLCK, 10, 19)));
	li = list(t);
	assert_int_equal(li.n, 2);
	assert_int_equal(li.l[0].end, 9);
	assert_int_equal(li.l[1].start, 20);
	assert_true(set(t, range(1, 7, F_UNLCK, 0, UINT64_MAX)));
	assert_int_equal(csv_brl_count(t), 0);
	csv_brl_free(t);
}

/* Two handles of one process: neighbours stay apart, each goes with its handle. */
static void test_handles(void **state)
{
	struct csv_brl_table *t = csv_brl_new();
	struct csv_brl l = range(1, 7, F_WRLCK, 0, 9);

	assert_true(csv_brl_set(t, &l, NULL));
	l.handle = 70;
	l.start = 10;
	l.end = 19;
	assert_true(csv_brl_set(t, &l, NULL));
	assert_int_equal(csv_brl_count(t), 2);
	assert_false(csv_brl_drop_handle(t, 2, 70));
	assert_int_equal(csv_brl_count(t), 2);
	assert_true(csv_brl_has_handle(t, 1, 70));
	assert_true(csv_brl_drop_handle(t, 1, 70));
	assert_false(csv_brl_has_handle(t, 1, 70));
	assert_true(csv_brl_has_handle(t, 1, 7));
	assert_int_equal(csv_brl_count(t), 1);
	assert_true(set(t, range(2, 7, F_WRLCK, 10, 19)));
	csv_brl_drop_node(t, 1);
	assert_int_equal(csv_brl_count(t), 1);
	csv_brl_free(t);
}

/* What a handle or a node has goes in all files, and nothing else. */
static void test_drops_in_all_files(void **state)
{
	struct csv_brl_table *t = csv_brl_new();

	for (uint32_t i = 0; i < 60; i++) {
		struct csv_brl l = range(1 + i % 2, i % 3, F_RDLCK, i, i);

		l.ino = i % 5;
		l.flock = i % 7 == 0;
		assert_true(csv_brl_set(t, &l, NULL));
	}
	assert_true(csv_brl_drop_handle(t, 1, 2));
	assert_int_equal(csv_brl_count(t), 50);
	assert_false(csv_brl_has_owner(t, 1, 2));
	assert_true(csv_brl_has_owner(t, 2, 2));
	csv_brl_drop_node(t, 2);
	assert_int_equal(csv_brl_count(t), 20);
	csv_brl_free(t);
}

/* Shared locks of many owners on one range, and one exclusive lock that lies behind them. */
static void test_many_readers(void **state)
{
	struct csv_brl_table *t = csv_brl_new();
	struct csv_brl found, want = range(2, 1, F_RDLCK, 150, 300);

	for (uint64_t i = 0; i < 100; i++)
		assert_true(set(t, range(1, i, F_RDLCK, 0, 100 + i)));
	assert_true(set(t, range(1, 500, F_WRLCK, 250, 260)));
	assert_true(csv_brl_test(t, &want, &found));
	assert_int_equal(found.start, 250);
	want.end = 249;
	assert_false(csv_brl_test(t, &want, NULL));
	want.type = F_WRLCK;
	assert_true(csv_brl_test(t, &want, &found));
	assert_int_equal(found.owner, 50); /* of those that reach so far the lowest */
	want.start = 200;
	assert_false(csv_brl_test(t, &want, NULL));
	csv_brl_free(t);
}

static void lock_all(struct csv_brl_table *t, uint32_t type, uint32_t n)
{
	for (uint64_t i = 0; i < n; i++)
		assert_true(set(t, range(1, i % 4, type, i * 7919 % n * 2, i * 7919 % n * 2)));
}

/* The time for one grows with the logarithm of how many there are: with n itself this would take a quarter of a minute.
 */
static void test_twenty_thousand(void **state)
{
	struct csv_brl_table *t = csv_brl_new();
	clock_t start = clock();

	lock_all(t, F_WRLCK, 20000);
	assert_int_equal(csv_brl_count(t), 20000);
	lock_all(t, F_UNLCK, 20000);
	assert_int_equal(csv_brl_count(t), 0);
	for (uint64_t i = 0; i < 20000; i++)
		assert_true(set(t, range(1, i, F_RDLCK, 0, 99)));
	assert_true((clock() - start) / CLOCKS_PER_SEC < 4);
	csv_brl_free(t);
}

#define BYTES 40u
#define OWNERS 5u

static void check_bytes(const struct csv_brl_table *t, uint32_t bytes[OWNERS][BYTES])
{
	struct listing li = list(t);
	uint32_t seen[OWNERS][BYTES] = { 0 };

	for (unsigned i = 0; i < li.n; i++) {
		for (uint64_t b = li.l[i].start; b <= li.l[i].end; b++) {
			assert_int_equal(seen[li.l[i].node][b], 0);
			seen[li.l[i].node][b] = li.l[i].type + 1;
		}
		/* whatever can be one lock is one */
		for (unsigned k = 0; k < li.n; k++)
			assert_false(li.l[k].node == li.l[i].node && li.l[k].type == li.l[i].type &&
				     li.l[i].end + 1 == li.l[k].start);
	}
	assert_memory_equal(seen, bytes, sizeof(seen));
}

static void test_against_bytes(void **state)
{
	struct csv_brl_table *t = csv_brl_new();
	uint32_t bytes[OWNERS][BYTES] = { 0 }; /* 0, or type + 1 */
	uint64_t rng = 1;

	for (int i = 0; i < 10000; i++) {
		static const uint32_t types[] = { F_RDLCK, F_WRLCK, F_UNLCK };
		uint32_t node = (uint32_t)(csv_rng_next(&rng) % OWNERS), type = types[csv_rng_next(&rng) % 3];
		uint64_t a = csv_rng_next(&rng) % BYTES, b = csv_rng_next(&rng) % BYTES;
		uint64_t start = a < b ? a : b, end = a < b ? b : a;
		bool conflict = false;

		for (uint32_t o = 0; o < OWNERS; o++) {
			for (uint64_t k = start; k <= end && o != node && type != F_UNLCK; k++)
				conflict |= bytes[o][k] && (type == F_WRLCK || bytes[o][k] == F_WRLCK + 1);
		}
		assert_int_equal(set(t, range(node, 5, type, start, end)), !conflict);
		for (uint64_t k = start; k <= end && !conflict; k++)
			bytes[node][k] = type == F_UNLCK ? 0 : type + 1;
		check_bytes(t, bytes);
	}
	csv_brl_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conflicts),     cmocka_unit_test(test_split_and_join),
		cmocka_unit_test(test_handles),	      cmocka_unit_test(test_drops_in_all_files),
		cmocka_unit_test(test_many_readers),  cmocka_unit_test(test_twenty_thousand),
		cmocka_unit_test(test_against_bytes),
	};

	return cmocka_run_group_tests_name("byte ranges", tests, NULL, NULL);
}
