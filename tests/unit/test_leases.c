/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Leases of images: taken, shared, refused, stale, given back; two mounts of one volume joined by a cluster of engines.
 */
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_lockd.h"
#include "fs/lock/cache.h"
#include "fs/lock/handoff_int.h"
#include "fs/lock/lease.h"
#include "fs/lock/lease_move.h"
#include "lib/bdev_impl.h"
#include "vol.h"

static const struct vol_shape shape = { .blocks = 8192, .ag_blocks = 2048, .journal_blocks = 512 };

struct node {
	struct csv_fs own; /* node 1's; node 0 has the volume's */
	struct csv_fs *fs;
	struct csv_workq *workq;
	struct csv_locks *locks;
	struct csv_data *data;
	struct csv_leases *ls;
};

static struct vol v;
static struct fake_lockd *lockd;
static struct node nodes[2];
static struct csv_attr image;
static uint64_t alive; /* bits: slots */
static _Atomic unsigned taken, given_back;

static bool is_alive(void *arg, uint32_t slot, uint32_t incarnation)
{
	return alive >> slot & 1 && nodes[slot].fs && nodes[slot].fs->incarnation == incarnation;
}
static void on_taken(void *arg, struct csv_iref ref)
{
	taken++;
}
static void on_given_back(void *arg, struct csv_iref ref)
{
	given_back++;
}

static void node_up(unsigned n, struct csv_fs *fs)
{
	struct node *node = &nodes[n];
	struct csv_leases_cfg cfg = {
		.fs = fs, .nodeid = n + 1, .alive = is_alive, .taken = on_taken, .given_back = on_given_back
	};

	snprintf(cfg.node, sizeof(cfg.node), "n%u", n + 1);
	node->fs = fs;
	assert_int_equal(csv_workq_new(2, &node->workq), CSV_OK);
	assert_int_equal(csv_locks_new(fs, node->workq, fake_lockd_engine(lockd, n), NULL, &node->locks), CSV_OK);
	assert_int_equal(csv_data_new(fs, node->workq, &node->data), CSV_OK);
	fs->locks = csv_locks_ctx(node->locks);
	csv_locks_on_flush(node->locks, csv_times_before_flush, node->data);
	cfg.locks = node->locks;
	cfg.data = node->data;
	assert_int_equal(csv_leases_new(&cfg, &node->ls), CSV_OK);
	alive |= 1ull << n;
}

static void node_down(unsigned n)
{
	struct node *node = &nodes[n];

	node->fs->locks = NULL;
	csv_leases_free(node->ls);
	csv_data_free(node->data);
	csv_locks_free(node->locks);
	csv_workq_free(node->workq);
}

static int setup(void **state)
{
	struct csv_new what = { .mode = S_IFREG | 0600 };
	struct csv_why why;

	memset(nodes, 0, sizeof(nodes));
	alive = 0;
	taken = given_back = 0;
	vol_make(&v, shape);
	VOL_OK(&v, csv_create(&v.ctx, vol_root(&v), "vm.vhd", &what, &image, NULL));
	assert_int_equal(csv_journal_checkpoint(&v.fs), CSV_OK);
	lockd = fake_lockd_new(2);
	csv_why_init(&why);
	assert_int_equal(csv_fs_open(&nodes[1].own, v.dev, csv_env_system(), false, 1, 7, &why), CSV_OK);
	node_up(0, &v.fs);
	node_up(1, &nodes[1].own);
	return 0;
}

static int teardown(void **state)
{
	node_down(0);
	node_down(1);
	fake_lockd_free(lockd);
	csv_fs_close(&nodes[1].own);
	vol_free(&v);
	return 0;
}

/* ---- operations that are waited for ------------------------------------------------- */

struct job {
	struct csv_op op;
	struct node *node;
	const char *vm; /* open; NULL: close */
	struct csv_lease_ref *ref;
	struct csv_why why;
	enum csv_err err;
	sem_t done;
};

