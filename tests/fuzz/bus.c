/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lockd/core/core.h"
#include "tests/fuzz/fuzz.h"

struct fuzz_packet {
	struct fuzz_packet *next;
	size_t len;
	uint8_t data[];
};

static void queue(struct fuzz_bus *b, const void *data, size_t len)
{
	struct fuzz_packet *p = malloc(sizeof(*p) + len);

	CSV_ASSERT(p);
	p->next = NULL;
	p->len = len;
	memcpy(p->data, data, len);
	*b->tail = p;
	b->tail = &p->next;
}

static void carry_out(struct fuzz_bus *b, struct csv_actions *acts)
{
	for (size_t i = 0; i < acts->n; i++) {
		const struct csv_action *a = &acts->list[i];

		if (a->type == CSV_ACT_SEND)
			queue(b, a->data, a->len);
		else if (a->type == CSV_ACT_TIMER && a->ms && b->ntimers < 64)
			b->timers[b->ntimers++] = a->timer;
		else if (a->type == CSV_ACT_REJOIN)
			b->out = true;
	}
	csv_actions_free(acts);
}

void fuzz_bus_step(struct fuzz_bus *b, const struct csv_event *ev)
{
	struct csv_actions acts = { 0 };

	if (b->out)
		return;
	csv_machine_step(b->m, ev, &acts);
	carry_out(b, &acts);
}

void fuzz_bus_settle(struct fuzz_bus *b)
{
	while (b->head) {
		struct fuzz_packet *p = b->head;
		struct csv_event ev = { .type = CSV_EV_MSG, .sender = 1, .data = p->data, .len = p->len };

		b->head = p->next;
		if (!b->head)
			b->tail = &b->head;
		fuzz_bus_step(b, &ev);
		free(p);
	}
}

void fuzz_bus_conf(struct fuzz_bus *b, unsigned members, unsigned down)
{
	struct csv_event ev = { .type = CSV_EV_CONF };

	for (unsigned i = 0; i < 3; i++) {
		if (i == 0 || members >> i & 1)
			ev.member[ev.nmembers++] = i + 1;
		else if (down >> i & 1)
			ev.down[ev.ndown++] = i + 1;
	}
	fuzz_bus_step(b, &ev);
}

void fuzz_bus_open(struct fuzz_bus *b)
{
	struct csv_machine_cfg cfg = { .nodeid = 1, .cluster = "c", .nnodes = 3, .reattach_ms = 5000, .boot = 1 };

	memset(b, 0, sizeof(*b));
	b->tail = &b->head;
	cfg.beat_ms = 1000;
	cfg.evict_ms = 3000;
	for (unsigned i = 0; i < 3; i++) {
		cfg.node[i].nodeid = i + 1;
		cfg.node[i].votes = 1;
		snprintf(cfg.node[i].name, sizeof(cfg.node[i].name), "n%u", i + 1);
	}
	CSV_ASSERT(csv_machine_new(&cfg, &b->m) == CSV_OK);
	fuzz_bus_conf(b, 7, 0);
}

void fuzz_bus_close(struct fuzz_bus *b)
{
	while (b->head) {
		struct fuzz_packet *p = b->head;

		b->head = p->next;
		free(p);
	}
	csv_machine_free(b->m);
}

static void deliver(struct fuzz_bus *b, uint32_t sender, const struct csv_wbuf *w)
{
	struct csv_event ev = { .type = CSV_EV_MSG, .sender = sender, .data = w->data, .len = w->len };

	fuzz_bus_step(b, &ev);
}

void fuzz_bus_form(struct fuzz_bus *b, bool others_have_state)
{
	struct csv_wbuf w;

	fuzz_bus_settle(b); /* START, and its HELLO */
	for (uint32_t n = 2; n <= 3; n++) {
		csv_msg_begin(&w, CSV_G_HELLO, b->m->start, 0);
		csv_put8(&w, CSV_GROUP_VERSION_MIN);
		csv_put8(&w, CSV_GROUP_VERSION);
		csv_put8(&w, others_have_state);
		csv_put8(&w, others_have_state);
		csv_put64(&w, others_have_state ? UINT64_MAX : 0);
		csv_put64(&w, 77);
		deliver(b, n, &w);
		csv_wbuf_free(&w);
	}
	fuzz_bus_settle(b);
}

void fuzz_bus_timers(struct fuzz_bus *b)
{
	uint64_t timers[64];
	unsigned n = b->ntimers;

	memcpy(timers, b->timers, sizeof(timers));
	b->ntimers = 0;
	for (unsigned i = 0; i < n; i++) {
		struct csv_event ev = { .type = CSV_EV_TIMER, .timer = timers[i] };

		fuzz_bus_step(b, &ev);
	}
}

void fuzz_bus_message(struct fuzz_bus *b, uint32_t sender, uint8_t kind, const void *body, size_t len)
{
	bool forming = kind == CSV_G_HELLO || kind == CSV_G_VOTE || kind == CSV_G_SNAPSHOT;
	uint64_t vid = kind == CSV_G_START ? 99 : forming ? b->m->start : b->m->state.vid;
	struct csv_wbuf w;

	csv_msg_begin(&w, (enum csv_group_kind)kind, vid, 1);
	w.data[CSV_GROUP_VERSION_OFF] = (uint8_t)b->m->version;
	csv_put(&w, body, len);
	deliver(b, sender, &w);
	csv_wbuf_free(&w);
}

void fuzz_bus_check(const struct fuzz_bus *b)
{
	struct csv_wbuf first = { 0 }, again = { 0 };
	struct csv_state s;

	if (b->out || !b->m->has_state)
		return;
	csv_state_write(&b->m->state, &first);
	csv_state_init(&s);
	CSV_ASSERT(csv_state_read(&s, first.data, first.len));
	csv_state_write(&s, &again);
	CSV_ASSERT(first.len == again.len && !memcmp(first.data, again.data, first.len));
	csv_state_clear(&s);
	csv_wbuf_free(&first);
	csv_wbuf_free(&again);
}
