/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/log.h"
#include "lockd/core/msg.h"
#include "tests/unit/machine_rig.h"

const uint8_t rig_volume[16] = { 'r', 'i', 'g' };

static void push(struct rig *r, unsigned from, const void *data, size_t len)
{
	struct rig_packet *p = malloc(sizeof(*p) + len);

	assert_non_null(p);
	if (len >= CSV_GROUP_HEADER && ((const uint8_t *)data)[5] >= CSV_G_JOIN)
		r->op_version = ((const uint8_t *)data)[CSV_GROUP_VERSION_OFF];
	p->next = NULL;
	p->sender = from + 1;
	p->group = 0;
	p->len = len;
	memcpy(p->data, data, len);
	*r->tail = p;
	r->tail = &p->next;
}

static void carry_out(struct rig *r, unsigned n, struct csv_actions *acts)
{
	for (size_t i = 0; i < acts->n; i++) {
		const struct csv_action *a = &acts->list[i];

		switch (a->type) {
		case CSV_ACT_SEND:
			push(r, n, a->data, a->len);
			break;
		case CSV_ACT_CLIENT:
			assert_true(r->ngot[n] < RIG_GOT);
			if (a->client == r->client[n])
				r->got[n][r->ngot[n]++] = a->msg;
			break;
		case CSV_ACT_CLOSE:
			r->closed[n] = true;
			break;
		case CSV_ACT_TIMER:
			assert_true(r->ntimers[n] < 64);
			r->timers[n][r->ntimers[n]++] = a->timer;
			break;
		case CSV_ACT_REJOIN:
			r->evicted[n] = true;
			break;
		case CSV_ACT_KILL:
			r->killed = a->nodeid;
			break;
		case CSV_ACT_DLM:
			assert_true(r->norders[n] < RIG_GOT);
			r->orders[n][r->norders[n]++] = a->dlm;
			break;
		case CSV_ACT_LOG:
			if (a->level == CSV_LOG_WARN) {
				r->warnings[n]++;
				memcpy(r->warning[n], a->text, sizeof(r->warning[n]));
			}
			if (a->level != CSV_LOG_ERROR)
				break;
			r->errors++;
			memcpy(r->error[n], a->text, sizeof(r->error[n]));
			break;
		}
	}
	csv_actions_free(acts);
}

static void step(struct rig *r, unsigned n, const struct csv_event *ev)
{
	struct csv_actions acts = { 0 };

	csv_machine_step(r->m[n], ev, &acts);
	carry_out(r, n, &acts);
}

/* It will be delivered when the machine goes on. */
static void keep(struct rig *r, unsigned n, const struct rig_packet *p)
{
	struct rig_packet *copy = malloc(sizeof(*copy) + p->len);

	assert_non_null(copy);
	assert_true(r->nlate[n] < RIG_LATE);
	memcpy(copy, p, sizeof(*copy) + p->len);
	r->late[n][r->nlate[n]++] = copy;
}

/* Messages of senders that a node does not hear pass it by, as after a change of the ring. */
static void deliver(struct rig *r, const struct rig_packet *p)
{
	struct csv_event ev = { .type = CSV_EV_MSG, .sender = p->sender, .data = p->data, .len = p->len };

	for (unsigned n = 0; n < r->nnodes; n++) {
		if (!(r->group[n] >> (p->sender - 1) & 1))
			continue;
		if (r->hung[n])
			keep(r, n, p);
		else
			step(r, n, &ev);
	}
}

void rig_hang(struct rig *r, unsigned node)
{
	r->hung[node - 1] = true;
}

void rig_go_on(struct rig *r, unsigned node)
{
	unsigned n = node - 1;

	r->hung[n] = false;
	for (unsigned i = 0; i < r->nlate[n]; i++) {
		struct rig_packet *p = r->late[n][i];
		struct csv_event ev = { .type = CSV_EV_MSG, .sender = p->sender, .data = p->data, .len = p->len };

		step(r, n, &ev);
		free(p);
	}
	r->nlate[n] = 0;
	rig_settle(r);
}

void rig_settle(struct rig *r)
{
	while (r->head) {
		struct rig_packet *p = r->head;

		r->head = p->next;
		if (!r->head)
			r->tail = &r->head;
		deliver(r, p);
		free(p);
	}
}

void rig_group(struct rig *r, unsigned mask, bool down)
{
	for (unsigned n = 0; n < r->nnodes; n++) {
		struct csv_event ev = { .type = CSV_EV_CONF };

		if (!(mask >> n & 1))
			continue;
		for (unsigned i = 0; i < r->nnodes; i++) {
			if (mask >> i & 1)
				ev.member[ev.nmembers++] = i + 1;
			else if (down)
				ev.down[ev.ndown++] = i + 1;
		}
		r->group[n] = mask;
		if (!r->hung[n])
			step(r, n, &ev);
	}
}

