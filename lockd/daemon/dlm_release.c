/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A node that is gone is fenced for the DLM when dlm_controld asks our agent, which it may forget to (release.h says
 * when).  So a while after nodes have gone, a child looks whether a lockspace still waits for one of them, and asks the
 * agent itself (csv-dlm-space --release).  A child, because dlm_controld may not answer, and the agent asks us.
 */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/program.h"
#include "lockd/daemon/dlm.h"
#include "lockd/daemon/helper.h"

#define LIMIT_MS 120000u /* an agent takes 40 s at most for a node */
#define FREE 0		 /* what --release exits with where nothing waits */

static struct {
	struct csv_helper helper;
	char text[512];
	uint32_t nodes[CSV_NODES_MAX]; /* that are gone */
	unsigned n;
	bool timing;
	qb_loop_timer_handle timer;
} release;

static _Noreturn void child(int out)
{
	char path[PATH_MAX], text[CSV_NODES_MAX][12], option[] = "--release";
	char *argv[CSV_NODES_MAX + 3] = { path, option };

	for (unsigned i = 0; i < release.n; i++) {
		snprintf(text[i], sizeof(text[i]), "%u", release.nodes[i]);
		argv[2 + i] = text[i];
	}
	dup2(out, 1);
	csv_find_program("csv-dlm-space", path);
	execvp(path, argv);
	_exit(FREE); /* no DLM of ours is there */
}

static void later(struct csv_daemon *d);

static void ended(void *arg, int status)
{
	for (char *line = strtok(release.text, "\n"); line; line = strtok(NULL, "\n"))
		csv_warn("%s", line);
	if (release.n && (!WIFEXITED(status) || WEXITSTATUS(status) != FREE))
		later(arg);
}

static void on_time(void *arg)
{
	struct csv_daemon *d = arg;

	release.timing = false;
	if (release.helper.pid) {
		later(d); /* of nodes that had gone before */
		return;
	}
	release.helper = (struct csv_helper){
		.loop = d->loop, .ended = ended, .arg = d, .text = release.text, .size = sizeof(release.text)
	};
	switch (csv_helper_fork(&release.helper, LIMIT_MS)) {
	case 0:
		child(release.helper.fd);
	case -1:
		later(d);
		break;
	default:
		break;
	}
}

static void later(struct csv_daemon *d)
{
	if (!release.timing)
		release.timing = !qb_loop_timer_add(d->loop, QB_LOOP_LOW, CSV_DLM_RELEASE_MS * CSV_NS_PER_MS, d,
						    on_time, &release.timer);
}

static void stop(struct csv_daemon *d)
{
	if (release.timing)
		qb_loop_timer_del(d->loop, release.timer);
	release.timing = false;
}

/* Without quorum dlm_controld rightly does nothing. */
void csv_dlm_release_look(struct csv_daemon *d)
{
	uint32_t now[CSV_NODES_MAX];
	unsigned n = 0;

	if (d->machine && csv_machine_quorate(d->machine) && csv_dlm_in_use(d))
		n = csv_machine_down(d->machine, now);
	if (n == release.n && !memcmp(now, release.nodes, n * sizeof(now[0])))
		return;
	memcpy(release.nodes, now, n * sizeof(now[0]));
	release.n = n;
	stop(d);
	if (n)
		later(d);
}

void csv_dlm_release_free(void)
{
	csv_helper_kill(&release.helper);
}
