/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The locks of one lockspace and what was asked of them: requests of csvlockd in, events of the kernel in, answers out.
 * Knows cookies, names and modes, not what they mean.
 */
#ifndef CSV_LOCKD_DLM_SPACE_H
#define CSV_LOCKD_DLM_SPACE_H

#include <stdbool.h>

#include "lib/list.h"
#include "lib/omap.h"
#include "lockd/dlm/device.h"
#include "lockd/dlm/flight.h"
#include "lockd/engine/dlm_wire.h"

struct csv_dlm_space {
	struct csv_dlm_device *dev;
	struct csv_omap locks;  /* by cookie */
	struct csv_list busy;   /* locks whose request the kernel has refused for the moment */
	struct csv_dlm_flight *flight;
	/* Sends one record; blocks while the socket is full. */
	void (*answer)(const struct csv_dlm_res *res);
};

void csv_dlm_space_init(struct csv_dlm_space *s, struct csv_dlm_device *dev, struct csv_dlm_flight *flight,
			void (*answer)(const struct csv_dlm_res *res));
/* What it knows of its locks; the kernel is told nothing. */
void csv_dlm_space_clear(struct csv_dlm_space *s);

/*
 * All but LEAVE.  Returns 0, or an errno with *what: what did not work, and the process cannot go on. EPROTO: a request
 * that does not fit.
 */
int csv_dlm_space_request(struct csv_dlm_space *s, const struct csv_dlm_req *req, const char **what);
/* Takes all events of the kernel. Same errors. */
int csv_dlm_space_events(struct csv_dlm_space *s, const char **what);
/* Tries again what the kernel has refused. To be called every few milliseconds while csv_dlm_space_is_busy. */
int csv_dlm_space_retry(struct csv_dlm_space *s, const char **what);
bool csv_dlm_space_is_busy(const struct csv_dlm_space *s);

#endif
