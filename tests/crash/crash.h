/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Recorded-write crash tests.
 *
 * A scenario runs operations on a small volume over the recording device.  Each
 * operation has a number; marks in the record say when it began and when it was
 * acknowledged as durable.  Afterwards power is cut at every flush (and elsewhere),
 * with several seeds of what the disk's cache kept, lost or tore, and of each image
 * it must be true that
 *
 *   - its journals replay, also when the replay itself is cut and run again;
 *   - csv_check_run() finds nothing;
 *   - its namespace is the one after operation k, for some k from the last one
 *     acknowledged to the last one begun: operations are whole, and none acknowledged
 *     is lost;
 *   - each sector of each file holds what was acknowledged or was written since.
 *
 * The state after operation k is what the mount itself showed then (states.c), so
 * these tests judge durability; whether operations do what they should is for
 * the unit tests.
 */
#ifndef CSV_TESTS_CRASH_H
#define CSV_TESTS_CRASH_H

#include "fs/data/io.h"
#include "fs/meta/lease.h"
#include "fs/meta/namei.h"
#include "lib/record.h"

#define CRASH_SECTOR 512u
#define CRASH_NODES 2u

/* Which file, and how long it is. */
struct crash_file {
	struct csv_iref ref;
	uint64_t size;
};

/* What a walk from the root sees, but for sizes of regular files: those may change in steps. */
struct crash_state {
	uint64_t names;		 /* digest of paths, types, modes, links, targets, leases */
	struct crash_file *file; /* regular files */
	unsigned nfiles;
	bool steps; /* the operation after this one may be cut between its transactions */
	char what[80]; /* the operation that made it */
};

/* Sectors of a file change: to the pattern of operation `op`, or to zeros. */
struct crash_event {
	struct csv_iref ref;
	uint64_t first, n; /* sectors */
	uint32_t op;
	bool zero;
	bool maybe; /* the operation failed: some of it may be there, for ever */
	bool any; /* whatever was written, it is not looked at */
	bool txn; /* visible with the operation's transaction, not before and not without */
};

enum crash_mark { CRASH_BEGIN, CRASH_META, CRASH_DATA };

struct crash_shape {
	uint64_t blocks, ag_blocks;
	uint32_t journal_blocks;
	uint32_t sector; /* 512 or 4096 */
	bool no_fua;	 /* the device needs a flush for each commit */
	bool slow; /* writes take some 100 us, so that operations go on beside commits and checkpoints */
};

/* One mount. */
struct crash_node {
	bool mounted;
	struct csv_fs fs;
	struct csv_ctx ctx;
	struct csv_data *data;
	uint32_t slot, incarnation;
};

struct crash {
	struct csv_env env; /* the system's; first, so that it leads back here */
	_Atomic bool drag;  /* whoever looks at the wall clock, as most transactions do, is kept for a moment */
	const char *name;
	uint64_t seed, rng;
	struct crash_shape shape;
	struct csv_bdev *dev; /* the recorder */
	struct csv_super sb;
	struct csv_workq *workq;
	struct crash_node node[CRASH_NODES];
	struct crash_node *me; /* who runs the operations */

	uint32_t op; /* number of the last operation; state[op] is after it */
	char what[80];
	struct crash_state *state;
	uint32_t states_room;
	struct crash_event *event;
	unsigned nevents, events_room;
	struct crash_synced { /* by sync number: the number in its mark */
		struct csv_iref ref;
		uint32_t op;
	} * synced;
	unsigned nsynced, synced_room;

	/* Figures, and the first thing that went wrong. */
	unsigned images, cuts, remounts, torn_replays;
	uint64_t ns;
	char failure[800];
};

/* ---- crash.c: a run ------------------------------------------------------------ */
struct crash_scenario {
	const char *name;
	void (*run)(struct crash *c);
	struct crash_shape shape; /* zero fields: defaults */
};
/*
 * Runs a scenario and its crashes: `images` of them (0: CRASH_N or the default). False: c->failure says what, and is
 * printed with the seed.  c is to be freed with crash_free().
 */
