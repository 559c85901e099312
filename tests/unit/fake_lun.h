/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A LUN in memory with persistent reservations and a write cache, as hosts see it through their kernel: for each host a
 * block device and the ports of its paths.  One test thread commands, the devices' threads use it.
 */
#ifndef CSV_TESTS_FAKE_LUN_H
#define CSV_TESTS_FAKE_LUN_H

#include <pthread.h>

#include "lib/disk_impl.h"

#define FAKE_BLOCK 4096u
#define FAKE_BLOCKS 64u
#define FAKE_PATHS 2u
#define FAKE_HOSTS 3u
#define FAKE_INTRUDER 0xbadull

struct fake_lun;

struct fake_path {
	struct csv_scsi_port port;
	struct fake_host *host;
	uint64_t key;                /* registered; 0: not */
	bool dead;
	int attention;               /* asc of a unit attention that the next command gets; 0: none */
};

struct fake_host {
	struct csv_bdev inner;       /* what the kernel shows */
	struct fake_lun *lun;
	struct fake_path path[FAKE_PATHS];
	unsigned npaths;
	bool aptpl;                  /* the target takes it */
	struct csv_bdev *dev;        /* what is tested */
	bool parked;                 /* requests wait in the kernel: */
	struct csv_io *waiting[64];
	unsigned nwaiting;
	unsigned resets, aborts;
	unsigned registered_while_busy, read_while_busy;
};

struct fake_lun {
	pthread_mutex_t lock;
	uint8_t cache[FAKE_BLOCKS][FAKE_BLOCK], media[FAKE_BLOCKS][FAKE_BLOCK];
	struct fake_host host[FAKE_HOSTS];
	enum csv_pr_type type;
	uint32_t generation;
	bool aptpl;                  /* as the last REGISTER wished */
	bool refuse_abort, refuse_aptpl;
	int bad_block;               /* every access fails with CSV_IO; -1: none */
	bool intruder;               /* host 2 registers when a reservation is released */
	enum csv_err path_error;     /* what the kernel says of a lost path */
	unsigned writes, conflicts, key_reads;
};

void fake_init(struct fake_lun *lun);
/* Opens the LUN on host `n` with so many paths. */
struct csv_bdev *fake_open(struct fake_lun *lun, unsigned n, unsigned npaths, bool cached);
/* The target loses its power: the cache, and reservations unless they were to outlive it. */
void fake_power_cut(struct fake_lun *lun);
/* A host's paths die or come back. */
void fake_set_dead(struct fake_lun *lun, unsigned n, unsigned path, bool dead);
/* From now on the host's requests stay in its kernel, until they are let go. */
void fake_park(struct fake_lun *lun, unsigned n);
void fake_let_go(struct fake_lun *lun, unsigned n);
unsigned fake_waiting(struct fake_lun *lun, unsigned n);
/* The key of a host's path. */
uint64_t fake_key(struct fake_lun *lun, unsigned n, unsigned path);
/* Somebody else preempts a host. */
void fake_preempt(struct fake_lun *lun, unsigned n);

#endif
