/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Byte-range locks as fs/fuse asks for them, decided here or by csvlockd; and which VM a process is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "fs/lock/brl.h"
#include "fs/lock/vm.h"

static struct csv_ranges *r;
static pthread_mutex_t sent_lock = PTHREAD_MUTEX_INITIALIZER;
static struct csv_msg sent[64];
static unsigned nsent;

static enum csv_err send_msg(void *arg, const struct csv_msg *msg)
{
	pthread_mutex_lock(&sent_lock);
	if (nsent < 64)
		sent[nsent++] = *msg;
	pthread_mutex_unlock(&sent_lock);
	return CSV_OK;
}

static int setup_local(void **state)
{
	struct csv_ranges_cfg cfg = { .nodeid = 1 };

	nsent = 0;
	return csv_ranges_new(&cfg, &r) ? -1 : 0;
}
static int setup_cluster(void **state)
{
	struct csv_ranges_cfg cfg = { .nodeid = 1, .send = send_msg };

	nsent = 0;
	return csv_ranges_new(&cfg, &r) ? -1 : 0;
}
static int teardown(void **state)
{
	csv_ranges_free(r);
	return 0;
}

struct req {
	struct csv_range_req q;
	_Atomic int err; /* -1: not answered */
};
static void done(struct csv_range_req *q, enum csv_err err)
{
	csv_list_entry(q, struct req, q)->err = (int)err;
}
static void prepare(struct req *x, uint64_t handle, uint32_t type, uint64_t start, uint64_t end, bool wait)
{
	memset(x, 0, sizeof(*x));
	x->err = -1;
	x->q.done = done;
	x->q.wait = wait;
	x->q.brl = (struct csv_brl){
		.ino = 5, .gen = 1, .handle = handle, .owner = handle, .start = start, .end = end, .type = type
	};
}
static void ask(struct req *x, uint64_t handle, uint32_t type, uint64_t start, uint64_t end, bool wait)
{
	prepare(x, handle, type, start, end, wait);
	csv_range_set(r, &x->q);
}
/* As a process with F_SETLKW. */
static void ask_process(struct req *x, uint64_t owner, uint32_t type, uint64_t start, uint64_t end)
{
	prepare(x, owner, type, start, end, true);
	x->q.process = true;
	csv_range_set(r, &x->q);
}
static void ask_flock(struct req *x, uint64_t handle, uint32_t type, bool wait)
{
	prepare(x, handle, type, 0, UINT64_MAX, wait);
	x->q.brl.flock = 1;
	csv_range_set(r, &x->q);
}
static void answer(unsigned i, enum csv_err err)
{
	struct csv_msg msg;

	pthread_mutex_lock(&sent_lock);
	assert_true(i < nsent);
	msg = sent[i];
	pthread_mutex_unlock(&sent_lock);
	msg.type = CSV_MSG_BRL_RESULT;
	msg.err = err;
	msg.brl.nodeid = 2;
	csv_ranges_result(r, &msg);
}
static void test_local(void **state)
{
	struct req a, b, c, d;

	ask(&a, 1, F_WRLCK, 0, 99, false);
	assert_int_equal(a.err, CSV_OK);
	ask(&b, 2, F_RDLCK, 50, 60, false);
	assert_int_equal(b.err, CSV_LOCKED);
	assert_int_equal(b.q.brl.handle, 1);
	assert_int_equal(b.q.brl.end, 99);
	ask(&c, 2, F_RDLCK, 50, 60, true);
	ask(&d, 3, F_WRLCK, 70, 80, true);
	assert_int_equal(c.err, -1);
	ask(&a, 1, F_UNLCK, 40, 65, false);
	assert_int_equal(c.err, CSV_OK);
	assert_int_equal(d.err, -1);
	csv_range_drop(r, 1);
	assert_int_equal(d.err, CSV_OK);
	assert_int_equal(nsent, 0);
}

static void test_cancel_and_drop_of_waiters(void **state)
{
	struct req a, b, c;

	ask(&a, 1, F_WRLCK, 0, UINT64_MAX, false);
	ask(&b, 2, F_WRLCK, 0, 0, true);
	ask(&c, 3, F_WRLCK, 0, 0, true);
	csv_range_cancel(r, &b.q);
	assert_int_equal(b.err, CSV_INTR);
	csv_range_drop(r, 3); /* its file is closed while it waits */
	assert_int_equal(c.err, CSV_INTR);
	ask(&b, 2, F_WRLCK, 5, 4, false);
	assert_int_equal(b.err, CSV_INVAL);
}

