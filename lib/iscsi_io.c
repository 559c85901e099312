/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests: split into commands, issued, retried, ended.
 *
 * A request waits in `queue` until all of it has been handed out to commands.  A
 * command is either under way (`inflight`) or waits to be sent (`retry`): anew,
 * because the target was busy, or because its session was lost.
 */
#include <stdio.h>
#include <stdlib.h>

#include "lib/iov.h"
#include "lib/iscsi_impl.h"

#define TRIES_MAX 40 /* of a command that the target keeps turning away by unit attention or abort */
#define BUSY_DELAY_MS 50
#define BUSY_TRIES 2400 /* two minutes of BUSY or NOT READY */

static void io_cb(struct iscsi_context *ctx, int status, void *data, void *arg);

static struct iscsi_cmd *new_cmd(struct iscsi_dev *d, struct iscsi_req *req, enum csv_io_op op)
{
	int nvec = op == CSV_IO_READ || op == CSV_IO_WRITE ? req->io->niov : 0;
	struct iscsi_cmd *cmd;

	if (nvec > ISCSI_VECS)
		nvec = ISCSI_VECS;
	cmd = calloc(1, sizeof(*cmd) + (size_t)nvec * sizeof(cmd->vec[0]));
	if (!cmd)
		return NULL;
	csv_list_init(&cmd->link);
	cmd->d = d;
	cmd->req = req;
	cmd->op = op;
	cmd->nvec = nvec;
	req->cmds++;
	return cmd;
}

/* The emulated FUA (J4): a flush counts only if nothing was lost since the first byte of the write. */
static bool next_of_fua(struct iscsi_dev *d, struct iscsi_req *req)
{
	struct iscsi_cmd *flush;

	if (req->io->op != CSV_IO_WRITE || !(req->io->flags & CSV_IO_FUA) || d->dev.geo.fua)
		return false;
	if (req->flushing) {
		if (req->generation == csv_bdev_generation(&d->dev))
			return false;
		req->flushing = false;
		req->next = 0;
		csv_list_push_back(&d->queue, &req->link);
		return true;
	}
	flush = new_cmd(d, req, CSV_IO_FLUSH);
	if (!flush) {
		req->err = CSV_NOMEM;
		return false;
	}
	req->flushing = true;
	csv_list_push_back(&d->retry, &flush->link);
	return true;
}

/* Ends the request if no part of it is left. */
static void req_step(struct iscsi_dev *d, struct iscsi_req *req)
{
	struct csv_io *io = req->io;

	if (req->err != CSV_OK)
		csv_list_del(&req->link); /* hands out no more */
	if (req->cmds > 0 || !csv_list_empty(&req->link))
		return;
	if (req->err == CSV_OK && next_of_fua(d, req))
		return;
	io->done(io, req->err);
	free(req);
}

static void cmd_end(struct iscsi_cmd *cmd, enum csv_err err)
{
	struct iscsi_req *req = cmd->req;
	struct iscsi_dev *d = cmd->d;

	/* What the array could not write it may have thrown away, and the next flush would count for it (J4). */
	if (err != CSV_OK && cmd->op == CSV_IO_FLUSH)
		csv_bdev_generation_bump(&d->dev);
	free(cmd);
	req->cmds--;
	if (req->err == CSV_OK)
		req->err = err;
	req_step(d, req);
}

static uint32_t part_len(const struct iscsi_dev *d, const struct iscsi_req *req)
{
	uint64_t left = req->io->len - req->next;
	uint64_t max = req->io->op == CSV_IO_DISCARD ? d->max_unmap : d->max_transfer;

	if (max > 1u << 31)
		max = 1u << 31;
	return (uint32_t)(left < max ? left : max);
}

/* The next command of the request at the head of the queue; NULL: the request has ended for want of memory. */
static struct iscsi_cmd *next_cmd(struct iscsi_dev *d)
{
	struct iscsi_req *req = csv_list_entry(d->queue.next, struct iscsi_req, link);
	struct iscsi_cmd *cmd = new_cmd(d, req, req->io->op);

	if (!cmd) {
		req->err = CSV_NOMEM;
		req_step(d, req);
		return NULL;
	}
	if (req->next == 0)
		req->generation = csv_bdev_generation(&d->dev);
	cmd->off = req->io->off + req->next;
	cmd->pos = req->next;
	cmd->len = req->io->op == CSV_IO_FLUSH ? 0 : part_len(d, req);
	if (cmd->nvec > 0) {
		struct iovec *vec = cmd->vec;
		size_t len;

		/* Very many small pieces: end at a block border before the vector is full. */
		csv_iov_slice(req->io->iov, req->io->niov, cmd->pos, cmd->len, vec, cmd->nvec, &len);
		cmd->len = (uint32_t)(len & ~(size_t)(d->dev.geo.block - 1));
		if (cmd->len == 0) {
			cmd_end(cmd, CSV_INVAL); /* a block in over a thousand pieces */
			return NULL;
		}
	}
	req->next += cmd->len;
	if (req->io->op == CSV_IO_FLUSH || req->next == req->io->len)
		csv_list_del(&req->link);
	return cmd;
}

