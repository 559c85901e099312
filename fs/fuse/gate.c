/* SPDX-License-Identifier: GPL-2.0-or-later */
/* I/O on handles while a handoff moves their image. */
#include "fs/fuse/ops.h"
#include "fs/lock/handoff.h"

/* Nothing is submitted while a gate changes: see fs/lock/gate.h. */
enum csv_err freq_enter(struct csv_freq *r, bool write, struct csv_gates **g)
{
	const struct csv_handle *h = r->handle;

	*g = NULL;
	if (h && h->revoked)
		return CSV_STALE;
	if (r->m->handoffs) {
		struct csv_gates *gates = csv_handoffs_gates(r->m->handoffs);

		TRY(csv_gate_enter(gates, &r->op, r->ref.ino, write));
		*g = gates;
	}
	/* The handle may have changed while we waited for the gate's lock. */
	if (h && (h->revoked || (write && h->image && !h->lease))) {
		freq_leave(*g);
		return h->revoked ? CSV_STALE : CSV_BUSY;
	}
	return CSV_OK;
}

void freq_leave(struct csv_gates *g)
{
	if (g)
		csv_gate_leave(g);
}

enum csv_err freq_wait(struct csv_freq *r, bool write)
{
	struct csv_gates *g;

	TRY(freq_enter(r, write, &g));
	freq_leave(g);
	return CSV_OK;
}
