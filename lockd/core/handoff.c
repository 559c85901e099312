/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The place of the handoff's own machine (migrate/core): messages of kind HANDOFF arrive here in total order, applied
 * on all members.  Its locks move by csv_space_move().  Until it is linked in, such a message is only logged.
 */
#include "lockd/core/core.h"

void csv_handoff_deliver(struct csv_machine *m, uint32_t sender, struct csv_rbuf *r)
{
	csv_act_log(m, CSV_LOG_DEBUG, "handoff message of %zu bytes from node %u: not supported yet", r->len - r->pos,
		    sender);
}
