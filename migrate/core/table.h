/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All handoffs that a csvlockd knows: the undecided ones and the last finished ones.
 * Part of the replicated state: fed in total order, equal on all members.
 */
#ifndef CSV_MIGRATE_TABLE_H
#define CSV_MIGRATE_TABLE_H

#include "migrate/core/wire.h"

#define CSV_HO_RECORDS_MAX 64u

/* What the machine around it does; calls happen within csv_ho_deliver, csv_ho_life and csv_ho_greet, in order. */
struct csv_ho_host {
	/* The volume's slots now; false: no such volume in the cluster. */
	bool (*view)(void *arg, const uint8_t *uuid, struct csv_ho_view *v);
	/* To the csvfs of (slot, incarnation), if it is on this node: files, locks and verb of h (NULL with SYNC). */
	void (*order)(void *arg, const struct csv_handoff *h, enum csv_ho_verb verb, uint32_t slot,
		      uint32_t incarnation);
	/* To every csvfs of the volume on this node. */
	void (*tell)(void *arg, const struct csv_handoff *h, enum csv_ho_verb verb);
	/* lease.I of every file goes from slot to slot, ahead of any other waiter; no-op where `from` has it no more. */
	void (*move)(void *arg, const struct csv_handoff *h, uint32_t from, uint32_t to);
	/*
	 * A request of this node was taken in (err OK: look at csv_handoff_verdict() now and after each change) or refused.
	 * h is NULL if there is no such handoff.
	 */
	void (*reply)(void *arg, uint64_t token, const struct csv_handoff *h, enum csv_err err, const char *why);
	void (*changed)(void *arg, const struct csv_handoff *h);
	uint32_t nodeid; /* ours */
	void *arg;
};

struct csv_ho_table {
	struct csv_ho_host host;
	unsigned n;
	struct csv_handoff *rec[CSV_HO_RECORDS_MAX]; /* oldest first */
	uint64_t next;                               /* number of the next */
};

void csv_ho_table_init(struct csv_ho_table *t, const struct csv_ho_host *host);
void csv_ho_table_free(struct csv_ho_table *t); /* empty afterwards, usable */

/* An ordered message; garbage changes nothing. */
void csv_ho_deliver(struct csv_ho_table *t, uint32_t sender, const uint8_t *data, size_t len);
/* OUT, RECOVERED or LIVE of a slot, at its place in the order and after the view has changed. */
void csv_ho_life(struct csv_ho_table *t, const uint8_t *uuid, enum csv_ho_event_type type, uint32_t slot,
		 uint32_t incarnation);
/*
 * The same from the view alone: every end, recovery or new life that the volume's records have not heard of yet.  To be
 * called wherever the view may have changed, at the same points of the order on all members.
 */
void csv_ho_sync(struct csv_ho_table *t, const uint8_t *uuid);
/* This csvfs, on this node, has attached or re-attached: it hears what it has to know; SYNC ends it. */
void csv_ho_greet(struct csv_ho_table *t, const uint8_t *uuid, uint32_t slot, uint32_t incarnation);

const struct csv_handoff *csv_ho_find(const struct csv_ho_table *t, const uint8_t id[CSV_HO_ID]);
/* The undecided handoff that this file belongs to; NULL: none. */
const struct csv_handoff *csv_ho_of_file(const struct csv_ho_table *t, const uint8_t *uuid, uint64_t ino);

/* State transfer. import replaces everything; false: damaged, the table is empty. */
size_t csv_ho_export_size(const struct csv_ho_table *t);
size_t csv_ho_export(const struct csv_ho_table *t, uint8_t *data);
bool csv_ho_import(struct csv_ho_table *t, const uint8_t *data, size_t len);
uint64_t csv_ho_digest(const struct csv_ho_table *t);

#endif
