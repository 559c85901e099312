/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Each structure has one description, which both writes and reads it: a coder with
 * `out` set copies fields into the buffer, else out of it.
 */
#include <endian.h>
#include <string.h>

#include "lib/log.h"
#include "migrate/core/wire.h"

struct coder {
	bool out, bad;
	uint8_t *w;
	const uint8_t *r;
	size_t pos, size;
};

static void bytes(struct coder *c, void *p, size_t len)
{
	if (c->bad || c->size - c->pos < len) {
		c->bad = true;
		if (!c->out)
			memset(p, 0, len);
		return;
	}
	if (c->out)
		memcpy(c->w + c->pos, p, len);
	else
		memcpy(p, c->r + c->pos, len);
	c->pos += len;
}

static void u64(struct coder *c, uint64_t *v)
{
	uint64_t le = htole64(*v);

	bytes(c, &le, sizeof(le));
	*v = le64toh(le);
}

static void u32(struct coder *c, uint32_t *v)
{
	uint32_t le = htole32(*v);

	bytes(c, &le, sizeof(le));
	*v = le32toh(le);
}

static void flag(struct coder *c, bool *v)
{
	uint32_t x = *v;

	u32(c, &x);
	c->bad |= x > 1;
	*v = x == 1;
}

/* Times: in whole microseconds, the nearest, since a double has no fixed bytes. */
static void ms(struct coder *c, double *v)
{
	uint64_t us = *v > 0 && *v < 1e12 ? (uint64_t)(*v * 1000 + 0.5) : 0;

	u64(c, &us);
	*v = (double)us / 1000;
}

static void str(struct coder *c, char *s, size_t size)
{
	uint32_t len = c->out ? (uint32_t)strnlen(s, size - 1) : 0;

	u32(c, &len);
	if (len >= size) {
		c->bad = true;
		len = 0;
	}
	bytes(c, s, len);
	s[len] = 0;
	if (!c->out && strlen(s) != len)
		c->bad = true;
}

/* A number below `end`. */
static uint32_t below(struct coder *c, uint32_t v, uint32_t end)
{
	u32(c, &v);
	if (v >= end) {
		c->bad = true;
		v = 0;
	}
	return v;
}

static void life(struct coder *c, struct csv_ho_life *l)
{
	u32(c, &l->nodeid);
	u32(c, &l->slot);
	u32(c, &l->incarnation);
	str(c, l->node, sizeof(l->node));
}

static void file(struct coder *c, struct csv_ho_file *f)
{
	u64(c, &f->ino);
	u32(c, &f->gen);
	u64(c, &f->epoch);
	u64(c, &f->size);
	str(c, f->path, sizeof(f->path));
}

static void plan(struct coder *c, struct csv_ho_plan *p)
{
	bytes(c, p->id, sizeof(p->id));
	bytes(c, p->uuid, sizeof(p->uuid));
	str(c, p->vm, sizeof(p->vm));
	life(c, &p->src);
	life(c, &p->dst);
	str(c, p->definition, sizeof(p->definition));
	u64(c, &p->definition_size);
	bytes(c, p->definition_sha256, sizeof(p->definition_sha256));
	flag(c, &p->launch);
	str(c, p->uri, sizeof(p->uri));
	p->nfiles = below(c, p->nfiles, CSV_HO_FILES_MAX + 1);
	for (unsigned i = 0; i < p->nfiles; i++)
		file(c, &p->file[i]);
}

static void times(struct coder *c, struct csv_ho_times *t)
{
	ms(c, &t->drain);
	ms(c, &t->journal);
	ms(c, &t->home);
	ms(c, &t->silence);
	ms(c, &t->activate);
	ms(c, &t->first);
}

static void message(struct coder *c, struct csv_ho_msg *m)
{
	m->kind = (enum csv_ho_msg_kind)below(c, m->kind, CSV_HO_MSG_ANSWER + 1);
	bytes(c, m->id, sizeof(m->id));
	u64(c, &m->token);
	m->req = (enum csv_ho_request)below(c, m->req, CSV_HO_REQ_FINISH + 1);
	m->event = (enum csv_ho_event_type)below(c, m->event, CSV_HO_EV_COUNT);
	u32(c, &m->slot);
	u32(c, &m->incarnation);
	m->err = (enum csv_err)below(c, m->err, CSV_ERR_COUNT);
	str(c, m->why, sizeof(m->why));
	times(c, &m->times);
	plan(c, &m->plan);
}

static void record(struct coder *c, struct csv_handoff *h)
{
	plan(c, &h->plan);
	h->state = (enum csv_ho_state)below(c, h->state, CSV_HO_STATE_COUNT);
	h->outcome = (enum csv_ho_outcome)below(c, h->outcome, CSV_HO_MOVED + 1);
	flag(c, &h->src_out);
	flag(c, &h->dst_out);
	flag(c, &h->src_recovered);
	flag(c, &h->dst_recovered);
	h->order = (enum csv_ho_verb)below(c, h->order, CSV_HO_VERB_COUNT);
	u32(c, &h->actor_slot);
	u32(c, &h->actor_incarnation);
	h->err = (enum csv_err)below(c, h->err, CSV_ERR_COUNT);
	str(c, h->why, sizeof(h->why));
	times(c, &h->times);
	u64(c, &h->number);
}

/* Only reads with `out`, though the one description cannot say so. */
#define UNCONST(type, p) ((type *)(uintptr_t)(p))

size_t csv_ho_msg_encode(const struct csv_ho_msg *m, uint8_t *data)
{
	struct coder c = { .out = true, .w = data, .size = CSV_HO_MSG_MAX };

	message(&c, UNCONST(struct csv_ho_msg, m));
	CSV_ASSERT(!c.bad);
	return c.pos;
}

bool csv_ho_msg_decode(struct csv_ho_msg *m, const uint8_t *data, size_t len)
{
	struct coder c = { .r = data, .size = len };

	memset(m, 0, sizeof(*m));
	message(&c, m);
	return !c.bad && c.pos == len && m->kind;
}

size_t csv_handoff_encode(const struct csv_handoff *h, uint8_t *data)
{
	struct coder c = { .out = true, .w = data, .size = CSV_HO_MSG_MAX };

	record(&c, UNCONST(struct csv_handoff, h));
	CSV_ASSERT(!c.bad);
	return c.pos;
}

size_t csv_handoff_decode(struct csv_handoff *h, const uint8_t *data, size_t len)
{
	struct coder c = { .r = data, .size = len };

	memset(h, 0, sizeof(*h));
	record(&c, h);
	return c.bad || !csv_handoff_ok(h) ? 0 : c.pos;
}
