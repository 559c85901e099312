/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parts of the iSCSI back end (libiscsi, one context and one thread per LUN):
 *
 *   bdev_iscsi.c     open, close, submit; the thread's loop
 *   iscsi_url.c      the name of a LUN
 *   iscsi_auth.c     initiator name, CHAP secret
 *   iscsi_session.c  login, loss of the session, the event pump and its clock
 *   iscsi_call.c     single commands that the thread waits for
 *   iscsi_probe.c    size and abilities of the LUN
 *   iscsi_io.c       requests, split into commands; their ends and retries
 *   iscsi_pr.c       the SCSI port: single commands for pr.c, and what other threads ask for
 *   iscsi_guard.c    the way back after a loss or conflict (F2), path states
 *
 * Everything but the part of struct iscsi_dev marked `shared` belongs to the thread.
 * The thread may wait for a command of its own inside csv_iscsi_call(), which goes on
 * pumping events: I/O completes and is issued meanwhile.  Hence the one rule: code
 * that runs in a libiscsi call-back only notes (lost, check) and moves list elements;
 * sessions are dropped and calls made from the loop alone.
 */
#ifndef CSV_LIB_ISCSI_IMPL_H
#define CSV_LIB_ISCSI_IMPL_H

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <pthread.h>

#include "lib/bdev_impl.h"
#include "lib/list.h"
#include "lib/scsi.h"

#define ISCSI_PORTALS 4
#define ISCSI_DEPTH 64                /* commands under way */
#define ISCSI_TRANSFER_MAX (1u << 20) /* bytes of a command unless the block limits page says less */
#define ISCSI_VECS 1024               /* memory pieces of a command */
#define ISCSI_SILENCE_MS 15000        /* nothing heard from the target for so long: the session is lost */
#define ISCSI_OPEN_MS 10000           /* bound of an open */
#define ISCSI_LOGIN_MS 5000           /* bound of one attempt to log in */
#define ISCSI_PATH_MS 30000           /* path time-out without a guard */
#define ISCSI_SETTLE_MS 500           /* see csv_iscsi_come_back() */

struct iscsi_lun_name {
	char portal[ISCSI_PORTALS][128]; /* host[:port], [v6][:port] */
	int nportals;
	char target[224];                /* RFC 7143 4.2.7.1: at most 223 bytes */
	int lun;
	char chap[64];                   /* name of the secret; empty: no CHAP */
};

/* Parses iscsi://host[:port][,host2]/IQN/LUN[?chap=NAME]. USAGE with a reason and advice. */
enum csv_err csv_iscsi_parse(const char *url, struct iscsi_lun_name *name, struct csv_why *why);
/* Reads the secret `name` ($CSV_CHAP_DIR or /etc/csvfs/chap): NOENT, ACCESS (mode), INVAL. */
enum csv_err csv_iscsi_chap_secret(const char *name, char *secret, size_t size, struct csv_why *why);

struct iscsi_dev;

struct iscsi_req {
	struct csv_list link;  /* incoming or queue; empty once it is split to its end */
	struct csv_io *io;
	uint64_t next;         /* bytes handed out to commands */
	unsigned cmds;         /* commands not ended */
	bool flushing;         /* emulated FUA: the write is done, its flush is not */
	uint64_t generation;   /* emulated FUA: before the first command (J4) */
	enum csv_err err;      /* first error of a command */
};

struct iscsi_cmd {
	struct csv_list link;  /* retry or inflight */
	struct iscsi_dev *d;
	struct iscsi_req *req;
	enum csv_io_op op;
	uint64_t off, pos;     /* bytes: on the LUN, in the request */
	uint32_t len;
	uint64_t sent_ms, not_before_ms;
	unsigned tries;
	int nvec;
	struct iovec vec[];
};

enum iscsi_ctl_op { ISCSI_CTL_REGISTER, ISCSI_CTL_RESERVE, ISCSI_CTL_PREEMPT, ISCSI_CTL_STATUS, ISCSI_CTL_SCSI };

/* A blocking operation of another thread, on its stack until `done`. */
struct iscsi_ctl {
	struct csv_list link;
	enum iscsi_ctl_op op;
	uint64_t key, victim;
	enum csv_pr_type type;
	bool aborted;
	struct csv_pr_status *st;
	struct csv_scsi_cmd *cmd;
	enum csv_err err;
	bool done;
};

struct iscsi_dev {
	struct csv_bdev dev;
	struct iscsi_lun_name name;
	char initiator[224], secret[256];
	uint32_t isid;              /* the same at each login: the target then ends the old session first (RFC 7143 6.3.5) */
	bool rdonly;
	unsigned silence_ms, open_ms;
	pthread_t thread;
	int wake;                   /* eventfd */

	/* shared */
	pthread_mutex_t lock;
	pthread_cond_t changed;     /* a ctl is done, or the open */
	struct csv_list incoming;   /* requests */
	struct csv_list ctls;
	bool closing;
	bool opened;                /* the open has ended: */
	enum csv_err open_err;
	struct csv_why open_why;
	pthread_mutex_t guard_lock; /* recursive; held while a call-back of the guard runs */
	struct csv_bdev_guard guard;
	bool has_guard, had_guard;

