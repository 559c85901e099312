/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Handoff requests to this node's csvlockd, and their answers as JSON; for csvadm, the hook and the driver. */
#ifndef CSV_MIGRATE_REQUEST_H
#define CSV_MIGRATE_REQUEST_H

#include <jansson.h>

#include "lockd/client/client.h"
#include "migrate/core/handoff.h"

/* What prepare takes; NULL and 0: not given. One of vm, pid and paths says whose disks. */
struct csv_prepare {
	const char *vm;
	uint32_t pid;
	char **paths; /* of open images, on this node */
	int npaths;
	const char *to;         /* node */
	const char *definition; /* path on this node, on the volume */
	bool launch;            /* the destination starts the incoming VM from it */
	const char *uri;        /* where that listens, "tcp:IP"; NULL: as the destination is configured */
};

/* A handoff as an answer tells it. */
struct csv_request_answer {
	struct csv_msg_ho ho;
	bool have;
	json_t *json; /* id, state, outcome, owner, ... as docs/COMMANDS says; the caller's to drop */
};

/*
 * *a is to be set to zero; it is filled as far as an answer came, also with an error.  KEPT: a commit that left the disks
 * here.  UNREACH: csvlockd is lost before it answered: `handoff status` tells what became of it.
 */
enum csv_err csv_request_prepare(struct csv_client *cl, const struct csv_prepare *p, int timeout_ms,
				 struct csv_request_answer *a, struct csv_why *why);
enum csv_err csv_request(struct csv_client *cl, enum csv_ho_request req, const uint8_t id[CSV_HO_ID], int timeout_ms,
			 struct csv_request_answer *a, struct csv_why *why);
/* All records, or the one; an array. */
enum csv_err csv_request_list(struct csv_client *cl, const uint8_t *id, int timeout_ms, json_t *list,
			      struct csv_why *why);
/* The last record of the VM in this list; NULL: none. Borrowed. */
json_t *csv_request_of_vm(json_t *list, const char *vm);

/* 32 hexadecimal digits. */
bool csv_request_id(const char *text, uint8_t id[CSV_HO_ID]);
void csv_request_id_text(const uint8_t id[CSV_HO_ID], char text[2 * CSV_HO_ID + 1]);

#endif
