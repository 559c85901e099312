/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A csvfs: mounts, takes inode locks, writes under EX (journal, later home), gives way to BASTs, re-attaches, unmounts.
 * It does what docs/PROTOCOL.md and docs/RECOVERY.md ask of a csvfs, and nothing cleverer.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

const uint8_t sim_volume[16] = { 'v', 'o', 'l' };

static void set_state(struct sim *s, unsigned n, enum sim_fs_state state)
{
	s->node[n].fs.state = state;
	s->node[n].fs.state_since = s->now;
}

/* ---- records ---- */

static void to_machine(struct sim *s, uint64_t n, uint64_t conn, void *data)
{
	struct csv_event ev = { .type = CSV_EV_CLIENT, .client = conn, .msg = data };
	struct sim_node *nd = &s->node[n];

	if (nd->daemon)
		sim_step(s, (unsigned)n, &ev);
}

void sim_fs_tell(struct sim *s, unsigned n, struct csv_msg *msg)
{
	struct sim_fs *fs = &s->node[n].fs;
	struct csv_msg *copy = malloc(sizeof(*copy));
	uint64_t at = s->now + 10 + sim_rand(s, 100);

	CSV_ASSERT(copy);
	if (!msg->seq)
		msg->seq = ++fs->seq;
	*copy = *msg;
	if (at <= fs->to_machine_last)
		at = fs->to_machine_last + 1;
	fs->to_machine_last = at;
	sim_trace(s, "n%u csvfs -> %s %llu", n + 1, csv_msg_name(msg->type), (unsigned long long)msg->seq);
	sim_at(s, at - s->now, (int)n, &s->node[n].daemon_life, to_machine, n, fs->conn, copy);
}

static void tell_lock(struct sim *s, unsigned n, uint32_t type, uint64_t id, struct sim_lock *l, enum csv_mode mode,
		      uint32_t flags)
{
	struct csv_msg msg = { .type = CSV_MSG_LOCK };

	msg.lock.res_type = type;
	msg.lock.res_id = id;
	msg.lock.mode = mode;
	msg.lock.flags = flags;
	sim_fs_tell(s, n, &msg);
	if (flags & CSV_LOCKF_DECLARE)
		return;
	l->want = mode;
	l->noqueue = flags & CSV_LOCKF_NOQUEUE;
	l->seq = msg.seq;
	l->since = s->now;
}

static void tell_unlock(struct sim *s, unsigned n, uint32_t type, uint64_t id, struct sim_lock *l, enum csv_mode mode)
{
	struct csv_msg msg = { .type = CSV_MSG_UNLOCK };

	msg.lock.res_type = type;
	msg.lock.res_id = id;
	msg.lock.mode = mode;
	l->held = mode;
	l->want = CSV_NL;
	l->bast = CSV_NL;
	l->releasing = false;
	sim_fs_tell(s, n, &msg);
}

/* ---- life ---- */

static void gone_event(struct sim *s, uint64_t n, uint64_t conn, void *data)
{
	struct csv_event ev = { .type = CSV_EV_CLIENT_GONE, .client = conn };

	if (s->node[n].daemon)
		sim_step(s, (unsigned)n, &ev);
}

static void start_event(struct sim *s, uint64_t n, uint64_t b, void *data);

static void start_later(struct sim *s, unsigned n)
{
	sim_at(s, (100 + sim_rand(s, 500)) * SIM_MS, (int)n, &s->node[n].life, start_event, n, s->node[n].fs.life,
	       NULL);
}

/* The process is gone, its commands are not. */
void sim_fs_die(struct sim *s, unsigned n, const char *why)
{
	struct sim_fs *fs = &s->node[n].fs;
	uint64_t life = fs->life;

	if (fs->state == FS_DEAD)
		return;
	sim_trace(s, "n%u csvfs ends: %s", n + 1, why);
	if (fs->conn && s->node[n].daemon) {
		uint64_t at = fs->to_machine_last + 1 > s->now ? fs->to_machine_last + 1 : s->now;

		sim_at(s, at - s->now, (int)n, &s->node[n].daemon_life, gone_event, n, fs->conn, NULL);
	}
	sim_check_ends(s, n);
	*fs = (struct sim_fs){ .life = life + 1, .state_since = s->now };
	start_later(s, n);
}

