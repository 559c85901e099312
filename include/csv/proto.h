/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Records between csvlockd and its clients (csvfs, csvadm, hooks) over one
 * SOCK_SEQPACKET Unix socket, RUN_DIR/lockd.sock.  One record a packet, all of
 * the same size, host byte order (both ends are on one host).  Strings are
 * NUL-terminated within their field.  csvlockd checks each field and closes the
 * connection on a record that is not as here.  docs/PROTOCOL.md tells the order.
 *
 * Direction: F csvfs, A csvadm and hooks, L csvlockd.  "-> L" goes to csvlockd.
 */
#ifndef CSV_PROTO_H
#define CSV_PROTO_H

#include <assert.h>
#include <stdint.h>

#include "csv/err.h"
#include "csv/limits.h"
#include "csv/lock.h"

#define CSV_PROTO_VERSION 3u
#define CSV_PROTO_PATH_MAX 512u
#define CSV_PROTO_MSG_SIZE 1024u

/*
 * FS: csvfs, as a member of the volume.  OUT: csvfs whose volume is out on this node (fenced, or withdrawn by itself):
 * only answers STATUS and takes SHUTDOWN; for the cluster it is not there.
 */
enum csv_role { CSV_ROLE_FS = 1, CSV_ROLE_ADMIN = 2, CSV_ROLE_OUT = 3 };

/* X(number, name, direction) */
#define CSV_MSG_LIST(X) \
	X(1, HELLO, "F,A -> L: who I am") \
	X(2, WELCOME, "L -> F,A: node, cluster, quorum") \
	X(3, ERROR, "L -> F,A: request seq failed with err") \
	X(4, DONE, "L -> F,A: request seq is done / F -> L: so is yours, or err") \
	/* locks */ \
	X(10, LOCK, "F -> L: want lock.res in lock.mode") \
	X(11, GRANT, "L -> F: lock.res is yours in lock.mode") \
	X(12, DENY, "L -> F: NOQUEUE request not granted; lock.holder_* say who has it") \
	X(13, BAST, "L -> F: somebody wants lock.res in lock.mode: give way") \
	X(14, UNLOCK, "F -> L: I now have only lock.mode (NL: nothing) on lock.res") \
	/* mount life */ \
	X(20, ATTACH, "F -> L: my slot is live on disk and registered; slot.*") \
	X(21, ATTACHED, "L -> F: ordered; view.live holds at that point") \
	X(22, DIRTY, "F -> L: on disk slot.* is not clean and not in view.live: have it recovered") \
	X(23, DETACH, "F -> L: clean unmount: slot is clean on disk, all locks are given up") \
	X(24, VIEW, "L -> F: view.*: who lives; sent at each change") \
	X(25, REATTACH, "F -> L: csvlockd came back: my slot.*; followed by LOCK records with CSV_LOCKF_DECLARE") \
	X(26, DECLARED, "F -> L: that was all") \
	X(27, OVER, "F -> L: the life slot.* is in view.live, but over on disk, and its key is gone: put it out") \
	/* recovery: csvlockd decides, a csvfs of the volume acts */ \
	X(30, FENCE, "L -> F: mark slot.* fenced, preempt its key, verify, mark again (F1, F5)") \
	X(31, FENCE_DONE, "F -> L: result in err; fence.*") \
	X(32, REPLAY, "L -> F: replay the journal of slot.*, mark it clean") \
	X(33, REPLAY_DONE, "F -> L: result in err; replay.*") \
	X(34, IN_USE, "F -> L: J6: does any member hold lock.res in use? / L -> F: do you?") \
	X(35, IN_USE_REPLY, "the answer: lock.mode NL means no; ERROR instead: AGAIN: ask again, else give the replay up") \
	X(36, FENCED, "L -> F: your slot is out of the cluster: stop all I/O, check your slot") \
	/* byte-range locks */ \
	X(40, BRL_SET, "F -> L: set or clear brl.*") \
	X(41, BRL_TEST, "F -> L: who would conflict with brl.*") \
	X(42, BRL_RESULT, "L -> F: err OK, LOCKED with the conflict in brl.*, DEADLK, or INTR (cancelled)") \
	X(43, BRL_DROP, "F -> L: drop all locks of brl.handle; no answer") \
	X(44, BRL_CANCEL, "F -> L: request seq, if it still waits: its answer is INTR") \
	X(45, BRL_LIST, "A -> L: volume.name: its byte ranges") \
	X(46, BRL_ITEM, "L -> A: brl_item.*") \
	/* registry of open handles (this node's) */ \
	X(50, HANDLE, "F -> L: handle.* opened or changed / L -> A: one of the list") \
	X(51, HANDLE_GONE, "F -> L: handle.id closed") \
	X(52, VM_SET, "A -> L: process vm.pid and its children are VM vm.name / L -> F: the same") \
	/* state and lists for people */ \
	X(60, STATUS, "A -> L, L -> F: tell") \
	X(61, STATUS_NODE, "L -> A: node.*") \
	X(62, STATUS_VOLUME, "F -> L -> A: volume.*") \
	X(63, NODE_LIST, "A -> L") \
	X(64, LOCK_LIST, "A -> L: volume.name: its locks; what concerns one resource comes together") \
	X(65, LOCK_ITEM, "L -> A: lock.*") \
	X(66, HANDLE_LIST, "A -> L: handle.vm or empty") \
	X(67, SHUTDOWN, "A -> L -> F: unmount volume.name") \
	X(68, NODE_FENCE, "A -> L: node.nodeid: its slots go out; DONE when none is left unfenced or unreplayed") \
	/* handoff: a bundle is told by one HO_FILE a file, then the record that counts them */ \
	X(80, HO_REQUEST, "A -> L: ho.verb (prepare, commit, ...); answered by HO_ITEM when it is decided") \
	X(81, HO_FILE, "A -> L, L -> F, F -> L, L -> A: ho_file.* of the record that follows (L -> A: that went before)") \
	X(83, HO_ORDER, "L -> F: do ho.verb (enum csv_ho_verb); answered if it is of that kind") \
	X(84, HO_ANSWER, "F -> L: ho.event (enum csv_ho_event_type), err, ho.why") \
	X(85, HO_LIST, "A -> L: ho.id, or zero: all") \
	X(86, HO_ITEM, "L -> A: ho.* as the record stands")

