/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lockd/dlm/turn.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/mountfile.h"

#define RETRY_MS 50

/* A line each: "PID START", as csv_process_start() counts. */
#define HOLDERS 2

struct holder {
	pid_t pid; /* 0: none */
	uint64_t start;
};

static int open_note(const char *lockspace, int *fd)
{
	const char *run_dir = getenv("CSV_RUN_DIR");
	char path[4096];

	if (!run_dir || !*run_dir)
		run_dir = "/run/csvfs";
	if (snprintf(path, sizeof(path), "%s/dlm-%s.pid", run_dir, lockspace) >= (int)sizeof(path))
		return ENAMETOOLONG;
	*fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	return *fd < 0 ? errno : 0;
}

/* Waits at most `ms` (< 0: for ever) for fd. True: the other end of socket was closed. */
static bool closed_while_waiting(int socket, int fd, int ms)
{
	struct pollfd set[] = { { .fd = socket }, { .fd = fd, .events = POLLIN } };

	while (poll(set, 2, ms) < 0 && errno == EINTR)
		;
	return set[0].revents & (POLLHUP | POLLERR);
}

/* Two that start at the same time: the second waits for the first to have noted itself. */
static int lock_note(int fd, int socket)
{
	while (flock(fd, LOCK_EX | LOCK_NB)) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return errno;
		if (closed_while_waiting(socket, -1, RETRY_MS))
			return ECANCELED;
	}
	return 0;
}

static void read_note(int fd, struct holder holders[HOLDERS])
{
	int pid[HOLDERS] = { 0 }, n = 0;
	char text[128] = "";

	if (pread(fd, text, sizeof(text) - 1, 0) > 0)
		n = sscanf(text, "%d %" SCNu64 " %d %" SCNu64, &pid[0], &holders[0].start, &pid[1], &holders[1].start);
	for (int i = 0; i < HOLDERS; i++)
		holders[i].pid = n >= 2 * (i + 1) ? pid[i] : 0;
}

/* At `at`: behind what is there already. */
static int write_note(int fd, off_t at, pid_t pid)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "%d %" PRIu64 "\n", (int)pid, csv_process_start(pid));

	if (ftruncate(fd, at))
		return errno;
	return pwrite(fd, text, (size_t)n, at) == n ? 0 : errno ? errno : ENOSPC;
}

/* A pidfd tells of an end only when all files of the process are closed, which its lock on a file would not. */
static int wait_gone(const struct holder *h, int socket)
{
	int fd = h->pid > 0 ? pidfd_open(h->pid, 0) : -1;
	int err = 0;

	if (fd < 0)
		return h->pid <= 0 || errno == ESRCH ? 0 : errno;
	/* A number is used again, but not one whose pidfd was open before. */
	if (csv_process_start(h->pid) == h->start && closed_while_waiting(socket, fd, -1))
		err = ECANCELED;
	close(fd);
	return err;
}

int csv_dlm_turn_take(const char *lockspace, int socket)
{
	struct holder last[HOLDERS];
	int fd, err;

	err = open_note(lockspace, &fd);
	if (err)
		return err;
	err = lock_note(fd, socket);
	if (!err) {
		/* Noted only after the wait: a third one that comes meanwhile has to wait for the same ones. */
		read_note(fd, last);
		for (int i = 0; i < HOLDERS && !err; i++)
			err = wait_gone(&last[i], socket);
	}
	if (!err)
		err = write_note(fd, 0, getpid());
	close(fd);
	return err;
}

int csv_dlm_turn_share(const char *lockspace, pid_t pid)
{
	struct stat st;
	int fd, err;

	err = open_note(lockspace, &fd);
	if (err)
		return err;
	err = fstat(fd, &st) ? errno : write_note(fd, st.st_size, pid);
	close(fd);
	return err;
}
