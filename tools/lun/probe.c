/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Probing of a LUN, in this order:
 *
 *	1. no key may be registered, of whomever.  If a reservation stands without keys (tgtd keeps it when its last
 *	   session dies) it keeps out the late writes of those who had them, and would go with our key: 2 to 5 are left
 *	   out, but for the other way's write
 *	2. our key, with APTPL and without: what is registered last counts (SPC-4 5.12.5), so nothing lasts
 *	3. each type of reservation: taken, read back, released
 *	4. the type that csvfs uses is taken: the other way's write must be refused, its key must fall to PREEMPT AND
 *	   ABORT.  Without another way a key that nobody has is preempted: who knows the service action answers with a
 *	   conflict
 *	5. the reservation is released, unless somebody has come meanwhile; our key goes
 *	6. the last block is compared and written with itself; a false comparison must be told
 *	7. UNMAP, of nothing, or of the last MiB if that may be destroyed
 *
 * Whatever fails on the way, step 5 is done.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "lib/env.h"
#include "lib/pr.h"
#include "tools/lun/probe.h"

#define TYPE CSV_PR_WRITE_EXCLUSIVE_ALL_REG
#define KEY_PREFIX 0xC5F0ull /* neither a slot's (csv_slot_pr_key) nor likely another's */

#define OP_READ16 0x88
#define OP_COMPARE_AND_WRITE 0x89
#define OP_WRITE16 0x8a
#define OP_UNMAP 0x42

struct way {
	struct csv_scsi_port port;
	struct csv_bdev *dev;
	uint64_t key;
};

struct probe {
	struct way own, other;
	bool has_other, destructive;
	struct csv_lun_report *r;
	uint8_t *block; /* the last one's content */
};

static enum csv_err port_command(struct csv_scsi_port *port, struct csv_scsi_cmd *cmd)
{
	struct way *w = port->owner;

	return w->dev->ops->scsi(w->dev, cmd);
}

static void port_rest(struct csv_scsi_port *port, unsigned ms)
{
	poll(NULL, 0, (int)ms);
}

static void way_init(struct way *w, struct csv_bdev *dev)
{
	*w = (struct way){ .dev = dev, .port = { .command = port_command, .rest = port_rest, .owner = w } };
	csv_env_system()->random(NULL, &w->key, sizeof(w->key));
	w->key = KEY_PREFIX << 48 | w->key >> 16;
}

/* ---- reservations ----------------------------------------------------------------------------------- */

static enum csv_err out(struct way *w, int sa, int type, uint64_t sa_key)
{
	return csv_scsi_err(csv_pr_out(&w->port, sa, (enum csv_pr_type)type, w->key, sa_key, false));
}

static enum csv_err enroll(struct probe *p)
{
	enum csv_scsi_answer a = csv_pr_out(&p->own.port, CSV_PR_REGISTER_AND_IGNORE, CSV_PR_NONE, 0, p->own.key, true);

	p->r->aptpl = a == CSV_SCSI_GOOD;
	if (a != CSV_SCSI_GOOD && a != CSV_SCSI_REFUSED)
		return csv_scsi_err(a);
	return csv_pr_register(&p->own.port, p->own.key);
}

/* What answers is not yet honoured: it must be seen. */
static enum csv_err try_type(struct probe *p, int type)
{
	struct csv_pr_status *st = calloc(1, sizeof(*st));
	enum csv_err err = st ? out(&p->own, CSV_PR_RESERVE, type, 0) : CSV_NOMEM;
	bool taken = err == CSV_OK;

	if (taken)
		err = csv_pr_status(&p->own.port, st);
	if (err == CSV_OK)
		p->r->type[type] = (int)st->type == type;
	if (taken && out(&p->own, CSV_PR_RELEASE, type, 0) != CSV_OK)
		p->r->type[type] = false;
	free(st);
	/* Refused types are an answer. */
	return err == CSV_NOTSUP || err == CSV_CONFLICT || err == CSV_IO ? CSV_OK : err;
}

static enum csv_err try_types(struct probe *p)
{
	enum csv_err err = CSV_OK;

	for (int type = 1; type < CSV_LUN_TYPES && err == CSV_OK; type++) {
		if (type != 2 && type != 4) /* obsolete */
			err = try_type(p, type);
	}
	return err;
}

