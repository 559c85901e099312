/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csvlockd's protocol as a pure state machine: csv_machine_step() is a function from
 * (state, event) to (state, actions), with no clock, socket, disk or thread inside.
 * The daemon feeds it corosync's events and its clients' records; the simulator
 * feeds it simulated ones.  All members that see the same configuration changes and
 * messages in the same order come to the same replicated state.
 *
 * Inside: view formation (view.c), eviction of members that hang (evict.c) and state transfer (transfer.c), mounts and
 * slots of a volume (mount.c), the lock engine (lockd/engine/cpg_space.c) or the way to another one (dlm.c), recovery
 * (recover.c, inuse.c, expel.c), byte-range locks (ranges.c); what local clients hold (client.c) and its declaration
 * (declare.c).  docs/PROTOCOL.md and docs/RECOVERY.md are these in prose.
 */
#ifndef CSV_LOCKD_MACHINE_H
#define CSV_LOCKD_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "csv/proto.h"
#include "lib/brl.h"

struct csv_machine;

struct csv_machine_node {
	uint32_t nodeid;
	uint32_t votes;
	char name[CSV_NODENAME_MAX + 1];
};
struct csv_machine_cfg {
	uint32_t nodeid; /* ours */
	char cluster[CSV_CLUSTER_MAX + 1];
	unsigned nnodes;
	struct csv_machine_node node[CSV_NODES_MAX]; /* all configured nodes */
	bool two_node;				     /* one of two is quorate (F5) */
	unsigned reattach_ms; /* how long a dead csvlockd of a living node is waited for (L3); 0: not at all */
	unsigned beat_ms;     /* between two signs of life of a member; 0: none, and nobody is evicted */
	unsigned evict_ms;    /* a member that has been silent for so long is evicted (L5) */
	uint8_t version_min, version_max; /* of messages; 0: what this build knows (msg.h). Others are for tests */
	uint64_t boot;	      /* random, another one at each csv_machine_new(): makes names of views unique */
};

/* A node that was to be fenced: the DLM may have given its locks away, so no mount of then comes back (expel.c). */
struct csv_expelled {
	uint32_t nodeid;
	bool over;   /* it has mounted anew since */
	uint64_t id; /* of that EXPEL */
};

enum csv_event_type {
	CSV_EV_CONF,	    /* configuration change of the group, in order with messages */
	CSV_EV_MSG,	    /* message from a member, in total order, own ones too */
	CSV_EV_CLIENT,	    /* record from a local client */
	CSV_EV_CLIENT_GONE, /* its connection closed */
	CSV_EV_TIMER,
	CSV_EV_DOWN, /* nodes have left corosync's ring: down */
	CSV_EV_DLM,  /* the DLM's engine has something to say about a lock of this node */
};
/* GRANT, DENY: of the request with this number. LOST: a lock that was claimed is not there. */
enum csv_dlm_said { CSV_DLM_SAID_GRANT, CSV_DLM_SAID_DENY, CSV_DLM_SAID_BAST, CSV_DLM_SAID_LOST };
struct csv_dlm_saying {
	enum csv_dlm_said what;
	uint8_t uuid[16];
	struct csv_res res;
	enum csv_mode mode; /* granted; BAST: wanted */
	uint64_t seq;
};
struct csv_event {
	enum csv_event_type type;
	/*
	 * CONF: members of the group now.  down: those that left because their node is gone (else only their csvlockd
	 * ended, and L3's re-attach time runs).  It need not be the same on all members: it only hastens.
	 * DOWN: down only, wherever in the order; of a node whose csvlockd had left the group before, no CONF tells.
	 */
	unsigned nmembers;
	uint32_t member[CSV_NODES_MAX];
	unsigned ndown;
	uint32_t down[CSV_NODES_MAX];
	/* MSG */
	uint32_t sender;
	const void *data;
	size_t len;
	/*
	 * CLIENT, CLIENT_GONE: the daemon's number of the connection, never used again; the machine ignores roles other
	 * than FS.  The first record is HELLO, which the daemon has answered with WELCOME.
	 */
	uint64_t client;
	const struct csv_msg *msg;
	/* TIMER */
	uint64_t timer;
	/* DLM */
	const struct csv_dlm_saying *dlm;
};

