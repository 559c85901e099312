/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the machine share: the machine itself, its local part, and who calls whom. */
#ifndef CSV_LOCKD_CORE_H
#define CSV_LOCKD_CORE_H

#include "lib/log.h"
#include "lockd/core/handoff.h"
#include "lockd/core/machine.h"
#include "lockd/core/msg.h"
#include "lockd/core/state.h"

/* How far the forming of a view is. */
enum csv_phase {
	CSV_PHASE_NONE,	   /* not in the group */
	CSV_PHASE_START,   /* CONF seen, no START yet */
	CSV_PHASE_HELLO,   /* START seen, HELLOs are being collected */
	CSV_PHASE_LOADING, /* formed, but our state is still on its way; operations are kept for later */
	CSV_PHASE_FORMED,
	CSV_PHASE_EVICTED, /* the others go on without us: the end of this machine */
};

/* What a member said in its HELLO. */
struct csv_hello {
	bool here;
	bool has_state, cont;
	uint64_t gen, chain;
	uint8_t version_min, version;
};

/* A message kept: an own operation until it is delivered, or a foreign one until the state is loaded. */
struct csv_kept {
	struct csv_list link;
	uint32_t sender;
	size_t len;
	uint8_t data[];
};

/* A lock as the local csvfs sees it: what was granted to it, less what it has given up. */
struct csv_hold {
	struct csv_omap_node node;
	struct csv_res res;
	enum csv_mode held;
	enum csv_mode want; /* NL: asks for nothing */
	uint32_t flags;
	uint64_t seq; /* of the request */
	/* waits.c: */
	bool waits;	     /* is in csv_local.waiting; it may have ended since */
	bool beaten;	     /* a beat has come since */
	unsigned waited_ms;  /* at least */
	unsigned tell_ms;    /* when it has waited for so long, it is logged */
	struct csv_list wait; /* in csv_local.waiting */
	/* dlm.c: */
	bool asked;	    /* the DLM was */
	enum csv_mode got;  /* and has granted this, which is not told yet; or NL */
	enum csv_mode bast; /* strongest want since; told behind the grant */
	struct csv_list late; /* in csv_local.late: to be asked or told */
	bool is_late;
};

/* A question of its replay that the members are asked (inuse.c). */
struct csv_question {
	bool open;
	uint64_t number; /* in the messages */
	uint64_t seq;	 /* of the csvfs's IN_USE */
	struct csv_msg_lock lock;
	uint64_t told; /* bit i: state.member[i] has answered */
};

struct csv_brl_ask {
	struct csv_list link;
	struct csv_msg msg; /* not answered yet */
	bool cancelled;
};

enum csv_local_phase {
	CSV_LOCAL_JOINED,      /* connected, no slot */
	CSV_LOCAL_ATTACHING,   /* ATTACH on its way */
	CSV_LOCAL_DECLARING,   /* REATTACH came, DECLARED did not yet */
	CSV_LOCAL_REATTACHING, /* declaration on its way */
	CSV_LOCAL_ATTACHED,
	CSV_LOCAL_DETACHED,
	CSV_LOCAL_FENCED, /* its slot is out, or it is closed: nothing of it counts any more */
};

enum csv_order_kind { CSV_ORDER_NONE, CSV_ORDER_FENCE, CSV_ORDER_REPLAY };
struct csv_order {
	enum csv_order_kind kind;
	uint32_t incarnation, round;
};

/* A csvfs connected to this member. At most one of a volume that is not FENCED. */
struct csv_local {
	struct csv_list link;
	uint64_t id; /* the daemon's */
	enum csv_local_phase phase;
	uint8_t uuid[16];
	char name[CSV_VOLNAME_MAX + 1];
	struct csv_msg_slot slot; /* its own */
	uint64_t attach_seq;
	bool tell_attached;    /* REATTACHING: it waits for ATTACHED */
	bool redeclare;	       /* state was lost: declare as soon as no order is outstanding */
	uint64_t detach_seq;   /* not 0: DETACH asked */
	uint64_t verify_seq;   /* not 0: asked to compare the slot table */
	uint32_t verify_round; /* that asking's */
	unsigned orders;       /* outstanding */
	struct csv_order order[CSV_SLOTS_MAX];
	uint64_t dirty; /* slots that it found dirty and that are not recovered yet */
	uint64_t over;  /* of these: a life that is over on disk; else one that is not clean */
	struct csv_msg_slot dirty_slot[CSV_SLOTS_MAX];
	enum csv_lock_engine wants; /* as its HELLO says */
	bool can_dlm;
	bool again; /* it has been attached before: it will declare what it holds */
	enum csv_lock_engine engine; /* the volume's, once it is decided; AUTO before */
	struct csv_omap holds;
	struct csv_list late;	   /* csv_hold.late */
	struct csv_list waiting;   /* csv_hold.wait, by age */
	struct csv_question question; /* one at a time: a replay waits for its answer */
	struct csv_brl_table *brl; /* what it has; node 0 */
	struct csv_list brl_asks;
	bool viewed;
	struct csv_msg_view view; /* last one sent */
	struct csv_ho_msg *ho;	  /* answer to a handoff order, as far as it came; or NULL */
};

