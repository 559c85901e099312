/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a fence agent is asked for, in the form all of Linux's fence agents share: key=value, in lines or arguments. */
#ifndef CSV_LOCKD_DLM_PARAMS_H
#define CSV_LOCKD_DLM_PARAMS_H

#include <stdbool.h>
#include <stdint.h>

enum csv_fence_action {
	CSV_FENCE_OFF = 0,  /* the node is to be fenced: off, reboot, or nothing said */
	CSV_FENCE_ON,       /* unfence */
	CSV_FENCE_ASK,      /* monitor, status, list, metadata: answered without doing anything */
	CSV_FENCE_UNKNOWN,
};

struct csv_fence_params {
	enum csv_fence_action action;
	uint32_t nodeid;            /* 0: not said, or none that can be */
};

/* Takes one line or argument; blanks around it, comments and keys that are not for this agent are passed over. */
void csv_fence_param(struct csv_fence_params *p, const char *text);

#endif
