/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who waits for byte ranges: order, and cycles of owners. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/brl_wait.h"
#include "lib/env.h"

#define WAITERS 64u

static struct csv_brl_table *t;
static struct csv_brl_waits q;
static struct csv_brl_waiter waiter[WAITERS];
static unsigned n;

static int setup(void **state)
{
	t = csv_brl_new();
	csv_brl_waits_init(&q);
	n = 0;
	return 0;
}

static int teardown(void **state)
{
	csv_brl_free(t);
	return 0;
}

static struct csv_brl range(uint64_t owner, uint64_t ino, uint32_t type, uint64_t start, uint64_t end)
{
	return (struct csv_brl){
		.ino = ino, .node = 1, .handle = owner, .owner = owner, .type = type, .start = start, .end = end
	};
}

static void has(uint64_t owner, uint64_t ino, uint32_t type, uint64_t start, uint64_t end)
{
	struct csv_brl l = range(owner, ino, type, start, end);

	assert_true(csv_brl_set(t, &l, NULL));
}

static struct csv_brl_waiter *waits(uint64_t owner, uint64_t ino, uint32_t type, uint64_t start, uint64_t end)
{
	struct csv_brl_waiter *w = &waiter[n++];

	assert_true(n <= WAITERS);
	w->brl = range(owner, ino, type, start, end);
	w->process = true;
	assert_true(csv_brl_test(t, &w->brl, NULL));
	csv_brl_waits_add(&q, w);
	return w;
}

static bool deadlock(uint64_t owner, uint64_t ino, uint32_t type, uint64_t start, uint64_t end)
{
	struct csv_brl l = range(owner, ino, type, start, end);

	return csv_brl_deadlock(t, &q, &l);
}

static void test_order(void **state)
{
	struct csv_brl freed = range(0, 5, F_UNLCK, 10, 19);
	struct csv_brl_waiter *a, *b, *c;

	has(1, 5, F_WRLCK, 0, 99);
	has(1, 6, F_WRLCK, 0, 99);
	waits(2, 5, F_RDLCK, 0, 9);
	a = waits(9, 5, F_RDLCK, 0, 10);
	waits(3, 6, F_RDLCK, 10, 19);
	b = waits(2, 5, F_WRLCK, 19, 50);
	c = waits(4, 5, F_WRLCK, 12, 12);
	assert_ptr_equal(csv_brl_waits_next(&q, &freed, NULL), a);
	assert_ptr_equal(csv_brl_waits_next(&q, &freed, a), b);
	csv_brl_waits_del(&q, b);
	assert_ptr_equal(csv_brl_waits_next(&q, &freed, a), c);
	assert_null(csv_brl_waits_next(&q, &freed, c));
	freed.flock = 1;
	assert_null(csv_brl_waits_next(&q, &freed, NULL));
	assert_null(csv_brl_waits_of(&q, 2, 9, NULL));
	assert_ptr_equal(csv_brl_waits_of(&q, 1, 9, NULL), a);
	assert_null(csv_brl_waits_of(&q, 1, 9, a));
}

static void test_two(void **state)
{
	has(1, 5, F_WRLCK, 0, 9);
	has(2, 6, F_WRLCK, 0, 9);
	assert_false(deadlock(1, 6, F_WRLCK, 0, 0));
	waits(1, 6, F_RDLCK, 0, 0);
	assert_true(deadlock(2, 5, F_RDLCK, 9, 9));
	assert_false(deadlock(3, 5, F_RDLCK, 9, 9)); /* nobody waits for it */
}

/* Both have read, both want to write. */
static void test_two_upgrades(void **state)
{
	has(1, 5, F_RDLCK, 0, 9);
	has(2, 5, F_RDLCK, 0, 9);
	assert_false(deadlock(1, 5, F_WRLCK, 0, 9));
	waits(1, 5, F_WRLCK, 0, 9);
	assert_true(deadlock(2, 5, F_WRLCK, 5, 5));
}

/* The cycle goes through the last of many who are in the way. */
static void test_long_cycle(void **state)
{
	for (uint64_t i = 1; i <= 40; i++) {
		has(i, 100 + i, F_WRLCK, 0, 9);
		has(200 + i, 101 + i, F_RDLCK, 20, 29); /* waits for nothing */
	}
	for (uint64_t i = 1; i < 40; i++)
		waits(i, 101 + i, F_WRLCK, 0, 29);
	assert_false(deadlock(40, 200, F_WRLCK, 0, 0));
	assert_false(deadlock(40, 141, F_WRLCK, 0, 29));
	assert_true(deadlock(40, 101, F_WRLCK, 0, 0));
	csv_brl_waits_del(&q, &waiter[20]);
	assert_false(deadlock(40, 101, F_WRLCK, 0, 0));
}

