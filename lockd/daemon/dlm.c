/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lockspaces of this node's volumes: for each a process csv-dlm-space (dlm_wire.h says why) and a table of locks
 * (dlm_table.h).  What the table says while an order of the machine is carried out is fed to it by the loop, not at
 * once.
 *
 * A lockspace is joined when the volume's first csvfs comes, and left when this node has neither a mount nor a slot
 * that is still to be recovered.  One that a predecessor of ours has left in the kernel is treated alike.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/program.h"
#include "lockd/daemon/dlm.h"
#include "lockd/engine/dlm_table.h"

#define AGAIN_MS 100u /* before another process, the first time; doubled up to 64 times */
#define KERNEL_SPACES "/sys/kernel/dlm"
#define PREFIX "csv"
#define NAME_LEN (sizeof(PREFIX) - 1 + 32)

struct request {
	struct csv_list link;
	struct csv_dlm_req req;
};

struct saying {
	struct csv_list link;
	struct csv_dlm_saying s;
};

struct space {
	struct csv_list link;
	struct csv_daemon *d;
	uint8_t uuid[16];
	struct csv_dlm_table *table;
	pid_t pid; /* 0: no process */
	int fd;
	bool unused;  /* all locks are to go, and then it is left */
	bool leaving; /* LEAVE is sent: what is queued is for the next process */
	bool left;    /* LEFT came */
	unsigned fails;
	bool waiting; /* for a time, before the next process */
	qb_loop_timer_handle timer;
	struct csv_list out; /* request */
};

static struct csv_list spaces = CSV_LIST_INIT(spaces);
static struct csv_list sayings = CSV_LIST_INIT(sayings);
static bool feeding; /* who runs feeds them to the machine before it returns to the loop */

static void name_of(const struct space *s, char name[NAME_LEN + 1])
{
	int at = snprintf(name, NAME_LEN + 1, PREFIX);

	for (unsigned i = 0; i < sizeof(s->uuid); i++)
		at += snprintf(name + at, 3, "%02x", s->uuid[i]);
}

/* ---- to the machine ---- */

static void tell_machine(void *arg)
{
	struct csv_daemon *d = arg;

	while (!csv_list_empty(&sayings)) {
		struct saying *s = csv_list_entry(sayings.next, struct saying, link);
		struct csv_event ev = { .type = CSV_EV_DLM, .dlm = &s->s };

		csv_list_del(&s->link);
		csv_driver_step(d, &ev);
		free(s);
	}
}

static void on_say(void *arg, const struct csv_dlm_saying *what)
{
	struct space *space = arg;
	struct saying *s = malloc(sizeof(*s));

	CSV_ASSERT(s);
	s->s = *what;
	memcpy(s->s.uuid, space->uuid, sizeof(s->s.uuid));
	if (csv_list_empty(&sayings) && !feeding)
		csv_driver_soon(space->d, tell_machine);
	csv_list_push_back(&sayings, &s->link);
}

/* ---- to the process ---- */

/* Results that are taken before the loop turns again. */
#define TAKE_MAX 64

static int32_t on_space(int32_t fd, int32_t revents, void *arg);
static void watch(struct space *s);

static void flush_out(struct space *s)
{
	while (s->pid && !s->leaving && !csv_list_empty(&s->out)) {
		struct request *r = csv_list_entry(s->out.next, struct request, link);

		if (send(s->fd, &r->req, sizeof(r->req), MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)sizeof(r->req))
			return; /* full, or it has ended, which is seen elsewhere */
		csv_list_del(&r->link);
		free(r);
	}
}

static void on_send(void *arg, const struct csv_dlm_req *req)
{
	struct space *s = arg;
	struct request *r = malloc(sizeof(*r));

	CSV_ASSERT(r);
	r->req = *req;
	csv_list_push_back(&s->out, &r->link);
	flush_out(s);
	watch(s);
}

/* Another process may find it in a better state. It is not killed: docs/DLM.md says what that may do to the host. */
static void on_broken(void *arg, const char *what, unsigned status)
{
	struct space *s = arg;

	csv_error("DLM: %s: %s; its process is started anew", what, strerror((int)status));
	if (s->pid)
		shutdown(s->fd, SHUT_RDWR); /* it ends in order, and we see the end */
}

static void drop_out(struct space *s)
{
	while (!csv_list_empty(&s->out)) {
		struct request *r = csv_list_entry(s->out.next, struct request, link);

		csv_list_del(&r->link);
		free(r);
	}
}

static void watch(struct space *s)
{
	bool out = !csv_list_empty(&s->out) && !s->leaving;

	if (s->pid)
		qb_loop_poll_mod(s->d->loop, QB_LOOP_MED, s->fd, POLLIN | (out ? POLLOUT : 0), s, on_space);
}

