/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The replicated state as bytes: for members without it, and for its digest.
 *
 * The oldest member of the line that goes on writes the state as it is at the beginning of the view and multicasts it
 * in pieces.  Who has the state ignores them; who waits for it keeps the operations that are delivered in between and
 * applies them after the last piece.  If the sender dies, a CONF comes and the forming begins again.
 *
 * The form is canonical: maps in their order, lists in theirs, so equal states give equal bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/bug.h"
#include "lockd/core/core.h"

/* Bytes of state in a piece. */
#define PIECE (CSV_MACHINE_SEND_MAX - 1024u)

static void write_slot(struct csv_wbuf *w, uint32_t n, const struct csv_slot *s)
{
	if (s->life == CSV_LIFE_FREE && !s->dead && !s->episode)
		return;
	csv_put8(w, (uint8_t)n);
	csv_put8(w, (uint8_t)s->life);
	csv_put8(w, (uint8_t)s->step);
	csv_put8(w, s->asked);
	csv_put8(w, s->was_rec);
	csv_put8(w, (uint8_t)s->fail);
	csv_put32(w, s->err);
	csv_put32(w, s->fails);
	csv_put32(w, s->incarnation);
	csv_put32(w, s->dead);
	csv_put32(w, s->episode);
	csv_put64(w, s->seen);
	csv_put64(w, s->seq);
	csv_put64(w, s->pr_key);
	csv_put32(w, s->nodeid);
	csv_put_str(w, s->node);
	csv_put32(w, s->place ? s->place->id : UINT32_MAX);
}

static void write_places(struct csv_wbuf *w, const struct csv_space *sp)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &sp->places) {
		const struct csv_place *p = csv_list_entry(pos, const struct csv_place, link);

		csv_put8(w, 1);
		csv_put32(w, p->id);
		csv_put32(w, p->nodeid);
		csv_put64(w, p->client);
		csv_put32(w, p->slot);
		csv_put8(w, p->bound);
		csv_put8(w, p->unlooked);
	}
	csv_put8(w, 0);
}

static void write_lkbs(struct csv_wbuf *w, const struct csv_list *head)
{
	struct csv_list *pos;

	csv_list_for_each(pos, head) {
		const struct csv_lkb *l = csv_list_entry(pos, const struct csv_lkb, link);

		csv_put8(w, 1);
		csv_put32(w, l->place->id);
		csv_put8(w, (uint8_t)l->mode);
		csv_put8(w, (uint8_t)l->bast);
		csv_put8(w, (uint8_t)l->flags);
		csv_put64(w, l->seq);
	}
	csv_put8(w, 0);
}

static void write_brl(void *arg, const struct csv_brl *l)
{
	csv_put8(arg, 1);
	csv_brl_put(arg, l);
}

static void write_ranges(struct csv_wbuf *w, const struct csv_space *sp)
{
	struct csv_list *pos;

	csv_brl_walk(sp->brl, write_brl, w);
	csv_put8(w, 0);
	csv_list_for_each(pos, &sp->brl_waits) {
		const struct csv_brl_wait *b = csv_list_entry(pos, const struct csv_brl_wait, link);

		csv_put8(w, 1);
		csv_put32(w, b->place);
		csv_put64(w, b->seq);
		csv_put8(w, (uint8_t)b->how);
		csv_put8(w, b->tried);
		csv_brl_put(w, &b->w.brl);
	}
	csv_put8(w, 0);
}

static void write_space(struct csv_wbuf *w, const struct csv_space *sp)
{
	struct csv_omap_node *n;

	csv_put(w, sp->uuid, sizeof(sp->uuid));
	csv_put_str(w, sp->name);
	csv_put8(w, (uint8_t)sp->engine);
	csv_put8(w, sp->verified);
	csv_put32(w, sp->verifier);
	csv_put32(w, sp->verify_round);
	csv_put32(w, sp->verify_last);
	csv_put32(w, sp->verify_err);
	csv_put32(w, sp->rec);
	csv_put32(w, sp->rec_last);
	csv_put8(w, sp->rec_stale);
	csv_put32(w, sp->round);
	csv_put32(w, sp->next_place);
	write_places(w, sp);
	for (uint32_t i = 0; i < CSV_SLOTS_MAX; i++)
		write_slot(w, i, &sp->slot[i]);
	csv_put8(w, UINT8_MAX);
	for (n = csv_omap_first(&sp->rsbs); n; n = csv_omap_next(n)) {
		const struct csv_rsb *r = csv_rsb_of(n);

		csv_put8(w, (uint8_t)r->res.type);
		csv_put64(w, r->res.id);
		write_lkbs(w, &r->holders);
		write_lkbs(w, &r->waiters);
	}
	csv_put8(w, CSV_RES_NONE);
	write_ranges(w, sp);
}

