/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CSV_LIB_NUMBER_H
#define CSV_LIB_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

/*
 * A whole number as people and configuration files write it: decimal digits and nothing else (no sign, space, unit or
 * base), from min to max.  False: it is not one; *value is untouched.
 */
bool csv_number(const char *text, uint64_t min, uint64_t max, uint64_t *value);

#endif
