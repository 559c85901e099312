/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What must hold, whatever happens. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

#define POINTS 16384u

/* A csvfs that may still use what it holds: it has not ended, and the LUN takes its writes. */
static bool in_use(const struct sim *s, const struct sim_fs *fs)
{
	return fs->state != FS_DEAD && sim_key_registered(s, fs->key);
}

/* The slot's present life on disk is this one, and is not over. */
static bool on_disk(const struct sim *s, uint32_t slot, uint32_t incarnation)
{
	return s->disk.slot[slot].state != SIM_CLEAN && s->disk.slot[slot].incarnation == incarnation;
}

void sim_check_ends(struct sim *s, unsigned n)
{
	const struct sim_fs *fs = &s->node[n].fs;
	struct sim_ghost *g = &s->disk.ghost[fs->slot];

	if (fs->state < FS_RUN || fs->state == FS_WAIT_DETACH || !on_disk(s, fs->slot, fs->incarnation))
		return; /* WAIT_DETACH: all is home, and its slot was clean; a fence may have marked it behind that */
	g->incarnation = fs->incarnation;
	for (unsigned i = 1; i <= SIM_INODES; i++)
		g->held[i] = fs->lock[i].held;
}

/* Nobody uses what a slot held before it was replayed: not of one that has ended, nor of one that is fenced. */
static void check_dead(struct sim *s, unsigned n, uint32_t inode, enum csv_mode mode)
{
	for (unsigned k = 0; k < s->nslots; k++) {
		const struct sim_ghost *g = &s->disk.ghost[k];

		if (g->incarnation && !csv_mode_compatible(g->held[inode], mode))
			sim_fail(s, "inode %u: node %u gets %s, which slot %u.%u had, before its replay", inode, n + 1,
				 csv_mode_name(mode), k, g->incarnation);
	}
	for (unsigned i = 0; i < s->nnodes; i++) {
		const struct sim_fs *o = &s->node[i].fs;

		if (i != n && o->state >= FS_RUN && !in_use(s, o) && on_disk(s, o->slot, o->incarnation) &&
		    !csv_mode_compatible(o->lock[inode].held, mode))
			sim_fail(s, "inode %u: node %u gets %s, which fenced node %u has, before its replay", inode,
				 n + 1, csv_mode_name(mode), i + 1);
	}
}

/* What counts is the moment when the first member formed it: who is late may find what was done in it since. */
void sim_check_view(struct sim *s, unsigned n)
{
	for (unsigned i = 0; i < s->nnodes; i++) {
		if (i != n && s->node[i].vid == s->node[n].vid) {
			memcpy(s->node[n].over, s->node[i].over, sizeof(s->node[n].over));
			return;
		}
	}
	for (uint32_t k = 0; k < s->nslots; k++)
		s->node[n].over[k] = sim_slot_over(s, k);
}

/* L9: no mount whose life was over on the LUN before the members met counts as alive when something is granted. */
static void check_zombies(struct sim *s, unsigned n)
{
	const struct csv_machine *m = s->node[n].m;
	const struct csv_space *sp;

	csv_for_each_space(sp, &m->state)
	{
		for (uint32_t k = 0; k < s->nslots; k++) {
			if (sp->slot[k].life == CSV_LIFE_LIVE && sp->slot[k].incarnation <= s->node[n].over[k])
				sim_fail(s,
					 "node %u is granted a lock, and slot %u.%u, which was over on the LUN, counts "
					 "as alive",
					 n + 1, k, sp->slot[k].incarnation);
		}
	}
}

/*
 * Without quorum nothing is granted, and what the DLM grants is not told before all own operations are back: a DIRTY or
 * an EXPEL among them freezes the volume.  Most of the time no harm comes of it, so the rules are looked at themselves.
 */
void sim_check_told(struct sim *s, unsigned n, const struct csv_msg *msg, size_t own)
{
	if (msg->type != CSV_MSG_GRANT)
		return;
	if (!csv_machine_quorate(s->node[n].m))
		sim_fail(s, "node %u is granted a %s lock without quorum", n + 1,
			 csv_res_type_name((enum csv_res_type)msg->lock.res_type));
	if (s->dlm.used && msg->lock.res_type == CSV_RES_INODE && own)
		sim_fail(s, "node %u is told of a grant of the DLM, with %zu own operations on their way", n + 1, own);
}

