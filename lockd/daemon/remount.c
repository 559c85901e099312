/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A csvfs that dies leaves a dead mount (ENOTCONN for everybody) and its file (lib/mountfile.h).  Its end is seen by a
 * pidfd; then, after 1, 2, 4 ... 60 s, a child takes the dead mount away and becomes csvfs with the same arguments,
 * until one of them works or the file is gone: csvadm umount gives the mount up.  A csvlockd that starts looks at all
 * files.
 *
 * The child, because nothing here may touch the mount or the LUN (L5).  The old slot is recovered as any other: the
 * connection's end has said that it is out.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/mountfile.h"
#include "lib/program.h"
#include "lockd/daemon/daemon.h"
#include "lockd/daemon/helper.h"

#define PAUSE_MIN_S 1u
#define PAUSE_MAX_S 60u
#define LIVED_S 60 /* a csvfs that lived so long has not died of its start */
#define FUSE_MAGIC 0x65735546
#define STACKED_MAX 16 /* dead mounts on one directory */
#define ANSWER_MAX 1024

struct remount {
	struct csv_list link;
	struct csv_daemon *d;
	struct csv_mountfile file;
	int pidfd; /* of the csvfs that serves it; -1: it is dead */
	time_t seen;
	struct csv_helper attempt;
	char answer[ANSWER_MAX];
	qb_loop_timer_handle timer;
	bool timing;
	unsigned pause_s;
	time_t since, next; /* since: 0 while it is served */
	char why[128];	    /* of the last attempt */
};

static struct csv_list remounts = CSV_LIST_INIT(remounts);

static void watch(struct remount *r);

/* ---- in the child ---- */

__attribute__((noreturn, format(printf, 2, 3))) static void give_up(int ready, const char *fmt, ...)
{
	va_list ap;

	dprintf(ready, "error busy\t");
	va_start(ap, fmt);
	vdprintf(ready, fmt, ap);
	va_end(ap);
	dprintf(ready, "\t\n");
	_exit(1);
}

static void take_away(const char *dir, int ready)
{
	struct statfs st;

	for (int i = 0; statfs(dir, &st); i++) {
		if (errno != ENOTCONN || i == STACKED_MAX)
			give_up(ready, "%s: %s", dir, strerror(errno));
		if (umount2(dir, MNT_DETACH | UMOUNT_NOFOLLOW))
			give_up(ready, "the dead mount on %s cannot be taken away: %s", dir, strerror(errno));
	}
	if (st.f_type == FUSE_MAGIC)
		give_up(ready, "another filesystem is mounted on %s", dir);
}

__attribute__((noreturn)) static void child(struct remount *r, int ready)
{
	struct csv_mountfile *f = &r->file;
	char path[PATH_MAX], fd[16], opt[] = "-o";
	char *argv[] = { path, f->lun, f->dir, *f->opts ? opt : NULL, f->opts, NULL };
	int null = open("/dev/null", O_RDWR);

	setpgid(0, 0);
	take_away(f->dir, ready);
	csv_find_program("csvfs", path);
	dup2(null, 0);
	dup2(null, 1);
	dup2(null, 2);
	fcntl(ready, F_SETFD, 0);
	snprintf(fd, sizeof(fd), "%d", ready);
	setenv("CSV_READY_FD", fd, 1);
	setenv("CSV_REMOUNT", "1", 1);
	setenv("CSV_RUN_DIR", r->d->conf.run_dir, 1);
	execvp(path, argv);
	give_up(ready, "%s: %s", path, strerror(errno));
}

/* ---- attempts ---- */

static void forget(struct remount *r)
{
	if (r->pidfd >= 0) {
		qb_loop_poll_del(r->d->loop, r->pidfd);
		close(r->pidfd);
	}
	csv_helper_forget(&r->attempt); /* it goes on by itself */
	if (r->timing)
		qb_loop_timer_del(r->d->loop, r->timer);
	csv_list_del(&r->link);
	free(r);
}

/* False: it is forgotten, for nobody wants it any more, or watched, for somebody serves it. */
static bool still_down(struct remount *r)
{
	const char *run_dir = r->d->conf.run_dir;
	struct csv_mountfile *now = malloc(sizeof(*now));
	enum csv_err err = now ? csv_mountfile_read(run_dir, r->file.dir, now) : CSV_OK;

	CSV_ASSERT(now);
	if (err) {
		if (r->since)
			csv_info("volume %s on %s is not to be mounted any more", r->file.volume, r->file.dir);
		forget(r);
	} else {
		r->file = *now;
	}
	free(now);
	if (err)
		return false;
	if (!csv_mountfile_served(&r->file))
		return true;
	watch(r);
	return false;
}

static void on_timer(void *arg);

static void later(struct remount *r)
{
	r->next = time(NULL) + r->pause_s;
	r->timing =
	    !qb_loop_timer_add(r->d->loop, QB_LOOP_MED, r->pause_s * 1000 * CSV_NS_PER_MS, r, on_timer, &r->timer);
	CSV_ASSERT(r->timing);
}

static void failed(struct remount *r, const char *why)
{
	snprintf(r->why, sizeof(r->why), "%s", why);
	r->pause_s = r->pause_s * 2 < PAUSE_MAX_S ? r->pause_s * 2 : PAUSE_MAX_S;
	csv_warn("volume %s cannot be mounted on %s again: %s; next attempt in %u s", r->file.volume, r->file.dir, why,
		 r->pause_s);
	later(r);
}

