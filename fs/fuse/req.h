/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One FUSE request on its way: decoded by an op in the thread that received it, then run
 * by its body, again from the start each time something was missing:
 *
 *	decode (copy names) -> freq_start -> body: hold, hold, ..., call the core -> reply
 *
 * A body returns
 *	CSV_OK        done: reply() is called, or an empty answer given
 *	FREQ_LATER    something asynchronous will call freq_end()
 *	CSV_WAIT      a lock is missing, or ctx.need names what to add: it will run again
 *	CSV_NOSPC     with ctx.need: the same; else, if freed blocks wait for a commit, once more after that
 *	another error is the answer
 * Locks are given up before the answer goes out.
 */
#ifndef CSV_FUSE_REQ_H
#define CSV_FUSE_REQ_H

#include <fuse_lowlevel.h>

#include "fs/fuse/handle.h"
#include "fs/mount.h"
#include "fs/meta/namei.h"

struct csv_freq;
typedef enum csv_err (*freq_body)(struct csv_freq *r);
#define FREQ_LATER ((enum csv_err)CSV_ERR_COUNT)

struct csv_freq {
	struct csv_op op;
	struct csv_work work;
	struct csv_mount *m;
	fuse_req_t req;
	freq_body body;
	void (*reply)(struct csv_freq *r);     /* success; NULL: an empty answer */
	void (*cleanup)(struct csv_freq *r);   /* before it is freed, after the answer; NULL: nothing */
	bool slow;                             /* changes metadata: runs in a worker, not in the receiving thread */
	bool always;                           /* body runs even if the volume is out */
	bool succeeded;                        /* answered with success whatever the rest brings */
	int noent;                             /* errno for CSV_NOENT if it is not ENOENT */
	bool committed;                        /* NOSPC: freed blocks were waited for already */
	unsigned rounds;                       /* times run again for ctx.need */
	struct csv_commit_wait commit;
	struct csv_ctx ctx;
	uint64_t *up;                          /* directories to hold PR too (ctx.need_ino), as they were asked for */
	unsigned nup;
	uint64_t tid;

	struct csv_iref ref, ref2;             /* node ids of the request */
	struct csv_iref victim;                /* reap.c */
	char *name, *name2;                    /* copies */
	struct csv_attr attr;
	struct csv_handle *handle;
	struct csv_lease_ref *lease;           /* share that this request has taken and nobody else owns yet */
	bool leasing;                          /* csv_lease_open() has said WAIT */
	uint32_t pid;                          /* who asks */
	struct csv_file *file;                 /* held (csv_file_get) until the request is freed */
	struct csv_data_req data;
	struct csv_data_gate gate;
	void *mem;                             /* free()d with the request */
	size_t mem_len;
	union {
		struct {
			struct csv_new what;
		} mk;
		struct {
			unsigned flags;
		} rename;
		struct {
			unsigned what;
			struct csv_attr to;
			bool truncate;
			uint64_t size;
			enum csv_err err;
		} set;
		struct {
			struct csv_new what;   /* create */
			int flags;             /* open(2)'s */
		} open;
		struct {
			size_t size;
			uint64_t cookie;
		} dir;
		struct {
			bool full;             /* second try: EX and groups */
			bool datasync;
			size_t result;
		} io;
		struct {
			int mode;
			uint64_t off, len;
		} falloc;
		struct {
			uint64_t off, found;
			int whence;
		} seek;
		struct reaping *reaping;       /* reap.c: the round that it belongs to */
	} u;
};

/* NULL: out of memory, answered. */
struct csv_freq *freq_new(fuse_req_t req, freq_body body);
/* Work of our own: nobody waits for an answer (reply is called all the same, on success). NULL: out of memory. */
struct csv_freq *freq_new_own(struct csv_mount *m, freq_body body);
/* Copies of the names; answers and frees r, and returns false, if there is no memory or a name is too long. */
bool freq_names(struct csv_freq *r, const char *name, const char *name2);
void freq_start(struct csv_freq *r);
/* Ends a request that went on as FREQ_LATER; err as from a body. */
void freq_end(struct csv_freq *r, enum csv_err err);
/* Runs the body again from its start, with no lock held, in a worker. */
void freq_again(struct csv_freq *r);
/* Runs another body from here on, with no lock held: second half of a request. */
void freq_next(struct csv_freq *r, freq_body body);

/* CSV_OK also if it is missing: name all, then ask freq_missing(). Errors are to be returned. */
enum csv_err freq_hold(struct csv_freq *r, enum csv_res_type type, uint64_t id, enum csv_mode mode);
/* At least one group, and all of ctx.ags, EX. */
enum csv_err freq_hold_ags(struct csv_freq *r);
/* CSV_WAIT if something is missing by now. */
static inline enum csv_err freq_missing(struct csv_freq *r)
{
	return csv_op_waits(&r->op) ? CSV_WAIT : CSV_OK;
}

/* Node ids (U3): block number in the low 40 bits, generation above; the root is FUSE_ROOT_ID. */
struct csv_iref freq_ref(struct csv_mount *m, fuse_ino_t node);
fuse_ino_t freq_node(const struct csv_mount *m, struct csv_iref ref);
void freq_stat(const struct csv_mount *m, const struct csv_attr *attr, struct stat *st);
void freq_entry(const struct csv_mount *m, const struct csv_attr *attr, struct fuse_entry_param *e);

/* Answers with r->attr as entry or as attributes. */
void freq_reply_entry(struct csv_freq *r);
void freq_reply_attr(struct csv_freq *r);
/* Answers to open and create that libfuse 3.14 has no words for (raw.c): direct I/O and parallel direct writes. */
void freq_reply_open(struct csv_freq *r);
void freq_reply_create(struct csv_freq *r);

/* open.c: gives a handle up that the kernel never got. */
void handle_abandon(struct csv_mount *m, struct csv_handle *h);

/*
 * I/O on an image, past handoffs (fs/lock/gate.h). enter: OK: submit at once, then leave *g. WAIT: return it.  STALE: the
 * handle is revoked; BUSY: it is armed and nothing came of it.
 */
struct csv_gates;
enum csv_err freq_enter(struct csv_freq *r, bool write, struct csv_gates **g);
void freq_leave(struct csv_gates *g);
/* The same for those who have to name locks first: waits here, without any. */
enum csv_err freq_wait(struct csv_freq *r, bool write);

/* The file of the request's inode; kept until it is freed. */
enum csv_err freq_file(struct csv_freq *r, struct csv_iref ref);
/*
 * Takes a share in the lease of r->attr's image for the VM of the request's process. CSV_WAIT: park and run again with all
 * locks named; LEASED: another VM has it, the log says which.
 */
enum csv_err freq_lease(struct csv_freq *r);
/* Attributes as this node sees them; inode held PR. */
enum csv_err freq_getattr(struct csv_freq *r, struct csv_iref ref);

static inline struct csv_mount *freq_mount(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

#endif