static struct csv_scsi_cmd last_block(struct probe *p, uint8_t opcode, void *data, size_t len, bool to_target)
{
	const struct csv_bdev_geometry *geo = &p->own.dev->geo;
	struct csv_scsi_cmd cmd = { .cdb = { opcode }, .cdb_len = 16, .data = data, .len = len, .out = to_target };

	csv_be_put(cmd.cdb + 2, 8, geo->size / geo->block - 1);
	if (opcode == OP_COMPARE_AND_WRITE)
		cmd.cdb[13] = 1;
	else
		csv_be_put(cmd.cdb + 10, 4, 1);
	return cmd;
}

static enum csv_err read_last(struct probe *p)
{
	struct csv_scsi_cmd cmd = last_block(p, OP_READ16, p->block, p->own.dev->geo.block, false);
	enum csv_err err = csv_scsi_err(csv_scsi_run(&p->own.port, &cmd));

	return err == CSV_OK && cmd.moved != cmd.len ? CSV_IO : err;
}

/* The other way, without a key, writes what is there already. */
static enum csv_err try_enforcement(struct probe *p)
{
	struct csv_scsi_cmd cmd = last_block(p, OP_WRITE16, p->block, p->own.dev->geo.block, true);
	enum csv_scsi_answer a = csv_scsi_run(&p->other.port, &cmd);

	p->r->enforced = a == CSV_SCSI_CONFLICT;
	p->r->enforced_known = true;
	return a == CSV_SCSI_LOST ? CSV_UNREACH : CSV_OK;
}

static enum csv_err try_preempt(struct probe *p)
{
	uint64_t victim = p->has_other ? p->other.key : p->own.key ^ 1;
	enum csv_scsi_answer a = csv_pr_out(&p->own.port, CSV_PR_PREEMPT_AND_ABORT, TYPE, p->own.key, victim, false);
	uint32_t generation;
	unsigned n = 1;
	enum csv_err err = CSV_OK;

	if (a == CSV_SCSI_LOST)
		return CSV_UNREACH;
	if (p->has_other)
		err = csv_pr_count_key(&p->own.port, victim, &n, &generation);
	p->r->preempt_abort = p->has_other ? a == CSV_SCSI_GOOD && n == 0 : a == CSV_SCSI_CONFLICT;
	return err;
}

static enum csv_err try_fence(struct probe *p)
{
	enum csv_err err = CSV_OK;

	if (!p->r->type[TYPE])
		return CSV_OK;
	err = out(&p->own, CSV_PR_RESERVE, TYPE, 0);
	if (err == CSV_OK && p->has_other)
		err = try_enforcement(p);
	if (err == CSV_OK && p->has_other)
		err = csv_pr_register(&p->other.port, p->other.key);
	return err == CSV_OK ? try_preempt(p) : err;
}

static bool alone(struct probe *p)
{
	struct csv_pr_status *st = calloc(1, sizeof(*st));
	bool yes = st && csv_pr_status(&p->own.port, st) == CSV_OK;

	for (unsigned i = 0; yes && i < st->nkeys; i++)
		yes = st->keys[i] == p->own.key;
	free(st);
	return yes;
}

/* Who mounts meanwhile has reserved: it is made sure of for him, before and after. */
static enum csv_err leave(struct probe *p)
{
	enum csv_err err = CSV_OK;
	bool nobody;

	if (p->has_other)
		csv_pr_register(&p->other.port, 0);
	nobody = alone(p);
	if (nobody && p->r->type[TYPE]) {
		out(&p->own, CSV_PR_RELEASE, TYPE, 0);
		nobody = alone(p);
		if (!nobody)
			out(&p->own, CSV_PR_RESERVE, TYPE, 0);
	}
	if (csv_pr_register(&p->own.port, 0) != CSV_OK)
		err = CSV_IO;
	return err == CSV_OK && !nobody ? CSV_CONFLICT : err;
}

/* ---- commands on blocks ------------------------------------------------------------------------------- */

static enum csv_err try_compare_write(struct probe *p)
{
	size_t block = p->own.dev->geo.block;
	uint8_t *both = malloc(2 * block);
	struct csv_scsi_cmd cmd;
	enum csv_scsi_answer a;

	if (!both)
		return CSV_NOMEM;
	memcpy(both, p->block, block);
	memcpy(both + block, p->block, block);
	cmd = last_block(p, OP_COMPARE_AND_WRITE, both, 2 * block, true);
	a = csv_scsi_run(&p->own.port, &cmd);
	p->r->compare_write = a == CSV_SCSI_GOOD;
	/* It would write what is there. */
	both[0] ^= 1;
	if (a == CSV_SCSI_GOOD) {
		a = csv_scsi_run(&p->own.port, &cmd);
		p->r->compare_write =
		    a == CSV_SCSI_ERROR && cmd.status == CSV_SAM_CHECK_CONDITION && cmd.key == CSV_SENSE_MISCOMPARE;
	}
	free(both);
	return a == CSV_SCSI_LOST ? CSV_UNREACH : CSV_OK;
}

