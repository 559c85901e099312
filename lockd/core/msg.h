/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages between the members.  Header of each: magic u32, version u8, kind u8, vid u64, seq u64, upto u64
 * (wire.h's integers);
 * then the body.  docs/PROTOCOL.md gives the bodies.
 *
 * Operations (all kinds from JOIN on) count only in the view that they name: delivered elsewhere they are
 * dropped by everybody, and their sender sends them again in the next view.
 */
#ifndef CSV_LOCKD_MSG_H
#define CSV_LOCKD_MSG_H

#include <stdint.h>

/*
 * The versions that this build knows.  A view uses one of them for all operations and the snapshot (version.c), and their
 * header says it; START, HELLO, BEAT and VOTE have one form for ever.
 *
 * A new version: raise CSV_GROUP_VERSION, and write and read what differs by csv_machine.version.  An operation that
 * waits in the fifo may be sent in a view of another version than the one that it was built in (send.c): a body that
 * differs has to be built anew for that.  CSV_GROUP_VERSION_MIN follows when nobody runs the old one any more.
 */
#define CSV_GROUP_MAGIC 0x4d565343u /* "CSVM" */
/* Version 4 had no OVER, version 3 no BRL that waits, version 2 one lock engine and no EXPEL. */
#define CSV_GROUP_VERSION_MIN 5u
#define CSV_GROUP_VERSION 5u
#define CSV_GROUP_HEADER 30u
#define CSV_GROUP_VERSION_OFF 4u
#define CSV_GROUP_VID_OFF 6u
#define CSV_GROUP_UPTO_OFF 22u

/* X(number, name, text) */
#define CSV_GROUP_LIST(X)                                                                                              \
	X(1, START, "opens the forming of a view; the first one after a CONF counts")                                  \
	X(2, HELLO, "what state I have; answers a START")                                                              \
	X(3, SNAPSHOT, "piece of the state for those who have none")                                                   \
	X(4, BEAT, "my loop turns")                                                                                    \
	X(5, VOTE, "a member is silent: evict it")                                                                     \
	X(10, JOIN, "a csvfs of the volume has connected to me")                                                       \
	X(11, GONE, "its connection is closed")                                                                        \
	X(12, ATTACH, "it takes a slot")                                                                               \
	X(13, SEEN, "I have delivered that ATTACH")                                                                    \
	X(14, DETACH, "clean unmount")                                                                                 \
	X(15, DIRTY, "a slot on disk is not clean and nobody's")                                                       \
	X(16, REATTACH, "a csvfs that had this slot declares what it holds")                                           \
	X(17, DECLARE, "locks it holds")                                                                               \
	X(18, DECLARE_BRL, "byte ranges it holds")                                                                     \
	X(19, DECLARED, "that was all")                                                                                \
	X(20, EXPIRE, "a lost slot has not come back in time")                                                         \
	X(21, VERIFY, "have the slot table on disk compared")                                                          \
	X(22, VERIFIED, "done, or an error")                                                                           \
	X(23, EXPEL, "a node's slots go out, wherever it is")                                                         \
	X(24, ASK, "dlm: does any member's csvfs hold a lock in use?")                                                 \
	X(25, TELL, "mine does, or does not")                                                                          \
	X(26, OVER, "a life of a slot is over on disk")                                                                \
	X(30, LOCK, "want")                                                                                            \
	X(31, UNLOCK, "give way")                                                                                      \
	X(40, FENCED, "result of a FENCE order")                                                                       \
	X(41, REPLAYED, "result of a REPLAY order")                                                                    \
	X(42, RETRY, "another round after a failed order")                                                             \
	X(50, BRL, "byte-range request")                                                                               \
	X(51, BRL_DROP, "all of a handle's")                                                                           \
	X(52, SYNC, "nothing: its return confirms what was delivered before it was sent")                              \
	X(53, BRL_CANCEL, "a byte-range request that may still wait is taken back")                                    \
	X(60, HANDOFF, "for migrate/core")

enum csv_group_kind {
#define CSV_GROUP_ENUM(n, name, text) CSV_G_##name = n,
	CSV_GROUP_LIST(CSV_GROUP_ENUM)
#undef CSV_GROUP_ENUM
};

struct csv_group_hdr {
	uint8_t version; /* of the view; of START, HELLO, BEAT and VOTE it says nothing */
	enum csv_group_kind kind;
	uint64_t vid;
	uint64_t seq;  /* the sender's counter of operations */
	uint64_t upto; /* operations of this view that the sender had applied when it sent this */
};

#endif
