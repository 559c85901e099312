/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SCSI commands on any port: tried again where the target asks for it. */
#include "lib/scsi.h"

#define TRIES 20
#define BUSY_MS 100

uint64_t csv_be_get(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v = v << 8 | p[i];
	return v;
}

void csv_be_put(uint8_t *p, unsigned bytes, uint64_t v)
{
	while (bytes-- > 0) {
		p[bytes] = (uint8_t)v;
		v >>= 8;
	}
}

static enum csv_scsi_answer answer(const struct csv_scsi_cmd *cmd)
{
	if (cmd->status == CSV_SAM_GOOD)
		return CSV_SCSI_GOOD;
	if (cmd->status == CSV_SAM_CONFLICT)
		return CSV_SCSI_CONFLICT;
	if (cmd->status == CSV_SAM_CHECK_CONDITION && cmd->key == CSV_SENSE_ILLEGAL_REQUEST)
		return CSV_SCSI_REFUSED;
	return CSV_SCSI_ERROR;
}

/* These end soon. */
static bool is_busy(const struct csv_scsi_cmd *cmd)
{
	return cmd->status == CSV_SAM_BUSY || cmd->status == CSV_SAM_TASK_SET_FULL ||
	       cmd->status == CSV_SAM_TASK_ABORTED;
}

enum csv_scsi_answer csv_scsi_run(struct csv_scsi_port *port, struct csv_scsi_cmd *cmd)
{
	for (int i = 0; i < TRIES; i++) {
		if (port->command(port, cmd) != CSV_OK)
			return CSV_SCSI_LOST;
		if (cmd->status == CSV_SAM_CHECK_CONDITION && cmd->key == CSV_SENSE_UNIT_ATTENTION) {
			if (port->attention)
				port->attention(port, cmd->asc);
		} else if (is_busy(cmd)) {
			port->rest(port, BUSY_MS);
		} else {
			break;
		}
	}
	return answer(cmd);
}

/*
 * 29h that do not tell of lost memory: 02h and 03h name a reset, which keeps the cache
 * (SAM-5 6.3.3), as fencing makes them (F3).  00h is "power on, reset, or bus device
 * reset": targets that do not tell them apart send it for resets too.  Here it can only
 * be a reset: a target that lost power lost its TCP connections and its registrations,
 * and either has been counted by itself.
 */
enum csv_attention csv_scsi_attention(int asc)
{
	switch (asc) {
	case 0x2a03: /* reservations preempted */
	case 0x2a04: /* reservations released */
	case 0x2a05: /* registrations preempted */
		return CSV_UA_RESERVATIONS;
	case 0x2f00:
		return CSV_UA_CLEARED;
	case 0x2900:
	case 0x2902:
	case 0x2903:
		return CSV_UA_RESET;
	default:
		return asc >> 8 == 0x29 ? CSV_UA_POWER : CSV_UA_OTHER;
	}
}

enum csv_err csv_scsi_protect(int asc)
{
	return asc == 0x2707 ? CSV_LUNFULL : CSV_ROFS;
}

enum csv_err csv_scsi_err(enum csv_scsi_answer a)
{
	switch (a) {
	case CSV_SCSI_GOOD:
		return CSV_OK;
	case CSV_SCSI_CONFLICT:
		return CSV_CONFLICT;
	case CSV_SCSI_REFUSED:
		return CSV_NOTSUP;
	case CSV_SCSI_LOST:
		return CSV_UNREACH;
	case CSV_SCSI_ERROR:
		break;
	}
	return CSV_IO;
}
