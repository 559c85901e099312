/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a handoff is about: the bundle, and the two lives between which it moves. */
#ifndef CSV_MIGRATE_PLAN_H
#define CSV_MIGRATE_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "csv/err.h"
#include "csv/limits.h"

#define CSV_HO_ID 16u
#define CSV_HO_FILES_MAX 32u /* images of one VM */
#define CSV_HO_PATH_MAX 512u
#define CSV_HO_URI_MAX 128u
#define CSV_HO_WHY_MAX 200u

/* One life of one mount: (slot, incarnation) of the volume, and where it lives. */
struct csv_ho_life {
	uint32_t nodeid;
	uint32_t slot;
	uint32_t incarnation;
	char node[CSV_NODENAME_MAX + 1];
};

struct csv_ho_file {
	uint64_t ino;
	uint32_t gen;
	uint64_t epoch; /* of its lease: at prepare the source's, after each move the new holder's */
	uint64_t size;  /* bytes, as the last holder knew it */
	char path[CSV_HO_PATH_MAX];
};

/*
 * Fixed at prepare, the epochs and sizes aside.  One volume: a bundle over several will have one plan for each and a
 * deciding one among them (H8); until then prepare refuses it.
 */
struct csv_ho_plan {
	uint8_t id[CSV_HO_ID];
	uint8_t uuid[16]; /* volume */
	char vm[CSV_VMNAME_MAX + 1];
	struct csv_ho_life src, dst;
	char definition[CSV_HO_PATH_MAX]; /* inside the volume; empty: none */
	uint64_t definition_size;
	uint8_t definition_sha256[32];
	bool launch;              /* the destination starts the incoming VM */
	char uri[CSV_HO_URI_MAX]; /* where it listens: wish at prepare, truth once prepared */
	unsigned nfiles;
	struct csv_ho_file file[CSV_HO_FILES_MAX];
};

/*
 * How long each part took, ms; 0: not known.  All are durations, each measured by one node's clock: the clocks of two
 * nodes have nothing to do with each other.
 */
struct csv_ho_times {
	double drain, journal, home; /* of the commit, at the source */
	double silence;              /* source: from the guest's last acknowledged write until the commit was done */
	double activate;             /* destination: from the order to take up until its answer */
	double first;                /* destination: from that order to the guest's first acknowledged write */
};

#endif
