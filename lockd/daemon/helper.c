/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lockd/daemon/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "csv/limits.h"
#include "lockd/daemon/daemon.h"

static void strike(const struct csv_helper *h)
{
	kill(h->leads ? -h->pid : h->pid, SIGKILL);
}

void csv_helper_forget(struct csv_helper *h)
{
	if (!h->pid)
		return;
	qb_loop_poll_del(h->loop, h->fd);
	close(h->fd);
	if (h->timing)
		qb_loop_timer_del(h->loop, h->timer);
	h->timing = false;
	h->pid = 0;
}

void csv_helper_kill(struct csv_helper *h)
{
	if (h->pid)
		strike(h);
	csv_helper_forget(h);
}

static void ended(struct csv_helper *h)
{
	pid_t pid = h->pid;
	int status = -1;

	csv_helper_forget(h);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	h->ended(h->arg, status);
}

static int32_t on_output(int32_t fd, int32_t revents, void *arg)
{
	struct csv_helper *h = arg;
	char spill[256];
	size_t room = h->size - 1 - h->len;
	ssize_t n = read(fd, room ? h->text + h->len : spill, room ? room : sizeof(spill));

	if (n > 0 && room) {
		h->len += (size_t)n;
		h->text[h->len] = 0;
	}
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		ended(h);
	return 0;
}

static void on_late(void *arg)
{
	struct csv_helper *h = arg;

	h->timing = false;
	strike(h); /* the pipe closes */
}

pid_t csv_helper_fork(struct csv_helper *h, unsigned limit_ms)
{
	int out[2], err;

	CSV_ASSERT(!h->pid && h->size);
	h->len = 0;
	h->text[0] = 0;
	if (pipe2(out, O_CLOEXEC))
		return -1;
	h->pid = fork();
	if (h->leads && h->pid >= 0)
		setpgid(h->pid, 0); /* both do: then it leads whoever of the two goes on first */
	if (h->pid == 0) {
		signal(SIGPIPE, SIG_DFL);
		h->fd = out[1];
		return 0;
	}
	err = errno;
	close(out[1]);
	if (h->pid < 0) {
		close(out[0]);
		h->pid = 0;
		errno = err;
		return -1;
	}
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	h->fd = out[0];
	CSV_ASSERT(!qb_loop_poll_add(h->loop, QB_LOOP_MED, h->fd, POLLIN, h, on_output));
	if (limit_ms) {
		CSV_ASSERT(!qb_loop_timer_add(h->loop, QB_LOOP_MED, limit_ms * CSV_NS_PER_MS, h, on_late, &h->timer));
		h->timing = true;
	}
	return h->pid;
}
