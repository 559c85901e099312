/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lockd/daemon/memory.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "lib/replace.h"

#define MAGIC_LINE "csvfs expelled 1 "
#define LINE_MAX_BYTES (CSV_CLUSTER_MAX + 64)

static bool path_of(const char *run_dir, const char *suffix, char *path, size_t size)
{
	return snprintf(path, size, "%s/expelled%s", run_dir, suffix) < (int)size;
}

struct content {
	const char *cluster;
	const struct csv_expelled *list;
	unsigned n;
};

static void print(FILE *out, const void *arg)
{
	const struct content *c = arg;

	fprintf(out, MAGIC_LINE "%s\n", c->cluster);
	for (unsigned i = 0; i < c->n; i++)
		fprintf(out, "node=%" PRIu32 " id=%016" PRIx64 " over=%d\n", c->list[i].nodeid, c->list[i].id,
			c->list[i].over);
}

enum csv_err csv_memory_write(const char *run_dir, const char *cluster, const struct csv_expelled *list, unsigned n)
{
	struct content c = { cluster, list, n };
	char path[PATH_MAX], fresh[PATH_MAX];

	if (!path_of(run_dir, "", path, sizeof(path)) || !path_of(run_dir, ".new", fresh, sizeof(fresh)))
		return CSV_NAMETOOLONG;
	return csv_replace_file(path, fresh, print, &c);
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
