/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Byte-range locks of a volume, in total order.  Who sets one while the volume is frozen or there is no quorum waits
 * for the thaw, for the same reason as with cluster locks (L1); so does what the same owner does to the same file after
 * it.  Everything else, tests and drops too, is answered at once.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "lockd/core/core.h"

struct csv_brl csv_brl_of(const struct csv_msg_brl *b)
{
	return (struct csv_brl){
		.ino = b->ino,
		.gen = b->gen,
		.handle = b->handle,
		.owner = b->owner,
		.start = b->start,
		.end = b->end,
		.type = b->type,
		.pid = b->pid,
		.flock = b->flock,
	};
}

void csv_brl_put(struct csv_wbuf *w, const struct csv_brl *l)
{
	csv_put64(w, l->ino);
	csv_put32(w, l->gen);
	csv_put32(w, l->node);
	csv_put64(w, l->handle);
	csv_put64(w, l->owner);
	csv_put64(w, l->start);
	csv_put64(w, l->end);
	csv_put32(w, l->type);
	csv_put32(w, l->pid);
	csv_put32(w, l->flock);
}

bool csv_brl_get(struct csv_rbuf *r, struct csv_brl *l)
{
	*l = (struct csv_brl){ 0 };
	l->ino = csv_get64(r);
	l->gen = csv_get32(r);
	l->node = csv_get32(r);
	l->handle = csv_get64(r);
	l->owner = csv_get64(r);
	l->start = csv_get64(r);
	l->end = csv_get64(r);
	l->type = csv_get32(r);
	l->pid = csv_get32(r);
	l->flock = csv_get32(r);
	return !r->bad && csv_brl_sound(l);
}

/* The csvfs hears of a result: what it has asked for is now what it has. */
void csv_ranges_told(struct csv_local *c, const struct csv_msg *result)
{
	struct csv_list *pos, *tmp;

	csv_list_for_each_safe(pos, tmp, &c->brl_asks) {
		struct csv_brl_ask *a = csv_list_entry(pos, struct csv_brl_ask, link);
		struct csv_brl own = csv_brl_of(&a->msg.brl);

		if (a->msg.seq != result->seq)
			continue;
		if (result->err == CSV_OK && own.type != F_UNLCK && a->msg.type == CSV_MSG_BRL_SET)
			csv_brl_set(c->brl, &own, NULL);
		csv_list_del(&a->link);
		free(a);
	}
}

/* found: the conflict; NULL: none. */
static void answer(struct csv_machine *m, struct csv_space *sp, const struct csv_place *p, uint64_t seq,
		   const struct csv_brl *req, const struct csv_brl *found)
{
	struct csv_msg msg = { .type = CSV_MSG_BRL_RESULT, .err = found ? CSV_LOCKED : CSV_OK, .seq = seq };
	const struct csv_brl *l = found ? found : req;
	const struct csv_place *owner = found ? csv_place_by_id(sp, found->node) : p;
	struct csv_local *c = csv_local_at(m, sp, p);

	if (!c)
		return;
	msg.brl.ino = l->ino;
	msg.brl.gen = l->gen;
	msg.brl.type = l->type;
	msg.brl.handle = l->handle;
	msg.brl.owner = l->owner;
	msg.brl.start = l->start;
	msg.brl.end = l->end;
	msg.brl.pid = l->pid;
	msg.brl.flock = l->flock;
	msg.brl.nodeid = owner ? owner->nodeid : 0;
	csv_pending_add(m, c, &msg);
}

static void carry_out(struct csv_machine *m, struct csv_space *sp, const struct csv_place *p, uint64_t seq,
		      const struct csv_brl *req)
{
	struct csv_brl found;
	bool ok = csv_brl_set(sp->brl, req, &found);

	answer(m, sp, p, seq, req, ok ? NULL : &found);
}

