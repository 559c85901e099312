/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The session: log in, notice its loss, pump its events.
 *
 * libiscsi's automatic reconnect is off: it would resend everything at once, before
 * anybody has looked whether this host is fenced.  Its time-outs are not used either:
 * they do not run while it is disconnected, and a command that has timed out may
 * still be executed by the target later.  The only way to be rid of a command is its
 * answer or the end of its session.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/env.h"
#include "lib/iscsi_impl.h"

uint64_t csv_iscsi_now(void)
{
	return csv_env_system()->mono_ns(NULL) / 1000000;
}

void csv_iscsi_note_lost(struct iscsi_dev *d, const char *reason)
{
	if (d->lost)
		return;
	d->lost = true;
	snprintf(d->reason, sizeof(d->reason), "%s", reason);
}

/* Takes over what other threads have submitted. */
static void take_incoming(struct iscsi_dev *d)
{
	uint64_t n;

	while (read(d->wake, &n, sizeof(n)) < 0 && errno == EINTR)
		;
	pthread_mutex_lock(&d->lock);
	while (!csv_list_empty(&d->incoming)) {
		struct csv_list *l = d->incoming.next;

		csv_list_del(l);
		csv_list_push_back(&d->queue, l);
	}
	pthread_mutex_unlock(&d->lock);
}

static void nop_cb(struct iscsi_context *ctx, int status, void *data, void *arg)
{
	struct iscsi_dev *d = arg;

	d->nop_out = false;
	if (status == SCSI_STATUS_GOOD)
		d->heard_ms = csv_iscsi_now();
}

/*
 * The clock of a session: a target that has said nothing for silence_ms although it
 * was asked, or that keeps a command for three times that, has lost the session.
 */
static void check_clock(struct iscsi_dev *d)
{
	uint64_t now = csv_iscsi_now();
	struct iscsi_cmd *oldest = NULL;
	uint64_t age;

	if (!d->up || d->lost)
		return;
	if (now - d->heard_ms > d->silence_ms) {
		csv_iscsi_note_lost(d, "the target does not answer");
		return;
	}
	if (!d->nop_out && now - d->heard_ms > d->silence_ms / 3 && now - d->nop_ms > d->silence_ms / 3) {
		d->nop_ms = now;
		d->nop_out = iscsi_nop_out_async(d->ctx, nop_cb, NULL, 0, d) == 0;
	}
	if (csv_list_empty(&d->inflight))
		return;
	oldest = csv_list_entry(d->inflight.next, struct iscsi_cmd, link);
	age = now - oldest->sent_ms;
	/* A reset by another host ends commands without an answer to us. */
	if (age > 3ull * d->silence_ms ||
	    (d->cleared_ms && oldest->sent_ms <= d->cleared_ms && now - d->cleared_ms > d->silence_ms / 3))
		csv_iscsi_note_lost(d, "the target does not answer a command");
}

static int poll_events(struct iscsi_dev *d, struct pollfd *fds)
{
	fds[0] = (struct pollfd){ .fd = d->wake, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = -1 };
	if (!d->ctx || d->lost || iscsi_get_fd(d->ctx) < 0)
		return 1;
	fds[1].fd = iscsi_get_fd(d->ctx);
	fds[1].events = (short)iscsi_which_events(d->ctx);
	return 2;
}

/*
 * libiscsi tells a lost session in two ways: iscsi_service() fails, or, where it
 * would reconnect by itself, it only cancels what is under way.
 */
static void service(struct iscsi_dev *d, int revents)
{
	if (iscsi_service(d->ctx, revents) < 0 || iscsi_get_fd(d->ctx) < 0)
		csv_iscsi_note_lost(d, "connection to the target lost");
}

void csv_iscsi_pump(struct iscsi_dev *d, unsigned ms)
{
	struct pollfd fds[2];
	int n;

	take_incoming(d);
	csv_iscsi_issue(d);
	n = poll_events(d, fds);
	/* Delayed commands and the clock want a look now and then. */
	if (ms > 100 && (!csv_list_empty(&d->retry) || !csv_list_empty(&d->inflight)))
		ms = 100;
	if (poll(fds, (nfds_t)n, (int)ms) > 0) {
		if (fds[0].revents)
			take_incoming(d);
		if (n > 1 && fds[1].revents)
			service(d, fds[1].revents);
	}
	check_clock(d);
	csv_iscsi_issue(d);
}

void csv_iscsi_drop(struct iscsi_dev *d)
{
	struct csv_list *l;

	if (!d->ctx)
		return;
	if (d->up) {
		csv_list_for_each(l, &d->inflight)
			if (csv_list_entry(l, struct iscsi_cmd, link)->op != CSV_IO_READ)
				d->unknown_writes = true;
		csv_bdev_generation_bump(&d->dev);
		d->lost_ms = csv_iscsi_now();
	}
	d->gate = false;
	d->lost = true; /* call-backs of cancelled commands must not start anything */
	iscsi_destroy_context(d->ctx);
	d->ctx = NULL;
	d->up = false;
	d->lost = false;
	d->nop_out = false;
	d->cleared_ms = 0;
}

static void login_cb(struct iscsi_context *ctx, int status, void *data, void *arg)
{
	struct iscsi_dev *d = arg;

	d->login_done = true;
	d->login_status = status;
	snprintf(d->login_error, sizeof(d->login_error), "%s", iscsi_get_error(ctx));
}

