/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A few machines on a perfect bus, driven step by step: what a test needs to see single steps of the protocol. */
#ifndef CSV_TESTS_MACHINE_RIG_H
#define CSV_TESTS_MACHINE_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "csv/proto.h"
#include "lockd/core/machine.h"

#define RIG_NODES 3u
#define RIG_GOT 256u
#define RIG_LATE 256u
#define RIG_SILENT 3u /* beats that make a member silent */

struct rig_packet {
	struct rig_packet *next;
	uint32_t sender;
	unsigned group; /* who was together when it got its place in the order */
	size_t len;
	uint8_t data[];
};

struct rig {
	unsigned nnodes;
	struct csv_machine *m[RIG_NODES];
	unsigned group[RIG_NODES]; /* whom each node hears; bit mask */
	struct rig_packet *head, **tail;
	/* records to the csvfs of each node, oldest first */
	struct csv_msg got[RIG_NODES][RIG_GOT];
	unsigned ngot[RIG_NODES];
	bool closed[RIG_NODES];
	uint64_t client[RIG_NODES], next_client;
	uint64_t seq;
	uint64_t timers[RIG_NODES][64];
	unsigned ntimers[RIG_NODES];
	unsigned errors; /* lines logged as errors */
	char error[RIG_NODES][200]; /* the last one of each node */
	unsigned warnings[RIG_NODES];
	char warning[RIG_NODES][200];
	uint8_t versions[RIG_NODES][2]; /* lowest and highest of a machine that begins again; 0: this build's */
	uint8_t op_version; /* of the last operation that was sent */
	bool beats, evicted[RIG_NODES], hung[RIG_NODES];
	struct rig_packet *late[RIG_NODES][RIG_LATE]; /* for a machine that hangs */
	unsigned nlate[RIG_NODES];
	enum csv_lock_engine engine; /* that HELLO asks for; AUTO: cpg */
	bool unfit[RIG_NODES];	     /* no DLM there, for an HELLO with AUTO */
	bool choose;		     /* HELLO leaves it to csvlockd */
	bool again;		     /* HELLO says that REATTACH follows */
	struct csv_dlm_order orders[RIG_NODES][RIG_GOT];
	unsigned norders[RIG_NODES];
	uint32_t killed; /* last node whose corosync was to end; 0: none */
};

extern const uint8_t rig_volume[16];

/* Node ids 1..nnodes, one vote each, all in one group, view formed. */
void rig_open(struct rig *r, unsigned nnodes);
/* Their timers are set from the start: rig_timers() is a beat. Of two nodes one is quorate (two_node). */
void rig_open_beating(struct rig *r, unsigned nnodes);
void rig_close(struct rig *r);
/* Delivers messages until there are none. */
void rig_settle(struct rig *r);
/* Nodes (bit mask, bit 0: node 1) become a group of their own; `down`: the others' nodes are gone. Does not settle. */
void rig_group(struct rig *r, unsigned mask, bool down);
/* Nodes (bit mask) have left the ring, as those of another mask are told; their csvlockd left the group before. Settles. */
void rig_down(struct rig *r, unsigned nodes, unsigned told);
/* A machine begins again, without state and not in the group; it has what its predecessor left it. */
void rig_restart(struct rig *r, unsigned node);
/* A machine is delivered nothing more, until it goes on and finds all messages; it finds no CONF. */
void rig_hang(struct rig *r, unsigned node);
void rig_go_on(struct rig *r, unsigned node);
/* Fires all timers that node has set. */
void rig_timers(struct rig *r, unsigned node);
void rig_send_raw(struct rig *r, unsigned from, const void *data, size_t len);

/* node: 1.. . All settle. */
void rig_hello(struct rig *r, unsigned node);
void rig_gone(struct rig *r, unsigned node);
uint64_t rig_record(struct rig *r, unsigned node, struct csv_msg *msg); /* returns its seq */
uint64_t rig_lock(struct rig *r, unsigned node, struct csv_res res, enum csv_mode mode, uint32_t flags);
void rig_unlock(struct rig *r, unsigned node, struct csv_res res, enum csv_mode mode);
/* HELLO, mount and slot locks, ATTACH, mount lock given up. */
void rig_mount(struct rig *r, unsigned node, uint32_t slot);
/* Node n with slot n - 1. */
void rig_mount_all(struct rig *r);
/* Answers every FENCE and REPLAY that node has got and not answered. Returns how many. */
unsigned rig_obey(struct rig *r, unsigned node, enum csv_err err);

/* Takes the oldest record of this type that node has got; NULL: there is none. Valid until the next rig call. */
const struct csv_msg *rig_take(struct rig *r, unsigned node, enum csv_msg_type type);
/* The oldest order with this verb to node's DLM engine; NULL: there is none. */
const struct csv_dlm_order *rig_order(struct rig *r, unsigned node, enum csv_dlm_verb verb);
/* Its DLM engine says something about a lock. Settles. */
void rig_said(struct rig *r, unsigned node, enum csv_dlm_said what, struct csv_res res, enum csv_mode mode, uint64_t seq);
void rig_expel(struct rig *r, unsigned node, uint32_t nodeid); /* node multicasts that nodeid is to be out; settles */
void rig_forget(struct rig *r); /* drops all records got so far */
struct csv_msg_view rig_view(struct rig *r, unsigned node);
/* All machines of the mask have the same digest. */
bool rig_same(const struct rig *r, unsigned mask);

#endif
