/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lives of slots.
 *
 *	FREE      -> ATTACHING  ATTACH
 *	ATTACHING -> LIVE       every member of the view has said SEEN, with quorum: from here on no view can form
 *	                        among survivors who do not know of this slot, so none of them forgets to fence it
 *	LIVE      -> FREE       DETACH
 *	bound     -> LOST       the node's csvlockd left the group (CONF)
 *	LOST, OUT -> DECLARING  REATTACH, if no fence was ordered yet
 *	DECLARING -> LIVE       DECLARED
 *	LOST      -> OUT        EXPIRE: the node is gone, or its csvlockd did not come back in time
 *	any       -> OUT        its csvfs is gone (GONE), or it finds itself fenced; OVER: that life is over on disk
 *	FREE      -> OUT, LOST  DIRTY: found on disk
 *	OUT       -> FREE       fenced and replayed (recover.c)
 *
 * While any slot is LOST, DECLARING or OUT, the volume is frozen: no new grant (L1).
 */
#include <string.h>

#include "lib/bug.h"
#include "lockd/core/core.h"

static void slot_reset(struct csv_slot *s)
{
	uint32_t dead = s->dead, episode = s->episode;

	*s = (struct csv_slot){ .dead = dead, .episode = episode };
}

void csv_mount_node_gone(struct csv_machine *m, uint32_t nodeid)
{
	struct csv_space *sp;

	csv_for_each_space(sp, &m->state)
	{
		struct csv_place *p = csv_place_bound(sp, nodeid);

		if (!p)
			continue;
		m->view_dirty = true;
		if (p->slot == CSV_NO_SLOT) {
			/* Had no slot: it could write nothing but its slot block, under a key that the next mounter
			 * removes. */
			csv_place_free(sp, p);
			continue;
		}
		csv_place_unbind(sp, p);
		sp->slot[p->slot].life = CSV_LIFE_LOST;
		sp->slot[p->slot].episode++;
	}
}

void csv_slot_out(struct csv_machine *m, struct csv_space *sp, uint32_t slot, const char *why)
{
	struct csv_slot *s = &sp->slot[slot];
	struct csv_local *c = csv_local_at(m, sp, s->place);

	csv_act_log(m, CSV_LOG_WARN, "volume %s: slot %u (node %s) is out: %s", sp->name, slot, s->node, why);
	s->life = CSV_LIFE_OUT;
	s->step = s->fail = CSV_STEP_WAIT;
	s->fails = 0;
	s->asked = true;
	s->was_rec = sp->rec == slot;
	if (s->place)
		csv_place_unbind(sp, s->place);
	if (c)
		csv_local_fenced(m, c);
	m->view_dirty = true;
}

void csv_slot_free(struct csv_machine *m, struct csv_space *sp, uint32_t slot)
{
	struct csv_slot *s = &sp->slot[slot];

	csv_dlm_place_gone(m, sp, s->nodeid);
	if (s->life == CSV_LIFE_OUT)
		csv_dlm_recovered(m, sp, s->nodeid);
	if (s->place)
		csv_place_free(sp, s->place);
	if (s->incarnation > s->dead)
		s->dead = s->incarnation;
	slot_reset(s);
	if (sp->rec == slot)
		sp->rec = CSV_NO_SLOT;
	m->view_dirty = true;
	csv_space_kick(m, sp);
}

static bool get_slot(struct csv_rbuf *r, struct csv_msg_slot *s, uint64_t *seq)
{
	*s = (struct csv_msg_slot){ 0 };
	s->slot = csv_get32(r);
	s->incarnation = csv_get32(r);
	s->pr_key = csv_get64(r);
	s->nodeid = csv_get32(r);
	csv_get_str(r, s->node, sizeof(s->node));
	*seq = csv_get64(r);
	return csv_get_end(r) && s->slot < CSV_SLOTS_MAX;
}

static void fill_slot(struct csv_slot *s, const struct csv_msg_slot *from)
{
	s->incarnation = from->incarnation;
	s->pr_key = from->pr_key;
	s->nodeid = from->nodeid;
	memcpy(s->node, from->node, sizeof(s->node));
}

static void submit_seen(struct csv_machine *m, const struct csv_space *sp, uint32_t slot)
{
	struct csv_wbuf w = csv_op_begin(m, CSV_G_SEEN, sp->uuid);

	csv_put32(&w, slot);
	csv_put32(&w, sp->slot[slot].incarnation);
	csv_op_submit(m, &w);
}

