/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Persistent reservations (SPC-4 5.12, 6.15, 6.16) through a port.  All functions block.
 * Common errors: CONFLICT, NOTSUP (the target does not do that), IO, UNREACH (no answer).
 */
#ifndef CSV_LIB_PR_H
#define CSV_LIB_PR_H

#include "lib/scsi.h"

/* Service actions of PERSISTENT RESERVE OUT, SPC-4 table 220 */
#define CSV_PR_RESERVE 1
#define CSV_PR_RELEASE 2
#define CSV_PR_CLEAR 3
#define CSV_PR_PREEMPT 4
#define CSV_PR_PREEMPT_AND_ABORT 5
#define CSV_PR_REGISTER_AND_IGNORE 6
#define CSV_PR_REGISTER_AND_MOVE 7

/* One PERSISTENT RESERVE OUT with the basic parameter list; `aptpl`: the registration is to outlive a loss of power. */
enum csv_scsi_answer csv_pr_out(struct csv_scsi_port *port, int sa, enum csv_pr_type type, uint64_t key,
				uint64_t sa_key, bool aptpl);

/* REGISTER AND IGNORE EXISTING KEY; 0 unregisters. */
enum csv_err csv_pr_register(struct csv_scsi_port *port, uint64_t key);
/* The same, to outlive the target's power (APTPL) where the target can do that. */
enum csv_err csv_pr_register_lasting(struct csv_scsi_port *port, uint64_t key);
enum csv_err csv_pr_reserve(struct csv_scsi_port *port, uint64_t key, enum csv_pr_type type);
enum csv_err csv_pr_status(struct csv_scsi_port *port, struct csv_pr_status *st);
/* How many registrations (of paths) have the key; *generation: PRGENERATION, which a power-on sets to 0. */
enum csv_err csv_pr_count_key(struct csv_scsi_port *port, uint64_t key, unsigned *n, uint32_t *generation);
/*
 * The reservation made sure of, the victim's key removed, its queued commands dead (F1, F3).  *aborted: by PREEMPT AND
 * ABORT, else by a reset.  CONFLICT: our own key is gone.
 */
enum csv_err csv_pr_fence(struct csv_scsi_port *port, uint64_t key, uint64_t victim, enum csv_pr_type type,
			  bool *aborted);

/* pr_holder.c: makes our registration the one that tgtd takes for the reservation's maker. REFUSED: as it was. */
enum csv_scsi_answer csv_pr_become_holder(struct csv_scsi_port *port, enum csv_pr_type type, uint64_t key);
/*
 * The TransportID as tgtd makes it of a session (SPC-4 7.6.4.6, but that the initiator session id is not in text).
 * Length in bytes, a multiple of 4; 0: the name is too long.
 */
size_t csv_pr_tgtd_transport_id(const char *initiator, const uint8_t isid[6], uint8_t *id);

#endif
