/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lock requests that wait long are logged on the node of the waiter, with who is in the way: after 4 s, and again after
 * 8, 16, 32, 64 s and then each 64.
 *
 * There is no clock here: a wait is as long as the beats that it has seen (evict.c).  While the volume is frozen, or
 * there is no view or no quorum, every request waits for that; it is logged as the volume's state, not once for each.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "csv/timeouts.h"
#include "lockd/core/core.h"

#define LINES 8u /* at a beat; of the others only the number is told */

void csv_wait_begin(struct csv_local *c, struct csv_hold *h)
{
	csv_wait_end(h);
	h->waits = true;
	h->waited_ms = 0;
	h->beaten = false;
	h->tell_ms = CSV_WAIT_TELL_MS;
	csv_list_push_back(&c->waiting, &h->wait);
}

void csv_wait_end(struct csv_hold *h)
{
	if (h->waits)
		csv_list_del(&h->wait);
	h->waits = false;
}

struct text {
	char s[160];
	size_t len;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->s + t->len, sizeof(t->s) - t->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->len = t->len + (size_t)n < sizeof(t->s) ? t->len + (size_t)n : sizeof(t->s) - 1;
}

/* " PR by n2 n3" for those of the list that have, or want, this mode; stops at the waiter itself. */
static void add_mode(const struct csv_machine *m, struct text *t, const struct csv_list *head, enum csv_mode mode,
		     const struct csv_lkb *self)
{
	struct csv_list *pos;
	bool any = false;

	csv_list_for_each(pos, head) {
		const struct csv_lkb *l = csv_list_entry(pos, const struct csv_lkb, link);

		if (l == self)
			break;
		if (l->mode != mode || l->flags & CSV_LOCKF_NOQUEUE)
			continue;
		if (!any)
			add(t, " %s by", csv_mode_name(mode));
		add(t, " %s", csv_node_name(m, l->place->nodeid));
		any = true;
	}
}

static bool in_the_way(const struct csv_lkb *self, enum csv_mode mode)
{
	return !csv_mode_compatible(mode, self->mode);
}

/* The state knows who holds it. */
static void find_cpg(const struct csv_machine *m, const struct csv_space *sp, const struct csv_hold *h, struct text *t)
{
	const struct csv_rsb *r = csv_rsb_find(sp, h->res);
	const struct csv_place *p = csv_place_bound(sp, m->cfg.nodeid);
	const struct csv_lkb *self = r && p ? csv_lkb_find(r, p, true) : NULL;
	size_t empty;

	if (!self) {
		add(t, "%s",
		    r && p && csv_lkb_find(r, p, false) ? "granted, but the group has not confirmed it"
							: "its request is not in order yet");
		return;
	}
	add(t, "held");
	empty = t->len;
	for (enum csv_mode mode = CSV_EX; mode > CSV_NL; mode--)
		if (in_the_way(self, mode))
			add_mode(m, t, &r->holders, mode, NULL);
	if (t->len > empty)
		return;
	t->len = 0;
	add(t, "behind");
	empty = t->len;
	for (enum csv_mode mode = CSV_EX; mode > CSV_NL; mode--)
		add_mode(m, t, &r->waiters, mode, self);
	if (t->len == empty) {
		t->len = 0;
		add(t, "nobody is in its way");
	}
}

static void find_dlm(const struct csv_hold *h, struct text *t)
{
	if (h->got != CSV_NL)
		add(t, "granted by the DLM, but the group has not confirmed it");
	else if (h->asked)
		add(t, "asked of the DLM, which does not say who holds it");
	else
		add(t, "not asked of the DLM yet");
}

static void tell(struct csv_machine *m, const struct csv_local *c, const struct csv_space *sp, const struct csv_hold *h)
{
	struct text t = { .len = 0 };

	if (csv_dlm_routed(c, h->res))
		find_dlm(h, &t);
	else
		find_cpg(m, sp, h, &t);
	csv_act_log(m, CSV_LOG_WARN, "%s waits %u s for %s %llu %s of %s: %s", csv_node_name(m, m->cfg.nodeid),
		    h->waited_ms / 1000, csv_res_type_name(h->res.type), (unsigned long long)h->res.id,
		    csv_mode_name(h->want), c->name, t.s);
}

/* True: it is due to be told. The first beat came at any time after the request. */
static bool count(const struct csv_machine *m, struct csv_hold *h)
{
	if (h->beaten)
		h->waited_ms += m->cfg.beat_ms;
	h->beaten = true;
	return h->waited_ms >= h->tell_ms;
}

static void beat_local(struct csv_machine *m, struct csv_local *c)
{
	const struct csv_space *sp = m->has_state ? csv_space_find(&m->state, c->uuid) : NULL;
	bool told = m->phase == CSV_PHASE_FORMED && m->quorate && sp && !csv_space_frozen(sp);
	unsigned lines = 0, more = 0;
	struct csv_list *pos, *tmp;

	csv_list_for_each_safe(pos, tmp, &c->waiting) {
		struct csv_hold *h = csv_list_entry(pos, struct csv_hold, wait);

		if (h->want == CSV_NL) {
			csv_wait_end(h);
			continue;
		}
		if (!count(m, h) || !told)
			continue;
		h->tell_ms = h->waited_ms + (h->waited_ms < CSV_WAIT_TELL_MAX_MS ? h->waited_ms : CSV_WAIT_TELL_MAX_MS);
		if (lines++ < LINES)
			tell(m, c, sp, h);
		else
			more++;
	}
	if (more)
		csv_act_log(m, CSV_LOG_WARN, "%s waits for %u more locks of %s", csv_node_name(m, m->cfg.nodeid), more,
			    c->name);
}

void csv_waits_beat(struct csv_machine *m)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &m->locals)
		beat_local(m, csv_list_entry(pos, struct csv_local, link));
}
