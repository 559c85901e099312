/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One after the other: whoever opens a lockspace waits until the one before it is gone for good.
 *
 * A process leaves its locks behind as orphans only at the very end of its exit, and that waits as long as the
 * lockspace is stopped.  A successor that asked for an orphan before would hear that there is none, while the lock
 * still stands.
 */
#ifndef CSV_LOCKD_DLM_TURN_H
#define CSV_LOCKD_DLM_TURN_H

#include <sys/types.h>

/*
 * Waits, then notes this process as the last one, in RUN_DIR (CSV_RUN_DIR or /run/csvfs).  Returns 0, or an errno;
 * ECANCELED: the other end of `socket` was closed meanwhile.
 */
int csv_dlm_turn_take(const char *lockspace, int socket);
/* The successor has to wait for that process, too. 0, or an errno. */
int csv_dlm_turn_share(const char *lockspace, pid_t pid);

#endif