void sim_check_grant(struct sim *s, unsigned n, uint32_t inode, enum csv_mode mode)
{
	const struct sim_home *h = &s->disk.home[inode];

	sim_trace(s, "n%u gets inode %u %s, home %llu, acked %llu", n + 1, inode, csv_mode_name(mode),
		  (unsigned long long)h->version, (unsigned long long)s->disk.acked[inode]);
	if (!in_use(s, &s->node[n].fs))
		return; /* it is fenced and only does not know yet */
	check_zombies(s, n);
	for (unsigned i = 0; i < s->nnodes; i++) {
		const struct sim_fs *o = &s->node[i].fs;

		if (i != n && in_use(s, o) && !csv_mode_compatible(o->lock[inode].held, mode))
			sim_fail(s, "inode %u: node %u gets %s while node %u has %s", inode, n + 1, csv_mode_name(mode),
				 i + 1, csv_mode_name(o->lock[inode].held));
	}
	check_dead(s, n, inode, mode);
	if (h->writing)
		sim_fail(s, "inode %u: node %u gets %s while its home block is being written", inode, n + 1,
			 csv_mode_name(mode));
	if (h->version < s->disk.acked[inode])
		sim_fail(s, "inode %u: node %u finds version %llu, %llu was acknowledged", inode, n + 1,
			 (unsigned long long)h->version, (unsigned long long)s->disk.acked[inode]);
	if (h->version == s->disk.acked[inode] && h->version && h->value != s->disk.acked_value[inode])
		sim_fail(s, "inode %u: node %u finds another write than the acknowledged one", inode, n + 1);
}

void sim_check_range(struct sim *s, unsigned n)
{
	const struct sim_fs *a = &s->node[n].fs;

	for (unsigned i = 0; i < s->nnodes; i++) {
		const struct sim_fs *b = &s->node[i].fs;

		if (i != n && in_use(s, a) && in_use(s, b) && b->range.held && (a->range.write || b->range.write))
			sim_fail(s, "nodes %u and %u have conflicting byte ranges", n + 1, i + 1);
	}
}

/* Who holds what fits together, in the state. The dead owner of `mount` does not count for a mounter. */
static void check_holders(struct sim *s, unsigned n, const struct csv_space *sp, const struct csv_rsb *r)
{
	struct csv_list *a, *b;

	if (r->res.type == CSV_RES_MOUNT || r->res.type == CSV_RES_SLOT)
		return;
	csv_list_for_each(a, &r->holders) {
		const struct csv_lkb *x = csv_list_entry(a, const struct csv_lkb, link);

		for (b = a->next; b != &r->holders; b = b->next) {
			const struct csv_lkb *y = csv_list_entry(b, const struct csv_lkb, link);

			if (!csv_mode_compatible(x->mode, y->mode))
				sim_fail(s, "node %u: in its state nodes %u and %u both hold a %s lock", n + 1,
					 x->place->nodeid, y->place->nodeid, csv_res_type_name(r->res.type));
		}
	}
}

struct range_check {
	struct sim *s;
	const struct csv_space *sp;
	unsigned node;
};

static void check_range_owner(void *arg, const struct csv_brl *l)
{
	const struct range_check *c = arg;

	if (!csv_place_by_id(c->sp, l->node))
		sim_fail(c->s, "node %u: a byte range belongs to a mount that is no more", c->node + 1);
}

/* Nobody waits for what is free, or for himself. */
static void check_range_waits(struct sim *s, unsigned n, struct csv_space *sp)
{
	bool open = s->node[n].m->quorate && !csv_space_frozen(sp);
	struct csv_list *pos;

	csv_list_for_each(pos, &sp->brl_waits) {
		const struct csv_brl_wait *w = csv_list_entry(pos, const struct csv_brl_wait, link);

		if (!csv_place_by_id(sp, w->place))
			sim_fail(s, "node %u: a mount that is no more waits for a byte range", n + 1);
		if (open && (!w->tried || !csv_brl_test(sp->brl, &w->w.brl, NULL)))
			sim_fail(s, "node %u: a byte range is waited for that can be had", n + 1);
		if (w->w.process && csv_brl_deadlock(sp->brl, &sp->brl_queue, &w->w.brl))
			sim_fail(s, "node %u: a process waits for itself", n + 1);
	}
}

