/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The scenarios: what is being done when the power goes. */
#ifndef CSV_TESTS_CRASH_SCENARIOS_H
#define CSV_TESTS_CRASH_SCENARIOS_H

#include "crash.h"

/* ---- names.c ---- */
void crash_run_create(struct crash *c);
void crash_run_mkdir(struct crash *c);
void crash_run_unlink(struct crash *c);
void crash_run_rename(struct crash *c);
void crash_run_lease(struct crash *c);
/* All of them, long enough for the journal to go round several times. */
void crash_run_mix(struct crash *c);

/* ---- files.c ---- */
void crash_run_overwrite(struct crash *c);
void crash_run_append(struct crash *c);
void crash_run_truncate(struct crash *c);
/* Maps of many extents are taken apart in several transactions. */
void crash_run_fragments(struct crash *c);
/* Preallocated space is written bit by bit: conversions of neighbours, at block edges and at the file's end (J7). */
void crash_run_convert(struct crash *c);
/* J2: on a full volume each write takes what was freed a moment ago. */
void crash_run_free_reuse(struct crash *c);
/* J1: space that held forged headers turns into metadata chunks. */
void crash_run_forged_header(struct crash *c);

/* ---- nodes.c ---- */
/* J1: one node's journal keeps blocks that another has freed and used anew since. */
void crash_run_idle_node(struct crash *c);
/* J5: images go home in the background while the running transaction changes their blocks again. */
void crash_run_home_image(struct crash *c);
/* J8: lives of one slot, one after the other. */
void crash_run_remount(struct crash *c);
/* J3: records take the place of others whose images have just gone home. */
void crash_run_wrap(struct crash *c);

#endif