enum csv_msg_type {
#define CSV_MSG_ENUM(n, name, text) CSV_MSG_##name = n,
	CSV_MSG_LIST(CSV_MSG_ENUM)
#undef CSV_MSG_ENUM
};
const char *csv_msg_name(unsigned type); /* "LOCK", or "?" */

#define CSV_LOCKF_NOQUEUE 1u    /* deny instead of waiting */
#define CSV_LOCKF_DECLARE 2u    /* REATTACH: I have this */

struct csv_msg_hello {
	uint32_t version;           /* CSV_PROTO_VERSION */
	uint32_t role;              /* enum csv_role */
	uint8_t uuid[16];           /* FS, OUT: volume */
	char volume[64];            /* FS, OUT: its name */
	char cluster[64];           /* FS: cluster name in the superblock; must be csvlockd's */
	char mount[256];            /* FS, OUT: mount point */
	char lun[256];              /* FS, OUT: as given */
	uint32_t engine;            /* FS: enum csv_lock_engine; AUTO: csvlockd chooses, VIEW tells; of a living mount: its own */
	uint32_t again;             /* FS: 1: it was attached before, and REATTACH follows */
	uint32_t dlm;               /* csvlockd's own note: 1: this node's DLM is fit */
	uint32_t reserved;
};
struct csv_msg_welcome {
	uint32_t version;
	uint32_t nodeid;
	uint32_t quorate;
	uint32_t detect_ms;         /* how long corosync takes to notice a death (timeouts.h) */
	char node[64];
	char cluster[64];
	char engine[16];            /* of the volumes in use here: "dlm" if one has it, else "cpg" */
};
struct csv_msg_lock {
	uint32_t res_type;          /* enum csv_res_type */
	uint32_t mode;              /* enum csv_mode */
	uint64_t res_id;
	uint32_t flags;             /* CSV_LOCKF_* */
	uint32_t holder_nodeid;     /* DENY, LOCK_ITEM */
	uint32_t holder_slot;
	uint32_t waiting;           /* LOCK_ITEM: 1: waits, 0: holds */
	char holder_node[64];
};
struct csv_msg_slot {
	uint32_t slot;
	uint32_t incarnation;
	uint64_t pr_key;
	uint32_t nodeid;
	uint32_t reserved;
	char node[64];
};
struct csv_msg_view {
	uint64_t live;              /* bit n: slot n is attached and alive in the ordered view */
	uint64_t out;               /* bit n: slot n is out and not yet recovered */
	uint32_t quorate;
	uint32_t frozen;            /* no new grants until `out` is empty (L1) */
	uint32_t incarnation[CSV_SLOTS_MAX]; /* of the live and out slots */
	char waits_for[104];        /* frozen: what must happen first, or what was tried and failed; for people */
	uint32_t engine;            /* enum csv_lock_engine of the volume */
	uint32_t reserved;
};
struct csv_msg_fence {
	uint32_t slot, incarnation;
	double mark_ms, preempt_ms, verify_ms;
	uint32_t aborted;           /* 1: PREEMPT AND ABORT; 0: PREEMPT and LUN reset */
	uint32_t reserved;
};
struct csv_msg_replay {
	uint32_t slot, incarnation;
	double replay_ms;
	uint64_t transactions, blocks;
};
enum csv_brl_waiting {
	CSV_BRL_NOWAIT,             /* LOCKED if somebody is in the way */
	CSV_BRL_WAIT,               /* answered when it is granted */
	CSV_BRL_WAIT_PROCESS,       /* the same; the owner is a process: DEADLK if it would wait for itself */
};
struct csv_msg_brl {
	uint64_t ino;
	uint32_t gen;
	uint32_t type;              /* F_RDLCK, F_WRLCK, F_UNLCK */
	uint64_t handle;            /* of the SETLK; locks are dropped by it */
	uint64_t owner;             /* FUSE's lock owner; same owner never conflicts */
	uint64_t start, end;        /* bytes, end included; UINT64_MAX: to the end */
	uint32_t pid;
	uint32_t nodeid;            /* BRL_RESULT: whose */
	uint32_t flock;             /* 1: flock(2) space, apart from fcntl's */
	uint32_t declare;           /* BRL_SET after REATTACH: 1: I have this; it is not answered */
	uint32_t wait;              /* BRL_SET: enum csv_brl_waiting */
	uint32_t reserved;
};
enum csv_brl_state { CSV_BRL_HELD, CSV_BRL_BEHIND, CSV_BRL_FROZEN }; /* has it, waits for a lock, for the thaw */
struct csv_msg_brl_item {
	struct csv_msg_brl brl;     /* owner: its node's number */
	uint32_t state;             /* enum csv_brl_state */
	uint32_t behind_pid;        /* one whose lock is in its way */
	char node[64];
	char behind_node[64];       /* empty: nobody's is, or it is not known yet */
};
enum csv_handle_state { CSV_HANDLE_OPEN, CSV_HANDLE_ARMED, CSV_HANDLE_LEASED, CSV_HANDLE_PARKED, CSV_HANDLE_REVOKED };
struct csv_msg_handle {
	uint64_t id;                /* registry number, unique on this node and mount */
	uint64_t ino;
	uint32_t gen;
	uint32_t pid;
	uint32_t writable;
	uint32_t state;             /* enum csv_handle_state */
	uint64_t epoch;
	char vm[64];
	char node[64];              /* to A */
	char volume[64];            /* to A */
	char path[CSV_PROTO_PATH_MAX]; /* inside the volume, as far as known */
};
struct csv_msg_vm {
	uint32_t pid;
	uint32_t reserved;
	char name[64];
};
/* One file of a bundle, or (index CSV_HO_DEFINITION) the VM's definition. */
#define CSV_HO_DEFINITION 0xffffffffu
struct csv_msg_ho_file {
	uint32_t index;
	uint32_t gen;
	uint64_t ino;
	uint64_t epoch;
	uint64_t size;              /* bytes */
	uint8_t sha256[32];         /* definition */
	char path[CSV_PROTO_PATH_MAX]; /* inside the volume; A -> L prepare: on this node */
};
struct csv_msg_ho {
	uint8_t id[16];
	uint8_t uuid[16];           /* volume */
	uint32_t verb;              /* HO_REQUEST: enum csv_ho_request; HO_ORDER: enum csv_ho_verb */
	uint32_t event;             /* HO_ANSWER */
	uint32_t state, outcome;    /* HO_ITEM, HO_ORDER: enum csv_ho_state, csv_ho_outcome */
	uint32_t nfiles;
	uint32_t src_nodeid, src_slot, src_incarnation;
	uint32_t dst_nodeid, dst_slot, dst_incarnation;
	uint32_t pid;               /* prepare: whose handles, if not by vm or files */
	uint32_t launch;            /* prepare: the destination starts the incoming VM */
	uint32_t owner_nodeid;      /* HO_ITEM: who may write; 0: nobody, or not known yet */
	double drain_ms, journal_ms, home_ms, messages_ms;
	char vm[64];
	char src_node[64], dst_node[64], owner_node[64];
	char uri[128];              /* prepare: where the destination shall listen; item: where it does */
	char why[200];
	double silence_ms, activate_ms, first_ms; /* HO_ANSWER; 0: not known */
	double blackout_ms;         /* HO_ITEM; 0: not known here, or not yet */
};
struct csv_msg_node {
	uint32_t nodeid;
	uint32_t member;            /* in csvlockd's group */
	uint32_t quorate;
	uint32_t self;
	int64_t since_sec;          /* Unix time since when it is so, as far as csvlockd has seen it; 0: unknown */
	uint32_t slot;              /* first volume's; CSV_SLOT_NONE */
	uint32_t reserved;
	char name[64];
	char state[32];             /* "member", "out", "recovering" */
};
struct csv_msg_volume {
	uint8_t uuid[16];
	char name[64];
	char mount[256];
	char lun[256];
	char state[32];             /* online, no quorum, recovering, paused, fenced, failed */
	char reason[128];
	int64_t since_sec;          /* Unix time */
	uint32_t slot, incarnation;
	uint64_t cluster_msgs_sent, lock_requests, reads, writes, blocks_written, flushes;
	uint64_t size, free;        /* bytes */
	int64_t recovery_sec;       /* last recovery that this csvfs did for another slot: when; 0: none */
	double recovery_fence_ms, recovery_replay_ms;
	uint32_t recovery_slot, recovery_incarnation; /* whose */
	char engine[8];             /* of its locks */
};

struct csv_msg {
	uint32_t type;              /* enum csv_msg_type */
	uint32_t err;               /* enum csv_err, in answers */
	uint64_t seq;               /* the sender's number; an answer bears the request's */
	uint32_t last;              /* lists: 1 in the last record, which has no item */
	uint32_t reserved;
	union {
		struct csv_msg_hello hello;
		struct csv_msg_welcome welcome;
		struct csv_msg_lock lock;
		struct csv_msg_slot slot;
		struct csv_msg_view view;
		struct csv_msg_fence fence;
		struct csv_msg_replay replay;
		struct csv_msg_brl brl;
		struct csv_msg_brl_item brl_item;
		struct csv_msg_handle handle;
		struct csv_msg_vm vm;
		struct csv_msg_node node;
		struct csv_msg_volume volume;
		struct csv_msg_ho ho;
		struct csv_msg_ho_file ho_file;
		char text[512];         /* ERROR: why; what to do */
		uint8_t raw[CSV_PROTO_MSG_SIZE - 24];
	};
};
static_assert(sizeof(struct csv_msg) == CSV_PROTO_MSG_SIZE, "records have one size");

#endif
