/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Output of csvadm: a command builds one JSON object; it is shown as JSON, or as
 * text for people (lines "key: value", a table for each list of objects), so that
 * each field is named once.
 */
#ifndef CSV_TOOLS_OUT_H
#define CSV_TOOLS_OUT_H

#include <jansson.h>
#include <stdbool.h>

#include "csv/err.h"

/* Prints obj (with "schema": 1 in JSON) on standard output and drops the reference. Text leaves out null values. */
void csv_out_print(json_t *obj, bool json);
/* The one line "csvadm: WHAT: WHY; WHAT TO DO" on standard error; with json also {"error": {...}} on standard output. */
void csv_out_error(const char *what, const struct csv_why *why, bool json);

/* Sets key; a NULL or empty string becomes null. */
void csv_out_str(json_t *obj, const char *key, const char *value);
void csv_out_u64(json_t *obj, const char *key, uint64_t value);
/* RFC 3339 UTC from Unix time; 0 becomes null. */
void csv_out_time(json_t *obj, const char *key, int64_t sec);
void csv_out_uuid(json_t *obj, const char *key, const uint8_t uuid[16]);

#endif
