/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU's monitor protocol over its Unix socket: one command at a time, events kept in the order they came. */
#ifndef CSV_QMP_H
#define CSV_QMP_H

#include <jansson.h>
#include <stdbool.h>

#include "csv/err.h"

struct csv_qmp;

/* Connects, takes the greeting and negotiates. Errors: NOENT (nobody listens), TIMEOUT, PROTO. */
enum csv_err csv_qmp_open(const char *path, int timeout_ms, struct csv_qmp **q, struct csv_why *why);
void csv_qmp_close(struct csv_qmp *q);
/*
 * Runs a command.  args: taken, may be NULL.  *result: what it returned, the caller's; NULL: not wanted.
 * Errors: NOTCONN (QEMU has gone), TIMEOUT, IO (it refused; its words in *why), PROTO.
 */
enum csv_err csv_qmp_run(struct csv_qmp *q, const char *command, json_t *args, int timeout_ms, json_t **result,
			 struct csv_why *why);
/*
 * The next event of this name (also one that came during a command), as a whole message; NULL name: of any.  Others that
 * come before it are dropped.  TIMEOUT, NOTCONN.
 */
enum csv_err csv_qmp_event(struct csv_qmp *q, const char *name, int timeout_ms, json_t **event);

/* An error of these, for people. */
const char *csv_qmp_text(enum csv_err err);

/* CLOCK_MONOTONIC, ms. */
double csv_qmp_now(void);

#endif