enum csv_action_type {
	CSV_ACT_SEND,	/* multicast data to the group, agreed order */
	CSV_ACT_CLIENT, /* record to a local client */
	CSV_ACT_CLOSE,	/* close a client's connection (protocol violation) */
	CSV_ACT_REJOIN, /* we were evicted: this machine does nothing more; close the csvfs, leave, join with a new one */
	CSV_ACT_DLM,	/* order to the DLM's engine: dlm */
	CSV_ACT_KILL,	/* end corosync on node `nodeid`, if it runs */
	CSV_ACT_TIMER,	/* ask for TIMER `timer` in ms; ms 0: cancel */
	CSV_ACT_LOG,	/* for people: level, text */
};
/* What the machine wants of the DLM, for this node. */
enum csv_dlm_verb {
	CSV_DLM_DO_OPEN,    /* the volume is used here: be in its lockspace */
	CSV_DLM_DO_LOCK,    /* res in mode, or (noqueue) not at all; answered by GRANT or DENY with seq */
	CSV_DLM_DO_UNLOCK,  /* res goes down to mode; NL: or its request is taken back */
	CSV_DLM_DO_CLAIM,   /* the csvfs has res in mode since before: an orphan, if it is not known */
	CSV_DLM_DO_CLAIMED, /* that was all: what is not claimed goes */
	CSV_DLM_DO_DROP,    /* what is not this client's goes, orphans too */
};
struct csv_dlm_order {
	enum csv_dlm_verb verb;
	uint8_t uuid[16];
	struct csv_res res;
	enum csv_mode mode;
	bool noqueue;
	uint64_t seq;
	uint64_t client; /* LOCK, CLAIM, DROP: whose; 0: nobody's */
};
struct csv_action {
	enum csv_action_type type;
	void *data; /* SEND: owned by the list */
	size_t len;
	uint64_t client;
	struct csv_msg msg;
	uint64_t timer;
	unsigned ms;
	struct csv_dlm_order dlm;
	uint32_t nodeid;
	int level; /* enum csv_log_level */
	char text[200];
};
struct csv_actions {
	struct csv_action *list;
	size_t n, cap;
};
void csv_actions_clear(struct csv_actions *a); /* frees what is in it; the array can be used again */
void csv_actions_free(struct csv_actions *a);

enum csv_err csv_machine_new(const struct csv_machine_cfg *cfg, struct csv_machine **m);
void csv_machine_free(struct csv_machine *m);
/* Appends to *out in the order in which the daemon must carry out. Bad messages and records change nothing. */
void csv_machine_step(struct csv_machine *m, const struct csv_event *ev, struct csv_actions *out);

/* Largest SEND the machine makes, bytes; larger state is sent in several. Below corosync's atomic message of about 1
 * MiB. */
#define CSV_MACHINE_SEND_MAX (256u << 10)

/* ---- looking in, for status, lists and the simulator's invariants ---- */
bool csv_machine_quorate(const struct csv_machine *m);
/* Version of messages in the view that is formed; 0: there is none. */
unsigned csv_machine_version(const struct csv_machine *m);
bool csv_machine_formed(const struct csv_machine *m); /* has state: view formation is through */
/* The configuration, less those that were evicted. */
unsigned csv_machine_members(const struct csv_machine *m, uint32_t *nodeids);
/* Nodes that have left corosync's ring, at most CSV_NODES_MAX; how many. */
unsigned csv_machine_down(const struct csv_machine *m, uint32_t *nodeids);
/* Digest of the replicated state: equal on all members at the same point of the order. */
uint64_t csv_machine_digest(const struct csv_machine *m);
/* Changes whenever csv_machine_nodes() or a view may show something new. */
uint64_t csv_machine_news(const struct csv_machine *m);
/* Calls fn for each node of the configuration. */
void csv_machine_nodes(const struct csv_machine *m, void (*fn)(void *arg, const struct csv_msg_node *n), void *arg);
/*
 * Lists that may be very long are read in pieces, between which the state may change: what is there all the time is told
 * once, what comes or goes perhaps.  *at says how far one is; all zeros: nothing was read.  A piece has `max` items, of
 * locks a few more: those of one resource are told together.  True: there is more.
 */
struct csv_look {
	unsigned part;	    /* locks: the group's, the DLM's of this node; ranges: held, waited for; then it is over */
	struct csv_res res; /* all below are told */
	bool begun;	    /* brl is told */
	struct csv_brl brl;
	uint64_t order; /* waiters up to this one are told */
};
/* Each holder and waiter of a volume's locks, by resource. */
bool csv_machine_locks(const struct csv_machine *m, const uint8_t *uuid, struct csv_look *at, unsigned max,
		       void (*fn)(void *arg, const struct csv_msg_lock *l), void *arg);
/* Each byte range of a volume, then each that is waited for, in order of arrival. */
bool csv_machine_ranges(const struct csv_machine *m, const uint8_t *uuid, struct csv_look *at, unsigned max,
			void (*fn)(void *arg, const struct csv_msg_brl_item *b), void *arg);
void csv_machine_view(const struct csv_machine *m, const uint8_t *uuid, struct csv_msg_view *view);
/* Whether this node may leave the DLM's lockspace of the volume: it has no mount there, nor anything to be recovered. */
bool csv_machine_dlm_unused(const struct csv_machine *m, const uint8_t *uuid);

/* No own operation is on its way. */
bool csv_machine_quiet(const struct csv_machine *m);

/* ---- orders of the daemon ---- */
/* Multicasts SYNC, behind which all has come that was ordered before. */
void csv_machine_sync(struct csv_machine *m, struct csv_actions *out);
/* Multicasts that a node's slots go out, on all volumes, whether it is a member or not. */
void csv_machine_expel(struct csv_machine *m, uint32_t nodeid, struct csv_actions *out);
/* Its slots went out and are all fenced and replayed, as far as a quorate group knows. */
bool csv_machine_expelled(const struct csv_machine *m, uint32_t nodeid);
/*
 * The nodes that this machine remembers as expelled, at most CSV_NODES_MAX; how many. The next machine of this node is
 * told of them before its first step: else all would have forgotten them if all csvlockds ended.
 */
unsigned csv_machine_memory(const struct csv_machine *m, struct csv_expelled *list);
void csv_machine_remember(struct csv_machine *m, const struct csv_expelled *list, unsigned n);

#endif
