/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block device: the one way to the LUN.
 *
 * Back ends: a plain file or /dev path (io_uring, with a pread/pwrite thread
 * fallback), an iSCSI LUN by libiscsi, memory (tests), and the recorder, which
 * wraps another device and keeps the log of its writes and flushes.
 *
 * I/O is asynchronous: csv_bdev_submit() takes a csv_io that the caller owns
 * until its done() has run.  done() may run in submit() itself or in the
 * device's own thread; it must not block and must not submit-and-wait.  Any
 * thread may submit.  Requests in flight have no order among each other; a
 * flush covers every write whose done() ran before the flush was submitted.
 */
#ifndef CSV_LIB_BDEV_H
#define CSV_LIB_BDEV_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "csv/err.h"

struct csv_bdev;
struct csv_io;
struct csv_scsi_cmd;

enum csv_io_op {
	CSV_IO_READ,
	CSV_IO_WRITE,
	CSV_IO_FLUSH,   /* SYNCHRONIZE CACHE / fdatasync; off and len ignored */
	CSV_IO_DISCARD, /* UNMAP / punch; a hint, contents afterwards undefined */
};

#define CSV_IO_FUA 1u /* write: durable when done; the device emulates it by a flush if it lacks DPOFUA */
#define CSV_IO_PATIENT 2u /* of the synchronous helpers: does not take LUNFULL for an answer (csv_bdev_on_full) */

struct csv_io {
	enum csv_io_op op;
	unsigned flags;
	uint64_t off;             /* bytes, multiple of the logical block size */
	uint64_t len;             /* bytes, multiple of the logical block size, sum of iov for reads and writes */
	const struct iovec *iov;  /* memory aligned to 4096 lets O_DIRECT work without a bounce copy */
	int niov;
	void (*done)(struct csv_io *io, enum csv_err err);
	void *arg;                /* the caller's */
	void *priv[4];            /* the device's while in flight */
};

struct csv_bdev_geometry {
	uint64_t size;            /* bytes */
	uint32_t block;           /* logical block: 512 or 4096 */
	bool fua;                 /* DPOFUA: FUA without a flush */
	bool discard;
};

/* Counters since open, for `csvadm status`; read without locking. */
struct csv_bdev_stats {
	uint64_t reads, writes, flushes, discards; /* requests */
	uint64_t bytes_read, bytes_written;
	uint64_t sessions;        /* iSCSI logins */
};

/* State of the path, for `paused` and `failed` (ARCHITECTURE 9). */
enum csv_path_state {
	CSV_PATH_ONLINE,
	CSV_PATH_PAUSED,          /* requests wait for the path */
	CSV_PATH_FAILED,          /* path_timeout has passed: requests fail with CSV_UNREACH */
	CSV_PATH_FENCED,          /* our slot is fenced: all requests fail with CSV_FENCED */
};

enum csv_slot_verdict {
	CSV_VERDICT_ALIVE,        /* the slot block says that this life goes on */
	CSV_VERDICT_FENCED,
	CSV_VERDICT_UNSURE,       /* block unreadable: try again, send nothing else */
};

/*
 * Way back after a session loss or reservation conflict (F2).  The device sends
 * nothing until it has read `slot_block` and judge() has said ALIVE, then
 * registers pr_key, reads and judges again, and only then resends what it holds.
 * state() tells the owner of each change, from the device's thread.
 */
struct csv_bdev_guard {
	uint64_t slot_block;      /* 4096-byte block number */
	uint64_t pr_key;
	enum csv_slot_verdict (*judge)(void *arg, const void *block);
	void (*state)(void *arg, enum csv_path_state state, const char *reason);
	void *arg;
	unsigned path_timeout_ms;
};

/* SCSI persistent reservations (SPC-4 5.12, 6.15, 6.16). Types as in SPC-4 table "persistent reservation type". */
enum csv_pr_type {
	CSV_PR_NONE = 0,
	CSV_PR_WRITE_EXCLUSIVE_REG_ONLY = 5,
	CSV_PR_WRITE_EXCLUSIVE_ALL_REG = 7,
};
struct csv_pr_status {
	uint32_t generation;
	unsigned nkeys;
	uint64_t keys[256];
	enum csv_pr_type type;    /* NONE: nothing reserved */
	uint64_t holder;
};

struct csv_bdev_ops {
	const char *name;
	void (*submit)(struct csv_bdev *dev, struct csv_io *io);
	/* All below block; never call them from done(). NULL: the device has no reservations. */
	enum csv_err (*pr_register)(struct csv_bdev *dev, uint64_t key); /* REGISTER AND IGNORE; key 0 unregisters */
	enum csv_err (*pr_reserve)(struct csv_bdev *dev, uint64_t key, enum csv_pr_type type);
	/* PREEMPT AND ABORT; where refused PREEMPT, then LOGICAL UNIT RESET and its answer (F3). *aborted: which way. */
	enum csv_err (*pr_preempt)(struct csv_bdev *dev, uint64_t key, uint64_t victim, enum csv_pr_type type,
				   bool *aborted);
	enum csv_err (*pr_status)(struct csv_bdev *dev, struct csv_pr_status *st); /* READ KEYS + READ RESERVATION */
	/* One SCSI command (lib/scsi.h), for probing; may be sent again if its answer is lost. NULL: no SCSI. */
	enum csv_err (*scsi)(struct csv_bdev *dev, struct csv_scsi_cmd *cmd);
	void (*set_guard)(struct csv_bdev *dev, const struct csv_bdev_guard *guard); /* copied; NULL: none */
	void (*close)(struct csv_bdev *dev); /* waits for requests in flight */
};