static void connect_daemon(struct sim *s, unsigned n)
{
	struct sim_fs *fs = &s->node[n].fs;
	struct csv_msg msg = { .type = CSV_MSG_HELLO };

	fs->conn = ++s->next_conn;
	fs->to_machine_last = fs->to_fs_last = 0;
	msg.hello.version = CSV_PROTO_VERSION;
	msg.hello.role = CSV_ROLE_FS;
	memcpy(msg.hello.uuid, sim_volume, 16);
	strcpy(msg.hello.volume, "vol");
	msg.hello.again = fs->state == FS_CUT;
	msg.hello.engine = s->dlm.used ? CSV_ENGINE_DLM : CSV_ENGINE_CPG;
	msg.hello.dlm = s->dlm.used;
	sim_fs_tell(s, n, &msg);
}

/* F3: a successor begins when the last command of its predecessor is through. */
static void start_event(struct sim *s, uint64_t n, uint64_t life, void *data)
{
	struct sim_node *nd = &s->node[n];

	if (nd->fs.life != life || nd->fs.state != FS_DEAD)
		return;
	if (!nd->daemon || nd->inflight) {
		start_later(s, (unsigned)n);
		return;
	}
	nd->fs.life++;
	connect_daemon(s, (unsigned)n);
	set_state(s, (unsigned)n, FS_WAIT_MOUNT);
	tell_lock(s, (unsigned)n, CSV_RES_MOUNT, 0, &nd->fs.mount, CSV_EX, 0);
}

void sim_fs_start(struct sim *s, unsigned n)
{
	s->node[n].fs.life++;
	start_later(s, n);
}

/* ---- mount ---- */

static void ask_slot(struct sim *s, unsigned n)
{
	struct sim_fs *fs = &s->node[n].fs;

	for (uint32_t i = 0; i < s->nslots; i++) {
		uint32_t k = (n + i) % s->nslots;

		if ((fs->tried >> k & 1) || s->disk.slot[k].state != SIM_CLEAN || (fs->view.out >> k & 1) ||
		    (fs->view.live >> k & 1))
			continue;
		fs->tried |= 1ull << k;
		fs->slot = k;
		fs->incarnation = s->disk.slot[k].incarnation + 1;
		fs->slotlock = (struct sim_lock){ 0 };
		tell_lock(s, n, CSV_RES_SLOT, k, &fs->slotlock, CSV_EX, CSV_LOCKF_NOQUEUE);
		set_state(s, n, FS_WAIT_SLOT);
		return;
	}
	if (fs->view.live || fs->takeover) {
		sim_fs_die(s, n, "no free slot");
		return;
	}
	fs->takeover = true;
	fs->slot = n % s->nslots;
	fs->slotlock = (struct sim_lock){ 0 };
	tell_lock(s, n, CSV_RES_SLOT, fs->slot, &fs->slotlock, CSV_EX, CSV_LOCKF_NOQUEUE);
	set_state(s, n, FS_WAIT_SLOT);
}

struct sim_command sim_command(struct sim *s, unsigned n, enum sim_write what)
{
	struct sim_node *nd = &s->node[n];
	struct sim_command c = { .what = what, .node = n, .fs_life = nd->fs.life, .node_life = nd->life };

	c.key = nd->fs.key;
	c.slot = nd->fs.slot;
	return c;
}

