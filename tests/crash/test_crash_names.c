/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Crashes in the middle of namespace operations and lease changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "scenarios.h"

CRASH_TEST(create, 0)
CRASH_TEST(mkdir, 0)
CRASH_TEST(unlink, 0)
CRASH_TEST(rename, 0)
CRASH_TEST(lease, 0)
CRASH_TEST(mix, 0)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CRASH_UNIT(create), CRASH_UNIT(mkdir), CRASH_UNIT(unlink),
		CRASH_UNIT(rename), CRASH_UNIT(lease), CRASH_UNIT(mix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
