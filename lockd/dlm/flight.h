/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Locks of which the kernel has yet to say something, and a process that sees to it that somebody listens: the keeper.
 *
 * A lockspace must not be closed while the kernel waits for another host to answer for a lock that outlives the
 * process: with that answer the kernel (6.1) forgets that the lock is an orphan and puts its event into what is left of
 * the process (receive_flags_reply, dlm_user_add_ast), after which the DLM of the host stands still for ever.  A process
 * can be killed at any moment, so it does not hold its lockspace open alone.
 */
#ifndef CSV_LOCKD_DLM_FLIGHT_H
#define CSV_LOCKD_DLM_FLIGHT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lockd/dlm/device.h"

#define CSV_DLM_FLIGHT_MAX 4096u

struct csv_dlm_flight; /* in memory that is shared with the keeper */

/* NULL: out of memory. Never freed. */
struct csv_dlm_flight *csv_dlm_flight_new(void);
/* Before the kernel is asked. -1: too many; try again later. The place is the caller's until csv_dlm_flight_end. */
int csv_dlm_flight_begin(struct csv_dlm_flight *f, uint64_t cookie);
/* The kernel has said it, or refused. place -1: nothing to do. */
void csv_dlm_flight_end(struct csv_dlm_flight *f, int place);
/* As a keeper sees it: what the kernel says of a cookie ends all its places. */
void csv_dlm_flight_heard(struct csv_dlm_flight *f, uint64_t cookie);
bool csv_dlm_flight_none(const struct csv_dlm_flight *f);

/*
 * Starts the keeper, another process that holds dev open too, but not the socket.  When *wake is closed, thus at the
 * latest when this process has ended, it takes the kernel's events until nothing is in flight any more, and ends.  After
 * silence_ms, in which a dead host is noticed and the lockspace stopped, and the same once more in a running one, it
 * gives up.  Returns its pid, or -1 and errno.
 */
pid_t csv_dlm_keeper_start(struct csv_dlm_device *dev, struct csv_dlm_flight *f, unsigned silence_ms, int socket,
			   int *wake);

#endif
