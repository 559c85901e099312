/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Simulator of csvlockd's machine: nodes with a csvlockd and a csvfs each, on a simulated CPG and a simulated LUN.  One
 * seed, one run: everything random comes from it, and time is simulated.
 *
 *	cpg.c    total order per ring, delays, partition, merge, last messages seen by few (EVS, agreed delivery)
 *	disk.c   LUN: slots, reservation keys, home blocks, journals, commands that land late or not at all
 *	model.c  csvfs: mounts, locks, writes, recovery orders (model_recover.c)
 *	world.c  clock, queue of events, faults, run
 *	dlm.c    the kernel's DLM and dlm_controld, in every other run
 *	hang.c   a csvlockd that stands still while its node does not
 *	stray.c  operations that come too late
 *	check.c  what must hold
 */
#ifndef CSV_TESTS_SIM_H
#define CSV_TESTS_SIM_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "csv/proto.h"
#include "lockd/core/core.h"
#include "lockd/engine/dlm_wire.h"

#define SIM_NODES 64u
#define SIM_INODES 6u /* inode locks 1..6, each with a home block */
#define SIM_SLOTS 64u
#define SIM_MS 1000ull /* time is in us */
#define SIM_END (45000 * SIM_MS)
#define SIM_REST (3000 * SIM_MS) /* quiet for so long: nothing more will happen */
#define SIM_BOUND (10000 * SIM_MS) /* answered by then, once the faults have ended */
#define SIM_REATTACH_MS 1500u
#define SIM_BEAT_MS 400u
#define SIM_EVICT_MS 2000u
#define SIM_WATCHDOG_MS 1000u

struct sim;
typedef void (*sim_fn)(struct sim *s, uint64_t a, uint64_t b, void *data);

/* Something that will happen. data is freed after fn, or when it is dropped. */
struct sim_event {
	uint64_t time, seq;
	sim_fn fn;
	int node;      /* runs on this node: waits while it is frozen; -1: outside */
	uint64_t life; /* dropped if *life_of is another by then */
	const uint64_t *life_of;
	uint64_t a, b;
	void *data;
};

/* ---- CPG ---- */
enum sim_entry_kind { SIM_MSG, SIM_JOIN, SIM_LEAVE };
struct sim_entry {
	enum sim_entry_kind kind;
	uint32_t node; /* index of the sender */
	void *data;
	size_t len;
};
/* What corosync has of one configuration. */
struct sim_ring {
	struct csv_list link;
	uint64_t members; /* bit mask of nodes */
	bool stalled;	  /* connectivity has changed: no new message gets into the order */
	struct sim_entry *log;
	size_t n, cap;
	unsigned users; /* nodes that are in it */
};

/* ---- LUN ---- */
struct sim_home {
	uint64_t version, value;
	unsigned writing; /* commands between their first and last sector: a read is torn */
	uint64_t writer;  /* key of the last command that began */
};
struct sim_record {
	uint32_t inode, incarnation;
	uint64_t version, value;
};
struct sim_dslot {
	enum { SIM_CLEAN, SIM_LIVE, SIM_FENCED } state;
	bool left; /* CLEAN: by its own mount, not by who recovered it */
	uint32_t incarnation, node;
	uint64_t key;
	struct sim_record *journal;
	size_t n, cap;
};
/* What the last life of a slot held when it ended, until somebody has replayed its journal. */
struct sim_ghost {
	uint32_t incarnation; /* 0: it ended clean, or was replayed */
	enum csv_mode held[SIM_INODES + 1];
};
struct sim_disk {
	struct sim_dslot slot[SIM_SLOTS];
	struct sim_home home[SIM_INODES + 1];
	uint64_t keys[1024];
	unsigned nkeys;
	struct sim_ghost ghost[SIM_SLOTS];
	uint64_t acked[SIM_INODES + 1]; /* highest version whose write was acknowledged to somebody */
	uint64_t acked_value[SIM_INODES + 1];
	uint64_t refused;		/* commands under a key that is gone */
};

