/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A lockspace of the kernel's DLM, as this project needs it: locks without a value block, named by the caller's cookie.
 * Every call but csv_dlm_device_next waits, uninterruptibly, as long as the lockspace is stopped.
 *
 * libdlm writes the requests; what the kernel answers is read here, because libdlm keeps the mode of a BAST to itself.
 */
#ifndef CSV_LOCKD_DLM_DEVICE_H
#define CSV_LOCKD_DLM_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "csv/lock.h"

struct csv_dlm_device;

enum csv_dlm_what {
	CSV_DLM_BLOCKS,         /* somebody wants the lock in `mode` */
	CSV_DLM_GRANTED,        /* locked or converted */
	CSV_DLM_UNLOCKED,       /* the cookie is not heard of any more */
	CSV_DLM_REFUSED,        /* error: EAGAIN (noqueue), ECANCELED or another errno; a new lock's cookie as above */
};
/* What the kernel says of a lock. */
struct csv_dlm_device_event {
	enum csv_dlm_what what;
	uint64_t cookie;
	enum csv_mode mode;     /* BLOCKS */
	int error;              /* REFUSED */
};

/* All return 0 or an errno. */

/*
 * Joins if this host is not in the lockspace yet; *out is the caller's until csv_dlm_device_leave.  ENXIO: no DLM here.
 */
int csv_dlm_device_open(const char *lockspace, struct csv_dlm_device **out);
/*
 * Leaves the lockspace with all locks of this host, whosever; frees dev.  EBUSY: others on this host hold it open by a
 * join of their own, and locks may be left.
 */
int csv_dlm_device_leave(struct csv_dlm_device *dev, const char *lockspace);
/* To poll for POLLIN. */
int csv_dlm_device_fd(const struct csv_dlm_device *dev);

/*
 * Completed by an event; *id is the kernel's name of the lock, which dies with this process until it is converted.
 *
 * A request that waits must not outlive the process: the kernel cancels it then, leaves what remains of it among the
 * orphans, and falls over it when these are purged (6.1: list_del of an entry that is in no list any more, BUG).
 */
int csv_dlm_device_lock(struct csv_dlm_device *dev, uint64_t cookie, const char *name, enum csv_mode mode, bool noqueue,
			uint32_t *id);
/*
 * Completed by an event.  As soon as this returns 0 the lock outlives the process.  EBUSY: something else that was
 * asked of the lock, if only to cancel it, is on its way; try again.
 */
int csv_dlm_device_convert(struct csv_dlm_device *dev, uint64_t cookie, uint32_t id, enum csv_mode mode);
/* Same. */
int csv_dlm_device_unlock(struct csv_dlm_device *dev, uint64_t cookie, uint32_t id);
/* Of a request that waits. Too late: nothing comes of it but the event of the request itself. */
int csv_dlm_device_cancel(struct csv_dlm_device *dev, uint64_t cookie, uint32_t id);
/*
 * At once, without an event; the lock outlives this process too.  EAGAIN: the orphans on name are in other modes;
 * ENOENT: there is none.
 */
int csv_dlm_device_adopt(struct csv_dlm_device *dev, uint64_t cookie, const char *name, enum csv_mode mode,
			 uint32_t *id);
/* All orphans of this host go. */
int csv_dlm_device_purge(struct csv_dlm_device *dev);
/* Does nothing but wait until the lockspace is not stopped. */
void csv_dlm_device_wait_running(struct csv_dlm_device *dev);
/* The next event; the one before counts as handled. EAGAIN: none yet. */
int csv_dlm_device_next(struct csv_dlm_device *dev, struct csv_dlm_device_event *ev);
/* The event read last is handled. Before anything is asked of its lock, or a keeper would take that for answered. */
void csv_dlm_device_handled(struct csv_dlm_device *dev);
/* An event that was read and not handled, by this process or by the one from which it was forked, which has ended. */
bool csv_dlm_device_unhandled(const struct csv_dlm_device *dev, struct csv_dlm_device_event *ev);

#endif
