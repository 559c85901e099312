/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/mountfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/replace.h"
#include "lib/sha256.h"

#define MAGIC_LINE "csvfs mount 1"
#define NAME_BYTES 16 /* of the hash of the mount point, which may be longer than a name */

/* ---- where ---- */

static bool folder(const char *run_dir, char *path, size_t size)
{
	const char *run = run_dir ? run_dir : getenv("CSV_RUN_DIR");

	return snprintf(path, size, "%s/mounts", run && *run ? run : "/run/csvfs") < (int)size;
}

static bool path_of(const char *run_dir, const char *dir, char *path, size_t size)
{
	struct csv_sha256 s;
	uint8_t sum[32];
	size_t len;

	if (!folder(run_dir, path, size))
		return false;
	csv_sha256_init(&s);
	csv_sha256_add(&s, dir, strlen(dir));
	csv_sha256_end(&s, sum);
	len = strlen(path);
	if (len + 2 + 2 * NAME_BYTES > size)
		return false;
	path[len++] = '/';
	for (unsigned i = 0; i < NAME_BYTES; i++)
		snprintf(path + len + 2 * (size_t)i, 3, "%02x", sum[i]);
	return true;
}

/* ---- processes ---- */

uint64_t csv_process_start(pid_t pid)
{
	char path[64], text[1024], *p;
	uint64_t start = 0;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = pid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = 0;
	/* The name is in brackets and may have anything in it; behind it is field 3, the state. */
	p = strrchr(text, ')');
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	if (p)
		sscanf(p, " %" SCNu64, &start);
	return start;
}

bool csv_mountfile_served(const struct csv_mountfile *f)
{
	uint64_t start = csv_process_start(f->pid);

	return start && start == f->start;
}

/* ---- write ---- */

static bool one_line(const char *s)
{
	return !strchr(s, '\n');
}

static void print(FILE *out, const void *arg)
{
	const struct csv_mountfile *f = arg;

	fprintf(out, MAGIC_LINE "\nlun=%s\ndir=%s\nopts=%s\nvolume=%s\nuuid=", f->lun, f->dir, f->opts, f->volume);
	for (unsigned i = 0; i < sizeof(f->uuid); i++)
		fprintf(out, "%02x", f->uuid[i]);
	fprintf(out, "\nslot=%u\nincarnation=%u\npid=%d\nstart=%" PRIu64 "\n", f->slot, f->incarnation, (int)f->pid,
		f->start);
}

enum csv_err csv_mountfile_write(const char *run_dir, const struct csv_mountfile *f)
{
	char path[PATH_MAX], fresh[PATH_MAX + 16];

	if (!one_line(f->lun) || !one_line(f->dir) || !one_line(f->opts) || !folder(run_dir, path, sizeof(path)))
		return CSV_INVAL;
	if (mkdir(path, 0700) && errno != EEXIST)
		return csv_err_from_errno(errno);
	if (!path_of(run_dir, f->dir, path, sizeof(path)))
		return CSV_INVAL;
	snprintf(fresh, sizeof(fresh), "%s.%d", path, (int)getpid());
	return csv_replace_file(path, fresh, print, f);
}

void csv_mountfile_remove(const char *run_dir, const char *dir)
{
	char path[PATH_MAX];

	if (path_of(run_dir, dir, path, sizeof(path)))
		unlink(path);
}

/* ---- read ---- */

static bool take_text(char *to, size_t size, const char *value)
{
	return snprintf(to, size, "%s", value) < (int)size;
}

static bool take_uuid(uint8_t uuid[16], const char *value)
{
	for (unsigned i = 0; i < 16; i++) {
		unsigned byte;

		if (sscanf(value + 2 * (size_t)i, "%2x", &byte) != 1)
			return false;
		uuid[i] = (uint8_t)byte;
	}
	return true;
}

/* Names that are not known are a later version's. */
static bool take_line(struct csv_mountfile *f, char *line)
{
	char *value = strchr(line, '=');
	int pid;

	if (!value)
		return false;
	*value++ = 0;
	if (!strcmp(line, "lun"))
		return take_text(f->lun, sizeof(f->lun), value);
	if (!strcmp(line, "dir"))
		return take_text(f->dir, sizeof(f->dir), value);
	if (!strcmp(line, "opts"))
		return take_text(f->opts, sizeof(f->opts), value);
	if (!strcmp(line, "volume"))
		return take_text(f->volume, sizeof(f->volume), value);
	if (!strcmp(line, "uuid"))
		return strlen(value) == 32 && take_uuid(f->uuid, value);
	if (!strcmp(line, "slot"))
		return sscanf(value, "%u", &f->slot) == 1;
	if (!strcmp(line, "incarnation"))
		return sscanf(value, "%u", &f->incarnation) == 1;
	if (!strcmp(line, "start"))
		return sscanf(value, "%" SCNu64, &f->start) == 1;
	if (!strcmp(line, "pid")) {
		if (sscanf(value, "%d", &pid) != 1)
			return false;
		f->pid = pid;
	}
	return true;
}

static enum csv_err parse(FILE *in, struct csv_mountfile *f)
{
	bool good = true;
	size_t room = 0;
	char *line = NULL;
	ssize_t n;

	memset(f, 0, sizeof(*f));
	for (unsigned number = 0; good && (n = getline(&line, &room, in)) >= 0; number++) {
		if (n > 0 && line[n - 1] == '\n')
			line[n - 1] = 0;
		good = number ? take_line(f, line) : !strcmp(line, MAGIC_LINE);
	}
	free(line);
	return good && f->lun[0] && f->dir[0] == '/' && f->pid > 0 ? CSV_OK : CSV_INVAL;
}

static enum csv_err read_path(const char *path, struct csv_mountfile *f)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	enum csv_err err;
	struct stat st;
	FILE *in;

	if (fd < 0)
		return csv_err_from_errno(errno);
	/* What is in it will be run by root. */
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_mode & (S_IWGRP | S_IWOTH)) {
		close(fd);
		return CSV_ACCESS;
	}
	in = fdopen(fd, "r");
	if (!in) {
		close(fd);
		return CSV_NOMEM;
	}
	err = parse(in, f);
	fclose(in);
	return err;
}

enum csv_err csv_mountfile_read(const char *run_dir, const char *dir, struct csv_mountfile *f)
{
	char path[PATH_MAX];
	enum csv_err err;

	if (!path_of(run_dir, dir, path, sizeof(path)))
		return CSV_INVAL;
	err = read_path(path, f);
	return err == CSV_OK && strcmp(f->dir, dir) ? CSV_INVAL : err;
}

void csv_mountfile_each(const char *run_dir, void (*fn)(void *arg, const struct csv_mountfile *f), void *arg)
{
	char path[PATH_MAX], file[PATH_MAX + 300];
	struct csv_mountfile *f = malloc(sizeof(*f));
	struct dirent *e;
	DIR *d = NULL;

	if (f && folder(run_dir, path, sizeof(path)))
		d = opendir(path);
	while (d && (e = readdir(d))) {
		/* Others than whole names are being written. */
		if (strlen(e->d_name) != 2 * NAME_BYTES || strchr(e->d_name, '.'))
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
		if (read_path(file, f) == CSV_OK)
			fn(arg, f);
	}
	if (d)
		closedir(d);
	free(f);
}
