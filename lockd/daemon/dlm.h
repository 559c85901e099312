/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The DLM's side of the daemon: whether this node has a DLM that can be used, and a process for each lockspace. */
#ifndef CSV_DAEMON_DLM_H
#define CSV_DAEMON_DLM_H

#include "lockd/daemon/daemon.h"

/* ---- dlm.c: lockspaces ---- */
void csv_dlm_order(struct csv_daemon *d, const struct csv_dlm_order *o); /* of the machine */
void csv_dlm_look(struct csv_daemon *d); /* after each step of the machine: lockspaces without use are left */
void csv_dlm_found(struct csv_daemon *d); /* at start: lockspaces that a predecessor has left in the kernel */
bool csv_dlm_in_use(const struct csv_daemon *d);
void csv_dlm_free(struct csv_daemon *d); /* the locks of live mounts stay, as orphans */

/* ---- dlm_fit.c ---- */
/* Finds out whether this node's DLM can be used; then csv_server_hello() goes on with the peer's HELLO, if it is still there. */
void csv_dlm_fit(struct csv_peer *p, const struct csv_msg *hello);
void csv_dlm_fit_free(struct csv_daemon *d);

/* ---- dlm_release.c ---- */
void csv_dlm_release_look(struct csv_daemon *d); /* after each step of the machine: nodes that are gone */
void csv_dlm_release_free(void);

#endif
