/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Client side of csvlockd's socket: for csvfs (own thread, callbacks) and for tools
 * (request and answer).  Knows records, not their meaning.
 */
#ifndef CSV_LOCKD_CLIENT_H
#define CSV_LOCKD_CLIENT_H

#include "csv/proto.h"

struct csv_client;

struct csv_client_events {
	void (*record)(void *arg, const struct csv_msg *msg); /* in the client's thread, in order; must not block long */
	void (*lost)(void *arg);                              /* connection closed by the other end; last call */
	void *arg;
};

/*
 * Connects to run_dir/lockd.sock (NULL: CSV_RUN_DIR or /run/csvfs), sends `hello` and waits for WELCOME (at most timeout_ms).
 * Errors: NOCLUSTER (no socket, nobody listens), TIMEOUT, OTHERCLUSTER, ACCESS, PROTO; the reason in *why.
 */
enum csv_err csv_client_open(const char *run_dir, const struct csv_msg_hello *hello, int timeout_ms,
			     struct csv_client **c, struct csv_msg_welcome *welcome, struct csv_why *why);
/* csvfs: from now on a thread reads and calls back. */
enum csv_err csv_client_start(struct csv_client *c, const struct csv_client_events *ev);
/* Sends one record; any thread. NOTCONN once the connection is lost. */
enum csv_err csv_client_send(struct csv_client *c, const struct csv_msg *msg);
/* Tools, without a thread: sends and calls fn for each answering record until DONE, ERROR or `last`; the error is the result. */
enum csv_err csv_client_call(struct csv_client *c, struct csv_msg *req, int timeout_ms,
			     void (*fn)(void *arg, const struct csv_msg *msg), void *arg, struct csv_why *why);
/* Ends the connection without waiting, in any thread: the reader says `lost`, csvlockd sees the end. */
void csv_client_shutdown(struct csv_client *c);
void csv_client_close(struct csv_client *c); /* not from a callback */
/* Records sent since open. */
uint64_t csv_client_sent(const struct csv_client *c);

#endif