static void job_run(struct csv_op *op)
{
	struct job *j = csv_list_entry(op, struct job, op);

	csv_why_init(&j->why);
	j->err = j->vm ? csv_lease_open(j->node->ls, op, image.ref, image.lease, j->vm, &j->ref, &j->why)
		       : csv_lease_close(j->node->ls, op, j->ref);
	if (j->err == CSV_WAIT) {
		csv_op_park(op);
		return;
	}
	csv_op_done(op);
	sem_post(&j->done);
}
static void job_fail(struct csv_op *op, enum csv_err err)
{
	struct job *j = csv_list_entry(op, struct job, op);

	if (j->vm)
		csv_lease_cancel(j->node->ls, op);
	else
		csv_lease_forget(j->node->ls, op, j->ref);
	j->err = err;
	sem_post(&j->done);
}
static void job_start(struct job *j, unsigned n, const char *vm, struct csv_lease_ref *ref)
{
	memset(j, 0, sizeof(*j));
	j->node = &nodes[n];
	j->vm = vm;
	j->ref = ref;
	sem_init(&j->done, 0, 0);
	csv_op_init(&j->op, j->node->locks, job_run, job_fail);
	job_run(&j->op);
}
static enum csv_err job_wait(struct job *j)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += 20;
	assert_int_equal(sem_timedwait(&j->done, &ts), 0);
	sem_destroy(&j->done);
	return j->err;
}
static enum csv_err open_lease(unsigned n, const char *vm, struct csv_lease_ref **ref, struct csv_why *why)
{
	struct job j;
	enum csv_err err;

	job_start(&j, n, vm, NULL);
	err = job_wait(&j);
	*ref = j.ref;
	if (why)
		*why = j.why;
	return err;
}
static enum csv_err close_lease(unsigned n, struct csv_lease_ref *ref)
{
	struct job j;

	job_start(&j, n, NULL, ref);
	return job_wait(&j);
}

static struct csv_lease peek(void)
{
	struct csv_lease l;

	assert_int_equal(csv_lease_peek(&v.fs, image.ref, image.lease, &l), CSV_OK);
	return l;
}
#define EVENTUALLY(cond)                                                                                               \
	do {                                                                                                           \
		for (int ms = 0; !(cond) && ms < 5000; ms++)                                                           \
			usleep(1000);                                                                                  \
		assert_true(cond);                                                                                     \
	} while (0)

/* ---- tests ----------------------------------------------------------------------------- */

static void test_open_close(void **state)
{
	struct csv_res res = csv_res(CSV_RES_LEASE, image.ref.ino);
	struct csv_lease_ref *a, *b;
	struct csv_lease l;

	assert_int_equal(open_lease(0, "vm1", &a, NULL), CSV_OK);
	assert_true(csv_hold_pinned(nodes[0].locks, res));
	assert_int_equal(csv_lease_epoch(a), 1);
	assert_int_equal(taken, 1);
	assert_int_equal(open_lease(0, "vm1", &b, NULL), CSV_OK); /* the same VM: a share */
	assert_int_equal(taken, 1);
	assert_true(csv_lease_held(nodes[0].ls, image.ref, &l));
	assert_int_equal(l.mode, CSV_LEASE_EXCLUSIVE);
	assert_string_equal(l.vm, "vm1");
	assert_string_equal(l.node, "n1");
	assert_int_equal(close_lease(0, a), CSV_OK);
	assert_true(csv_lease_held(nodes[0].ls, image.ref, NULL));
	assert_int_equal(close_lease(0, b), CSV_OK);
	assert_false(csv_lease_held(nodes[0].ls, image.ref, NULL));
	assert_int_equal(given_back, 1);
	/* The lock is not kept: others ask for it without queueing. */
	EVENTUALLY(fake_lockd_mode(lockd, 0, res) == CSV_NL);
	l = peek();
	assert_int_equal(l.mode, CSV_LEASE_NONE);
	assert_int_equal(l.epoch, 1);
	assert_int_equal(open_lease(0, "vm2", &a, NULL), CSV_OK);
	assert_int_equal(csv_lease_epoch(a), 2);
	assert_int_equal(close_lease(0, a), CSV_OK);
}

/* When the open is answered, a crash does not undo it. */
static void test_durable_before_answer(void **state)
{
	struct csv_lease_ref *a;
	uint64_t tid = csv_journal_last_tid(&v.fs);

	assert_int_equal(open_lease(0, "vm1", &a, NULL), CSV_OK);
	assert_true(csv_journal_is_durable(&v.fs, tid));
	assert_int_equal(close_lease(0, a), CSV_OK);
}

