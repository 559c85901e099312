/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csvfs LUN DIR: serves one volume.  Goes to the background unless told not to; whoever
 * started it waits until the mount is up or has failed, and is told in one line through
 * CSV_READY_FD (a pipe): "ok SLOT INCARNATION VOLUME<tab>warning" (the warning mostly empty), or
 * "error NAME<tab>why<tab>what to do".
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/opts.h"
#include "lib/farewell.h"
#include "lib/log.h"

#define DEFAULT_LOG "/var/log/csvfs.log"

/* ---- telling who waits ------------------------------------------------------------- */

static int ready_fd = -1;  /* CSV_READY_FD */
static int parent_fd = -1; /* our own parent: one byte, the exit code */

static void tell(enum csv_err err, const struct csv_mount *m, const struct csv_why *why)
{
	unsigned char code = (unsigned char)csv_err_exit(err);

	if (ready_fd >= 0) {
		if (err == CSV_OK)
			dprintf(ready_fd, "ok %u %u %s\t%s\n", m->slot, m->incarnation, m->sb.name, m->warning);
		else
			dprintf(ready_fd, "error %s\t%s\t%s\n", csv_err_name(err), why->text, why->hint);
		close(ready_fd);
		ready_fd = -1;
	} else if (err != CSV_OK) {
		fprintf(stderr, "csvfs: %s%s%s\n", why->text, why->hint[0] ? "; " : "", why->hint);
	} else if (*m->warning) {
		fprintf(stderr, "csvfs: warning: %s\n", m->warning);
	}
	if (parent_fd >= 0) {
		if (write(parent_fd, &code, 1) != 1)
			csv_warn("nobody waited for the mount");
		close(parent_fd);
		parent_fd = -1;
	}
}

static void take_ready_fd(void)
{
	const char *text = getenv("CSV_READY_FD");

	if (!text)
		return;
	ready_fd = atoi(text);
	fcntl(ready_fd, F_SETFD, FD_CLOEXEC);
	unsetenv("CSV_READY_FD");
}

/* The parent stays until the child has told how it went. Before any thread exists. */
static void go_background(void)
{
	unsigned char code = 1;
	int fd[2];
	pid_t pid;

	if (pipe2(fd, O_CLOEXEC) || (pid = fork()) < 0) {
		fprintf(stderr, "csvfs: cannot go to the background: %s\n", strerror(errno));
		exit(1);
	}
	if (pid > 0) {
		close(fd[1]);
		if (read(fd[0], &code, 1) != 1)
			code = 1; /* it died */
		_exit(code);
	}
	close(fd[0]);
	parent_fd = fd[1];
	setsid();
}

/* Once mounted: nothing of the terminal or of who started us is kept. */
static void let_go(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return;
	dup2(null, 0);
	dup2(null, 1);
	dup2(null, 2);
	close(null);
	if (chdir("/"))
		csv_warn("cannot change to /");
}

/* ---- signals -------------------------------------------------------------------------- */

static void block_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

struct signals {
	struct csv_mount *m;
	sigset_t set;
	pthread_t thread;
};

static void *signal_thread(void *arg)
{
	struct signals *s = arg;

	for (;;) {
		int sig = 0;

		if (sigwait(&s->set, &sig))
			continue;
		if (sig == SIGUSR2)
			break; /* from main: the session is over */
		csv_info("signal %d: unmounting %s", sig, s->m->opts.dir);
		csv_session_stop(s->m);
	}
	return NULL;
}

/* ---- life -------------------------------------------------------------------------------- */

static enum csv_err serve(struct csv_mount *m, struct signals *s, bool background)
{
	enum csv_err err;

	csv_info("volume %s mounted on %s, slot %d, incarnation %u, lock=%s", m->sb.name, m->opts.dir, (int)m->slot,
		 m->incarnation, m->kind->lock(m));
	csv_mount_remember(m);
	tell(CSV_OK, m, NULL);
	if (background)
		let_go();
	s->m = m;
	if (pthread_create(&s->thread, NULL, signal_thread, s))
		return CSV_NOMEM;
	err = csv_session_serve(m);
	pthread_kill(s->thread, SIGUSR2);
	pthread_join(s->thread, NULL);
	csv_session_close(m);
	return err;
}

static void say_farewell(const struct csv_mount *m, bool out, enum csv_err err)
{
	struct csv_farewell f = { .err = err, .out = out, .slot = m->slot, .incarnation = m->incarnation };

	snprintf(f.volume, sizeof(f.volume), "%s", m->sb.name);
	csv_farewell_send(&f);
}

static int run(const struct csv_mount_opts *opts, struct signals *s)
{
	static struct csv_mount m;
	struct csv_why why;
	enum csv_err err, closed;
	bool out;

	csv_why_init(&why);
	err = csv_mount_open(&m, opts, &why);
	if (err == CSV_OK) {
		err = csv_mount_still_wanted(&m)
			  ? csv_session_open(&m, &why)
			  : csv_fail(&why, CSV_NOENT, "", "%s is not to be mounted any more", opts->dir);
		if (err != CSV_OK)
			csv_mount_close(&m);
	}
	if (err != CSV_OK) {
		csv_fail(&why, err, "", "%s", csv_err_text(err));
		tell(err, &m, &why);
		return csv_err_exit(err);
	}
	err = serve(&m, s, !opts->foreground);
	out = csv_fs_state(&m.fs) != CSV_OK;
	closed = csv_mount_close(&m);
	say_farewell(&m, out, err == CSV_OK ? closed : err);
	csv_info("volume %s unmounted%s", m.sb.name, closed == CSV_OK ? "" : ", not cleanly");
	return csv_err_exit(err == CSV_OK ? closed : err);
}

/* NULL: standard error. */
static const char *log_of(const struct csv_mount_opts *opts)
{
	const char *log = opts->log ? opts->log : getenv("CSV_LOG");

	return log || opts->foreground ? log : DEFAULT_LOG;
}

int main(int argc, char **argv)
{
	struct csv_mount_opts opts;
	struct csv_why why;
	struct signals s;
	enum csv_err err;

	/* Buffers of a megabyte come and go with each large request: no mmap and page faults for each. */
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	take_ready_fd();
	csv_why_init(&why);
	err = csv_opts_parse(argc, argv, &opts, &why);
	if (err != CSV_OK) {
		tell(err, NULL, &why);
		return csv_err_exit(err);
	}
	if (!opts.foreground)
		go_background();
	csv_log_open("csvfs", log_of(&opts), CSV_LOG_INFO);
	block_signals(&s.set);
	return run(&opts, &s);
}