static void check_state(struct sim *s, unsigned n)
{
	struct csv_machine *m = s->node[n].m;
	struct csv_space *sp;

	csv_for_each_space(sp, &m->state)
	{
		struct range_check c = { s, sp, n };
		struct csv_omap_node *o;

		for (o = csv_omap_first(&sp->rsbs); o; o = csv_omap_next(o))
			check_holders(s, n, sp, csv_rsb_of(o));
		csv_brl_walk(sp->brl, check_range_owner, &c);
		check_range_waits(s, n, sp);
	}
}

/* Equal chains, equal states. */
void sim_check_point(struct sim *s, unsigned n)
{
	const struct csv_machine *m = s->node[n].m;
	uint64_t chain = m->state.chain, digest;
	struct sim_point *p = &s->points[chain % POINTS];

	if (m->phase != CSV_PHASE_FORMED || (chain & 15))
		return;
	check_state(s, n);
	digest = csv_machine_digest(m);
	if (p->chain == chain && p->digest != digest)
		sim_fail(s, "node %u: state differs from another member's at the same point of the order", n + 1);
	*p = (struct sim_point){ chain, digest };
}

/* L5: those who go on without a member of their group are a quorum. */
void sim_check_evict(struct sim *s, unsigned n)
{
	const struct csv_machine *m = s->node[n].m;
	uint32_t members[CSV_NODES_MAX];
	unsigned left;

	if (!m->nevicted || m->phase == CSV_PHASE_EVICTED)
		return;
	left = csv_machine_members(m, members);
	if (left * 2 <= s->nnodes && !s->two_node)
		sim_fail(s, "node %u goes on with %u of %u nodes, having evicted others", n + 1, left, s->nnodes);
}

/* L5: an evicted member stood still shortly before, or still does. In a cluster of two one vote is enough. */
void sim_check_evicted(struct sim *s, unsigned n)
{
	const struct sim_node *nd = &s->node[n];

	if (!s->two_node && s->now > nd->hung_until + 2 * SIM_EVICT_MS * SIM_MS)
		sim_fail(s, "node %u is evicted, and its csvlockd never stood still", n + 1);
}

/* A member's state, for the trace. */
static void trace_state(struct sim *s, unsigned n)
{
	const struct csv_machine *m = s->node[n].m;
	const struct csv_space *sp;
	struct csv_omap_node *o;
	struct csv_list *pos;

	if (!m || !s->trace)
		return;
	csv_for_each_space(sp, &m->state)
	{
		sim_trace(s, "n%u: verified %d verifier %d recoverer %d round %u quorate %d", n + 1, sp->verified,
			  (int)sp->verifier, (int)sp->rec, sp->round, m->quorate);
		for (unsigned i = 0; i < CSV_SLOTS_MAX; i++) {
			if (sp->slot[i].life != CSV_LIFE_FREE)
				sim_trace(s, "n%u: slot %u.%u node %u life %d step %d asked %d", n + 1, i,
					  sp->slot[i].incarnation, sp->slot[i].nodeid, sp->slot[i].life,
					  sp->slot[i].step, sp->slot[i].asked);
		}
		for (o = csv_omap_first(&sp->rsbs); o; o = csv_omap_next(o)) {
			const struct csv_rsb *r = csv_rsb_of(o);
			const struct csv_list *heads[] = { &r->holders, &r->waiters };

			for (unsigned k = 0; k < 2; k++) {
				csv_list_for_each(pos, heads[k]) {
					const struct csv_lkb *l = csv_list_entry(pos, const struct csv_lkb, link);

					sim_trace(s, "n%u: %s %llu %s node %u slot %d %s", n + 1,
						  csv_res_type_name(r->res.type), (unsigned long long)r->res.id,
						  k ? "waits" : "holds", l->place->nodeid, (int)l->place->slot,
						  csv_mode_name(l->mode));
				}
			}
		}
	}
}

static void check_wait(struct sim *s, unsigned n, uint64_t since, const char *what, uint32_t id)
{
	uint64_t from = since > s->faults_end ? since : s->faults_end;

	if (s->now > from + SIM_BOUND)
		sim_fail(s, "node %u waits for %s %u since %llu ms, the faults ended long ago", n + 1, what, id,
			 (unsigned long long)((s->now - since) / SIM_MS));
}

