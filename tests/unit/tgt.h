/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A tgtd of the test's own, in a private network and mount namespace. */
#ifndef CSV_TESTS_TGT_H
#define CSV_TESTS_TGT_H

#include <stdbool.h>
#include <stdint.h>

#define TGT_IQN "iqn.2026-01.local.csvfs.test:lun"
#define TGT_LUN "iscsi://127.0.0.1/" TGT_IQN "/1"

/* Moves the process (one thread only) into the namespaces and makes the image. False: not possible here. */
bool tgt_enter(uint64_t image_size);
/* Starts tgtd and makes its target; returns when it answers. */
void tgt_start(void);
/* The LUN gives another vendor from here on: csvfs does not know tgtd by it, and treats it like any target. */
void tgt_disguise(void);
/* SIGKILL: sessions and registrations are lost, what was acknowledged is in the image. */
void tgt_kill(void);
void tgt_freeze(void);
void tgt_thaw(void);
/* Requires CHAP from here on. */
void tgt_chap(const char *user, const char *secret);
/* Opens the image for a look past the target. */
int tgt_image(void);
/* Ends tgtd, removes the image. */
void tgt_leave(void);

#endif
