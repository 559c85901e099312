/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state of a mount as people see it: the worst of what holds, and since when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "csv/proto.h"
#include "fs/mount.h"

static int64_t clock_sec;

static void wall(struct csv_env *env, int64_t *sec, uint32_t *nsec)
{
	*sec = clock_sec;
	*nsec = 0;
}

static uint64_t mono_ns(struct csv_env *env)
{
	return (uint64_t)clock_sec * 1000000000u;
}

static struct csv_env env = { .wall = wall, .mono_ns = mono_ns };
static struct csv_mount m;

static int setup(void **state)
{
	memset(&m, 0, sizeof(m));
	m.env = &env;
	m.opts.lun = "lun";
	pthread_mutex_init(&m.lock, NULL);
	clock_sec = 100;
	csv_health_init(&m);
	return 0;
}

static int teardown(void **state)
{
	pthread_mutex_destroy(&m.lock);
	return 0;
}

static void view(bool frozen, bool quorate, const char *waits_for)
{
	struct csv_msg_view v = { .frozen = frozen, .quorate = quorate };

	strcpy(v.waits_for, waits_for);
	csv_health_view(&m, &v);
}

static void expect(const char *state, const char *reason, int64_t since)
{
	struct csv_msg_volume v;

	csv_mount_status_brief(&m, &v);
	assert_string_equal(v.state, state);
	assert_string_equal(v.reason, reason);
	assert_int_equal(v.since_sec, since);
	clock_sec++;
}

/* A view that comes in while the path is lost does not make the volume online. */
static void test_worst_counts(void **state)
{
	expect("online", "", 100);
	view(false, false, "");
	expect("no quorum", "no new locks; too few nodes are there", 101);
	view(true, false, "node n3");
	expect("recovering", "no new locks; waits for node n3", 102);
	csv_health_path(&m, true, "no answer");
	expect("paused", "no answer", 103);
	view(false, true, "");
	expect("paused", "no answer", 103);
	csv_health_lockd(&m, true);
	csv_health_path(&m, false, "");
	expect("paused", "csvlockd does not run", 103);
	csv_health_full(&m, true);
	expect("paused", "the LUN is full at the array", 103);
	csv_health_path(&m, true, "no answer");
	csv_health_full(&m, false);
	expect("paused", "no answer", 103);
	csv_health_path(&m, false, "");
	csv_health_lockd(&m, false);
	expect("online", "", 108);
}

/* The same state for another reason began when the state began. */
static void test_since(void **state)
{
	clock_sec = 200;
	view(true, true, "node n2");
	expect("recovering", "no new locks; waits for node n2", 200);
	view(true, true, "node n3");
	expect("recovering", "no new locks; waits for node n3", 200);
}

/* Out is for good, and what put it out first is why. */
static void test_out(void **state)
{
	csv_health_path(&m, true, "no answer");
	csv_health_out(&m, CSV_UNREACH, "no way to the target");
	expect("failed", "no way to the target", 100);
	csv_health_out(&m, CSV_FENCED, "fenced");
	csv_health_path(&m, false, "");
	view(false, true, "");
	expect("failed", "no way to the target", 100);
}

static void test_fenced(void **state)
{
	csv_health_out(&m, CSV_FENCED, "fenced by node n2");
	csv_health_path(&m, true, "no answer");
	expect("fenced", "fenced by node n2", 100);
}

/* Long waits are told again and again, and less and less often; what is for good, or well, is not. */
static void test_told_again(void **state)
{
	static const unsigned told[] = { 4, 8, 16, 32, 64, 128, 192 };
	unsigned n = 0;

	for (; clock_sec < 110; clock_sec++)
		assert_int_equal(csv_health_tick(&m), 0);
	view(true, true, "node n3");
	for (unsigned s = 0; s < 200; s++, clock_sec++) {
		unsigned now = csv_health_tick(&m);

		if (now)
			assert_int_equal(now, told[n++]);
		if (s == 10)
			view(true, true, "node n2"); /* another reason, the same wait */
	}
	assert_int_equal(n, sizeof(told) / sizeof(told[0]));
	csv_health_path(&m, true, "no answer");
	clock_sec += 3;
	assert_int_equal(csv_health_tick(&m), 0); /* a wait of its own */
	clock_sec++;
	assert_int_equal(csv_health_tick(&m), 4);
	csv_health_out(&m, CSV_FENCED, "fenced");
	clock_sec += 100;
	assert_int_equal(csv_health_tick(&m), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_worst_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_since, setup, teardown),
		cmocka_unit_test_setup_teardown(test_out, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fenced, setup, teardown),
		cmocka_unit_test_setup_teardown(test_told_again, setup, teardown),
	};

	return cmocka_run_group_tests_name("health", tests, NULL, NULL);
}