/* First come, first served; and a granted lock that replaces a stronger one lets in who came before it. */
static void test_local_order(void **state)
{
	struct req a, b, c, d, e;

	ask(&a, 1, F_WRLCK, 0, 9, false);
	ask(&b, 2, F_WRLCK, 20, 29, false);
	ask(&c, 3, F_WRLCK, 20, 29, true);
	ask(&d, 4, F_RDLCK, 0, 9, true);
	ask(&e, 1, F_RDLCK, 0, 24, true);
	csv_range_drop(r, 2);
	assert_int_equal(c.err, CSV_OK);
	assert_int_equal(e.err, -1);
	ask(&c, 3, F_UNLCK, 20, 24, false);
	assert_int_equal(e.err, CSV_OK);
	assert_int_equal(d.err, CSV_OK);
}

static void test_local_deadlock(void **state)
{
	struct req a, b, c, d;

	ask(&a, 1, F_RDLCK, 0, 9, false);
	ask(&b, 2, F_RDLCK, 0, 9, false);
	ask_process(&c, 1, F_WRLCK, 0, 9);
	assert_int_equal(c.err, -1);
	ask(&d, 2, F_WRLCK, 0, 9, true); /* an open file's: nobody can tell */
	assert_int_equal(d.err, -1);
	csv_range_cancel(r, &d.q);
	ask_process(&d, 2, F_WRLCK, 0, 9);
	assert_int_equal(d.err, CSV_DEADLK);
	csv_range_drop(r, 2);
	assert_int_equal(c.err, CSV_OK);
}

/* Two have it shared, and both want it exclusive: the first gives up its own and waits, the second gets it. */
static void test_flock_upgrade(void **state)
{
	struct req a, b, c, d;

	ask_flock(&a, 1, F_RDLCK, true);
	ask_flock(&b, 2, F_RDLCK, true);
	ask_flock(&c, 1, F_WRLCK, false);
	assert_int_equal(c.err, CSV_LOCKED);
	ask_flock(&c, 2, F_WRLCK, true);
	assert_int_equal(c.err, -1);
	ask_flock(&d, 1, F_WRLCK, true);
	assert_int_equal(d.err, -1);
	assert_int_equal(c.err, CSV_OK);
	ask_flock(&a, 2, F_UNLCK, false);
	assert_int_equal(d.err, CSV_OK);
	ask_flock(&d, 1, F_WRLCK, true); /* has it already */
	assert_int_equal(d.err, CSV_OK);
}

static void test_flock_upgrade_in_a_cluster(void **state)
{
	struct req a;

	ask_flock(&a, 1, F_RDLCK, true);
	answer(0, CSV_OK);
	ask_flock(&a, 1, F_WRLCK, false);
	answer(1, CSV_LOCKED);
	assert_int_equal(a.err, CSV_LOCKED);
	assert_int_equal(nsent, 2);
	ask_flock(&a, 1, F_WRLCK, true);
	assert_int_equal(nsent, 4);
	assert_int_equal(sent[2].brl.type, F_UNLCK);
	assert_int_equal(sent[3].brl.type, F_WRLCK);
	csv_ranges_freeze(r);
	csv_ranges_declare(r); /* it has nothing */
	assert_int_equal(nsent, 4);
	csv_ranges_thaw(r);
	assert_int_equal(nsent, 6);
	assert_int_equal(sent[4].brl.type, F_UNLCK);
	answer(4, CSV_OK);
	answer(5, CSV_OK);
	assert_int_equal(a.err, CSV_OK);
}

/* csvlockd is just being told what stands: a request would be a breach, and it has been told of the shared lock. */
static void test_flock_upgrade_among_declarations(void **state)
{
	struct req a;

	ask_flock(&a, 1, F_RDLCK, true);
	answer(0, CSV_OK);
	csv_ranges_freeze(r);
	csv_ranges_declare(r);
	assert_int_equal(nsent, 2);
	ask_flock(&a, 1, F_WRLCK, true);
	assert_int_equal(nsent, 2);
	csv_ranges_thaw(r);
	assert_int_equal(nsent, 4);
	assert_int_equal(sent[2].brl.type, F_UNLCK);
	assert_int_equal(sent[3].brl.type, F_WRLCK);
	answer(2, CSV_OK);
	answer(3, CSV_OK);
	assert_int_equal(a.err, CSV_OK);
	ask_flock(&a, 2, F_RDLCK, false);
	assert_int_equal(a.err, CSV_LOCKED);
}

