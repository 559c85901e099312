/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nothing in the parent can hang: it opens and writes no file (its child logs what is to be said) and waits only in
 * poll().
 *
 * It counts its own turns, not time: a turn without a beat counts as TURN ms.  If the whole node stood still, parent
 * and child alike, the parent has lost one turn when it wakes, and the child has time to beat.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <unistd.h>

#include "csv/err.h"
#include "lockd/daemon/supervise.h"

#define TURN_MS 100u

struct supervisor {
	const struct csv_supervised *s;
	sigset_t old_mask;
	int signals;	/* signalfd */
	pid_t child;	/* 0: none */
	int beats;	/* read end of its pipe */
	bool beaten;	/* it gave a beat */
	bool killed;	/* it hung */
	bool stopping;	/* SIGTERM or SIGINT came */
	bool told;	/* the service manager was told that we are ready */
	int status;	/* waitpid()'s, when it has ended */
	char news[128]; /* for the next child */
};

/* systemd's protocol of Type=notify. Whatever goes wrong, the manager's time-out tells. */
static void tell_ready(struct supervisor *v)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	size_t len = path ? strlen(path) : 0;
	int fd;

	if (v->told || !len || len >= sizeof(sa.sun_path))
		return;
	v->told = true;
	memcpy(sa.sun_path, path, len);
	if (*path == '@')
		sa.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	sendto(fd, "READY=1", 7, MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&sa,
	       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
	close(fd);
}

static void be_child(const struct supervisor *v, pid_t parent, int beat_fd)
{
	int code;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(csv_err_exit(CSV_INTERNAL)); /* it died before that line */
	prctl(PR_SET_NAME, "csvlockd");
	close(v->signals);
	sigprocmask(SIG_SETMASK, &v->old_mask, NULL);
	code = v->s->serve(beat_fd, v->news, v->s->arg);
	fflush(NULL);
	_exit(code);
}

static bool start(struct supervisor *v)
{
	pid_t parent = getpid();
	int beat[2];

	if (pipe2(beat, O_CLOEXEC | O_NONBLOCK))
		return false;
	v->beaten = v->killed = false;
	v->child = fork();
	if (!v->child) {
		close(beat[0]);
		be_child(v, parent, beat[1]);
	}
	close(beat[1]);
	v->beats = beat[0];
	if (v->child > 0)
		return true;
	v->child = 0;
	close(v->beats);
	return false;
}

/* Passes on what came. */
static void on_signal(struct supervisor *v)
{
	struct signalfd_siginfo info;

	while (read(v->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		int sig = (int)info.ssi_signo;

		if (sig == SIGCHLD)
			continue; /* reap() looks anyway */
		v->stopping |= sig == SIGTERM || sig == SIGINT;
		if (v->child)
			kill(v->child, sig);
	}
}

static bool reap(struct supervisor *v)
{
	if (waitpid(v->child, &v->status, WNOHANG) != v->child)
		return false;
	v->child = 0;
	close(v->beats);
	return true;
}

/* One turn of at most TURN_MS. Returns whether it passed without anything from the child. */
static bool turn(struct supervisor *v)
{
	struct pollfd p[] = { { .fd = v->signals, .events = POLLIN },
			      { .fd = v->child ? v->beats : -1, .events = POLLIN } };
	char buf[64];
	int n = poll(p, 2, (int)TURN_MS);

	if (n <= 0)
		return n == 0;
	if (p[0].revents)
		on_signal(v);
	if (!p[1].revents)
		return false;
	if (read(v->beats, buf, sizeof(buf)) > 0) {
		v->beaten = true;
		tell_ready(v);
		return false;
	}
	return poll(p, 1, (int)TURN_MS) == 0; /* the pipe is closed: it is about to end */
}

/* Until the child has ended. A SIGKILL that does not take effect (the child waits for a device) is not repeated. */
static void watch(struct supervisor *v)
{
	unsigned quiet_ms = 0;

	while (!reap(v)) {
		bool beaten = v->beaten;

		v->beaten = false;
		if (turn(v))
			quiet_ms += TURN_MS;
		else if (v->beaten)
			quiet_ms = 0;
		v->beaten |= beaten;
		if (v->s->hang_ms && quiet_ms >= v->s->hang_ms && !v->killed) {
			v->killed = true;
			kill(v->child, SIGKILL);
		}
	}
}

/* What to do after an end: 0: another child, else the exit code + 1. */
static int judge(struct supervisor *v, pid_t was)
{
	if (WIFEXITED(v->status))
		return WEXITSTATUS(v->status) + 1;
	if (v->stopping)
		return 1;
	if (v->killed) {
		snprintf(v->news, sizeof(v->news), "the csvlockd before this one (pid %d) hung for %u ms: killed",
			 (int)was, v->s->hang_ms);
		return 0;
	}
	snprintf(v->news, sizeof(v->news), "the csvlockd before this one (pid %d) was ended by signal %d", (int)was,
		 WTERMSIG(v->status));
	return v->beaten ? 0 : csv_err_exit(CSV_INTERNAL) + 1;
}

static void rest(struct supervisor *v)
{
	for (unsigned ms = 0; ms < v->s->rest_ms && !v->stopping; ms += TURN_MS)
		turn(v);
}

static int run(struct supervisor *v)
{
	int end = 0;

	while (!v->stopping) {
		pid_t was;

		if (!start(v)) {
			rest(v); /* no memory for a process: perhaps later */
			continue;
		}
		was = v->child;
		watch(v);
		end = judge(v, was);
		if (end)
			break;
		if (!v->killed)
			rest(v);
	}
	return end ? end - 1 : 0;
}

int csv_supervise(const struct csv_supervised *s)
{
	struct supervisor v = { .s = s };
	sigset_t mask;
	int code;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGUSR1);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, &v.old_mask);
	v.signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (v.signals < 0)
		return csv_err_exit(CSV_NOMEM);
	prctl(PR_SET_NAME, "csvlockd-watch");
	code = run(&v);
	close(v.signals);
	sigprocmask(SIG_SETMASK, &v.old_mask, NULL);
	return code;
}
