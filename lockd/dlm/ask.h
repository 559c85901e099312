/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CSV_LOCKD_DLM_ASK_H
#define CSV_LOCKD_DLM_ASK_H

#include <stdint.h>

#include "csv/err.h"

/*
 * Asks this host's csvlockd to put a node's slots out.  CSV_OK only when csvlockd has said that none of them is left to
 * be fenced or replayed, within fence_ms; else an error, the reason in *why.
 */
enum csv_err csv_fence_ask(uint32_t nodeid, int open_ms, int fence_ms, struct csv_why *why);
/* Whether csvlockd could be asked at all. */
enum csv_err csv_fence_reachable(int open_ms, struct csv_why *why);

#endif