/* H2: a slot is not a VM. */
static void test_second_vm_same_node(void **state)
{
	struct csv_lease_ref *a, *b;
	struct csv_why why;

	assert_int_equal(open_lease(0, "vm1", &a, NULL), CSV_OK);
	assert_int_equal(open_lease(0, "vm2", &b, &why), CSV_LEASED);
	assert_non_null(strstr(why.text, "leased by VM vm1 on node n1 since 20"));
	assert_null(b);
	assert_int_equal(close_lease(0, a), CSV_OK);
	assert_int_equal(open_lease(0, "vm2", &b, NULL), CSV_OK);
	assert_int_equal(close_lease(0, b), CSV_OK);
}

static void test_other_node(void **state)
{
	struct csv_lease_ref *a, *b;
	struct csv_why why;

	assert_int_equal(open_lease(0, "vm1", &a, NULL), CSV_OK);
	assert_int_equal(csv_journal_checkpoint(&v.fs), CSV_OK);
	assert_int_equal(open_lease(1, "vm1", &b, &why), CSV_LEASED); /* the same name does not help */
	assert_non_null(strstr(why.text, "leased by VM vm1 on node n1"));
	assert_int_equal(close_lease(0, a), CSV_OK);
	assert_int_equal(open_lease(1, "vm1", &b, NULL), CSV_OK); /* at once, whatever is still on its way */
	assert_int_equal(csv_lease_epoch(b), 2);
	assert_int_equal(close_lease(1, b), CSV_OK);
}

/* The holder has died: while its lock is not free, the open waits; then the stale lease is taken. */
static void test_stale(void **state)
{
	struct csv_lease_ref *a, *b;
	struct job j;

	assert_int_equal(open_lease(0, "vm1", &a, NULL), CSV_OK);
	assert_int_equal(csv_journal_checkpoint(&v.fs), CSV_OK);
	alive = 2;
	job_start(&j, 1, "vm1", NULL);
	usleep(200000);
	assert_int_not_equal(sem_trywait(&j.done), 0); /* neither refused nor granted */
	csv_lease_gone(nodes[0].ls, image.ref);	       /* as if recovered: the lock is free, the block as it was */
	assert_int_equal(job_wait(&j), CSV_OK);
	b = j.ref;
	assert_int_equal(csv_lease_epoch(b), 2);
	assert_int_equal(csv_journal_checkpoint(nodes[1].fs), CSV_OK);
	assert_int_equal(peek().slot, 1);
	assert_int_equal(close_lease(0, a), CSV_OK); /* without meaning: nothing is written */
	assert_int_equal(csv_journal_checkpoint(&v.fs), CSV_OK);
	assert_int_equal(peek().slot, 1);
	assert_int_equal(peek().mode, CSV_LEASE_EXCLUSIVE);
	assert_int_equal(close_lease(1, b), CSV_OK);
}

/* Many opens and closes at once: one lease, no one left waiting. */
static void test_crowd(void **state)
{
	static struct job open[12], close[12];
	unsigned ok = 0;

	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < 12; i++)
			job_start(&open[i], i % 2, i % 3 ? "vm1" : "vm2", NULL);
		for (unsigned i = 0; i < 12; i++) {
			enum csv_err err = job_wait(&open[i]);

			assert_true(err == CSV_OK || err == CSV_LEASED || err == CSV_BUSY);
			ok += err == CSV_OK;
		}
		for (unsigned i = 0; i < 12; i++)
			if (open[i].ref)
				job_start(&close[i], i % 2, NULL, open[i].ref);
		for (unsigned i = 0; i < 12; i++)
			if (open[i].ref)
				assert_int_equal(job_wait(&close[i]), CSV_OK);
	}
	assert_true(ok >= 5);
	assert_int_equal(taken, given_back);
}

/* ---- times -------------------------------------------------------------------------------- */

static struct timespec inode_mtime(unsigned n)
{
	struct csv_fs *fs = nodes[n].fs;
	struct csv_lockctx *locks = fs->locks;
	struct csv_buf *buf;
	struct csv_attr attr;

