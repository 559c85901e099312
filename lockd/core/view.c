/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Forming a view.  CPG gives all who go from one configuration to the next together the same messages between, but not
 * that members of a new configuration come from the same one.  After each CONF:
 *
 * 1. Each member sends START with a name that is never used again.  The first START that is delivered after the CONF
 *    counts, the others are ignored.  It is the same one at all members: all of them deliver the same messages after
 *    the CONF.  It may well have been sent in an older configuration; that does no harm, since what it brings about
 *    (2) is sent after its delivery.
 * 2. Each member answers with HELLO, which repeats the name.  A message is delivered once to a member, in one
 *    configuration; so a HELLO with this name was sent in this configuration, after the CONF, and tells the state that
 * its sender still has when all HELLOs are there: no operation is applied between CONF and view.
 * 3. With the HELLOs of all members everybody computes the same: whose state goes on (choose()), who gets it.  Equal
 *    `chain` means that the same events made the states.  The best line is the one that saw no configuration without
 *    quorum since its last view; then the one with more quorate views and fences (`gen`).  A member of another line, or
 *    without state, discards what it has, loads the state that the oldest of the best line sends (transfer.c), and then
 *    declares what its own csvfs hold (declare.c).
 *    Why no grant is lost or given twice by this choice: docs/PROTOCOL.md, "Which line goes on".
 *    Who does not know the version of messages that the others know is left out first (version.c).
 * 4. The START's name is the name of the view.  Operations bear it; others are dropped by all.
 *
 * A CONF at any point begins again at 1, and so does an eviction (evict.c), which takes a member out of the
 * configuration at the delivery of a message.  Who was still loading has no state.
 */
#include <string.h>

#include "lib/bug.h"
#include "lockd/core/core.h"

uint32_t csv_view_votes(const struct csv_machine *m, uint32_t nodeid)
{
	for (unsigned i = 0; i < m->cfg.nnodes; i++) {
		if (m->cfg.node[i].nodeid == nodeid)
			return m->cfg.node[i].votes;
	}
	return 0;
}

bool csv_view_quorum(const struct csv_machine *m, uint64_t members)
{
	uint64_t have = 0, all = 0;

	for (unsigned i = 0; i < m->nconf; i++)
		have += members >> i & 1 ? csv_view_votes(m, m->conf[i]) : 0;
	for (unsigned i = 0; i < m->cfg.nnodes; i++)
		all += m->cfg.node[i].votes;
	if (m->cfg.two_node && m->cfg.nnodes == 2)
		return have >= 1;
	return have * 2 > all;
}

int csv_view_index(const struct csv_machine *m, uint32_t nodeid)
{
	for (unsigned i = 0; i < m->nconf; i++) {
		if (m->conf[i] == nodeid)
			return (int)i;
	}
	return -1;
}

static void conf_insert(struct csv_machine *m, uint32_t nodeid, unsigned silent)
{
	unsigned at = m->nconf++;

	for (; at && m->conf[at - 1] > nodeid; at--) {
		m->conf[at] = m->conf[at - 1];
		m->silent[at] = m->silent[at - 1];
	}
	m->conf[at] = nodeid;
	m->silent[at] = silent;
}

void csv_view_remove(struct csv_machine *m, unsigned at)
{
	for (m->nconf--; at < m->nconf; at++) {
		m->conf[at] = m->conf[at + 1];
		m->silent[at] = m->silent[at + 1];
	}
}

/* Who was here before the CONF and was silent, still is: a vote need not wait for that again. */
static unsigned silence(const struct csv_machine *m, uint32_t nodeid)
{
	int at = csv_view_index(m, nodeid);

	for (unsigned i = 0; i < m->nevicted; i++) {
		if (m->evicted[i] == nodeid)
			return csv_evict_limit(m);
	}
	return at < 0 ? 0 : m->silent[at];
}

