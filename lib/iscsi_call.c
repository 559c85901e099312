/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Single commands that the thread waits for, and what unit attentions mean. */
#include <stdio.h>
#include <string.h>

#include "csv/limits.h"
#include "lib/iscsi_impl.h"

#define ATTENTIONS_MAX 20
#define READY_TRIES 50 /* of 100 ms */

void csv_iscsi_call_cb(struct iscsi_context *ctx, int status, void *data, void *arg)
{
	struct iscsi_call *call = arg;

	call->done = true;
	call->status = status;
	if (status == SCSI_STATUS_CANCELLED || status == SCSI_STATUS_ERROR || status == SCSI_STATUS_TIMEOUT) {
		csv_iscsi_note_lost(call->d, "connection to the target lost");
		return;
	}
	call->d->heard_ms = csv_iscsi_now();
	/* Task management: its response code (RFC 7143 11.6.1), valid during the call-back only. */
	if (!call->task && data)
		call->response = *(uint32_t *)data;
}

bool csv_iscsi_call_wait_sent(struct iscsi_call *call, bool sent)
{
	struct iscsi_dev *d = call->d;
	uint64_t deadline = csv_iscsi_now() + 3ull * d->silence_ms;

	if (!sent)
		csv_iscsi_note_lost(d, "cannot send to the target");
	while (!call->done && !d->lost) {
		csv_iscsi_pump(d, 100);
		if (csv_iscsi_now() > deadline)
			csv_iscsi_note_lost(d, "the target does not answer a command");
	}
	if (call->done && !d->lost)
		return true;
	/* Dropped here, so that the call-back has run before `call` goes out of scope. */
	csv_iscsi_drop(d);
	csv_iscsi_call_free(call);
	return false;
}

bool csv_iscsi_call_wait(struct iscsi_call *call, struct scsi_task *task)
{
	call->task = task;
	return csv_iscsi_call_wait_sent(call, task != NULL);
}

void csv_iscsi_call_free(struct iscsi_call *call)
{
	if (call->task)
		scsi_free_scsi_task(call->task);
	call->task = NULL;
}

static void want_check(struct iscsi_dev *d, const char *reason)
{
	if (!csv_iscsi_guarded(d) || d->check)
		return;
	d->check = true;
	snprintf(d->reason, sizeof(d->reason), "%s", reason);
}

/* After a power-on what the cache held may be gone (J4), so the generation grows. */
void csv_iscsi_note_attention(struct iscsi_dev *d, int ascq)
{
	switch (csv_scsi_attention(ascq)) {
	case CSV_UA_OTHER:
		return;
	case CSV_UA_RESERVATIONS:
		want_check(d, "reservations of the LUN have changed");
		return;
	case CSV_UA_CLEARED:
		d->cleared_ms = csv_iscsi_now();
		return;
	case CSV_UA_POWER:
		csv_bdev_generation_bump(&d->dev);
		break;
	case CSV_UA_RESET:
		break;
	}
	d->cleared_ms = csv_iscsi_now();
	want_check(d, "the LUN was reset");
}

bool csv_iscsi_call_again(struct iscsi_call *call)
{
	if (call->status != SCSI_STATUS_CHECK_CONDITION || call->task->sense.key != SCSI_SENSE_UNIT_ATTENTION)
		return false;
	csv_iscsi_note_attention(call->d, call->task->sense.ascq);
	return true;
}

/*
 * Takes the unit attentions that follow a login (power-on, nexus loss) without
 * counting them: the loss before it has been counted.
 */
enum csv_err csv_iscsi_test_ready(struct iscsi_dev *d)
{
	int attentions = 0;

	for (int tries = 0; tries < READY_TRIES;) {
		struct iscsi_call call = { .d = d };
		struct scsi_sense sense;
		int status;

		if (!csv_iscsi_call_wait(&call,
					 iscsi_testunitready_task(d->ctx, d->name.lun, csv_iscsi_call_cb, &call)))
			return CSV_UNREACH;
		status = call.status;
		sense = call.task->sense;
		csv_iscsi_call_free(&call);
		if (status == SCSI_STATUS_GOOD || status == SCSI_STATUS_RESERVATION_CONFLICT)
			return CSV_OK;
		if (status == SCSI_STATUS_CHECK_CONDITION && sense.key == SCSI_SENSE_UNIT_ATTENTION) {
			if (++attentions > ATTENTIONS_MAX)
				return CSV_IO;
			continue;
		}
		if (status == SCSI_STATUS_CHECK_CONDITION && sense.key == SCSI_SENSE_ILLEGAL_REQUEST)
			return CSV_NOENT; /* 25h/00h: no such logical unit */
		if (status == SCSI_STATUS_CHECK_CONDITION && sense.key != SCSI_SENSE_NOT_READY)
			return CSV_IO;
		tries++; /* busy, or becoming ready */
		csv_iscsi_pump(d, 100);
		if (d->lost) {
			csv_iscsi_drop(d);
			return CSV_UNREACH;
		}
	}
	return CSV_TIMEOUT;
}

enum csv_err csv_iscsi_read_block(struct iscsi_dev *d, uint64_t block, void *buf)
{
	enum csv_err err = CSV_IO;

	for (int i = 0; i < ATTENTIONS_MAX; i++) {
		struct iscsi_call call = { .d = d };
		struct scsi_iovec iov = { buf, CSV_BLOCK_SIZE };
		uint64_t lba = block * (CSV_BLOCK_SIZE / d->dev.geo.block);
		bool again;

		if (!csv_iscsi_call_wait(&call, iscsi_read16_iov_task(d->ctx, d->name.lun, lba, CSV_BLOCK_SIZE,
								      (int)d->dev.geo.block, 0, 0, 0, 0, 0,
								      csv_iscsi_call_cb, &call, &iov, 1)))
			return CSV_UNREACH;
		again = csv_iscsi_call_again(&call);
		if (call.status == SCSI_STATUS_GOOD)
			err = CSV_OK;
		csv_iscsi_call_free(&call);
		if (!again)
			break;
	}
	return err;
}