/* Keys that belong to no slot: of mounters who were cut off before they had one. They must not write slots any more. */
static void remove_foreign_keys(struct sim *s, unsigned n)
{
	for (unsigned i = s->disk.nkeys; i-- > 0;) {
		uint64_t key = s->disk.keys[i];
		bool known = key == s->node[n].fs.key;

		for (unsigned k = 0; k < s->nslots; k++)
			known |= s->disk.slot[k].state != SIM_CLEAN && s->disk.slot[k].key == key;
		if (!known)
			sim_key_del(s, key);
	}
}

static void slot_written(struct sim *s, unsigned n, const struct sim_command *c, bool ok)
{
	struct sim_fs *fs = &s->node[n].fs;
	struct csv_msg msg = { .type = CSV_MSG_ATTACH };

	if (!ok) {
		sim_fs_die(s, n, "cannot write its slot");
		return;
	}
	if (fs->state != FS_WRITE_SLOT)
		return;
	remove_foreign_keys(s, n);
	if (s->disk.slot[fs->slot].key != fs->key) {
		struct sim_command again = *c;

		sim_submit(s, &again); /* a foreign write came between; with its key gone it was the last */
		return;
	}
	msg.slot.slot = fs->slot;
	msg.slot.incarnation = fs->incarnation;
	msg.slot.pr_key = fs->key;
	msg.slot.nodeid = n + 1;
	strcpy(msg.slot.node, "node");
	set_state(s, n, FS_WAIT_ATTACH);
	sim_fs_tell(s, n, &msg);
	sim_spite(s, n, SIM_ATTACH);
}

static void write_slot(struct sim *s, unsigned n);

/* Everybody else's key goes; when no command is at work any more the slot is replayed. */
static void take_over(struct sim *s, uint64_t n, uint64_t b, void *data)
{
	struct sim_fs *fs = &s->node[n].fs;
	struct sim_dslot *d = &s->disk.slot[fs->slot];

	if (fs->state != FS_WAIT_SLOT)
		return;
	sim_key_add(s, fs->key);
	for (unsigned i = s->disk.nkeys; i-- > 0;) {
		if (s->disk.keys[i] != fs->key)
			sim_key_del(s, s->disk.keys[i]);
	}
	for (uint32_t i = 1; i <= SIM_INODES; i++) {
		if (s->disk.home[i].writing) {
			sim_at(s, 1000, (int)n, &fs->life, take_over, n, 0, NULL);
			return;
		}
	}
	for (size_t i = 0; i < d->n; i++) {
		struct sim_home *h = &s->disk.home[d->journal[i].inode];

		if (d->journal[i].version > h->version) {
			h->version = d->journal[i].version;
			h->value = d->journal[i].value;
		}
	}
	sim_trace(s, "n%u recovers slot %u.%u itself", (unsigned)n + 1, fs->slot, d->incarnation);
	d->state = SIM_CLEAN;
	d->left = false;
	s->disk.ghost[fs->slot].incarnation = 0;
	fs->incarnation = d->incarnation + 1;
	write_slot(s, (unsigned)n);
}

static void write_slot(struct sim *s, unsigned n)
{
	struct sim_fs *fs = &s->node[n].fs;
	struct sim_command c;

	if (!fs->key)
		fs->key = ++s->next_key;
	sim_key_add(s, fs->key);
	set_state(s, n, FS_WRITE_SLOT);
	if (s->disk.slot[fs->slot].state != SIM_CLEAN || s->disk.slot[fs->slot].incarnation + 1 != fs->incarnation) {
		sim_fs_die(s, n, "slot taken meanwhile");
		return;
	}
	c = sim_command(s, n, SIM_W_SLOT);
	c.state = SIM_LIVE;
	c.rec.incarnation = fs->incarnation;
	c.slot_node = n + 1;
	c.slot_key = fs->key;
	c.done = slot_written;
	sim_submit(s, &c);
}

/*
 * DIRTY for each slot that is not clean and nobody's, OVER for each that is alive and over on disk; also when csvlockd
 * asks. false: our own is over.
 */
