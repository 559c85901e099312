/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Incoming VMs: started by vm-launch for a handoff, and waiting for a guest.  Whose handoff is kept will get none,
 * would wait for ever and keep the VM from ever coming to this node: it is ended.  One whose guest has come is its
 * owner's.
 *
 * They outlive csvlockd, so each is noted in a file RUN_DIR/incoming/ID, "PID START", by the hook as soon as the
 * process is there and by us when the hook has answered.  A process is only ever touched by a pidfd, taken while its
 * start time was the noted one: a number that was used again is somebody else's.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lockd/daemon/daemon.h"
#include "lockd/daemon/handoff.h"

#define TERM_MS 5000u /* from SIGTERM to SIGKILL */

struct incoming {
	struct csv_list link;
	struct csv_daemon *d;
	uint8_t id[CSV_HO_ID];
	pid_t pid;
	int fd; /* readable: it has ended */
	bool ending;
	qb_loop_timer_handle timer;
	struct csv_ho_msg *armed; /* to be launched anew when this one has ended; or NULL */
};

static struct csv_list incomings = CSV_LIST_INIT(incomings);

/* ---- files ---- */

void csv_incoming_path(const struct csv_daemon *d, const uint8_t id[CSV_HO_ID], char *path, size_t size)
{
	char hex[2 * CSV_HO_ID + 1];

	for (unsigned i = 0; i < CSV_HO_ID; i++)
		snprintf(hex + 2 * i, 3, "%02x", id[i]);
	snprintf(path, size, "%s/incoming/%s", d->conf.run_dir, hex);
}

static bool start_of(pid_t pid, unsigned long long *start)
{
	char path[64], line[1024];
	const char *at;
	FILE *f;
	bool ok;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	/* The name in parentheses may have any character: what counts begins behind the last one. */
	ok = fgets(line, sizeof(line), f) && (at = strrchr(line, ')')) &&
	     sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
		    start) == 1;
	fclose(f);
	return ok;
}

static bool read_file(const char *path, pid_t *pid, unsigned long long *start)
{
	FILE *f = fopen(path, "re");
	bool ok;

	if (!f)
		return false;
	ok = fscanf(f, "%d %llu", pid, start) == 2 && *pid > 0;
	fclose(f);
	return ok;
}

static void write_file(const char *path, pid_t pid, unsigned long long start)
{
	FILE *f = fopen(path, "we");

	if (!f || fprintf(f, "%d %llu\n", pid, start) < 0)
		csv_warn("%s cannot be written: %s", path, strerror(errno));
	if (f)
		fclose(f);
}

/* ---- one of them ---- */

static struct incoming *find(const uint8_t *id)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &incomings) {
		struct incoming *in = csv_list_entry(pos, struct incoming, link);

		if (!memcmp(in->id, id, CSV_HO_ID))
			return in;
	}
	return NULL;
}

static void forget(struct incoming *in)
{
	qb_loop_poll_del(in->d->loop, in->fd);
	if (in->ending)
		qb_loop_timer_del(in->d->loop, in->timer);
	close(in->fd);
	csv_list_del(&in->link);
	free(in->armed);
	free(in);
}

static void forget_and_unlink(struct incoming *in)
{
	char path[256];

	csv_incoming_path(in->d, in->id, path, sizeof(path));
	unlink(path);
	forget(in);
}

static int32_t on_end(int32_t fd, int32_t revents, void *arg)
{
	struct incoming *in = arg;
	struct csv_daemon *d = in->d;
	struct csv_ho_msg *armed = in->armed;

	in->armed = NULL;
	forget_and_unlink(in);
	if (armed && d->machine)
		csv_launch_start(d, armed);
	else
		free(armed);
	return 0;
}

static void on_late(void *arg)
{
	struct incoming *in = arg;

	in->ending = false;
	syscall(SYS_pidfd_send_signal, in->fd, SIGKILL, NULL, 0);
}

