/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The name of an iSCSI LUN: iscsi://host[:port][,host2[:port]]/IQN/LUN[?chap=NAME] */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "lib/iscsi_impl.h"
#include "lib/number.h"

#define FORM "give iscsi://host[:port][,host2]/IQN/LUN[?chap=NAME]"

static enum csv_err usage(struct csv_why *why, const char *what)
{
	return csv_fail(why, CSV_USAGE, FORM, "%s", what);
}

/* A secret on a command line is in the process list, the shell's history and the logs. */
static enum csv_err secret_given(struct csv_why *why)
{
	return csv_fail(why, CSV_USAGE, "put the secret into /etc/csvfs/chap/NAME (mode 0600) and append ?chap=NAME",
			"the name of the LUN holds a user or secret");
}

/* Copies [from, to) to dst; false if it is empty or too long. */
static bool copy(char *dst, size_t size, const char *from, const char *to)
{
	size_t len = (size_t)(to - from);

	if (len == 0 || len >= size)
		return false;
	memcpy(dst, from, len);
	dst[len] = 0;
	return true;
}

/* host, host:port, [v6], [v6]:port */
static bool port_ok(const char *portal)
{
	const char *host_end = strchr(portal, ']'), *colon = strchr(host_end ? host_end : portal, ':');
	uint64_t port;

	return !colon || csv_number(colon + 1, 1, 65535, &port);
}

static enum csv_err parse_portals(const char *p, const char *end, struct iscsi_lun_name *name, struct csv_why *why)
{
	while (p <= end) {
		const char *comma = memchr(p, ',', (size_t)(end - p));
		const char *stop = comma ? comma : end;

		if (name->nportals == ISCSI_PORTALS)
			return usage(why, "the LUN has more than 4 portals");
		if (!copy(name->portal[name->nportals], sizeof(name->portal[0]), p, stop))
			return usage(why, "the LUN's host is empty or too long");
		if (!port_ok(name->portal[name->nportals]))
			return usage(why, "the LUN's port is not a number from 1 to 65535");
		name->nportals++;
		p = stop + 1;
	}
	return CSV_OK;
}

static enum csv_err parse_options(const char *p, struct iscsi_lun_name *name, struct csv_why *why)
{
	if (strncmp(p, "chap=", 5) == 0 && copy(name->chap, sizeof(name->chap), p + 5, p + strlen(p)) &&
	    !strpbrk(name->chap, "/&%?") && name->chap[0] != '.')
		return CSV_OK;
	if (strcasestr(p, "pass") || strcasestr(p, "secret") || strcasestr(p, "pwd"))
		return secret_given(why);
	return usage(why, "unknown option after '?' in the LUN's name");
}

enum csv_err csv_iscsi_parse(const char *url, struct iscsi_lun_name *name, struct csv_why *why)
{
	const char *host = url + strlen("iscsi://");
	const char *slash = strchr(host, '/'), *slash2 = slash ? strchr(slash + 1, '/') : NULL;
	enum csv_err err;
	char *end;
	long lun;

	memset(name, 0, sizeof(*name));
	/* libiscsi's own form has user%secret@host. */
	if (strchr(url, '@'))
		return secret_given(why);
	if (!slash2)
		return usage(why, "the LUN's name has no IQN or no LUN number");
	err = parse_portals(host, slash, name, why);
	if (err != CSV_OK)
		return err;
	if (!copy(name->target, sizeof(name->target), slash + 1, slash2))
		return usage(why, "the LUN's IQN is empty or too long");
	lun = strtol(slash2 + 1, &end, 10);
	if (!isdigit((unsigned char)slash2[1]) || lun > 16383)
		return usage(why, "the LUN's number is not one of 0 to 16383");
	name->lun = (int)lun;
	if (*end == 0)
		return CSV_OK;
	if (*end != '?')
		return usage(why, "something follows the LUN's number");
	return parse_options(end + 1, name, why);
}