/* A new view: all its members have to say it again. */
void csv_mount_seen_again(struct csv_machine *m)
{
	struct csv_space *sp;

	csv_for_each_space(sp, &m->state)
	{
		for (uint32_t i = 0; i < CSV_SLOTS_MAX; i++) {
			if (sp->slot[i].life == CSV_LIFE_ATTACHING)
				submit_seen(m, sp, i);
		}
	}
}

/*
 * A mounter of a deserted volume on which no slot is clean recovers one itself, under `mount`: it removes every key but
 * its own, which fences all that is out and all former recoverers, replays that slot, and attaches to its next life.
 */
bool csv_apply_attach(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r)
{
	struct csv_place *p = csv_place_bound(sp, sender);
	struct csv_local *c = csv_local_at(m, sp, p);
	struct csv_msg_slot want;
	struct csv_slot *s;
	uint64_t seq;

	if (!get_slot(r, &want, &seq))
		return false;
	s = &sp->slot[want.slot];
	if (!p || p->slot != CSV_NO_SLOT)
		return true;
	if (s->life == CSV_LIFE_OUT && csv_space_deserted(sp) && want.incarnation > s->incarnation)
		csv_slot_free(m, sp, want.slot); /* see above */
	if (s->life != CSV_LIFE_FREE || want.incarnation <= s->dead) {
		if (c) {
			c->phase = CSV_LOCAL_JOINED;
			csv_local_error(m, c, seq, s->life == CSV_LIFE_FREE ? CSV_STALE : CSV_BUSY,
					"slot %u is taken by node %s, incarnation %u; take another slot", want.slot,
					s->life == CSV_LIFE_FREE ? "nobody" : s->node,
					s->life == CSV_LIFE_FREE ? s->dead : s->incarnation);
		}
		return true;
	}
	csv_expelled_forget(m, sender);
	slot_reset(s);
	fill_slot(s, &want);
	s->life = CSV_LIFE_ATTACHING;
	s->seq = seq;
	s->place = p;
	p->slot = want.slot;
	submit_seen(m, sp, want.slot);
	return true;
}

static bool all_seen(const struct csv_machine *m, const struct csv_slot *s)
{
	uint64_t all = csv_state_all(&m->state);

	return (s->seen & all) == all || CSV_BUG(SEEN_NOT_AWAITED);
}

bool csv_apply_seen(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r)
{
	uint32_t slot = csv_get32(r), incarnation = csv_get32(r);
	int at = csv_state_member(&m->state, sender);
	struct csv_local *c;
	struct csv_slot *s;

	if (!csv_get_end(r) || slot >= CSV_SLOTS_MAX)
		return false;
	s = &sp->slot[slot];
	if (s->life != CSV_LIFE_ATTACHING || s->incarnation != incarnation || at < 0)
		return true;
	s->seen |= 1ull << at;
	if (!m->quorate || !all_seen(m, s))
		return true;
	s->life = CSV_LIFE_LIVE;
	m->view_dirty = true;
	csv_act_log(m, CSV_LOG_INFO, "volume %s: node %s has slot %u, incarnation %u", sp->name, s->node, slot,
		    incarnation);
	c = csv_local_at(m, sp, s->place);
	if (c) {
		struct csv_msg msg = { .type = CSV_MSG_ATTACHED, .seq = s->seq };

		c->phase = CSV_LOCAL_ATTACHED;
		csv_space_view(sp, m->quorate, &msg.view);
		c->view = msg.view;
		c->viewed = true;
		csv_act_client(m, c->id, &msg);
		csv_handoff_attached(m, c);
	}
	return true;
}

bool csv_apply_detach(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r)
{
	uint32_t slot = csv_get32(r), incarnation = csv_get32(r);
	uint64_t seq = csv_get64(r);
	struct csv_place *p = csv_place_bound(sp, sender);
	struct csv_local *c;
	struct csv_slot *s;
	uint64_t client;

	if (!csv_get_end(r) || slot >= CSV_SLOTS_MAX)
		return false;
	s = &sp->slot[slot];
	if (!p || p->slot != slot || s->life != CSV_LIFE_LIVE || s->incarnation != incarnation)
		return true;
	csv_act_log(m, CSV_LOG_INFO, "volume %s: node %s has given up slot %u", sp->name, s->node, slot);
	client = p->client;
	csv_slot_free(m, sp, slot);
	c = csv_local_at(m, sp, csv_place_new(sp, sender, client));
	if (c) {
		c->phase = CSV_LOCAL_DETACHED;
		csv_local_done(m, c, seq);
	}
	return true;
}