/* The same for what comes back from a handoff. */
static void test_rejoin_among_declarations(void **state)
{
	struct req a;

	csv_range_set_apart(r, 1);
	ask(&a, 1, F_WRLCK, 0, 9, false);
	assert_int_equal(nsent, 1);
	csv_ranges_freeze(r);
	csv_ranges_declare(r);
	csv_range_rejoin(r, 1);
	assert_int_equal(nsent, 1);
	csv_ranges_thaw(r);
	assert_int_equal(nsent, 2);
	assert_int_equal(sent[1].type, CSV_MSG_BRL_SET);
	assert_int_equal(sent[1].brl.declare, 0);
	answer(1, CSV_OK);
}

/* Every close unlocks everything: csvlockd hears of it only if there may be something. */
static void test_nothing_to_unlock(void **state)
{
	struct req a, b;

	ask(&a, 1, F_UNLCK, 0, UINT64_MAX, false);
	assert_int_equal(a.err, CSV_OK);
	csv_range_drop(r, 1);
	assert_int_equal(nsent, 0);
	ask(&b, 2, F_WRLCK, 0, 9, true);
	ask(&a, 2, F_UNLCK, 0, 9, false); /* it may be granted by now */
	assert_int_equal(nsent, 2);
	csv_range_drop(r, 2);
	assert_int_equal(b.err, CSV_INTR);
	assert_int_equal(nsent, 3);
	assert_int_equal(sent[2].type, CSV_MSG_BRL_DROP);
}

static void test_cluster(void **state)
{
	struct req a, b, t;

	ask(&a, 1, F_WRLCK, 0, 9, false);
	assert_int_equal(a.err, -1);
	assert_int_equal(sent[0].type, CSV_MSG_BRL_SET);
	answer(0, CSV_OK);
	assert_int_equal(a.err, CSV_OK);
	ask(&b, 2, F_WRLCK, 0, 9, false); /* a conflict within the node: no message */
	assert_int_equal(b.err, CSV_LOCKED);
	assert_int_equal(nsent, 1);
	ask(&b, 2, F_WRLCK, 20, 29, false);
	answer(1, CSV_LOCKED);
	assert_int_equal(b.err, CSV_LOCKED);
	assert_int_equal(b.q.brl.node, 2);
	memset(&t, 0, sizeof(t));
	t.err = -1;
	t.q.done = done;
	t.q.brl = (struct csv_brl){ .ino = 5, .gen = 1, .handle = 3, .owner = 3, .end = 9, .type = F_RDLCK };
	csv_range_test(r, &t.q);
	assert_int_equal(t.err, CSV_LOCKED);
	assert_int_equal(t.q.brl.handle, 1);
	csv_range_drop(r, 1);
	assert_int_equal(sent[2].type, CSV_MSG_BRL_DROP);
	assert_int_equal(sent[2].brl.handle, 1);
}

/* The line is csvlockd's, also where the conflict is within this node. */
static void test_cluster_waits(void **state)
{
	struct req a, b, c;

	ask(&a, 1, F_WRLCK, 0, 9, false);
	assert_int_equal(sent[0].brl.wait, CSV_BRL_NOWAIT);
	answer(0, CSV_OK);
	ask(&b, 2, F_WRLCK, 0, 9, true);
	assert_int_equal(sent[1].brl.wait, CSV_BRL_WAIT);
	ask_process(&c, 3, F_WRLCK, 0, 9);
	assert_int_equal(sent[2].brl.wait, CSV_BRL_WAIT_PROCESS);
	answer(2, CSV_DEADLK);
	assert_int_equal(c.err, CSV_DEADLK);
	ask(&a, 1, F_UNLCK, 0, 9, false);
	answer(3, CSV_OK);
	assert_int_equal(b.err, -1);
	answer(1, CSV_OK);
	assert_int_equal(b.err, CSV_OK);
	ask(&c, 3, F_WRLCK, 0, 9, true);
	csv_range_cancel(r, &c.q); /* the answer decides */
	assert_int_equal(c.err, -1);
	assert_int_equal(sent[5].type, CSV_MSG_BRL_CANCEL);
	assert_int_equal(sent[5].seq, sent[4].seq);
	answer(4, CSV_INTR);
	assert_int_equal(c.err, CSV_INTR);
	assert_int_equal(nsent, 6);
}