/* "ok SLOT INCARNATION VOLUME" or "error NAME<tab>why<tab>what to do", as csvfs tells it. */
static void ended(void *arg, int status)
{
	struct remount *r = arg;
	char *why, *end;

	r->answer[strcspn(r->answer, "\n")] = 0;
	if (!strncmp(r->answer, "ok ", 3)) {
		csv_info("volume %s is mounted on %s again", r->file.volume, r->file.dir);
		if (still_down(r))
			failed(r, "csvfs died at once");
		return;
	}
	why = strchr(r->answer, '\t');
	end = why ? strchr(why + 1, '\t') : NULL;
	if (end)
		*end = 0;
	if (still_down(r))
		failed(r, why ? why + 1 : "csvfs died while it was mounting");
}

static void start(struct remount *r)
{
	switch (csv_helper_fork(&r->attempt, 0)) {
	case 0:
		child(r, r->attempt.fd);
	case -1:
		failed(r, strerror(errno));
		break;
	default:
		csv_info("volume %s: csvfs is started again for %s", r->file.volume, r->file.dir);
		break;
	}
}

static void on_timer(void *arg)
{
	struct remount *r = arg;
	struct csv_daemon *d = r->d;

	r->timing = false;
	if (!still_down(r))
		return;
	if (d->machine && csv_machine_quorate(d->machine)) {
		start(r);
		return;
	}
	/* No attempt, and no reason to wait longer for the next one. */
	snprintf(r->why, sizeof(r->why), "%s", d->machine ? "the cluster has no quorum" : "corosync does not run");
	later(r);
}

/* ---- who lives ---- */

static void down(struct remount *r)
{
	time_t now = time(NULL);

	if (r->seen && now - r->seen >= LIVED_S)
		r->pause_s = PAUSE_MIN_S;
	if (!r->since)
		r->since = now;
	r->why[0] = 0;
	csv_error("csvfs (process %d) of volume %s on %s has died; it is mounted again in %u s", (int)r->file.pid,
		  r->file.volume, r->file.dir, r->pause_s);
	later(r);
}

static int32_t on_end(int32_t fd, int32_t revents, void *arg)
{
	struct remount *r = arg;

	qb_loop_poll_del(r->d->loop, r->pidfd);
	close(r->pidfd);
	r->pidfd = -1;
	if (still_down(r))
		down(r);
	return 0;
}

static void watch(struct remount *r)
{
	r->pidfd = (int)syscall(SYS_pidfd_open, r->file.pid, 0);
	/* Its number may be another's by now. */
	if (r->pidfd >= 0 && !csv_mountfile_served(&r->file)) {
		close(r->pidfd);
		r->pidfd = -1;
	}
	if (r->pidfd < 0) {
		down(r);
		return;
	}
	fcntl(r->pidfd, F_SETFD, FD_CLOEXEC);
	r->seen = time(NULL);
	r->since = 0;
	qb_loop_poll_add(r->d->loop, QB_LOOP_MED, r->pidfd, POLLIN, r, on_end);
}

static void look_at(void *arg, const struct csv_mountfile *f)
{
	struct csv_daemon *d = arg;
	struct csv_list *pos;
	struct remount *r;

	csv_list_for_each(pos, &remounts) {
		if (!strcmp(csv_list_entry(pos, struct remount, link)->file.dir, f->dir))
			return;
	}
	r = calloc(1, sizeof(*r));
	CSV_ASSERT(r);
	r->d = d;
	r->file = *f;
	r->pidfd = -1;
	r->attempt = (struct csv_helper){
		.loop = d->loop, .ended = ended, .arg = r, .text = r->answer, .size = sizeof(r->answer)
	};
	r->pause_s = PAUSE_MIN_S;
	csv_list_push_back(&remounts, &r->link);
	watch(r);
}

void csv_remount_look(struct csv_daemon *d)
{
	csv_mountfile_each(d->conf.run_dir, look_at, d);
}

/* ---- state ---- */

/* A csvfs that is mounting speaks for itself. */
static bool speaks(struct csv_daemon *d, const struct remount *r)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &d->peers) {
		const struct csv_peer *p = csv_list_entry(pos, struct csv_peer, link);

		if (p->role && p->role != CSV_ROLE_ADMIN && !p->closing && !strcmp(p->hello.mount, r->file.dir))
			return true;
	}
	return false;
}

static void send_state(struct csv_peer *p, uint64_t seq, const struct remount *r)
{
	struct csv_msg msg = { .type = CSV_MSG_STATUS_VOLUME, .seq = seq };
	struct csv_msg_volume *v = &msg.volume;
	long wait = (long)(r->next - time(NULL));

	memcpy(v->uuid, r->file.uuid, sizeof(v->uuid));
	snprintf(v->name, sizeof(v->name), "%s", r->file.volume);
	snprintf(v->mount, sizeof(v->mount), "%.*s", (int)sizeof(v->mount) - 1, r->file.dir);
	snprintf(v->lun, sizeof(v->lun), "%.*s", (int)sizeof(v->lun) - 1, r->file.lun);
	snprintf(v->state, sizeof(v->state), "down");
	if (r->attempt.pid)
		snprintf(v->reason, sizeof(v->reason), "csvfs has died and is being started again");
	else
		snprintf(v->reason, sizeof(v->reason), "csvfs has died; started again in %ld s%s%.70s",
			 wait > 0 ? wait : 0, *r->why ? ": " : "", r->why);
	v->since_sec = r->since;
	v->slot = r->file.slot;
	v->incarnation = r->file.incarnation;
	csv_peer_send(p, &msg);
}

void csv_remount_status(struct csv_peer *admin, uint64_t seq)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &remounts) {
		const struct remount *r = csv_list_entry(pos, struct remount, link);

		if (r->pidfd < 0 && !speaks(admin->daemon, r))
			send_state(admin, seq, r);
	}
}

/* Attempts under way go on by themselves. */
void csv_remount_free(struct csv_daemon *d)
{
	while (!csv_list_empty(&remounts))
		forget(csv_list_entry(remounts.next, struct remount, link));
}