static struct scsi_task *send_transfer(struct iscsi_cmd *cmd)
{
	struct iscsi_dev *d = cmd->d;
	struct csv_io *io = cmd->req->io;
	int block = (int)d->dev.geo.block;
	uint64_t lba = cmd->off / d->dev.geo.block;
	int fua = d->dev.geo.fua && (io->flags & CSV_IO_FUA);
	size_t len;
	int n;

	/* libiscsi moves through the vector as it goes: a fresh one for each try. Both structs are POSIX's iovec. */
	n = csv_iov_slice(io->iov, io->niov, cmd->pos, cmd->len, cmd->vec, cmd->nvec, &len);
	if (cmd->op == CSV_IO_READ)
		return iscsi_read16_iov_task(d->ctx, d->name.lun, lba, cmd->len, block, 0, 0, 0, 0, 0, io_cb, cmd,
					     (struct scsi_iovec *)(void *)cmd->vec, n);
	return iscsi_write16_iov_task(d->ctx, d->name.lun, lba, NULL, cmd->len, block, 0, 0, fua, 0, 0, io_cb, cmd,
				      (struct scsi_iovec *)(void *)cmd->vec, n);
}

static struct scsi_task *send_unmap(struct iscsi_cmd *cmd)
{
	struct iscsi_dev *d = cmd->d;
	struct unmap_list range = {
		.lba = cmd->off / d->dev.geo.block,
		.num = cmd->len / d->dev.geo.block,
	};

	return iscsi_unmap_task(d->ctx, d->name.lun, 0, 0, &range, 1, io_cb, cmd);
}

/* False: libiscsi did not take it; the session is then given up. */
static bool send_cmd(struct iscsi_dev *d, struct iscsi_cmd *cmd)
{
	struct scsi_task *task = NULL;

	cmd->sent_ms = csv_iscsi_now();
	switch (cmd->op) {
	case CSV_IO_READ:
	case CSV_IO_WRITE:
		task = send_transfer(cmd);
		break;
	case CSV_IO_FLUSH:
		/* SBC-3 5.22: from block 0, number 0: the whole medium. */
		task = iscsi_synchronizecache16_task(d->ctx, d->name.lun, 0, 0, 0, 0, io_cb, cmd);
		break;
	case CSV_IO_DISCARD:
		task = send_unmap(cmd);
		break;
	}
	if (!task) {
		csv_list_push_front(&d->retry, &cmd->link);
		csv_iscsi_note_lost(d, "cannot send to the target");
		return false;
	}
	csv_list_push_back(&d->inflight, &cmd->link);
	d->ninflight++;
	return true;
}

/* The first command of `retry` whose time has come. */
static struct iscsi_cmd *due_retry(struct iscsi_dev *d, uint64_t now)
{
	struct csv_list *l;

	csv_list_for_each(l, &d->retry) {
		struct iscsi_cmd *cmd = csv_list_entry(l, struct iscsi_cmd, link);

		if (cmd->not_before_ms <= now) {
			csv_list_del(&cmd->link);
			return cmd;
		}
	}
	return NULL;
}

void csv_iscsi_issue(struct iscsi_dev *d)
{
	uint64_t now = csv_iscsi_now();

	while (d->up && d->gate && !d->lost && !d->check && d->ninflight < ISCSI_DEPTH) {
		struct iscsi_cmd *cmd = due_retry(d, now);

		if (!cmd && csv_list_empty(&d->queue))
			return;
		if (!cmd)
			cmd = next_cmd(d);
		if (cmd && cmd->req->err != CSV_OK)
			cmd_end(cmd, CSV_OK); /* another part has failed: spare the rest */
		else if (cmd)
			send_cmd(d, cmd);
	}
}

static void again(struct iscsi_cmd *cmd, unsigned delay_ms)
{
	cmd->tries++;
	cmd->not_before_ms = delay_ms ? csv_iscsi_now() + delay_ms : 0;
	csv_list_push_back(&cmd->d->retry, &cmd->link);
}

static void again_or(struct iscsi_cmd *cmd, unsigned delay_ms, unsigned max, enum csv_err err)
{
	if (cmd->tries >= max)
		cmd_end(cmd, err);
	else
		again(cmd, delay_ms);
}

