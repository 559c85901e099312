/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Own messages.  An operation counts in one view only.  It stays in the fifo from submission until it is delivered in
 * a view that it names; each new view sends what is left again, in order.  So an operation is applied exactly once in
 * a line of views: all members of a view either apply a message or drop it, by its header alone, and its sender sees
 * which.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "lockd/core/core.h"

void csv_msg_begin(struct csv_wbuf *w, enum csv_group_kind kind, uint64_t vid, uint64_t seq)
{
	*w = (struct csv_wbuf){ 0 };
	csv_put32(w, CSV_GROUP_MAGIC);
	csv_put8(w, CSV_GROUP_VERSION);
	csv_put8(w, (uint8_t)kind);
	csv_put64(w, vid);
	csv_put64(w, seq);
	csv_put64(w, 0);
	CSV_ASSERT(w->len == CSV_GROUP_HEADER);
}

bool csv_msg_header(struct csv_rbuf *r, struct csv_group_hdr *h)
{
	uint32_t magic = csv_get32(r);

	h->version = csv_get8(r);
	h->kind = (enum csv_group_kind)csv_get8(r);
	h->vid = csv_get64(r);
	h->seq = csv_get64(r);
	h->upto = csv_get64(r);
	return !r->bad && magic == CSV_GROUP_MAGIC;
}

struct csv_wbuf csv_op_begin(struct csv_machine *m, enum csv_group_kind kind, const uint8_t *uuid)
{
	struct csv_wbuf w;

	csv_msg_begin(&w, kind, 0, ++m->op_seq);
	if (uuid)
		csv_put(&w, uuid, 16);
	return w;
}

void csv_kept_add(struct csv_list *list, uint32_t sender, const void *data, size_t len)
{
	struct csv_kept *k = malloc(sizeof(*k) + len);

	CSV_ASSERT(k);
	k->sender = sender;
	k->len = len;
	memcpy(k->data, data, len);
	csv_list_push_back(list, &k->link);
}

void csv_kept_clear(struct csv_list *list)
{
	while (!csv_list_empty(list)) {
		struct csv_kept *k = csv_list_entry(list->next, struct csv_kept, link);

		csv_list_del(&k->link);
		free(k);
	}
}

static void send_kept(struct csv_machine *m, struct csv_kept *k)
{
	uint64_t vid = htole64(m->state.vid), upto = htole64(m->applied);

	k->data[CSV_GROUP_VERSION_OFF] = (uint8_t)m->version;
	memcpy(k->data + CSV_GROUP_VID_OFF, &vid, sizeof(vid));
	memcpy(k->data + CSV_GROUP_UPTO_OFF, &upto, sizeof(upto));
	m->synced = m->applied + 1;
	csv_act_send(m, k->data, k->len);
}

void csv_op_submit(struct csv_machine *m, struct csv_wbuf *w)
{
	csv_kept_add(&m->fifo, m->cfg.nodeid, w->data, w->len);
	csv_wbuf_free(w);
	if (m->phase == CSV_PHASE_FORMED)
		send_kept(m, csv_list_entry(m->fifo.prev, struct csv_kept, link));
}

void csv_fifo_resend(struct csv_machine *m)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &m->fifo)
		send_kept(m, csv_list_entry(pos, struct csv_kept, link));
}

void csv_fifo_delivered(struct csv_machine *m, uint64_t seq)
{
	struct csv_kept *k;
	struct csv_group_hdr h;
	struct csv_rbuf r;

	CSV_ASSERT(!csv_list_empty(&m->fifo));
	k = csv_list_entry(m->fifo.next, struct csv_kept, link);
	r = (struct csv_rbuf){ .data = k->data, .len = k->len };
	CSV_ASSERT(csv_msg_header(&r, &h) && h.seq == seq);
	csv_list_del(&k->link);
	free(k);
}

void csv_fifo_clear(struct csv_machine *m)
{
	csv_kept_clear(&m->fifo);
}
