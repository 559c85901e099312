/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Byte-range locks of a volume, in total order.  Who sets one while the volume is frozen or there is no quorum waits
 * for the thaw, for the same reason as with cluster locks (L1); so does what the same owner does to the same file after
 * it.  Everything else, tests and drops too, is answered at once.
 *
 * A request that may wait for a lock to go stays in the same list, marked as tried: what its owner does after it does
 * not wait behind it, or no other thread of the process could unlock anything.  Whatever gives something up has those
 * tried again whom it may have let wait, in the order in which they came; while nothing may be granted, the thaw has.
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
		return;
	}
}

/* l: the conflict (LOCKED), else what was asked for. */
static void answer(struct csv_machine *m, struct csv_space *sp, const struct csv_place *p, uint64_t seq,
		   enum csv_err err, const struct csv_brl *l)
{
	struct csv_msg msg = { .type = CSV_MSG_BRL_RESULT, .err = err, .seq = seq };
	const struct csv_place *owner = err == CSV_LOCKED ? csv_place_by_id(sp, l->node) : p;
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

static bool may_grant(const struct csv_machine *m, const struct csv_space *sp)
{
	return m->quorate && !csv_space_frozen(sp);
}

/* WAIT: not now, and nothing has changed.  *about: what the answer is about. */
static enum csv_err carry_out(struct csv_space *sp, enum csv_brl_how how, const struct csv_brl *req,
			      struct csv_brl *about)
{
	*about = *req;
	if (how == CSV_BRL_HOW_TEST)
		return csv_brl_test(sp->brl, req, about) ? CSV_LOCKED : CSV_OK;
	if (csv_brl_set(sp->brl, req, about))
		return CSV_OK;
	if (how == CSV_BRL_HOW_SET)
		return CSV_LOCKED;
	if (how == CSV_BRL_HOW_WAIT_PROCESS && csv_brl_deadlock(sp->brl, &sp->brl_queue, req))
		return CSV_DEADLK;
	return CSV_WAIT;
}

/* An unlock, or a lock that may have replaced a stronger one. */
static bool gives_way(enum csv_err err, const struct csv_brl *req)
{
	return err == CSV_OK && req->type != F_WRLCK;
}

/* One that waits is tried (again).  True: something was given up by it, and others may go on. */
static bool try_waiting(struct csv_machine *m, struct csv_space *sp, struct csv_brl_wait *w)
{
	struct csv_place *p = csv_place_by_id(sp, w->place);
	struct csv_brl req = w->w.brl, about;
	enum csv_err err;

	CSV_ASSERT(p);
	csv_brl_wait_tried(w, true);
	err = carry_out(sp, w->how, &req, &about);
	if (err == CSV_WAIT)
		return false;
	answer(m, sp, p, w->seq, err, &about);
	csv_brl_wait_free(sp, w);
	return gives_way(err, &req);
}

/* Some of this range was given up. */
static void wake(struct csv_machine *m, struct csv_space *sp, const struct csv_brl *given_up)
{
	struct csv_brl range = *given_up;
	struct csv_brl_waiter *w, *next;
	bool again = may_grant(m, sp);

	while (again) {
		again = false;
		for (w = csv_brl_waits_next(&sp->brl_queue, &range, NULL); w; w = next) {
			next = csv_brl_waits_next(&sp->brl_queue, &range, w);
			again |= try_waiting(m, sp, csv_list_entry(w, struct csv_brl_wait, w));
		}
		range.start = 0; /* what was given up thereby may lie anywhere in the file */
		range.end = UINT64_MAX;
	}
}

static bool has_to_wait(const struct csv_machine *m, const struct csv_space *sp, const struct csv_brl *req)
{
	const struct csv_brl_waiter *w = NULL;

	if (req->type != F_UNLCK && !may_grant(m, sp))
		return true;
	while ((w = csv_brl_waits_of(&sp->brl_queue, req->node, req->owner, w))) {
		if (!csv_list_entry(w, const struct csv_brl_wait, w)->tried && w->brl.ino == req->ino &&
		    w->brl.gen == req->gen)
			return true;
	}
	return false;
}

bool csv_apply_brl(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r)
{
	struct csv_place *p = csv_place_bound(sp, sender);
	uint64_t seq = csv_get64(r);
	uint8_t how = csv_get8(r);
	struct csv_brl req, about;
	enum csv_err err;
	bool sound = csv_brl_get(r, &req);

	if (!sound || !csv_get_end(r) || how >= CSV_BRL_HOWS)
		return false;
	if (!p || p->slot == CSV_NO_SLOT)
		return true;
	req.node = p->id;
	if (how != CSV_BRL_HOW_TEST && has_to_wait(m, sp, &req)) {
		csv_brl_wait_new(sp, p->id, seq, (enum csv_brl_how)how, &req);
		return true;
	}
	err = carry_out(sp, (enum csv_brl_how)how, &req, &about);
	if (err == CSV_WAIT) {
		csv_brl_wait_tried(csv_brl_wait_new(sp, p->id, seq, (enum csv_brl_how)how, &req), true);
		return true;
	}
	answer(m, sp, p, seq, err, &about);
	if (how != CSV_BRL_HOW_TEST && gives_way(err, &req))
		wake(m, sp, &req);
	return true;
}

/* A signal has come for who waits.  What has been answered stays so; an unlock is not taken back. */
bool csv_apply_brl_cancel(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r)
{
	struct csv_place *p = csv_place_bound(sp, sender);
	uint64_t seq = csv_get64(r);
	struct csv_list *pos, *tmp;

	if (!csv_get_end(r))
		return false;
	csv_list_for_each_safe(pos, tmp, &sp->brl_waits) {
		struct csv_brl_wait *w = csv_list_entry(pos, struct csv_brl_wait, link);

		if (!p || w->place != p->id || w->seq != seq || w->w.brl.type == F_UNLCK)
			continue;
		answer(m, sp, p, seq, CSV_INTR, &w->w.brl);
		csv_brl_wait_free(sp, w);
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
		struct csv_brl none = w->w.brl;

		if (w->place != p->id || none.handle != handle)
			continue;
		none.type = F_UNLCK;
		answer(m, sp, p, w->seq, CSV_OK, &none); /* who asked is closing the file */
		csv_brl_wait_free(sp, w);
	}
	if (csv_brl_drop_handle(sp->brl, p->id, handle))
		csv_ranges_kick(m, sp);
	return true;
}

void csv_ranges_kick(struct csv_machine *m, struct csv_space *sp)
{
	bool again = may_grant(m, sp);

	while (again) {
		struct csv_list *pos, *tmp;

		again = false;
		csv_list_for_each_safe(pos, tmp, &sp->brl_waits)
			again |= try_waiting(m, sp, csv_list_entry(pos, struct csv_brl_wait, link));
	}
}
