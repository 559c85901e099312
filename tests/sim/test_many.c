/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csvlockd's machine with as many nodes as a cluster can have, under faults.  MANY_SEEDS=n runs seeds 1..n; SEED=n runs
 * that one and prints its trace.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/sim/cover_machine.h"
#include "tests/sim/seeds.h"

#ifdef CSV_BUGS
#define SEEDS 1 /* with no bug switched on */
#else
#define SEEDS 4
#endif

static char *run_seed(uint64_t seed, uint64_t *tally, struct sim_count *count)
{
	return sim_run_many(seed, NULL, tally, count);
}

static bool replay(uint64_t seed, FILE *trace)
{
	struct sim_count count;
	char *why = sim_run_many(seed, trace, NULL, &count);

	free(why);
	return !why;
}

static void print(const uint64_t *tally)
{
	double views = (double)tally[SIM_T_VIEWS], msgs = (double)tally[SIM_T_FORM_MSGS];

	printf("# 64 nodes: %.0f views of %.0f members on average; each took %.0f messages (START, HELLO, state) and"
	       " %.0f KiB: %.1f messages a member\n",
	       views, (double)tally[SIM_T_JOINS] / views, msgs / views, (double)tally[SIM_T_FORM_BYTES] / views / 1024,
	       msgs / (double)tally[SIM_T_JOINS]);
	printf("# 64 nodes: %llu grants, %llu recoveries, %llu evictions, %llu late writes refused\n",
	       (unsigned long long)tally[SIM_T_GRANTS], (unsigned long long)tally[SIM_T_RECOVERIES],
	       (unsigned long long)tally[SIM_T_EVICTIONS], (unsigned long long)tally[SIM_T_REFUSED]);
}

static void test_many(void **state)
{
	struct sim_batch batch = { "64 nodes", run_seed, sim_env("MANY_SEEDS", SEEDS), SIM_TALLIES };
	uint64_t tally[SIM_TALLIES] = { 0 };

	if (!sim_batch_test(&batch, tally, replay))
		return;
	print(tally);
	/* All that the other test looks for is done here too. */
	assert_true(tally[SIM_T_GRANTS] && tally[SIM_T_RECOVERIES] && tally[SIM_T_VIEWS]);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_many) };

	return cmocka_run_group_tests_name("64 nodes under faults", tests, NULL, NULL);
}
