/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csvlockd's machine under faults.  SEEDS=n runs seeds 1..n (default 500); SEED=n runs that one and prints its trace.
 * A failing seed replays exactly.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/sim/sim.h"

/* Lines of a trace that are shown when a seed fails; all with SEED. */
#define SHOWN 120

static volatile uint64_t running;

static void on_abort(int sig)
{
	fprintf(stderr, "seed %llu: assertion failed\n", (unsigned long long)running);
}

static void show_end(const char *trace)
{
	const char *p = trace + strlen(trace);

	for (int lines = getenv("SEED") ? -1000000 : 0; p > trace && lines <= SHOWN; p--)
		lines += p[-1] == '\n';
	fputs(p, stdout); /* too long for print_message */
}

static void run_seed(uint64_t seed, struct sim *stats)
{
	char *trace, *why;

	running = seed;
	why = sim_run(seed, &trace, stats);
	if (why) {
		show_end(trace);
		print_message("seed %llu: %s\nreplay: SEED=%llu\n", (unsigned long long)seed, why,
			      (unsigned long long)seed);
		free(trace);
		free(why);
		fail();
	}
}

static void test_seeds(void **state)
{
	const char *seeds = getenv("SEEDS"), *one = getenv("SEED");
	uint64_t n = seeds ? strtoull(seeds, NULL, 10) : 500;
	struct sim *stats = calloc(1, sizeof(*stats));

	assert_non_null(stats);
	signal(SIGABRT, on_abort);
	if (one)
		run_seed(strtoull(one, NULL, 10), stats);
	for (uint64_t seed = 1; !one && seed <= n; seed++)
		run_seed(seed, stats);
	print_message("%llu steps, %llu grants, %llu recoveries, %llu evictions, %llu late writes refused\n",
		      (unsigned long long)stats->steps, (unsigned long long)stats->grants,
		      (unsigned long long)stats->recoveries, (unsigned long long)stats->evictions,
		      (unsigned long long)stats->disk.refused);
	free(stats);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_seeds) };

	return cmocka_run_group_tests_name("machine under faults", tests, NULL, NULL);
}
