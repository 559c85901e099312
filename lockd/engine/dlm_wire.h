/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between csvlockd and csv-dlm-space, the process that holds one volume's lockspace open: records over a
 * SOCK_SEQPACKET socket pair, one a packet, host byte order.
 *
 * A process of its own because a call into the kernel's DLM waits, uninterruptibly, as long as the lockspace is stopped
 * for a recovery, which itself waits for what csvlockd does (L2): the loop of csvlockd must never make one.  It knows
 * nothing of what the locks mean.  It ends when the socket does; its locks are persistent, stay behind as orphans and
 * are adopted by its successor (L4).
 */
#ifndef CSV_DLM_WIRE_H
#define CSV_DLM_WIRE_H

#include <assert.h>
#include <stdint.h>

#define CSV_DLM_FD 3	  /* its end of the socket pair */
#define CSV_DLM_NAME_MAX 32u /* of a resource, with the NUL */

/* csvlockd -> csv-dlm-space. All but CANCEL and LEAVE are answered by exactly one DONE with their cookie. */
enum csv_dlm_op {
	CSV_DLM_LOCK = 1, /* new lock on name in mode; granted, or EAGAIN (noqueue), or ECANCELED */
	CSV_DLM_CONVERT,  /* the lock goes down to mode */
	CSV_DLM_UNLOCK,	  /* the lock goes; its cookie is free again */
	CSV_DLM_CANCEL,	  /* of a LOCK not answered yet, which then is: ECANCELED, or 0 if it came too late */
	CSV_DLM_ADOPT,	  /* this node's orphan on name, expected in mode: 0 and the mode in which it is; ENOENT: none */
	CSV_DLM_PURGE,	  /* this node's orphans that nobody has adopted go (cookie 0) */
	CSV_DLM_LEAVE,	  /* leaves the lockspace, with all locks; LEFT, and it ends */
};
struct csv_dlm_req {
	uint32_t op; /* enum csv_dlm_op */
	uint32_t mode; /* enum csv_mode, the DLM's numbers */
	uint64_t cookie; /* csvlockd's name of the lock, never 0 for a lock */
	uint32_t noqueue;
	uint32_t reserved;
	char name[CSV_DLM_NAME_MAX];
};

/* csv-dlm-space -> csvlockd */
enum csv_dlm_event {
	CSV_DLM_JOINED = 1, /* first of all; requests may have been sent before */
	CSV_DLM_DONE,
	CSV_DLM_BAST, /* somebody wants what the lock with this cookie holds, in mode */
	CSV_DLM_LEFT,
	CSV_DLM_FAILED, /* it cannot go on and ends: status, text */
};
struct csv_dlm_res {
	uint32_t event; /* enum csv_dlm_event */
	uint32_t mode;
	uint64_t cookie;
	uint32_t status; /* an errno; 0: well */
	uint32_t reserved;
	char text[104]; /* FAILED: what did not work */
};
static_assert(sizeof(struct csv_dlm_req) == 56 && sizeof(struct csv_dlm_res) == 128, "records have one size");

#endif
