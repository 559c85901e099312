/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of csvfs. */
#include "fs/opts.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/number.h"

#define PATH_TIMEOUT_MAX_S 86400u
#define OPTIONS                                                                                                        \
	"lock=auto|cpg|dlm|local, ro, node=NAME, path_timeout=SECONDS, takeover, log=FILE, run_dir=DIR, foreground"

static enum csv_err lock_option(struct csv_mount_opts *o, const char *value, struct csv_why *why)
{
	if (!strcmp(value, "local"))
		o->lock = CSV_MOUNT_LOCAL;
	else if (!strcmp(value, "cpg"))
		o->lock = CSV_MOUNT_CPG;
	else if (!strcmp(value, "dlm"))
		o->lock = CSV_MOUNT_DLM;
	else if (!strcmp(value, "auto"))
		o->lock = CSV_MOUNT_AUTO;
	else
		return csv_fail(why, CSV_USAGE, "use lock=local, lock=cpg, lock=dlm or lock=auto",
				"unknown lock engine %s", value);
	return CSV_OK;
}

static enum csv_err seconds_option(struct csv_mount_opts *o, const char *value, struct csv_why *why)
{
	uint64_t s;

	if (!csv_number(value, 1, PATH_TIMEOUT_MAX_S, &s))
		return csv_fail(why, CSV_USAGE, "give whole seconds", "path_timeout=%.40s is not a number from 1 to %u",
				value, PATH_TIMEOUT_MAX_S);
	o->path_timeout_ms = (unsigned)s * 1000;
	return CSV_OK;
}

/* mount(8) hands all of these to every filesystem; the kernel's part is not ours to see. */
static bool ignored(const char *name)
{
	static const char *const names[] = { "rw",	"_netdev",  "defaults", "auto", "noauto", "nofail",
					     "noatime", "relatime", "exec",	"dev",	"suid",	  "user" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

static enum csv_err one_option(struct csv_mount_opts *o, char *opt, struct csv_why *why)
{
	char *value = strchr(opt, '=');

	if (value)
		*value++ = 0;
	if (!strcmp(opt, "lock") && value)
		return lock_option(o, value, why);
	if (!strcmp(opt, "path_timeout") && value)
		return seconds_option(o, value, why);
	if (!strcmp(opt, "node") && value) {
		if (!*value || strlen(value) > CSV_NODENAME_MAX)
			return csv_fail(why, CSV_USAGE, "at most 63 bytes", "node name is empty or too long");
		snprintf(o->node, sizeof(o->node), "%s", value);
		o->node_given = true;
	} else if (!strcmp(opt, "log") && value) {
		o->log = value;
	} else if (!strcmp(opt, "run_dir") && value) {
		o->run_dir = value;
	} else if (!strcmp(opt, "ro") && !value) {
		o->readonly = true;
	} else if (!strcmp(opt, "takeover") && !value) {
		o->takeover = !getenv("CSV_REMOUNT"); /* said of one moment, by who mounted it then */
	} else if (!strcmp(opt, "foreground") && !value) {
		o->foreground = true;
	} else if (!ignored(opt)) {
		return csv_fail(why, CSV_USAGE, "known are " OPTIONS, "unknown mount option %.80s%s", opt,
				value ? "=" : "");
	}
	return CSV_OK;
}

static enum csv_err options(struct csv_mount_opts *o, char *list, struct csv_why *why)
{
	char *save = NULL;

	for (char *p = strtok_r(list, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
		enum csv_err err = one_option(o, p, why);

		if (err != CSV_OK)
			return err;
	}
	return CSV_OK;
}

/* options() takes the text apart. */
static enum csv_err keep_given(struct csv_mount_opts *o, const char *list, struct csv_why *why)
{
	size_t len = strlen(o->given);

	if (snprintf(o->given + len, sizeof(o->given) - len, "%s%s", len ? "," : "", list) >=
	    (int)(sizeof(o->given) - len))
		return csv_fail(why, CSV_USAGE, "give fewer", "the mount options are too long");
	return CSV_OK;
}

enum csv_err csv_opts_parse(int argc, char **argv, struct csv_mount_opts *o, struct csv_why *why)
{
	enum csv_err err = CSV_OK;
	int c;

	*o = (struct csv_mount_opts){ .lock = CSV_MOUNT_AUTO };
	o->run_dir = getenv("CSV_RUN_DIR");
	gethostname(o->node, sizeof(o->node) - 1);
	while (err == CSV_OK && (c = getopt(argc, argv, "o:f")) != -1) {
		if (c == 'o') {
			err = keep_given(o, optarg, why);
			if (err == CSV_OK)
				err = options(o, optarg, why);
		} else if (c == 'f') {
			o->foreground = true;
		} else {
			err = csv_fail(why, CSV_USAGE, "csvfs LUN DIR [-f] [-o OPTIONS]", "wrong usage");
		}
	}
	if (err != CSV_OK)
		return err;
	if (argc - optind != 2)
		return csv_fail(why, CSV_USAGE, "csvfs LUN DIR [-f] [-o OPTIONS]", "LUN and directory are wanted");
	o->lun = argv[optind];
	if (!realpath(argv[optind + 1], o->dir))
		return csv_fail(why, CSV_NOENT, "make the directory first", "there is no directory %s",
				argv[optind + 1]);
	return CSV_OK;
}
