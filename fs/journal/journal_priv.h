/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside of the journal, shared by its files.
 *
 *   txn.c         handles: begin, dirty, end, abort
 *   commit.c      the commit thread: freeze, write, durable
 *   record.c      what a transaction looks like in the journal, and its writes
 *   wait.c        who waits for a commit
 *   checkpoint.c  images home, tail forward, sync of one lock
 *   head.c        first block of a journal
 *   scan.c        reading a journal back; replay.c what recovery does with it
 *   journal.c     open, close
 *
 * Locks, outer first: home_lock, fs->meta, journal mutex, the cache's mutex.
 * The commit thread takes fs->meta for the freeze alone.
 *
 * An image is in one of these states, and a buffer has at most one of each:
 *   frozen     being committed; never goes home
 *   committed  durable in the journal; the newest such image goes home (J5)
 *   done       home and flushed, or superseded by a newer durable one (buf == NULL)
 */
#ifndef CSV_JOURNAL_PRIV_H
#define CSV_JOURNAL_PRIV_H

#include <pthread.h>

#include "fs/disk/buf_priv.h"
#include "fs/journal/journal.h"

#define CSV_TXN_CREDITS_DEFAULT 64u
#define CSV_JOURNAL_INTERVAL_MS 5000u
/* How often a write is repeated whose flush did not count (J4) before the volume is withdrawn. */
#define CSV_FLUSH_TRIES 8u

struct csv_jtxn;

struct csv_jimage {
	struct csv_jtxn *txn;
	struct csv_cbuf *buf;   /* NULL: done */
	void *data;             /* in the transaction's record */
};

/* One transaction: running, then frozen (committing), then in the log until the tail has passed it. */
struct csv_jtxn {
	struct csv_list link;   /* in the log */
	uint64_t tid;
	/* Running; the mutex, and fs->meta exclusive for changes. */
	struct csv_list blocks; /* csv_cbuf.run */
	unsigned n;             /* of them */
	struct csv_list hooks;  /* csv_txn_hook, on durable */
	bool ordered;
	uint64_t generation;    /* ordered: of the device before the oldest data write */
	uint64_t since_ns;      /* first change, monotonic */
	/* Frozen. */
	uint64_t seq;           /* on disk */
	uint32_t pos;           /* of its first block in the journal */
	uint32_t rec_blocks;    /* descriptors, images, commit */
	uint8_t *rec;           /* exactly what lies in the journal */
	struct csv_jimage *images; /* n of them */
	unsigned left;          /* images that are not done */
};

struct csv_journal {
	struct csv_fs *fs;
	uint64_t start;         /* block of the head */
	uint32_t ring;          /* blocks behind the head: positions 1 .. ring */

	pthread_mutex_t home_lock; /* one writer of home blocks and of the head at a time */
	uint64_t head_version;  /* home_lock */

	pthread_mutex_t mutex;  /* all below */
	pthread_cond_t wake;    /* the two threads */
	struct csv_jtxn *running;
	struct csv_jtxn *committing; /* NULL: none */
	struct csv_list log;    /* durable transactions from the tail on, oldest first */
	uint32_t commit_pos;    /* where the next transaction to become durable starts */
	uint64_t commit_seq;    /* its sequence */
	uint32_t tail_pos;      /* as the head on disk says */
	uint64_t tail_seq;
	uint32_t used;          /* blocks from the tail to the end of what is written or being written */
	uint64_t durable_tid;
	uint64_t want_tid;      /* highest that anybody asked for */
	struct csv_list waiters; /* csv_commit_wait */
	unsigned interval_ms;
	bool stop;
	bool want_home;
	uint64_t last_commit_ns;
	struct csv_journal_stats stats;
	csv_journal_lost_fn lost;
	void *lost_arg;

	pthread_t commit_thread, home_thread;
	uint64_t next_op;       /* fs->meta */
};

/* Blocks of the record of a transaction of n images. */
static inline uint32_t csv_jrec_blocks(uint32_t n)
{
	return n + (n + CSV_JDESC_ENTRIES - 1) / CSV_JDESC_ENTRIES + 1;
}

/* Place of image i in a record: each descriptor precedes its images. */
static inline uint32_t csv_jrec_image(uint32_t i)
{
	return i + i / CSV_JDESC_ENTRIES + 1;
}

/* Position `n` blocks behind `pos` in a ring of `ring` blocks, which are numbered from 1. */
static inline uint32_t csv_jring_add(uint32_t ring, uint32_t pos, uint32_t n)
{
	return (uint32_t)(((uint64_t)pos - 1 + n) % ring + 1);
}