static bool report_slots(struct sim *s, unsigned n, unsigned *found)
{
	struct sim_fs *fs = &s->node[n].fs;

	*found = 0;
	if (fs->incarnation <= sim_slot_over(s, fs->slot))
		return false;
	for (uint32_t i = 0; i < s->nslots; i++) {
		const struct sim_dslot *d = &s->disk.slot[i];
		bool lives = fs->view.live >> i & 1;
		struct csv_msg msg = { .type = CSV_MSG_DIRTY };

		msg.slot.incarnation = d->incarnation;
		if (i == fs->slot)
			continue;
		if (lives && fs->view.incarnation[i] <= sim_slot_over(s, i)) {
			msg.type = CSV_MSG_OVER;
			msg.slot.incarnation = fs->view.incarnation[i];
		} else if (d->state == SIM_CLEAN || (lives && fs->view.incarnation[i] == d->incarnation)) {
			continue;
		}
		msg.slot.slot = i;
		msg.slot.pr_key = d->key;
		msg.slot.nodeid = d->node;
		strcpy(msg.slot.node, "dirty");
		sim_fs_tell(s, n, &msg);
		(*found)++;
	}
	return true;
}

/* All that was not clean is recovered or alive: the mount is through. */
static void mount_if_recovered(struct sim *s, unsigned n)
{
	struct sim_fs *fs = &s->node[n].fs;
	unsigned found;

	if (fs->view.out)
		return;
	if (!report_slots(s, n, &found)) {
		sim_fs_die(s, n, "finds its slot over while it mounts");
		return;
	}
	if (found)
		return;
	tell_unlock(s, n, CSV_RES_MOUNT, 0, &fs->mount, CSV_NL);
	set_state(s, n, FS_RUN);
	sim_trace(s, "n%u mounted, slot %u.%u key %llu", n + 1, fs->slot, fs->incarnation, (unsigned long long)fs->key);
}

/* ---- work ---- */

static void home_done(struct sim *s, unsigned n, const struct sim_command *c, bool ok)
{
	struct sim_lock *l = &s->node[n].fs.lock[c->rec.inode];

	if (!ok) {
		sim_fs_die(s, n, "home write refused");
		return;
	}
	l->writing = false;
	l->dirty = l->version != c->rec.version;
	if (!l->dirty && sim_chance(s, 50)) { /* the tail moves */
		struct sim_dslot *d = &s->disk.slot[s->node[n].fs.slot];
		size_t k = 0;

		for (size_t i = 0; i < d->n; i++) {
			if (d->journal[i].inode != c->rec.inode)
				d->journal[k++] = d->journal[i];
		}
		d->n = k;
	}
}

static void write_home(struct sim *s, unsigned n, uint32_t i)
{
	struct sim_command c = sim_command(s, n, SIM_W_HOME);
	struct sim_lock *l = &s->node[n].fs.lock[i];

	c.rec = (struct sim_record){ i, s->node[n].fs.incarnation, l->version, l->value };
	c.done = home_done;
	l->writing = true;
	sim_submit(s, &c);
}

void sim_fs_poke(struct sim *s, unsigned but)
{
	for (unsigned n = 0; n < s->nnodes; n++) {
		struct sim_fs *fs = &s->node[n].fs;

		for (uint32_t i = 1; i <= SIM_INODES && n != but && fs->state == FS_RUN; i++) {
			if (fs->lock[i].held == CSV_EX && fs->lock[i].dirty && !fs->lock[i].writing)
				write_home(s, n, i);
		}
	}
}

static void journal_done(struct sim *s, unsigned n, const struct sim_command *c, bool ok)
{
	struct sim_lock *l = &s->node[n].fs.lock[c->rec.inode];

	if (!ok) {
		sim_fs_die(s, n, "journal write refused");
		return;
	}
	l->writing = false;
	l->dirty = true;
	l->version = c->rec.version;
	l->value = c->rec.value;
	if (s->disk.acked[c->rec.inode] < c->rec.version) {
		s->disk.acked[c->rec.inode] = c->rec.version;
		s->disk.acked_value[c->rec.inode] = c->rec.value;
	}
}

