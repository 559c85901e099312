/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The handoff under faults (handoff.h).  SEEDS=n runs seeds 1..n; SEED=n runs that one and prints its trace.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/bug.h"
#include "tests/sim/cover.h"
#include "tests/sim/handoff.h"

#ifdef CSV_BUGS
#define SEEDS 1000 /* with no bug switched on */
#else
#define SEEDS 8000
#endif
/* So many meet every pair that can be. */
#define COVERED 8000

static char *run_seed(uint64_t seed, uint64_t *tally, struct sim_count *count)
{
	char text[200];

	return ho_play(seed, text, sizeof(text), tally, count, NULL) ? NULL : strdup(text);
}

static bool replay(uint64_t seed, FILE *trace)
{
	uint64_t tally[HO_TALLIES] = { 0 };
	struct sim_count count;
	char text[200];

	return ho_play(seed, text, sizeof(text), tally, &count, trace);
}

/* What a failing seed is worth: it shows the same again. */
static void test_replays_exactly(void **state)
{
	char *text[2] = { NULL, NULL };
	size_t len[2];

	for (unsigned i = 0; i < 2; i++) {
		FILE *f = open_memstream(&text[i], &len[i]);

		assert_non_null(f);
		replay(7, f);
		fclose(f);
	}
	assert_true(len[0] > 1000 && len[0] == len[1]);
	assert_memory_equal(text[0], text[1], len[0]);
	free(text[0]);
	free(text[1]);
}

static void test_faults(void **state)
{
	struct sim_batch batch = { "handoff", run_seed, sim_env("SEEDS", SEEDS), HO_TALLIES };
	uint64_t tally[HO_TALLIES] = { 0 };
	bool good;

	if (!sim_batch_test(&batch, tally, replay))
		return;
	printf("# handoff: undecided %llu, kept %llu, moved %llu\n",
	       (unsigned long long)tally[HO_OUTCOME + CSV_HO_NONE], (unsigned long long)tally[HO_OUTCOME + CSV_HO_KEPT],
	       (unsigned long long)tally[HO_OUTCOME + CSV_HO_MOVED]);
	good = sim_table_use(ho_cover(), &tally[HO_GIVEN], batch.seeds, COVERED);
	assert_true(good);
	assert_true(tally[HO_OUTCOME + CSV_HO_MOVED] > batch.seeds / 10);
	assert_true(tally[HO_OUTCOME + CSV_HO_KEPT] > batch.seeds / 10);
}

#ifdef CSV_BUGS
static void find_bug(enum csv_bug bug, const char *name)
{
	struct sim_batch batch = { name, run_seed, sim_env("BUG_SEEDS", 10000), HO_TALLIES };
	uint64_t tally[HO_TALLIES] = { 0 }, seed;
	char *why = NULL;

	csv_bug_set(1ul << bug);
	seed = sim_batch_run(&batch, tally, &why);
	csv_bug_set(0);
	assert_true(seed);
	printf("# bug %s: found at seed %llu: %s\n", name, (unsigned long long)seed, why);
	free(why);
}
#define BUGS(X)                                                                                                        \
	X(H3_OFFER_TO_ANYONE) X(H4_UNPARK_ON_UNKNOWN) X(H6_TAKEBACK_AFTER_RUN) X(H4_LOOKS_TOO_EARLY) X(H5_OLD_REVOKE)
#define FIND(name)                                                                                                     \
	static void test_##name(void **state)                                                                          \
	{                                                                                                              \
		find_bug(CSV_BUG_##name, #name);                                                                       \
	}
BUGS(FIND)
#endif

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_replays_exactly), cmocka_unit_test(test_faults),
#ifdef CSV_BUGS
#define TEST(name) cmocka_unit_test(test_##name),
					    BUGS(TEST)
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
