/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Handoffs as administrators ask for them: a request is turned into a message to the
 * group, and answered when the record says how it ended.  A requester that goes away
 * changes nothing (H4): `handoff status` tells.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "lockd/daemon/daemon.h"
#include "lockd/daemon/handoff.h"

struct pending {
	struct csv_list link;
	uint64_t peer, seq, token;
	enum csv_ho_request req;
	uint8_t id[CSV_HO_ID];
	bool taken; /* the request is in the order */
};

static struct csv_list pendings = CSV_LIST_INIT(pendings);
static uint64_t next_token = 1;

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1000 + (double)ts.tv_nsec / 1e6;
}

/* The last commit that was asked for here: when, when the source's answer was ordered, and how long it took in all; ms.
 */
static struct {
	uint8_t id[CSV_HO_ID];
	double from, committed, took;
} last_commit;

/*
 * The guest was silent at the source, then the move was on its way to the destination, then it was silent there.  The
 * middle part is seen from one node only as the way there and back: from COMMITTED to ACTIVATED as they are ordered,
 * less the work between them, which the destination has measured, is one message; so is the way of COMMITTED.
 */
static double blackout(const struct csv_handoff *h)
{
	const struct csv_ho_times *t = &h->times;
	double way = last_commit.from + last_commit.took - last_commit.committed - t->activate;

	if (t->silence <= 0 || t->first <= 0 || last_commit.took <= 0 || last_commit.committed <= 0)
		return 0;
	return t->silence + (way > 0 ? way : 0) + t->first;
}

/* ---- telling ---- */

static void send_file(struct csv_peer *p, uint64_t seq, const struct csv_ho_file *f, uint32_t index)
{
	struct csv_msg msg = { .type = CSV_MSG_HO_FILE, .seq = seq };

	msg.ho_file = (struct csv_msg_ho_file){
		.index = index, .gen = f->gen, .ino = f->ino, .epoch = f->epoch, .size = f->size
	};
	memcpy(msg.ho_file.path, f->path, sizeof(msg.ho_file.path));
	csv_peer_send(p, &msg);
}

static void send_item(struct csv_peer *p, uint64_t seq, const struct csv_handoff *h)
{
	const struct csv_ho_life *owner = csv_handoff_owner(h);
	struct csv_msg msg = { .type = CSV_MSG_HO_ITEM, .seq = seq };
	struct csv_msg_ho *ho = &msg.ho;

	for (unsigned i = 0; i < h->plan.nfiles; i++)
		send_file(p, seq, &h->plan.file[i], i);
	memcpy(ho->id, h->plan.id, sizeof(ho->id));
	memcpy(ho->uuid, h->plan.uuid, sizeof(ho->uuid));
	memcpy(ho->vm, h->plan.vm, sizeof(ho->vm));
	memcpy(ho->src_node, h->plan.src.node, sizeof(ho->src_node));
	memcpy(ho->dst_node, h->plan.dst.node, sizeof(ho->dst_node));
	memcpy(ho->uri, h->plan.uri, sizeof(ho->uri));
	memcpy(ho->why, h->why, sizeof(ho->why));
	ho->state = h->state;
	ho->outcome = h->outcome;
	ho->nfiles = h->plan.nfiles;
	ho->src_nodeid = h->plan.src.nodeid;
	ho->dst_nodeid = h->plan.dst.nodeid;
	if (owner) {
		ho->owner_nodeid = owner->nodeid;
		memcpy(ho->owner_node, owner->node, sizeof(ho->owner_node));
	}
	ho->drain_ms = h->times.drain;
	ho->journal_ms = h->times.journal;
	ho->home_ms = h->times.home;
	if (!memcmp(last_commit.id, h->plan.id, CSV_HO_ID) && last_commit.took > 0) {
		ho->messages_ms = last_commit.took - h->times.drain - h->times.journal - h->times.home;
		ho->blackout_ms = blackout(h);
	}
	csv_peer_send(p, &msg);
}

static void finish(struct csv_peer *p, uint64_t seq)
{
	struct csv_msg msg = { .type = CSV_MSG_DONE, .seq = seq, .last = 1 };

	csv_peer_send(p, &msg);
}

/* ---- the answers, when they are known ---- */

static void answer(struct csv_peer *p, const struct pending *q, const struct csv_handoff *h, enum csv_ho_verdict v)
{
	send_item(p, q->seq, h);
	if (v == CSV_HO_YES)
		finish(p, q->seq);
	else if (q->req == CSV_HO_REQ_COMMIT)
		csv_peer_error(p, q->seq, CSV_KEPT, "%s", *h->why ? h->why : "the source keeps the VM's disks");
	else if (q->req == CSV_HO_REQ_PREPARE)
		csv_peer_error(p, q->seq, h->err ? h->err : CSV_KEPT, "node %s: %s", h->plan.dst.node, h->why);
	else
		csv_peer_error(p, q->seq, CSV_BUSY, "it has moved%s%s", *h->why ? ": " : "", h->why);
}