/*
 * Who waits for others may do so for long: 64 nodes that want one range exclusively take turns.  Whether it waits with
 * reason is looked for in the state; whether it is still known there, when it takes its request back.
 */
static bool is_due(const struct sim_range *r)
{
	return r->asked && (r->wait == CSV_BRL_NOWAIT || r->cancelled);
}

void sim_check_bounds(struct sim *s, unsigned n)
{
	const struct sim_fs *fs = &s->node[n].fs;

	if ((int)n == s->lost || s->now < s->faults_end)
		return;
	if (fs->mount.want != CSV_NL)
		check_wait(s, n, fs->mount.since, "mount", 0);
	if (fs->slotlock.want != CSV_NL)
		check_wait(s, n, fs->slotlock.since, "slot", fs->slot);
	for (uint32_t i = 1; i <= SIM_INODES; i++) {
		if (fs->lock[i].want != CSV_NL)
			check_wait(s, n, fs->lock[i].since, "inode", i);
	}
	if (is_due(&fs->range))
		check_wait(s, n, fs->range.since, "a byte range", 0);
	if (fs->state == FS_RUN)
		s->node[n].mounted = s->now;
	else
		check_wait(s, n, fs->state_since, "the end of its state", fs->state);
	if (s->now > s->faults_end + 2 * SIM_BOUND && s->now > s->node[n].mounted + 2 * SIM_BOUND)
		sim_fail(s, "node %u does not come to mount", n + 1);
}

/* Who was fenced behind his back finds out by his next write: the run goes on until then. */
static bool settled(const struct sim *s, unsigned n)
{
	const struct csv_machine *m = s->node[n].m;
	const struct sim_fs *fs = &s->node[n].fs;
	bool sees_lost = s->lost >= 0 && m && csv_view_index(m, (uint32_t)s->lost + 1) >= 0;

	return m && csv_machine_formed(m) && !sees_lost && fs->state == FS_RUN && !fs->view.out && !fs->view.frozen &&
	       sim_key_registered(s, fs->key);
}

bool sim_check_rest(const struct sim *s)
{
	for (unsigned n = 0; n < s->nnodes; n++) {
		if ((int)n != s->lost && !settled(s, n))
			return false;
	}
	return true;
}

bool sim_check_answered(const struct sim *s)
{
	for (unsigned n = 0; n < s->nnodes; n++) {
		const struct sim_fs *fs = &s->node[n].fs;

		if ((int)n == s->lost)
			continue;
		for (uint32_t i = 1; i <= SIM_INODES; i++) {
			if (fs->lock[i].want != CSV_NL && fs->lock[i].since < s->rest_since)
				return false;
		}
		if (is_due(&fs->range) && fs->range.since < s->rest_since)
			return false;
	}
	return true;
}

void sim_trace_all(struct sim *s)
{
	for (unsigned n = 0; n < s->nnodes; n++)
		trace_state(s, n);
	if (s->dlm.used)
		sim_dlm_trace(s);
	for (unsigned i = 0; i < s->nslots; i++)
		sim_trace(s, "lun: slot %u.%u state %d node %u key %llu %s", i, s->disk.slot[i].incarnation,
			  (int)s->disk.slot[i].state, s->disk.slot[i].node, (unsigned long long)s->disk.slot[i].key,
			  sim_key_registered(s, s->disk.slot[i].key) ? "registered" : "gone");
}

/* All faults are long over: everybody else than a lost one is mounted, nothing is out, nobody waits. */
void sim_check_end(struct sim *s)
{
	for (unsigned n = 0; n < s->nnodes; n++) {
		const struct sim_fs *fs = &s->node[n].fs;

		if ((int)n == s->lost)
			continue;
		if (!csv_machine_formed(s->node[n].m))
			sim_fail(s, "node %u: no view", n + 1);
		sim_check_bounds(s, n);
		if (fs->state == FS_RUN && (fs->view.out || fs->view.frozen))
			sim_fail(s, "node %u: the volume is still frozen, out %#llx", n + 1,
				 (unsigned long long)fs->view.out);
		if (fs->state == FS_RUN && !sim_key_registered(s, fs->key))
			sim_fail(s, "node %u runs on though it is fenced", n + 1);
	}
}
