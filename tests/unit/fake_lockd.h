/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A cluster of lock engines in one process: grants by the DLM's matrix, first come
 * first served, and asks holders to give way.  Upcalls come from a thread of its own,
 * for each node in order.
 */
#ifndef TESTS_FAKE_LOCKD_H
#define TESTS_FAKE_LOCKD_H

#include "fs/lock/engine.h"

#define FAKE_NODES 4

struct fake_lockd;
struct fake_lockd *fake_lockd_new(unsigned nodes);
void fake_lockd_free(struct fake_lockd *d); /* after all its engines were closed */
struct csv_engine *fake_lockd_engine(struct fake_lockd *d, unsigned node);
/* What node has on the resource, as the cluster sees it. */
enum csv_mode fake_lockd_mode(struct fake_lockd *d, unsigned node, struct csv_res res);

#endif