/* Open files are not processes, and neither is anybody who has only a flock. */
static void test_only_processes(void **state)
{
	struct csv_brl l = range(2, 5, F_RDLCK, 9, 9);

	has(1, 5, F_WRLCK, 0, 9);
	has(2, 6, F_WRLCK, 0, 9);
	waits(1, 6, F_RDLCK, 0, 0)->process = false;
	assert_false(deadlock(2, 5, F_RDLCK, 9, 9));
	waiter[0].process = true;
	assert_true(deadlock(2, 5, F_RDLCK, 9, 9));
	l.flock = 1;
	assert_false(csv_brl_deadlock(t, &q, &l));
	l.flock = 0;
	l.node = 2; /* the same number on another node */
	assert_false(csv_brl_deadlock(t, &q, &l));
}

/* A cycle that the asking owner is not part of goes round only once. */
static void test_foreign_cycle(void **state)
{
	has(1, 5, F_WRLCK, 0, 9);
	has(2, 6, F_WRLCK, 0, 9);
	has(3, 7, F_WRLCK, 0, 9);
	waits(1, 6, F_RDLCK, 0, 0);
	waits(2, 5, F_RDLCK, 0, 0);
	assert_false(deadlock(3, 5, F_RDLCK, 9, 9));
}

#define PEOPLE 6u

/* Reaches `to` from somebody's waits, by trying all ways of the graph as plain arrays tell it. */
static bool reaches(bool edge[PEOPLE][PEOPLE], unsigned from, unsigned to, unsigned depth)
{
	for (unsigned i = 0; i < PEOPLE; i++) {
		if (edge[from][i] && (i == to || (depth && reaches(edge, i, to, depth - 1))))
			return true;
	}
	return false;
}

static void edges_of(bool edge[PEOPLE][PEOPLE], const struct csv_brl *want, uint32_t held[PEOPLE][PEOPLE])
{
	for (unsigned o = 0; o < PEOPLE; o++) {
		uint32_t h = held[o][want->ino];

		if (o != want->owner && h && (h == F_WRLCK + 1 || want->type == F_WRLCK))
			edge[want->owner][o] = true;
	}
}

static void random_round(uint64_t *rng)
{
	uint32_t held[PEOPLE][PEOPLE] = { 0 };
	bool edge[PEOPLE][PEOPLE] = { 0 };
	struct csv_brl want;

	setup(NULL);
	for (unsigned i = 0; i < 12; i++) {
		uint32_t type = csv_rng_next(rng) % 2 ? F_RDLCK : F_WRLCK;

		want = range(csv_rng_next(rng) % PEOPLE, csv_rng_next(rng) % PEOPLE, type, 0, 9);
		if (csv_brl_set(t, &want, NULL))
			held[want.owner][want.ino] = type + 1;
	}
	for (unsigned i = 0; i < 5; i++) {
		want = range(csv_rng_next(rng) % PEOPLE, csv_rng_next(rng) % PEOPLE, F_WRLCK, 3, 3);
		if (!csv_brl_test(t, &want, NULL))
			continue;
		waits(want.owner, want.ino, want.type, want.start, want.end);
		edges_of(edge, &want, held);
	}
	want = range(csv_rng_next(rng) % PEOPLE, csv_rng_next(rng) % PEOPLE, F_RDLCK, 9, 9);
	memset(edge[want.owner], 0, sizeof(edge[0])); /* where it waits elsewhere is not the question */
	edges_of(edge, &want, held);
	assert_int_equal(csv_brl_deadlock(t, &q, &want), reaches(edge, (unsigned)want.owner, (unsigned)want.owner, 6));
	teardown(NULL);
}

static void test_against_a_plain_graph(void **state)
{
	uint64_t rng = 7;

	for (unsigned i = 0; i < 20000; i++)
		random_round(&rng);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_order),
		T(test_two),
		T(test_two_upgrades),
		T(test_long_cycle),
		T(test_only_processes),
		T(test_foreign_cycle),
		cmocka_unit_test(test_against_a_plain_graph),
	};

	return cmocka_run_group_tests_name("waiting for byte ranges", tests, NULL, NULL);
}