static void note_down(struct csv_machine *m, const struct csv_event *ev)
{
	for (unsigned i = 0; i < ev->ndown && i < CSV_NODES_MAX; i++) {
		if (csv_view_index(m, ev->down[i]) < 0)
			csv_node_set_down(m, ev->down[i], true);
	}
}

static void set_conf(struct csv_machine *m, const struct csv_event *ev)
{
	unsigned silent[CSV_NODES_MAX];

	for (unsigned i = 0; i < ev->nmembers && i < CSV_NODES_MAX; i++)
		silent[i] = silence(m, ev->member[i]);
	m->nconf = 0;
	for (unsigned i = 0; i < ev->nmembers && i < CSV_NODES_MAX; i++) {
		if (csv_view_index(m, ev->member[i]) < 0)
			conf_insert(m, ev->member[i], silent[i]);
	}
	m->nevicted = 0;
	m->alone = m->nconf == 1;
	for (unsigned i = 0; i < m->nconf; i++)
		csv_node_set_down(m, m->conf[i], false);
	note_down(m, ev);
}

/* Members that are not in the configuration any more: from here on their slots are lost (L1 freezes at this point). */
static void drop_leavers(struct csv_machine *m)
{
	struct csv_state *s = &m->state;
	unsigned n = 0;

	for (unsigned i = 0; i < s->nmembers; i++) {
		if (csv_view_index(m, s->member[i]) >= 0) {
			s->member[n++] = s->member[i];
			continue;
		}
		s->chain = csv_mix64(s->chain, s->member[i]);
		csv_mount_node_gone(m, s->member[i]);
	}
	s->nmembers = n;
	if (!m->quorate)
		s->cont = false;
}

static void send_start(struct csv_machine *m)
{
	struct csv_wbuf w;
	uint64_t name = csv_mix64(csv_mix64(csv_mix64(m->cfg.boot, m->cfg.nodeid), ++m->starts), 1);

	csv_msg_begin(&w, CSV_G_START, name ? name : 1, 0);
	csv_act_send(m, w.data, w.len);
	csv_wbuf_free(&w);
}

/* conf is another: everything begins again. */
static void begin(struct csv_machine *m)
{
	if (m->phase == CSV_PHASE_LOADING) {
		csv_state_clear(&m->state);
		csv_state_init(&m->state);
		m->has_state = false;
	}
	csv_wbuf_free(&m->load);
	csv_kept_clear(&m->late);
	csv_evict_conf(m);
	m->quorate = csv_view_quorum(m, UINT64_MAX);
	m->phase = CSV_PHASE_NONE;
	m->refused[0] = 0;
	m->start = 0;
	m->view_dirty = true;
	memset(m->hello, 0, sizeof(m->hello));
	if (m->has_state)
		drop_leavers(m);
	if (csv_view_index(m, m->cfg.nodeid) < 0)
		return;
	m->phase = CSV_PHASE_START;
	send_start(m);
}

void csv_view_conf(struct csv_machine *m, const struct csv_event *ev)
{
	set_conf(m, ev);
	begin(m);
}

/*
 * Its node counts as gone: it is not waited for (L3).  Our own node: what we know is worth nothing any more, and what
 * our csvfs hold is being fenced.
 */
void csv_view_evict(struct csv_machine *m, unsigned at)
{
	uint32_t nodeid = m->conf[at];

	if (nodeid == m->cfg.nodeid) {
		m->phase = CSV_PHASE_EVICTED;
		csv_act_rejoin(m);
		return;
	}
	csv_view_remove(m, at);
	csv_node_set_down(m, nodeid, true);
	begin(m);
}

