/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/cover.h"

/* NULL: it can be. */
static const struct sim_never *never(const struct sim_table *t, unsigned row, unsigned col)
{
	for (const struct sim_never *n = t->never; n->why; n++) {
		if ((n->row == row || n->row == SIM_ANY) && (n->col == col || n->col == SIM_ANY))
			return n;
	}
	return NULL;
}

static int width_of(const struct sim_table *t, unsigned col)
{
	int w = (int)strlen(t->col[col]);

	return w < 9 ? 9 : w;
}

void sim_table_print(const struct sim_table *t, const uint64_t *hits)
{
	printf("\n%s (-: cannot be; .: rare)\n%-11s", t->title, "");
	for (unsigned c = 0; c < t->cols; c++)
		printf(" %*s", width_of(t, c), t->col[c]);
	for (unsigned r = 0; r < t->rows; r++) {
		printf("\n%-11s", t->row[r]);
		for (unsigned c = 0; c < t->cols; c++) {
			const struct sim_never *n = never(t, r, c);

			if (!hits[r * t->cols + c] && n)
				printf(" %*s", width_of(t, c), n->rare ? "." : "-");
			else
				printf(" %*llu", width_of(t, c), (unsigned long long)hits[r * t->cols + c]);
		}
	}
	printf("\n");
}

bool sim_table_check(const struct sim_table *t, const uint64_t *hits)
{
	bool good = true;

	for (unsigned r = 0; r < t->rows; r++) {
		for (unsigned c = 0; c < t->cols; c++) {
			const struct sim_never *n = never(t, r, c);
			bool met = hits[r * t->cols + c] != 0;

			if (met == !n || (n && n->rare))
				continue;
			printf("%s: %s x %s was %s%s\n", t->title, t->row[r], t->col[c], met ? "met, but: " : "not met",
			       n ? n->why : "");
			good = false;
		}
	}
	return good;
}

bool sim_table_use(const struct sim_table *t, const uint64_t *hits, uint64_t seeds, uint64_t enough)
{
	if (getenv("SIM_TABLE"))
		sim_table_print(t, hits);
	return seeds < enough || sim_table_check(t, hits);
}
