/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Table of the inodes that a check has come across, by number. */
#ifndef CSV_TOOLS_CHECK_INODES_H
#define CSV_TOOLS_CHECK_INODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "csv/err.h"

#define CHK_I_DIR 1u
#define CHK_I_BAD 2u	/* in use, but its block is damaged: what names it is not blamed */
#define CHK_I_ORPHAN 4u /* on an orphan list */
#define CHK_I_REACHED 8u
#define CHK_I_ONWAY 16u /* on the way up that is being walked */

struct chk_ient {
	uint64_t ino;	 /* 0: free place */
	uint64_t parent; /* directory: what it says */
	uint64_t from;	 /* directory: who names it; 0: nobody yet */
	uint32_t gen;
	uint32_t mode;
	uint32_t nlink;	  /* what it says */
	uint32_t names;	  /* entries that name it */
	uint32_t subdirs; /* directory: directories in it */
	uint32_t flags;	  /* CHK_I_* */
};

struct chk_inodes {
	struct chk_ient *place;
	size_t places, count;
};

/* New entry, zero but for ino; must not be there yet. NULL: no memory. Older pointers into the table become invalid. */
struct chk_ient *chk_inodes_add(struct chk_inodes *t, uint64_t ino);
struct chk_ient *chk_inodes_find(const struct chk_inodes *t, uint64_t ino);
void chk_inodes_free(struct chk_inodes *t);

#endif