	/* the thread's */
	struct iscsi_context *ctx;  /* NULL: no session, no attempt */
	bool up;                    /* logged in */
	bool gate;                  /* requests may be issued */
	bool lost;                  /* noted in a call-back: the session is to be dropped */
	bool check;                 /* noted: F2 check before anything else is issued */
	char reason[160];           /* of `lost` or `check` */
	uint64_t lost_ms, heard_ms, nop_ms, cleared_ms;
	uint64_t conflict_ms;       /* first conflict since a write went through; 0: none */
	unsigned checks;            /* that were made since then */
	bool nop_out;               /* a ping is under way */
	bool unknown_writes;        /* the last loss left writes of unknown fate */
	bool login_done;
	int login_status;
	char login_error[160];
	enum csv_path_state state;
	struct csv_scsi_port port;
	bool registered;            /* pr_register() gave a key: no way back without a guard */
	struct csv_list queue, retry, inflight;
	unsigned ninflight;
	uint32_t max_transfer;      /* bytes */
	uint64_t max_unmap;         /* bytes */
};

uint64_t csv_iscsi_now(void); /* ms, monotonic */

/* ---- bdev_iscsi.c ---- */
/* True if the device is being closed and nothing is left to do. */
bool csv_iscsi_may_end(struct iscsi_dev *d);

/* ---- iscsi_session.c ---- */
/* Waits for events for at most `ms`, handles them, issues what may be issued. */
void csv_iscsi_pump(struct iscsi_dev *d, unsigned ms);
/* Logs in at one portal by `deadline`; unit attentions are cleared. UNREACH, ACCESS, NOENT, TIMEOUT. */
enum csv_err csv_iscsi_login(struct iscsi_dev *d, const char *portal, uint64_t deadline, struct csv_why *why);
/* Ends the session without ceremony: commands under way go to `retry`, generation grows if it was up. */
void csv_iscsi_drop(struct iscsi_dev *d);
/* Logs out if there is a session. */
void csv_iscsi_logout(struct iscsi_dev *d);
/* Notes, from a call-back or elsewhere, that the session is lost. */
void csv_iscsi_note_lost(struct iscsi_dev *d, const char *reason);

/* ---- iscsi_call.c ---- */
struct iscsi_call {
	struct iscsi_dev *d;
	bool done;
	int status;                 /* enum scsi_status */
	uint32_t response;          /* task management */
	struct scsi_task *task;     /* the caller's to free with csv_iscsi_call_free() */
};
void csv_iscsi_call_cb(struct iscsi_context *ctx, int status, void *data, void *arg);
/*
 * Waits for the answer, at most three times silence_ms; `task` is what the libiscsi function returned (NULL: it failed).
 * True: the target answered, free the call later.  False: the session is lost and dropped.
 * Only to be called while d->up.
 */
bool csv_iscsi_call_wait(struct iscsi_call *call, struct scsi_task *task);
/* The same for task management, whose function returns 0 if it was sent. */
bool csv_iscsi_call_wait_sent(struct iscsi_call *call, bool sent);
void csv_iscsi_call_free(struct iscsi_call *call);
/* What a unit attention means for this device; any code is to be retried. */
void csv_iscsi_note_attention(struct iscsi_dev *d, int ascq);
/* True if the call ended in a unit attention (noted): make it again. */
bool csv_iscsi_call_again(struct iscsi_call *call);
enum csv_err csv_iscsi_test_ready(struct iscsi_dev *d);
/* Reads one 4096-byte block. UNREACH: the session is lost. */
enum csv_err csv_iscsi_read_block(struct iscsi_dev *d, uint64_t block, void *buf);

/* ---- iscsi_probe.c ---- */
enum csv_err csv_iscsi_probe(struct iscsi_dev *d, struct csv_why *why);
/* After a new login: IDENTITY if size or block size are not what they were. */
enum csv_err csv_iscsi_probe_again(struct iscsi_dev *d);

/* ---- iscsi_io.c ---- */
void csv_iscsi_issue(struct iscsi_dev *d);
/* Ends all that is queued with err; nothing may be under way. */
void csv_iscsi_fail_all(struct iscsi_dev *d, enum csv_err err);
bool csv_iscsi_idle(struct iscsi_dev *d);

/* ---- iscsi_pr.c ---- */
/* Does ctl->op; false: the session was lost on the way, do it again. */
bool csv_iscsi_pr_run(struct iscsi_dev *d, struct iscsi_ctl *ctl);
void csv_iscsi_port_init(struct iscsi_dev *d);

/* ---- iscsi_guard.c ---- */
bool csv_iscsi_guarded(struct iscsi_dev *d);
void csv_iscsi_come_back(struct iscsi_dev *d);
void csv_iscsi_check(struct iscsi_dev *d);
/* True once the device is FAILED or FENCED: *err is what requests get. */
bool csv_iscsi_dead(struct iscsi_dev *d, enum csv_err *err);

#endif
