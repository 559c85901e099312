/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What opens the DLM's gate where dlm_controld forgets to.  It has one node run the fence agent for a node that is gone:
 * the lowest of those that saw it go and are members now.  If that one goes too while there is no quorum, and is started
 * anew, it is a member again and chosen, but knows of no node to be fenced; the others wait for it, and all lockspaces
 * stand still until the node that is gone has booted (get_fence_actor() in dlm_controld 4.2.0).
 */
#ifndef CSV_LOCKD_DLM_RELEASE_H
#define CSV_LOCKD_DLM_RELEASE_H

#include <stdint.h>

/* Exit codes of `csv-dlm-space --release`. */
enum csv_dlm_release { CSV_DLM_FREE = 0, CSV_DLM_WAITS = 3 };

/*
 * If a lockspace of this host waits for the node's fence, runs the agent that dlm.conf names, as dlm_controld would, and
 * says its success to all dlm_controlds.  So nothing opens the gate but the agent (L2).  FREE: nothing waits any more.
 * What was done, or what it waits for, is a line on standard output.
 */
enum csv_dlm_release csv_dlm_release(uint32_t nodeid);

#endif
