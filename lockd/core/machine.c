/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine from outside: made, fed, freed. */
#include <stdlib.h>
#include <string.h>

#include "lockd/core/core.h"

static int node_cmp(const void *a, const void *b)
{
	const struct csv_machine_node *x = a, *y = b;

	return (x->nodeid > y->nodeid) - (x->nodeid < y->nodeid);
}

enum csv_err csv_machine_new(const struct csv_machine_cfg *cfg, struct csv_machine **out)
{
	struct csv_machine *m;

	*out = NULL;
	if (!cfg->nodeid || !cfg->nnodes || cfg->nnodes > CSV_NODES_MAX)
		return CSV_INVAL;
	m = calloc(1, sizeof(*m));
	if (!m)
		return CSV_NOMEM;
	m->cfg = *cfg;
	if (!m->cfg.version_max) {
		m->cfg.version_min = CSV_GROUP_VERSION_MIN;
		m->cfg.version_max = CSV_GROUP_VERSION;
	}
	qsort(m->cfg.node, m->cfg.nnodes, sizeof(m->cfg.node[0]), node_cmp);
	csv_state_init(&m->state);
	csv_list_init(&m->fifo);
	csv_list_init(&m->late);
	csv_list_init(&m->pending);
	csv_list_init(&m->locals);
	csv_list_init(&m->timers);
	*out = m;
	return CSV_OK;
}

void csv_machine_free(struct csv_machine *m)
{
	if (!m)
		return;
	csv_locals_clear(m);
	csv_timers_clear(m);
	csv_fifo_clear(m);
	csv_kept_clear(&m->late);
	csv_pending_clear(m);
	csv_wbuf_free(&m->load);
	csv_state_clear(&m->state);
	free(m);
}

/* An operation counts in the view that it names and nowhere else. */
static void deliver_op(struct csv_machine *m, const struct csv_event *ev, const struct csv_group_hdr *h)
{
	if (h->vid != m->state.vid)
		return;
	if (m->phase == CSV_PHASE_LOADING) {
		csv_kept_add(&m->late, ev->sender, ev->data, ev->len);
	} else if (m->phase == CSV_PHASE_FORMED) {
		m->applied++;
		csv_apply(m, ev->sender, ev->data, ev->len);
		if (ev->sender == m->cfg.nodeid) {
			csv_fifo_delivered(m, h->seq);
			m->confirmed = h->upto + 1;
		}
	}
}

static void deliver(struct csv_machine *m, const struct csv_event *ev)
{
	struct csv_rbuf r = { .data = ev->data, .len = ev->len };
	struct csv_group_hdr h;

	if (!csv_evict_alive(m, ev->sender))
		return;
	if (!csv_msg_header(&r, &h)) {
		csv_act_log(m, CSV_LOG_ERROR, "message of %zu bytes from node %u is no csvlockd's: ignored", ev->len,
			    ev->sender);
		return;
	}
	r.pos = 0;
	if (h.kind == CSV_G_START)
		csv_view_start(m, ev->sender, &r);
	else if (h.kind == CSV_G_HELLO)
		csv_view_hello(m, ev->sender, &r);
	else if (h.kind == CSV_G_SNAPSHOT)
		csv_transfer_piece(m, ev->sender, &r);
	else if (h.kind == CSV_G_BEAT)
		csv_evict_beat(m, ev->sender, &r);
	else if (h.kind == CSV_G_VOTE)
		csv_evict_vote(m, ev->sender, &r);
	else
		deliver_op(m, ev, &h);
}

void csv_machine_step(struct csv_machine *m, const struct csv_event *ev, struct csv_actions *out)
{
	CSV_ASSERT(!m->out);
	if (m->phase == CSV_PHASE_EVICTED)
		return;
	m->out = out;
	switch (ev->type) {
	case CSV_EV_CONF:
		csv_view_conf(m, ev);
		break;
	case CSV_EV_MSG:
		deliver(m, ev);
		break;
	case CSV_EV_CLIENT:
		csv_client_record(m, ev->client, ev->msg);
		break;
	case CSV_EV_CLIENT_GONE:
		csv_client_gone(m, ev->client);
		break;
	case CSV_EV_TIMER:
		csv_timer_fired(m, ev->timer);
		break;
	case CSV_EV_DOWN:
		csv_view_down(m, ev);
		break;
	case CSV_EV_DLM:
		csv_dlm_said(m, ev->dlm);
		break;
	}
	if (m->phase != CSV_PHASE_EVICTED) {
		csv_views_flush(m);
		csv_pending_run(m);
		csv_dlm_run(m);
	}
	m->out = NULL;
}
