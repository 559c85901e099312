// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads csv.NAME=VALUE words from the kernel's command line. */
#include "params.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int number(const char *text, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 0);
	if (errno)
		return -1;
	if (end == text || *end) {
		errno = EINVAL;
		return -1;
	}
	return 0;
}

static int one_word(const char *word, struct params *params)
{
	if (!strncmp(word, "csv.start=", 10)) {
		params->find_start = !strcmp(word + 10, "auto");
		return params->find_start ? 0 : number(word + 10, &params->start);
	}
	if (!strncmp(word, "csv.count=", 10))
		return number(word + 10, &params->count);
	if (!strncmp(word, "csv.seed=", 9))
		return number(word + 9, &params->seed);
	return 0;
}

int params_read(const char *path, struct params *params)
{
	char line[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);

	if (fd >= 0)
		close(fd);
	if (length < 0)
		return -1;
	line[length] = '\0';
	*params = (struct params){ .seed = 1, .find_start = 1 };
	for (char *word = strtok(line, " \n"); word; word = strtok(NULL, " \n"))
		if (one_word(word, params))
			return -1;
	return 0;
}