/* A new csvlockd is told what stands; what was asked is no lock, and is asked again once it knows the mount. */
static void test_declare(void **state)
{
	struct req a, b, c;

	ask(&a, 1, F_WRLCK, 0, 9, false);
	answer(0, CSV_OK);
	ask(&b, 2, F_WRLCK, 20, 29, false);
	csv_ranges_freeze(r);
	ask(&c, 3, F_WRLCK, 40, 49, true); /* while there is none */
	csv_ranges_declare(r);
	assert_int_equal(nsent, 3);
	assert_int_equal(sent[2].brl.handle, 1);
	assert_int_equal(sent[2].brl.declare, 1);
	csv_ranges_thaw(r);
	assert_int_equal(nsent, 5);
	assert_int_equal(sent[3].brl.handle, 2);
	assert_int_equal(sent[3].brl.declare, 0);
	answer(1, CSV_OK); /* to the question that was lost: nobody waits for it */
	assert_int_equal(b.err, -1);
	answer(3, CSV_OK);
	assert_int_equal(b.err, CSV_OK);
	answer(4, CSV_OK);
	assert_int_equal(c.err, CSV_OK);
}

/* Who waits is asked for again at a new csvlockd, in the old order; what the old one answered finds nobody. */
static void test_waits_asked_again(void **state)
{
	struct req a, b;

	ask(&a, 1, F_WRLCK, 0, 9, true);
	ask_process(&b, 2, F_WRLCK, 0, 9);
	csv_ranges_freeze(r);
	assert_int_equal(nsent, 2);
	csv_ranges_thaw(r);
	assert_int_equal(nsent, 4);
	assert_int_equal(sent[2].brl.handle, 1);
	assert_int_equal(sent[3].brl.wait, CSV_BRL_WAIT_PROCESS);
	answer(1, CSV_OK);
	assert_int_equal(b.err, -1);
	answer(2, CSV_OK);
	assert_int_equal(a.err, CSV_OK);
	csv_range_drop(r, 1);
	answer(3, CSV_OK);
	assert_int_equal(b.err, CSV_OK);
}

/* A signal ends a request that nobody can answer, whether it came before csvlockd was lost or after. */
static void test_cancel_while_frozen(void **state)
{
	struct req a, b, u;

	ask(&u, 3, F_WRLCK, 50, 59, false);
	answer(0, CSV_OK);
	ask(&a, 1, F_WRLCK, 0, 9, true);
	csv_range_cancel(r, &a.q); /* the third record */
	ask(&b, 2, F_WRLCK, 20, 29, false);
	ask(&u, 3, F_UNLCK, 0, UINT64_MAX, false);
	assert_int_equal(a.err, -1);
	csv_ranges_freeze(r);
	assert_int_equal(a.err, CSV_INTR);
	csv_range_cancel(r, &b.q);
	assert_int_equal(b.err, CSV_INTR);
	csv_range_cancel(r, &u.q); /* an unlock must not get lost */
	assert_int_equal(u.err, -1);
	csv_ranges_thaw(r);
	assert_int_equal(nsent, 6);
	answer(5, CSV_OK);
	assert_int_equal(u.err, CSV_OK);
}

/* What is closed while csvlockd is away has no lock afterwards. */
static void test_drop_while_frozen(void **state)
{
	struct req a, b;

	ask(&a, 1, F_WRLCK, 0, 9, false);
	answer(0, CSV_OK);
	ask(&b, 1, F_WRLCK, 20, 29, false);
	csv_ranges_freeze(r);
	csv_range_drop(r, 1);
	csv_ranges_declare(r);
	csv_ranges_thaw(r);
	assert_int_equal(nsent, 4);
	assert_int_equal(sent[2].type, CSV_MSG_BRL_DROP);
	assert_int_equal(sent[3].brl.type, F_UNLCK);
	answer(3, CSV_OK);
	assert_int_equal(b.err, CSV_OK);
	ask(&a, 2, F_WRLCK, 20, 29, false); /* no conflict within the node */
	assert_int_equal(nsent, 5);
}

