/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Handoff messages between nodes as bytes: little-endian, strings with their length, bounds-checked. */
#ifndef CSV_MIGRATE_WIRE_H
#define CSV_MIGRATE_WIRE_H

#include <stddef.h>

#include "migrate/core/handoff.h"

enum csv_ho_msg_kind { CSV_HO_MSG_PREPARE = 1, CSV_HO_MSG_REQUEST, CSV_HO_MSG_ANSWER };

struct csv_ho_msg {
	enum csv_ho_msg_kind kind;
	uint8_t id[CSV_HO_ID];
	/* PREPARE, REQUEST: the sender's number for whoever waits */
	uint64_t token;
	/* PREPARE: plan.{src,dst}.nodeid only; each member finds the lives in its view, which is the same for all */
	struct csv_ho_plan plan;
	/* REQUEST */
	enum csv_ho_request req;
	/* ANSWER: an event's fields; the plan's files have epoch and size (none: not known) */
	enum csv_ho_event_type event;
	uint32_t slot, incarnation;
	enum csv_err err;
	char why[CSV_HO_WHY_MAX];
	struct csv_ho_times times;
};

/* One that is never too large for any message. */
#define CSV_HO_MSG_MAX (96u << 10)

/* Bytes written to data (CSV_HO_MSG_MAX of room). */
size_t csv_ho_msg_encode(const struct csv_ho_msg *m, uint8_t *data);
/* False: not a handoff message; *m is then undefined. */
bool csv_ho_msg_decode(struct csv_ho_msg *m, const uint8_t *data, size_t len);
/* The same for a whole record (state transfer); returns the bytes used, 0 if bad. */
size_t csv_handoff_encode(const struct csv_handoff *h, uint8_t *data);
size_t csv_handoff_decode(struct csv_handoff *h, const uint8_t *data, size_t len);

#endif
