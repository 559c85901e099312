/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Grants that are decided and not told yet.
 *
 * The freeze of L1 keeps survivors from granting after the CONF what an absent member may have been granted before it.
 * It does not cover what they grant before it: when a ring breaks, corosync delivers to those who stay together, still
 * under the old configuration, what their own members sent, also behind a message of an absent member that none of them
 * received (totemsrp: the transitional configuration skips holes; CPG does not show it).  The absent one saw its own
 * request first, they did not see it at all, and both would be granted the same lock.
 *
 * So a grant is told to the csvfs only when an own message that was sent after its delivery has come back in the same
 * view.  Had the grant been delivered behind a hole, that message would have been sent on the next ring, and a CONF
 * would have come first.  Any operation does as such a message; if none is on its way, SYNC is sent.  What a CONF
 * overtakes stays granted in the state, which all survivors share, and is told after the thaw, in the same way.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bug.h"
#include "lockd/core/core.h"

struct pending {
	struct csv_list link;
	uint64_t client;
	uint64_t vid, pos;  /* decided in this view, after so many operations of it */
	struct csv_msg msg; /* GRANT or BRL_RESULT */
};

void csv_pending_add(struct csv_machine *m, const struct csv_local *c, const struct csv_msg *msg)
{
	struct pending *p = malloc(sizeof(*p));

	CSV_ASSERT(p);
	p->client = c->id;
	p->vid = m->state.vid;
	p->pos = m->applied;
	p->msg = *msg;
	csv_list_push_back(&m->pending, &p->link);
}

static struct csv_res res_of(const struct csv_msg *msg)
{
	return csv_res((enum csv_res_type)msg->lock.res_type, msg->lock.res_id);
}

/* A BAST that came while the grant was not told yet is told behind it. */
static void tell_grant(struct csv_machine *m, struct csv_local *c, const struct csv_space *sp, struct csv_msg *msg)
{
	struct csv_hold *h = csv_hold_find(c, res_of(msg));
	struct csv_rsb *r = csv_rsb_find(sp, res_of(msg));
	struct csv_place *p = csv_place_bound(sp, m->cfg.nodeid);
	struct csv_lkb *l = r && p ? csv_lkb_find(r, p, false) : NULL;

	if (!h || h->want == CSV_NL || h->seq != msg->seq || !l)
		return; /* given up in the meantime: its UNLOCK is on its way */
	h->want = CSV_NL;
	h->held = (enum csv_mode)msg->lock.mode;
	csv_act_client(m, c->id, msg);
	if (l->bast == CSV_NL)
		return;
	msg->type = CSV_MSG_BAST;
	msg->seq = 0;
	msg->lock.mode = l->bast;
	csv_act_client(m, c->id, msg);
}

static void tell(struct csv_machine *m, struct pending *p)
{
	struct csv_local *c = csv_local_by_id(m, p->client);
	const struct csv_space *sp = c ? csv_space_find(&m->state, c->uuid) : NULL;

	if (!sp || c->phase == CSV_LOCAL_FENCED)
		return;
	if (p->msg.type == CSV_MSG_GRANT) {
		tell_grant(m, c, sp, &p->msg);
		return;
	}
	csv_ranges_told(c, &p->msg);
	csv_act_client(m, c->id, &p->msg);
}

/* Of an older view: counts as decided anew once its volume may grant. */
static void renew(struct csv_machine *m, struct pending *p)
{
	struct csv_local *c = csv_local_by_id(m, p->client);
	const struct csv_space *sp = c ? csv_space_find(&m->state, c->uuid) : NULL;
	bool mounting = p->msg.type == CSV_MSG_GRANT &&
			(p->msg.lock.res_type == CSV_RES_MOUNT || p->msg.lock.res_type == CSV_RES_SLOT);

	if (sp && (!m->quorate || (csv_space_frozen(sp) && !(mounting && csv_space_deserted(sp)))))
		return;
	p->vid = m->state.vid;
	p->pos = m->applied;
}

static void drop(struct pending *p)
{
	csv_list_del(&p->link);
	free(p);
}

void csv_pending_run(struct csv_machine *m)
{
	struct csv_list *pos, *tmp;
	bool sync = false;

	if (m->phase != CSV_PHASE_FORMED)
		return;
	csv_list_for_each_safe(pos, tmp, &m->pending) {
		struct pending *p = csv_list_entry(pos, struct pending, link);

		if (p->vid != m->state.vid)
			renew(m, p);
		if (p->vid != m->state.vid)
			continue;
		if (m->alone || p->pos < m->confirmed || CSV_BUG(GRANT_TOLD_EARLY)) {
			tell(m, p);
			drop(p);
		} else if (p->pos >= m->synced) {
			sync = true;
		}
	}
	if (sync) {
		struct csv_wbuf w = csv_op_begin(m, CSV_G_SYNC, NULL);

		csv_op_submit(m, &w);
	}
}

void csv_pending_clear(struct csv_machine *m)
{
	while (!csv_list_empty(&m->pending))
		drop(csv_list_entry(m->pending.next, struct pending, link));
}
