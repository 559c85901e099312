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
 *which removes all others and makes its sender the maker at once (iscsi_pr.c).  With more of them quorum lets one fence
 *at a time; becoming the maker once more after the PREEMPT mends what a mounter's did, as long as the memory says
 *type 7.
 *
 * Step 1 is refused while a registration of a lost session of ours, with the same key, stands before ours: 2 removes
 * it (and frees the maker's, if it is that one, until 1 is done), and 1 is tried again.  Who is not registered is
 * refused all the while, whatever the freed memory says.  Other targets never see this: a move to the own nexus is
 * against SPC-4 5.12.8.
 */
#include <string.h>

#include "lib/iscsi_impl.h"

#define CDB_LEN 10
#define ATTENTIONS_MAX 10
#define HEADER_LEN 24	  /* SPC-4 table 228: keys, flags, port, length of the TransportID */
#define TRANSPORT_MAX 300 /* as long as tgtd compares */

/*
 * The TransportID as tgtd makes it of a session (SPC-4 7.6.4.6, but that the initiator session id is not in text).
 * Length in bytes, a multiple of 4.
 */
static size_t transport_id(const struct iscsi_dev *d, uint8_t *id)
{
	size_t name = strlen(d->initiator) + 1;
	size_t len = (4 + name + 5 + 7 + 3) / 4 * 4;
	uint32_t isid = d->isid;
	/* As iscsi_set_isid_random() makes it: type, 24 bits, a qualifier of 16. */
	const uint8_t raw[6] = { 0x80, (uint8_t)(isid >> 24), (uint8_t)(isid >> 16), (uint8_t)(isid >> 8),
				 0,    (uint8_t)isid };

	memset(id, 0, len);
	id[0] = 0x45;
	id[2] = (uint8_t)((len - 4) >> 8);
	id[3] = (uint8_t)(len - 4);
	memcpy(id + 4, d->initiator, name);
	memcpy(id + 4 + name, ",i,0x", 5);
	memcpy(id + 4 + name + 5, raw, sizeof(raw));
	return len;
}

/* *again: a unit attention came instead of the answer. */
static enum iscsi_pr_answer move_once(struct iscsi_dev *d, uint64_t key, bool *again)
{
	uint8_t param[HEADER_LEN + TRANSPORT_MAX] = { 0 }, cdb[CDB_LEN] = { SCSI_OPCODE_PERSISTENT_RESERVE_OUT,
									    SCSI_PERSISTENT_RESERVE_REGISTER_AND_MOVE };
	size_t id_len = transport_id(d, param + HEADER_LEN), len = HEADER_LEN + id_len;
	struct iscsi_data data = { .size = len, .data = param };
	struct iscsi_call call = { .d = d };
	enum iscsi_pr_answer r;
	struct scsi_task *task;

	*again = false;
	if (!d->up)
		return ISCSI_PR_LOST;
	scsi_set_uint64(param, key);
	scsi_set_uint64(param + 8, key);
	scsi_set_uint32(param + 20, (uint32_t)id_len);
	scsi_set_uint32(cdb + 5, (uint32_t)len);
	task = scsi_create_task(CDB_LEN, cdb, SCSI_XFER_WRITE, (int)len);
	if (task && iscsi_scsi_command_async(d->ctx, d->name.lun, task, csv_iscsi_call_cb, &data, &call)) {
		scsi_free_scsi_task(task);
		task = NULL; /* not sent */
	}
	if (!csv_iscsi_call_wait(&call, task))
		return ISCSI_PR_LOST;
	*again = csv_iscsi_call_again(&call);
	r = csv_iscsi_pr_answer(&call);
	csv_iscsi_call_free(&call);
	return r;
}

static enum iscsi_pr_answer move_to_self(struct iscsi_dev *d, uint64_t key)
{
	enum iscsi_pr_answer r = ISCSI_PR_ERROR;
	bool again = true;

	for (int i = 0; i < ATTENTIONS_MAX && again; i++)
		r = move_once(d, key, &again);
	return r;
}

enum iscsi_pr_answer csv_iscsi_become_holder(struct iscsi_dev *d, enum csv_pr_type type, uint64_t key)
{
	/* tgtd dies of a move while there is no reservation at all. */
	enum iscsi_pr_answer typed = csv_iscsi_pr_out(d, SCSI_PERSISTENT_RESERVE_RESERVE, type, key, 0);
	enum iscsi_pr_answer moved = typed == ISCSI_PR_OK ? ISCSI_PR_REFUSED : typed;

	for (int i = 0; i < 2 && moved == ISCSI_PR_REFUSED && typed == ISCSI_PR_OK; i++) {
		moved = move_to_self(d, key);
		if (moved == ISCSI_PR_OK || moved == ISCSI_PR_REFUSED)
			typed = csv_iscsi_pr_out(d, SCSI_PERSISTENT_RESERVE_PREEMPT, type, key, key);
	}
	return moved == ISCSI_PR_OK ? typed : moved;
}
