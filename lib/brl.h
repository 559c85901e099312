/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Byte-range locks as a pure table: POSIX (fcntl), OFD and flock locks of many files and many nodes, with no thread,
 * message or clock inside.  csvlockd keeps one per volume, csvfs one of what its handles have.
 *
 * An owner is (node, owner id, flock space): its own locks never conflict with each other, a new one replaces, splits
 * or joins what it overlaps (POSIX.1-2017 fcntl).  Each lock bears the handle that asked for it, because the kernel
 * sends no unlock for OFD locks: csv_brl_drop_handle() at RELEASE takes exactly that handle's.
 *
 * Order of iteration depends on content alone.
 */
#ifndef CSV_LIB_BRL_H
#define CSV_LIB_BRL_H

#include <stdbool.h>
#include <stdint.h>

struct csv_brl_table;

struct csv_brl {
	uint64_t ino;
	uint32_t gen;
	uint32_t node; /* whose: the table's user gives the numbers */
	uint64_t handle;
	uint64_t owner;
	uint64_t start, end; /* bytes, end included; UINT64_MAX: to the end of every size */
	uint32_t type;	     /* F_RDLCK, F_WRLCK; in a request F_UNLCK too */
	uint32_t pid;
	uint32_t flock; /* 1: flock(2) space */
};

/* Never NULL: out of memory ends the program, as in all of csvlockd. */
struct csv_brl_table *csv_brl_new(void);
void csv_brl_free(struct csv_brl_table *t);

/* A request that can be carried out: type known, start <= end, flock 0 or 1. */
bool csv_brl_sound(const struct csv_brl *req);
/* True: somebody else's lock conflicts with req; the lowest such one by (start, node, owner) is in *found. */
bool csv_brl_test(const struct csv_brl_table *t, const struct csv_brl *req, struct csv_brl *found);
/* Sets or (F_UNLCK) clears. False: a conflict, in *found (may be NULL), and nothing is changed. F_UNLCK never fails. */
bool csv_brl_set(struct csv_brl_table *t, const struct csv_brl *req, struct csv_brl *found);

/* Calls fn for each lock that conflicts with req, by (start, node, owner), until it says true: then true. */
bool csv_brl_each_conflict(const struct csv_brl_table *t, const struct csv_brl *req,
			   bool (*fn)(void *arg, const struct csv_brl *l), void *arg);

/* True: it had locks. */
bool csv_brl_drop_handle(struct csv_brl_table *t, uint32_t node, uint64_t handle);
void csv_brl_drop_node(struct csv_brl_table *t, uint32_t node);

/* Whether req's owner has any of its range locked (the first such lock in *found, may be NULL); a handle or an owner
 * anything in any file. */
bool csv_brl_has(const struct csv_brl_table *t, const struct csv_brl *req, struct csv_brl *found);
bool csv_brl_has_handle(const struct csv_brl_table *t, uint32_t node, uint64_t handle);
bool csv_brl_has_owner(const struct csv_brl_table *t, uint32_t node, uint64_t owner);

/* All locks by (ino, gen, flock, start, node, owner). fn must not change the table. */
void csv_brl_walk(const struct csv_brl_table *t, void (*fn)(void *arg, const struct csv_brl *l), void *arg);
/* The same for the next `max` behind *after, be it there or not (NULL: from the first). Returns how many there were. */
unsigned csv_brl_walk_from(const struct csv_brl_table *t, const struct csv_brl *after, unsigned max,
			   void (*fn)(void *arg, const struct csv_brl *l), void *arg);
uint64_t csv_brl_count(const struct csv_brl_table *t);

#endif