static void end(struct incoming *in)
{
	if (in->ending)
		return;
	csv_info("the incoming VM, process %d, will get no guest: it is ended", in->pid);
	syscall(SYS_pidfd_send_signal, in->fd, SIGTERM, NULL, 0);
	in->ending = !qb_loop_timer_add(in->d->loop, QB_LOOP_MED, TERM_MS * CSV_NS_PER_MS, in, on_late, &in->timer);
}

/* want NULL: whoever has this number now. False: there is no such process. */
static bool watch(struct csv_daemon *d, const uint8_t *id, pid_t pid, const unsigned long long *want)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	unsigned long long start;
	struct incoming *in;
	char path[256];

	if (fd < 0)
		return false;
	/* In this order: that the start is right shows that the descriptor is. */
	if (!start_of(pid, &start) || (want && start != *want)) {
		close(fd);
		return false;
	}
	in = calloc(1, sizeof(*in));
	CSV_ASSERT(in);
	in->d = d;
	in->pid = pid;
	in->fd = fd;
	memcpy(in->id, id, CSV_HO_ID);
	csv_list_push_back(&incomings, &in->link);
	qb_loop_poll_add(d->loop, QB_LOOP_MED, fd, POLLIN, in, on_end);
	csv_incoming_path(d, id, path, sizeof(path));
	write_file(path, pid, start);
	return true;
}

static void load(struct csv_daemon *d, const uint8_t *id)
{
	unsigned long long start;
	char path[256];
	pid_t pid;

	csv_incoming_path(d, id, path, sizeof(path));
	if (find(id))
		return;
	if (!read_file(path, &pid, &start) || !watch(d, id, pid, &start))
		unlink(path);
}

/* ---- for launch.c ---- */

void csv_incoming_note(struct csv_daemon *d, const uint8_t id[CSV_HO_ID], pid_t pid)
{
	if (pid > 0 && !find(id))
		watch(d, id, pid, NULL);
	load(d, id);
}

bool csv_incoming_renew(struct csv_daemon *d, struct csv_ho_msg *armed)
{
	struct incoming *in;

	load(d, armed->id);
	in = find(armed->id);
	if (!in)
		return false;
	free(in->armed);
	in->armed = armed;
	end(in);
	return true;
}

void csv_incoming_poll(struct csv_daemon *d)
{
	struct csv_list *pos, *tmp;

	csv_list_for_each_safe(pos, tmp, &incomings) {
		struct incoming *in = csv_list_entry(pos, struct incoming, link);
		const struct csv_handoff *h = csv_ho_find(csv_machine_handoffs(d->machine), in->id);

		/* Not known: not yet, or all csvlockds have forgotten it. Then nobody can say that it has no guest. */
		if (!h || h->state != CSV_HO_DONE)
			continue;
		if (h->outcome == CSV_HO_KEPT)
			end(in);
		else
			forget_and_unlink(in);
	}
}

/* ---- life ---- */

static bool id_of(const char *name, uint8_t id[CSV_HO_ID])
{
	if (strlen(name) != 2 * CSV_HO_ID || strspn(name, "0123456789abcdef") != 2 * CSV_HO_ID)
		return false;
	for (unsigned i = 0; i < CSV_HO_ID; i++) {
		const char byte[3] = { name[2 * i], name[2 * i + 1], 0 };

		id[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
	return true;
}

void csv_incoming_open(struct csv_daemon *d)
{
	uint8_t id[CSV_HO_ID];
	struct dirent *e;
	char path[256];
	DIR *dir;

	snprintf(path, sizeof(path), "%s/incoming", d->conf.run_dir);
	if (mkdir(path, 0700) && errno != EEXIST)
		csv_warn("%s: %s", path, strerror(errno));
	dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		if (id_of(e->d_name, id))
			load(d, id);
	}
	if (dir)
		closedir(dir);
}

void csv_incoming_close(struct csv_daemon *d)
{
	while (!csv_list_empty(&incomings))
		forget(csv_list_entry(incomings.next, struct incoming, link));
}
