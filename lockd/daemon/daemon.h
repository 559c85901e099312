/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csvlockd: what its parts share.  One event loop (libqb), one thread: nothing
 * here is locked.  The parts:
 *   config.c   csvfs.conf and the node list out of corosync's cmap
 *   group.c    the CPG group: configuration changes, messages, sending
 *   server.c   the socket and its clients
 *   access.c   who may ask what there
 *   admin.c    questions of csvadm; listing.c: long lists
 *   nodes.c    since when each node is in its state
 *   registry.c this node's open handles and VM names
 *   driver.c   feeds the pure machine and carries out its actions
 *   helper.c   children that find something out for the loop
 *   supervise.c the process around it that kills it when it hangs
 *   remount.c  mounts whose csvfs has died
 *   dlm.c      a process for each lockspace of the DLM; dlm_fit.c: can the DLM be used; dlm_release.c:
 *              does it wait for a fence that dlm_controld has forgotten
 *   expel.c    nodes that are to be fenced; memory.c: the file in which they are remembered; kill.c: nodes whose corosync
 *              has to end
 *   handoff.c  handoffs that administrators ask for; launch.c: the destination's hook; incoming.c: the VMs it started
 */
#ifndef CSV_LOCKD_DAEMON_H
#define CSV_LOCKD_DAEMON_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include <qb/qbloop.h>

#include "csv/proto.h"
#include "csv/timeouts.h"
#include "lib/list.h"
#include "lib/log.h"
#include "lockd/core/machine.h"
#include "migrate/core/wire.h"

struct csv_daemon_conf {
	char run_dir[128];
	char node[CSV_NODENAME_MAX + 1];  /* override of the node's name; empty: corosync's */
	unsigned reattach_ms;             /* L3 */
	unsigned watchdog_ms;             /* L5: the loop hangs; 0: it is never killed */
	unsigned evict_ms;                /* L5: another member hangs */
	unsigned detect_ms;               /* corosync's token and consensus: a node's death is noticed so late */
	unsigned status_ms;               /* how long an answer of a csvfs to STATUS is waited for */
	char migration_address[64];       /* where incoming VMs listen; empty: the request says it */
	gid_t gid;                        /* with has_group: its members may look (access.c) */
	bool has_group;
	struct csv_machine_cfg machine;   /* filled from cmap */
};

#define CSV_NS_PER_MS 1000000ull

struct csv_peer; /* a client's connection (server.c) */
struct csv_group;

struct csv_daemon {
	struct csv_daemon_conf conf;
	qb_loop_t *loop;
	int beat_fd;                      /* to the supervisor */
	qb_loop_timer_handle beat;
	struct csv_machine *machine;      /* NULL while there is no corosync */
	struct csv_group *group;          /* NULL while there is no corosync */
	struct csv_list peers;
	uint64_t next_peer;
	int listen_fd;
	struct csv_list timers;           /* the machine's */
	struct csv_list handles;          /* registry.c */
	uint64_t next_handle;
	struct csv_list vms;
	struct csv_list nodes;            /* nodes.c */
	uint64_t nodes_news;              /* csv_machine_news() when they were looked at */
	uint64_t sent;                    /* messages multicast since start */
	int64_t detect_from_ms;           /* for logs */
	bool evicted;                     /* the machine is done: leave and join again */
};

/* ---- config.c ---- */
/* Reads csvfs.conf (path NULL: CSV_CONFIG or /etc/csvfs/csvfs.conf; a missing file means defaults) and CSV_RUN_DIR. */
enum csv_err csv_conf_load(struct csv_daemon_conf *conf, const char *path, struct csv_why *why);
/* Fills conf->machine from corosync's cmap: cluster name, nodes, votes, two_node. NOCLUSTER if corosync does not answer. */
enum csv_err csv_conf_cluster(struct csv_daemon_conf *conf, struct csv_why *why);
/* *ms: how long corosync takes to notice a death, with these time-outs in ms. INVAL: longer than anybody here waits. */
enum csv_err csv_conf_detect(uint32_t token, uint32_t consensus, unsigned *ms, struct csv_why *why);

/* ---- group.c ---- */
/* Joins the CPG group; events go to csv_driver_step(). If corosync goes, csv_driver_cluster_lost() is called. */
enum csv_err csv_group_join(struct csv_daemon *d, struct csv_why *why);
void csv_group_leave(struct csv_daemon *d);
/*
 * Delivers all that corosync has for us, now. If that cannot be made sure of (backlog.h), it multicasts SYNC, and the
 * machine tells of no grant of the DLM that it is given now before that is back. Not from within a step of the machine.
 */
void csv_group_catch_up(struct csv_daemon *d);
/* Queues and sends as flow control allows, in order. data is copied. */
void csv_group_send(struct csv_daemon *d, const void *data, size_t len);

/* ---- driver.c ---- */
void csv_driver_step(struct csv_daemon *d, const struct csv_event *ev);
/* Corosync has gone: the machine's state is worth nothing any more; clients are closed and will come again. */
void csv_driver_cluster_lost(struct csv_daemon *d);
/* Tries to join now and, until it works, again and again. */
void csv_driver_connect(struct csv_daemon *d);
void csv_driver_stop(struct csv_daemon *d);
/* Multicasts a handoff message of this node. */
void csv_driver_handoff(struct csv_daemon *d, const struct csv_ho_msg *msg);
/* Multicasts SYNC: until it is back, no grant of the DLM is told. */
void csv_driver_sync(struct csv_daemon *d);
/*
 * Calls fn(d) from the loop, as soon as what runs now has returned.  (A job of libqb's would do, but a loop that has
 * nothing else to do but jobs first waits 50 ms for its descriptors: qb_loop_run().)
 */
