/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether this node's DLM can be used: there, run by a dlm_controld, and gated by our fence agent (L2).  A child finds
 * out (csv-dlm-space --check), for each mount anew, while its HELLO waits: dlm_controld may not answer, and the loop
 * never waits.
 *
 * A mount that leaves the choice to us gets the cpg engine where the DLM is not fit; one that wants the DLM is refused.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/program.h"
#include "lockd/daemon/dlm.h"
#include "lockd/daemon/helper.h"

#define FIT 0
#define ABSENT 3 /* what --check exits with where there is no DLM */
#define NOT_INSTALLED 127

struct fit {
	struct csv_list link;
	struct csv_daemon *d;
	uint64_t peer;
	struct csv_msg hello;
	struct csv_helper helper;
	char text[256]; /* why not */
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

static void ended(void *arg, int status)
{
	struct fit *f = arg;

	decide(f, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	forget(f);
}

static _Noreturn void child(int out)
{
	char path[PATH_MAX];

	dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
	dup2(out, 1);
	csv_find_program("csv-dlm-space", path);
	execlp(path, path, "--check", (char *)NULL);
	_exit(NOT_INSTALLED);
}

void csv_dlm_fit(struct csv_peer *p, const struct csv_msg *hello)
{
	struct csv_daemon *d = p->daemon;
	struct fit *f = calloc(1, sizeof(*f));

	CSV_ASSERT(f);
	f->d = d;
	f->peer = p->id;
	f->hello = *hello;
	f->helper =
	    (struct csv_helper){ .loop = d->loop, .ended = ended, .arg = f, .text = f->text, .size = sizeof(f->text) };
	csv_list_push_back(&fits, &f->link);
	switch (csv_helper_fork(&f->helper, CSV_DLM_FIT_MS)) {
	case 0:
		child(f->helper.fd);
	case -1:
		decide(f, -1);
		forget(f);
		break;
	default:
		break;
	}
}

void csv_dlm_fit_free(struct csv_daemon *d)
{
	while (!csv_list_empty(&fits)) {
		struct fit *f = csv_list_entry(fits.next, struct fit, link);

		csv_helper_kill(&f->helper);
		forget(f);
	}
}