static void forget(struct pending *q)
{
	csv_list_del(&q->link);
	free(q);
}

static void look(struct csv_daemon *d, struct pending *q)
{
	struct csv_peer *p = csv_peer_find(d, q->peer);
	struct csv_handoff_reply r;
	const struct csv_handoff *h;
	enum csv_ho_verdict v;

	if (!p) {
		forget(q);
		return;
	}
	if (!q->taken && csv_machine_handoff_reply(d->machine, q->token, &r)) {
		q->taken = true;
		if (r.err) {
			csv_peer_error(p, q->seq, r.err, "%s", r.why);
			forget(q);
			return;
		}
	}
	h = q->taken ? csv_ho_find(csv_machine_handoffs(d->machine), q->id) : NULL;
	if (!h)
		return;
	v = csv_handoff_verdict(h, q->req);
	if (v == CSV_HO_PENDING)
		return;
	if (q->req == CSV_HO_REQ_COMMIT && !memcmp(last_commit.id, q->id, CSV_HO_ID))
		last_commit.took = now_ms() - last_commit.from;
	answer(p, q, h, v);
	forget(q);
}

static void note_committed(struct csv_daemon *d)
{
	const struct csv_handoff *h;

	if (!last_commit.from || last_commit.committed > 0)
		return;
	h = csv_ho_find(csv_machine_handoffs(d->machine), last_commit.id);
	if (h && h->state == CSV_HO_ACTIVATING)
		last_commit.committed = now_ms();
}

void csv_handoff_poll(struct csv_daemon *d)
{
	struct csv_list *pos, *tmp;
	struct csv_ho_msg *armed;

	if (!d->machine)
		return;
	note_committed(d);
	csv_list_for_each_safe(pos, tmp, &pendings)
		look(d, csv_list_entry(pos, struct pending, link));
	while ((armed = csv_machine_handoff_armed(d->machine)))
		csv_launch_start(d, armed);
	csv_incoming_poll(d);
}

static void submit(struct csv_peer *p, const struct csv_msg *msg, struct csv_ho_msg *m)
{
	struct pending *q = calloc(1, sizeof(*q));

	CSV_ASSERT(q);
	q->peer = p->id;
	q->seq = msg->seq;
	q->token = m->token = next_token++;
	q->req = m->kind == CSV_HO_MSG_PREPARE ? CSV_HO_REQ_PREPARE : m->req;
	memcpy(q->id, m->kind == CSV_HO_MSG_PREPARE ? m->plan.id : m->id, CSV_HO_ID);
	csv_list_push_back(&pendings, &q->link);
	csv_driver_handoff(p->daemon, m);
}

/* ---- prepare: who is meant ---- */

static const struct csv_machine_node *node_named(const struct csv_daemon *d, const char *name)
{
	for (unsigned i = 0; i < d->conf.machine.nnodes; i++) {
		if (!strcmp(d->conf.machine.node[i].name, name))
			return &d->conf.machine.node[i];
	}
	return NULL;
}

static const struct csv_machine_node *self(const struct csv_daemon *d)
{
	for (unsigned i = 0; i < d->conf.machine.nnodes; i++) {
		if (d->conf.machine.node[i].nodeid == d->conf.machine.nodeid)
			return &d->conf.machine.node[i];
	}
	return NULL;
}

/* Part of `path` inside a mount; NULL: not in it. */
static const char *inside(const char *mount, const char *path)
{
	size_t len = strlen(mount);

	if (strncmp(path, mount, len) || path[len] != '/')
		return NULL;
	return path + len + 1;
}

struct gather {
	struct csv_daemon *d;
	const struct csv_msg_ho *want;
	struct csv_ho_plan *plan;
	const struct csv_ho_plan *named; /* files by inode; none: all of the VM or process */
	uint64_t fs;			 /* peer of the volume */
	char volume[64];
	enum csv_err err;
	char why[200];
};

static bool meant(const struct gather *g, uint64_t peer, const struct csv_msg_handle *h)
{
	const struct csv_peer *fs = csv_peer_find(g->d, peer);

	for (unsigned i = 0; fs && i < g->named->nfiles; i++) {
		if (g->named->file[i].ino == h->ino && inside(fs->hello.mount, g->named->file[i].path))
			return true;
	}
	if (g->named->nfiles)
		return false;
	if (g->want->pid)
		return h->pid == g->want->pid;
	return *g->want->vm && !strcmp(h->vm, g->want->vm);
}