void csv_view_start(struct csv_machine *m, uint32_t sender, struct csv_rbuf *r)
{
	struct csv_group_hdr h;
	struct csv_wbuf w;

	if (m->phase != CSV_PHASE_START)
		return;
	if (!csv_msg_header(r, &h) || !csv_get_end(r) || !h.vid) {
		csv_act_log(m, CSV_LOG_ERROR, "malformed START from node %u is ignored", sender);
		return;
	}
	m->start = h.vid;
	m->phase = CSV_PHASE_HELLO;
	csv_msg_begin(&w, CSV_G_HELLO, m->start, 0);
	csv_put8(&w, m->cfg.version_min);
	csv_put8(&w, m->cfg.version_max);
	csv_put8(&w, m->has_state);
	csv_put8(&w, m->has_state && m->state.cont);
	csv_put64(&w, m->has_state ? m->state.gen : 0);
	csv_put64(&w, m->has_state ? m->state.chain : 0);
	csv_act_send(m, w.data, w.len);
	csv_wbuf_free(&w);
	csv_evict_accuse(m);
}

static bool same_line(const struct csv_hello *a, const struct csv_hello *b)
{
	return a->has_state && b->has_state && a->gen == b->gen && a->chain == b->chain;
}

static unsigned line_size(const struct csv_machine *m, unsigned of)
{
	unsigned n = 0;

	for (unsigned i = 0; i < m->nconf; i++)
		n += same_line(&m->hello[of], &m->hello[i]);
	return n;
}

/* Whether the line of member a goes before that of member b. */
static bool better(const struct csv_machine *m, unsigned a, unsigned b)
{
	const struct csv_hello *x = &m->hello[a], *y = &m->hello[b];

	if (CSV_BUG(L9_STALE_LINE_WINS))
		return x->gen < y->gen;
	if (x->cont != y->cont)
		return x->cont;
	if (x->gen != y->gen)
		return x->gen > y->gen;
	return line_size(m, a) > line_size(m, b); /* then the lower node id: the order of the search */
}

/* Index of a member whose state goes on; -1: nobody has any. */
static int choose(const struct csv_machine *m)
{
	int best = -1;

	for (unsigned i = 0; i < m->nconf; i++) {
		if (m->hello[i].has_state && (best < 0 || better(m, i, (unsigned)best)))
			best = (int)i;
	}
	return best;
}

/* Members of the line keep their order; the others come behind them, by node id. */
static void set_members(struct csv_machine *m, const bool *in_line)
{
	struct csv_state *s = &m->state;
	unsigned n = 0;

	for (unsigned i = 0; i < s->nmembers; i++) {
		int at = csv_view_index(m, s->member[i]);

		if (at >= 0 && in_line[at])
			s->member[n++] = s->member[i];
		else
			csv_mount_node_gone(m, s->member[i]); /* lost its state: what it held is not its any more */
	}
	for (unsigned i = 0; i < m->nconf; i++) {
		if (!in_line[i])
			s->member[n++] = m->conf[i];
	}
	s->nmembers = n;
}

/* Somebody who is in no line of ours may have been quorate as well: of two nodes each is, alone. */
static bool both_quorate(const struct csv_machine *m, const bool *in_line)
{
	bool others = false;

	for (unsigned i = 0; i < m->nconf; i++)
		others |= !in_line[i];
	return others && m->cfg.two_node && m->cfg.nnodes == 2;
}

/* The step of the replicated state from one view to the next: the same on all who have the state. */
static void enter_view(struct csv_machine *m, const bool *in_line)
{
	struct csv_state *s = &m->state;
	bool unsure = m->quorate && (!s->cont || both_quorate(m, in_line));
	struct csv_space *sp;

	set_members(m, in_line);
	s->vid = m->start;
	s->chain = csv_mix64(s->chain, m->start);
	s->cont = m->quorate;
	if (m->quorate)
		s->gen++;
	csv_for_each_space(sp, s)
	{
		if (unsure)
			csv_space_doubt(sp);
		csv_mount_expect(m, sp);
		for (unsigned i = 0; i < CSV_SLOTS_MAX; i++)
			sp->slot[i].seen = 0;
		csv_settle(m, sp);
		csv_space_kick(m, sp); /* quorum may have come back */
	}
}