static void write_handoffs(struct csv_wbuf *w, const struct csv_ho_table *t)
{
	uint8_t *data = malloc(csv_ho_export_size(t));
	size_t len;

	CSV_ASSERT(data);
	len = csv_ho_export(t, data);
	csv_put32(w, (uint32_t)len);
	csv_put(w, data, len);
	free(data);
}

static bool read_handoffs(struct csv_rbuf *r, struct csv_ho_table *t)
{
	uint32_t len = csv_get32(r);
	bool ok = !r->bad && len <= r->len - r->pos && csv_ho_import(t, r->data + r->pos, len);

	if (ok)
		r->pos += len;
	return ok;
}

void csv_state_write(const struct csv_state *s, struct csv_wbuf *w)
{
	const struct csv_space *sp;

	csv_put64(w, s->vid);
	csv_put64(w, s->gen);
	csv_put64(w, s->chain);
	csv_put8(w, s->cont);
	csv_put32(w, s->nmembers);
	for (unsigned i = 0; i < s->nmembers; i++)
		csv_put32(w, s->member[i]);
	csv_put32(w, s->nexpelled);
	for (unsigned i = 0; i < s->nexpelled; i++) {
		csv_put32(w, s->expelled[i].nodeid);
		csv_put8(w, s->expelled[i].over);
		csv_put64(w, s->expelled[i].id);
	}
	csv_put32(w, (uint32_t)s->spaces.count);
	csv_for_each_space(sp, s) write_space(w, sp);
	write_handoffs(w, &s->ho);
}

/* Somebody has it in every life but these: free, or found dirty on disk. */
static bool slot_is_sound(const struct csv_slot *s, uint32_t n)
{
	bool nobody = s->life == CSV_LIFE_FREE || s->life == CSV_LIFE_LOST || s->life == CSV_LIFE_OUT;

	return (unsigned)s->life < CSV_LIVES && (unsigned)s->step < CSV_STEPS && (unsigned)s->fail < CSV_STEPS &&
	       (unsigned)s->err < CSV_ERR_COUNT && (s->place ? s->place->slot == n : nobody);
}

static bool read_slots(struct csv_rbuf *r, struct csv_space *sp)
{
	uint8_t n;

	while (!r->bad && (n = csv_get8(r)) < CSV_SLOTS_MAX) {
		struct csv_slot *s = &sp->slot[n];
		uint32_t place;

		s->life = (enum csv_life)csv_get8(r);
		s->step = (enum csv_step)csv_get8(r);
		s->asked = csv_get8(r);
		s->was_rec = csv_get8(r);
		s->fail = (enum csv_step)csv_get8(r);
		s->err = (enum csv_err)csv_get32(r);
		s->fails = csv_get32(r);
		s->incarnation = csv_get32(r);
		s->dead = csv_get32(r);
		s->episode = csv_get32(r);
		s->seen = csv_get64(r);
		s->seq = csv_get64(r);
		s->pr_key = csv_get64(r);
		s->nodeid = csv_get32(r);
		csv_get_str(r, s->node, sizeof(s->node));
		place = csv_get32(r);
		s->place = place == UINT32_MAX ? NULL : csv_place_by_id(sp, place);
		if ((place != UINT32_MAX && !s->place) || !slot_is_sound(s, n))
			return false;
	}
	return !r->bad;
}

static bool read_places(struct csv_rbuf *r, struct csv_space *sp)
{
	uint32_t next = sp->next_place, above = 0; /* ids grow */

	while (csv_get8(r)) {
		uint32_t id = csv_get32(r), nodeid = csv_get32(r), slot;
		uint64_t client = csv_get64(r);
		struct csv_place *p;

		slot = csv_get32(r);
		if (r->bad || id < above || id >= next || (slot != CSV_NO_SLOT && slot >= CSV_SLOTS_MAX))
			return false;
		p = csv_place_new(sp, nodeid, client);
		p->id = id;
		p->slot = slot;
		p->bound = csv_get8(r);
		p->unlooked = csv_get8(r);
		above = id + 1;
	}
	sp->next_place = next;
	return !r->bad;
}

