/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A small volume in memory behind a device that a test can watch and disturb, for
 * the tests of fs/disk, fs/journal and the allocator.
 */
#ifndef CSV_TESTS_CORE_H
#define CSV_TESTS_CORE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fs/disk/super.h"
#include "fs/journal/journal.h"
#include "fs/meta/alloc.h"

/* Passes requests on; watch() sees each first and fails it by returning an error. */
struct watch_dev {
	struct csv_bdev dev;
	struct csv_bdev *below;
	enum csv_err (*watch)(void *arg, const struct csv_io *io);
	void *arg;
};

struct core {
	struct csv_bdev *mem;
	struct watch_dev watch;
	struct csv_bdev *dev;     /* the watched device */
	struct csv_super sb;
	struct csv_fs fs;
	struct csv_agset ags;     /* all groups, as many as fit */
	uint32_t incarnation;
};

/* Formats; slots 2. Does not open. */
void core_make(struct core *c, uint64_t blocks, uint32_t journal_blocks);
/* A new life of slot 0: slot block, then fs. No commit but when asked for. */
void core_open(struct core *c);
void core_close(struct core *c);
/* The node dies: nothing more is written, memory is lost. */
void core_crash(struct core *c);
void core_replay(struct core *c, struct csv_replay_result *res);
/* Crash, replay, new life. */
void core_restart(struct core *c);
void core_free(struct core *c);

/* Metadata blocks with a number in them: lease blocks of an inode that does not exist. */
#define CORE_OWNER 4711u
uint64_t core_block_new(struct core *c);
enum csv_err core_block_try_set(struct core *c, uint64_t block, uint64_t value, uint64_t *tid);
uint64_t core_block_set(struct core *c, uint64_t block, uint64_t value); /* the transaction */
uint64_t core_block_get(struct core *c, uint64_t block);
/* As it lies at home, unchecked. */
uint64_t core_home_value(struct core *c, uint64_t block);
uint64_t core_home_version(struct core *c, uint64_t block);
struct csv_res core_res(void); /* that covers these blocks */

void core_read(struct core *c, uint64_t block, void *page);
void core_write(struct core *c, uint64_t block, const void *page);

#define assert_ok(expr) assert_int_equal((expr), CSV_OK)
/* SEED of the environment, else from the clock; printed. */
uint64_t core_seed(const char *test);

#endif
