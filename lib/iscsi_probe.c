/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the LUN is: size, block, longest transfer, FUA, UNMAP. */
#include <string.h>

#include "lib/iscsi_impl.h"

#define TRIES 20

/* The device-specific parameter of a direct access device's mode parameter header, SBC-3 6.5.1. */
#define MODE_WP 0x80
#define MODE_DPOFUA 0x10

typedef struct scsi_task *issue_fn(struct iscsi_dev *d, iscsi_command_cb cb, void *arg);

static struct scsi_task *issue_capacity(struct iscsi_dev *d, iscsi_command_cb cb, void *arg)
{
	return iscsi_readcapacity16_task(d->ctx, d->name.lun, cb, arg);
}

static struct scsi_task *issue_inquiry(struct iscsi_dev *d, iscsi_command_cb cb, void *arg)
{
	return iscsi_inquiry_task(d->ctx, d->name.lun, 0, 0, 96, cb, arg);
}

static struct scsi_task *issue_identification(struct iscsi_dev *d, iscsi_command_cb cb, void *arg)
{
	return iscsi_inquiry_task(d->ctx, d->name.lun, 1, SCSI_INQUIRY_PAGECODE_DEVICE_IDENTIFICATION, 255, cb, arg);
}

static struct scsi_task *issue_block_limits(struct iscsi_dev *d, iscsi_command_cb cb, void *arg)
{
	return iscsi_inquiry_task(d->ctx, d->name.lun, 1, SCSI_INQUIRY_PAGECODE_BLOCK_LIMITS, 255, cb, arg);
}

static struct scsi_task *issue_provisioning(struct iscsi_dev *d, iscsi_command_cb cb, void *arg)
{
	return iscsi_inquiry_task(d->ctx, d->name.lun, 1, SCSI_INQUIRY_PAGECODE_LOGICAL_BLOCK_PROVISIONING, 255, cb,
				  arg);
}

static struct scsi_task *issue_mode(struct iscsi_dev *d, iscsi_command_cb cb, void *arg)
{
	return iscsi_modesense6_task(d->ctx, d->name.lun, 1, SCSI_MODESENSE_PC_CURRENT, SCSI_MODEPAGE_RETURN_ALL_PAGES,
				     0, 255, cb, arg);
}

/* Makes a call until no unit attention comes in between. OK: *call has the data and is the caller's to free. */
static enum csv_err ask(struct iscsi_dev *d, issue_fn *issue, struct iscsi_call *call)
{
	for (int i = 0; i < TRIES; i++) {
		*call = (struct iscsi_call){ .d = d };
		if (!csv_iscsi_call_wait(call, issue(d, csv_iscsi_call_cb, call)))
			return CSV_UNREACH;
		if (call->status == SCSI_STATUS_GOOD)
			return CSV_OK;
		if (!csv_iscsi_call_again(call)) {
			csv_iscsi_call_free(call);
			return CSV_NOTSUP;
		}
		csv_iscsi_call_free(call);
	}
	return CSV_IO;
}

static enum csv_err capacity(struct iscsi_dev *d, uint64_t *size, uint32_t *block)
{
	struct scsi_readcapacity16 *rc;
	struct iscsi_call call;
	enum csv_err err = ask(d, issue_capacity, &call);

	if (err != CSV_OK)
		return err == CSV_NOTSUP ? CSV_IO : err;
	rc = scsi_datain_unmarshall(call.task);
	if (rc && rc->returned_lba < UINT64_MAX / 4096 && rc->block_length) {
		*size = (rc->returned_lba + 1) * rc->block_length;
		*block = rc->block_length;
	} else {
		err = CSV_IO;
	}
	csv_iscsi_call_free(&call);
	return err;
}

/*
 * Vendor and product of a LUN are the administrator's to set at tgtd, and are set; its T10 designator begins as its own
 * programmer left it (SPC-4 7.8.6.4).
 */
static enum csv_err is_tgtd(struct iscsi_dev *d, bool *yes)
{
	struct scsi_inquiry_device_identification *id;
	struct iscsi_call call;
	enum csv_err err = ask(d, issue_identification, &call);

	*yes = false;
	if (err != CSV_OK)
		return err == CSV_UNREACH ? err : CSV_OK; /* a target without that page */
	id = scsi_datain_unmarshall(call.task);
	for (struct scsi_inquiry_device_designator *p = id ? id->designators : NULL; p; p = p->next)
		*yes |= p->designator_type == SCSI_DESIGNATOR_TYPE_T10_VENDORT_ID && p->designator_length >= 8 &&
			!memcmp(p->designator, "IET     ", 8);
	csv_iscsi_call_free(&call);
	return CSV_OK;
}

