/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a csvfs says as it ends to whoever waits for that: nobody but its parent would learn its exit code, and that is
 * long gone.  One datagram to an abstract Unix socket named after its process; nothing is left behind, whoever dies.
 */
#ifndef CSV_LIB_FAREWELL_H
#define CSV_LIB_FAREWELL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "csv/limits.h"

struct csv_farewell {
	uint32_t err;             /* enum csv_err: how the volume was left; OK: clean */
	uint32_t out;             /* 1: the volume was fenced or withdrawn here before the unmount began */
	uint32_t slot, incarnation;
	char volume[CSV_VOLNAME_MAX + 1];
};

/* csvfs: tells who listens, if anybody. */
void csv_farewell_send(const struct csv_farewell *f);
/* To be called before the end can come. A descriptor to be closed; -1: somebody listens already, or no sockets. */
int csv_farewell_listen(pid_t pid);
/* Once process `pid` has ended: what it said. False: nothing. What others have sent is not believed. */
bool csv_farewell_read(int fd, pid_t pid, struct csv_farewell *f);

#endif
