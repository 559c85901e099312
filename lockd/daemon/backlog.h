/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Has all been taken that corosync has for us?  It shares a ring of 1 MiB with a client.  What does not fit, it queues,
 * in order, and moves into the ring when there is room (exec/ipc_glue.c: outq).  So an empty ring is not the end of it
 * after a hang: more may be on its way out of the queue.  The queue is in use only if the ring was full, and that shows
 * in how much is taken without a pause:
 *
 *	CLEAN   the queue was empty the last time that the ring was found empty.  If the ring is empty again, and less was
 *	        taken since than makes it full, the queue was never used, and is empty
 *	BEHIND  more was taken
 *	ASKED   an own message was sent when the ring was empty.  Whatever was queued then comes before it.  When it is
 *	        back, and the ring empty, and it was never full since, the queue has been emptied: CLEAN
 */
#ifndef CSV_LOCKD_BACKLOG_H
#define CSV_LOCKD_BACKLOG_H

#include <stdbool.h>
#include <stddef.h>

/* Taken, with what corosync adds; the ring less the largest message (CSV_MACHINE_SEND_MAX), and half of it for safety. */
#define CSV_BACKLOG_LIMIT (512u << 10)
/* What a message, or a configuration change, takes in the ring beside its own bytes, at most. */
#define CSV_BACKLOG_HEADER 512u

enum csv_backlog_state { CSV_BACKLOG_CLEAN, CSV_BACKLOG_BEHIND, CSV_BACKLOG_ASKED };
struct csv_backlog {
	enum csv_backlog_state state;
	size_t taken; /* CLEAN: since the ring was empty; ASKED: since the message was sent */
};

void csv_backlog_took(struct csv_backlog *b, size_t len);
void csv_backlog_ring_empty(struct csv_backlog *b);
/*
 * The ring is empty. False: all has been taken. True: an own message is to be sent now, and what must come behind all
 * that there is, waits until it is back. own_back: no own message is on its way.
 */
bool csv_backlog_ask(struct csv_backlog *b, bool own_back);

#endif
