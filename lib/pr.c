/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Persistent reservations: commands, lists, and the fence. */
#include <stdlib.h>
#include <string.h>

#include "lib/pr.h"

#define OPCODE_IN 0x5e
#define OPCODE_OUT 0x5f
#define READ_KEYS 0
#define READ_RESERVATION 1
#define BASIC_LEN 24  /* SPC-4 table 222 */
#define KEYS_MAX 8000 /* the allocation length of READ KEYS has 16 bits */
#define FENCE_TRIES 20
#define FENCE_PAUSE_MS 50

enum csv_scsi_answer csv_pr_out(struct csv_scsi_port *port, int sa, enum csv_pr_type type, uint64_t key,
				uint64_t sa_key, bool aptpl)
{
	uint8_t param[BASIC_LEN] = { 0 };
	struct csv_scsi_cmd cmd = {
		.cdb = { OPCODE_OUT, (uint8_t)sa, (uint8_t)type },
		.cdb_len = 10,
		.data = param,
		.len = sizeof(param),
		.out = true,
	};

	csv_be_put(cmd.cdb + 5, 4, sizeof(param));
	csv_be_put(param, 8, key);
	csv_be_put(param + 8, 8, sa_key);
	param[20] = aptpl ? 1 : 0;
	return csv_scsi_run(port, &cmd);
}

/* OK: buf has *got bytes, at least 8. */
static enum csv_err pr_in(struct csv_scsi_port *port, int sa, void *buf, uint16_t len, size_t *got)
{
	struct csv_scsi_cmd cmd = { .cdb = { OPCODE_IN, (uint8_t)sa }, .cdb_len = 10, .data = buf, .len = len };
	enum csv_err err;

	csv_be_put(cmd.cdb + 7, 2, len);
	err = csv_scsi_err(csv_scsi_run(port, &cmd));
	*got = cmd.moved;
	return err == CSV_OK && *got < 8 ? CSV_IO : err;
}

/*
 * All registered keys, one entry for each registration (a key that several paths
 * use comes several times).  *keys is the caller's to free.
 */
static enum csv_err read_keys(struct csv_scsi_port *port, uint64_t **keys, unsigned *n, uint32_t *generation)
{
	unsigned room = 256;

	for (;;) {
		size_t size = 8 + 8 * (size_t)room, got;
		uint8_t *buf = malloc(size);
		enum csv_err err = buf ? pr_in(port, READ_KEYS, buf, (uint16_t)size, &got) : CSV_NOMEM;
		unsigned listed, present;

		if (err != CSV_OK) {
			free(buf);
			return err;
		}
		*generation = (uint32_t)csv_be_get(buf, 4);
		listed = (unsigned)csv_be_get(buf + 4, 4) / 8;
		present = (unsigned)(got - 8) / 8;
		if (listed > present && room < KEYS_MAX && listed <= KEYS_MAX) {
			free(buf);
			room = listed > room ? listed : KEYS_MAX;
			continue;
		}
		/* A list cut short would make a key that is there look gone. */
		*keys = listed > present ? NULL : malloc((listed + 1) * sizeof(**keys));
		*n = listed;
		for (unsigned i = 0; *keys && i < listed; i++)
			(*keys)[i] = csv_be_get(buf + 8 + 8 * (size_t)i, 8);
		free(buf);
		if (!*keys)
			return listed > present ? CSV_PROTO : CSV_NOMEM;
		return CSV_OK;
	}
}

static bool contains(const uint64_t *keys, unsigned n, uint64_t key)
{
	for (unsigned i = 0; i < n; i++)
		if (keys[i] == key)
			return true;
	return false;
}

enum csv_err csv_pr_count_key(struct csv_scsi_port *port, uint64_t key, unsigned *n, uint32_t *generation)
{
	uint64_t *keys;
	unsigned all;
	enum csv_err err = read_keys(port, &keys, &all, generation);

	if (err != CSV_OK)
		return err;
	*n = 0;
	for (unsigned i = 0; i < all; i++)
		*n += keys[i] == key;
	free(keys);
	return CSV_OK;
}

enum csv_err csv_pr_status(struct csv_scsi_port *port, struct csv_pr_status *st)
{
	uint8_t buf[256];
	uint64_t *keys;
	unsigned n;
	size_t got;
	enum csv_err err = read_keys(port, &keys, &n, &st->generation);

	if (err != CSV_OK)
		return err;
	st->nkeys = 0;
	for (unsigned i = 0; i < n; i++) {
		if (contains(st->keys, st->nkeys, keys[i]))
			continue;
		if (st->nkeys == sizeof(st->keys) / sizeof(st->keys[0])) {
			free(keys);
			return CSV_NOTSUP; /* more hosts than a volume can have */
		}
		st->keys[st->nkeys++] = keys[i];
	}
	free(keys);

	st->type = CSV_PR_NONE;
	st->holder = 0;
	err = pr_in(port, READ_RESERVATION, buf, sizeof(buf), &got);
	if (err != CSV_OK)
		return err;
	/* SPC-4 6.15.3: no descriptor, no reservation. */
	if (got >= 24 && csv_be_get(buf + 4, 4) >= 16) {
		st->holder = csv_be_get(buf + 8, 8);
		st->type = (enum csv_pr_type)(buf[21] & 0x0f);
	}
	return CSV_OK;
}

enum csv_err csv_pr_register(struct csv_scsi_port *port, uint64_t key)
{
	/*
	 * No APTPL: tgtd refuses it, and who comes back after a power cut reads its slot first (F2).  And so a lost
	 * registration tells of a target that has lost its memory (J4).
	 */
	return csv_scsi_err(csv_pr_out(port, CSV_PR_REGISTER_AND_IGNORE, CSV_PR_NONE, 0, key, false));
}

