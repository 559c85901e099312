/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lockd/client/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "csv/timeouts.h"

struct csv_client {
	int fd;
	int stop[2]; /* pipe: close() wakes the thread */
	bool started;
	pthread_t thread;
	struct csv_client_events ev;
	_Atomic uint64_t sent;
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

/* The socket's path: argument, else CSV_RUN_DIR, else /run/csvfs. */
static enum csv_err socket_address(const char *run_dir, struct sockaddr_un *sa, struct csv_why *why)
{
	if (!run_dir)
		run_dir = getenv("CSV_RUN_DIR");
	if (!run_dir || !*run_dir)
		run_dir = "/run/csvfs";
	memset(sa, 0, sizeof(*sa));
	sa->sun_family = AF_UNIX;
	if (snprintf(sa->sun_path, sizeof(sa->sun_path), "%s/lockd.sock", run_dir) >= (int)sizeof(sa->sun_path))
		return csv_fail(why, CSV_INVAL, "use a shorter run directory", "%s is too long for a socket", run_dir);
	return CSV_OK;
}

static enum csv_err dial(struct csv_client *c, const struct sockaddr_un *sa, struct csv_why *why)
{
	c->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return csv_fail(why, csv_err_from_errno(errno), "", "socket: %s", strerror(errno));
	if (connect(c->fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0)
		return CSV_OK;
	if (errno == ENOENT || errno == ECONNREFUSED)
		return csv_fail(why, CSV_NOCLUSTER, "start csvlockd, or mount with -o lock=local",
				"csvlockd does not run here (%s)", sa->sun_path);
	return csv_fail(why, csv_err_from_errno(errno), "", "%s: %s", sa->sun_path, strerror(errno));
}

/* One record, at most until `deadline` (ms, monotonic; < 0: for ever). */
static enum csv_err receive(struct csv_client *c, struct csv_msg *msg, int64_t deadline)
{
	for (;;) {
		struct pollfd p = { .fd = c->fd, .events = POLLIN };
		int64_t left = deadline < 0 ? -1 : deadline - now_ms();
		ssize_t n;

		if (deadline >= 0 && left < 0)
			return CSV_TIMEOUT;
		if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
			return csv_err_from_errno(errno);
		if (!p.revents)
			continue;
		n = recv(c->fd, msg, sizeof(*msg), MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return CSV_NOTCONN;
		return n == (ssize_t)sizeof(*msg) ? CSV_OK : CSV_PROTO;
	}
}

static enum csv_err greet(struct csv_client *c, const struct csv_msg_hello *hello, int timeout_ms,
			  struct csv_msg_welcome *welcome, struct csv_why *why)
{
	struct csv_msg msg = { .type = CSV_MSG_HELLO };
	enum csv_err err;

	msg.hello = *hello;
	msg.hello.version = CSV_PROTO_VERSION;
	err = csv_client_send(c, &msg);
	if (!err)
		err = receive(c, &msg, now_ms() + timeout_ms);
	if (err)
		return csv_fail(why, err, "see csvlockd's log", "csvlockd did not answer: %s", csv_err_text(err));
	if (msg.type == CSV_MSG_ERROR && msg.err && msg.err < CSV_ERR_COUNT) {
		msg.text[sizeof(msg.text) - 1] = 0;
		return csv_fail(why, msg.err, "", "%s", msg.text);
	}
	if (msg.type != CSV_MSG_WELCOME || msg.welcome.version != CSV_PROTO_VERSION)
		return csv_fail(why, CSV_PROTO, "install the same version of both", "csvlockd speaks another protocol");
	if (msg.welcome.detect_ms > CSV_DETECT_MAX_MS)
		msg.welcome.detect_ms = CSV_DETECT_MAX_MS;
	msg.welcome.node[sizeof(msg.welcome.node) - 1] = 0;
	msg.welcome.cluster[sizeof(msg.welcome.cluster) - 1] = 0;
	msg.welcome.engine[sizeof(msg.welcome.engine) - 1] = 0;
	if (welcome)
		*welcome = msg.welcome;
	return CSV_OK;
}

enum csv_err csv_client_open(const char *run_dir, const struct csv_msg_hello *hello, int timeout_ms,
			     struct csv_client **out, struct csv_msg_welcome *welcome, struct csv_why *why)
{
	struct csv_client *c = calloc(1, sizeof(*c));
	struct sockaddr_un sa;
	enum csv_err err;

