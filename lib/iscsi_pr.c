/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The SCSI port of a session (lib/scsi.h), and what other threads ask of it. */
#include <string.h>

#include "lib/iscsi_impl.h"
#include "lib/pr.h"

static struct iscsi_dev *dev_of(struct csv_scsi_port *port)
{
	return csv_list_entry(port, struct iscsi_dev, port);
}

static struct scsi_task *send(struct iscsi_call *call, struct csv_scsi_cmd *cmd, struct iscsi_data *data)
{
	struct iscsi_dev *d = call->d;
	int dir = !cmd->len ? SCSI_XFER_NONE : cmd->out ? SCSI_XFER_WRITE : SCSI_XFER_READ;
	struct scsi_task *task = scsi_create_task((int)cmd->cdb_len, cmd->cdb, dir, (int)cmd->len);

	if (task && iscsi_scsi_command_async(d->ctx, d->name.lun, task, csv_iscsi_call_cb,
					     dir == SCSI_XFER_WRITE ? data : NULL, call)) {
		scsi_free_scsi_task(task);
		task = NULL; /* not sent */
	}
	return task;
}

static enum csv_err port_command(struct csv_scsi_port *port, struct csv_scsi_cmd *cmd)
{
	struct iscsi_dev *d = dev_of(port);
	struct iscsi_data data = { .size = cmd->len, .data = cmd->data };
	struct iscsi_call call = { .d = d };

	if (!d->up || !csv_iscsi_call_wait(&call, send(&call, cmd, &data)))
		return CSV_UNREACH;
	cmd->status = (uint8_t)call.status;
	cmd->key = (uint8_t)call.task->sense.key;
	cmd->asc = (uint16_t)call.task->sense.ascq;
	cmd->moved = 0;
	if (!cmd->out && call.task->datain.data && call.task->datain.size > 0) {
		cmd->moved = (size_t)call.task->datain.size < cmd->len ? (size_t)call.task->datain.size : cmd->len;
		memcpy(cmd->data, call.task->datain.data, cmd->moved);
	}
	csv_iscsi_call_free(&call);
	return CSV_OK;
}

static void port_attention(struct csv_scsi_port *port, int asc)
{
	csv_iscsi_note_attention(dev_of(port), asc);
}

static void port_rest(struct csv_scsi_port *port, unsigned ms)
{
	csv_iscsi_pump(dev_of(port), ms);
}

/*
 * LOGICAL UNIT RESET and its answer: no command that any host had queued before it
 * will be executed after it (SAM-5 7.7).  Our own commands are let through first, so
 * that none of them is among the aborted.
 */
static enum csv_err port_reset(struct csv_scsi_port *port)
{
	struct iscsi_dev *d = dev_of(port);
	struct iscsi_call call = { .d = d };
	bool gate = d->gate;
	enum csv_err err = CSV_OK;
	int res;

	d->gate = false;
	while (d->ninflight > 0 && d->up && !d->lost)
		csv_iscsi_pump(d, 100);
	if (!d->up || d->lost)
		return CSV_UNREACH;
	res = iscsi_task_mgmt_async(d->ctx, d->name.lun, ISCSI_TM_LUN_RESET, 0xffffffff, 0, csv_iscsi_call_cb, &call);
	if (!csv_iscsi_call_wait_sent(&call, res == 0))
		return CSV_UNREACH;
	if (call.response != ISCSI_TMR_FUNC_COMPLETE)
		err = CSV_NOTSUP;
	/* The unit attention that we have caused ourselves says nothing new: taken here, it does not count (J4). */
	if (csv_iscsi_test_ready(d) == CSV_UNREACH)
		return CSV_UNREACH;
	d->gate = gate;
	return err;
}

static size_t port_transport_id(struct csv_scsi_port *port, uint8_t *id)
{
	const struct iscsi_dev *d = dev_of(port);
	uint32_t isid = d->isid;
	/* As iscsi_set_isid_random() makes it: type, 24 bits, a qualifier of 16. */
	const uint8_t raw[6] = { 0x80, (uint8_t)(isid >> 24), (uint8_t)(isid >> 16), (uint8_t)(isid >> 8),
				 0,    (uint8_t)isid };

	return csv_pr_tgtd_transport_id(d->initiator, raw, id);
}

void csv_iscsi_port_init(struct iscsi_dev *d)
{
	d->port = (struct csv_scsi_port){
		.command = port_command,
		.attention = port_attention,
		.rest = port_rest,
		.reset = port_reset,
		.transport_id = port_transport_id,
	};
}

bool csv_iscsi_pr_run(struct iscsi_dev *d, struct iscsi_ctl *ctl)
{
	switch (ctl->op) {
	case ISCSI_CTL_REGISTER:
		ctl->err = csv_pr_register(&d->port, ctl->key);
		if (ctl->err == CSV_OK)
			d->registered = ctl->key != 0;
		break;
	case ISCSI_CTL_RESERVE:
		ctl->err = csv_pr_reserve(&d->port, ctl->key, ctl->type);
		break;
	case ISCSI_CTL_PREEMPT:
		ctl->err = csv_pr_fence(&d->port, ctl->key, ctl->victim, ctl->type, &ctl->aborted);
		break;
	case ISCSI_CTL_STATUS:
		ctl->err = csv_pr_status(&d->port, ctl->st);
		break;
	case ISCSI_CTL_SCSI:
		ctl->err = port_command(&d->port, ctl->cmd);
		break;
	}
	return ctl->err != CSV_UNREACH;
}