bool csv_apply_gone(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r)
{
	uint32_t slot = csv_get32(r), incarnation = csv_get32(r);
	struct csv_place *p;

	if (!csv_get_end(r))
		return false;
	if (slot < CSV_SLOTS_MAX && sp->slot[slot].incarnation == incarnation && sp->slot[slot].nodeid == sender &&
	    sp->slot[slot].life != CSV_LIFE_FREE && sp->slot[slot].life != CSV_LIFE_OUT)
		csv_slot_out(m, sp, slot, "its csvfs has gone");
	p = csv_place_bound(sp, sender); /* another one: behind its DETACH, when its slot was found dirty since */
	if (p && p->slot != CSV_NO_SLOT) {
		csv_slot_out(m, sp, p->slot, "its csvfs has gone");
	} else if (p) {
		csv_dlm_place_gone(m, sp, sender);
		csv_place_free(sp, p);
		csv_space_kick(m, sp);
	}
	return true;
}

/*
 * A slot of which the disk knows a later life than we do: a group that was quorate without us recovered the one we
 * know, and what it held is nobody's any more.  Not while an order for it is outstanding: who found it will find it
 * again.
 */
static void replace_life(struct csv_machine *m, struct csv_space *sp, const struct csv_msg_slot *found)
{
	struct csv_slot *s = &sp->slot[found->slot];

	if (s->life == CSV_LIFE_OUT && (s->step == CSV_STEP_FENCING || s->step == CSV_STEP_REPLAYING)) {
		sp->verifier = CSV_NO_SLOT; /* its answer does not count */
		return;
	}
	if (s->life != CSV_LIFE_OUT)
		csv_slot_out(m, sp, found->slot, "the disk knows a later life of it");
	csv_dlm_place_gone(m, sp, s->nodeid);
	if (s->place)
		csv_place_free(sp, s->place);
	s->was_rec = false;
	s->step = s->fail = CSV_STEP_WAIT;
	s->fails = 0;
	fill_slot(s, found);
	m->view_dirty = true;
	csv_space_kick(m, sp);
}

/*
 * Found on disk by a mounter, or by the verifier.  The node of the slot may be a member whose csvfs is only about to
 * declare itself (after all csvlockds were restarted); it gets the re-attach time.  Not so the sender's own node: its
 * one csvfs of this volume is the sender.
 */
static void found_dirty(struct csv_machine *m, struct csv_space *sp, uint32_t sender, const struct csv_msg_slot *found)
{
	struct csv_slot *s = &sp->slot[found->slot];

	if (s->life == CSV_LIFE_FREE) {
		bool wait = found->nodeid != sender && csv_state_member(&m->state, found->nodeid) >= 0;

		slot_reset(s);
		fill_slot(s, found);
		s->episode++;
		m->view_dirty = true;
		if (wait)
			s->life = CSV_LIFE_LOST;
		else
			csv_slot_out(m, sp, found->slot, "not clean on disk");
	} else if (found->incarnation > s->incarnation) {
		replace_life(m, sp, found);
	} else if (s->life == CSV_LIFE_LOST && s->nodeid == sender && s->incarnation == found->incarnation) {
		csv_slot_out(m, sp, found->slot, "its csvfs has gone");
	}
}

static void found_told(struct csv_machine *m, struct csv_local *c, uint64_t seq)
{
	if (!c || c->phase == CSV_LOCAL_FENCED)
		return;
	csv_views_flush(m);
	if (seq)
		csv_local_done(m, c, seq);
}

bool csv_apply_dirty(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r)
{
	struct csv_local *c = csv_local_at(m, sp, csv_place_bound(sp, sender));
	struct csv_msg_slot found;
	uint64_t seq;

	if (!get_slot(r, &found, &seq))
		return false;
	/* Said again (no seq) after the lines of state have met: it may have been recovered since. */
	if (seq || found.incarnation > sp->slot[found.slot].dead)
		found_dirty(m, sp, sender, &found);
	found_told(m, c, seq);
	return true;
}

/*
 * Alive here, over on disk: a group that nobody remembers fenced it.  It will not write again, but until its next write
 * it does not know, and what others do meanwhile it does not see.  True it stays for ever of that life, so a word that
 * comes late does no harm.
 */
