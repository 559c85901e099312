/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csvadm node rejoin: volumes that are out on this node (fenced, or given up by it) come back under a new life, without
 * a reboot.  Their csvfs writes nothing any more and cannot come back by itself; it stays for those who have files
 * open, and hold up an umount.  So it is killed, and csvlockd mounts the volume again as after any death of a csvfs.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/mountfile.h"
#include "tools/csvadm.h"

#define LOOK_MS 200

struct volume {
	char dir[256];
	uint32_t slot, incarnation; /* when it was out */
	struct csv_msg_volume now;
	bool seen;
};

struct rejoin {
	struct volume v[64];
	unsigned n;
	bool first; /* this status tells which are out */
};

static bool in_state(const struct csv_msg_volume *v, const char *state)
{
	return !strncmp(v->state, state, sizeof(v->state));
}

static bool is_out(const struct csv_msg_volume *v)
{
	return in_state(v, "fenced") || in_state(v, "failed") || in_state(v, "down");
}

static void on_volume(void *arg, const struct csv_msg *msg)
{
	struct rejoin *r = arg;
	const struct csv_msg_volume *now = &msg->volume;

	if (msg->type != CSV_MSG_STATUS_VOLUME || !memchr(now->mount, 0, sizeof(now->mount)))
		return;
	if (r->first && is_out(now) && r->n < sizeof(r->v) / sizeof(r->v[0])) {
		struct volume *v = &r->v[r->n++];

		*v = (struct volume){ .slot = now->slot, .incarnation = now->incarnation };
		memcpy(v->dir, now->mount, sizeof(v->dir));
	}
	for (unsigned i = 0; i < r->n; i++) {
		if (strcmp(r->v[i].dir, now->mount))
			continue;
		r->v[i].now = *now;
		r->v[i].seen = true;
	}
}

/* A csvfs that does not answer is told of as such; what the others say counts. */
static enum csv_err look(struct csv_call *c, struct rejoin *r)
{
	struct csv_msg req = { .type = CSV_MSG_STATUS };
	struct csv_client *cl;
	enum csv_err err = csv_lockd(c, &cl, NULL);

	if (err)
		return err;
	for (unsigned i = 0; i < r->n; i++)
		r->v[i].seen = false;
	err = csv_client_call(cl, &req, c->timeout_ms, on_volume, r, &c->why);
	csv_client_close(cl);
	if (err != CSV_TIMEOUT)
		return err;
	csv_why_init(&c->why);
	return CSV_OK;
}

/* Its process is meant, not another one that has got its number. */
static enum csv_err end_csvfs(struct csv_call *c, const struct volume *v)
{
	struct csv_mountfile f;
	int fd, bad;

	if (in_state(&v->now, "down"))
		return CSV_OK;
	if (csv_mountfile_read(c->run_dir, v->dir, &f))
		return csv_fail(&c->why, CSV_NOENT, "csvadm umount, then mount it again",
				"csvlockd would not mount %s again: it has no file of it", v->dir);
	fd = (int)syscall(SYS_pidfd_open, f.pid, 0);
	bad = fd >= 0 && csv_mountfile_served(&f) ? (int)syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) : 0;
	if (bad && errno != ESRCH)
		csv_fail(&c->why, csv_err_from_errno(errno), "", "csvfs (process %d) of %s: %s", (int)f.pid, v->dir,
			 strerror(errno));
	if (fd >= 0)
		close(fd);
	return c->why.err;
}

static bool is_back(const struct volume *v)
{
	return v->seen && in_state(&v->now, "online") &&
	       (v->now.slot != v->slot || v->now.incarnation != v->incarnation);
}

static enum csv_err wait_back(struct csv_call *c, struct rejoin *r)
{
	struct timespec t;
	int64_t now, end = 0;

	for (;;) {
		const struct volume *away = NULL;
		enum csv_err err = look(c, r);

		if (err)
			return err;
		for (unsigned i = 0; i < r->n; i++) {
			if (!is_back(&r->v[i]))
				away = &r->v[i];
		}
		if (!away)
			return CSV_OK;
		clock_gettime(CLOCK_MONOTONIC, &t);
		now = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
		end = end ? end : now + c->timeout_ms;
		if (now >= end)
			return csv_fail(&c->why, CSV_TIMEOUT, "csvlockd tries again by itself; see its log",
					"%s is not online again after %d s: %.32s: %.100s", away->dir,
					c->timeout_ms / 1000, away->seen ? away->now.state : "down",
					away->seen ? away->now.reason : "");
		poll(NULL, 0, LOOK_MS);
	}
}

static json_t *volume_json(const struct volume *v)
{
	json_t *o = json_object();

	csv_out_str(o, "name", v->now.name);
	csv_out_str(o, "mount", v->dir);
	csv_out_u64(o, "slot", v->now.slot);
	csv_out_u64(o, "incarnation", v->now.incarnation);
	return o;
}

enum csv_err csv_cmd_node_rejoin(struct csv_call *c)
{
	static struct rejoin r;
	enum csv_err err;
	json_t *list;

	if (c->argc != 1)
		return csv_usage(c, "takes no argument");
	r = (struct rejoin){ .first = true };
	err = look(c, &r);
	r.first = false;
	for (unsigned i = 0; i < r.n && !err; i++) {
		c->what = r.v[i].dir;
		err = end_csvfs(c, &r.v[i]);
	}
	if (!err)
		err = wait_back(c, &r);
	if (err)
		return err;
	c->result = json_object();
	list = json_array();
	for (unsigned i = 0; i < r.n; i++)
		json_array_append_new(list, volume_json(&r.v[i]));
	json_object_set_new(c->result, "volumes", list);
	return CSV_OK;
}
