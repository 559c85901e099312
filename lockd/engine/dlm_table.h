/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * This node's locks of one volume in the kernel's DLM: a pure state machine between csvlockd's machine, which orders and is
 * told (lockd/core/machine.h), and csv-dlm-space, which calls the DLM (dlm_wire.h).  No clock, socket or thread inside.
 *
 * A lock is never converted up (L7): what has to become stronger goes first.  For each lock at most one request is on
 * its way (beside the cancel of a LOCK); what is ordered meanwhile is done when it has come back.
 */
#ifndef CSV_DLM_TABLE_H
#define CSV_DLM_TABLE_H

#include <stddef.h>

#include "lockd/core/machine.h"
#include "lockd/engine/dlm_wire.h"

struct csv_dlm_host {
	void (*send)(void *arg, const struct csv_dlm_req *req); /* to csv-dlm-space; does not call back */
	void (*say)(void *arg, const struct csv_dlm_saying *s); /* to the machine; uuid is not filled; does not call back */
	void (*broken)(void *arg, const char *what, unsigned status); /* the DLM answers what it never should */
	void *arg;
};

struct csv_dlm_table;
struct csv_dlm_table *csv_dlm_table_new(const struct csv_dlm_host *host);
void csv_dlm_table_free(struct csv_dlm_table *t);
/* All verbs but OPEN. */
void csv_dlm_table_order(struct csv_dlm_table *t, const struct csv_dlm_order *o);
/* DONE and BAST; of locks that it does not know nothing is thought. */
void csv_dlm_table_event(struct csv_dlm_table *t, const struct csv_dlm_res *r);
/* Another csv-dlm-space serves the volume: what the last one held is adopted, what it had asked for asked again (L4). */
void csv_dlm_table_again(struct csv_dlm_table *t);
size_t csv_dlm_table_count(const struct csv_dlm_table *t); /* locks that it has or asks for */

/* "i:1234": the resource's name in the DLM. */
void csv_dlm_name(struct csv_res res, char name[CSV_DLM_NAME_MAX]);

#endif