bool csv_apply_over(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r)
{
	struct csv_local *c = csv_local_at(m, sp, csv_place_bound(sp, sender));
	struct csv_msg_slot found;
	struct csv_slot *s;
	uint64_t seq;

	if (!get_slot(r, &found, &seq))
		return false;
	s = &sp->slot[found.slot];
	if (s->life != CSV_LIFE_FREE && s->incarnation == found.incarnation && !CSV_BUG(L9_OVER_GOES_ON)) {
		if (s->life == CSV_LIFE_OUT)
			s->asked = true;
		else
			csv_slot_out(m, sp, found.slot, "it is over on disk");
	}
	found_told(m, c, seq);
	return true;
}

/* Out, but its csvfs may live: until somebody is told to fence it, it may come back and declare. */
static void expire(struct csv_machine *m, struct csv_space *sp, uint32_t slot)
{
	csv_slot_out(m, sp, slot, "its node has left");
	sp->slot[slot].asked = false;
}

/* In a new view: who is here again gets the time to declare itself, if it can still come back. */
void csv_mount_expect(struct csv_machine *m, struct csv_space *sp)
{
	for (uint32_t i = 0; i < CSV_SLOTS_MAX; i++) {
		struct csv_slot *s = &sp->slot[i];

		if (s->life != CSV_LIFE_OUT || s->asked || csv_state_member(&m->state, s->nodeid) < 0)
			continue;
		s->life = CSV_LIFE_LOST;
		s->episode++;
	}
}

bool csv_apply_expire(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r)
{
	uint32_t slot = csv_get32(r), episode = csv_get32(r);

	if (!csv_get_end(r) || slot >= CSV_SLOTS_MAX)
		return false;
	if (sp->slot[slot].life == CSV_LIFE_LOST && sp->slot[slot].episode == episode)
		expire(m, sp, slot);
	return true;
}

static bool can_look(const struct csv_slot *s)
{
	return s->life == CSV_LIFE_LIVE && s->place->unlooked;
}

/*
 * Nobody who mounted has looked at the slot table since this state began: a live mount is asked to; if it cannot, the
 * next one.  A look counts only if the volume was settled from its beginning to its end: an order of another line that
 * was at work meanwhile would have fenced somebody behind it.
 */
bool csv_apply_verify(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r)
{
	struct csv_msg msg = { .type = CSV_MSG_DIRTY };
	struct csv_local *c;
	uint32_t i = 1, n;

	if (!csv_get_end(r))
		return false;
	while (i <= CSV_SLOTS_MAX && !can_look(&sp->slot[(sp->verify_last + i) % CSV_SLOTS_MAX]))
		i++;
	if (sp->verified || sp->verifier != CSV_NO_SLOT || !csv_space_settled(sp) || i > CSV_SLOTS_MAX)
		return true;
	n = (sp->verify_last + i) % CSV_SLOTS_MAX;
	sp->verifier = sp->verify_last = n;
	sp->verify_round++;
	c = csv_local_at(m, sp, sp->slot[n].place);
	if (c) {
		csv_views_flush(m);
		msg.seq = c->verify_seq = ++m->next_seq;
		c->verify_round = sp->verify_round;
		csv_act_client(m, c->id, &msg);
	}
	return true;
}

bool csv_apply_verified(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r)
{
	uint32_t slot = csv_get32(r), incarnation = csv_get32(r), round = csv_get32(r), err = csv_get32(r);

	if (!csv_get_end(r) || slot >= CSV_SLOTS_MAX || err >= CSV_ERR_COUNT)
		return false;
	if (sp->verifier != slot || sp->verify_round != round || sp->slot[slot].life != CSV_LIFE_LIVE ||
	    sp->slot[slot].incarnation != incarnation)
		return true;
	if (err && err != (uint32_t)sp->verify_err)
		csv_act_log(m, CSV_LOG_ERROR,
			    "volume %s: node %s cannot compare the slot table: %s; frozen until somebody can", sp->name,
			    sp->slot[slot].node, csv_err_text((enum csv_err)err));
	sp->verifier = CSV_NO_SLOT;
	sp->verify_err = (enum csv_err)err;
	sp->verified = !err;
	m->view_dirty = true;
	if (err == CSV_FENCED)
		csv_slot_out(m, sp, slot, "it found itself fenced");
	return true;
}
