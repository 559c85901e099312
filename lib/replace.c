/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

enum csv_err csv_replace_file(const char *path, const char *fresh, void (*print)(FILE *out, const void *arg),
			      const void *arg)
{
	int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
	bool good;

	if (!out)
		return csv_err_from_errno(errno);
	print(out, arg);
	good = !ferror(out);
	good &= !fclose(out);
	if (good && !rename(fresh, path))
		return CSV_OK;
	unlink(fresh);
	return CSV_IO;
}