	if (!c)
		return csv_fail(why, CSV_NOMEM, "", "out of memory");
	c->fd = c->stop[0] = c->stop[1] = -1;
	err = socket_address(run_dir, &sa, why);
	if (!err)
		err = dial(c, &sa, why);
	if (!err)
		err = greet(c, hello, timeout_ms, welcome, why);
	if (err) {
		csv_client_close(c);
		return err;
	}
	*out = c;
	return CSV_OK;
}

/* Reads until the other end closes (then says so once) or close() asks to stop. */
static void *reader(void *arg)
{
	struct csv_client *c = arg;
	struct csv_msg msg;

	for (;;) {
		struct pollfd p[2] = { { .fd = c->fd, .events = POLLIN }, { .fd = c->stop[0], .events = POLLIN } };

		if (poll(p, 2, -1) < 0 && errno == EINTR)
			continue;
		if (p[1].revents)
			return NULL;
		if (receive(c, &msg, -1)) {
			if (c->ev.lost)
				c->ev.lost(c->ev.arg);
			return NULL;
		}
		c->ev.record(c->ev.arg, &msg);
	}
}

enum csv_err csv_client_start(struct csv_client *c, const struct csv_client_events *ev)
{
	c->ev = *ev;
	if (pipe2(c->stop, O_CLOEXEC))
		return csv_err_from_errno(errno);
	if (pthread_create(&c->thread, NULL, reader, c))
		return CSV_NOMEM;
	c->started = true;
	return CSV_OK;
}

/*
 * A packet is sent whole or not at all.  The send blocks while csvlockd's queue is full; csvlockd never waits for its
 * clients in turn, so this ends.
 */
enum csv_err csv_client_send(struct csv_client *c, const struct csv_msg *msg)
{
	ssize_t n;

	do
		n = send(c->fd, msg, sizeof(*msg), MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(*msg))
		return CSV_NOTCONN;
	atomic_fetch_add_explicit(&c->sent, 1, memory_order_relaxed);
	return CSV_OK;
}

enum csv_err csv_client_call(struct csv_client *c, struct csv_msg *req, int timeout_ms,
			     void (*fn)(void *arg, const struct csv_msg *msg), void *arg, struct csv_why *why)
{
	int64_t deadline = now_ms() + timeout_ms;
	struct csv_msg msg;
	enum csv_err err;

	req->seq = csv_client_sent(c) + 1;
	err = csv_client_send(c, req);
	while (!err) {
		err = receive(c, &msg, deadline);
		if (err || msg.seq != req->seq)
			continue;
		if (msg.type == CSV_MSG_ERROR) {
			msg.text[sizeof(msg.text) - 1] = 0;
			return csv_fail(why, msg.err && msg.err < CSV_ERR_COUNT ? msg.err : CSV_PROTO, "", "%s",
					msg.text);
		}
		if (fn && msg.type != CSV_MSG_DONE && !msg.last)
			fn(arg, &msg);
		if (msg.type == CSV_MSG_DONE || msg.last) {
			*req = msg;
			return msg.err < CSV_ERR_COUNT ? (enum csv_err)msg.err : CSV_PROTO;
		}
	}
	return csv_fail(why, err == CSV_TIMEOUT ? CSV_TIMEOUT : CSV_NOTCONN,
			"see csvlockd's log; ask again with --timeout", "csvlockd did not answer %s: %s",
			csv_msg_name(req->type), csv_err_text(err));
}

void csv_client_shutdown(struct csv_client *c)
{
	shutdown(c->fd, SHUT_RDWR);
}

void csv_client_close(struct csv_client *c)
{
	if (!c)
		return;
	if (c->started) {
		(void)!write(c->stop[1], "", 1);
		pthread_join(c->thread, NULL);
	}
	for (int i = 0; i < 2; i++) {
		if (c->stop[i] >= 0)
			close(c->stop[i]);
	}
	if (c->fd >= 0)
		close(c->fd);
	free(c);
}

uint64_t csv_client_sent(const struct csv_client *c)
{
	return atomic_load_explicit(&c->sent, memory_order_relaxed);
}
