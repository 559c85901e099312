/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver of a live migration on QEMU: csvadm migrate VM --to NODE.
 *
 *	connect_create     prepare: the destination arms, compares the definition, starts the incoming VM
 *	memory_copy        migrate, up to the pause of the guest (event STOP)
 *	final_copy         the last pages: from STOP to completed, less the wait for us in pre-switchover
 *	storage_handoff    pre-switchover -> commit -> migrate-continue
 *	online             migrate-continue -> completed: the guest runs at the destination
 *	cleanup_announce   finish; QEMU's own announcements of the MAC address go out meanwhile
 *
 * QEMU sends its last pages after pre-switchover, so steps overlap: each has the times that were measured.
 *
 * When something fails:
 *
 *	before the commit, or it said kept   abort, migrate_cancel; the guest runs on here
 *	the commit is not answered           nothing is touched: the guest stays paused until somebody knows (H4)
 *	after it, QEMU here still lives      the disks are taken back, if the destination has let no write through (H6),
 *	                                     and then the guest goes on here; else this QEMU has no disks and is ended
 *	after it, QEMU here is gone          nothing is taken back: there is no guest to bring the disks to
 *
 * What is reported is what csvlockd said last; "kept, the guest runs on here" only if QEMU confirms it.
 */
#ifndef CSV_MIGRATE_DRIVER_H
#define CSV_MIGRATE_DRIVER_H

#include "migrate/source/request.h"

enum csv_step_name {
	CSV_STEP_CONNECT_CREATE,
	CSV_STEP_MEMORY_COPY,
	CSV_STEP_FINAL_COPY,
	CSV_STEP_STORAGE_HANDOFF,
	CSV_STEP_ONLINE,
	CSV_STEP_CLEANUP_ANNOUNCE,
	CSV_STEP_COUNT,
};

struct csv_migrate_opts {
	const char *vm, *to;
	const char *uri;        /* "tcp:IP"; NULL: as the destination is configured */
	const char *definition; /* NULL: as vm-launch has noted it */
	const char *run_dir;    /* NULL: CSV_RUN_DIR or /run/csvfs */
	int timeout_ms;         /* of one request to csvlockd */
	int memory_ms;          /* of the memory copy; 0: an hour */
};

struct csv_migrate_report {
	double start[CSV_STEP_COUNT], end[CSV_STEP_COUNT]; /* ms since the driver's start; end 0: did not take place */
	double storage_step_ms; /* pre-switchover event to migrate-continue */
	double blackout_ms;     /* the guest's last write here to its first there; 0: not known */
	uint64_t bytes;         /* of RAM sent */
	enum csv_ho_outcome outcome; /* whose the disks are; NONE: not known here */
	struct csv_request_answer handoff;
};

/*
 * OK: moved, and QEMU says that the guest runs there.  KEPT: the guest runs on here, *why tells why.  UNREACH: csvlockd
 * did not answer: what became of the disks is not known.  IO and others: see outcome and *why.
 */
enum csv_err csv_migrate(struct csv_client *cl, const struct csv_migrate_opts *o, struct csv_migrate_report *r,
			 struct csv_why *why);
/* The report as docs/COMMANDS has it: one entry of migrations[]. */
json_t *csv_migrate_json(const struct csv_migrate_opts *o, const struct csv_migrate_report *r);

#endif