static _Noreturn void child(int fd, const char *name, unsigned detect_ms)
{
	char path[PATH_MAX];
	char detect[16];
	int fd3 = dup(fd); /* so that dup2() below never finds it in place, with its close-on-exec */

	setsid(); /* what ends csvlockd ends it by its socket, in order */
	signal(SIGPIPE, SIG_DFL);
	if (fd3 != CSV_DLM_FD && dup2(fd3, CSV_DLM_FD) < 0)
		_exit(127);
	close_range(CSV_DLM_FD + 1, ~0u, 0); /* corosync is to see csvlockd's end, not ours */
	csv_find_program("csv-dlm-space", path);
	snprintf(detect, sizeof(detect), "%u", detect_ms);
	execlp(path, path, name, detect, (char *)NULL);
	_exit(127);
}

static bool spawn(struct space *s)
{
	char name[NAME_LEN + 1];
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv))
		return false;
	name_of(s, name);
	s->pid = fork();
	if (!s->pid)
		child(sv[1], name, s->d->conf.detect_ms);
	close(sv[1]);
	if (s->pid < 0) {
		s->pid = 0;
		close(sv[0]);
		return false;
	}
	s->fd = sv[0];
	s->left = s->leaving = false;
	qb_loop_poll_add(s->d->loop, QB_LOOP_MED, s->fd, POLLIN, s, on_space);
	flush_out(s);
	watch(s);
	return true;
}

/* ---- its life ---- */

static struct space *find(const uint8_t *uuid)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &spaces) {
		struct space *s = csv_list_entry(pos, struct space, link);

		if (!memcmp(s->uuid, uuid, sizeof(s->uuid)))
			return s;
	}
	return NULL;
}

static struct space *make(struct csv_daemon *d, const uint8_t *uuid)
{
	struct space *s = calloc(1, sizeof(*s));
	struct csv_dlm_host host = { on_send, on_say, on_broken, s };

	CSV_ASSERT(s);
	s->d = d;
	memcpy(s->uuid, uuid, sizeof(s->uuid));
	s->fd = -1;
	csv_list_init(&s->out);
	s->table = csv_dlm_table_new(&host);
	csv_list_push_back(&spaces, &s->link);
	return s;
}

static void destroy(struct space *s)
{
	if (s->waiting)
		qb_loop_timer_del(s->d->loop, s->timer);
	if (s->pid) {
		qb_loop_poll_del(s->d->loop, s->fd);
		close(s->fd); /* it ends */
	}
	drop_out(s);
	csv_dlm_table_free(s->table);
	csv_list_del(&s->link);
	free(s);
}

static void again_later(struct space *s);

static void on_again(void *arg)
{
	struct space *s = arg;

	s->waiting = false;
	drop_out(s);
	if (spawn(s))
		csv_dlm_table_again(s->table);
	else
		again_later(s);
}

/* Its process has ended by itself, and what it held are orphans now; or it could not be started. */
static void again_later(struct space *s)
{
	uint64_t ms = AGAIN_MS << (s->fails < 6 ? s->fails : 6);

	if (s->fails++ < 3)
		csv_warn("DLM: a lockspace has no process; another one is started, and adopts its locks");
	s->waiting = !qb_loop_timer_add(s->d->loop, QB_LOOP_MED, ms * CSV_NS_PER_MS, s, on_again, &s->timer);
}

/* One that hangs in the kernel while it ends is not waited for: it is reaped with the next. */
static void reap(pid_t pid)
{
	static pid_t late[64];
	static unsigned n;

	if (n < 64)
		late[n++] = pid;
	for (unsigned i = 0; i < n;) {
		if (waitpid(late[i], NULL, WNOHANG))
			late[i] = late[--n];
		else
			i++;
	}
}

static void ended(struct space *s)
{
	bool left = s->left, was_leaving = s->leaving;

	qb_loop_poll_del(s->d->loop, s->fd);
	close(s->fd);
	s->fd = -1;
	reap(s->pid);
	s->pid = 0;
	s->leaving = s->left = false;
	if (!left && was_leaving)
		csv_warn("DLM: a lockspace could not be left in order");
	if (!left && !was_leaving)
		again_later(s);
	else if (csv_list_empty(&s->out))
		destroy(s);
	else if (!spawn(s)) /* used again meanwhile */
		again_later(s);
}

static void take(struct space *s, struct csv_dlm_res *r)
{
	switch (r->event) {
	case CSV_DLM_JOINED:
		s->fails = 0;
		csv_info("DLM: lockspace of a volume joined");
		break;
	case CSV_DLM_DONE:
	case CSV_DLM_BAST:
		csv_dlm_table_event(s->table, r);
		break;
	case CSV_DLM_LEFT:
		s->left = true;
		break;
	case CSV_DLM_FAILED:
		r->text[sizeof(r->text) - 1] = 0;
		csv_error("DLM: %s: %s", r->text, strerror((int)r->status));
		break;
	default:
		break;
	}
}

