/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvadm umount: unmounts and waits until csvfs has ended, so that the slot is clean when it returns. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/farewell.h"
#include "lib/mountfile.h"
#include "tools/csvadm.h"

struct place {
	const char *asked;
	char dir[512];
	bool found;
	bool dead; /* its csvfs has died, and csvlockd wants to mount it again */
};

/* A volume's mount point from csvlockd, if the argument is not a directory that is a mount itself. */
static void on_volume(void *arg, const struct csv_msg *msg)
{
	struct place *p = arg;

	if (msg->type != CSV_MSG_STATUS_VOLUME || strncmp(msg->volume.name, p->asked, sizeof(msg->volume.name)))
		return;
	snprintf(p->dir, sizeof(p->dir), "%.255s", msg->volume.mount);
	p->found = true;
}

/* The mount's source is "LUN", its type "fuse.csvfs". The last match is the one on top. */
static bool find_mount(const char *dir, char *found, size_t size)
{
	FILE *f = setmntent("/proc/self/mounts", "r");
	struct mntent *m;
	bool yes = false;

	while (f && (m = getmntent(f))) {
		if (strcmp(m->mnt_type, "fuse.csvfs") || strcmp(m->mnt_dir, dir))
			continue;
		snprintf(found, size, "%s", m->mnt_dir);
		yes = true;
	}
	if (f)
		endmntent(f);
	return yes;
}

/* A mount whose csvfs has died: csvlockd gives it up when its file is gone. */
static void see_whether_dead(const struct csv_call *c, struct place *p)
{
	struct csv_mountfile *f = malloc(sizeof(*f));

	p->dead = f && csv_mountfile_read(c->run_dir, p->dir, f) == CSV_OK && !csv_mountfile_served(f);
	free(f);
	p->found |= p->dead;
}

static enum csv_err unmount(struct csv_call *c, const struct place *p)
{
	if (p->dead)
		csv_mountfile_remove(c->run_dir, p->dir);
	/* Nobody who has something open in a dead mount can make use of it; and csvlockd may have taken it away. */
	if (!umount2(p->dir, UMOUNT_NOFOLLOW | (p->dead ? MNT_DETACH : 0)) || (p->dead && errno == EINVAL))
		return CSV_OK;
	if (errno == EBUSY)
		return csv_fail(&c->why, CSV_BUSY, "close what is open there (csvadm handle list, fuser -vm)",
				"%s is in use", p->dir);
	return csv_fail(&c->why, csv_err_from_errno(errno), "", "%s: %s", p->dir, strerror(errno));
}

static enum csv_err locate(struct csv_call *c, struct place *p)
{
	struct csv_msg req = { .type = CSV_MSG_STATUS };
	struct csv_client *cl;
	char *real = realpath(p->asked, NULL);

	if (find_mount(real ? real : p->asked, p->dir, sizeof(p->dir)))
		p->found = true;
	else
		snprintf(p->dir, sizeof(p->dir), "%s", real ? real : p->asked);
	see_whether_dead(c, p);
	free(real);
	if (p->found || strchr(p->asked, '/'))
		goto out;
	if (!csv_lockd(c, &cl, NULL)) {
		csv_client_call(cl, &req, c->timeout_ms, on_volume, p, NULL);
		csv_client_close(cl);
	}
	csv_why_init(&c->why);
	see_whether_dead(c, p);
out:
	if (!p->found)
		return csv_fail(&c->why, CSV_NOENT, "", "no csvfs volume is mounted there");
	return CSV_OK;
}

