/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "findings.h"

static void on_finding(void *arg, const struct csv_finding *f)
{
	struct check_seen *s = arg;
	size_t len = strlen(s->text);

	assert_string_equal(f->code, csv_check_code_name(f->id));
	s->code[f->id] = true;
	s->damage += !f->note;
	snprintf(s->text + len, sizeof(s->text) - len, "  %s block %lld inode %llu: %s\n", f->code, (long long)f->block,
		 (unsigned long long)f->inode, f->text);
}

void check_run(struct csv_bdev *dev, struct check_seen *seen, struct csv_check_summary *sum)
{
	struct csv_why why;

	memset(seen, 0, sizeof(*seen));
	csv_why_init(&why);
	if (csv_check_run(dev, csv_env_system(), NULL, on_finding, seen, sum, &why) != CSV_OK)
		fail_msg("check: %s", why.text);
	assert_true(sum->done);
	assert_int_equal(seen->damage, sum->findings);
}

void check_expect_clean(struct csv_bdev *dev)
{
	struct csv_check_summary sum;
	struct check_seen seen;

	check_run(dev, &seen, &sum);
	if (sum.findings)
		fail_msg("volume is not clean:\n%s", seen.text);
}
