/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Within the driver of a live migration: driver.c goes forward, driver_undo.c back. */
#ifndef CSV_MIGRATE_DRIVER_INT_H
#define CSV_MIGRATE_DRIVER_INT_H

#include "migrate/qemu/qmp.h"
#include "migrate/source/driver.h"

#define QMP_MS 10000 /* one command of QEMU's */
#define SWITCH_MS 60000 /* from migrate-continue to completed */

struct drive {
	const struct csv_migrate_opts *o;
	struct csv_migrate_report *r;
	struct csv_client *cl;
	struct csv_qmp *q;
	struct csv_why *why;
	double from; /* the driver's start */
	double stopped, switchover;
	bool prepared, migrating;
	bool asked, moved; /* the commit; its answer */
	bool ran;	   /* the guest ran when we began */
	char definition[4096];
};

/* What csvlockd says of the handoff now is what is known of it: nothing, if it does not answer. */
enum csv_err csv_drive_ask(struct drive *d, enum csv_ho_request req, struct csv_why *why);
const char *csv_drive_monitor(const struct drive *d, char path[4096]);
bool csv_drive_guest_runs(struct drive *d);

/*
 * err: before the commit was asked for, or of a commit that moved nothing.  The guest is to go on here.  Returns what
 * csv_migrate() returns.
 */
enum csv_err csv_drive_stay(struct drive *d, enum csv_err err);
/* QEMU failed after the disks had moved. OK: it did not, the guest has left. Else as csv_migrate(). */
enum csv_err csv_drive_come_back(struct drive *d);

#endif
