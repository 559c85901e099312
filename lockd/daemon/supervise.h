/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The local watchdog (L5): a process that runs csvlockd as its child, kills it when its loop does not turn any more,
 * and starts it again.
 */
#ifndef CSV_LOCKD_SUPERVISE_H
#define CSV_LOCKD_SUPERVISE_H

struct csv_supervised {
	unsigned hang_ms; /* without a beat for so long: killed; 0: never */
	unsigned rest_ms; /* pause before another one after a crash */
	/*
	 * What the child does; returns its exit code.  It is to write a byte to beat_fd (which does not block) again
	 * and again.  news: why there was another child before this one, for the log; empty in the first.
	 */
	int (*serve)(int beat_fd, const char *news, void *arg);
	void *arg;
};

/*
 * Returns the exit code when the child has ended by itself, or after SIGTERM or SIGINT, which are passed on (SIGUSR1
 * too).  A child that crashed is replaced, unless it never gave a beat.  The child dies with its supervisor.
 */
int csv_supervise(const struct csv_supervised *s);

#endif