/* ---- csvfs ---- */
enum sim_fs_state {
	FS_DEAD,
	FS_WAIT_MOUNT, /* LOCK mount asked */
	FS_WAIT_SLOT,
	FS_WRITE_SLOT,
	FS_WAIT_ATTACH,
	FS_WAIT_RECOVERY, /* slots that were not clean */
	FS_RUN,
	FS_CUT, /* csvlockd has gone: no new I/O */
	FS_WAIT_REATTACH,
	FS_FLUSH, /* unmounting */
	FS_CLEAN_SLOT,
	FS_WAIT_DETACH,
};

struct sim_lock {
	enum csv_mode held, want;
	uint64_t seq, since; /* of the request */
	bool noqueue;
	enum csv_mode bast; /* NL: none */
	bool releasing;
	bool writing; /* journal or home write in flight */
	bool dirty;   /* home is older than what the journal has */
	uint64_t version, value;
};

struct sim_job { /* an order of csvlockd */
	enum csv_order_kind kind;
	uint64_t conn; /* for which connection */
	uint64_t seq;
	uint32_t incarnation;
	uint64_t key;
	unsigned left; /* replay writes in flight */
	bool marking;
	enum csv_err err;
	uint64_t entry; /* next journal record */
	uint64_t asked; /* number of the IN_USE that waits for its answer; 0: none */
};

struct sim_range {
	bool held, asked, cancelled;
	uint64_t seq, since;
	bool write;    /* held: so */
	uint32_t wait; /* asked: enum csv_brl_waiting */
};

struct sim_fs {
	enum sim_fs_state state;
	uint64_t life; /* grows with each start and end */
	uint64_t conn; /* 0: not connected */
	uint64_t seq;
	uint32_t slot, incarnation;
	uint64_t key;
	uint64_t state_since;
	unsigned inflight; /* commands not answered yet */
	uint64_t tried;	   /* slots asked for and denied */
	struct sim_lock lock[SIM_INODES + 1];
	struct sim_lock mount, slotlock;
	struct sim_job job[SIM_SLOTS];
	struct csv_msg_view view;
	struct sim_range range;
	uint64_t to_machine_last, to_fs_last;
	bool umount_wanted;
	bool takeover; /* no slot is clean and nobody lives: recovers one itself */
};

/* An event of csvlockd, kept while it hangs. */
struct sim_hung {
	struct csv_event ev; /* data and msg are own copies */
	uint64_t daemon_life;
};

struct sim_node {
	bool up; /* corosync runs */
	bool frozen;
	uint64_t life; /* of corosync */
	unsigned side; /* nodes on the same side hear each other */
	struct sim_ring *ring;
	size_t cursor;	      /* entries delivered */
	bool pump, sequencer; /* their events are scheduled */
	uint64_t group;	      /* bit mask: group as delivered here */
	struct sim_entry *queue; /* on its way into the order; a ring of qcap */
	size_t qhead, qlen, qcap;

	bool daemon, joined; /* csvlockd runs; has delivered its own join */
	uint64_t daemon_life;
	struct csv_machine *m;
	bool hung;	       /* csvlockd stands still; corosync, csvfs and the kernel do not */
	uint64_t hung_until;   /* the last time it stood still; the whole node's standstill counts too */
	bool evicted;	       /* has been told; joins again soon */
	struct csv_expelled memory[CSV_NODES_MAX]; /* what csvlockd left in its run directory, which ends with the boot */
	unsigned nmemory;
	struct sim_hung *late; /* what csvlockd will find when it goes on */
	size_t nlate, caplate;
	struct sim_fs fs;
	uint64_t vid;		    /* of the last view that it was in */
	uint32_t over[SIM_SLOTS];   /* lives of each slot that were over on the LUN when that formed: up to this one */
	uint64_t mounted;	    /* the last time its csvfs was seen at work */
	unsigned inflight;	    /* commands of all lives of csvfs on this node since the last boot */
	struct sim_event *deferred; /* while frozen */
	size_t ndeferred, capdeferred;
};

/* ---- the DLM ---- */
struct sim_dlm_node {
	struct sim *sim;
	unsigned index;
	struct csv_dlm_table *table; /* csvlockd's; NULL: it uses no DLM yet */
	bool joined;		     /* in the lockspace, with this life of the node */
	uint64_t life;
	bool stale; /* the others have dropped it; it knows when dlm_controld ends it */
	uint64_t agent_next; /* when the agent is called again */
	uint64_t to_last, from_last;
	struct csv_dlm_res *results; /* arrived, csvlockd hangs */
	size_t nresults, capresults;
};
struct sim_dlm {
	bool used;
	uint8_t uuid[16];
	struct csv_list locks, arrived;
	unsigned gone; /* bit mask: left the lockspace without leave; nothing is granted */
	struct sim_dlm_node node[SIM_NODES];
};