/* SBC-3 5.28: a list without descriptors is no error, and does nothing. */
static enum csv_err try_unmap(struct probe *p)
{
	const struct csv_bdev_geometry *geo = &p->own.dev->geo;
	uint64_t blocks = (1u << 20) / geo->block;
	uint8_t list[24] = { 0 };
	struct csv_scsi_cmd cmd = { .cdb = { OP_UNMAP }, .cdb_len = 10, .data = list, .len = 8, .out = true };
	enum csv_scsi_answer a;

	if (p->destructive && geo->size / geo->block > blocks) {
		cmd.len = sizeof(list);
		csv_be_put(list + 2, 2, 16);
		csv_be_put(list + 8, 8, geo->size / geo->block - blocks);
		csv_be_put(list + 16, 4, blocks);
	}
	csv_be_put(list, 2, cmd.len - 2);
	csv_be_put(cmd.cdb + 7, 2, cmd.len);
	a = csv_scsi_run(&p->own.port, &cmd);
	p->r->unmap = a == CSV_SCSI_GOOD;
	return a == CSV_SCSI_LOST ? CSV_UNREACH : CSV_OK;
}

/* ---- all of it ------------------------------------------------------------------------------------------ */

static enum csv_err nobody_there(struct probe *p, struct csv_why *why)
{
	struct csv_pr_status *st = calloc(1, sizeof(*st));
	enum csv_err err = st ? csv_pr_status(&p->own.port, st) : CSV_NOMEM;

	if (err != CSV_OK)
		csv_fail(why, err, "", "the LUN's reservations cannot be read: %s", csv_err_text(err));
	else if (st->nkeys > 0)
		err = csv_fail(why, CSV_BUSY, "unmount it, or end the program that uses it, first",
			       "the LUN is in use: reservation key 0x%016llx is registered",
			       (unsigned long long)st->keys[0]);
	else
		p->r->standing = st->type < CSV_LUN_TYPES ? st->type : CSV_PR_NONE;
	free(st);
	return err;
}

static enum csv_err reservations(struct probe *p, struct csv_why *why)
{
	enum csv_err err = nobody_there(p, why), left;

	if (err != CSV_OK)
		return err;
	if (p->r->standing) {
		p->r->type[p->r->standing] = true;
		return p->has_other ? try_enforcement(p) : CSV_OK;
	}
	err = enroll(p);
	if (err == CSV_OK)
		err = try_types(p);
	if (err == CSV_OK)
		err = try_fence(p);
	left = leave(p);
	if (err == CSV_OK)
		err = left;
	if (err == CSV_NOTSUP)
		return CSV_OK; /* no reservations at all: that is an answer */
	return err == CSV_OK ? err
			     : csv_fail(why, err, "try again", "trying the LUN's reservations: %s", csv_err_text(err));
}

enum csv_err csv_lun_probe(struct csv_bdev *dev, struct csv_bdev *other, bool destructive, struct csv_lun_report *r,
			   struct csv_why *why)
{
	struct probe p = { .has_other = other != NULL, .destructive = destructive, .r = r };
	enum csv_err err;

	memset(r, 0, sizeof(*r));
	if (!dev->ops->scsi)
		return csv_fail(why, CSV_NOTSUP, "give a LUN: iscsi://host/IQN/LUN, or its disk under /dev",
				"it is no SCSI disk: it has no reservations");
	way_init(&p.own, dev);
	way_init(&p.other, other);
	p.block = malloc(dev->geo.block);
	if (!p.block)
		return csv_fail(why, CSV_NOMEM, "", "no memory");
	err = read_last(&p);
	if (err != CSV_OK)
		csv_fail(why, err, "", "its last block cannot be read: %s", csv_err_text(err));
	if (err == CSV_OK)
		err = reservations(&p, why);
	if (err == CSV_OK)
		err = try_compare_write(&p);
	if (err == CSV_OK)
		err = try_unmap(&p);
	free(p.block);
	return err == CSV_OK ? err : csv_fail(why, err, "", "%s", csv_err_text(err));
}