	fs->locks = NULL; /* a look from outside */
	csv_fs_lock_shared(fs);
	assert_int_equal(csv_inode_get(fs, image.ref, &buf), CSV_OK);
	csv_inode_attr(buf, &attr);
	csv_buf_put(fs, buf);
	csv_fs_unlock(fs);
	fs->locks = locks;
	return attr.mtime;
}

static void test_times_go_to_block_then_inode(void **state)
{
	struct timespec before = inode_mtime(0), t = { before.tv_sec + 100, 5 };
	struct csv_lease_ref *a;

	assert_int_equal(open_lease(0, "vm1", &a, NULL), CSV_OK);
	csv_lease_note_times(nodes[0].ls, image.ref, t);
	assert_int_equal(inode_mtime(0).tv_sec, before.tv_sec);
	assert_int_equal(close_lease(0, a), CSV_OK);
	assert_int_equal(inode_mtime(0).tv_sec, t.tv_sec);
	assert_int_equal(inode_mtime(0).tv_nsec, t.tv_nsec);
}

static void test_times_set_by_hand_stay(void **state)
{
	struct timespec before = inode_mtime(0);
	struct csv_lease_ref *a;

	assert_int_equal(open_lease(0, "vm1", &a, NULL), CSV_OK);
	csv_lease_note_times(nodes[0].ls, image.ref, (struct timespec){ before.tv_sec + 100, 5 });
	csv_lease_forget_times(nodes[0].ls, image.ref);
	assert_int_equal(close_lease(0, a), CSV_OK);
	assert_int_equal(inode_mtime(0).tv_sec, before.tv_sec);
}

static void test_sync_times_without_lease(void **state)
{
	struct csv_file *f;
	uint64_t tid;

	assert_int_equal(csv_file_get(nodes[0].data, image.ref, &f), CSV_OK);
	assert_int_equal(csv_lease_sync_times(nodes[0].ls, f, &tid), CSV_NOENT);
	csv_file_put(nodes[0].data, f);
}

/* ---- the volume goes out -------------------------------------------------------------------- */

static void test_out_while_taking(void **state)
{
	struct csv_lease_ref *a;
	struct job j;

	assert_int_equal(open_lease(0, "vm1", &a, NULL), CSV_OK);
	assert_int_equal(csv_journal_checkpoint(&v.fs), CSV_OK);
	alive = 2;
	job_start(&j, 1, "vm1", NULL); /* waits for the recovery that will not come */
	usleep(100000);
	csv_fs_withdraw(nodes[1].fs, CSV_FENCED, "test");
	csv_locks_out(nodes[1].locks, CSV_FENCED);
	assert_int_equal(job_wait(&j), CSV_FENCED);
	alive = 3;
	assert_int_equal(close_lease(0, a), CSV_OK);
}

