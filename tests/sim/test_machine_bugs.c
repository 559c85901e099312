/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shows that the simulator finds what it is there for: with each deliberate bug of the engine some seed fails.
 * BUG_SEEDS=n tries seeds 1..n (default 3000).  Without -DCSV_BUGS the bugs do not exist, and that is asserted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "lib/bug.h"
#include "tests/sim/seeds.h"
#include "tests/sim/sim.h"

#ifdef CSV_BUGS
static char *run_seed(uint64_t seed, uint64_t *tally, struct sim_count *count)
{
	return sim_run(seed, NULL, NULL, count);
}

static void find(unsigned long mask, const char *name)
{
	struct sim_batch batch = { name, run_seed, sim_env("BUG_SEEDS", 10000), 0 };
	char *why = NULL;
	uint64_t seed;

	csv_bug_set(mask);
	seed = sim_batch_run(&batch, NULL, &why);
	csv_bug_set(0);
	if (!seed)
		fail_msg("%s is not found in %llu seeds", name, (unsigned long long)batch.seeds);
	printf("# bug %s: found at seed %llu: %s\n", name, (unsigned long long)seed, why);
	free(why);
}

static void test_grant_before_replay(void **state)
{
	find(1ul << CSV_BUG_L1_GRANT_BEFORE_REPLAY, "L1_GRANT_BEFORE_REPLAY");
}

static void test_no_recoverer_fence(void **state)
{
	find(1ul << CSV_BUG_F4_NO_RECOVERER_FENCE, "F4_NO_RECOVERER_FENCE");
}
static void test_evict_without_quorum(void **state)
{
	find(1ul << CSV_BUG_L5_EVICT_WITHOUT_QUORUM, "L5_EVICT_WITHOUT_QUORUM");
}
#else
static void test_no_bugs(void **state)
{
	assert_int_equal(CSV_BUG(L1_GRANT_BEFORE_REPLAY), 0);
	assert_int_equal(CSV_BUG(F4_NO_RECOVERER_FENCE), 0);
	assert_int_equal(CSV_BUG(L5_EVICT_WITHOUT_QUORUM), 0);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
#ifdef CSV_BUGS
		cmocka_unit_test(test_grant_before_replay),
		cmocka_unit_test(test_no_recoverer_fence),
		cmocka_unit_test(test_evict_without_quorum),
#else
		cmocka_unit_test(test_no_bugs),
#endif
	};

	return cmocka_run_group_tests_name("machine with deliberate bugs", tests, NULL, NULL);
}
