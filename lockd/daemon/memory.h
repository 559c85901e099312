/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * RUN_DIR/expelled: the nodes that csvlockd remembers as expelled (lockd/core/expel.c), for the next csvlockd of this
 * host.  It need not outlive a boot: a host that boots has left the DLM, and its dlm_controld has every absent node
 * fenced once more.
 */
#ifndef CSV_LOCKD_MEMORY_H
#define CSV_LOCKD_MEMORY_H

#include "csv/err.h"
#include "lockd/core/machine.h"

/* Replaces the file; what it had stays there if that fails. */
enum csv_err csv_memory_write(const char *run_dir, const char *cluster, const struct csv_expelled *list, unsigned n);
/* How many: at most CSV_NODES_MAX; none if there is no file, or another cluster's. A line that makes no sense is left out. */
unsigned csv_memory_read(const char *run_dir, const char *cluster, struct csv_expelled *list);

#endif