/* Whether /proc/PID is `csvfs LUN DIR ...` for this directory, in our mount namespace. */
static bool serves(const char *pid, const char *dir)
{
	char path[300], exe[PATH_MAX], args[2 * PATH_MAX], *arg = args;
	struct stat ours, theirs;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%s/exe", pid);
	n = readlink(path, exe, sizeof(exe) - 1);
	if (n <= 0)
		return false;
	exe[n] = 0;
	snprintf(path, sizeof(path), "/proc/%s/ns/mnt", pid);
	if (strcmp(basename(exe), "csvfs") || stat("/proc/self/ns/mnt", &ours) || stat(path, &theirs) ||
	    ours.st_ino != theirs.st_ino)
		return false;
	snprintf(path, sizeof(path), "/proc/%s/cmdline", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, args, sizeof(args) - 1);
	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return false;
	args[n] = 0;
	for (; arg < args + n; arg += strlen(arg) + 1) {
		if (!strcmp(arg, dir))
			return true;
	}
	return false;
}

/* The csvfs that serves the directory; 0 if none is found. */
static pid_t pid_of_mount(const char *dir)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;
	pid_t pid = 0;

	while (proc && !pid && (e = readdir(proc))) {
		if (isdigit((unsigned char)*e->d_name) && serves(e->d_name, dir))
			pid = atoi(e->d_name);
	}
	if (proc)
		closedir(proc);
	return pid;
}

/* How csvfs ended. What was over before, and is known, is a warning: there is nothing left to be done here. */
static enum csv_err tell(struct csv_call *c, const struct place *p, const struct csv_farewell *f)
{
	if (f->out)
		csv_warning(
		    c, "the volume was out on this node before (fenced or failed); its slot is recovered by another");
	else if (f->err)
		return csv_fail(&c->why, CSV_IO,
				"see csvfs's log; the next mount, or another node, replays the journal",
				"%s is unmounted, but csvfs could not leave volume %s clean", p->dir, f->volume);
	c->result = json_object();
	csv_out_str(c->result, "volume", f->volume);
	csv_out_str(c->result, "mount", p->dir);
	csv_out_u64(c->result, "slot", f->slot);
	csv_out_u64(c->result, "incarnation", f->incarnation);
	return CSV_OK;
}

/* A mount point without its csvfs: nobody can say what was mounted there. */
static void tell_dead(struct csv_call *c, const struct place *p)
{
	csv_warning(c, "its csvfs was dead; the next mount, or another node, replays its journal");
	c->result = json_object();
	csv_out_str(c->result, "volume", NULL);
	csv_out_str(c->result, "mount", p->dir);
	json_object_set_new(c->result, "slot", json_null());
	json_object_set_new(c->result, "incarnation", json_null());
}

/* Everybody has closed the mount, or will: csvfs ends when the last of them has. */
static enum csv_err wait_end(struct csv_call *c, const struct place *p, pid_t pid, int pidfd, int ear)
{
	struct pollfd pf = { .fd = pidfd, .events = POLLIN };
	struct csv_farewell f;

	if (poll(&pf, 1, c->timeout_ms) == 0)
		return csv_fail(&c->why, CSV_TIMEOUT, "see its log", "csvfs has not ended after %d s",
				c->timeout_ms / 1000);
	if (ear < 0 || !csv_farewell_read(ear, pid, &f))
		return csv_fail(&c->why, CSV_IO,
				"see csvfs's log; the next mount, or another node, replays the journal",
				"%s is unmounted, but csvfs ended without a word", p->dir);
	return tell(c, p, &f);
}

enum csv_err csv_cmd_umount(struct csv_call *c)
{
	struct place p = { 0 };
	int pidfd = -1, ear = -1;
	enum csv_err err;
	pid_t pid;

	if (c->argc != 2)
		return csv_usage(c, "a directory or a volume is needed");
	p.asked = c->argv[1];
	c->what = p.asked;
	err = locate(c, &p);
	if (err)
		return err;
	pid = p.dead ? 0 : pid_of_mount(p.dir);
	if (pid) {
		pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		ear = csv_farewell_listen(pid);
	}
	err = unmount(c, &p);
	if (!err && pidfd >= 0)
		err = wait_end(c, &p, pid, pidfd, ear);
	else if (!err)
		tell_dead(c, &p);
	if (pidfd >= 0)
		close(pidfd);
	if (ear >= 0)
		close(ear);
	return err;
}
