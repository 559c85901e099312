/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A migration that does not work out: whose the disks are, where the guest is, and making both true together. */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "migrate/source/driver_int.h"

#define RESUME_MS 10000 /* from migrate_cancel or cont until the guest runs */
#define POLL_MS 20
#define RUN_LOOKS 5u
#define GRACE_MS 2000 /* for a migrate-continue that QEMU has, but has not begun with */

/* ---- what QEMU here is doing ---- */

enum monitor { MONITOR_THERE, MONITOR_SILENT, MONITOR_GONE };

/* A connection may break while QEMU lives; one whose answer is late is of no use. GONE: QEMU has ended. */
static enum monitor look_for_monitor(struct drive *d)
{
	char path[4096];
	enum csv_err err;

	if (d->q && !csv_qmp_run(d->q, "query-status", NULL, QMP_MS, NULL, NULL))
		return MONITOR_THERE;
	if (d->q)
		csv_qmp_close(d->q);
	d->q = NULL;
	err = csv_qmp_open(csv_drive_monitor(d, path), QMP_MS, &d->q, NULL);
	return !err ? MONITOR_THERE : err == CSV_NOENT ? MONITOR_GONE : MONITOR_SILENT;
}

static const char *const over[] = { "completed", "failed", "cancelled", NULL };
static const char *const completed[] = { "completed", NULL };
static const char *const paused[] = { "pre-switchover", NULL };
static const char *const switching[] = { "pre-switchover", "device", "active", NULL };

/* QEMU's migration is in one of these states. */
static bool migration_is(struct drive *d, const char *const *states)
{
	json_t *info = NULL;
	const char *status;
	bool yes = false;

	if (!d->q || csv_qmp_run(d->q, "query-migrate", NULL, QMP_MS, &info, NULL))
		return false;
	status = json_string_value(json_object_get(info, "status"));
	for (; status && *states; states++)
		yes |= !strcmp(status, *states);
	json_decref(info);
	return yes;
}

static void pause_ms(int ms)
{
	poll(NULL, 0, ms);
}

/* ---- when it does not work out ---- */

/* Running at several looks: what QEMU began while the disks were away may still come back as an error and stop it. */
static bool keeps_running(struct drive *d)
{
	for (unsigned i = 0; i < RUN_LOOKS; i++) {
		if (!csv_drive_guest_runs(d))
			return false;
		pause_ms(POLL_MS);
	}
	return true;
}

/* The disks are the guest's here: it is to go on. False: it does not. */
static bool resume(struct drive *d)
{
	double deadline = csv_qmp_now() + RESUME_MS;

	if (look_for_monitor(d) != MONITOR_THERE)
		return false;
	if (d->migrating) {
		csv_qmp_run(d->q, "migrate_cancel", NULL, QMP_MS, NULL, NULL);
		while (!migration_is(d, over) && csv_qmp_now() < deadline)
			pause_ms(POLL_MS);
	}
	while (d->ran && !keeps_running(d)) {
		csv_qmp_run(d->q, "cont", NULL, QMP_MS, NULL, NULL);
		if (csv_qmp_now() > deadline)
			return false;
		pause_ms(POLL_MS);
	}
	return true;
}

static enum csv_err kept(struct drive *d)
{
	char reason[sizeof(d->why->text)];

	d->r->outcome = CSV_HO_KEPT;
	if (resume(d))
		return d->why->err = CSV_KEPT;
	snprintf(reason, sizeof(reason), "%s", d->why->text);
	csv_why_init(d->why);
	return csv_fail(d->why, CSV_IO, "start it on this node",
			"the disks are on this node as before, but the guest does not run: %s", reason);
}

/* Before the commit was asked for, or it said kept.  First the storage: a guest that goes on must find it. */
enum csv_err csv_drive_stay(struct drive *d, enum csv_err err)
{
	struct csv_why refused;

	if (!d->prepared && !d->migrating)
		return err;
	csv_why_init(&refused);
	if (d->prepared && d->r->outcome != CSV_HO_KEPT)
		err = csv_drive_ask(d, CSV_HO_REQ_ABORT, &refused);
	if (d->r->outcome != CSV_HO_MOVED && err != CSV_BUSY)
		return kept(d);
	csv_why_init(d->why);
	return csv_fail(d->why, CSV_BUSY, "csvadm handoff status tells whose the disks are",
			"somebody else has committed this handoff");
}

/*
 * The guest can be nowhere but there; this QEMU has no disks any more, and must not meet the network again.  Finished:
 * there is nobody to take the disks back to, and where the VM is started next is its administrator's choice.
 */
static enum csv_err gone(struct drive *d, const char *what)
{
	char reason[sizeof(d->why->text)];

	csv_drive_ask(d, CSV_HO_REQ_FINISH, NULL);
	d->r->outcome = CSV_HO_MOVED;
	snprintf(reason, sizeof(reason), "%s", d->why->text);
	csv_why_init(d->why);
	if (d->q)
		csv_qmp_run(d->q, "quit", NULL, QMP_MS, NULL, NULL);
	return csv_fail(d->why, CSV_IO, "if the guest does not run there, start it there from its disks",
			"the disks have moved to node %s, and %s: %s", d->o->to, what, reason);
}

/* Waits for the end of a switch-over that QEMU is in. True: the guest has left. */
static bool wait_over(struct drive *d)
{
	double from = csv_qmp_now();

	while (migration_is(d, switching) && csv_qmp_now() < from + SWITCH_MS) {
		if (migration_is(d, paused) && csv_qmp_now() > from + GRACE_MS)
			break;
		pause_ms(POLL_MS);
	}
	return migration_is(d, completed);
}

/*
 * The disks have moved and QEMU failed afterwards.  Should the destination's VM be starting at this moment, its first
 * write decides: its run mark or our transaction comes first.  If ours does, csvlockd there ends that VM.
 */
enum csv_err csv_drive_come_back(struct drive *d)
{
	struct csv_why refused;
	enum csv_err err;

	if (look_for_monitor(d) == MONITOR_THERE && wait_over(d))
		return CSV_OK;
	if (look_for_monitor(d) == MONITOR_GONE)
		return gone(d, "QEMU on this node has ended");
	csv_why_init(&refused);
	err = csv_drive_ask(d, CSV_HO_REQ_TAKEBACK, &refused);
	if (d->r->outcome == CSV_HO_KEPT)
		return kept(d);
	if (d->r->outcome == CSV_HO_MOVED)
		return gone(d, "the guest has written there");
	*d->why = refused;
	return err;
}
