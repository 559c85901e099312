/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A csvlockd for one client, behind a real socket: says WELCOME, the rest is the test's.
 */
#ifndef CSV_TESTS_SOCK_LOCKD_H
#define CSV_TESTS_SOCK_LOCKD_H

#include <stdbool.h>

#include "csv/proto.h"

/* In csvlockd's thread, for each record but HELLO. False: the connection ends. */
typedef bool (*sock_lockd_fn)(struct csv_msg *msg);

/* What WELCOME says; set it before the start. */
extern unsigned sock_lockd_detect_ms;

/* Returns the run directory. view: sent behind WELCOME if it is not NULL. */
const char *sock_lockd_start(sock_lockd_fn fn, const struct csv_msg_view *view);
void sock_lockd_send(const struct csv_msg *msg); /* while the client is connected */
void sock_lockd_stop(void);			 /* after the client has gone */

#endif
