/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The operations, a file per group; session.c has the table. */
#ifndef CSV_FUSE_OPS_H
#define CSV_FUSE_OPS_H

#include "fs/fuse/req.h"

/* In bodies and what they call: an error is the caller's result. */
#define TRY(call) \
	do { \
		enum csv_err try_err = (call); \
		if (try_err != CSV_OK) \
			return try_err; \
	} while (0)

/* namei.c */
void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_forget(fuse_req_t req, fuse_ino_t node, uint64_t nlookup);
void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void op_readlink(fuse_req_t req, fuse_ino_t node);
void op_link(fuse_req_t req, fuse_ino_t node, fuse_ino_t parent, const char *name);
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent, const char *newname,
	       unsigned flags);

/* Locks of a csv_create() in r->ref. */
enum csv_err create_hold(struct csv_freq *r, const struct csv_new *what);

/* reap.c: the request has succeeded; before it is answered, frees the inode if nobody has it open. */
void reap_then_reply(struct csv_freq *r, struct csv_iref victim);

/* attr.c */
void op_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void op_setattr(fuse_req_t req, fuse_ino_t node, struct stat *st, int to_set, struct fuse_file_info *fi);
void op_statfs(fuse_req_t req, fuse_ino_t node);

/* dir.c */
void op_readdir(fuse_req_t req, fuse_ino_t node, size_t size, off_t off, struct fuse_file_info *fi);
void op_fsyncdir(fuse_req_t req, fuse_ino_t node, int datasync, struct fuse_file_info *fi);

/* open.c */
void op_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi);
void op_flush(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);

/* data.c */
void op_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t off, struct fuse_file_info *fi);
void op_write(fuse_req_t req, fuse_ino_t node, const char *buf, size_t size, off_t off, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t node, int datasync, struct fuse_file_info *fi);
/* space.c */
void op_fallocate(fuse_req_t req, fuse_ino_t node, int mode, off_t off, off_t len, struct fuse_file_info *fi);
void op_lseek(fuse_req_t req, fuse_ino_t node, off_t off, int whence, struct fuse_file_info *fi);

/* image.c */
void op_ioctl(fuse_req_t req, fuse_ino_t node, unsigned cmd, void *arg, struct fuse_file_info *fi, unsigned flags,
	      const void *in, size_t in_size, size_t out_size);

/* locks.c */
void op_getlk(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi, struct flock *lock);
void op_setlk(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi, struct flock *lock, int sleep);
void op_flock(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi, int op);
/* FLUSH: the POSIX locks of one owner on one file. RELEASE: whatever came through the handle. */
void locks_drop_owner(struct csv_mount *m, uint64_t handle, uint64_t owner);
void locks_drop_handle(struct csv_mount *m, struct csv_handle *h);

/* times.c: journals the pending mtime of a file, into its lease or the inode; a body names its locks by it. Worker. */
enum csv_err times_flush(struct csv_freq *r, struct csv_file *f);
/* Once a second. */
void times_tick(struct csv_mount *m);

/* session.c: the memory that holds the request being decoded in this thread becomes the caller's; to be free()d. NULL: no. */
void *session_take_buffer(void);

#endif