enum csv_timer_kind { CSV_TIMER_EXPIRE, CSV_TIMER_RETRY, CSV_TIMER_VERIFY };
struct csv_timer {
	struct csv_list link;
	uint64_t id;
	enum csv_timer_kind kind;
	uint8_t uuid[16];
	uint32_t slot, episode;
};

struct csv_machine {
	struct csv_machine_cfg cfg;
	struct csv_actions *out; /* of the step that runs */

	enum csv_phase phase;
	unsigned nconf; /* the configuration less those evicted since its CONF, by nodeid */
	uint32_t conf[CSV_NODES_MAX];
	unsigned silent[CSV_NODES_MAX];	 /* own beats that came back since the last message of conf[i] */
	uint64_t against[CSV_NODES_MAX]; /* bit j: conf[j] has voted to evict conf[i] */
	unsigned nevicted; /* since the CONF, and silent since */
	uint32_t evicted[CSV_NODES_MAX];
	bool alone;			 /* nobody else was in the CONF */
	bool quorate;	/* by the votes of conf */
	unsigned ndown; /* nodes known to be gone, not only their csvlockd */
	uint32_t down[CSV_NODES_MAX];
	unsigned version; /* of messages in this view, or the one that is being formed */
	char refused[160]; /* why this node's csvlockd has no place in the group; empty: it has */
	uint64_t start;			       /* the START that counts; becomes the view's name */
	struct csv_hello hello[CSV_NODES_MAX]; /* of conf[i] */
	uint64_t starts;		       /* own STARTs sent */
	uint64_t beats, beat_back;	       /* own BEATs sent; the last one that came back */
	uint64_t beat_timer;		       /* 0: not set yet */

	bool has_state;
	struct csv_state state;

	struct csv_list fifo; /* own operations not delivered yet, csv_kept */
	uint64_t op_seq;
	uint64_t applied;   /* operations of this view */
	uint64_t synced;    /* own operations sent so far say more than this - 1 */
	uint64_t confirmed; /* those that came back say more than this - 1 (pending.c) */
	struct csv_list pending;
	struct csv_wbuf load; /* snapshot so far */
	struct csv_list late; /* LOADING: operations delivered, csv_kept */

	struct csv_list locals;
	uint64_t next_seq; /* of records we start */
	unsigned nlate;	   /* csv_hold.is_late, of all */
	unsigned nexpelled; /* as in the state, of all lines that this machine has been in */
	struct csv_expelled expelled[CSV_NODES_MAX];
	struct csv_ho_msg *ho_armed[CSV_HANDOFF_ARMED];
	struct csv_handoff_replies ho_replies; /* for the daemon to fetch */
	struct csv_list timers;
	uint64_t next_timer;
	bool view_dirty; /* some csv_msg_view may have changed */
	uint64_t news;	 /* how often it was */
};

