/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One SCSI command and the way it takes to a logical unit.
 *
 * A port is that way: a session of libiscsi (iscsi_pr.c) or SG_IO on the kernel's disks (disk_sg.c); unit tests have
 * one of their own.  What is the same on all of them is written once, against a port: persistent reservations (pr.h).
 */
#ifndef CSV_LIB_SCSI_H
#define CSV_LIB_SCSI_H

#include "lib/bdev.h"

/* SAM-5 table 33 */
#define CSV_SAM_GOOD 0x00
#define CSV_SAM_CHECK_CONDITION 0x02
#define CSV_SAM_BUSY 0x08
#define CSV_SAM_CONFLICT 0x18
#define CSV_SAM_TASK_SET_FULL 0x28
#define CSV_SAM_TASK_ABORTED 0x40

/* SPC-4 table 53 */
#define CSV_SENSE_NOT_READY 0x2
#define CSV_SENSE_ILLEGAL_REQUEST 0x5
#define CSV_SENSE_UNIT_ATTENTION 0x6
#define CSV_SENSE_DATA_PROTECT 0x7
#define CSV_SENSE_ABORTED_COMMAND 0xb
#define CSV_SENSE_MISCOMPARE 0xe

#define CSV_TRANSPORT_ID_MAX 300     /* bytes */

struct csv_scsi_cmd {
	uint8_t cdb[16];
	unsigned cdb_len;
	void *data;                  /* NULL: no data */
	size_t len;                  /* bytes of data */
	bool out;                    /* to the target */
	/* the answer */
	uint8_t status;
	uint8_t key;                 /* sense, with CHECK CONDITION */
	uint16_t asc;                /* additional sense code << 8 | its qualifier */
	size_t moved;                /* bytes, of a command that reads */
};

enum csv_scsi_answer {
	CSV_SCSI_GOOD,
	CSV_SCSI_CONFLICT,           /* RESERVATION CONFLICT */
	CSV_SCSI_REFUSED,            /* ILLEGAL REQUEST: the target does not do that */
	CSV_SCSI_ERROR,
	CSV_SCSI_LOST,               /* no answer: the path, or the session */
};

struct csv_scsi_port {
	/* Sends a command once and waits. OK: answered. UNREACH: not, and it is not known whether it was executed. */
	enum csv_err (*command)(struct csv_scsi_port *port, struct csv_scsi_cmd *cmd);
	void (*attention)(struct csv_scsi_port *port, int asc); /* a unit attention came; NULL: nobody asks */
	void (*rest)(struct csv_scsi_port *port, unsigned ms);
	/*
	 * LOGICAL UNIT RESET, after our own commands have ended, and its answer; its unit attention is taken.
	 * NOTSUP: refused.
	 */
	enum csv_err (*reset)(struct csv_scsi_port *port);
	/* tgtd's TransportID of this initiator port, at most CSV_TRANSPORT_ID_MAX bytes; 0: not known. */
	size_t (*transport_id)(struct csv_scsi_port *port, uint8_t *id);
	void *owner;                 /* the device's, for the call-backs */
	bool tgtd;                   /* see pr_holder.c */
	bool no_aptpl;               /* the target has refused it */
	enum csv_pr_type held;       /* what was reserved last through this port, to be made again (F1) */
};

/* Sends a command until it is neither a unit attention nor BUSY that comes back, at most some 20 times. */
enum csv_scsi_answer csv_scsi_run(struct csv_scsi_port *port, struct csv_scsi_cmd *cmd);
/* What a unit attention's code (SPC-4 table F.1) means for a device. */
enum csv_attention {
	CSV_UA_OTHER,
	CSV_UA_RESERVATIONS,         /* preempted or released */
	CSV_UA_CLEARED,              /* commands cleared by another initiator */
	CSV_UA_RESET,                /* keeps the cache */
	CSV_UA_POWER,                /* what the cache held may be gone (J4) */
};
enum csv_attention csv_scsi_attention(int asc);
/* What DATA PROTECT means for a write: LUNFULL with 27h/07h, "space allocation failed write protect", else ROFS. */
enum csv_err csv_scsi_protect(int asc);
/* OK, CONFLICT, NOTSUP, IO, UNREACH. */
enum csv_err csv_scsi_err(enum csv_scsi_answer a);

/* Big-endian fields (SPC-4 3.5). */
uint64_t csv_be_get(const uint8_t *p, unsigned bytes);
void csv_be_put(uint8_t *p, unsigned bytes, uint64_t v);

#endif
