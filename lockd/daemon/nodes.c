/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Since when each node is in its state.  The machine has no clock; here is noted when it shows something new. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lockd/daemon/daemon.h"

struct csv_node_seen {
	struct csv_list link;
	uint32_t nodeid;
	char state[32];
	int64_t since; /* Unix time */
};

static struct csv_node_seen *find(struct csv_daemon *d, uint32_t nodeid)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &d->nodes) {
		struct csv_node_seen *s = csv_list_entry(pos, struct csv_node_seen, link);

		if (s->nodeid == nodeid)
			return s;
	}
	return NULL;
}

static void look_at(void *arg, const struct csv_msg_node *n)
{
	struct csv_daemon *d = arg;
	struct csv_node_seen *s = find(d, n->nodeid);

	if (s && !strcmp(s->state, n->state))
		return;
	if (!s) {
		s = calloc(1, sizeof(*s));
		CSV_ASSERT(s);
		s->nodeid = n->nodeid;
		csv_list_push_back(&d->nodes, &s->link);
	}
	memcpy(s->state, n->state, sizeof(s->state));
	s->since = time(NULL);
}

void csv_nodes_look(struct csv_daemon *d)
{
	uint64_t news = csv_machine_news(d->machine);

	if (news == d->nodes_news)
		return;
	d->nodes_news = news;
	csv_machine_nodes(d->machine, look_at, d);
}

int64_t csv_nodes_since(struct csv_daemon *d, uint32_t nodeid)
{
	const struct csv_node_seen *s = find(d, nodeid);

	return s ? s->since : 0;
}

void csv_nodes_forget(struct csv_daemon *d)
{
	d->nodes_news = 0;
	while (!csv_list_empty(&d->nodes)) {
		struct csv_node_seen *s = csv_list_entry(d->nodes.next, struct csv_node_seen, link);

		csv_list_del(&s->link);
		free(s);
	}
}