/* Results that are there, at most TAKE_MAX. False: the process has ended. */
static bool take_results(struct space *s)
{
	struct csv_dlm_res r[TAKE_MAX];
	ssize_t n = 1;
	int got = 0, err;

	while (got < TAKE_MAX) {
		n = recv(s->fd, &r[got], sizeof(r[got]), MSG_DONTWAIT);
		if (n != (ssize_t)sizeof(r[got]))
			break;
		got++;
	}
	err = errno;
	/*
	 * dlm_controld lets the DLM go on without the fence agent if the missing node has booted and joined again.
	 * That it was gone corosync has told us by then: we must know it, and be frozen, before the DLM's grants count.
	 * So what corosync has is looked for when they have been read, not before.
	 */
	csv_group_catch_up(s->d);
	for (int i = 0; i < got; i++)
		take(s, &r[i]);
	return n < 0 ? err == EAGAIN || err == EINTR : n == (ssize_t)sizeof(r[0]);
}

static int32_t on_space(int32_t fd, int32_t revents, void *arg)
{
	struct space *s = arg;
	struct csv_daemon *d = s->d;

	feeding = true;
	if (take_results(s)) {
		flush_out(s);
		watch(s);
		if (s->unused && d->machine)
			csv_dlm_look(d);
	} else {
		ended(s);
	}
	tell_machine(d);
	feeding = false;
	return 0;
}

static void leave(struct space *s)
{
	struct csv_dlm_req req = { .op = CSV_DLM_LEAVE };
	struct csv_dlm_order drop = { .verb = CSV_DLM_DO_DROP };

	if (s->waiting || (!s->pid && !spawn(s)))
		return;
	if (!s->unused)
		csv_dlm_table_order(s->table, &drop);
	s->unused = true;
	if (csv_dlm_table_count(s->table) || !csv_list_empty(&s->out))
		return; /* when they have come down */
	if (send(s->fd, &req, sizeof(req), MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof(req))
		s->leaving = true;
}

/* ---- for the daemon ---- */

void csv_dlm_order(struct csv_daemon *d, const struct csv_dlm_order *o)
{
	struct space *s = find(o->uuid);

	if (o->verb == CSV_DLM_DO_DROP && (!s || s->leaving))
		return; /* it has nothing, or gives up all it has */
	if (!s)
		s = make(d, o->uuid);
	if (o->verb != CSV_DLM_DO_DROP)
		s->unused = false;
	csv_dlm_table_order(s->table, o);
	if (!s->pid && !s->waiting && !spawn(s))
		again_later(s);
}

void csv_dlm_look(struct csv_daemon *d)
{
	struct csv_list *pos, *tmp;

	csv_list_for_each_safe(pos, tmp, &spaces) {
		struct space *s = csv_list_entry(pos, struct space, link);

		if (!s->leaving && csv_machine_dlm_unused(d->machine, s->uuid))
			leave(s);
	}
}

bool csv_dlm_in_use(const struct csv_daemon *d)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &spaces) {
		if (!csv_list_entry(pos, struct space, link)->leaving)
			return true;
	}
	return false;
}

static bool parse(const char *name, uint8_t uuid[16])
{
	if (strlen(name) != NAME_LEN || strncmp(name, PREFIX, sizeof(PREFIX) - 1) ||
	    strspn(name + sizeof(PREFIX) - 1, "0123456789abcdef") != 32)
		return false;
	for (unsigned i = 0; i < 16; i++) {
		char two[3] = { name[sizeof(PREFIX) - 1 + 2 * i], name[sizeof(PREFIX) + 2 * i], 0 };

		uuid[i] = (uint8_t)strtoul(two, NULL, 16);
	}
	return true;
}

void csv_dlm_found(struct csv_daemon *d)
{
	DIR *dir = opendir(KERNEL_SPACES);
	struct dirent *e;
	uint8_t uuid[16];

	while (dir && (e = readdir(dir))) {
		if (parse(e->d_name, uuid) && !find(uuid))
			make(d, uuid);
	}
	if (dir)
		closedir(dir);
}

void csv_dlm_free(struct csv_daemon *d)
{
	while (!csv_list_empty(&spaces))
		destroy(csv_list_entry(spaces.next, struct space, link));
	while (!csv_list_empty(&sayings)) {
		struct saying *s = csv_list_entry(sayings.next, struct saying, link);

		csv_list_del(&s->link);
		free(s);
	}
}