static void test_close_when_out(void **state)
{
	struct csv_lease_ref *a;

	assert_int_equal(open_lease(1, "vm1", &a, NULL), CSV_OK);
	csv_fs_withdraw(nodes[1].fs, CSV_FENCED, "test");
	csv_locks_out(nodes[1].locks, CSV_FENCED);
	assert_int_equal(close_lease(1, a), CSV_FENCED);
	assert_false(csv_lease_held(nodes[1].ls, image.ref, NULL));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
/* ---- a handoff's commit --------------------------------------------------------------- */

static enum csv_err ho_send(void *arg, const struct csv_msg *msg)
{
	return CSV_OK;
}
static void ho_revoke(void *arg, struct csv_iref ref, bool on)
{
}
static void ho_adopt(void *arg, struct csv_iref ref, const uint8_t id[16], uint64_t ordered_ns)
{
}
static void ho_state(void *arg, struct csv_iref ref, enum csv_handle_state state, uint64_t epoch)
{
}
static uint64_t ho_last_io(void *arg, struct csv_iref ref)
{
	return 0;
}
static void ho_ranges(void *arg, struct csv_iref ref, bool gone)
{
}

struct io_wait {
	struct csv_data_req req;
	enum csv_err err;
	sem_t done;
};

static void io_done(struct csv_data_req *req, enum csv_err err)
{
	struct io_wait *w = csv_list_entry(req, struct io_wait, req);

	w->err = err;
	sem_post(&w->done);
}

/* One block of the image is written; buf NULL: fsync for the handle with this account. */
static enum csv_err image_io(struct csv_file *file, void *buf, _Atomic uint64_t *account)
{
	struct io_wait w = { .req = {
				 .ctx = v.ctx, .file = file, .buf = buf, .len = CSV_BLOCK_SIZE, .done = io_done } };

	w.req.err_seen = account;
	sem_init(&w.done, 0, 0);
	v.fs.locks = NULL; /* all are held */
	if (buf)
		csv_data_write(nodes[0].data, &w.req);
	else
		csv_data_sync(nodes[0].data, &w.req, true);
	sem_wait(&w.done);
	sem_destroy(&w.done);
	v.fs.locks = csv_locks_ctx(nodes[0].locks);
	return w.err;
}

/* J4, H5: what was lost before anybody was told does not move: at the source nobody would ever be told. */
static void test_handoff_of_lost_writes(void **state)
{
	struct csv_handoffs_cfg cfg = { .fs = &v.fs,
					.locks = nodes[0].locks,
					.data = nodes[0].data,
					.leases = nodes[0].ls,
					.nodeid = 1,
					.node = "n1",
					.send = ho_send,
					.revoke = ho_revoke,
					.adopt = ho_adopt,
					.state = ho_state,
					.last_io = ho_last_io,
					.ranges = ho_ranges };
	struct ho_bundle b = { .id = "handoff", .nfiles = 1 };
	void *buf = aligned_alloc(CSV_BLOCK_SIZE, CSV_BLOCK_SIZE);
	_Atomic uint64_t account = 0;
	struct csv_handoffs *hs;
	struct csv_lease_ref *a;
	struct csv_file *file;

	memset(buf, 'x', CSV_BLOCK_SIZE);
	b.src = (struct csv_ho_life){ .nodeid = 1, .slot = 0, .incarnation = v.fs.incarnation, .node = "n1" };
	b.dst = (struct csv_ho_life){ .nodeid = 2, .slot = 1, .incarnation = 7, .node = "n2" };
	b.file[0] = (struct ho_file){ .ref = image.ref, .block = image.lease };
	assert_int_equal(csv_handoffs_new(&cfg, &hs), CSV_OK);
	assert_int_equal(open_lease(0, "vm1", &a, NULL), CSV_OK);
	assert_int_equal(csv_file_get(nodes[0].data, image.ref, &file), CSV_OK);
	vol_hold_all(&v);
	assert_int_equal(image_io(file, buf, NULL), CSV_OK);
	assert_int_equal(image_io(file, NULL, &account), CSV_OK);

	assert_int_equal(image_io(file, buf, NULL), CSV_OK);
	csv_bdev_generation_bump(v.dev); /* the flush of the handoff itself does not count */
	assert_int_equal(csv_ho_job(hs, &b, CSV_HO_COMMIT), CSV_HO_JOB_NO);
	assert_int_equal(b.err, CSV_IO);
	assert_int_equal(peek().slot, 0);
	assert_int_equal(csv_ho_job(hs, &b, CSV_HO_COMMIT), CSV_HO_JOB_NO); /* nobody has been told yet */
	assert_true(csv_lease_held(nodes[0].ls, image.ref, NULL));
	assert_int_equal(image_io(file, NULL, &account), CSV_IO);

	assert_int_equal(image_io(file, buf, NULL), CSV_OK);
	assert_int_equal(csv_ho_job(hs, &b, CSV_HO_COMMIT), CSV_HO_JOB_OK);
	assert_int_equal(peek().slot, 1);
	assert_int_equal(image_io(file, NULL, &account), CSV_OK);
	csv_file_put(nodes[0].data, file);
	assert_int_equal(close_lease(0, a), CSV_OK);
	csv_handoffs_free(hs);
	free(buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_open_close),
		T(test_durable_before_answer),
		T(test_second_vm_same_node),
		T(test_other_node),
		T(test_stale),
		T(test_crowd),
		T(test_times_go_to_block_then_inode),
		T(test_times_set_by_hand_stay),
		T(test_sync_times_without_lease),
		T(test_out_while_taking),
		T(test_close_when_out),
		T(test_handoff_of_lost_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