/*
 * A thin LUN whose array has no space left answers a write, or a flush, with CSV_LUNFULL.  It is the request's own
 * error; nothing is tried again below.  A journal cannot do with it, nor can it be told to anybody: its owner asks
 * with CSV_IO_PATIENT for what has to be written, and that waits for as long as the array takes, or until the device is
 * stopped or has another error.
 */
struct csv_bdev_full {
	void (*tell)(void *arg, bool waits); /* somebody waits for space now, nobody does any more; any thread */
	void *arg;
	pthread_mutex_t lock;                /* held while it is told */
	unsigned waiting;                    /* threads */
	uint64_t until_ms;                   /* monotonic; 0: as long as it takes */
};

/* Every back end's struct starts with this one. */
struct csv_bdev {
	const struct csv_bdev_ops *ops;
	struct csv_bdev_geometry geo;
	struct csv_bdev_stats stats;
	/*
	 * Grows at each session loss, power-on unit attention or lost registration:
	 * a flush only counts if it is the same as before the first write that the
	 * flush covers (J4).  Read with csv_bdev_generation().
	 */
	uint64_t generation;
	int stopped;              /* csv_bdev_stop() */
	struct csv_bdev_full *full; /* NULL: nobody waits for space */
};

#define CSV_BDEV_RDONLY 1u
#define CSV_BDEV_EXCLUSIVE 2u  /* O_EXCL on devices, OFD lock on files: CSV_BUSY if another has it */
#define CSV_BDEV_BUFFERED 4u   /* tools and tests: no O_DIRECT */

/*
 * Opens a LUN by its name: a path, or iscsi://host[:port][,host2]/IQN/LUN[?chap=NAME].
 * A secret in the URL is refused (CSV_USAGE) with the advice to use /etc/csvfs/chap/NAME (0600).
 * On success *dev is to be closed with csv_bdev_close().
 * Errors: NOENT, ACCESS, BUSY, UNREACH (target down), INVAL (no block device), IO.
 */
enum csv_err csv_bdev_open(const char *lun, unsigned flags, struct csv_bdev **dev, struct csv_why *why);
void csv_bdev_close(struct csv_bdev *dev);

/* In memory, sparse, zero-filled; `block` 512 or 4096. For tests. */
enum csv_err csv_bdev_mem(uint64_t size, uint32_t block, struct csv_bdev **dev);

/*
 * From now on every write and discard fails with CSV_WITHDRAWN; reads, flushes and what was submitted before go on.
 * For good; any thread, never blocks.
 */
static inline void csv_bdev_stop(struct csv_bdev *dev)
{
	__atomic_store_n(&dev->stopped, 1, __ATOMIC_SEQ_CST);
}
static inline bool csv_bdev_stopped(const struct csv_bdev *dev)
{
	return __atomic_load_n(&dev->stopped, __ATOMIC_SEQ_CST);
}

static inline void csv_bdev_submit(struct csv_bdev *dev, struct csv_io *io)
{
	if (csv_bdev_stopped(dev) && (io->op == CSV_IO_WRITE || io->op == CSV_IO_DISCARD))
		io->done(io, CSV_WITHDRAWN);
	else
		dev->ops->submit(dev, io);
}
uint64_t csv_bdev_generation(struct csv_bdev *dev);

/*
 * The iSCSI name of this host, which tells it from all others: $CSV_INITIATOR, /etc/csvfs/initiatorname, or made from host
 * name and machine id.  The same whatever the way to the LUN is.
 */
void csv_initiator_name(char *name, size_t size);

/* Synchronous helpers: submit and wait. Never from done(). Offsets and lengths in bytes. */
enum csv_err csv_bdev_read(struct csv_bdev *dev, uint64_t off, void *buf, size_t len);
enum csv_err csv_bdev_write(struct csv_bdev *dev, uint64_t off, const void *buf, size_t len, unsigned flags);
enum csv_err csv_bdev_flush(struct csv_bdev *dev);
enum csv_err csv_bdev_flush_patient(struct csv_bdev *dev);
/* From now on patient requests wait for space, and `tell` hears of it. *full lives as long as the device. */
void csv_bdev_on_full(struct csv_bdev *dev, struct csv_bdev_full *full, void (*tell)(void *arg, bool waits), void *arg);
/* Nobody waits for space longer than this from now on; any thread. */
void csv_bdev_full_at_most(struct csv_bdev *dev, unsigned ms);

/* Several writes in flight at once, then wait for all; the first error wins. */
struct csv_bdev_batch;
enum csv_err csv_bdev_batch_begin(struct csv_bdev *dev, struct csv_bdev_batch **batch);
enum csv_err csv_bdev_batch_write(struct csv_bdev_batch *batch, uint64_t off, const void *buf, size_t len, unsigned flags);
enum csv_err csv_bdev_batch_read(struct csv_bdev_batch *batch, uint64_t off, void *buf, size_t len);
enum csv_err csv_bdev_batch_wait(struct csv_bdev_batch *batch); /* waits and frees */

#endif