static bool read_lkbs(struct csv_rbuf *r, struct csv_space *sp, struct csv_rsb *rsb, bool waiting)
{
	while (csv_get8(r)) {
		struct csv_place *p = csv_place_by_id(sp, csv_get32(r));
		uint8_t mode = csv_get8(r), bast = csv_get8(r);
		struct csv_lkb *l;

		if (!p || mode > CSV_EX || bast > CSV_EX)
			return false;
		l = csv_lkb_new(rsb, p, (enum csv_mode)mode, waiting);
		l->bast = (enum csv_mode)bast;
		l->flags = csv_get8(r);
		l->seq = csv_get64(r);
	}
	return !r->bad;
}

static bool read_rsbs(struct csv_rbuf *r, struct csv_space *sp)
{
	uint8_t type;

	while ((type = csv_get8(r)) != CSV_RES_NONE) {
		struct csv_res res = csv_res((enum csv_res_type)type, csv_get64(r));
		struct csv_rsb *rsb;
		bool sound;

		if (type >= CSV_RES_TYPES || csv_rsb_find(sp, res))
			return false;
		rsb = csv_rsb_make(sp, res);
		sound = read_lkbs(r, sp, rsb, false) && read_lkbs(r, sp, rsb, true);
		/* One that nobody holds or waits for is never written: it would stay for ever. */
		if (csv_list_empty(&rsb->holders) && csv_list_empty(&rsb->waiters)) {
			csv_rsb_put(sp, rsb);
			return false;
		}
		if (!sound)
			return false;
	}
	return !r->bad;
}

static bool read_ranges(struct csv_rbuf *r, struct csv_space *sp)
{
	struct csv_brl l;

	while (csv_get8(r)) {
		if (!csv_brl_get(r, &l) || !csv_brl_set(sp->brl, &l, NULL))
			return false;
	}
	while (csv_get8(r)) {
		uint32_t place = csv_get32(r);
		uint64_t seq = csv_get64(r);
		uint8_t how = csv_get8(r);
		bool tried = csv_get8(r);

		if (!csv_brl_get(r, &l) || how >= CSV_BRL_HOWS || !csv_place_by_id(sp, place))
			return false;
		csv_brl_wait_tried(csv_brl_wait_new(sp, place, seq, (enum csv_brl_how)how, &l), tried);
	}
	return !r->bad;
}

static bool read_space(struct csv_rbuf *r, struct csv_state *s)
{
	char name[CSV_VOLNAME_MAX + 1];
	struct csv_space *sp;
	uint8_t uuid[16];

	csv_get(r, uuid, sizeof(uuid));
	csv_get_str(r, name, sizeof(name));
	if (r->bad || csv_space_find(s, uuid))
		return false;
	sp = csv_space_make(s, uuid, name);
	sp->engine = (enum csv_lock_engine)csv_get8(r);
	sp->verified = csv_get8(r);
	sp->verifier = csv_get32(r);
	sp->verify_round = csv_get32(r);
	sp->verify_last = csv_get32(r);
	sp->verify_err = (enum csv_err)csv_get32(r);
	sp->rec = csv_get32(r);
	sp->rec_last = csv_get32(r);
	sp->rec_stale = csv_get8(r);
	sp->round = csv_get32(r);
	sp->next_place = csv_get32(r);
	if (sp->engine >= CSV_ENGINES || (sp->verifier != CSV_NO_SLOT && sp->verifier >= CSV_SLOTS_MAX) ||
	    (sp->rec != CSV_NO_SLOT && sp->rec >= CSV_SLOTS_MAX) || sp->rec_last >= CSV_SLOTS_MAX ||
	    sp->verify_last >= CSV_SLOTS_MAX || (unsigned)sp->verify_err >= CSV_ERR_COUNT)
		return false;
	return read_places(r, sp) && read_slots(r, sp) && read_rsbs(r, sp) && read_ranges(r, sp);
}

