/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Evicting a member that stands still.  CPG keeps a csvlockd in the group as long as its process exists: corosync goes
 * on queueing messages for one that hangs, and nobody else is held up (docs/PROTOCOL.md has the measurement).  But no
 * view can form without its HELLO, no ATTACH ends without its SEEN, and what its csvfs holds is never given up.
 *
 * 1. Each member multicasts BEAT again and again, the next one only when the last has come back: who does not
 *    deliver does not beat.
 * 2. A member is silent if so many of our own beats have come back since its last message.  So silence is measured in
 *    the common order, not by a clock: who stood still itself finds everybody's messages of the meantime, and has no
 *    beats to count; what holds up corosync holds up the counting.
 * 3. Each member VOTEs against who is silent.  A vote names the START that counts, so it was sent in this configuration
 *    and since its last eviction, and all members count the same ones.  A message of the accused takes all votes
 *    against it back.
 * 4. Delivery of the vote that makes a quorum evicts: the configuration goes on without the member, as if a CONF had
 *    come without it (csv_view_evict()).
 *
 * Why it cannot be wrong.  Votes and their decision are in the one order in which everything else is.  Whoever
 * delivers a message behind the deciding vote, in this configuration, has delivered that vote; so all who go on agree
 * who is in the view, and the evicted member itself, when it wakes, finds the vote at the same point of its own
 * sequence.  It applied nothing behind it that the others did not; there it stops, gives up its state and joins anew.
 * Members who were not given the vote (L1: delivered to few) are given a CONF instead, which ends all evictions: who
 * formed a view is then not among them, as with any other view.
 * Votes of evicted members do not count, so those who have voted stay, and they have a quorum: no minority evicts a
 * majority, and of two who vote against each other the order lets one vote count.  A vote that is mistaken costs a node
 * a fence and a mount, never a lock given twice: the evicted member's slots are fenced before any of them is used.
 */
#include <string.h>

#include "lib/bug.h"
#include "lockd/core/core.h"

unsigned csv_evict_limit(const struct csv_machine *m)
{
	return (m->cfg.evict_ms + m->cfg.beat_ms - 1) / m->cfg.beat_ms;
}

/* A START has been delivered since the last CONF or eviction: there is a name to vote under. */
static bool named(const struct csv_machine *m)
{
	return m->phase == CSV_PHASE_HELLO || m->phase == CSV_PHASE_LOADING || m->phase == CSV_PHASE_FORMED;
}

void csv_evict_conf(struct csv_machine *m)
{
	memset(m->against, 0, sizeof(m->against));
	m->beat_back = m->beats; /* should the last one be lost, the next shall not wait for it */
	if (m->beat_timer || !m->cfg.beat_ms)
		return;
	m->beat_timer = ++m->next_timer;
	csv_act_timer(m, m->beat_timer, m->cfg.beat_ms);
}

static void forget_evicted(struct csv_machine *m, uint32_t nodeid)
{
	unsigned n = 0;

	for (unsigned i = 0; i < m->nevicted; i++) {
		if (m->evicted[i] != nodeid)
			m->evicted[n++] = m->evicted[i];
	}
	m->nevicted = n;
}

bool csv_evict_alive(struct csv_machine *m, uint32_t sender)
{
	int at = csv_view_index(m, sender);

	if (at < 0) {
		forget_evicted(m, sender);
		return false;
	}
	m->silent[at] = 0;
	m->against[at] = 0;
	return true;
}

void csv_evict_accuse(struct csv_machine *m)
{
	struct csv_wbuf w;

	for (unsigned i = 0; i < m->nconf && m->cfg.beat_ms && named(m); i++) {
		if (m->silent[i] < csv_evict_limit(m) || m->conf[i] == m->cfg.nodeid)
			continue;
		csv_msg_begin(&w, CSV_G_VOTE, m->start, 0);
		csv_put32(&w, m->conf[i]);
		csv_act_send(m, w.data, w.len);
		csv_wbuf_free(&w);
	}
}

bool csv_evict_timer(struct csv_machine *m, uint64_t timer)
{
	struct csv_wbuf w;

	if (!timer || timer != m->beat_timer)
		return false;
	csv_act_timer(m, timer, m->cfg.beat_ms);
	csv_waits_beat(m);
	if (m->beat_back != m->beats)
		return true;
	csv_msg_begin(&w, CSV_G_BEAT, 0, ++m->beats);
	csv_act_send(m, w.data, w.len);
	csv_wbuf_free(&w);
	return true;
}

/* Others' beats have done what they are for by being delivered. */
void csv_evict_beat(struct csv_machine *m, uint32_t sender, struct csv_rbuf *r)
{
	struct csv_group_hdr h;

	if (!csv_msg_header(r, &h) || !csv_get_end(r)) {
		csv_act_log(m, CSV_LOG_ERROR, "malformed BEAT from node %u is ignored", sender);
		return;
	}
	if (sender != m->cfg.nodeid || h.seq != m->beats || m->beat_back == m->beats)
		return;
	m->beat_back = m->beats;
	for (unsigned i = 0; i < m->nconf; i++) {
		if (m->conf[i] != sender && m->silent[i] < csv_evict_limit(m))
			m->silent[i]++;
	}
	csv_evict_accuse(m);
}

/* `at` is the accused's index. */
static bool decided(const struct csv_machine *m, unsigned at)
{
	return csv_view_quorum(m, m->against[at]) || CSV_BUG(L5_EVICT_WITHOUT_QUORUM);
}

void csv_evict_vote(struct csv_machine *m, uint32_t sender, struct csv_rbuf *r)
{
	int voter = csv_view_index(m, sender), at;
	struct csv_group_hdr h;
	bool sound = csv_msg_header(r, &h);
	uint32_t accused = csv_get32(r);

	if (!sound || !csv_get_end(r)) {
		csv_act_log(m, CSV_LOG_ERROR, "malformed VOTE from node %u is ignored", sender);
		return;
	}
	at = csv_view_index(m, accused);
	if (!named(m) || h.vid != m->start || voter < 0 || at < 0 || sender == accused)
		return;
	if (!m->against[at])
		csv_act_log(m, CSV_LOG_WARN, "the csvlockd of node %s is silent, says node %s",
			    csv_node_name(m, accused), csv_node_name(m, sender));
	m->against[at] |= 1ull << voter;
	if (!decided(m, (unsigned)at))
		return;
	csv_act_log(m, CSV_LOG_WARN, "the csvlockd of node %s is evicted: it has been silent for about %u ms",
		    csv_node_name(m, accused), m->cfg.evict_ms);
	m->evicted[m->nevicted++] = accused;
	csv_view_evict(m, (unsigned)at);
}
