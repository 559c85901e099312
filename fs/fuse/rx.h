/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CSV_FUSE_RX_H
#define CSV_FUSE_RX_H

#include <fuse_lowlevel.h>

#include "csv/err.h"

/* Receives and dispatches requests in threads of its own until the mount is gone. */
enum csv_err rx_run(struct fuse_session *se);

#endif
