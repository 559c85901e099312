/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which pairs of a state and an event a batch of seeds has met.  A pair that it never meets is not tested, or cannot be:
 * those that cannot are named with the reason, and the test fails when one of them is met, or another one is not.
 */
#ifndef CSV_TESTS_COVER_H
#define CSV_TESTS_COVER_H

#include <stdbool.h>
#include <stdint.h>

#define SIM_ANY UINT32_MAX /* every row, or every column */

/* A pair, or several, that cannot be, and why. The first entry that fits counts; a list ends with why NULL. */
struct sim_never {
	unsigned row, col;
	const char *why;
	bool rare; /* it can be, but takes so many seeds that it is not asked for */
};

struct sim_table {
	const char *title;
	unsigned rows, cols;
	const char *const *row, *const *col; /* names */
	const struct sim_never *never;
};

/* hits: rows x cols counters. */
void sim_table_print(const struct sim_table *t, const uint64_t *hits);
/* Prints each pair that is not as it should be; false: there is one. */
bool sim_table_check(const struct sim_table *t, const uint64_t *hits);

/* What to do behind a batch: prints if SIM_TABLE is set; checks if there were as many seeds as there have to be. */
bool sim_table_use(const struct sim_table *t, const uint64_t *hits, uint64_t seeds, uint64_t enough);

#endif
