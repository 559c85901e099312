/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csvlockd's machine under faults.  SEEDS=n runs seeds 1..n ; SEED=n runs that one and prints its trace.
 * A failing seed replays exactly.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/sim/seeds.h"
#include "tests/sim/sim.h"

#ifdef CSV_BUGS
#define SEEDS 200 /* with no bug switched on */
#else
#define SEEDS 4000
#endif

enum { STEPS, GRANTS, RECOVERIES, EVICTIONS, REFUSED, TALLIES };

static char *run_seed(uint64_t seed, uint64_t *tally, struct sim_count *count)
{
	struct sim stats = { 0 };
	char *why = sim_run(seed, NULL, &stats);

	*count = (struct sim_count){ (uint32_t)stats.steps, (uint32_t)stats.faults };
	tally[STEPS] += stats.steps;
	tally[GRANTS] += stats.grants;
	tally[RECOVERIES] += stats.recoveries;
	tally[EVICTIONS] += stats.evictions;
	tally[REFUSED] += stats.disk.refused;
	return why;
}

static bool replay(uint64_t seed, FILE *trace)
{
	char *why = sim_run(seed, trace, NULL);

	free(why);
	return !why;
}

/* The trace of a run as one number. */
static uint64_t trace_sum(uint64_t seed)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	uint64_t sum;

	assert_non_null(f);
	free(sim_run(seed, f, NULL));
	fclose(f);
	assert_true(len > 1000);
	sum = csv_mix(0, text, len);
	free(text);
	return sum;
}

/* What a failing seed is worth: it shows the same again. */
static void test_replays_exactly(void **state)
{
	for (uint64_t seed = 1; seed <= 3; seed++)
		assert_true(trace_sum(seed) == trace_sum(seed));
	assert_true(trace_sum(1) != trace_sum(2));
}

static void test_seeds(void **state)
{
	struct sim_batch batch = { "machine", run_seed, sim_env("SEEDS", SEEDS), TALLIES };
	uint64_t tally[TALLIES] = { 0 }, failed = sim_env("SEED", 0);
	char *why = NULL;

	if (failed) {
		assert_true(sim_replay(replay, failed, true));
		return;
	}
	failed = sim_batch_run(&batch, tally, &why);
	if (failed) {
		sim_replay(replay, failed, false);
		fail_msg("seed %llu: %s", (unsigned long long)failed, why);
	}
	printf("# machine: %llu steps, %llu grants, %llu recoveries, %llu evictions, %llu late writes refused\n",
	       (unsigned long long)tally[STEPS], (unsigned long long)tally[GRANTS],
	       (unsigned long long)tally[RECOVERIES], (unsigned long long)tally[EVICTIONS],
	       (unsigned long long)tally[REFUSED]);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_replays_exactly), cmocka_unit_test(test_seeds) };

	return cmocka_run_group_tests_name("machine under faults", tests, NULL, NULL);
}
