/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What csv_check_run() has to say, gathered for tests. */
#ifndef CSV_TESTS_FINDINGS_H
#define CSV_TESTS_FINDINGS_H

#include "tools/check/check.h"

struct check_seen {
	bool code[CSV_CHECK_CODE_COUNT];
	unsigned damage;
	char text[2000];
};

/* Runs it to its end; anything else fails the test. */
void check_run(struct csv_bdev *dev, struct check_seen *seen, struct csv_check_summary *sum);
void check_expect_clean(struct csv_bdev *dev);

#endif
