/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations, in the order in which they are delivered. */
#include <string.h>

#include "lockd/core/core.h"

/* A csvfs of ours has joined, or may not. */
static void joined(struct csv_machine *m, const struct csv_space *sp, struct csv_local *c, const char *why)
{
	bool first = c->engine == CSV_ENGINE_AUTO;

	if (why) {
		csv_local_error(m, c, 0, CSV_BUSY, "%s", why);
		csv_local_close(m, c, why);
		return;
	}
	c->engine = sp->engine;
	if (sp->engine == CSV_ENGINE_DLM)
		csv_dlm_open(m, c, sp, first);
}

static bool apply_join(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r)
{
	uint64_t client = csv_get64(r);
	enum csv_lock_engine wants = (enum csv_lock_engine)csv_get8(r);
	bool can_dlm = csv_get8(r);
	struct csv_place *p = csv_place_bound(sp, sender);
	const char *why = NULL;
	struct csv_local *c;

	if (!csv_get_end(r) || wants >= CSV_ENGINES)
		return false;
	if (p) {
		c = csv_local_at(m, sp, p);
	} else if (csv_engine_decide(sp, wants, can_dlm, &why)) {
		c = csv_local_at(m, sp, csv_place_new(sp, sender, client));
		why = NULL;
		csv_dlm_evicted(m); /* it may be the first volume with the DLM that we know of */
	} else {
		c = sender == m->cfg.nodeid && m->phase != CSV_PHASE_LOADING ? csv_local_by_id(m, client) : NULL;
	}
	if (c && c->phase != CSV_LOCAL_FENCED)
		joined(m, sp, c, why);
	m->view_dirty = true;
	return true;
}

/* new_volume: the body begins with the volume's name, and the volume may be new. */
static const struct apply_row {
	csv_apply_fn fn;
	bool new_volume;
} rows[] = {
	[CSV_G_JOIN] = { apply_join, true },
	[CSV_G_GONE] = { csv_apply_gone, false },
	[CSV_G_ATTACH] = { csv_apply_attach, false },
	[CSV_G_SEEN] = { csv_apply_seen, false },
	[CSV_G_DETACH] = { csv_apply_detach, false },
	[CSV_G_DIRTY] = { csv_apply_dirty, false },
	[CSV_G_OVER] = { csv_apply_over, false },
	[CSV_G_REATTACH] = { csv_apply_reattach, true },
	[CSV_G_DECLARE] = { csv_apply_declare, false },
	[CSV_G_DECLARE_BRL] = { csv_apply_declare_brl, false },
	[CSV_G_DECLARED] = { csv_apply_declared, false },
	[CSV_G_EXPIRE] = { csv_apply_expire, false },
	[CSV_G_VERIFY] = { csv_apply_verify, false },
	[CSV_G_VERIFIED] = { csv_apply_verified, false },
	[CSV_G_ASK] = { csv_apply_ask, false },
	[CSV_G_TELL] = { csv_apply_tell, false },
	[CSV_G_LOCK] = { csv_apply_lock, false },
	[CSV_G_UNLOCK] = { csv_apply_unlock, false },
	[CSV_G_FENCED] = { csv_apply_fenced, false },
	[CSV_G_REPLAYED] = { csv_apply_replayed, false },
	[CSV_G_RETRY] = { csv_apply_retry, false },
	[CSV_G_BRL] = { csv_apply_brl, false },
	[CSV_G_BRL_DROP] = { csv_apply_brl_drop, false },
	[CSV_G_BRL_CANCEL] = { csv_apply_brl_cancel, false },
};

/* What decides which waiters may be granted, beside the holders: equal gates, nothing to look at again. */
static uint64_t gate_of(const struct csv_space *sp)
{
	uint64_t gate = csv_space_frozen(sp);

	for (unsigned i = 0; i < CSV_SLOTS_MAX; i++) {
		if (sp->slot[i].life != CSV_LIFE_FREE)
			gate = csv_mix64(gate, (uint64_t)i << 8 | sp->slot[i].life);
	}
	return gate;
}

void csv_settle(struct csv_machine *m, struct csv_space *sp)
{
	/* What it has seen may have changed since, by who has just come back or is being recovered: it looks again. */
	if (!csv_space_settled(sp) || (sp->verifier != CSV_NO_SLOT && sp->slot[sp->verifier].life != CSV_LIFE_LIVE))
		sp->verifier = CSV_NO_SLOT;
	if (!csv_space_any(sp, ~CSV_LIFE_BIT(FREE)))
		sp->verified = false;
	csv_handoff_settle(m, sp);
	csv_recover_run(m, sp);
}

static bool apply_space(struct csv_machine *m, uint32_t sender, enum csv_group_kind kind, struct csv_rbuf *r)
{
	const struct apply_row *row = &rows[kind];
	char name[CSV_VOLNAME_MAX + 1];
	struct csv_space *sp;
	uint8_t uuid[16];
	uint64_t gate;

	csv_get(r, uuid, sizeof(uuid));
	if (row->new_volume)
		csv_get_str(r, name, sizeof(name));
	if (r->bad)
		return false;
	sp = row->new_volume ? csv_space_make(&m->state, uuid, name) : csv_space_find(&m->state, uuid);
	if (!sp)
		return true; /* of a volume that the line that went on does not know */
	gate = gate_of(sp);
	if (!row->fn(m, sender, sp, r))
		return false;
	csv_settle(m, sp);
	if (gate != gate_of(sp))
		csv_space_kick(m, sp);
	if (m->phase == CSV_PHASE_FORMED)
		csv_timers_arm(m, sp);
	return true;
}

void csv_apply(struct csv_machine *m, uint32_t sender, const void *data, size_t len)
{
	struct csv_rbuf r = { .data = data, .len = len };
	struct csv_group_hdr h;
	bool ok = csv_msg_header(&r, &h) && h.version == m->version;

	m->state.chain = csv_mix(csv_mix64(m->state.chain, sender), data, len);
	if (ok && h.kind == CSV_G_HANDOFF)
		csv_handoff_deliver(m, sender, &r);
	else if (ok && h.kind == CSV_G_SYNC)
		ok = csv_get_end(&r);
	else if (ok && h.kind == CSV_G_EXPEL)
		ok = csv_apply_expel(m, sender, &r);
	else if (ok && h.kind < sizeof(rows) / sizeof(rows[0]) && rows[h.kind].fn)
		ok = apply_space(m, sender, h.kind, &r);
	else
		ok = false;
	if (!ok)
		csv_act_log(m, CSV_LOG_ERROR, "malformed message of kind %d from node %u is ignored", (int)h.kind,
			    sender);
}
