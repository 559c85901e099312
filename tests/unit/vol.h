/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A formatted volume in memory for the tests of fs/meta and fs/data, and the checks that walk all of it. */
#ifndef CSV_TESTS_VOL_H
#define CSV_TESTS_VOL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "fs/meta/namei.h"

struct vol {
	struct csv_bdev *dev;
	struct csv_fs fs;
	struct csv_ctx ctx;       /* ags: groups "held" */
	uint32_t incarnation;
	struct vol_hog *hog;      /* what vol_hog_take() holds */
};

struct vol_shape {
	uint64_t blocks, ag_blocks;
	uint32_t journal_blocks;
};

void vol_make(struct vol *v, struct vol_shape shape);
/* Closes the core and opens it again: all caches are empty afterwards. */
void vol_remount(struct vol *v);
void vol_free(struct vol *v);
struct csv_iref vol_root(const struct vol *v);
/* No group is held: operations have to ask for what they need. */
void vol_drop_groups(struct vol *v);
/* All groups are held (as many as fit). */
void vol_hold_all(struct vol *v);
/* After NOSPC or WAIT: takes what was asked for, or makes pending frees usable once; true: run again. */
bool vol_again(struct vol *v, enum csv_err err, bool *committed);

/* Runs an operation as a mount does, again and again until it has its groups. */
#define VOL_RUN(v, expr)                                                                                             \
	__extension__({                                                                                              \
		enum csv_err vol_err_;                                                                               \
		bool vol_committed_ = false;                                                                         \
		do                                                                                                   \
			vol_err_ = (expr);                                                                           \
		while (vol_again((v), vol_err_, &vol_committed_));                                                   \
		vol_err_;                                                                                            \
	})
#define VOL_OK(v, expr) assert_int_equal(VOL_RUN((v), (expr)), CSV_OK)

/* The seed of a random test: SEED of the environment, else from the clock; printed with the test's name. */
uint64_t vol_seed(const char *test);

/* What a walk over the whole volume has seen. */
struct vol_sum {
	uint64_t digest;      /* of all names, attributes, maps, targets, orphans */
	uint64_t inodes, nodes, leases, data; /* blocks */
	uint64_t entries;
};
/*
 * Walks everything that can be reached from the root and the orphan list, and fails the test if something does not add
 * up: links, parents, sizes of directories, counts of blocks, blocks used twice, blocks that nobody uses.
 */
void vol_check(struct vol *v, struct vol_sum *sum);

/* ---- a full volume: takes every free block, gives back one by one -------------- */
void vol_hog_take(struct vol *v);
/* Gives back one metadata block / n data blocks, durably; false: none left. */
bool vol_hog_give_meta(struct vol *v);
bool vol_hog_give_data(struct vol *v, uint64_t n);
void vol_hog_give_all(struct vol *v);
void vol_hog_count(const struct vol *v, uint64_t *data, uint64_t *meta);

/*
 * Runs an operation on a full volume again and again, with one free metadata block (and, with_data, one free data block)
 * more each time, until it succeeds.  Each failure must be NOSPC and leave the volume as it was.
 */
#define VOL_EVERY_NOSPC(v, with_data, expr)                                                                          \
	__extension__({                                                                                              \
		struct vol_sum before_, after_;                                                                      \
		unsigned fails_ = 0;                                                                                 \
		enum csv_err err_;                                                                                   \
		vol_hog_take(v);                                                                                     \
		for (;;) {                                                                                           \
			vol_check((v), &before_);                                                                    \
			err_ = VOL_RUN((v), (expr));                                                                 \
			if (err_ != CSV_NOSPC)                                                                       \
				break;                                                                               \
			vol_check((v), &after_);                                                                     \
			assert_true(before_.digest == after_.digest);                                                \
			fails_++;                                                                                    \
			assert_true(vol_hog_give_meta(v));                                                           \
			if (with_data)                                                                               \
				assert_true(vol_hog_give_data((v), 1));                                              \
		}                                                                                                    \
		assert_int_equal(err_, CSV_OK);                                                                      \
		vol_hog_give_all(v);                                                                                 \
		vol_check((v), NULL);                                                                                \
		fails_;                                                                                              \
	})

#endif
