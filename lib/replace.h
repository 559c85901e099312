/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small files of the run directory that others read at any moment: they find the old one or the new one, whole. */
#ifndef CSV_LIB_REPLACE_H
#define CSV_LIB_REPLACE_H

#include <stdio.h>

#include "csv/err.h"

/*
 * What print(out, arg) writes takes the place of the file at path, for its owner's eyes alone; fresh is a name in the same
 * folder that nobody else uses.  ACCESS, NOSPC, ...: fresh cannot be made; IO: it cannot be written, or put in place.
 * What was at path stays there if that fails.  Nothing is flushed: the folder is in memory.
 */
enum csv_err csv_replace_file(const char *path, const char *fresh, void (*print)(FILE *out, const void *arg),
			      const void *arg);

#endif