/* Our state is not the one that goes on. */
static void discard(struct csv_machine *m)
{
	if (m->has_state && m->state.nmembers)
		csv_act_log(m, CSV_LOG_WARN, "the group went on without this node: its cluster state is discarded");
	csv_state_clear(&m->state);
	csv_state_init(&m->state);
	m->has_state = false;
	m->state.vid = m->start;
	csv_fifo_clear(m);
	csv_timers_clear(m);
	m->phase = CSV_PHASE_LOADING;
}

static void form(struct csv_machine *m)
{
	int base = choose(m), self = csv_view_index(m, m->cfg.nodeid);
	bool in_line[CSV_NODES_MAX] = { false };
	unsigned loaders = 0;
	uint64_t line = 0;

	CSV_ASSERT(self >= 0);
	for (unsigned i = 0; i < m->nconf; i++) {
		in_line[i] = base < 0 || same_line(&m->hello[base], &m->hello[i]);
		loaders += !in_line[i];
		line |= (uint64_t)(base >= 0 && in_line[i]) << i;
	}
	switch (csv_versions_agree(m, line)) {
	case CSV_VERSIONS_MEET:
		break;
	case CSV_VERSIONS_REFUSED:
		begin(m);
		return;
	case CSV_VERSIONS_NONE:
		m->phase = CSV_PHASE_NONE;
		m->view_dirty = true;
		return;
	}
	if (!in_line[self]) {
		discard(m);
		return;
	}
	if (base < 0) {
		/* Nobody knows anything: empty, and not verified until somebody has looked at the disk. */
		m->has_state = true;
		memcpy(m->state.member, m->conf, sizeof(m->conf));
		m->state.nmembers = m->nconf;
	}
	enter_view(m, in_line);
	if (loaders && m->state.member[0] == m->cfg.nodeid)
		csv_transfer_send(m);
	if (base < 0)
		csv_declare_all(m);
	csv_view_formed(m);
}

/* Who is in the configuration still is left to the CONF that follows.  Without a view its forming looks at them. */
void csv_view_down(struct csv_machine *m, const struct csv_event *ev)
{
	note_down(m, ev);
	if (m->phase == CSV_PHASE_FORMED)
		csv_expire_down(m);
}

void csv_view_formed(struct csv_machine *m)
{
	struct csv_space *sp;

	m->phase = CSV_PHASE_FORMED;
	m->view_dirty = true;
	csv_act_log(m, CSV_LOG_INFO, "view %016llx: %u members, %s, messages of version %u",
		    (unsigned long long)m->state.vid, m->state.nmembers, m->quorate ? "quorate" : "no quorum",
		    m->version);
	m->applied = m->synced = m->confirmed = 0;
	csv_fifo_resend(m);
	csv_declare_waiting(m);
	csv_inuse_again(m);
	csv_expelled_recall(m);
	csv_dlm_evicted(m);
	csv_mount_seen_again(m);
	csv_expire_down(m);
	csv_for_each_space(sp, &m->state) csv_timers_arm(m, sp);
}

void csv_view_hello(struct csv_machine *m, uint32_t sender, struct csv_rbuf *r)
{
	int at = csv_view_index(m, sender);
	struct csv_group_hdr h;
	struct csv_hello x = { .here = true };
	bool sound = csv_msg_header(r, &h);

	if (m->phase != CSV_PHASE_HELLO || h.vid != m->start || at < 0)
		return;
	x.version_min = csv_get8(r);
	x.version = csv_get8(r);
	x.has_state = csv_get8(r);
	x.cont = csv_get8(r);
	x.gen = csv_get64(r);
	x.chain = csv_get64(r);
	if (!sound || !csv_get_end(r)) {
		csv_act_log(m, CSV_LOG_ERROR, "malformed HELLO from node %u is ignored", sender);
		return;
	}
	m->hello[at] = x;
	for (unsigned i = 0; i < m->nconf; i++) {
		if (!m->hello[i].here)
			return;
	}
	form(m);
}