static void write_inode(struct sim *s, unsigned n, uint32_t i)
{
	struct sim_command c = sim_command(s, n, SIM_W_JOURNAL);
	struct sim_lock *l = &s->node[n].fs.lock[i];

	c.rec = (struct sim_record){ i, s->node[n].fs.incarnation, l->version + 1, ++s->values };
	c.done = journal_done;
	l->writing = true;
	sim_submit(s, &c);
}

/* Goes on with giving up a lock. */
static void release(struct sim *s, unsigned n, uint32_t i)
{
	struct sim_lock *l = &s->node[n].fs.lock[i];

	if (l->writing)
		return;
	if (l->dirty)
		write_home(s, n, i);
	else
		tell_unlock(s, n, CSV_RES_INODE, i, l, l->held == CSV_EX && l->bast == CSV_PR ? CSV_PR : CSV_NL);
}

static void work_on(struct sim *s, unsigned n, uint32_t i)
{
	struct sim_lock *l = &s->node[n].fs.lock[i];

	if (l->releasing) {
		release(s, n, i);
	} else if (l->want != CSV_NL) {
		if (!s->calm && sim_chance(s, 3))
			tell_unlock(s, n, CSV_RES_INODE, i, l, CSV_NL); /* takes it back */
	} else if (l->held == CSV_NL) {
		tell_lock(s, n, CSV_RES_INODE, i, l, sim_chance(s, 60) ? CSV_EX : CSV_PR,
			  sim_chance(s, 10) ? CSV_LOCKF_NOQUEUE : 0);
	} else if (l->bast != CSV_NL || sim_chance(s, 10)) {
		l->releasing = true;
		release(s, n, i);
	} else if (l->held == CSV_EX && !l->writing) {
		if (l->dirty && sim_chance(s, 20))
			write_home(s, n, i);
		else
			write_inode(s, n, i);
	}
}

static void work_range(struct sim *s, unsigned n)
{
	struct sim_range *r = &s->node[n].fs.range;
	struct csv_msg msg = { .type = CSV_MSG_BRL_SET };
	bool upgrade = r->held && !r->write && sim_chance(s, 40);

	if (r->asked) {
		msg = (struct csv_msg){ .type = CSV_MSG_BRL_CANCEL, .seq = r->seq };
		if (!r->cancelled && sim_chance(s, 15)) {
			r->cancelled = true;
			r->since = s->now;
			sim_fs_tell(s, n, &msg); /* it may have been answered */
		}
		return;
	}
	msg.brl.ino = 7;
	msg.brl.handle = 1;
	msg.brl.owner = n;
	msg.brl.start = 100;
	msg.brl.end = 200;
	if (r->held && sim_chance(s, 30)) {
		msg.type = CSV_MSG_BRL_DROP;
		r->held = false;
		sim_fs_tell(s, n, &msg);
		return;
	}
	msg.brl.type = upgrade ? F_WRLCK : r->held ? F_UNLCK : sim_chance(s, 50) ? F_WRLCK : F_RDLCK;
	/* Of two that have read and want to write one must be told, or both would wait for ever. */
	msg.brl.wait = upgrade			 ? (sim_chance(s, 50) ? CSV_BRL_WAIT_PROCESS : CSV_BRL_NOWAIT)
		       : msg.brl.type == F_UNLCK ? CSV_BRL_NOWAIT
						 : (uint32_t)sim_rand(s, CSV_BRL_WAIT_PROCESS + 1);
	r->wait = msg.brl.wait;
	if (!upgrade)
		r->held = false;
	r->cancelled = false;
	r->asked = true;
	r->since = s->now;
	sim_fs_tell(s, n, &msg);
	r->seq = msg.seq;
}

static void flush_step(struct sim *s, unsigned n);