struct sim_point {
	uint64_t chain, digest;
};

struct sim {
	uint64_t rng, seed, now, next_seq, next_key, next_conn, boots, values;
	unsigned nnodes, nslots;
	uint64_t faults_end; /* no fault comes later */
	unsigned pace;	     /* a csvfs does something so many times less often */
	bool two_node;
	bool calm; /* no more faults */
	int lost;  /* the node whose csvlockd never goes on; -1: none */
	bool hangs; /* a run with little else than csvlockds that hang */
	struct sim_node node[SIM_NODES];
	struct sim_event *heap;
	size_t nheap, capheap;
	struct csv_list rings;
	uint64_t slow_until; /* until then only the node `quick` is delivered anything */
	unsigned quick;
	struct sim_disk disk;
	struct sim_dlm dlm;
	struct csv_actions actions;
	struct sim_point *points;
	uint32_t stray_sender; /* of the last operation that was sent too late */
	uint64_t stray_seq;    /* 0: none */
	uint64_t stray_sum;
	uint64_t steps, faults, grants, recoveries, evictions;
	uint64_t views, joins; /* views formed; members of them, in all */
	uint64_t form_msgs, form_bytes; /* START, HELLO and SNAPSHOT sent */
	uint64_t rest_since; /* all is well since then; 0: it is not */
	bool over;
	FILE *trace;
	uint64_t *tally; /* cover_machine.h; NULL: nobody counts */
	jmp_buf fail;
	char why[400];
};

/* ---- hang.c: a csvlockd that stands still alone ---- */
void sim_hang(struct sim *s, unsigned n);
void sim_hang_for_good(struct sim *s, unsigned n);
bool sim_hang_keeps(struct sim *s, unsigned n, const struct csv_event *ev); /* it hangs: the event waits */
void sim_hang_end(struct sim_node *nd); /* its process has ended, and with it what it had not seen */

/* ---- stray.c ---- */
void sim_stray(struct sim *s, unsigned n);
uint64_t sim_stray_before(struct sim *s, unsigned n, const struct csv_event *ev);
void sim_stray_after(struct sim *s, unsigned n, uint64_t before);

/* ---- world.c ---- */
uint64_t sim_rand(struct sim *s, uint64_t below);
bool sim_chance(struct sim *s, unsigned percent);
void sim_trace(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_fail(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3), noreturn));
void sim_at(struct sim *s, uint64_t delay, int node, const uint64_t *life, sim_fn fn, uint64_t a, uint64_t b,
	    void *data);
void sim_daemon_start(struct sim *s, unsigned n);
void sim_daemon_stop(struct sim *s, unsigned n);
void sim_daemon_kill(struct sim *s, unsigned n); /* and started again, some time later */
enum sim_moment { SIM_ATTACH, SIM_REPLAY };
void sim_spite(struct sim *s, unsigned n, enum sim_moment at); /* a fault at the worst moment, sometimes */
void sim_carry_out(struct sim *s, unsigned n); /* all in s->actions */
void sim_step(struct sim *s, unsigned n, const struct csv_event *ev);
struct sim_count;
/*
 * Runs one seed. NULL: nothing wrong; else why, to be freed. trace: where the trace goes, or NULL. tally: counters of
 * cover_machine.h, or NULL.
 */
char *sim_run(uint64_t seed, FILE *trace, uint64_t *tally, struct sim_count *count);
/* The same with 64 nodes, and less time for faults. */
char *sim_run_many(uint64_t seed, FILE *trace, uint64_t *tally, struct sim_count *count);

void sim_carry_out(struct sim *s, unsigned n); /* s->actions */
void sim_crash_later(struct sim *s, unsigned n, uint64_t us); /* unless it does so before */