bool crash_run(struct crash *c, const struct crash_scenario *s, uint64_t seed, unsigned images);
void crash_free(struct crash *c);
/* Runs it with 512 and 4096-byte sectors, with and without FUA, seed from SEED or the clock; fails the cmocka test. */
void crash_test(const struct crash_scenario *s);
#define CRASH_TEST(scenario, ...)                                                                                    \
	static void test_##scenario(void **state)                                                                    \
	{                                                                                                            \
		static const struct crash_scenario s = { #scenario, crash_run_##scenario, { __VA_ARGS__ } };         \
                                                                                                                     \
		crash_test(&s);                                                                                      \
	}
/* Its entry in the table of tests: the names that docs and other tests use begin with "crash_". */
#define CRASH_UNIT(scenario) { "crash_" #scenario, test_##scenario, NULL, NULL, NULL }
uint64_t crash_seed(void);
unsigned crash_budget(void);

/* The first failure counts. Returns false. */
bool crash_failed(struct crash *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline bool crash_good(const struct crash *c)
{
	return !c->failure[0];
}
static inline uint32_t crash_pick(struct crash *c, uint32_t n)
{
	return (uint32_t)(csv_rng_next(&c->rng) % n);
}

/* ---- slow.c ---- */
void crash_env_init(struct crash *c);
/* Owns the device below. */
struct csv_bdev *crash_slow(struct csv_bdev *below);

/* ---- mount.c -------------------------------------------------------------------- */
/* As a mount does: replays the slot if it is not clean, makes it live with the next incarnation, opens. */
bool crash_mount(struct crash *c, struct csv_bdev *dev, uint32_t slot, struct crash_node *n);
/* Writes everything home and makes the slot clean. */
bool crash_umount(struct crash *c, struct crash_node *n);
/* Drops a mount as if its process had been killed. */
void crash_kill(struct crash_node *n);
/* Replays the journals of all slots that are not clean, from the last slot to the first, and makes them clean. */
bool crash_recover(struct crash *c, struct csv_bdev *dev);
/* Replays them and leaves the slots as they are. */
bool crash_replay(struct crash *c, struct csv_bdev *dev);
/* Whether an operation is to be run again with more groups, or after a commit made freed blocks usable. */
bool crash_again(struct crash_node *n, enum csv_err err, bool *committed);
#define CRASH_RUN(n, expr)                                                                                             \
	__extension__({                                                                                                \
		enum csv_err crash_err_;                                                                               \
		bool crash_committed_ = false;                                                                         \
		do                                                                                                     \
			crash_err_ = (expr);                                                                           \
		while (crash_again((n), crash_err_, &crash_committed_));                                               \
		crash_err_;                                                                                            \
	})

/* ---- ops.c: numbered operations of c->me; errors that a random choice may meet are returned ----------------- */
struct csv_iref crash_root(const struct crash *c);
/* Around operations that have no function here. */
void crash_begin_op(struct crash *c, bool steps, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void crash_end_op(struct crash *c);
enum csv_err crash_create(struct crash *c, struct csv_iref dir, const char *name, uint32_t mode, struct csv_iref *ref);
enum csv_err crash_symlink(struct crash *c, struct csv_iref dir, const char *name, const char *target);
enum csv_err crash_link(struct crash *c, struct csv_iref ref, struct csv_iref dir, const char *name);
/* Unlinks or removes what the name leads to; a file without names is destroyed in a further operation. */
enum csv_err crash_remove(struct crash *c, struct csv_iref dir, const char *name);
enum csv_err crash_rename(struct crash *c, struct csv_iref from, const char *a, struct csv_iref to, const char *b,
			  unsigned flags);
enum csv_err crash_lease(struct crash *c, struct csv_iref ref, enum csv_lease_mode mode, const char *vm);
/* Bytes; multiples of 512. Writes the operation's pattern, in `parts` requests that are under way at once. */
enum csv_err crash_write(struct crash *c, struct csv_iref ref, uint64_t off, uint64_t len, unsigned parts);
/* The same with content of the caller's, which is not looked at afterwards. */
enum csv_err crash_write_raw(struct crash *c, struct csv_iref ref, uint64_t off, uint64_t len, void *buf);
/* Takes an inode without names apart. */
void crash_destroy(struct crash *c, struct csv_iref ref);
/*
 * The node gives up all locks but those of its slot, as one that others ask for everything: what it changed is durable
 * and home, its cache is dropped, and it goes on being mounted and idle.
 */
void crash_give_all(struct crash *c, struct crash_node *n);
enum csv_err crash_truncate(struct crash *c, struct csv_iref ref, uint64_t size);
enum csv_err crash_fallocate(struct crash *c, struct csv_iref ref, int mode, uint64_t off, uint64_t len);
/* Makes durable: all metadata; one file with its data. Acknowledged when they return. */
void crash_commit(struct crash *c);
/* Begins a commit and goes on; acknowledged when it is done. */
void crash_commit_later(struct crash *c);
void crash_sync(struct crash *c, struct csv_iref ref);
/* What goes on beside: no acknowledgement. */
void crash_checkpoint(struct crash *c);
bool crash_expect(struct crash *c, enum csv_err err, const char *what);

/* ---- states.c -------------------------------------------------------------------- */
bool crash_walk(struct crash *c, struct csv_fs *fs, struct crash_state *s);
void crash_state_free(struct crash_state *s);
const struct crash_file *crash_state_find(const struct crash_state *s, struct csv_iref ref);
void crash_add_event(struct crash *c, const struct crash_event *e);
void crash_mark(struct crash *c, enum crash_mark kind, uint32_t n);

/* ---- data.c ------------------------------------------------------------------------ */
void crash_pattern(struct csv_iref ref, uint64_t sector, uint32_t op, void *out);
/* What was durable and what was begun at a cut. */
struct crash_bounds {
	uint32_t meta;	/* all operations up to this one */
	uint32_t begun; /* none beyond this one */
	size_t syncs;	/* syncs that had returned: their numbers are below this */
};
/* Every file of *now holds what it may hold, if the namespace is that of operation k. */
bool crash_check_data(struct crash *c, struct csv_fs *fs, const struct crash_state *now, uint32_t k,
		      const struct crash_bounds *b);

/* ---- images.c ---------------------------------------------------------------------- */
/* Makes and judges the image of one cut. */
bool crash_image(struct crash *c, size_t cut, uint64_t seed, unsigned number);
bool crash_check_clean(struct crash *c, struct csv_bdev *dev, const char *when);

#endif
