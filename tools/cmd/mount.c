/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvadm mount: starts csvfs and tells what became of it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/program.h"
#include "tools/csvadm.h"

/* Child: csvfs with the pipe's end as CSV_READY_FD. It must not keep csvadm's standard output open. */
static void become_csvfs(const char *lun, const char *dir, const char *opts, int ready)
{
	char path[PATH_MAX], fd[16];
	char *argv[] = {
		path, (char *)(uintptr_t)lun, (char *)(uintptr_t)dir, (char *)(uintptr_t) "-o", (char *)(uintptr_t)opts,
		NULL
	};
	int null = open("/dev/null", O_RDWR);

	csv_find_program("csvfs", path);
	snprintf(fd, sizeof(fd), "%d", ready);
	setenv("CSV_READY_FD", fd, 1);
	if (null >= 0) {
		dup2(null, 0);
		dup2(null, 1);
	}
	if (!opts || !*opts)
		argv[3] = NULL;
	execvp(path, argv);
	dprintf(ready, "error noent\t%s: %s\tinstall csvfs beside csvadm\n", path, strerror(errno));
	_exit(127);
}

/* One line from csvfs, or its end. */
static enum csv_err read_line(struct csv_call *c, int fd, char *line, size_t size)
{
	size_t n = 0;

	while (n < size - 1) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t got;
		int r = poll(&p, 1, c->timeout_ms);

		if (r == 0)
			return csv_fail(&c->why, CSV_TIMEOUT, "see csvfs's log; it goes on trying",
					"csvfs is not ready after %d s", c->timeout_ms / 1000);
		got = read(fd, line + n, 1);
		if (got <= 0 || line[n] == '\n')
			break;
		n++;
	}
	line[n] = 0;
	return n ? CSV_OK : csv_fail(&c->why, CSV_INTERNAL, "see its log", "csvfs ended without a word");
}

static enum csv_err err_by_name(const char *name)
{
	for (int e = 1; e < CSV_ERR_COUNT; e++) {
		if (!strcmp(csv_err_name((enum csv_err)e), name))
			return (enum csv_err)e;
	}
	return CSV_INTERNAL;
}

/* "ok SLOT INCARNATION VOLUME\tWARNING" or "error NAME\tWHY\tHINT". */
static enum csv_err digest(struct csv_call *c, char *line, const char *dir)
{
	unsigned slot, incarnation;
	char volume[CSV_VOLNAME_MAX + 1] = "";
	char *why, *hint, *warning;

	if (sscanf(line, "ok %u %u %63s", &slot, &incarnation, volume) >= 2) {
		c->result = json_object();
		csv_out_str(c->result, "volume", volume);
		csv_out_str(c->result, "mount", dir);
		csv_out_u64(c->result, "slot", slot);
		csv_out_u64(c->result, "incarnation", incarnation);
		warning = strchr(line, '\t');
		if (warning && warning[1])
			csv_warning(c, "%s", warning + 1);
		return CSV_OK;
	}
	if (strncmp(line, "error ", 6))
		return csv_fail(&c->why, CSV_INTERNAL, "", "csvfs said: %.150s", line);
	why = strchr(line, '\t');
	hint = why ? strchr(why + 1, '\t') : NULL;
	if (!hint)
		return csv_fail(&c->why, CSV_INTERNAL, "", "csvfs said: %.150s", line);
	*why++ = 0;
	*hint++ = 0;
	return csv_fail(&c->why, err_by_name(line + 6), hint, "%s", why);
}

static enum csv_err parse(struct csv_call *c, const char **lun, const char **dir, const char **opts)
{
	struct stat st;
	int opt;

	while ((opt = getopt(c->argc, c->argv, "o:")) >= 0) {
		if (opt != 'o')
			return csv_usage(c, "unknown option, or an option without its value");
		*opts = optarg;
	}
	if (c->argc - optind != 2)
		return csv_usage(c, "a LUN and a directory are needed");
	*lun = c->argv[optind];
	*dir = c->argv[optind + 1];
	c->what = *lun;
	if (stat(*dir, &st))
		return csv_fail(&c->why, csv_err_from_errno(errno), "make the directory first", "%s: %s", *dir,
				strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return csv_fail(&c->why, CSV_NOTDIR, "", "%s is not a directory", *dir);
	return CSV_OK;
}

enum csv_err csv_cmd_mount(struct csv_call *c)
{
	const char *lun = NULL, *dir = NULL, *opts = NULL;
	char line[1024], real[PATH_MAX];
	int ready[2];
	pid_t pid;
	enum csv_err err = parse(c, &lun, &dir, &opts);

	if (err)
		return err;
	if (!realpath(dir, real) || pipe(ready))
		return csv_fail(&c->why, csv_err_from_errno(errno), "", "%s: %s", dir, strerror(errno));
	pid = fork();
	if (pid == 0) {
		close(ready[0]);
		become_csvfs(lun, real, opts, ready[1]);
	}
	close(ready[1]);
	if (pid < 0)
		err = csv_fail(&c->why, CSV_NOMEM, "", "fork: %s", strerror(errno));
	else
		err = read_line(c, ready[0], line, sizeof(line));
	close(ready[0]);
	if (pid > 0 && err != CSV_TIMEOUT)
		waitpid(pid, NULL, 0); /* it has gone into the background, or failed */
	return err ? err : digest(c, line, real);
}
