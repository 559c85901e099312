/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether all is taken that corosync has, against a model of what it does with a client: a ring, and a queue behind it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/env.h"
#include "lockd/core/machine.h"
#include "lockd/daemon/backlog.h"

#define RING (1u << 20)
#define MOST 65536u

/* Numbers of messages, in order: those before `in_ring` are taken, those before `queued` are in the ring. */
static struct {
	uint32_t size[MOST];
	unsigned taken, in_ring, sent;
	size_t ring;
	unsigned own; /* the own message that is on its way: its number + 1; 0: none */
} c;
static struct csv_backlog b;

static int setup(void **state)
{
	memset(&c, 0, sizeof(c));
	memset(&b, 0, sizeof(b));
	return 0;
}

static void flush(void)
{
	while (c.in_ring < c.sent && c.ring + c.size[c.in_ring] <= RING)
		c.ring += c.size[c.in_ring++];
}

/* It is put into the ring at once only if nothing is queued; nor is what was queued moved just then. */
static void send(uint32_t size)
{
	bool direct = c.in_ring == c.sent;

	assert_true(c.sent < MOST);
	c.size[c.sent++] = size;
	if (direct)
		flush();
}

static void take_all(void)
{
	while (c.taken < c.in_ring) {
		uint32_t size = c.size[c.taken++];

		c.ring -= size;
		csv_backlog_took(&b, size > CSV_BACKLOG_HEADER ? size - CSV_BACKLOG_HEADER : 0);
		if (c.own == c.taken)
			c.own = 0;
	}
	csv_backlog_ring_empty(&b);
}

/* As csv_group_catch_up(): nothing of what was there before may be left when it says so. */
static bool all_taken(void)
{
	take_all();
	if (!csv_backlog_ask(&b, !c.own)) {
		assert_int_equal(c.taken, c.sent);
		return true;
	}
	send(40);
	c.own = c.sent;
	return false;
}

/* In the ordinary course nothing is asked, however much it is in the end. */
static void test_keeps_up(void **state)
{
	for (unsigned i = 0; i < 20000; i++) {
		send(1000);
		assert_true(all_taken());
	}
}

/* Many times the ring has come while we hung. */
static void test_after_a_hang(void **state)
{
	unsigned asked = 0;

	for (unsigned i = 0; i < 8000; i++)
		send(1000);
	while (!all_taken()) {
		flush();
		asked++;
		assert_true(asked < 100);
	}
	assert_true(asked > 1);
	assert_int_equal(c.taken, c.sent);
	send(1000);
	assert_true(all_taken());
}

static void send_many(unsigned n)
{
	while (n--)
		send(1000);
}

/* The ring is empty, and corosync has not come to fill it again. */
static void test_ring_stays_empty(void **state)
{
	send_many(1500);
	assert_false(all_taken());
	assert_false(all_taken());
	flush();
	assert_true(all_taken());
}

/* Behind the own message there is more again than goes into the ring. */
static void test_more_comes(void **state)
{
	send_many(3000);
	assert_false(all_taken());
	send_many(6000);
	while (c.own) {
		flush();
		take_all();
	}
	assert_true(c.taken < c.sent);
	while (!all_taken())
		flush();
	assert_int_equal(c.taken, c.sent);
}

static void test_any_course(void **state)
{
	uint64_t rng = 1, sure = 0;

	for (unsigned i = 0; i < 3000; i++) {
		unsigned burst = csv_rng_next(&rng) % 8 ? 3 : 200;

		if (c.sent + burst + 2 >= MOST)
			break;
		for (unsigned k = 0; k < csv_rng_next(&rng) % burst; k++) {
			uint32_t size = csv_rng_next(&rng) % 50 ? 600 : CSV_MACHINE_SEND_MAX;

			send(size);
			if (csv_rng_next(&rng) % 3 == 0)
				flush();
		}
		if (csv_rng_next(&rng) % 4)
			take_all();
		else
			sure += all_taken();
		if (csv_rng_next(&rng) % 2)
			flush();
	}
	assert_true(sure > 50);
}

#define T(name) cmocka_unit_test_setup(name, setup)
int main(void)
{
	const struct CMUnitTest tests[] = { T(test_keeps_up), T(test_after_a_hang), T(test_ring_stays_empty),
					    T(test_more_comes), T(test_any_course) };

	return cmocka_run_group_tests_name("corosync's backlog", tests, NULL, NULL);
}
