/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CSV_FS_OPTS_H
#define CSV_FS_OPTS_H

#include "fs/mount.h"

/* csvfs LUN DIR [-o OPTIONS] [-f]. CSV_USAGE with *why on anything else. */
enum csv_err csv_opts_parse(int argc, char **argv, struct csv_mount_opts *o, struct csv_why *why);

#endif
