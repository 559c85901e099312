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

/* X(name of lib/bug.h) */
#define BUGS(X)                                                                                                        \
	X(L1_GRANT_BEFORE_REPLAY)                                                                                      \
	X(F4_NO_RECOVERER_FENCE)                                                                                       \
	X(L5_EVICT_WITHOUT_QUORUM)                                                                                     \
	X(SEEN_NOT_AWAITED)                                                                                            \
	X(GRANT_TOLD_EARLY)                                                                                            \
	X(L1_GRANT_WITHOUT_QUORUM)                                                                                     \
	X(DENY_LOST)                                                                                                   \
	X(L3_BACK_AFTER_FENCE)                                                                                         \
	X(L9_STALE_LINE_WINS)                                                                                          \
	X(L9_OVER_GOES_ON)                                                                                             \
	X(L9_NO_DOUBT)                                                                                                 \
	X(LATE_OPS_LOST)                                                                                               \
	X(REPLAY_WITHOUT_FENCE)                                                                                        \
	X(J6_NOBODY_USES_IT)                                                                                           \
	X(DLM_TOLD_WHILE_FROZEN)                                                                                       \
	X(DLM_TOLD_EARLY)                                                                                              \
	X(RANGES_OF_THE_DEAD)

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

#define FIND(name)                                                                                                     \
	static void test_##name(void **state)                                                                          \
	{                                                                                                              \
		find(1ul << CSV_BUG_##name, #name);                                                                    \
	}
BUGS(FIND)
#else
static void test_no_bugs(void **state)
{
#define NONE(name) assert_int_equal(CSV_BUG(name), 0);
	BUGS(NONE)
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
#ifdef CSV_BUGS
#define TEST(name) cmocka_unit_test(test_##name),
		BUGS(TEST)
#else
		cmocka_unit_test(test_no_bugs),
#endif
	};

	return cmocka_run_group_tests_name("machine with deliberate bugs", tests, NULL, NULL);
}
