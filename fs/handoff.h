/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a mount's handles have to do with handoffs. All but open and close do nothing where there is no cluster. */
#ifndef CSV_FS_HANDOFF_H
#define CSV_FS_HANDOFF_H

#include "fs/mount.h"

struct csv_handle;

/* After leases and handles are there / before they go. */
enum csv_err csv_mount_handoffs_open(struct csv_mount *m);
void csv_mount_handoffs_close(struct csv_mount *m);

/* csvlockd's registry hears of a handle of an image: opened or changed; closed; all, after a re-attachment. */
void csv_mount_handle_tell(struct csv_mount *m, const struct csv_handle *h);
void csv_mount_handle_gone(struct csv_mount *m, const struct csv_handle *h);
void csv_mount_handles_tell(struct csv_mount *m);

/* The first I/O of this handle after a handoff has completed just now. */
void csv_mount_first_io(struct csv_mount *m, const struct csv_handle *h);

#endif