static void gather_handle(void *arg, uint64_t peer, const struct csv_msg_handle *h)
{
	struct gather *g = arg;
	struct csv_ho_plan *p = g->plan;

	if (!h->writable || h->state != CSV_HANDLE_LEASED || !meant(g, peer, h) || g->err)
		return;
	if (g->fs && g->fs != peer) {
		g->err = CSV_NOTSUP;
		snprintf(g->why, sizeof(g->why), "disks on two volumes, %s and %s; one volume a VM for now", g->volume,
			 h->volume);
		return;
	}
	g->fs = peer;
	memcpy(g->volume, h->volume, sizeof(g->volume));
	if (!*p->vm)
		memcpy(p->vm, h->vm, sizeof(p->vm));
	for (unsigned i = 0; i < p->nfiles; i++) {
		if (p->file[i].ino == h->ino)
			return; /* opened twice */
	}
	if (p->nfiles == CSV_HO_FILES_MAX) {
		g->err = CSV_NOTSUP;
		snprintf(g->why, sizeof(g->why), "more than %u disks", CSV_HO_FILES_MAX);
		return;
	}
	p->file[p->nfiles] = (struct csv_ho_file){ .ino = h->ino, .gen = h->gen, .epoch = h->epoch };
	memcpy(p->file[p->nfiles].path, h->path, sizeof(h->path));
	p->nfiles++;
}

static void nothing_found(struct csv_peer *p, uint64_t seq, const struct csv_msg_ho *want)
{
	if (*want->vm)
		csv_peer_error(p, seq, CSV_NOENT, "VM %s has no disk open for writing on this node", want->vm);
	else if (want->pid)
		csv_peer_error(p, seq, CSV_NOENT, "process %u has no disk open for writing", want->pid);
	else
		csv_peer_error(p, seq, CSV_NOENT, "the files are not open for writing on this node");
}

/* The definition lies on the volume: its path becomes one inside it. */
static bool take_definition(struct csv_peer *p, uint64_t seq, struct csv_ho_plan *plan, const struct csv_peer *fs)
{
	const char *rel;

	if (!*plan->definition)
		return true;
	rel = inside(fs->hello.mount, plan->definition);
	if (!rel) {
		csv_peer_error(p, seq, CSV_INVAL, "the definition %.200s is not on the volume %s", plan->definition,
			       fs->hello.volume);
		return false;
	}
	memmove(plan->definition, rel, strlen(rel) + 1);
	return true;
}

static void fill_lives(struct csv_daemon *d, struct csv_ho_plan *plan, const struct csv_machine_node *dst)
{
	plan->src.nodeid = d->conf.machine.nodeid;
	plan->dst.nodeid = dst->nodeid;
	memcpy(plan->dst.node, dst->name, sizeof(plan->dst.node));
	if (self(d))
		memcpy(plan->src.node, self(d)->name, sizeof(plan->src.node));
}

static void on_prepare(struct csv_peer *p, const struct csv_msg *msg)
{
	const struct csv_machine_node *dst = node_named(p->daemon, msg->ho.dst_node);
	struct csv_ho_msg *m = calloc(1, sizeof(*m));
	struct csv_ho_plan *named = p->ho;
	struct gather g = { .d = p->daemon, .want = &msg->ho, .named = named };
	const struct csv_peer *fs;

	CSV_ASSERT(m);
	m->kind = CSV_HO_MSG_PREPARE;
	g.plan = &m->plan;
	memcpy(m->plan.vm, msg->ho.vm, sizeof(m->plan.vm));
	csv_registry_each(p->daemon, gather_handle, &g);
	fs = g.fs ? csv_peer_find(p->daemon, g.fs) : NULL;
	if (!dst) {
		csv_peer_error(p, msg->seq, CSV_NOENT, "no node is named %s", msg->ho.dst_node);
	} else if (g.err) {
		csv_peer_error(p, msg->seq, g.err, "%s", g.why);
	} else if (!fs) {
		nothing_found(p, msg->seq, &msg->ho);
	} else if (named->nfiles > m->plan.nfiles) {
		csv_peer_error(p, msg->seq, CSV_NOENT, "%u of the files are not open for writing on this node",
			       named->nfiles - m->plan.nfiles);
	} else {
		memcpy(m->plan.uuid, fs->hello.uuid, 16);
		memcpy(m->plan.definition, named->definition, sizeof(m->plan.definition));
		m->plan.definition_size = named->definition_size;
		memcpy(m->plan.definition_sha256, named->definition_sha256, 32);
		m->plan.launch = msg->ho.launch;
		memcpy(m->plan.uri, msg->ho.uri, sizeof(m->plan.uri));
		fill_lives(p->daemon, &m->plan, dst);
		if (getrandom(m->plan.id, CSV_HO_ID, 0) != CSV_HO_ID)
			csv_peer_error(p, msg->seq, CSV_IO, "no random numbers");
		else if (take_definition(p, msg->seq, &m->plan, fs))
			submit(p, msg, m);
	}
	free(m);
}

