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

#include "tests/sim/cover_machine.h"
#include "tests/sim/seeds.h"

#ifdef CSV_BUGS
#define SEEDS 200 /* with no bug switched on */
#else
#define SEEDS 3000
#endif
/* So many meet every pair that can be. */
#define COVERED 3000

static char *run_seed(uint64_t seed, uint64_t *tally, struct sim_count *count)
{
	return sim_run(seed, NULL, tally, count);
}

static bool replay(uint64_t seed, FILE *trace)
{
	uint64_t tally[SIM_TALLIES] = { 0 };
	struct sim_count count;
	char *why = sim_run(seed, trace, tally, &count);

	free(why);
	return !why;
}

/* The trace of a run as one number. */
static uint64_t trace_sum(uint64_t seed)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	struct sim_count count;
	uint64_t sum;

	assert_non_null(f);
	free(sim_run(seed, f, NULL, &count));
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
	struct sim_batch batch = { "machine", run_seed, sim_env("SEEDS", SEEDS), SIM_TALLIES };
	uint64_t tally[SIM_TALLIES] = { 0 };
	bool good;

	if (!sim_batch_test(&batch, tally, replay))
		return;
	printf("# machine: %llu steps, %llu grants, %llu recoveries, %llu evictions, %llu late writes refused\n",
	       (unsigned long long)tally[SIM_T_STEPS], (unsigned long long)tally[SIM_T_GRANTS],
	       (unsigned long long)tally[SIM_T_RECOVERIES], (unsigned long long)tally[SIM_T_EVICTIONS],
	       (unsigned long long)tally[SIM_T_REFUSED]);
	good = sim_table_use(&sim_cover_lives, &tally[SIM_T_LIVES], batch.seeds, COVERED);
	good &= sim_table_use(&sim_cover_answers, &tally[SIM_T_ANSWERS], batch.seeds, COVERED);
	good &= sim_table_use(&sim_cover_phases, &tally[SIM_T_PHASES], batch.seeds, COVERED);
	assert_true(good);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_replays_exactly), cmocka_unit_test(test_seeds) };

	return cmocka_run_group_tests_name("machine under faults", tests, NULL, NULL);
}