void rig_down(struct rig *r, unsigned nodes, unsigned told)
{
	for (unsigned n = 0; n < r->nnodes; n++) {
		struct csv_event ev = { .type = CSV_EV_DOWN };

		for (unsigned i = 0; i < r->nnodes; i++) {
			if (nodes >> i & 1)
				ev.down[ev.ndown++] = i + 1;
		}
		if (told >> n & 1)
			step(r, n, &ev);
	}
	rig_settle(r);
}

static void machine(struct rig *r, unsigned n)
{
	static uint64_t boot;
	struct csv_machine_cfg cfg = { .nodeid = n + 1, .cluster = "c", .nnodes = r->nnodes, .reattach_ms = 5000 };

	cfg.beat_ms = r->beats ? 1000 : 0;
	cfg.evict_ms = RIG_SILENT * 1000;
	cfg.two_node = r->beats && r->nnodes == 2;

	for (unsigned i = 0; i < r->nnodes; i++) {
		cfg.node[i].nodeid = i + 1;
		cfg.node[i].votes = 1;
		snprintf(cfg.node[i].name, sizeof(cfg.node[i].name), "n%u", i + 1);
	}
	cfg.version_min = r->versions[n][0];
	cfg.version_max = r->versions[n][1];
	cfg.boot = ++boot;
	assert_int_equal(csv_machine_new(&cfg, &r->m[n]), CSV_OK);
}

static void open_rig(struct rig *r, unsigned nnodes, bool beats)
{
	memset(r, 0, sizeof(*r));
	r->beats = beats;
	r->nnodes = nnodes;
	r->tail = &r->head;
	for (unsigned n = 0; n < nnodes; n++)
		machine(r, n);
	rig_group(r, (1u << nnodes) - 1, false);
	rig_settle(r);
	for (unsigned n = 0; n < nnodes; n++)
		assert_true(csv_machine_formed(r->m[n]));
}

void rig_open(struct rig *r, unsigned nnodes)
{
	open_rig(r, nnodes, false);
}

void rig_open_beating(struct rig *r, unsigned nnodes)
{
	open_rig(r, nnodes, true);
}

void rig_restart(struct rig *r, unsigned node)
{
	struct csv_expelled memory[CSV_NODES_MAX];
	unsigned n = csv_machine_memory(r->m[node - 1], memory);

	csv_machine_free(r->m[node - 1]);
	machine(r, node - 1);
	csv_machine_remember(r->m[node - 1], memory, n);
	r->group[node - 1] = 0;
	r->client[node - 1] = 0;
	r->ntimers[node - 1] = 0;
	r->evicted[node - 1] = false;
}

void rig_close(struct rig *r)
{
	while (r->head) {
		struct rig_packet *p = r->head;

		r->head = p->next;
		free(p);
	}
	for (unsigned n = 0; n < r->nnodes; n++) {
		while (r->nlate[n])
			free(r->late[n][--r->nlate[n]]);
		csv_machine_free(r->m[n]);
	}
}

void rig_timers(struct rig *r, unsigned node)
{
	unsigned n = node - 1, count = r->ntimers[n];
	uint64_t timers[64];

	memcpy(timers, r->timers[n], sizeof(timers));
	r->ntimers[n] = 0;
	for (unsigned i = 0; i < count; i++) {
		struct csv_event ev = { .type = CSV_EV_TIMER, .timer = timers[i] };

		step(r, n, &ev);
	}
	rig_settle(r);
}

void rig_send_raw(struct rig *r, unsigned from, const void *data, size_t len)
{
	push(r, from - 1, data, len);
	rig_settle(r);
}

uint64_t rig_record(struct rig *r, unsigned node, struct csv_msg *msg)
{
	struct csv_event ev = { .type = CSV_EV_CLIENT, .client = r->client[node - 1], .msg = msg };

	if (!msg->seq)
		msg->seq = ++r->seq;
	step(r, node - 1, &ev);
	rig_settle(r);
	return msg->seq;
}

void rig_hello(struct rig *r, unsigned node)
{
	struct csv_msg msg = { .type = CSV_MSG_HELLO };

	r->client[node - 1] = ++r->next_client;
	r->closed[node - 1] = false;
	msg.hello.version = CSV_PROTO_VERSION;
	msg.hello.role = CSV_ROLE_FS;
	memcpy(msg.hello.uuid, rig_volume, 16);
	strcpy(msg.hello.volume, "rig");
	msg.hello.engine = r->engine;
	if (!r->choose && !msg.hello.engine)
		msg.hello.engine = CSV_ENGINE_CPG;
	msg.hello.again = r->again;
	msg.hello.dlm = !r->unfit[node - 1];
	rig_record(r, node, &msg);
}

void rig_gone(struct rig *r, unsigned node)
{
	struct csv_event ev = { .type = CSV_EV_CLIENT_GONE, .client = r->client[node - 1] };

	step(r, node - 1, &ev);
	r->client[node - 1] = 0;
	rig_settle(r);
}

uint64_t rig_lock(struct rig *r, unsigned node, struct csv_res res, enum csv_mode mode, uint32_t flags)
{
	struct csv_msg msg = { .type = CSV_MSG_LOCK };

	msg.lock.res_type = res.type;
	msg.lock.res_id = res.id;
	msg.lock.mode = mode;
	msg.lock.flags = flags;
	return rig_record(r, node, &msg);
}

