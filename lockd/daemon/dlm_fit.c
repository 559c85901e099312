/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether this node's DLM can be used: there, run by a dlm_controld, and gated by our fence agent (L2).  A child finds
 * out (csv-dlm-space --check), for each mount anew, while its HELLO waits: dlm_controld may not answer, and the loop
 * never waits.
 *
 * A mount that leaves the choice to us gets the cpg engine where the DLM is not fit; one that wants the DLM is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/program.h"
#include "lockd/daemon/dlm.h"

#define FIT 0
#define ABSENT 3 /* what --check exits with where there is no DLM */
#define NOT_INSTALLED 127

struct fit {
	struct csv_list link;
	struct csv_daemon *d;
	uint64_t peer;
	struct csv_msg hello;
	pid_t pid;
	int fd;
	char text[256]; /* why not */
	size_t len;
	qb_loop_timer_handle timer;
	bool timing;
};

static struct csv_list fits = CSV_LIST_INIT(fits);

static void decide(struct fit *f, int code)
{
	struct csv_peer *p = csv_peer_find(f->d, f->peer);
	struct csv_msg *msg = &f->hello;

	f->text[strcspn(f->text, "\n")] = 0;
	msg->hello.dlm = code == FIT;
	if (!p || p->closing)
		return;
	if (!msg->hello.dlm && msg->hello.engine == CSV_ENGINE_DLM) {
		csv_peer_error(p, msg->seq, CSV_NOTSUP, "lock=dlm: %s", *f->text ? f->text : "the DLM did not answer");
		p->closing = true;
		return;
	}
	if (code != FIT && code != ABSENT && code != NOT_INSTALLED)
		csv_warn("the DLM is not used: %s", *f->text ? f->text : "it did not answer");
	csv_server_hello(p, msg);
}

static void forget(struct fit *f)
{
	csv_list_del(&f->link);
	free(f);
}

static void stop_watching(struct fit *f)
{
	qb_loop_poll_del(f->d->loop, f->fd);
	close(f->fd);
	if (f->timing)
		qb_loop_timer_del(f->d->loop, f->timer);
	f->timing = false;
}

static void ended(struct fit *f)
{
	int status = -1;

	stop_watching(f);
	while (waitpid(f->pid, &status, 0) < 0 && errno == EINTR)
		;
	decide(f, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	forget(f);
}

static int32_t on_output(int32_t fd, int32_t revents, void *arg)
{
	struct fit *f = arg;
	char spill[64];
	size_t room = sizeof(f->text) - 1 - f->len;
	ssize_t n = read(fd, room ? f->text + f->len : spill, room ? room : sizeof(spill));

	if (n > 0 && room)
		f->len += (size_t)n;
	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return 0;
	ended(f);
	return 0;
}

static void on_late(void *arg)
{
	struct fit *f = arg;

	f->timing = false;
	kill(f->pid, SIGKILL); /* the pipe closes */
}

static _Noreturn void child(int out)
{
	char path[PATH_MAX];

	signal(SIGPIPE, SIG_DFL);
	dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
	dup2(out, 1);
	csv_find_program("csv-dlm-space", path);
	execlp(path, path, "--check", (char *)NULL);
	_exit(NOT_INSTALLED);
}

static bool spawn(struct fit *f)
{
	int out[2];

	if (pipe2(out, O_CLOEXEC))
		return false;
	f->pid = fork();
	if (!f->pid)
		child(out[1]);
	close(out[1]);
	if (f->pid < 0) {
		close(out[0]);
		return false;
	}
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	f->fd = out[0];
	return true;
}

void csv_dlm_fit(struct csv_peer *p, const struct csv_msg *hello)
{
	struct csv_daemon *d = p->daemon;
	struct fit *f = calloc(1, sizeof(*f));

	CSV_ASSERT(f);
	f->d = d;
	f->peer = p->id;
	f->hello = *hello;
	csv_list_push_back(&fits, &f->link);
	if (!spawn(f)) {
		decide(f, -1);
		forget(f);
		return;
	}
	qb_loop_poll_add(d->loop, QB_LOOP_MED, f->fd, POLLIN, f, on_output);
	f->timing = !qb_loop_timer_add(d->loop, QB_LOOP_MED, CSV_DLM_FIT_MS * CSV_NS_PER_MS, f, on_late, &f->timer);
}

void csv_dlm_fit_free(struct csv_daemon *d)
{
	while (!csv_list_empty(&fits)) {
		struct fit *f = csv_list_entry(fits.next, struct fit, link);

		kill(f->pid, SIGKILL);
		stop_watching(f);
		forget(f);
	}
}
