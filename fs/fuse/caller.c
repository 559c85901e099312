/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/fuse/caller.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TRIES 100
#define PAUSE_NS 1000000l

#define SETLKW64 14u /* what a 32-bit process says for F_SETLKW, with larger offsets */

/* One line of proc(5), "NUMBER ARGUMENT...", or "running". */
static bool read_syscall(pid_t thread, char *line, size_t size)
{
	char path[48];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/syscall", (int)thread);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, line, size - 1);
	close(fd);
	line[n > 0 ? n : 0] = 0;
	return n > 0;
}

bool csv_caller_is_process(pid_t thread)
{
	char line[256] = "";
	unsigned long cmd;

	for (int i = 0; thread > 0 && read_syscall(thread, line, sizeof(line)); i++) {
		struct timespec pause = { 0, PAUSE_NS };

		if (!strncmp(line, "running", 7) && i < TRIES) {
			nanosleep(&pause, NULL);
			continue;
		}
		return sscanf(line, "%*d %*x %lx", &cmd) == 1 && (cmd == F_SETLKW || cmd == SETLKW64);
	}
	return false;
}