/* H5: what a handle has or asks once its image has gone to another node is told to nobody. */
static void test_apart(void **state)
{
	struct req a, b, c, d;

	ask(&a, 1, F_WRLCK, 0, 9, false);
	answer(0, CSV_OK);
	ask(&b, 2, F_RDLCK, 30, 39, false); /* another handle of the file */
	answer(1, CSV_OK);
	ask(&c, 1, F_WRLCK, 20, 29, false); /* still on its way when the image goes */
	ask(&d, 1, F_WRLCK, 30, 39, true);  /* waits for the other handle */
	assert_int_equal(nsent, 4);
	csv_range_set_apart(r, 1);
	assert_int_equal(nsent, 5);
	assert_int_equal(sent[4].type, CSV_MSG_BRL_DROP);
	assert_int_equal(sent[4].brl.handle, 1);
	assert_int_equal(c.err, CSV_OK);
	assert_int_equal(d.err, CSV_OK);
	answer(2, CSV_LOCKED); /* too late, and nobody's business */
	ask(&a, 1, F_UNLCK, 0, 4, false);
	assert_int_equal(a.err, CSV_OK);
	ask(&a, 1, F_WRLCK, 40, 49, false);
	assert_int_equal(a.err, CSV_OK);
	assert_int_equal(nsent, 5);
	csv_ranges_freeze(r);
	csv_ranges_declare(r); /* a new csvlockd hears of the other handle alone */
	assert_int_equal(nsent, 6);
	assert_int_equal(sent[5].brl.handle, 2);
	csv_ranges_thaw(r);
	ask(&a, 3, F_WRLCK, 0, 9, false); /* the VM is back, in another process: nothing is in its way */
	assert_int_equal(nsent, 7);
	csv_range_drop(r, 1); /* closed */
	assert_int_equal(nsent, 7);
}

/* Two processes have one open file: one waits for the other while it is apart, and goes on waiting at csvlockd. */
static void test_wait_while_apart(void **state)
{
	struct req a, b, c;

	csv_range_set_apart(r, 1);
	ask(&a, 1, F_WRLCK, 0, 9, false);
	prepare(&b, 1, F_WRLCK, 0, 9, true);
	b.q.brl.owner = 2;
	csv_range_set(r, &b.q);
	prepare(&c, 1, F_WRLCK, 5, 9, true);
	c.q.brl.owner = 3;
	csv_range_set(r, &c.q);
	assert_int_equal(a.err, CSV_OK);
	assert_int_equal(b.err, -1);
	ask(&a, 1, F_UNLCK, 5, 9, false);
	assert_int_equal(b.err, -1);
	assert_int_equal(c.err, CSV_OK);
	assert_int_equal(nsent, 1);
	csv_range_rejoin(r, 1);
	assert_int_equal(nsent, 4);
	assert_int_equal(sent[3].brl.owner, 2);
	assert_int_equal(sent[3].brl.wait, CSV_BRL_WAIT);
	answer(1, CSV_OK);
	answer(2, CSV_OK);
	answer(3, CSV_INTR);
	assert_int_equal(b.err, CSV_INTR);
}

/* Asked before the image went, and csvlockd is lost before it has answered: nobody is to be asked again. */
static void test_apart_while_asked(void **state)
{
	struct req a;

	ask(&a, 1, F_WRLCK, 0, 9, false);
	csv_range_set_apart(r, 1);
	csv_ranges_freeze(r);
	csv_ranges_declare(r);
	csv_ranges_thaw(r);
	assert_int_equal(a.err, CSV_OK);
	assert_int_equal(nsent, 2); /* the question, and BRL_DROP */
}

/* A take-back: the handle has what it had, and what it has done meanwhile. */
static void test_rejoin(void **state)
{
	struct req a;

	ask(&a, 1, F_WRLCK, 0, 9, false);
	answer(0, CSV_OK);
	csv_range_set_apart(r, 1);
	csv_range_set_apart(r, 1); /* told twice */
	assert_int_equal(nsent, 2);
	ask(&a, 1, F_UNLCK, 0, 4, false);
	csv_range_rejoin(r, 1);
	assert_int_equal(nsent, 3);
	assert_int_equal(sent[2].type, CSV_MSG_BRL_SET);
	assert_true(sent[2].seq > sent[1].seq); /* csvlockd tells answers apart by it */
	assert_int_equal(sent[2].brl.start, 5);
	assert_int_equal(sent[2].brl.end, 9);
	answer(2, CSV_OK);
	csv_range_rejoin(r, 1);
	csv_range_rejoin(r, 2);
	ask(&a, 2, F_WRLCK, 9, 9, false);
	assert_int_equal(a.err, CSV_LOCKED);
	assert_int_equal(nsent, 3);
	ask(&a, 1, F_UNLCK, 9, 9, false); /* decided by csvlockd again */
	assert_int_equal(nsent, 4);
}