/* ---- actions.c ---- */
void csv_act_send(struct csv_machine *m, const void *data, size_t len);
void csv_act_client(struct csv_machine *m, uint64_t client, const struct csv_msg *msg);
void csv_act_close(struct csv_machine *m, uint64_t client);
void csv_act_rejoin(struct csv_machine *m);
void csv_act_timer(struct csv_machine *m, uint64_t timer, unsigned ms);
void csv_act_dlm(struct csv_machine *m, const struct csv_dlm_order *order);
void csv_act_kill(struct csv_machine *m, uint32_t nodeid);
void csv_act_log(struct csv_machine *m, enum csv_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- send.c: own messages ---- */
void csv_msg_begin(struct csv_wbuf *w, enum csv_group_kind kind, uint64_t vid, uint64_t seq);
bool csv_msg_header(struct csv_rbuf *r, struct csv_group_hdr *h);
/* Starts an operation on a volume: header and uuid. To be ended by csv_op_submit(), which takes w. */
struct csv_wbuf csv_op_begin(struct csv_machine *m, enum csv_group_kind kind, const uint8_t *uuid);
void csv_op_submit(struct csv_machine *m, struct csv_wbuf *w);
void csv_fifo_resend(struct csv_machine *m);
void csv_fifo_delivered(struct csv_machine *m, uint64_t seq);
void csv_fifo_clear(struct csv_machine *m);
void csv_kept_add(struct csv_list *list, uint32_t sender, const void *data, size_t len);
void csv_kept_clear(struct csv_list *list);

/* ---- view.c ---- */
void csv_view_conf(struct csv_machine *m, const struct csv_event *ev);
void csv_view_start(struct csv_machine *m, uint32_t sender, struct csv_rbuf *r);
void csv_view_hello(struct csv_machine *m, uint32_t sender, struct csv_rbuf *r);
void csv_view_formed(struct csv_machine *m); /* our state is that of the view: go on */
void csv_view_down(struct csv_machine *m, const struct csv_event *ev);
void csv_view_evict(struct csv_machine *m, unsigned at); /* conf[at] counts as gone from here on */
int csv_view_index(const struct csv_machine *m, uint32_t nodeid); /* in conf; -1: it is not there */
/* Whether these of conf (bit mask) have a quorum. */
bool csv_view_quorum(const struct csv_machine *m, uint64_t members);

uint32_t csv_view_votes(const struct csv_machine *m, uint32_t nodeid);
void csv_view_remove(struct csv_machine *m, unsigned at); /* conf[at]; the forming has to begin again */

/* ---- version.c ---- */
enum csv_versions {
	CSV_VERSIONS_MEET,    /* m->version is known to all of the configuration */
	CSV_VERSIONS_REFUSED, /* some were removed from it */
	CSV_VERSIONS_NONE,    /* this node forms no view before the next CONF */
};
/* All HELLOs are there. Bit i of in_line: conf[i] has the state that goes on; 0: nobody has any. */
enum csv_versions csv_versions_agree(struct csv_machine *m, uint64_t in_line);

/* ---- evict.c ---- */
void csv_evict_conf(struct csv_machine *m);		  /* the configuration has changed */
/* A message of a member. False: it was evicted, and nothing of it counts. */
bool csv_evict_alive(struct csv_machine *m, uint32_t sender);
unsigned csv_evict_limit(const struct csv_machine *m); /* beats that make a member silent */
void csv_evict_accuse(struct csv_machine *m);		  /* votes against who is silent */
bool csv_evict_timer(struct csv_machine *m, uint64_t timer); /* false: not ours */
void csv_evict_beat(struct csv_machine *m, uint32_t sender, struct csv_rbuf *r);
void csv_evict_vote(struct csv_machine *m, uint32_t sender, struct csv_rbuf *r);

/* ---- pending.c: what is granted is told when it cannot be taken back ---- */
void csv_pending_add(struct csv_machine *m, const struct csv_local *c, const struct csv_msg *msg);
void csv_pending_run(struct csv_machine *m);
void csv_pending_clear(struct csv_machine *m);

/* ---- transfer.c ---- */
void csv_transfer_send(struct csv_machine *m);
void csv_transfer_piece(struct csv_machine *m, uint32_t sender, struct csv_rbuf *r);

/* ---- apply.c: operations in order ---- */
void csv_apply(struct csv_machine *m, uint32_t sender, const void *data, size_t len);
/* Everything that follows from the state as it is now: orders, grants, records to csvfs. Same on all members. */
void csv_settle(struct csv_machine *m, struct csv_space *sp);

/* ---- mount.c ---- */
void csv_mount_node_gone(struct csv_machine *m, uint32_t nodeid);
void csv_slot_out(struct csv_machine *m, struct csv_space *sp, uint32_t slot, const char *why);
void csv_slot_free(struct csv_machine *m, struct csv_space *sp, uint32_t slot);
void csv_mount_expect(struct csv_machine *m, struct csv_space *sp);
void csv_mount_seen_again(struct csv_machine *m);

/* Each operation's handler: parses all before it changes anything; false: malformed. sp may be NULL for JOIN and
 * REATTACH. */
typedef bool (*csv_apply_fn)(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r);
bool csv_apply_gone(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r);
bool csv_apply_attach(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r);
bool csv_apply_seen(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r);
bool csv_apply_detach(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r);
bool csv_apply_dirty(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r);
bool csv_apply_expire(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r);
bool csv_apply_over(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r);
bool csv_apply_verify(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r);
bool csv_apply_verified(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r);

/* ---- declare.c ---- */
bool csv_apply_reattach(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r);
bool csv_apply_declare(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r);
bool csv_apply_declare_brl(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r);
bool csv_apply_declared(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r);
/* Sends a local csvfs's holdings. */
void csv_declare_local(struct csv_machine *m, struct csv_local *c);
/* After the state was exchanged for another one: every local csvfs declares again, or is closed if it has no slot. */
void csv_declare_all(struct csv_machine *m);
/* Those who had to answer orders first, and have. */
void csv_declare_waiting(struct csv_machine *m);

/* ---- lockd/engine/cpg_space.c: locks ---- */
bool csv_apply_lock(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r);
bool csv_apply_unlock(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r);
/* Looks at every resource with waiters again. */
void csv_space_kick(struct csv_machine *m, struct csv_space *sp);
void csv_rsb_run(struct csv_machine *m, struct csv_space *sp, struct csv_rsb *r);
/* A declared lock becomes a holder; false: it conflicts with another holder. */
bool csv_space_declare(struct csv_space *sp, struct csv_place *p, struct csv_res res, enum csv_mode mode);
/* J6: does a mount that is not fenced hold res so that it may be writing its blocks? Mode, NL: no. */
enum csv_mode csv_space_in_use(const struct csv_space *sp, struct csv_res res);

/* ---- dlm.c: volumes whose locks are the kernel DLM's ---- */
/* The engine of a csvfs that mounts. False: it cannot have what it wants; why, and *sp is as it was. */
bool csv_engine_decide(struct csv_space *sp, enum csv_lock_engine wants, bool can_dlm, const char **why);
bool csv_dlm_routed(const struct csv_local *c, struct csv_res res); /* this lock is the DLM's */
/* A csvfs of ours is about to mount (first), or to go on in another line of state. */
void csv_dlm_open(struct csv_machine *m, const struct csv_local *c, const struct csv_space *sp, bool first);
void csv_dlm_ask(struct csv_machine *m, struct csv_local *c, struct csv_hold *h);
/* It has only mode now; h is as it was before. */
void csv_dlm_give(struct csv_machine *m, struct csv_local *c, const struct csv_hold *h, enum csv_mode mode);
void csv_dlm_claim(struct csv_machine *m, const struct csv_local *c);
/* A life of this node (nodeid is ours, or nothing happens) has nothing any more. */
void csv_dlm_place_gone(struct csv_machine *m, const struct csv_space *sp, uint32_t nodeid);
/* A life of a node is recovered. If nobody is there to drop its locks in the DLM, the node has to leave it. */
void csv_dlm_recovered(struct csv_machine *m, const struct csv_space *sp, uint32_t nodeid);
void csv_dlm_evicted(struct csv_machine *m); /* the same for those who were evicted, if a volume has the DLM */
void csv_dlm_said(struct csv_machine *m, const struct csv_dlm_saying *ev);
void csv_dlm_run(struct csv_machine *m); /* asks and tells what had to wait */

/* ---- waits.c: requests that wait long are logged ---- */
void csv_wait_begin(struct csv_local *c, struct csv_hold *h); /* h asks from now on */
void csv_wait_end(struct csv_hold *h);
void csv_waits_beat(struct csv_machine *m); /* each cfg.beat_ms */

/* ---- inuse.c ---- */
void csv_inuse_record(struct csv_machine *m, struct csv_local *c, const struct csv_msg *msg);
bool csv_apply_ask(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r);
bool csv_apply_tell(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r);
void csv_inuse_again(struct csv_machine *m); /* a new view: what was asked is asked again by who wants to know */

/* ---- expel.c ---- */
bool csv_apply_expel(struct csv_machine *m, uint32_t sender, struct csv_rbuf *r);
bool csv_is_expelled(const struct csv_state *s, uint32_t nodeid);
void csv_expelled_forget(struct csv_machine *m, uint32_t nodeid); /* it mounts anew */
void csv_expelled_recall(struct csv_machine *m); /* a view is formed: what another line of state must know, too */

/* ---- recover.c ---- */
void csv_recover_run(struct csv_machine *m, struct csv_space *sp);
bool csv_recover_busy(const struct csv_space *sp); /* some order is outstanding */
bool csv_recover_failed(const struct csv_space *sp);
uint32_t csv_recover_fails(const struct csv_space *sp); /* of the slot out that has failed least */
bool csv_slot_fenced(const struct csv_slot *s); /* OUT, and no write of it can land any more */
bool csv_apply_fenced(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r);
bool csv_apply_replayed(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r);
bool csv_apply_retry(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r);

/* ---- ranges.c ---- */
bool csv_apply_brl(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r);
bool csv_apply_brl_drop(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r);
bool csv_apply_brl_cancel(struct csv_machine *m, uint32_t sender, struct csv_space *sp, struct csv_rbuf *r);
void csv_ranges_told(struct csv_local *c, const struct csv_msg *result);
void csv_ranges_kick(struct csv_machine *m, struct csv_space *sp);
struct csv_brl csv_brl_of(const struct csv_msg_brl *b);
void csv_brl_put(struct csv_wbuf *w, const struct csv_brl *l);
bool csv_brl_get(struct csv_rbuf *r, struct csv_brl *l);

/* ---- handoff.c ---- */
void csv_handoff_deliver(struct csv_machine *m, uint32_t sender, struct csv_rbuf *r);

/* ---- timers.c ---- */
void csv_timers_arm(struct csv_machine *m, struct csv_space *sp);
void csv_timer_fired(struct csv_machine *m, uint64_t id);
void csv_timers_clear(struct csv_machine *m);
void csv_expire_down(struct csv_machine *m); /* slots of nodes known to be gone need not be waited for */
bool csv_node_down(const struct csv_machine *m, uint32_t nodeid);
void csv_node_set_down(struct csv_machine *m, uint32_t nodeid, bool down);

/* ---- client.c: records of local csvfs ---- */
void csv_client_record(struct csv_machine *m, uint64_t client, const struct csv_msg *msg);
void csv_client_gone(struct csv_machine *m, uint64_t client);
void csv_locals_clear(struct csv_machine *m);
void csv_local_join(struct csv_machine *m, struct csv_local *c);
/* Says again what it has asked for and was not answered. */
void csv_local_resubmit(struct csv_machine *m, struct csv_local *c);

/* ---- local.c: what we know of them, and telling them ---- */
struct csv_local *csv_local_by_id(struct csv_machine *m, uint64_t id);
struct csv_local *csv_local_of(struct csv_machine *m, const uint8_t *uuid); /* the one that counts */
/* The csvfs of a place, if it is ours. */
struct csv_local *csv_local_at(struct csv_machine *m, const struct csv_space *sp, const struct csv_place *p);
struct csv_local *csv_local_new(struct csv_machine *m, uint64_t id, const struct csv_msg_hello *h);
void csv_local_free(struct csv_machine *m, struct csv_local *c);
bool csv_msg_lock_sound(const struct csv_msg_lock *l);
void csv_msg_lock_fill(struct csv_msg_lock *l, struct csv_res res, enum csv_mode mode);
struct csv_hold *csv_hold_find(const struct csv_local *c, struct csv_res res);
struct csv_hold *csv_hold_make(struct csv_local *c, struct csv_res res);
void csv_hold_put(struct csv_machine *m, struct csv_local *c, struct csv_hold *h); /* frees it if it says nothing */
void csv_holds_free(struct csv_machine *m, struct csv_local *c);
void csv_local_error(struct csv_machine *m, struct csv_local *c, uint64_t seq, enum csv_err err, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
void csv_local_done(struct csv_machine *m, struct csv_local *c, uint64_t seq);
void csv_local_fenced(struct csv_machine *m, struct csv_local *c);
void csv_local_close(struct csv_machine *m, struct csv_local *c, const char *why);
/* Sends VIEW to every local csvfs whose view differs from the last one sent. */
void csv_views_flush(struct csv_machine *m);

const char *csv_node_name(const struct csv_machine *m, uint32_t nodeid);

#endif
