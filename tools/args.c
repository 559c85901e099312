/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/csvadm.h"

static const struct csv_command *command_of(const struct csv_call *c)
{
	for (const struct csv_command *cmd = csv_commands; cmd->verb; cmd++) {
		char name[64];

		snprintf(name, sizeof(name), "%s%s%s", cmd->noun ? cmd->noun : "", cmd->noun ? " " : "", cmd->verb);
		if (!strcmp(name, c->what))
			return cmd;
	}
	return NULL;
}

enum csv_err csv_usage(struct csv_call *c, const char *fmt, ...)
{
	const struct csv_command *cmd = command_of(c);
	char text[160], hint[160] = "see csvadm help";
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (cmd)
		snprintf(hint, sizeof(hint), "usage: csvadm %s %s", c->what, cmd->args);
	return csv_fail(&c->why, CSV_USAGE, hint, "%s", text);
}

void csv_warning(struct csv_call *c, const char *fmt, ...)
{
	char text[240];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "csvadm: %s: warning: %s\n", c->what, text);
}

bool csv_parse_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGTP";
	unsigned long long v;
	unsigned shift = 0;
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno)
		return false;
	if (*end) {
		const char *u = strchr(units, toupper((unsigned char)*end));

		if (!u || end[1])
			return false;
		shift = 10 * (unsigned)(u - units + 1);
	}
	if (v > (UINT64_MAX >> 1) >> shift)
		return false;
	*bytes = (uint64_t)v << shift;
	return true;
}

bool csv_name_ok(const char *name, size_t max)
{
	size_t len = strlen(name);

	if (!len || len > max || *name == '-' || *name == '.')
		return false;
	for (; *name; name++) {
		if (!isalnum((unsigned char)*name) && !strchr("._-", *name))
			return false;
	}
	return true;
}

enum csv_err csv_lockd(struct csv_call *c, struct csv_client **cl, struct csv_msg_welcome *w)
{
	struct csv_msg_hello hello = { .role = CSV_ROLE_ADMIN };

	return csv_client_open(c->run_dir, &hello, c->timeout_ms, cl, w, &c->why);
}
