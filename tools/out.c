/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/out.h"

#include <libsmartcols/libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uuid/uuid.h>

void csv_out_str(json_t *obj, const char *key, const char *value)
{
	/* json_string gives NULL for bytes that are not UTF-8: such a name is shown as null rather than as something
	 * else. */
	json_t *v = value && *value ? json_string(value) : NULL;

	json_object_set_new(obj, key, v ? v : json_null());
}

void csv_out_u64(json_t *obj, const char *key, uint64_t value)
{
	json_object_set_new(obj, key, json_integer((json_int_t)value));
}

void csv_out_time(json_t *obj, const char *key, int64_t sec)
{
	time_t t = (time_t)sec;
	char text[32];
	struct tm tm;

	if (!sec || !gmtime_r(&t, &tm) || !strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm))
		json_object_set_new(obj, key, json_null());
	else
		csv_out_str(obj, key, text);
}

void csv_out_uuid(json_t *obj, const char *key, const uint8_t uuid[16])
{
	char text[37];

	uuid_unparse_lower(uuid, text);
	csv_out_str(obj, key, text);
}

/* A scalar as text; the caller frees. Lists of scalars and small objects are put on one line. */
static char *scalar_text(const json_t *v)
{
	char buf[64];

	if (json_is_string(v))
		return strdup(json_string_value(v));
	if (json_is_null(v))
		return strdup("-");
	if (json_is_boolean(v))
		return strdup(json_is_true(v) ? "yes" : "no");
	if (json_is_real(v)) {
		snprintf(buf, sizeof(buf), "%.1f", json_real_value(v));
		return strdup(buf);
	}
	return json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
}

static void print_row(struct libscols_table *table, const json_t *item, const json_t *columns)
{
	struct libscols_line *line = scols_table_new_line(table, NULL);
	size_t n = 0;
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)columns, key, v)
	{
		json_t *cell = json_object_get(item, key);
		char *text = cell ? scalar_text(cell) : strdup("-");

		scols_line_refer_data(line, n++, text);
	}
}

/* Columns are the fields of the first item. */
static void print_table(const char *name, const json_t *list)
{
	struct libscols_table *table;
	json_t *first = json_array_get(list, 0), *item, *v;
	const char *key;
	size_t i;

	if (!first) {
		printf("%s: none\n", name);
		return;
	}
	if (!json_is_object(first)) {
		char *text = scalar_text(list);

		printf("%s: %s\n", name, text);
		free(text);
		return;
	}
	table = scols_new_table();
	json_object_foreach(first, key, v) scols_table_new_column(table, key, 0, 0);
	json_array_foreach(list, i, item) print_row(table, item, first);
	scols_print_table(table);
	scols_unref_table(table);
}

static void print_fields(const json_t *obj, const char *prefix)
{
	char name[128];
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)obj, key, v)
	{
		snprintf(name, sizeof(name), "%s%s", prefix, key);
		if (json_is_array(v)) {
			print_table(name, v);
		} else if (json_is_object(v)) {
			strncat(name, ".", sizeof(name) - strlen(name) - 1);
			print_fields(v, name);
		} else if (!json_is_null(v)) {
			char *text = scalar_text(v);

			printf("%s: %s\n", name, text);
			free(text);
		}
	}
}

void csv_out_print(json_t *obj, bool json)
{
	if (json) {
		json_object_set_new(obj, "schema", json_integer(1));
		json_dumpf(obj, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print_fields(obj, "");
	}
	json_decref(obj);
}

void csv_out_error(const char *what, const struct csv_why *why, bool json)
{
	const char *text = *why->text ? why->text : csv_err_text(why->err);
	json_t *obj, *e;

	fprintf(stderr, "csvadm: %s: %s%s%s\n", what, text, *why->hint ? "; " : "", why->hint);
	if (!json)
		return;
	obj = json_object();
	e = json_object();
	csv_out_str(e, "code", csv_err_name(why->err));
	csv_out_str(e, "message", text);
	csv_out_str(e, "object", what);
	csv_out_str(e, "hint", why->hint);
	json_object_set_new(obj, "error", e);
	csv_out_print(obj, true);
}
