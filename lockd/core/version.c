/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which version of messages a view uses, and who cannot take part in it.
 *
 * Each HELLO says from which to which version its sender knows.  Everybody computes the same from the same HELLOs: the
 * version that most votes know, the higher one of equals; so the highest that all know, if there is one.  If a line of
 * state goes on, only what all its members know counts (there is one: it had a view): a newcomer never breaks up a
 * group that works.  Who does not know the version is refused: from the last HELLO's delivery on the configuration is
 * the one without it, and the forming begins again, as after an eviction.  It is not silent, so nothing else follows:
 * its slots have the re-attach time, in which somebody may install the right version.  The refused one finds the same,
 * says so, and forms no view; its state, if it has one, does not count as continuous any more.  The next CONF lets it
 * try again.
 *
 * START, HELLO, BEAT and VOTE are before and beside this: their form is fixed for ever.
 */
#include <stdio.h>
#include <string.h>

#include "lockd/core/core.h"

static bool knows(const struct csv_hello *h, unsigned version)
{
	return h->version_min <= version && version <= h->version;
}

/* Votes count, but who has none is somebody too. Bit i of `in_line`: conf[i] has the state that goes on. */
static uint64_t weight(const struct csv_machine *m, uint64_t in_line, unsigned version)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < m->nconf; i++) {
		if (knows(&m->hello[i], version))
			sum += 1 + (uint64_t)CSV_NODES_MAX * csv_view_votes(m, m->conf[i]);
		else if (in_line >> i & 1)
			return 0;
	}
	return sum;
}

/* 0: there is none. */
static unsigned choose(const struct csv_machine *m, uint64_t in_line)
{
	unsigned best = 0;
	uint64_t most = 0;

	for (unsigned v = UINT8_MAX; v > 0; v--) {
		uint64_t w = weight(m, in_line, v);

		if (w > most) {
			most = w;
			best = v;
		}
	}
	return best;
}

static void range(char *text, size_t size, const struct csv_hello *h)
{
	if (h->version_min == h->version)
		snprintf(text, size, "%u", h->version);
	else
		snprintf(text, size, "%u to %u", h->version_min, h->version);
}

static void refuse_other(struct csv_machine *m, unsigned at, unsigned version)
{
	char text[32];

	range(text, sizeof(text), &m->hello[at]);
	csv_act_log(m, CSV_LOG_ERROR,
		    "node %s is refused: it speaks message versions %s, this group %u; install the same csvlockd there",
		    csv_node_name(m, m->conf[at]), text, version);
}

static void refuse_self(struct csv_machine *m, unsigned at, unsigned version)
{
	char text[32];

	range(text, sizeof(text), &m->hello[at]);
	snprintf(m->refused, sizeof(m->refused),
		 "this node's csvlockd speaks message versions %s, the group %u; install the group's csvlockd here",
		 text, version);
	csv_act_log(m, CSV_LOG_ERROR, "refused by the group: %s", m->refused);
	m->state.cont = false;
}

enum csv_versions csv_versions_agree(struct csv_machine *m, uint64_t in_line)
{
	int self = csv_view_index(m, m->cfg.nodeid);
	uint64_t out = 0;

	m->version = choose(m, in_line);
	if (!m->version) {
		csv_act_log(m, CSV_LOG_ERROR, "no view: no message version is known to all who have the state");
		return CSV_VERSIONS_NONE;
	}
	for (unsigned i = 0; i < m->nconf; i++) {
		if (!knows(&m->hello[i], m->version))
			out |= 1ull << i;
	}
	if (!out)
		return CSV_VERSIONS_MEET;
	if (out >> self & 1) {
		refuse_self(m, (unsigned)self, m->version);
		return CSV_VERSIONS_NONE;
	}
	for (unsigned i = m->nconf; i-- > 0;) {
		if (out >> i & 1) {
			refuse_other(m, i, m->version);
			csv_view_remove(m, i);
		}
	}
	return CSV_VERSIONS_REFUSED;
}