static void test_out(void **state)
{
	struct req a, b, u, w;

	ask(&u, 1, F_WRLCK, 50, 59, false);
	answer(0, CSV_OK);
	ask(&a, 1, F_WRLCK, 0, 9, true);
	ask(&w, 2, F_WRLCK, 50, 59, true);
	csv_ranges_out(r);
	assert_int_equal(a.err, CSV_WITHDRAWN);
	assert_int_equal(w.err, CSV_WITHDRAWN);
	ask(&b, 1, F_WRLCK, 0, 9, true);
	assert_int_equal(b.err, CSV_WITHDRAWN);
	ask(&u, 1, F_UNLCK, 0, UINT64_MAX, false);
	assert_int_equal(u.err, CSV_OK);
	assert_int_equal(nsent, 3);
}

/* ---- VMs -------------------------------------------------------------------------------- */

static void test_vm_names(void **state)
{
	char name[CSV_VMNAME_MAX + 1], own[CSV_VMNAME_MAX + 1];
	struct csv_vms *v;
	int fd[2];
	pid_t pid;

	assert_int_equal(csv_vms_new(&v), CSV_OK);
	csv_vm_of(v, (uint32_t)getpid(), own);
	snprintf(name, sizeof(name), "%d:", getpid());
	assert_memory_equal(own, name, strlen(name)); /* pid and start time */
	assert_int_equal(csv_vm_set(v, (uint32_t)getpid(), "vm1"), CSV_OK);
	csv_vm_of(v, (uint32_t)getpid(), name);
	assert_string_equal(name, "vm1");
	assert_int_equal(pipe(fd), 0);
	pid = fork();
	if (pid == 0) {
		char c;

		close(fd[1]);
		_exit((int)read(fd[0], &c, 1));
	}
	csv_vm_of(v, (uint32_t)pid, name); /* children too */
	assert_string_equal(name, "vm1");
	assert_int_equal(csv_vm_set(v, (uint32_t)pid, "vm2"), CSV_OK);
	csv_vm_of(v, (uint32_t)pid, name);
	assert_string_equal(name, "vm2");
	close(fd[1]);
	waitpid(pid, NULL, 0);
	close(fd[0]);
	assert_int_equal(csv_vm_set(v, (uint32_t)pid, "vm2"), CSV_NOENT);
	csv_vm_of(v, (uint32_t)pid, name);
	snprintf(own, sizeof(own), "%d:0", pid);
	assert_string_equal(name, own);
	assert_int_equal(csv_vm_set(v, (uint32_t)getpid(), ""), CSV_OK);
	csv_vm_of(v, (uint32_t)getpid(), name);
	assert_string_not_equal(name, "vm1");
	csv_vms_free(v);
}

#define LOCAL(name) cmocka_unit_test_setup_teardown(name, setup_local, teardown)
#define CLUSTER(name) cmocka_unit_test_setup_teardown(name, setup_cluster, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		LOCAL(test_local),
		LOCAL(test_local_order),
		LOCAL(test_local_deadlock),
		LOCAL(test_flock_upgrade),
		CLUSTER(test_flock_upgrade_in_a_cluster),
		CLUSTER(test_flock_upgrade_among_declarations),
		CLUSTER(test_rejoin_among_declarations),
		CLUSTER(test_nothing_to_unlock),
		LOCAL(test_cancel_and_drop_of_waiters),
		CLUSTER(test_out),
		CLUSTER(test_cluster),
		CLUSTER(test_cluster_waits),
		CLUSTER(test_declare),
		CLUSTER(test_waits_asked_again),
		CLUSTER(test_cancel_while_frozen),
		CLUSTER(test_drop_while_frozen),
		CLUSTER(test_apart),
		CLUSTER(test_apart_while_asked),
		CLUSTER(test_wait_while_apart),
		CLUSTER(test_rejoin),
		cmocka_unit_test(test_vm_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
