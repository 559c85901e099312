/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Handoffs within the machine: the table of migrate/core at its place in the order, its orders to csvfs. */
#ifndef CSV_LOCKD_HANDOFF_H
#define CSV_LOCKD_HANDOFF_H

#include "lockd/core/machine.h"
#include "migrate/core/table.h"

struct csv_local;
struct csv_space;
struct csv_rbuf;

/* ---- for the daemon ---- */
/* Multicasts a request or a PREPARE of this node. */
void csv_machine_handoff(struct csv_machine *m, const struct csv_ho_msg *msg, struct csv_actions *out);
/* All records, as this member has them. */
const struct csv_ho_table *csv_machine_handoffs(const struct csv_machine *m);
/* What became of the request with this token; false: not delivered yet. Once it was told it is forgotten. */
struct csv_handoff_reply {
	uint64_t token;
	enum csv_err err; /* OK: taken in */
	char why[CSV_HO_WHY_MAX];
};
bool csv_machine_handoff_reply(struct csv_machine *m, uint64_t token, struct csv_handoff_reply *r);
/*
 * The destination's csvfs is armed, but the VM's definition is still to be compared or its incoming VM to be started:
 * the answer is held until the daemon has done so and sends it on by csv_machine_handoff(), as it is with its uri, or
 * as REFUSED.  NULL: none.  The caller frees it.
 */
struct csv_ho_msg *csv_machine_handoff_armed(struct csv_machine *m);

/* ---- within the machine ---- */
#define CSV_HANDOFF_ARMED 4u
#define CSV_HANDOFF_REPLIES 16u
struct csv_handoff_replies {
	unsigned n;
	struct csv_handoff_reply r[CSV_HANDOFF_REPLIES];
};
/* Lives may have ended, or begun, or been recovered. */
void csv_handoff_settle(struct csv_machine *m, struct csv_space *sp);
/* A local csvfs has just become (again) attached: after ATTACHED was sent to it. */
void csv_handoff_attached(struct csv_machine *m, struct csv_local *c);
/* HO_FILE, HO_ANSWER of a local csvfs. */
void csv_handoff_record(struct csv_machine *m, struct csv_local *c, const struct csv_msg *msg);

#endif