static void tick(struct sim *s, uint64_t n, uint64_t life, void *data)
{
	struct sim_fs *fs = &s->node[n].fs;

	sim_at(s, (5 + sim_rand(s, 60)) * SIM_MS, (int)n, &s->node[n].life, tick, n, 0, NULL);
	sim_check_bounds(s, (unsigned)n);
	if (fs->state == FS_RUN) {
		if (fs->umount_wanted && !sim_fs_busy(fs)) {
			set_state(s, (unsigned)n, FS_FLUSH);
			return;
		}
		for (uint32_t i = 1; i <= SIM_INODES; i++) {
			if (fs->lock[i].releasing || fs->lock[i].bast != CSV_NL)
				work_on(s, (unsigned)n, i);
			if (fs->state != FS_RUN)
				return;
		}
		if (s->pace > 1 && sim_rand(s, s->pace))
			return;
		work_on(s, (unsigned)n, 1 + (uint32_t)sim_rand(s, SIM_INODES));
		if (fs->state == FS_RUN && sim_chance(s, 10))
			work_range(s, (unsigned)n);
	} else if (fs->state == FS_FLUSH) {
		flush_step(s, (unsigned)n);
	} else if (fs->state == FS_WAIT_RECOVERY) {
		mount_if_recovered(s, (unsigned)n);
	} else if (fs->state == FS_CUT && s->node[n].daemon && !fs->conn && !sim_fs_busy(fs) && sim_chance(s, 30)) {
		struct csv_msg msg = { .type = CSV_MSG_REATTACH };

		connect_daemon(s, (unsigned)n);
		msg.slot.slot = fs->slot;
		msg.slot.incarnation = fs->incarnation;
		msg.slot.pr_key = fs->key;
		msg.slot.nodeid = (uint32_t)n + 1;
		strcpy(msg.slot.node, "node");
		sim_fs_tell(s, (unsigned)n, &msg);
		for (uint32_t i = 1; i <= SIM_INODES; i++) {
			if (fs->lock[i].held != CSV_NL)
				tell_lock(s, (unsigned)n, CSV_RES_INODE, i, &fs->lock[i], fs->lock[i].held,
					  CSV_LOCKF_DECLARE);
		}
		tell_lock(s, (unsigned)n, CSV_RES_SLOT, fs->slot, &fs->slotlock, CSV_EX, CSV_LOCKF_DECLARE);
		if (fs->range.held) {
			msg = (struct csv_msg){ .type = CSV_MSG_BRL_SET };
			msg.brl = (struct csv_msg_brl){ .ino = 7, .handle = 1, .owner = n, .start = 100, .end = 200 };
			msg.brl.type = fs->range.write ? F_WRLCK : F_RDLCK;
			msg.brl.declare = 1;
			sim_fs_tell(s, (unsigned)n, &msg);
		}
		msg = (struct csv_msg){ .type = CSV_MSG_DECLARED };
		sim_fs_tell(s, (unsigned)n, &msg);
		set_state(s, (unsigned)n, FS_WAIT_REATTACH);
	}
}

/* ---- unmount ---- */

static void slot_cleaned(struct sim *s, unsigned n, const struct sim_command *c, bool ok)
{
	struct sim_fs *fs = &s->node[n].fs;
	struct csv_msg msg = { .type = CSV_MSG_DETACH };

	if (!ok || s->disk.slot[fs->slot].state != SIM_CLEAN) {
		sim_fs_die(s, n, "cannot mark its slot clean");
		return;
	}
	if (fs->state != FS_CLEAN_SLOT)
		return;
	sim_key_del(s, fs->key);
	set_state(s, n, FS_WAIT_DETACH);
	sim_fs_tell(s, n, &msg);
}

