/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csv-dlm-space LOCKSPACE DETECT_MS: holds a lockspace of the kernel's DLM open for csvlockd, which is at the other end
 * of descriptor 3 (lockd/engine/dlm_wire.h).
 *
 * csv-dlm-space --release NODEID...: opens the DLM's gate where dlm_controld forgets to (lockd/dlm/release.h).
 *
 * csv-dlm-space --check: whether this host's DLM can be used; see lockd/dlm/check.h for the exit codes.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "csv/timeouts.h"
#include "lib/number.h"
#include "lockd/dlm/check.h"
#include "lockd/dlm/release.h"
#include "lockd/dlm/space.h"
#include "lockd/dlm/turn.h"

#define RETRY_MS 10

static const char *lockspace;
static struct csv_dlm_space space;
static pid_t keeper;
static int wake; /* the keeper does its work when this is closed */

/*
 * Each end is as good as a kill: the locks stay behind, and whether they are in use still is for the next csvlockd to
 * find out. The keeper does the rest.
 */

/* csvlockd reads whatever else it does, so this blocks for a moment at most. */
static void answer(const struct csv_dlm_res *res)
{
	ssize_t n;

	do
		n = send(CSV_DLM_FD, res, sizeof(*res), MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
		exit(0);
	if (n != (ssize_t)sizeof(*res)) {
		fprintf(stderr, "csv-dlm-space: %s: send: %s\n", lockspace, strerror(errno));
		exit(1);
	}
}

static _Noreturn void fail(const char *what, int err)
{
	struct csv_dlm_res res = { .event = CSV_DLM_FAILED, .status = (uint32_t)err };

	snprintf(res.text, sizeof(res.text), "%s: %s", what, strerror(err));
	fprintf(stderr, "csv-dlm-space: %s: %s\n", lockspace, res.text);
	answer(&res);
	exit(1);
}

static void leave(void)
{
	struct csv_dlm_res res = { .event = CSV_DLM_LEFT };
	int err;

	/* The kernel waits for the last one that holds it open. */
	close(wake);
	while (waitpid(keeper, NULL, 0) < 0 && errno == EINTR)
		;
	err = csv_dlm_device_leave(space.dev, lockspace);
	if (err)
		fail("leave", err);
	answer(&res);
	exit(0);
}

static void obey(void)
{
	struct csv_dlm_req req;
	const char *what;
	ssize_t n;
	int err;

	n = recv(CSV_DLM_FD, &req, sizeof(req), MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		exit(0);
	if (n < 0)
		fail("receive", errno);
	if (n != (ssize_t)sizeof(req))
		fail("request", EPROTO);
	if (req.op == CSV_DLM_LEAVE)
		leave();
	err = csv_dlm_space_request(&space, &req, &what);
	if (err)
		fail(what, err);
}

/* Events first: a request that waits in the kernel shall not keep back what it has said before. */
static void turn(void)
{
	struct pollfd set[] = {
		{ .fd = CSV_DLM_FD, .events = POLLIN },
		{ .fd = csv_dlm_device_fd(space.dev), .events = POLLIN },
	};
	const char *what;
	int err = 0;

	if (poll(set, 2, csv_dlm_space_is_busy(&space) ? RETRY_MS : -1) < 0) {
		if (errno != EINTR)
			fail("poll", errno);
		return;
	}
	/* What a csvlockd asked for that is gone is not done any more. */
	if (set[0].revents & (POLLHUP | POLLERR))
		exit(0);
	if (set[1].revents)
		err = csv_dlm_space_events(&space, &what);
	if (!err)
		err = csv_dlm_space_retry(&space, &what);
	if (err)
		fail(what, err);
	if (set[0].revents & POLLIN)
		obey();
}

/* Whoever stops csvlockd and all its children at once stops this one through csvlockd, which has it leave in order. */
static void outlast_signals(void)
{
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
}

/* If both are killed in a bad moment, this one and its keeper, the host's DLM goes with them. */
static void outlast_hunger(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, "-1000", 5);
	close(fd);
}

static void join(unsigned detect_ms)
{
	struct csv_dlm_flight *flight = csv_dlm_flight_new();
	struct csv_dlm_device *dev;
	int err;

	if (!flight)
		fail("start", ENOMEM);
	err = csv_dlm_turn_take(lockspace, CSV_DLM_FD);
	if (err == ECANCELED)
		exit(0);
	if (err)
		fail("wait for the one before", err);
	err = csv_dlm_device_open(lockspace, &dev);
	if (err)
		fail("join", err);
	keeper = csv_dlm_keeper_start(dev, flight, detect_ms + CSV_DLM_SILENCE_MS, CSV_DLM_FD, &wake);
	if (keeper < 0)
		fail("start the keeper", errno);
	err = csv_dlm_turn_share(lockspace, keeper);
	if (err)
		fail("note the keeper", err);
	csv_dlm_space_init(&space, dev, flight, answer);
}

static _Noreturn void hold(unsigned detect_ms)
{
	struct csv_dlm_res joined = { .event = CSV_DLM_JOINED };

	outlast_signals();
	outlast_hunger();
	join(detect_ms);
	answer(&joined);
	for (;;)
		turn();
}

static int release(char **nodeids)
{
	enum csv_dlm_release all = CSV_DLM_FREE;
	uint64_t nodeid;

	for (; *nodeids; nodeids++) {
		if (!csv_number(*nodeids, 1, UINT32_MAX, &nodeid))
			return 2;
		if (csv_dlm_release((uint32_t)nodeid) != CSV_DLM_FREE)
			all = CSV_DLM_WAITS;
	}
	return all;
}

int main(int argc, char **argv)
{
	uint64_t detect_ms;
	char why[512];
	int result;

	if (argc == 3 && argv[1][0] != '-' && csv_number(argv[2], 0, CSV_DETECT_MAX_MS, &detect_ms)) {
		lockspace = argv[1];
		hold((unsigned)detect_ms);
	}
	if (argc > 2 && !strcmp(argv[1], "--release"))
		return release(argv + 2);
	if (argc != 2 || strcmp(argv[1], "--check")) {
		fprintf(stderr, "usage: csv-dlm-space LOCKSPACE DETECT_MS | --check | --release NODEID...\n");
		return 2;
	}
	result = csv_dlm_check(why, sizeof(why));
	if (result)
		puts(why);
	return result;
}
