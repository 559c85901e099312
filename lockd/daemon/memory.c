/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lockd/daemon/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAGIC_LINE "csvfs expelled 1 "
#define LINE_MAX_BYTES (CSV_CLUSTER_MAX + 64)

static bool path_of(const char *run_dir, const char *suffix, char *path, size_t size)
{
	return snprintf(path, size, "%s/expelled%s", run_dir, suffix) < (int)size;
}

static void print(FILE *out, const char *cluster, const struct csv_expelled *list, unsigned n)
{
	fprintf(out, MAGIC_LINE "%s\n", cluster);
	for (unsigned i = 0; i < n; i++)
		fprintf(out, "node=%" PRIu32 " id=%016" PRIx64 " over=%d\n", list[i].nodeid, list[i].id, list[i].over);
}

enum csv_err csv_memory_write(const char *run_dir, const char *cluster, const struct csv_expelled *list, unsigned n)
{
	char path[PATH_MAX], fresh[PATH_MAX];
	bool good;
	FILE *out;
	int fd;

	if (!path_of(run_dir, "", path, sizeof(path)) || !path_of(run_dir, ".new", fresh, sizeof(fresh)))
		return CSV_NAMETOOLONG;
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	out = fd < 0 ? NULL : fdopen(fd, "w");
	if (!out)
		return csv_err_from_errno(errno);
	print(out, cluster, list, n);
	good = !ferror(out);
	good &= !fclose(out);
	if (good && !rename(fresh, path))
		return CSV_OK;
	unlink(fresh);
	return CSV_IO;
}

static bool is_ours(const char *line, const char *cluster)
{
	size_t magic = strlen(MAGIC_LINE), len = strlen(cluster);

	return !strncmp(line, MAGIC_LINE, magic) && !strncmp(line + magic, cluster, len) &&
	       !strcmp(line + magic + len, "\n");
}

static bool get(const char *line, struct csv_expelled *e)
{
	int over;

	*e = (struct csv_expelled){ 0 };
	if (sscanf(line, "node=%" SCNu32 " id=%" SCNx64 " over=%d", &e->nodeid, &e->id, &over) != 3 || !e->nodeid)
		return false;
	e->over = over;
	return true;
}

unsigned csv_memory_read(const char *run_dir, const char *cluster, struct csv_expelled *list)
{
	char path[PATH_MAX], line[LINE_MAX_BYTES];
	unsigned n = 0;
	FILE *in = NULL;

	if (path_of(run_dir, "", path, sizeof(path)))
		in = fopen(path, "re");
	if (!in)
		return 0;
	if (fgets(line, sizeof(line), in) && is_ours(line, cluster)) {
		while (n < CSV_NODES_MAX && fgets(line, sizeof(line), in))
			n += get(line, &list[n]);
	}
	fclose(in);
	return n;
}
