/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/program.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

void csv_find_program(const char *name, char path[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 32);
	char *slash;

	if (n > 0) {
		path[n] = 0;
		slash = strrchr(path, '/');
		if (slash) {
			snprintf(slash + 1, 32, "%s", name);
			if (!access(path, X_OK))
				return;
		}
	}
	snprintf(path, 32, "%s", name);
}
