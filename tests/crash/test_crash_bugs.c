/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The crash tests find what they are there for: with one of the deliberate bugs (lib/bug.h, VARIANT=bugs) switched on,
 * the same scenarios fail.  In the normal build the bugs are not there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "lib/bug.h"
#include "scenarios.h"

#ifdef CSV_BUGS
#define SEEDS_MAX 20u

static void find(enum csv_bug bug, const char *name, const struct crash_scenario *s)
{
	static struct crash c;
	uint64_t seed = crash_seed();
	unsigned images = 0;

	for (unsigned i = 0; i < SEEDS_MAX; i++, seed++) {
		bool good;

		csv_bug_set(1ul << bug);
		good = crash_run(&c, s, seed, crash_budget());
		csv_bug_set(0);
		images += c.images;
		if (!good)
			printf("bug %s: found by %s after %u images, SEED=%llu: %s\n", name, s->name, images,
			       (unsigned long long)seed, c.failure);
		crash_free(&c);
		if (!good)
			return;
	}
	fail_msg("bug %s: not found in %u images of %s", name, images, s->name);
}
#define FIND(bug, ...) find(CSV_BUG_##bug, #bug, &(const struct crash_scenario){ __VA_ARGS__ })
#else
#define FIND(bug, ...) assert_int_equal(CSV_BUG(bug), 0)
#endif

static void no_flush_before_commit(void **state)
{
	FIND(NO_FLUSH_BEFORE_COMMIT, "convert", crash_run_convert, { 0 });
	FIND(NO_FLUSH_BEFORE_COMMIT, "append", crash_run_append, { .no_fua = true });
}

static void replay_ignores_version(void **state)
{
	FIND(REPLAY_IGNORES_VERSION, "idle_node", crash_run_idle_node, { 0 });
}

static void home_before_commit(void **state)
{
	FIND(HOME_BEFORE_COMMIT, "create", crash_run_create, { 0 });
	FIND(HOME_BEFORE_COMMIT, "rename", crash_run_rename, { 0 });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_flush_before_commit),
		cmocka_unit_test(replay_ignores_version),
		cmocka_unit_test(home_before_commit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