/* ---- dlm.c ---- */
void sim_dlm_init(struct sim *s, const uint8_t *uuid);
void sim_dlm_free(struct sim *s);
void sim_dlm_order(struct sim *s, unsigned n, const struct csv_dlm_order *o);
void sim_dlm_say(struct sim *s, unsigned n, const struct csv_dlm_saying *what);
void sim_dlm_daemon_ended(struct sim *s, unsigned n);
void sim_dlm_crashed(struct sim *s, unsigned n);
void sim_dlm_trace(struct sim *s);
void sim_dlm_go_on(struct sim *s, unsigned n); /* csvlockd hangs no more */

/* ---- cpg.c ---- */
void sim_cpg_send(struct sim *s, unsigned n, enum sim_entry_kind kind, const void *data, size_t len);
void sim_cpg_pump(struct sim *s, unsigned n);
void sim_cpg_stall(struct sim *s);	       /* connectivity has changed; rings follow after a while */
void sim_cpg_alone(struct sim *s, unsigned n); /* starts, or wakes: a ring of its own */
void sim_cpg_down(struct sim *s, unsigned n);
void sim_cpg_free(struct sim *s);

/* ---- disk.c ---- */
bool sim_key_registered(const struct sim *s, uint64_t key);
uint32_t sim_slot_over(const struct sim *s, uint32_t slot); /* the last of its lives that cannot write any more */
void sim_key_add(struct sim *s, uint64_t key);
void sim_key_del(struct sim *s, uint64_t key);
enum sim_write { SIM_W_JOURNAL, SIM_W_HOME, SIM_W_SLOT };
struct sim_command {
	enum sim_write what;
	unsigned node;
	uint64_t fs_life, node_life;
	uint64_t key;
	uint32_t slot; /* JOURNAL, SLOT */
	struct sim_record rec;
	unsigned state;			      /* SLOT */
	uint32_t slot_node, only_incarnation; /* SLOT: written only over this one (0: any) */
	uint64_t slot_key;
	void (*done)(struct sim *s, unsigned node, const struct sim_command *c, bool ok);
	uint64_t arg;
	bool replay;
};
void sim_submit(struct sim *s, const struct sim_command *c);

/* ---- model.c ---- */
extern const uint8_t sim_volume[16];
void sim_fs_start(struct sim *s, unsigned n);
void sim_fs_ticks(struct sim *s, unsigned n);		     /* once a boot */
void sim_fs_die(struct sim *s, unsigned n, const char *why); /* crash or withdrawal */
void sim_fs_cut(struct sim *s, unsigned n);		     /* its csvlockd has gone */
void sim_fs_closed(struct sim *s, unsigned n, uint64_t conn);
void sim_fs_record(struct sim *s, unsigned n, uint64_t conn, const struct csv_msg *msg);
void sim_fs_tell(struct sim *s, unsigned n, struct csv_msg *msg);
struct sim_command sim_command(struct sim *s, unsigned n, enum sim_write what);
void sim_fs_poke(struct sim *s, unsigned but); /* all others write home what they can, now */
/* model_recover.c */
void sim_fs_order(struct sim *s, unsigned n, const struct csv_msg *msg);
bool sim_fs_in_use(struct sim *s, unsigned n, const struct csv_msg *msg);
void sim_fs_orders_cut(struct sim *s, unsigned n);
bool sim_fs_busy(const struct sim_fs *fs);

/* ---- check.c ---- */
void sim_check_grant(struct sim *s, unsigned n, uint32_t inode, enum csv_mode mode);
/* What csvlockd tells its csvfs; its own operations that were on their way when it decided that. */
void sim_check_told(struct sim *s, unsigned n, const struct csv_msg *msg, size_t own);
void sim_check_range(struct sim *s, unsigned n);
void sim_check_view(struct sim *s, unsigned n);   /* it has just formed one, its vid */
void sim_check_ends(struct sim *s, unsigned n);   /* its csvfs is about to be no more */
void sim_check_bounds(struct sim *s, unsigned n); /* once the faults have ended nobody waits for long */
void sim_check_point(struct sim *s, unsigned n);
void sim_check_evict(struct sim *s, unsigned n);
void sim_check_evicted(struct sim *s, unsigned n);
bool sim_check_rest(const struct sim *s);     /* all is well */
bool sim_check_answered(const struct sim *s); /* what was asked before rest_since */
void sim_check_end(struct sim *s);
void sim_trace_all(struct sim *s); /* each member's state, the slots on the LUN */

#endif
