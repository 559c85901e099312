/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The socket: who connects, one record a packet, and answers that never block the loop. */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lockd/daemon/dlm.h"

/* A client that leaves this many records unread is not reading any more. */
#define OUT_MAX 20000u

struct outgoing {
	struct csv_list link;
	struct csv_msg msg;
};

struct csv_peer *csv_peer_find(struct csv_daemon *d, uint64_t id)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &d->peers) {
		struct csv_peer *p = csv_list_entry(pos, struct csv_peer, link);

		if (p->id == id)
			return p;
	}
	return NULL;
}

void csv_peer_close(struct csv_peer *p)
{
	struct csv_event ev = { .type = CSV_EV_CLIENT_GONE, .client = p->id };
	bool mount = p->role && p->role != CSV_ROLE_ADMIN;
	struct csv_daemon *d = p->daemon;

	qb_loop_poll_del(d->loop, p->fd);
	close(p->fd);
	csv_list_del(&p->link);
	csv_admin_gone(p);
	csv_listing_gone(p);
	csv_expel_gone(p);
	free(p->ho);
	if (p->role == CSV_ROLE_FS) {
		csv_registry_peer_gone(p);
		csv_driver_step(d, &ev);
	}
	while (!csv_list_empty(&p->out)) {
		struct outgoing *o = csv_list_entry(p->out.next, struct outgoing, link);

		csv_list_del(&o->link);
		free(o);
	}
	free(p);
	if (mount)
		csv_remount_look(d);
}

static int32_t on_peer(int32_t fd, int32_t revents, void *arg);

/* Asks the loop for what the peer waits for: input always, output while something is queued or the end is due. */
static void watch(struct csv_peer *p)
{
	bool out = !csv_list_empty(&p->out) || p->listing || p->closing;

	qb_loop_poll_mod(p->daemon->loop, QB_LOOP_MED, p->fd, POLLIN | (out ? POLLOUT : 0), p, on_peer);
}

/* False: the connection is broken. */
static bool flush_out(struct csv_peer *p)
{
	while (!csv_list_empty(&p->out)) {
		struct outgoing *o = csv_list_entry(p->out.next, struct outgoing, link);
		ssize_t n = send(p->fd, &o->msg, sizeof(o->msg), MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return true;
		if (n != (ssize_t)sizeof(o->msg))
			return false;
		csv_list_del(&o->link);
		p->out_count--;
		free(o);
	}
	return true;
}

void csv_peer_send(struct csv_peer *p, const struct csv_msg *msg)
{
	struct outgoing *o;

	if (p->closing)
		return;
	o = malloc(sizeof(*o));
	CSV_ASSERT(o);
	o->msg = *msg;
	csv_list_push_back(&p->out, &o->link);
	if (++p->out_count > OUT_MAX || !flush_out(p))
		p->closing = true;
	watch(p);
}

void csv_peer_error(struct csv_peer *p, uint64_t seq, enum csv_err err, const char *fmt, ...)
{
	struct csv_msg msg = { .type = CSV_MSG_ERROR, .err = err, .seq = seq, .last = 1 };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg.text, sizeof(msg.text), fmt, ap);
	va_end(ap);
	csv_peer_send(p, &msg);
}

static bool terminated(const char *s, size_t size)
{
	return memchr(s, 0, size) != NULL;
}

static bool hello_is_sound(const struct csv_msg_hello *h)
{
	return h->version == CSV_PROTO_VERSION && h->role >= CSV_ROLE_FS && h->role <= CSV_ROLE_OUT &&
	       h->engine < CSV_ENGINES && terminated(h->volume, sizeof(h->volume)) &&
	       terminated(h->cluster, sizeof(h->cluster)) && terminated(h->mount, sizeof(h->mount)) &&
	       terminated(h->lun, sizeof(h->lun));
}