static void flush_step(struct sim *s, unsigned n)
{
	struct sim_fs *fs = &s->node[n].fs;
	struct sim_command c;

	if (sim_fs_busy(fs)) {
		set_state(s, n, FS_RUN);
		return;
	}
	for (uint32_t i = 1; i <= SIM_INODES; i++) {
		if (fs->lock[i].dirty && !fs->lock[i].writing)
			write_home(s, n, i);
	}
	if (fs->inflight)
		return;
	c = sim_command(s, n, SIM_W_SLOT);
	c.state = SIM_CLEAN;
	c.only_incarnation = fs->incarnation;
	c.done = slot_cleaned;
	set_state(s, n, FS_CLEAN_SLOT);
	sim_submit(s, &c);
}

/* ---- what csvlockd says ---- */

void sim_fs_cut(struct sim *s, unsigned n)
{
	struct sim_fs *fs = &s->node[n].fs;

	if (fs->state == FS_DEAD)
		return;
	fs->conn = 0;
	if (fs->state != FS_RUN && fs->state != FS_WAIT_REATTACH && fs->state != FS_CUT) {
		sim_fs_die(s, n, "csvlockd went away during mount or unmount");
		return;
	}
	for (uint32_t i = 1; i <= SIM_INODES; i++) {
		fs->lock[i].want = fs->lock[i].bast = CSV_NL;
		fs->lock[i].releasing = false;
	}
	fs->range.asked = false;
	set_state(s, n, FS_CUT);
	sim_fs_orders_cut(s, n);
}

void sim_fs_closed(struct sim *s, unsigned n, uint64_t conn)
{
	if (s->node[n].fs.conn == conn)
		sim_fs_die(s, n, "csvlockd closed the connection");
}

static struct sim_lock *lock_of(struct sim_fs *fs, const struct csv_msg_lock *l)
{
	if (l->res_type == CSV_RES_MOUNT)
		return &fs->mount;
	if (l->res_type == CSV_RES_SLOT)
		return &fs->slotlock;
	return &fs->lock[l->res_id];
}

static void on_grant(struct sim *s, unsigned n, const struct csv_msg *msg)
{
	struct sim_fs *fs = &s->node[n].fs;
	struct sim_lock *l = lock_of(fs, &msg->lock);

	if (l->want == CSV_NL || l->seq != msg->seq)
		return; /* taken back while it was on its way */
	l->held = (enum csv_mode)msg->lock.mode;
	l->want = l->bast = CSV_NL;
	s->grants++;
	if (msg->lock.res_type == CSV_RES_MOUNT) {
		ask_slot(s, n);
	} else if (msg->lock.res_type == CSV_RES_SLOT) {
		if (fs->takeover) {
			fs->key = ++s->next_key;
			take_over(s, n, 0, NULL);
		} else {
			write_slot(s, n);
		}
	} else {
		sim_check_grant(s, n, (uint32_t)msg->lock.res_id, l->held);
		l->version = s->disk.home[msg->lock.res_id].version;
		l->value = s->disk.home[msg->lock.res_id].value;
		l->dirty = l->writing = l->releasing = false;
	}
}

static void on_attached(struct sim *s, unsigned n, const struct csv_msg *msg)
{
	struct sim_fs *fs = &s->node[n].fs;
	unsigned found;

	fs->view = msg->view;
	if (fs->state == FS_WAIT_REATTACH) {
		sim_trace(s, "n%u re-attached", n + 1);
		set_state(s, n, FS_RUN);
		return;
	}
	if (fs->state != FS_WAIT_ATTACH)
		return;
	set_state(s, n, FS_WAIT_RECOVERY);
	if (!report_slots(s, n, &found))
		sim_fs_die(s, n, "finds its slot over while it mounts");
}

static void on_verify(struct sim *s, unsigned n, uint64_t seq)
{
	struct csv_msg reply = { .type = CSV_MSG_DONE, .seq = seq };
	unsigned found;

	if (!s->calm && sim_chance(s, 20))
		reply.err = CSV_IO; /* it could not look */
	else if (!report_slots(s, n, &found))
		reply.err = CSV_FENCED;
	sim_fs_tell(s, n, &reply);
	if (reply.err == CSV_FENCED)
		sim_fs_die(s, n, "finds its slot over");
}

