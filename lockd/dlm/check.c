/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lockd/dlm/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

/* Needs types that it does not include. */
#include <stdint.h>
#include <linux/dlmconstants.h>
#include <libdlmcontrol.h>

#define CONF "/etc/dlm/dlm.conf"
#define CONF_MAX 65536u

/* The kernel's list of devices has one line for each: number, name. */
static bool has_device(const char *name)
{
	FILE *f = fopen("/proc/misc", "r");
	char line[128], found[64];
	bool has = false;

	while (f && !has && fgets(line, sizeof(line), f))
		has = sscanf(line, "%*d %63s", found) == 1 && strcmp(found, name) == 0;
	if (f)
		fclose(f);
	return has;
}

/* Of dlm_controld as it runs, which may not be what its file says today. 0: it does not answer. */
static bool running_options(char **dump)
{
	*dump = calloc(1, DLMC_DUMP_SIZE + 1);
	return *dump && dlmc_dump_config(*dump) >= 0 && **dump;
}

static enum csv_dlm_check check_running(char *why, size_t size)
{
	enum csv_dlm_check result = CSV_DLM_GOOD;
	char *dump;

	if (!running_options(&dump)) {
		snprintf(why, size, "dlm_controld does not run; install dlm-controld and start dlm.service");
		result = CSV_DLM_NONE;
	} else if (csv_dlm_option(dump, "enable_fencing") != 1) {
		snprintf(why, size,
			 "dlm_controld runs with fencing off; remove enable_fencing=0 from " CONF " and restart it");
		result = CSV_DLM_UNTRUSTED;
	}
	free(dump);
	return result;
}

/* The text of dlm.conf, empty if there is none. False: errno says why it cannot be read. */
static bool read_conf(const char **path, char text[CONF_MAX])
{
	FILE *f;
	size_t n;

	*path = getenv("CSV_DLM_CONF");
	if (!*path || !**path)
		*path = CONF;
	text[0] = 0;
	f = fopen(*path, "re");
	if (!f)
		return errno == ENOENT;
	n = fread(text, 1, CONF_MAX - 1, f);
	text[n] = 0;
	fclose(f);
	return true;
}

static enum csv_dlm_check check_file(char *why, size_t size)
{
	char text[CONF_MAX], reason[256];
	const char *path;

	if (!read_conf(&path, text)) {
		snprintf(why, size, "%s: %s", path, strerror(errno));
		return CSV_DLM_UNTRUSTED;
	}
	if (csv_dlm_conf_fences(text, reason, sizeof(reason)))
		return CSV_DLM_GOOD;
	snprintf(why, size, "%s: %s", path, reason);
	return CSV_DLM_UNTRUSTED;
}

bool csv_dlm_agent(char *agent, size_t size)
{
	char text[CONF_MAX];
	const char *path;

	return read_conf(&path, text) && csv_dlm_conf_agent(text, agent, size);
}

enum csv_dlm_check csv_dlm_check(char *why, size_t size)
{
	enum csv_dlm_check result;

	why[0] = 0;
	if (!has_device("dlm-control")) {
		snprintf(why, size, "the kernel's DLM is not loaded; install dlm-controld and start dlm.service");
		return CSV_DLM_NONE;
	}
	result = check_running(why, size);
	return result ? result : check_file(why, size);
}