/*
 * What the kernel has queued it sends again after a restart of the target, before anybody has looked at a slot.  If the
 * target has kept the reservation, it refuses what a fenced host sends so.
 */
enum csv_err csv_pr_register_lasting(struct csv_scsi_port *port, uint64_t key)
{
	enum csv_scsi_answer r = CSV_SCSI_REFUSED;

	if (!port->no_aptpl)
		r = csv_pr_out(port, CSV_PR_REGISTER_AND_IGNORE, CSV_PR_NONE, 0, key, true);
	if (r != CSV_SCSI_REFUSED)
		return csv_scsi_err(r);
	port->no_aptpl = true;
	return csv_pr_register(port, key);
}

enum csv_err csv_pr_reserve(struct csv_scsi_port *port, uint64_t key, enum csv_pr_type type)
{
	enum csv_err err = csv_scsi_err(csv_pr_out(port, CSV_PR_RESERVE, type, key, 0, false));

	if (err == CSV_OK)
		port->held = type;
	return err;
}

/* ---- the fence ------------------------------------------------------------------------------- */

struct fence {
	struct csv_scsi_port *port;
	uint64_t key, victim;
	enum csv_pr_type type;
	bool aborted;
};

/*
 * A conflict on PREEMPT means that the victim's key is gone already, or our own is;
 * only the list of keys tells which (F2).  CONFLICT: our own is gone.
 */
static enum csv_err look_for_keys(const struct fence *f, bool *gone)
{
	uint64_t *keys;
	uint32_t generation;
	unsigned n;
	enum csv_err err = read_keys(f->port, &keys, &n, &generation);

	if (err != CSV_OK)
		return err;
	*gone = !contains(keys, n, f->victim);
	if (!contains(keys, n, f->key))
		err = CSV_CONFLICT;
	free(keys);
	return err;
}

/* Nobody is registered but we and the victim. */
static bool only_two(const struct fence *f)
{
	uint64_t *keys;
	uint32_t generation;
	unsigned n;
	bool two;

	if (read_keys(f->port, &keys, &n, &generation) != CSV_OK)
		return false;
	two = contains(keys, n, f->key);
	for (unsigned i = 0; i < n; i++)
		two &= keys[i] == f->key || keys[i] == f->victim;
	free(keys);
	return two;
}

static enum csv_scsi_answer preempt(const struct fence *f, uint64_t victim)
{
	return csv_pr_out(f->port, CSV_PR_PREEMPT, f->type, f->key, victim, false);
}

/* tgtd: it must remember us as the reservation's maker, whatever the victim does meanwhile (pr_holder.c). */
static enum csv_scsi_answer preempt_tgtd(const struct fence *f)
{
	enum csv_scsi_answer r = CSV_SCSI_REFUSED;

	/* In a duel: all other registrations go, and we become the maker, in one step. */
	if (only_two(f))
		r = preempt(f, 0);
	if (r != CSV_SCSI_REFUSED)
		return r;
	r = csv_pr_become_holder(f->port, f->type, f->key);
	if (r != CSV_SCSI_GOOD && r != CSV_SCSI_REFUSED)
		return r;
	r = preempt(f, f->victim);
	if (r == CSV_SCSI_GOOD && csv_pr_become_holder(f->port, f->type, f->key) == CSV_SCSI_LOST)
		return CSV_SCSI_LOST;
	return r;
}

/*
 * One attempt.  *gone: the victim's key is.  CONFLICT: our own is.
 *
 * The reservation comes first (F1): after a restart of the target it may be that nobody has made it again, and then a
 * victim without a key may write.  RESERVE is GOOD for any registered host while one of the same type stands.
 */
static enum csv_err remove_key(struct fence *f, bool *gone)
{
	enum csv_err err = csv_pr_reserve(f->port, f->key, f->type);
	enum csv_scsi_answer r;

	if (err != CSV_OK && err != CSV_CONFLICT)
		return err;
	r = csv_pr_out(f->port, CSV_PR_PREEMPT_AND_ABORT, f->type, f->key, f->victim, false);
	f->aborted = r == CSV_SCSI_GOOD;
	if (r == CSV_SCSI_REFUSED)
		r = f->port->tgtd ? preempt_tgtd(f) : preempt(f, f->victim);
	if (r != CSV_SCSI_GOOD && r != CSV_SCSI_CONFLICT)
		return csv_scsi_err(r);
	/* Whatever the target has answered: the key must be gone and ours must stand (F1, F5). */
	return look_for_keys(f, gone);
}

/*
 * F3.  PREEMPT AND ABORT answers when the victim's queued commands are dead.  Where it
 * is refused, PREEMPT does the first half and the reset, with its answer, the second;
 * so too where the victim's key was gone before we came (an earlier attempt, perhaps,
 * whose answer was lost).
 *
 * Both keys may stand after a conflict: another host is fencing at the moment.  Then again.
 */
enum csv_err csv_pr_fence(struct csv_scsi_port *port, uint64_t key, uint64_t victim, enum csv_pr_type type,
			  bool *aborted)
{
	struct fence f = { .port = port, .key = key, .victim = victim, .type = type };
	enum csv_err err;
	bool gone;

	for (int i = 0; i < FENCE_TRIES; i++) {
		gone = false;
		err = remove_key(&f, &gone);
		*aborted = f.aborted;
		if (err != CSV_OK)
			return err;
		if (gone)
			return f.aborted ? CSV_OK : port->reset(port);
		port->rest(port, FENCE_PAUSE_MS);
	}
	return CSV_CONFLICT;
}