static struct iscsi_context *new_context(struct iscsi_dev *d)
{
	struct iscsi_context *ctx = iscsi_create_context(d->initiator);

	if (!ctx)
		return NULL;
	iscsi_set_noautoreconnect(ctx, 1);
	iscsi_set_session_type(ctx, ISCSI_SESSION_NORMAL);
	iscsi_set_targetname(ctx, d->name.target);
	iscsi_set_isid_random(ctx, d->isid >> 8, d->isid & 0xff);
	if (d->name.chap[0])
		iscsi_set_initiator_username_pwd(ctx, d->name.chap, d->secret);
	return ctx;
}

/* Waits for login_cb(); false: time is up or libiscsi gave up. */
static bool wait_login(struct iscsi_dev *d, uint64_t deadline)
{
	d->login_done = false;
	while (!d->login_done) {
		uint64_t now = csv_iscsi_now();

		if (d->lost || now >= deadline)
			return false;
		csv_iscsi_pump(d, deadline - now > 200 ? 200 : (unsigned)(deadline - now));
	}
	return true;
}

/* The part of libiscsi's text that says something: after its own framing, without the newline. */
static const char *reason_of(struct iscsi_dev *d)
{
	char *p = strstr(d->login_error, "socket error ");

	d->login_error[strcspn(d->login_error, "\n")] = 0;
	p = p ? p + strlen("socket error ") : d->login_error;
	p[strcspn(p, "(")] = 0;
	return p[0] ? p : "no answer";
}

static enum csv_err unreachable(struct iscsi_dev *d, const char *portal, const char *reason, struct csv_why *why)
{
	return csv_fail(why, CSV_UNREACH, "check that the target runs and that the network to it is up",
			"cannot reach the iSCSI target %.64s at %.60s: %.60s", d->name.target, portal, reason);
}

/* Login status class and detail, RFC 7143 11.13.5, which libiscsi gives as the last number of its text. */
static enum csv_err refused(struct iscsi_dev *d, const char *portal, struct csv_why *why)
{
	const char *open = strrchr(d->login_error, '(');
	int status = open ? atoi(open + 1) : 0;

	switch (status) {
	case 0x0201:
	case 0x0202:
		return csv_fail(why, CSV_ACCESS, "check initiator name and CHAP secret against the target's list",
				"the iSCSI target %.64s at %.60s refuses %.60s", d->name.target, portal, d->initiator);
	case 0x0203:
		return csv_fail(why, CSV_NOENT, "check the IQN", "there is no iSCSI target %.100s at %.60s",
				d->name.target, portal);
	default:
		return unreachable(d, portal, reason_of(d), why);
	}
}

/* One connection and login; REDIRECT leaves the new address in `to`. */
static enum csv_err attempt(struct iscsi_dev *d, const char *portal, uint64_t deadline, char *to, size_t size,
			    struct csv_why *why)
{
	d->login_error[0] = 0;
	d->ctx = new_context(d);
	if (!d->ctx)
		return csv_fail(why, CSV_NOMEM, NULL, "out of memory");
	if (iscsi_connect_async(d->ctx, portal, login_cb, d)) {
		snprintf(d->login_error, sizeof(d->login_error), "%s", iscsi_get_error(d->ctx));
		return unreachable(d, portal, reason_of(d), why);
	}
	if (!wait_login(d, deadline) || d->login_status != SCSI_STATUS_GOOD)
		return unreachable(d, portal, reason_of(d), why);
	if (iscsi_login_async(d->ctx, login_cb, d) || !wait_login(d, deadline))
		return unreachable(d, portal, "it does not answer the login", why);
	if (d->login_status == SCSI_STATUS_REDIRECT)
		snprintf(to, size, "%s", iscsi_get_target_address(d->ctx));
	else if (d->login_status != SCSI_STATUS_GOOD)
		return refused(d, portal, why);
	return CSV_OK;
}

enum csv_err csv_iscsi_login(struct iscsi_dev *d, const char *portal, uint64_t deadline, struct csv_why *why)
{
	char from[256], to[256] = "";
	enum csv_err err;

	snprintf(from, sizeof(from), "%s", portal);
	for (int hops = 0; hops < 3; hops++) {
		d->lost = false;
		to[0] = 0;
		err = attempt(d, from, deadline, to, sizeof(to), why);
		if (err != CSV_OK || !to[0])
			break;
		csv_iscsi_drop(d);
		snprintf(from, sizeof(from), "%s", to);
	}
	if (err == CSV_OK && to[0])
		err = unreachable(d, portal, "it redirects in a circle", why);
	if (err == CSV_OK) {
		d->up = true;
		d->heard_ms = d->nop_ms = csv_iscsi_now();
		__atomic_fetch_add(&d->dev.stats.sessions, 1, __ATOMIC_RELAXED);
		err = csv_iscsi_test_ready(d);
		if (err != CSV_OK)
			csv_fail(why, err, "check the LUN's number and its state on the target",
				 "LUN %d of %.64s at %.60s is not ready: %s", d->name.lun, d->name.target, from,
				 csv_err_text(err));
	}
	if (err != CSV_OK)
		csv_iscsi_drop(d);
	return err;
}

void csv_iscsi_logout(struct iscsi_dev *d)
{
	uint64_t deadline = csv_iscsi_now() + 1000;

	if (d->up && !d->lost && iscsi_logout_async(d->ctx, login_cb, d) == 0)
		wait_login(d, deadline);
	csv_iscsi_drop(d);
}
