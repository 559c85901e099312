/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes this host the one that tgtd remembers as the reservation's maker, without a moment in which there is none.
 *
 * SPC-4 5.12.10: of an all-registrants reservation every registered host is the holder.  tgtd remembers who made it all
 * the same, frees that registration at a PREEMPT of its key without forgetting it, and from then on judges everybody's
 * commands by freed memory: registered hosts were refused.  So before it preempts, who fences becomes the maker:
 *
 *	1. REGISTER AND MOVE to ourselves   the maker is our registration, of no type: tgtd refuses the unregistered
 *	                                    everything, and the registered nothing
 *	2. PREEMPT of our own key           gives the reservation its type; others' keys stand
 *
 * Two hosts that fence each other may both become the maker before the PREEMPT of one removes the other, and leave the
 * freed memory of the loser.  If they are the only ones that are registered, the fence is a PREEMPT of key 0 instead,
 * which removes all others and makes its sender the maker at once (pr.c).  With more of them quorum lets one fence
 * at a time; becoming the maker once more after the PREEMPT mends what a mounter's did, as long as the memory says
 * type 7.
 *
 * Step 1 is refused while a registration of a lost session of ours, with the same key, stands before ours: 2 removes
 * it (and frees the maker's, if it is that one, until 1 is done), and 1 is tried again.  Who is not registered is
 * refused all the while, whatever the freed memory says.  Of a host with several paths step 2 removes the registrations
 * of the other paths: they register again when they meet the conflict (F6).  Other targets never see this: a move to
 *the own nexus is against SPC-4 5.12.8.
 */
#include <string.h>

#include "lib/pr.h"

#define OPCODE_OUT 0x5f
#define HEADER_LEN 24 /* SPC-4 table 228: keys, flags, port, length of the TransportID */

size_t csv_pr_tgtd_transport_id(const char *initiator, const uint8_t isid[6], uint8_t *id)
{
	size_t name = strlen(initiator) + 1;
	size_t len = (4 + name + 5 + 7 + 3) / 4 * 4;

	if (len > CSV_TRANSPORT_ID_MAX) /* as long as tgtd compares */
		return 0;
	memset(id, 0, len);
	id[0] = 0x45;
	id[2] = (uint8_t)((len - 4) >> 8);
	id[3] = (uint8_t)(len - 4);
	memcpy(id + 4, initiator, name);
	memcpy(id + 4 + name, ",i,0x", 5);
	memcpy(id + 4 + name + 5, isid, 6);
	return len;
}

static enum csv_scsi_answer move_to_self(struct csv_scsi_port *port, uint64_t key)
{
	uint8_t param[HEADER_LEN + CSV_TRANSPORT_ID_MAX] = { 0 };
	struct csv_scsi_cmd cmd = {
		.cdb = { OPCODE_OUT, CSV_PR_REGISTER_AND_MOVE },
		.cdb_len = 10,
		.data = param,
		.out = true,
	};
	size_t id_len = port->transport_id ? port->transport_id(port, param + HEADER_LEN) : 0;

	if (!id_len)
		return CSV_SCSI_REFUSED;
	csv_be_put(param, 8, key);
	csv_be_put(param + 8, 8, key);
	csv_be_put(param + 20, 4, id_len);
	cmd.len = HEADER_LEN + id_len;
	csv_be_put(cmd.cdb + 5, 4, cmd.len);
	return csv_scsi_run(port, &cmd);
}

enum csv_scsi_answer csv_pr_become_holder(struct csv_scsi_port *port, enum csv_pr_type type, uint64_t key)
{
	/* tgtd dies of a move while there is no reservation at all. */
	enum csv_scsi_answer typed = csv_pr_out(port, CSV_PR_RESERVE, type, key, 0, false);
	enum csv_scsi_answer moved = typed == CSV_SCSI_GOOD ? CSV_SCSI_REFUSED : typed;

	for (int i = 0; i < 2 && moved == CSV_SCSI_REFUSED && typed == CSV_SCSI_GOOD; i++) {
		moved = move_to_self(port, key);
		if (moved == CSV_SCSI_GOOD || moved == CSV_SCSI_REFUSED)
			typed = csv_pr_out(port, CSV_PR_PREEMPT, type, key, key, false);
	}
	return moved == CSV_SCSI_GOOD ? typed : moved;
}
