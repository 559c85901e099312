/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where I/O on an image waits while a handoff moves it (H4, H6).  Each read, write, and
 * change of map or size goes
 *
 *	err = csv_gate_enter(g, op, ino, write);     OK; WAIT: park op, run() comes again; else the answer
 *	... submit ...
 *	csv_gate_leave(g);                           only after OK
 *
 * so that after csv_gate_set(PARKED) has returned every I/O that was let in is known to
 * csv_data, and csv_data_drain() waits for it.  Nothing waits between enter and leave.
 */
#ifndef CSV_LOCK_GATE_H
#define CSV_LOCK_GATE_H

#include "fs/lock/hold.h"

enum csv_gate_mode {
	CSV_GATE_OPEN,	 /* no gate: everything goes */
	CSV_GATE_ARMED,	 /* reads go, writes wait, CSV_HANDOFF_MS at most: then BUSY */
	CSV_GATE_PARKED, /* everything waits, for as long as it takes */
	CSV_GATE_RUN,	 /* everything goes, but the first write asks for the run mark and waits for it */
};

struct csv_gates;
/* mark: a first write waits under CSV_GATE_RUN: make the mark durable, then set OPEN. Must not block; any thread. */
enum csv_err csv_gates_new(struct csv_fs *fs, void (*mark)(void *arg, uint64_t ino), void *arg, struct csv_gates **g);
void csv_gates_free(struct csv_gates *g); /* no operation is under way */

enum csv_err csv_gate_enter(struct csv_gates *g, struct csv_op *op, uint64_t ino, bool write);
void csv_gate_leave(struct csv_gates *g);
/* Waits until nobody is between enter and leave; wakes who waits. */
void csv_gate_set(struct csv_gates *g, uint64_t ino, enum csv_gate_mode mode);
/* Once a second: waiters whose time is over, or whose volume is out, run again and get their error. */
void csv_gates_tick(struct csv_gates *g);

#endif
