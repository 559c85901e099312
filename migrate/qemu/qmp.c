/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "migrate/qemu/qmp.h"

#define LINE_MAX_BYTES (4u << 20) /* a message larger than this is not QEMU's */

struct csv_qmp {
	int fd;
	char *buf;
	size_t len, cap;
	json_t *events; /* array, oldest first */
};

double csv_qmp_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1000 + (double)ts.tv_nsec / 1e6;
}

const char *csv_qmp_text(enum csv_err err)
{
	return err == CSV_NOTCONN ? "the connection to its monitor is lost" : csv_err_text(err);
}

/* A whole line from the buffer as JSON; NULL: none yet, or (*bad) not JSON. */
static json_t *take_line(struct csv_qmp *q, bool *bad)
{
	char *end = memchr(q->buf, '\n', q->len);
	size_t used;
	json_t *msg;

	*bad = false;
	if (!end)
		return NULL;
	used = (size_t)(end - q->buf) + 1;
	msg = json_loadb(q->buf, used, 0, NULL);
	q->len -= used;
	memmove(q->buf, q->buf + used, q->len);
	*bad = !json_is_object(msg);
	return msg;
}

static enum csv_err fill(struct csv_qmp *q, double deadline)
{
	struct pollfd p = { .fd = q->fd, .events = POLLIN };
	double left = deadline - csv_qmp_now();
	ssize_t n;
	char *more;

	if (left < 0 || poll(&p, 1, (int)left + 1) == 0)
		return CSV_TIMEOUT;
	if (q->len == q->cap) {
		if (q->cap >= LINE_MAX_BYTES)
			return CSV_PROTO;
		more = realloc(q->buf, q->cap ? 2 * q->cap : 65536);
		if (!more)
			return CSV_NOMEM;
		q->buf = more;
		q->cap = q->cap ? 2 * q->cap : 65536;
	}
	n = recv(q->fd, q->buf + q->len, q->cap - q->len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return CSV_OK;
	if (n <= 0)
		return CSV_NOTCONN;
	q->len += (size_t)n;
	return CSV_OK;
}

static enum csv_err next_message(struct csv_qmp *q, double deadline, json_t **msg)
{
	enum csv_err err;
	bool bad;

	for (;;) {
		*msg = take_line(q, &bad);
		if (bad) {
			json_decref(*msg);
			return CSV_PROTO;
		}
		if (*msg)
			return CSV_OK;
		err = fill(q, deadline);
		if (err)
			return err;
	}
}

static enum csv_err send_all(struct csv_qmp *q, const char *text, size_t len)
{
	while (len) {
		ssize_t n = send(q->fd, text, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return CSV_NOTCONN;
		text += n;
		len -= (size_t)n;
	}
	return CSV_OK;
}

static enum csv_err send_command(struct csv_qmp *q, const char *command, json_t *args)
{
	json_t *msg = json_object();
	enum csv_err err;
	char *text;

	json_object_set_new(msg, "execute", json_string(command));
	if (args)
		json_object_set_new(msg, "arguments", args);
	text = json_dumps(msg, JSON_COMPACT);
	json_decref(msg);
	if (!text)
		return CSV_NOMEM;
	err = send_all(q, text, strlen(text));
	free(text);
	return err ? err : send_all(q, "\n", 1);
}

static enum csv_err refused(const char *command, const json_t *error, struct csv_why *why)
{
	const char *desc = json_string_value(json_object_get(error, "desc"));

	return csv_fail(why, CSV_IO, "", "QEMU refuses %s: %s", command, desc ? desc : "no reason");
}

enum csv_err csv_qmp_run(struct csv_qmp *q, const char *command, json_t *args, int timeout_ms, json_t **result,
			 struct csv_why *why)
{
	double deadline = csv_qmp_now() + timeout_ms;
	enum csv_err err = send_command(q, command, args);
	json_t *msg, *part;

	while (!err) {
		err = next_message(q, deadline, &msg);
		if (err)
			break;
		if (json_object_get(msg, "event")) {
			json_array_append_new(q->events, msg);
			continue;
		}
		part = json_object_get(msg, "error");
		if (part)
			err = refused(command, part, why);
		else if (result)
			*result = json_incref(json_object_get(msg, "return"));
		json_decref(msg);
		return err;
	}
	return csv_fail(why, err, "", "QEMU did not answer %s: %s", command, csv_qmp_text(err));
}

enum csv_err csv_qmp_event(struct csv_qmp *q, const char *name, int timeout_ms, json_t **event)
{
	double deadline = csv_qmp_now() + timeout_ms;
	enum csv_err err = CSV_OK;
	const char *got;
	json_t *msg;

	for (;;) {
		if (json_array_size(q->events)) {
			msg = json_incref(json_array_get(q->events, 0));
			json_array_remove(q->events, 0);
		} else {
			err = next_message(q, deadline, &msg);
			if (err)
				return err;
		}
		got = json_string_value(json_object_get(msg, "event"));
		if (got && (!name || !strcmp(got, name))) {
			*event = msg;
			return CSV_OK;
		}
		json_decref(msg);
	}
}

enum csv_err csv_qmp_open(const char *path, int timeout_ms, struct csv_qmp **out, struct csv_why *why)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct csv_qmp *q = calloc(1, sizeof(*q));
	enum csv_err err;
	json_t *hello;

	if (!q)
		return CSV_NOMEM;
	q->events = json_array();
	q->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (q->fd < 0 || snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path) >= (int)sizeof(sa.sun_path) ||
	    connect(q->fd, (struct sockaddr *)&sa, sizeof(sa))) {
		err = csv_fail(why, CSV_NOENT, "is the VM running on this node?", "no monitor of QEMU at %s", path);
		goto fail;
	}
	err = next_message(q, csv_qmp_now() + timeout_ms, &hello);
	if (err) {
		csv_fail(why, err, "its monitor serves one client at a time", "QEMU does not greet at %s", path);
		goto fail;
	}
	json_decref(hello);
	err = csv_qmp_run(q, "qmp_capabilities", NULL, timeout_ms, NULL, why);
	if (err)
		goto fail;
	*out = q;
	return CSV_OK;

fail:
	csv_qmp_close(q);
	return err;
}

void csv_qmp_close(struct csv_qmp *q)
{
	if (q->fd >= 0)
		close(q->fd);
	json_decref(q->events);
	free(q->buf);
	free(q);
}