bool csv_state_read(struct csv_state *s, const uint8_t *data, size_t len)
{
	struct csv_rbuf r = { .data = data, .len = len };
	uint32_t n;

	s->vid = csv_get64(&r);
	s->gen = csv_get64(&r);
	s->chain = csv_get64(&r);
	s->cont = csv_get8(&r);
	s->nmembers = csv_get32(&r);
	if (s->nmembers > CSV_NODES_MAX) {
		s->nmembers = 0;
		return false;
	}
	for (unsigned i = 0; i < s->nmembers; i++)
		s->member[i] = csv_get32(&r);
	s->nexpelled = csv_get32(&r);
	if (s->nexpelled > CSV_NODES_MAX) {
		s->nexpelled = 0;
		return false;
	}
	for (unsigned i = 0; i < s->nexpelled; i++) {
		s->expelled[i].nodeid = csv_get32(&r);
		s->expelled[i].over = csv_get8(&r);
		s->expelled[i].id = csv_get64(&r);
	}
	for (n = csv_get32(&r); n && !r.bad; n--) {
		if (!read_space(&r, s))
			return false;
	}
	return read_handoffs(&r, &s->ho) && csv_get_end(&r);
}

void csv_transfer_send(struct csv_machine *m)
{
	struct csv_wbuf state = { 0 }, w;
	uint32_t piece = 0;

	csv_state_write(&m->state, &state);
	for (size_t off = 0; off < state.len; piece++) {
		size_t len = state.len - off < PIECE ? state.len - off : PIECE;

		csv_msg_begin(&w, CSV_G_SNAPSHOT, m->state.vid, 0);
		w.data[CSV_GROUP_VERSION_OFF] = (uint8_t)m->version;
		csv_put32(&w, piece);
		csv_put8(&w, off + len == state.len);
		csv_put64(&w, csv_mix(0, state.data + off, len));
		csv_put32(&w, (uint32_t)len);
		csv_put(&w, state.data + off, len);
		csv_act_send(m, w.data, w.len);
		csv_wbuf_free(&w);
		off += len;
	}
	csv_act_log(m, CSV_LOG_INFO, "state of %zu bytes sent to the members that have none", state.len);
	csv_wbuf_free(&state);
}

/* All of it is here: it becomes our state, and what came in the meantime is applied to it. */
static void load(struct csv_machine *m, uint32_t sender)
{
	struct csv_list *pos;

	csv_state_clear(&m->state);
	csv_state_init(&m->state);
	if (!csv_state_read(&m->state, m->load.data, m->load.len) || m->state.vid != m->start ||
	    csv_state_member(&m->state, m->cfg.nodeid) < 0) {
		csv_act_log(m, CSV_LOG_ERROR, "the state from node %u is malformed: waiting for the next view", sender);
		csv_state_clear(&m->state);
		csv_state_init(&m->state);
		m->state.vid = m->start;
		csv_wbuf_free(&m->load);
		return;
	}
	csv_act_log(m, CSV_LOG_INFO, "state of %zu bytes received from node %u", m->load.len, sender);
	csv_wbuf_free(&m->load);
	m->has_state = true;
	csv_list_for_each(pos, &m->late) {
		struct csv_kept *k = csv_list_entry(pos, struct csv_kept, link);

		if (CSV_BUG(LATE_OPS_LOST))
			continue;
		csv_apply(m, k->sender, k->data, k->len);
	}
	csv_kept_clear(&m->late);
	csv_declare_all(m);
	csv_view_formed(m);
}

void csv_transfer_piece(struct csv_machine *m, uint32_t sender, struct csv_rbuf *r)
{
	struct csv_group_hdr h;
	bool sound = csv_msg_header(r, &h), last;
	uint32_t piece, len;
	uint64_t sum;

	if (m->phase != CSV_PHASE_LOADING || h.vid != m->start)
		return;
	piece = csv_get32(r);
	last = csv_get8(r);
	sum = csv_get64(r);
	len = csv_get32(r);
	if (!sound || h.version != m->version || r->bad || r->len - r->pos != len ||
	    sum != csv_mix(0, r->data + r->pos, len) || (uint64_t)piece * PIECE != m->load.len) {
		csv_act_log(m, CSV_LOG_ERROR, "malformed piece of the state from node %u is ignored", sender);
		return;
	}
	csv_put(&m->load, r->data + r->pos, len);
	if (last)
		load(m, sender);
}
