/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lists that may be longer than what is kept for a client: they are read from the state in pieces, the next one when
 * the socket has taken the last one.  So a list costs a piece of memory, however long it is and however slowly it is
 * read, and the loop does other things in between.
 */
#include <stdlib.h>
#include <string.h>

#include "lockd/daemon/daemon.h"

#define PIECE 128u /* items */
#define PIECES 16u /* before the loop turns again */

struct csv_listing {
	uint32_t type; /* the request's */
	uint64_t seq;
	uint8_t uuid[16];
	char vm[64 + 1];
	struct csv_look at;
	uint64_t after; /* HANDLE_LIST */
	struct csv_peer *peer;
};

static void send_lock(void *arg, const struct csv_msg_lock *l)
{
	const struct csv_listing *li = arg;
	struct csv_msg msg = { .type = CSV_MSG_LOCK_ITEM, .seq = li->seq, .lock = *l };

	csv_peer_send(li->peer, &msg);
}

static void send_range(void *arg, const struct csv_msg_brl_item *b)
{
	const struct csv_listing *li = arg;
	struct csv_msg msg = { .type = CSV_MSG_BRL_ITEM, .seq = li->seq, .brl_item = *b };

	csv_peer_send(li->peer, &msg);
}

/* True: there is more. */
static bool piece(struct csv_listing *li)
{
	const struct csv_machine *m = li->peer->daemon->machine;

	if (li->type == CSV_MSG_HANDLE_LIST)
		return csv_registry_list(li->peer, li->seq, li->vm, &li->after, PIECE);
	if (li->type == CSV_MSG_BRL_LIST)
		return csv_machine_ranges(m, li->uuid, &li->at, PIECE, send_range, li);
	return csv_machine_locks(m, li->uuid, &li->at, PIECE, send_lock, li);
}

void csv_listing_gone(struct csv_peer *p)
{
	free(p->listing);
	p->listing = NULL;
}

void csv_listing_go_on(struct csv_peer *p)
{
	struct csv_msg done = { .type = CSV_MSG_DONE, .last = 1 };
	unsigned n = 0;

	while (p->listing && !p->closing && csv_list_empty(&p->out) && n++ < PIECES) {
		done.seq = p->listing->seq;
		if (p->listing->type != CSV_MSG_HANDLE_LIST && !p->daemon->machine) {
			csv_listing_gone(p);
			csv_peer_error(p, done.seq, CSV_NOCLUSTER, "corosync has gone meanwhile");
		} else if (!piece(p->listing)) {
			csv_listing_gone(p);
			csv_peer_send(p, &done);
		}
	}
}

void csv_listing_begin(struct csv_peer *p, const struct csv_msg *req, const uint8_t *uuid)
{
	struct csv_listing *li;

	if (p->listing) {
		csv_peer_error(p, req->seq, CSV_BUSY, "one list at a time");
		return;
	}
	li = calloc(1, sizeof(*li));
	CSV_ASSERT(li);
	li->type = req->type;
	li->seq = req->seq;
	li->peer = p;
	if (uuid)
		memcpy(li->uuid, uuid, sizeof(li->uuid));
	else
		memcpy(li->vm, req->handle.vm, sizeof(req->handle.vm));
	p->listing = li;
	csv_listing_go_on(p);
}