void rig_unlock(struct rig *r, unsigned node, struct csv_res res, enum csv_mode mode)
{
	struct csv_msg msg = { .type = CSV_MSG_UNLOCK };

	msg.lock.res_type = res.type;
	msg.lock.res_id = res.id;
	msg.lock.mode = mode;
	rig_record(r, node, &msg);
}

void rig_mount(struct rig *r, unsigned node, uint32_t slot)
{
	struct csv_msg msg = { .type = CSV_MSG_ATTACH };

	rig_hello(r, node);
	rig_lock(r, node, csv_res(CSV_RES_MOUNT, 0), CSV_EX, 0);
	assert_non_null(rig_take(r, node, CSV_MSG_GRANT));
	rig_lock(r, node, csv_res(CSV_RES_SLOT, slot), CSV_EX, CSV_LOCKF_NOQUEUE);
	assert_non_null(rig_take(r, node, CSV_MSG_GRANT));
	msg.slot.slot = slot;
	msg.slot.incarnation = 1;
	msg.slot.pr_key = 100 + node;
	snprintf(msg.slot.node, sizeof(msg.slot.node), "n%u", node);
	rig_record(r, node, &msg);
	assert_non_null(rig_take(r, node, CSV_MSG_ATTACHED));
	rig_unlock(r, node, csv_res(CSV_RES_MOUNT, 0), CSV_NL);
}

void rig_mount_all(struct rig *r)
{
	for (unsigned n = 1; n <= r->nnodes; n++)
		rig_mount(r, n, n - 1);
}

unsigned rig_obey(struct rig *r, unsigned node, enum csv_err err)
{
	const struct csv_msg *order;
	unsigned n = 0;

	while ((order = rig_take(r, node, CSV_MSG_FENCE)) || (order = rig_take(r, node, CSV_MSG_REPLAY))) {
		bool fence = order->type == CSV_MSG_FENCE;
		struct csv_msg msg = { .type = fence ? CSV_MSG_FENCE_DONE : CSV_MSG_REPLAY_DONE, .err = err };

		msg.seq = order->seq;
		if (fence) {
			msg.fence.slot = order->slot.slot;
			msg.fence.incarnation = order->slot.incarnation;
		} else {
			msg.replay.slot = order->slot.slot;
			msg.replay.incarnation = order->slot.incarnation;
		}
		rig_record(r, node, &msg);
		n++;
	}
	return n;
}

const struct csv_msg *rig_take(struct rig *r, unsigned node, enum csv_msg_type type)
{
	static struct csv_msg taken;
	unsigned n = node - 1;

	for (unsigned i = 0; i < r->ngot[n]; i++) {
		if (r->got[n][i].type != (uint32_t)type)
			continue;
		taken = r->got[n][i];
		memmove(&r->got[n][i], &r->got[n][i + 1], (--r->ngot[n] - i) * sizeof(taken));
		return &taken;
	}
	return NULL;
}

const struct csv_dlm_order *rig_order(struct rig *r, unsigned node, enum csv_dlm_verb verb)
{
	static struct csv_dlm_order taken;
	unsigned n = node - 1;

	for (unsigned i = 0; i < r->norders[n]; i++) {
		if (r->orders[n][i].verb != verb)
			continue;
		taken = r->orders[n][i];
		memmove(&r->orders[n][i], &r->orders[n][i + 1], (--r->norders[n] - i) * sizeof(taken));
		return &taken;
	}
	return NULL;
}

void rig_said(struct rig *r, unsigned node, enum csv_dlm_said what, struct csv_res res, enum csv_mode mode,
	      uint64_t seq)
{
	struct csv_dlm_saying s = { .what = what, .res = res, .mode = mode, .seq = seq };
	struct csv_event ev = { .type = CSV_EV_DLM, .dlm = &s };

	memcpy(s.uuid, rig_volume, sizeof(s.uuid));
	step(r, node - 1, &ev);
	rig_settle(r);
}

void rig_expel(struct rig *r, unsigned node, uint32_t nodeid)
{
	struct csv_actions acts = { 0 };

	csv_machine_expel(r->m[node - 1], nodeid, &acts);
	carry_out(r, node - 1, &acts);
	rig_settle(r);
}

void rig_forget(struct rig *r)
{
	memset(r->ngot, 0, sizeof(r->ngot));
}

struct csv_msg_view rig_view(struct rig *r, unsigned node)
{
	struct csv_msg_view v;

	csv_machine_view(r->m[node - 1], rig_volume, &v);
	return v;
}

bool rig_same(const struct rig *r, unsigned mask)
{
	unsigned first = (unsigned)__builtin_ctz(mask);

	for (unsigned n = 0; n < r->nnodes; n++) {
		if ((mask >> n & 1) && csv_machine_digest(r->m[n]) != csv_machine_digest(r->m[first]))
			return false;
	}
	return true;
}
