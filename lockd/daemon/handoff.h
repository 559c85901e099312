/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CSV_LOCKD_DAEMON_HANDOFF_H
#define CSV_LOCKD_DAEMON_HANDOFF_H

#include <sys/types.h>

#include "lockd/core/handoff.h"

struct csv_daemon;
struct csv_peer;
struct csv_msg;

/* A record of an administrator; false: not about handoffs. */
bool csv_handoff_admin(struct csv_peer *p, const struct csv_msg *msg);
/* After each step of the machine: answers what is decided. */
void csv_handoff_poll(struct csv_daemon *d);
/* The registry's handles. */
struct csv_msg_handle;
void csv_registry_each(struct csv_daemon *d, void (*fn)(void *arg, uint64_t peer, const struct csv_msg_handle *h),
		       void *arg);

/* Path inside the mount of a file that a process has open; empty: it has not, or not by a name any more (paths.c). */
void csv_registry_path(const struct csv_msg_handle *h, const char *mount, char *path, size_t size);

/* ---- launch.c: the destination's part ---- */
/* Compares the definition and, if the plan says so, starts the incoming VM; then sends `armed` on. Takes it. */
void csv_launch_start(struct csv_daemon *d, struct csv_ho_msg *armed);
void csv_launch_free(struct csv_daemon *d);

/* ---- incoming.c: the VMs that were so started, and those of a csvlockd before us ---- */
void csv_incoming_open(struct csv_daemon *d); /* once the run directory is there */
void csv_incoming_close(struct csv_daemon *d);
/* Where the incoming VM of this handoff is noted: "PID START", as in /proc/PID/stat. */
void csv_incoming_path(const struct csv_daemon *d, const uint8_t id[CSV_HO_ID], char *path, size_t size);
/* The hook has ended: it told the VM's process, or (0) has noted it, or there is none. */
void csv_incoming_note(struct csv_daemon *d, const uint8_t id[CSV_HO_ID], pid_t pid);
/* True: this handoff has an incoming VM already; it is ended first, and then csv_launch_start(armed) is called again. */
bool csv_incoming_renew(struct csv_daemon *d, struct csv_ho_msg *armed);
/* Ends those whose handoff was kept. */
void csv_incoming_poll(struct csv_daemon *d);

#endif
