/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is remembered of a mount while its csvfs serves it: a file for each in RUN_DIR/mounts, root's alone.  csvfs writes it
 * when the mount is up and removes it when the mount is over, however it was unmounted; so a file whose process is dead is
 * a mount that nobody has given up, and csvlockd mounts it again.
 */
#ifndef CSV_LIB_MOUNTFILE_H
#define CSV_LIB_MOUNTFILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "csv/err.h"

struct csv_mountfile {
	char lun[1024];           /* as csvfs takes it; a path is absolute */
	char dir[4096];           /* mount point, absolute */
	char opts[4096];          /* of -o; empty: none */
	char volume[64];
	uint8_t uuid[16];
	uint32_t slot, incarnation;
	pid_t pid;                /* of the csvfs that serves it */
	uint64_t start;           /* when that process began: field 22 of /proc/PID/stat */
};

/* run_dir NULL: CSV_RUN_DIR or /run/csvfs. */

/* Writes the file of f->dir, in place of an older one. INVAL: a line break in a name; ACCESS, NOSPC, ... */
enum csv_err csv_mountfile_write(const char *run_dir, const struct csv_mountfile *f);
/* NOENT: there is none; ACCESS: others than root could have written it; INVAL: it is none of ours. */
enum csv_err csv_mountfile_read(const char *run_dir, const char *dir, struct csv_mountfile *f);
void csv_mountfile_remove(const char *run_dir, const char *dir);
/* All that can be read. */
void csv_mountfile_each(const char *run_dir, void (*fn)(void *arg, const struct csv_mountfile *f), void *arg);

/* When a process began; 0: there is none. */
uint64_t csv_process_start(pid_t pid);
bool csv_mountfile_served(const struct csv_mountfile *f); /* its process lives */

#endif