static void on_brl(struct sim *s, unsigned n, const struct csv_msg *msg)
{
	struct sim_range *r = &s->node[n].fs.range;

	if (!r->asked || msg->seq != r->seq)
		return;
	r->asked = false;
	if (msg->err == CSV_DEADLK && (!r->held || r->wait != CSV_BRL_WAIT_PROCESS))
		sim_fail(s, "node %u is told of a deadlock, but nobody waits for it", n + 1);
	if (msg->err == CSV_LOCKED && r->wait)
		sim_fail(s, "node %u waits for a byte range and is refused", n + 1);
	if (msg->err != CSV_OK)
		return;
	r->held = msg->brl.type != F_UNLCK;
	r->write = msg->brl.type == F_WRLCK;
	if (r->held)
		sim_check_range(s, n);
}

static void on_error(struct sim *s, unsigned n, const struct csv_msg *msg)
{
	struct sim_fs *fs = &s->node[n].fs;

	if (sim_fs_in_use(s, n, msg))
		return;
	if (msg->err == CSV_PROTO)
		sim_fail(s, "node %u: csvlockd says protocol error: %s", n + 1, msg->text);
	if (fs->state == FS_WAIT_ATTACH || msg->err == CSV_BUSY) {
		sim_key_del(s, fs->key);
		sim_fs_die(s, n, msg->text);
	}
}

void sim_fs_record(struct sim *s, unsigned n, uint64_t conn, const struct csv_msg *msg)
{
	struct sim_fs *fs = &s->node[n].fs;
	struct sim_lock *l;

	if (!conn || fs->conn != conn)
		return;
	if (msg->type != CSV_MSG_BAST)
		sim_trace(s, "n%u csvfs <- %s %llu", n + 1, csv_msg_name(msg->type), (unsigned long long)msg->seq);
	switch (msg->type) {
	case CSV_MSG_GRANT:
		on_grant(s, n, msg);
		break;
	case CSV_MSG_DENY:
		l = lock_of(fs, &msg->lock);
		if (l->want == CSV_NL || l->seq != msg->seq)
			break;
		if (!l->noqueue)
			sim_fail(s, "node %u: DENY of a request that may wait", n + 1);
		if (!s->dlm.used && (!msg->lock.holder_nodeid || !msg->lock.holder_node[0]))
			sim_fail(s, "node %u: DENY names nobody", n + 1);
		l->want = CSV_NL;
		if (msg->lock.res_type == CSV_RES_SLOT)
			ask_slot(s, n);
		break;
	case CSV_MSG_BAST:
		l = lock_of(fs, &msg->lock);
		if (l->held != CSV_NL && l->bast < (enum csv_mode)msg->lock.mode)
			l->bast = (enum csv_mode)msg->lock.mode;
		break;
	case CSV_MSG_ATTACHED:
		on_attached(s, n, msg);
		break;
	case CSV_MSG_VIEW:
		fs->view = msg->view;
		break;
	case CSV_MSG_DIRTY:
		on_verify(s, n, msg->seq);
		break;
	case CSV_MSG_DONE:
		if (fs->state == FS_WAIT_DETACH)
			sim_fs_die(s, n, "unmounted");
		break;
	case CSV_MSG_FENCE:
	case CSV_MSG_REPLAY:
		sim_fs_order(s, n, msg);
		break;
	case CSV_MSG_IN_USE_REPLY:
		sim_fs_in_use(s, n, msg);
		break;
	case CSV_MSG_FENCED:
		sim_fs_die(s, n, "its slot is out");
		break;
	case CSV_MSG_BRL_RESULT:
		on_brl(s, n, msg);
		break;
	case CSV_MSG_ERROR:
		on_error(s, n, msg);
		break;
	default:
		break;
	}
}

void sim_fs_ticks(struct sim *s, unsigned n)
{
	sim_at(s, sim_rand(s, 60) * SIM_MS, (int)n, &s->node[n].life, tick, n, 0, NULL);
}