void csv_driver_soon(struct csv_daemon *d, void (*fn)(void *d));
/* Multicasts that a node is to be out. */
void csv_driver_expel(struct csv_daemon *d, uint32_t nodeid);

/* ---- access.c ---- */
enum csv_access {
	CSV_ACCESS_NONE,
	CSV_ACCESS_LOOK,
	CSV_ACCESS_ALL,
};
/* [node] group; an empty name: root alone. INVAL: there is no such group. */
enum csv_err csv_access_group(struct csv_daemon_conf *conf, const char *name, struct csv_why *why);
/* Owner and mode of the socket. */
enum csv_err csv_access_socket(const struct csv_daemon_conf *conf, const char *path);
/* What the process at the other end of a connection may do; its credentials in *cred. */
enum csv_access csv_access_of(const struct csv_daemon_conf *conf, int s, struct ucred *cred);
/* A record (enum csv_msg_type) of a client in that role; HELLO: may it have the role? */
bool csv_access_may(enum csv_access access, enum csv_role role, uint32_t type);

/* ---- server.c ---- */
struct csv_peer {
	struct csv_list link;
	struct csv_daemon *daemon;
	uint64_t id;
	int fd;
	uint32_t pid;
	enum csv_access access;
	enum csv_role role;               /* 0 until HELLO */
	bool closing;
	bool in_hello;                    /* its HELLO waits for dlm_fit.c */
	struct csv_msg_hello hello;
	struct csv_list out;              /* records that the socket did not take yet */
	unsigned out_count;
	struct csv_listing *listing;      /* being told, as fast as it is read; or NULL */
	struct csv_list asked;            /* an admin's STATUS: the csvfs that have not answered yet */
	uint64_t await_seq;
	qb_loop_timer_handle await_timer;
	struct csv_ho_plan *ho;           /* files of the handoff request that is to come; or NULL */
};
/* A csvfs, whether its volume is out or not. */
static inline bool csv_peer_mounts(const struct csv_peer *p)
{
	return p->role == CSV_ROLE_FS || p->role == CSV_ROLE_OUT;
}
/* Goes on with a HELLO that is sound: WELCOME, and the machine hears of it. msg->hello.dlm says what was found out. */
void csv_server_hello(struct csv_peer *p, const struct csv_msg *msg);
enum csv_err csv_server_open(struct csv_daemon *d, struct csv_why *why);
void csv_server_close(struct csv_daemon *d);
struct csv_peer *csv_peer_find(struct csv_daemon *d, uint64_t id);
void csv_peer_send(struct csv_peer *p, const struct csv_msg *msg); /* never blocks; a peer that takes nothing is closed */
void csv_peer_error(struct csv_peer *p, uint64_t seq, enum csv_err err, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void csv_peer_close(struct csv_peer *p); /* at once; the machine hears of it */

/* ---- admin.c ---- */
void csv_admin_request(struct csv_peer *p, const struct csv_msg *msg);
/* A record of csvfs that answers an admin's question (STATUS_VOLUME); false: not one of these. */
bool csv_admin_answer(struct csv_peer *fs, const struct csv_msg *msg);
void csv_admin_gone(struct csv_peer *p); /* not in d->peers any more */

/* ---- listing.c ---- */
void csv_listing_begin(struct csv_peer *p, const struct csv_msg *req, const uint8_t *uuid); /* LOCK_LIST, BRL_LIST, HANDLE_LIST */
void csv_listing_go_on(struct csv_peer *p); /* the socket may take more */
void csv_listing_gone(struct csv_peer *p);

/* ---- kill.c ---- */
void csv_kill_node(uint32_t nodeid); /* no answer is waited for; a node that is not a member does not notice */

/* ---- expel.c ---- */
void csv_expel_request(struct csv_peer *p, const struct csv_msg *msg); /* NODE_FENCE */
void csv_expel_recall(struct csv_daemon *d); /* a new machine: what is remembered from before (memory.h) */
void csv_expel_look(struct csv_daemon *d); /* after each step of the machine */
void csv_expel_gone(struct csv_peer *p);
void csv_expel_lost(struct csv_daemon *d); /* no cluster: all who wait are told */

/* ---- nodes.c ---- */
void csv_nodes_look(struct csv_daemon *d); /* after each step of the machine */
/* Unix time since when the node is in its state, as far as this csvlockd has seen it; 0: unknown. */
int64_t csv_nodes_since(struct csv_daemon *d, uint32_t nodeid);
void csv_nodes_forget(struct csv_daemon *d);

/* ---- remount.c ---- */
void csv_remount_look(struct csv_daemon *d); /* at start, and when a csvfs has gone: whose mount nobody serves is mounted again */
void csv_remount_status(struct csv_peer *admin, uint64_t seq); /* the mounts that are down, as STATUS_VOLUME */
void csv_remount_free(struct csv_daemon *d);

/* ---- registry.c ---- */
void csv_registry_init(struct csv_daemon *d);
bool csv_registry_record(struct csv_peer *fs, const struct csv_msg *msg); /* HANDLE, HANDLE_GONE; false: another record */
void csv_registry_peer_gone(struct csv_peer *fs);
void csv_registry_vm_set(struct csv_daemon *d, const struct csv_msg_vm *vm);
void csv_registry_greet(struct csv_peer *fs); /* tells a new csvfs the VM names */
/* HANDLE for at most max of the open handles of a VM (empty: all) behind number *after, which moves on. True: there are more. */
bool csv_registry_list(struct csv_peer *admin, uint64_t seq, const char *vm, uint64_t *after, unsigned max);
void csv_registry_free(struct csv_daemon *d);

#endif
