/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one list of csvfs errors.
 *
 * Every function of csvfs that can fail returns `enum csv_err`; CSV_OK is 0.
 * errno values appear only at the FUSE edge (csv_err_errno) and exit codes only
 * in the tools (csv_err_exit).
 */
#ifndef CSV_ERR_H
#define CSV_ERR_H

#include <stdint.h>

/* X(name, errno at the FUSE edge, exit code of csvadm, text for people) */
#define CSV_ERR_LIST(X) \
	X(OK, 0, 0, "ok") \
	/* input and output */ \
	X(IO, EIO, 1, "input/output error") \
	X(NOMEM, ENOMEM, 1, "out of memory") \
	X(INTERNAL, EIO, 1, "internal error") \
	X(INVAL, EINVAL, 2, "invalid argument") \
	X(USAGE, EINVAL, 2, "wrong usage") \
	X(NOTSUP, EOPNOTSUPP, 1, "operation not supported") \
	X(TIMEOUT, ETIMEDOUT, 6, "timed out") \
	X(INTR, EINTR, 1, "interrupted") \
	X(AGAIN, EAGAIN, 3, "resource temporarily unavailable") \
	/* names and files */ \
	X(NOENT, ENOENT, 4, "not found") \
	X(EXIST, EEXIST, 3, "exists already") \
	X(NOTDIR, ENOTDIR, 2, "not a directory") \
	X(ISDIR, EISDIR, 2, "is a directory") \
	X(NOTEMPTY, ENOTEMPTY, 3, "directory not empty") \
	X(NAMETOOLONG, ENAMETOOLONG, 2, "name too long") \
	X(STALE, ESTALE, 4, "stale file handle") \
	X(PERM, EPERM, 1, "operation not permitted") \
	X(ACCESS, EACCES, 1, "permission denied") \
	X(MLINK, EMLINK, 1, "too many links") \
	X(FBIG, EFBIG, 2, "file too large") \
	X(NOSPC, ENOSPC, 1, "no space left on volume") \
	X(ROFS, EROFS, 1, "mounted read-only") \
	X(BADF, EBADF, 2, "bad file handle") \
	/* sharing */ \
	X(BUSY, EBUSY, 3, "busy") \
	X(LEASED, EBUSY, 3, "leased by another VM") \
	X(LOCKED, EAGAIN, 3, "byte range locked by another handle") \
	X(DEADLK, EDEADLK, 3, "lock would deadlock") \
	X(WAIT, EAGAIN, 3, "waits for a lock") \
	/* cluster */ \
	X(NOQUORUM, EAGAIN, 5, "no quorum") \
	X(NOCLUSTER, ENOTCONN, 5, "no cluster") \
	X(NOTCONN, ENOTCONN, 5, "no connection to csvlockd") \
	X(UNREACH, EIO, 6, "unreachable") \
	X(PROTO, EPROTO, 1, "protocol violation") \
	X(FENCED, EIO, 7, "fenced") \
	X(WITHDRAWN, EIO, 7, "volume withdrawn on this node") \
	X(CONFLICT, EIO, 7, "SCSI reservation conflict") \
	X(KEPT, EBUSY, 10, "handoff kept at the source") \
	/* what lies on disk */ \
	X(DAMAGED, EIO, 8, "damaged") \
	X(CHECKSUM, EIO, 8, "bad checksum") \
	X(IDENTITY, EIO, 8, "block is not what it should be") \
	X(GAP, EIO, 8, "gap in the journal") \
	X(NOTCSV, EINVAL, 9, "not a csvfs volume") \
	X(FOREIGN, EINVAL, 9, "foreign content") \
	X(OTHERCLUSTER, EINVAL, 9, "belongs to another cluster") \
	X(FEATURE, EINVAL, 9, "unknown feature") \
	/* later ones: the numbers travel between nodes, so those above keep theirs */ \
	X(LUNFULL, ENOSPC, 1, "the LUN is full at the array")

enum csv_err {
#define CSV_ERR_ENUM(name, no, code, text) CSV_##name,
	CSV_ERR_LIST(CSV_ERR_ENUM)
#undef CSV_ERR_ENUM
	CSV_ERR_COUNT
};

/* Lower-case identifier of an error ("noquorum"), for JSON and logs; never NULL. */
const char *csv_err_name(enum csv_err err);
/* One short text for people, without a full stop; never NULL. */
const char *csv_err_text(enum csv_err err);
/* errno (positive, 0 for CSV_OK) that the FUSE edge answers. */
int csv_err_errno(enum csv_err err);
/* Exit code of csvadm, 0 to 10 as in docs/COMMANDS. */
int csv_err_exit(enum csv_err err);
/* The reverse of csv_err_errno for system calls; unknown values give CSV_IO. */
enum csv_err csv_err_from_errno(int no);

/*
 * Why something failed, for the one line that a person gets:
 * "WHAT: WHY; WHAT TO DO".  Filled by the function that fails first, passed up
 * unchanged.  All functions accept NULL where nobody wants to know.
 */
struct csv_why {
	enum csv_err err;
	uint64_t block;  /* block number, UINT64_MAX if none */
	char text[240];  /* why, no full stop */
	char hint[160];  /* what to do; may be empty */
};

/* Fills *why (if not NULL and not filled yet) and returns err. */
enum csv_err csv_fail(struct csv_why *why, enum csv_err err, const char *hint, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The same with a block number. */
enum csv_err csv_fail_block(struct csv_why *why, enum csv_err err, uint64_t block, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void csv_why_init(struct csv_why *why);

#endif