static inline bool csv_cbuf_touched_by(const struct csv_cbuf *b, struct csv_res res)
{
	if (b->ntags > CSV_BUF_TAGS)
		return true;
	for (unsigned i = 0; i < b->ntags; i++)
		if (csv_res_eq(b->tags[i], res))
			return true;
	return false;
}

struct csv_jtxn *csv_jtxn_new(uint64_t tid);
void csv_jtxn_free(struct csv_jtxn *t);
/* The journal needs the buffer no more, if that is so: gives its reference back. Mutex held. */
void csv_jbuf_release(struct csv_journal *j, struct csv_cbuf *b);

/* commit.c */
void *csv_commit_main(void *arg);
/* record.c: steps 2, and 3 with 4, of a commit (see commit.c); no lock held. */
enum csv_err csv_record_build(struct csv_journal *j, struct csv_jtxn *t);
enum csv_err csv_record_write(struct csv_journal *j, struct csv_jtxn *t);
/* wait.c: tells everybody whose transaction is durable, or all if err. Mutex not held. */
void csv_journal_tell(struct csv_journal *j, enum csv_err err);
void csv_journal_run_hooks(struct csv_list *hooks, enum csv_err err);
/* checkpoint.c */
void *csv_home_main(void *arg);
/* Writes home all committed images (res NULL) or those that `res` touched, and flushes; home_lock held. */
enum csv_err csv_home_write(struct csv_journal *j, const struct csv_res *res);
/* Moves the tail over what is home; home_lock held. */
enum csv_err csv_home_trim(struct csv_journal *j);

/* head.c */
struct csv_jhead {
	uint32_t slot, incarnation;
	uint32_t tail_pos;
	uint64_t tail_seq;
	uint64_t version;       /* of the block */
};
uint64_t csv_journal_start(const struct csv_super *sb, uint32_t slot);
enum csv_err csv_jhead_read(struct csv_bdev *dev, const struct csv_super *sb, uint32_t slot, struct csv_jhead *h,
			    struct csv_why *why);
/* Durable when it returns; version grows by one, also in *h. */
enum csv_err csv_jhead_write(struct csv_bdev *dev, const struct csv_super *sb, struct csv_jhead *h);

/* scan.c: a journal read back, piece by piece as needed. */
struct csv_jscan {
	struct csv_bdev *dev;
	const struct csv_super *sb;
	struct csv_jhead head;
	uint32_t ring;
	uint8_t *mem;           /* image of the whole journal */
	uint8_t *have;          /* which pieces of it have been read */
};
struct csv_jscan_txn {
	uint64_t seq;
	uint32_t pos, rec_blocks, images;
};
enum csv_err csv_jscan_open(struct csv_jscan *s, struct csv_bdev *dev, const struct csv_super *sb, uint32_t slot,
			    struct csv_why *why);
void csv_jscan_close(struct csv_jscan *s);
/* The complete, valid transaction `seq` at `pos`. NOENT: there is none. */
enum csv_err csv_jscan_txn(struct csv_jscan *s, uint32_t pos, uint64_t seq, struct csv_jscan_txn *t);
/* Image i of a transaction that csv_jscan_txn() found, and its home. */
void csv_jscan_image(struct csv_jscan *s, const struct csv_jscan_txn *t, uint32_t i, uint64_t *home, void **image);
/* GAP if the journal holds a valid commit of this life that is later than `seq`. */
enum csv_err csv_jscan_gap(struct csv_jscan *s, uint64_t seq, struct csv_why *why);

/* torn.c: what becomes of a home block under replay. */
enum csv_rhome_fate {
	CSV_RHOME_TORN,         /* fails its check: not known yet */
	CSV_RHOME_OLDER,        /* the image is older than, or as old as, what lies there */
	CSV_RHOME_IN_USE,       /* somebody alive is writing it */
	CSV_RHOME_WRITE
};
struct csv_rhome {
	uint64_t home;
	const struct csv_block_hdr *image;
	void *page;             /* as last read from its home */
	enum csv_rhome_fate fate;
	uint32_t crc;           /* of page, when it was asked for */
};
void csv_rhome_judge(const struct csv_super *sb, struct csv_rhome *h);
/* Decides the fate of those that are torn. IO, BUSY, or what in_use said: nothing is decided. */
enum csv_err csv_rhome_torn(struct csv_bdev *dev, const struct csv_super *sb, const struct csv_replay_ops *ops,
			    struct csv_rhome *h, size_t n, struct csv_why *why);

#endif