/* SPC-4 6.6.2: peripheral qualifier and device type. */
static enum csv_err is_disk(struct iscsi_dev *d, struct csv_why *why)
{
	struct scsi_inquiry_standard *inq;
	struct iscsi_call call;
	enum csv_err err = ask(d, issue_inquiry, &call);

	if (err != CSV_OK)
		return csv_fail(why, err, NULL, "the target does not answer INQUIRY");
	inq = scsi_datain_unmarshall(call.task);
	if (!inq || inq->qualifier != SCSI_INQUIRY_PERIPHERAL_QUALIFIER_CONNECTED)
		err = csv_fail(why, CSV_NOENT, "check the LUN's number", "there is no LUN %d on %.100s", d->name.lun,
			       d->name.target);
	else if (inq->device_type != SCSI_INQUIRY_PERIPHERAL_DEVICE_TYPE_DIRECT_ACCESS)
		err = csv_fail(why, CSV_INVAL, "check the LUN's number", "LUN %d on %.100s is no disk", d->name.lun,
			       d->name.target);
	csv_iscsi_call_free(&call);
	if (err == CSV_OK)
		err = is_tgtd(d, &d->port.tgtd);
	return err;
}

/* SBC-3 6.6.4 and 6.6.5; targets without these pages get the defaults. */
static enum csv_err limits(struct iscsi_dev *d)
{
	uint32_t block = d->dev.geo.block;
	struct iscsi_call call;
	enum csv_err err;

	d->max_transfer = ISCSI_TRANSFER_MAX;
	d->max_unmap = UINT32_MAX / 2;
	err = ask(d, issue_block_limits, &call);
	if (err == CSV_OK) {
		struct scsi_inquiry_block_limits *bl = scsi_datain_unmarshall(call.task);

		if (bl && bl->max_xfer_len && (uint64_t)bl->max_xfer_len * block < d->max_transfer)
			d->max_transfer = bl->max_xfer_len * block;
		if (bl && bl->max_unmap && bl->max_unmap < d->max_unmap)
			d->max_unmap = bl->max_unmap;
		csv_iscsi_call_free(&call);
	}
	d->max_unmap *= block;
	if (err == CSV_UNREACH)
		return err;
	err = ask(d, issue_provisioning, &call);
	if (err == CSV_OK) {
		struct scsi_inquiry_logical_block_provisioning *lbp = scsi_datain_unmarshall(call.task);

		d->dev.geo.discard = lbp && lbp->lbpu;
		csv_iscsi_call_free(&call);
	}
	return err == CSV_UNREACH ? err : CSV_OK;
}

static enum csv_err mode(struct iscsi_dev *d, struct csv_why *why)
{
	struct iscsi_call call;
	enum csv_err err = ask(d, issue_mode, &call);

	if (err == CSV_UNREACH)
		return err;
	if (err != CSV_OK)
		return CSV_OK; /* no mode pages: no FUA */
	if (call.task->datain.size >= 4) {
		uint8_t bits = call.task->datain.data[2];

		d->dev.geo.fua = bits & MODE_DPOFUA;
		if ((bits & MODE_WP) && !d->rdonly)
			err = csv_fail(why, CSV_ROFS, "make it writable on the target", "LUN %d of %.100s is read-only",
				       d->name.lun, d->name.target);
	}
	csv_iscsi_call_free(&call);
	return err;
}

enum csv_err csv_iscsi_probe(struct iscsi_dev *d, struct csv_why *why)
{
	struct csv_bdev_geometry *geo = &d->dev.geo;
	enum csv_err err = is_disk(d, why);

	if (err == CSV_OK)
		err = capacity(d, &geo->size, &geo->block);
	if (err == CSV_OK && geo->block != 512 && geo->block != 4096)
		return csv_fail(why, CSV_INVAL, "use a LUN with blocks of 512 or 4096 bytes",
				"LUN %d of %.100s has blocks of %u bytes", d->name.lun, d->name.target, geo->block);
	if (err == CSV_OK)
		err = limits(d);
	if (err == CSV_OK)
		err = mode(d, why);
	if (err != CSV_OK)
		csv_fail(why, err, NULL, "cannot examine LUN %d of %.100s: %s", d->name.lun, d->name.target,
			 csv_err_text(err));
	return err;
}

enum csv_err csv_iscsi_probe_again(struct iscsi_dev *d)
{
	uint64_t size;
	uint32_t block;
	enum csv_err err = capacity(d, &size, &block);

	/* A LUN may have grown. */
	if (err == CSV_OK && (size < d->dev.geo.size || block != d->dev.geo.block))
		err = CSV_IDENTITY;
	return err;
}
