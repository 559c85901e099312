/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/program.h"

#include <string.h>
#include <unistd.h>

void csv_find_csvfs(char path[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 16);
	char *slash;

	if (n > 0) {
		path[n] = 0;
		slash = strrchr(path, '/');
		if (slash) {
			strcpy(slash + 1, "csvfs");
			if (!access(path, X_OK))
				return;
		}
	}
	strcpy(path, "csvfs");
}