static void welcome(struct csv_peer *p, uint64_t seq)
{
	const struct csv_machine_cfg *cfg = &p->daemon->conf.machine;
	struct csv_msg msg = { .type = CSV_MSG_WELCOME, .seq = seq };

	msg.welcome.version = CSV_PROTO_VERSION;
	msg.welcome.nodeid = cfg->nodeid;
	msg.welcome.detect_ms = p->daemon->conf.detect_ms;
	msg.welcome.quorate = p->daemon->machine && csv_machine_quorate(p->daemon->machine);
	for (unsigned i = 0; i < cfg->nnodes; i++) {
		if (cfg->node[i].nodeid == cfg->nodeid)
			memcpy(msg.welcome.node, cfg->node[i].name, sizeof(msg.welcome.node));
	}
	memcpy(msg.welcome.cluster, cfg->cluster, sizeof(msg.welcome.cluster));
	snprintf(msg.welcome.engine, sizeof(msg.welcome.engine), "%s", csv_dlm_in_use(p->daemon) ? "dlm" : "cpg");
	csv_peer_send(p, &msg);
}

void csv_server_hello(struct csv_peer *p, const struct csv_msg *msg)
{
	struct csv_event ev = { .type = CSV_EV_CLIENT, .client = p->id, .msg = msg };

	p->in_hello = false;
	if (msg->hello.role == CSV_ROLE_FS && !p->daemon->machine) {
		p->closing = true; /* corosync has gone meanwhile: it comes again */
		watch(p);
		return;
	}
	p->role = (enum csv_role)msg->hello.role;
	p->hello = msg->hello;
	welcome(p, msg->seq);
	if (p->role == CSV_ROLE_FS) {
		csv_driver_step(p->daemon, &ev);
		csv_registry_greet(p);
	}
}

/* First record of a connection. False: close it (after what is queued). */
static bool on_hello(struct csv_peer *p, const struct csv_msg *msg)
{
	const struct csv_msg_hello *h = &msg->hello;
	struct csv_daemon *d = p->daemon;

	if (p->in_hello)
		return false; /* nothing may be said before WELCOME */
	if (msg->type != CSV_MSG_HELLO || !hello_is_sound(h)) {
		csv_peer_error(p, msg->seq, CSV_PROTO, "csvlockd speaks protocol %u; install the same version of both",
			       CSV_PROTO_VERSION);
		return false;
	}
	if (!csv_access_may(p->access, (enum csv_role)h->role, CSV_MSG_HELLO)) {
		csv_peer_error(p, msg->seq, CSV_PERM, "this is for root%s",
			       d->conf.has_group ? "; members of the group of csvfs.conf may look" : "");
		return false;
	}
	if (h->role == CSV_ROLE_FS && !d->machine) {
		csv_peer_error(p, msg->seq, CSV_NOCLUSTER, "csvlockd has no cluster: corosync does not run here");
		return false;
	}
	if (h->role == CSV_ROLE_FS && strcmp(h->cluster, d->conf.machine.cluster)) {
		csv_peer_error(p, msg->seq, CSV_OTHERCLUSTER, "the volume belongs to cluster %s, this node to %s",
			       *h->cluster ? h->cluster : "(none)", d->conf.machine.cluster);
		return false;
	}
	if (h->role == CSV_ROLE_FS && h->engine != CSV_ENGINE_CPG && !h->again) {
		p->in_hello = true;
		csv_dlm_fit(p, msg);
	} else {
		csv_server_hello(p, msg);
	}
	return true;
}

static bool on_record(struct csv_peer *p, const struct csv_msg *msg)
{
	struct csv_event ev = { .type = CSV_EV_CLIENT, .client = p->id, .msg = msg };

	if (!p->role)
		return on_hello(p, msg);
	if (!csv_access_may(p->access, p->role, msg->type)) {
		csv_peer_error(p, msg->seq, CSV_PERM, "%s is for root", csv_msg_name(msg->type));
		return true;
	}
	if (p->role == CSV_ROLE_ADMIN)
		csv_admin_request(p, msg);
	else if (p->role == CSV_ROLE_OUT)
		csv_admin_answer(p, msg); /* nothing else of it counts */
	else if (!csv_admin_answer(p, msg) && !csv_registry_record(p, msg))
		csv_driver_step(p->daemon, &ev);
	return true;
}

