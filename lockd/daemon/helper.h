/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A child process of csvlockd that finds something out and writes it to a pipe: the loop collects what it writes, and is
 * called when the child, and whoever has the pipe from it, has ended.  For what may wait for the LUN or for another
 * program, as the loop never does (L5).
 */
#ifndef CSV_LOCKD_HELPER_H
#define CSV_LOCKD_HELPER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <qb/qbloop.h>

/* All 0 at first; the owner sets what stands above the line. */
struct csv_helper {
	qb_loop_t *loop;
	/* Its end, from the loop; `status` as waitpid() gives it.  The helper is at rest then: its owner may be freed. */
	void (*ended)(void *arg, int status);
	void *arg;
	char *text;  /* what it has written, always ended by a 0; what does not fit is dropped */
	size_t size; /* of text, at least 1 */
	bool leads;  /* it leads a process group, which is killed as a whole */
	/* ---- */
	size_t len;
	pid_t pid; /* 0: there is none */
	int fd;    /* in the child: where it writes */
	bool timing;
	qb_loop_timer_handle timer;
};

/*
 * Starts one; there is none yet.  It is killed when it runs for longer than limit_ms (0: any time).  Returns like fork():
 * 0 in the child, where h->fd is the pipe, closed by exec; -1 and errno if there is no child.
 */
pid_t csv_helper_fork(struct csv_helper *h, unsigned limit_ms);
/* Nobody waits for it any more: it is not reaped and `ended` is not called.  A helper at rest stays so. */
void csv_helper_forget(struct csv_helper *h);
/* The same, and it is killed. */
void csv_helper_kill(struct csv_helper *h);

#endif