/* ---- records of administrators ---- */

static bool terminated(const char *s, size_t size)
{
	return memchr(s, 0, size) != NULL;
}

static bool sound(const struct csv_msg_ho *ho)
{
	return terminated(ho->vm, sizeof(ho->vm)) && terminated(ho->dst_node, sizeof(ho->dst_node)) &&
	       terminated(ho->uri, sizeof(ho->uri)) && terminated(ho->why, sizeof(ho->why)) &&
	       ho->verb >= CSV_HO_REQ_PREPARE && ho->verb <= CSV_HO_REQ_FINISH;
}

static struct csv_ho_plan *parts(struct csv_peer *p)
{
	if (!p->ho)
		p->ho = calloc(1, sizeof(*p->ho));
	CSV_ASSERT(p->ho);
	return p->ho;
}

static void on_file(struct csv_peer *p, const struct csv_msg *msg)
{
	const struct csv_msg_ho_file *f = &msg->ho_file;
	struct csv_ho_plan *plan = parts(p);

	if (!terminated(f->path, sizeof(f->path))) {
		csv_peer_error(p, msg->seq, CSV_INVAL, "a path without end");
	} else if (f->index == CSV_HO_DEFINITION) {
		memcpy(plan->definition, f->path, sizeof(plan->definition));
		memcpy(plan->definition_sha256, f->sha256, sizeof(plan->definition_sha256));
		plan->definition_size = f->size;
	} else if (plan->nfiles < CSV_HO_FILES_MAX) {
		plan->file[plan->nfiles].ino = f->ino;
		memcpy(plan->file[plan->nfiles].path, f->path, sizeof(f->path));
		plan->nfiles++;
	}
}

static void on_request(struct csv_peer *p, const struct csv_msg *msg)
{
	struct csv_ho_msg *m;

	parts(p);
	if (!sound(&msg->ho)) {
		csv_peer_error(p, msg->seq, CSV_PROTO, "a handoff request is malformed");
		return;
	}
	if (!csv_machine_quorate(p->daemon->machine)) {
		csv_peer_error(p, msg->seq, CSV_NOQUORUM, "this node is not part of a quorum");
		return;
	}
	if (msg->ho.verb == CSV_HO_REQ_PREPARE) {
		on_prepare(p, msg);
		return;
	}
	m = calloc(1, sizeof(*m));
	CSV_ASSERT(m);
	m->kind = CSV_HO_MSG_REQUEST;
	m->req = (enum csv_ho_request)msg->ho.verb;
	memcpy(m->id, msg->ho.id, CSV_HO_ID);
	memcpy(m->why, msg->ho.why, sizeof(m->why));
	if (m->req == CSV_HO_REQ_COMMIT) {
		memcpy(last_commit.id, m->id, CSV_HO_ID);
		last_commit.from = now_ms();
		last_commit.committed = last_commit.took = 0;
	}
	submit(p, msg, m);
	free(m);
}

static void on_list(struct csv_peer *p, const struct csv_msg *msg)
{
	const struct csv_ho_table *t = csv_machine_handoffs(p->daemon->machine);
	static const uint8_t all[CSV_HO_ID];
	bool every = !memcmp(msg->ho.id, all, CSV_HO_ID), any = false;

	for (unsigned i = 0; i < t->n; i++) {
		if (!every && memcmp(t->rec[i]->plan.id, msg->ho.id, CSV_HO_ID))
			continue;
		send_item(p, msg->seq, t->rec[i]);
		any = true;
	}
	if (!any && !every)
		csv_peer_error(p, msg->seq, CSV_NOENT, "no such handoff");
	else
		finish(p, msg->seq);
}

bool csv_handoff_admin(struct csv_peer *p, const struct csv_msg *msg)
{
	if (msg->type != CSV_MSG_HO_FILE && msg->type != CSV_MSG_HO_REQUEST && msg->type != CSV_MSG_HO_LIST)
		return false;
	if (!p->daemon->machine)
		csv_peer_error(p, msg->seq, CSV_NOCLUSTER, "corosync does not run on this node");
	else if (msg->type == CSV_MSG_HO_FILE)
		on_file(p, msg);
	else if (msg->type == CSV_MSG_HO_LIST)
		on_list(p, msg);
	else
		on_request(p, msg);
	if (msg->type == CSV_MSG_HO_REQUEST) {
		free(p->ho);
		p->ho = NULL;
	}
	return true;
}
