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
#include <unistd.h>

#include "lib/mountfile.h"

#define RETRY_MS 50

/* "PID START", as csv_process_start() counts. */
struct note {
	pid_t pid;
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

static struct note read_note(int fd)
{
	struct note note = { 0 };
	char text[64] = "";
	int pid;

	if (pread(fd, text, sizeof(text) - 1, 0) > 0 && sscanf(text, "%d %" SCNu64, &pid, &note.start) == 2)
		note.pid = pid;
	return note;
}

static int write_note(int fd)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "%d %" PRIu64 "\n", (int)getpid(), csv_process_start(getpid()));

	if (ftruncate(fd, 0))
		return errno;
	return pwrite(fd, text, (size_t)n, 0) == n ? 0 : errno ? errno : ENOSPC;
}

/* A pidfd tells of an end only when all files of the process are closed, which its lock on a file would not. */
static int wait_gone(const struct note *note, int socket)
{
	int fd = note->pid > 0 ? pidfd_open(note->pid, 0) : -1;
	int err = 0;

	if (fd < 0)
		return note->pid <= 0 || errno == ESRCH ? 0 : errno;
	/* A number is used again, but not one whose pidfd was open before. */
	if (csv_process_start(note->pid) == note->start && closed_while_waiting(socket, fd, -1))
		err = ECANCELED;
	close(fd);
	return err;
}

int csv_dlm_turn_take(const char *lockspace, int socket)
{
	struct note last;
	int fd, err;

	err = open_note(lockspace, &fd);
	if (err)
		return err;
	err = lock_note(fd, socket);
	if (!err) {
		/* Noted only after the wait: a third one that comes meanwhile has to wait for the same process. */
		last = read_note(fd);
		err = wait_gone(&last, socket);
	}
	if (!err)
		err = write_note(fd);
	close(fd);
	return err;
}
