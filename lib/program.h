/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CSV_LIB_PROGRAM_H
#define CSV_LIB_PROGRAM_H

#include <limits.h>

/* A program of ours beside the running one if it is there (build folder, /usr/sbin), else its bare name, for execvp(3). */
void csv_find_program(const char *name, char path[PATH_MAX]);

#endif
