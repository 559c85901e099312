/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What FUSE does not tell about who asks. */
#ifndef CSV_FUSE_CALLER_H
#define CSV_FUSE_CALLER_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Whether the thread, which waits for a lock that is no flock, waits as a process (F_SETLKW) and not as an open file
 * (F_OFD_SETLKW): both come as SETLKW, with an owner that is a mere number.  The kernel tells in which system call it
 * waits.  False if that cannot be found out (a thread of another PID namespace, say): then no deadlock is looked for, and
 * it waits.  Takes some microseconds; as long as the thread has not come to rest, 100 ms at most.
 */
bool csv_caller_is_process(pid_t thread);

#endif