/* SPC-4 4.5 and table F.1. */
static void check_condition(struct iscsi_cmd *cmd, const struct scsi_sense *sense)
{
	switch (sense->key) {
	case SCSI_SENSE_NO_SENSE:
	case SCSI_SENSE_RECOVERED_ERROR:
		cmd_end(cmd, CSV_OK);
		return;
	case SCSI_SENSE_UNIT_ATTENTION:
		csv_iscsi_note_attention(cmd->d, sense->ascq);
		again_or(cmd, 0, TRIES_MAX, CSV_IO);
		return;
	case SCSI_SENSE_COMMAND_ABORTED:
		again_or(cmd, BUSY_DELAY_MS, TRIES_MAX, CSV_IO);
		return;
	case SCSI_SENSE_NOT_READY:
		again_or(cmd, BUSY_DELAY_MS, BUSY_TRIES, CSV_IO);
		return;
	case SCSI_SENSE_DATA_PROTECTION:
		cmd_end(cmd, csv_scsi_protect(sense->ascq));
		return;
	case SCSI_SENSE_ILLEGAL_REQUEST:
		if (cmd->op == CSV_IO_DISCARD)
			cmd_end(cmd, CSV_OK); /* a hint */
		else
			cmd_end(cmd, sense->ascq == SCSI_SENSE_ASCQ_LBA_OUT_OF_RANGE ? CSV_INVAL : CSV_IO);
		return;
	case SCSI_SENSE_MEDIUM_ERROR:
	case SCSI_SENSE_HARDWARE_ERROR:
	case SCSI_SENSE_BLANK_CHECK:
	case SCSI_SENSE_VENDOR_SPECIFIC:
	case SCSI_SENSE_COPY_ABORTED:
	case SCSI_SENSE_OBSOLETE_ERROR_CODE:
	case SCSI_SENSE_OVERFLOW_COMMAND:
	case SCSI_SENSE_MISCOMPARE:
		break;
	}
	cmd_end(cmd, CSV_IO);
}

static void conflict(struct iscsi_cmd *cmd)
{
	struct iscsi_dev *d = cmd->d;

	if (!csv_iscsi_guarded(d)) {
		cmd_end(cmd, CSV_CONFLICT);
		return;
	}
	/* Not yet "fenced": only the slot decides (F2). */
	if (!d->check) {
		d->check = true;
		snprintf(d->reason, sizeof(d->reason), "reservation conflict");
	}
	if (!d->conflict_ms) {
		d->conflict_ms = csv_iscsi_now();
		csv_bdev_generation_bump(&d->dev); /* the registration is lost */
	}
	again(cmd, 0);
}

static void io_cb(struct iscsi_context *ctx, int status, void *data, void *arg)
{
	struct iscsi_cmd *cmd = arg;
	struct iscsi_dev *d = cmd->d;
	struct scsi_task *task = data;
	struct scsi_sense sense = task->sense;
	bool residue = task->residual_status != SCSI_RESIDUAL_NO_RESIDUAL;

	csv_list_del(&cmd->link);
	d->ninflight--;
	scsi_free_scsi_task(task);
	if (status != SCSI_STATUS_CANCELLED && status != SCSI_STATUS_ERROR && status != SCSI_STATUS_TIMEOUT)
		d->heard_ms = csv_iscsi_now();
	switch (status) {
	case SCSI_STATUS_GOOD:
	case SCSI_STATUS_CONDITION_MET:
		if (cmd->op == CSV_IO_WRITE)
			d->conflict_ms = d->checks = 0;
		/* Fewer bytes moved than asked for. (tgtd reports a residue for the list of UNMAP.) */
		cmd_end(cmd, residue && cmd->nvec > 0 ? CSV_IO : CSV_OK);
		return;
	case SCSI_STATUS_CHECK_CONDITION:
		check_condition(cmd, &sense);
		return;
	case SCSI_STATUS_RESERVATION_CONFLICT:
		conflict(cmd);
		return;
	case SCSI_STATUS_BUSY:
	case SCSI_STATUS_TASK_SET_FULL:
		again_or(cmd, BUSY_DELAY_MS, BUSY_TRIES, CSV_IO);
		return;
	case SCSI_STATUS_TASK_ABORTED:
	case SCSI_STATUS_ACA_ACTIVE:
		again_or(cmd, BUSY_DELAY_MS, TRIES_MAX, CSV_IO);
		return;
	default:
		/* Cancelled or a protocol error: its fate is unknown, and only the end of the session settles it. */
		again(cmd, 0);
		if (cmd->op != CSV_IO_READ)
			d->unknown_writes = true;
		csv_iscsi_note_lost(d, "connection to the target lost");
		return;
	}
}

void csv_iscsi_fail_all(struct iscsi_dev *d, enum csv_err err)
{
	while (!csv_list_empty(&d->queue)) {
		struct iscsi_req *req = csv_list_entry(d->queue.next, struct iscsi_req, link);

		req->err = err;
		req_step(d, req);
	}
	while (!csv_list_empty(&d->retry)) {
		struct iscsi_cmd *cmd = csv_list_entry(d->retry.next, struct iscsi_cmd, link);

		csv_list_del(&cmd->link);
		cmd_end(cmd, err);
	}
}

bool csv_iscsi_idle(struct iscsi_dev *d)
{
	return csv_list_empty(&d->queue) && csv_list_empty(&d->retry) && d->ninflight == 0;
}
