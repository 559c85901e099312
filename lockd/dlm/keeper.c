/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "lockd/dlm/flight.h"

static void wait_closed(int fd)
{
	char c;
	ssize_t n;

	do
		n = read(fd, &c, 1);
	while (n > 0 || (n < 0 && errno == EINTR));
}

/*
 * False: silence for so long that in a running lockspace nothing comes any more: the process was killed between noting
 * something and entering the kernel with it.
 */
static bool wait_event(struct csv_dlm_device *dev, unsigned silence_ms)
{
	struct pollfd set = { .fd = csv_dlm_device_fd(dev), .events = POLLIN };
	int n;

	do
		n = poll(&set, 1, (int)silence_ms);
	while (n < 0 && errno == EINTR);
	return n > 0;
}

static void hear(struct csv_dlm_flight *f, const struct csv_dlm_device_event *ev)
{
	if (ev->what != CSV_DLM_BLOCKS)
		csv_dlm_flight_heard(f, ev->cookie);
}

static bool listen_on(struct csv_dlm_device *dev, struct csv_dlm_flight *f)
{
	struct csv_dlm_device_event ev;
	int err;

	while (!(err = csv_dlm_device_next(dev, &ev)))
		hear(f, &ev);
	return err == EAGAIN;
}

static void keep(struct csv_dlm_device *dev, struct csv_dlm_flight *f, unsigned silence_ms)
{
	struct csv_dlm_device_event ev;
	bool silent = false;

	/* A process that is killed on its way back from the kernel has taken the answer and done nothing with it. */
	if (csv_dlm_device_unhandled(dev, &ev))
		hear(f, &ev);
	while (!csv_dlm_flight_none(f)) {
		if (wait_event(dev, silence_ms)) {
			if (!listen_on(dev, f))
				return;
			silent = false;
		} else if (silent) {
			return;
		} else {
			/* The silence may be that of a stopped lockspace, which this waits for; then listen once more.
			 */
			csv_dlm_device_wait_running(dev);
			silent = true;
		}
	}
}

pid_t csv_dlm_keeper_start(struct csv_dlm_device *dev, struct csv_dlm_flight *f, unsigned silence_ms, int socket,
			   int *wake)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		return -1;
	pid = fork();
	if (pid == 0) {
		close(socket);
		close(ends[1]);
		prctl(PR_SET_NAME, "csv-dlm-keeper");
		wait_closed(ends[0]);
		keep(dev, f, silence_ms);
		_exit(0);
	}
	close(ends[0]);
	if (pid < 0)
		close(ends[1]);
	else
		*wake = ends[1];
	return pid;
}
