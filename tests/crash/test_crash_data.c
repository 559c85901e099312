/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Crashes in the middle of changes of file data and extent maps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "scenarios.h"

CRASH_TEST(overwrite, 0)
CRASH_TEST(append, 0)
CRASH_TEST(truncate, 0)
CRASH_TEST(fragments, 0)
CRASH_TEST(convert, 0)
CRASH_TEST(free_reuse, .blocks = 2048)
CRASH_TEST(forged_header, .blocks = 2048)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CRASH_UNIT(overwrite), CRASH_UNIT(append),     CRASH_UNIT(truncate),	  CRASH_UNIT(fragments),
		CRASH_UNIT(convert),   CRASH_UNIT(free_reuse), CRASH_UNIT(forged_header),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
