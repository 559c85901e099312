/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/bug.h"

#ifdef CSV_BUGS
unsigned long csv_bug_mask;
#else
/* ISO C wants a declaration in every file. */
typedef int csv_bug_none;
#endif