/* Returns 0 to stay in the loop. A peer may be closed here and nowhere else while its record is handled. */
static int32_t on_peer(int32_t fd, int32_t revents, void *arg)
{
	struct csv_peer *p = arg;
	struct csv_msg msg;
	ssize_t n;

	for (int i = 0; i < 64 && !p->closing; i++) {
		n = recv(fd, &msg, sizeof(msg), MSG_DONTWAIT | MSG_TRUNC);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n != (ssize_t)sizeof(msg) || !on_record(p, &msg))
			p->closing = true;
	}
	csv_listing_go_on(p);
	if (!flush_out(p) || (p->closing && (csv_list_empty(&p->out) || revents & (POLLHUP | POLLERR)))) {
		csv_peer_close(p);
		return 0;
	}
	watch(p);
	return 0;
}

static int32_t on_connect(int32_t fd, int32_t revents, void *arg)
{
	struct csv_daemon *d = arg;
	struct ucred cred = { 0 };
	struct csv_peer *p;
	int s = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (s < 0)
		return 0;
	p = calloc(1, sizeof(*p));
	CSV_ASSERT(p);
	p->daemon = d;
	p->fd = s;
	p->id = ++d->next_peer;
	p->access = csv_access_of(&d->conf, s, &cred);
	p->pid = (uint32_t)cred.pid;
	csv_list_init(&p->out);
	csv_list_init(&p->asked);
	csv_list_push_back(&d->peers, &p->link);
	qb_loop_poll_add(d->loop, QB_LOOP_MED, s, POLLIN, p, on_peer);
	return 0;
}

/* One that was killed a moment ago is still there for a moment. */
static bool served(const struct sockaddr_un *sa)
{
	for (unsigned ms = 0; ms < CSV_LOCKD_END_MS; ms += 20) {
		int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		bool refused = s < 0 || (connect(s, (const struct sockaddr *)sa, sizeof(*sa)) && errno != EAGAIN);

		if (s >= 0)
			close(s);
		if (refused)
			return false;
		poll(NULL, 0, 20);
	}
	return true;
}

enum csv_err csv_server_open(struct csv_daemon *d, struct csv_why *why)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	if (mkdir(d->conf.run_dir, 0755) && errno != EEXIST)
		return csv_fail(why, csv_err_from_errno(errno), "", "%s: %s", d->conf.run_dir, strerror(errno));
	if (snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/lockd.sock", d->conf.run_dir) >= (int)sizeof(sa.sun_path))
		return csv_fail(why, CSV_INVAL, "use a shorter run directory", "%s is too long", d->conf.run_dir);
	if (served(&sa))
		return csv_fail(why, CSV_BUSY, "one csvlockd serves a node", "csvlockd runs already (%s)", sa.sun_path);
	unlink(sa.sun_path);
	d->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->listen_fd < 0 || bind(d->listen_fd, (struct sockaddr *)&sa, sizeof(sa)) ||
	    csv_access_socket(&d->conf, sa.sun_path) || listen(d->listen_fd, 64))
		return csv_fail(why, csv_err_from_errno(errno), "", "%s: %s", sa.sun_path, strerror(errno));
	qb_loop_poll_add(d->loop, QB_LOOP_MED, d->listen_fd, POLLIN, d, on_connect);
	return CSV_OK;
}

void csv_server_close(struct csv_daemon *d)
{
	char path[200];

	while (!csv_list_empty(&d->peers))
		csv_peer_close(csv_list_entry(d->peers.next, struct csv_peer, link));
	if (d->listen_fd < 0)
		return;
	qb_loop_poll_del(d->loop, d->listen_fd);
	close(d->listen_fd);
	snprintf(path, sizeof(path), "%s/lockd.sock", d->conf.run_dir);
	unlink(path);
}