static bool has_to_wait(const struct csv_machine *m, const struct csv_space *sp, const struct csv_brl *req)
{
	struct csv_list *pos;

	if (req->type != F_UNLCK && (!m->quorate || csv_space_frozen(sp)))
		return true;
	csv_list_for_each(pos, &sp->brl_waits) {
		const struct csv_brl *w = &csv_list_entry(pos, const struct csv_brl_wait, link)->brl;

		if (w->ino == req->ino && w->gen == req->gen && w->node == req->node && w->owner == req->owner)
			return true;
	}
	return false;
}

bool csv_apply_brl(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r)
{
	struct csv_place *p = csv_place_bound(sp, sender);
	uint64_t seq = csv_get64(r);
	bool test = csv_get8(r);
	struct csv_brl_wait *w;
	struct csv_brl req, found;
	bool sound = csv_brl_get(r, &req);

	if (!sound || !csv_get_end(r))
		return false;
	if (!p || p->slot == CSV_NO_SLOT)
		return true;
	req.node = p->id;
	if (test) {
		answer(m, sp, p, seq, &req, csv_brl_test(sp->brl, &req, &found) ? &found : NULL);
		return true;
	}
	if (!has_to_wait(m, sp, &req)) {
		carry_out(m, sp, p, seq, &req);
		return true;
	}
	w = calloc(1, sizeof(*w));
	CSV_ASSERT(w);
	w->place = p->id;
	w->seq = seq;
	w->brl = req;
	csv_list_push_back(&sp->brl_waits, &w->link);
	return true;
}

static void cancel(struct csv_machine *m, struct csv_space *sp, const struct csv_place *p, struct csv_brl_wait *w)
{
	struct csv_msg msg = { .type = CSV_MSG_BRL_RESULT, .err = CSV_INTR, .seq = w->seq };
	struct csv_local *c = csv_local_at(m, sp, p);

	if (c)
		csv_pending_add(m, c, &msg);
	csv_list_del(&w->link);
	free(w);
}

/* A signal has come for who waits for the thaw.  What has been answered stays so; an unlock is not taken back. */
bool csv_apply_brl_cancel(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r)
{
	struct csv_place *p = csv_place_bound(sp, sender);
	uint64_t seq = csv_get64(r);
	struct csv_list *pos, *tmp;

	if (!csv_get_end(r))
		return false;
	csv_list_for_each_safe(pos, tmp, &sp->brl_waits) {
		struct csv_brl_wait *w = csv_list_entry(pos, struct csv_brl_wait, link);

		if (p && w->place == p->id && w->seq == seq && w->brl.type != F_UNLCK)
			cancel(m, sp, p, w);
	}
	return true;
}

bool csv_apply_brl_drop(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r)
{
	struct csv_place *p = csv_place_bound(sp, sender);
	uint64_t handle = csv_get64(r);
	struct csv_list *pos, *tmp;

	if (!csv_get_end(r))
		return false;
	if (!p)
		return true;
	csv_list_for_each_safe(pos, tmp, &sp->brl_waits) {
		struct csv_brl_wait *w = csv_list_entry(pos, struct csv_brl_wait, link);
		struct csv_brl none = w->brl;

		if (w->place != p->id || w->brl.handle != handle)
			continue;
		none.type = F_UNLCK;
		answer(m, sp, p, w->seq, &none, NULL); /* who asked is closing the file */
		csv_list_del(&w->link);
		free(w);
	}
	csv_brl_drop_handle(sp->brl, p->id, handle);
	return true;
}

void csv_ranges_kick(struct csv_machine *m, struct csv_space *sp)
{
	while (m->quorate && !csv_space_frozen(sp) && !csv_list_empty(&sp->brl_waits)) {
		struct csv_brl_wait *w = csv_list_entry(sp->brl_waits.next, struct csv_brl_wait, link);
		struct csv_place *p = csv_place_by_id(sp, w->place);

		CSV_ASSERT(p);
		carry_out(m, sp, p, w->seq, &w->brl);
		csv_list_del(&w->link);
		free(w);
	}
}
