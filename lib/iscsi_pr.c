/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Persistent reservations (SPC-4 5.12, 6.15, 6.16), run by the device's thread. */
#include <stdlib.h>
#include <string.h>

#include "lib/iscsi_impl.h"

#define TRIES 20
#define KEYS_MAX 8000 /* the allocation length of READ KEYS has 16 bits */

/* Sense that means "this target does not do that", not "the LUN has failed". */
static bool is_refusal(const struct scsi_task *task)
{
	return task->sense.key == SCSI_SENSE_ILLEGAL_REQUEST;
}

/* BUSY and the like end soon. */
static bool is_busy(int status)
{
	return status == SCSI_STATUS_BUSY || status == SCSI_STATUS_TASK_SET_FULL || status == SCSI_STATUS_TASK_ABORTED;
}

enum iscsi_pr_answer csv_iscsi_pr_answer(const struct iscsi_call *call)
{
	if (call->status == SCSI_STATUS_GOOD)
		return ISCSI_PR_OK;
	if (call->status == SCSI_STATUS_RESERVATION_CONFLICT)
		return ISCSI_PR_CONFLICT;
	if (call->status == SCSI_STATUS_CHECK_CONDITION && is_refusal(call->task))
		return ISCSI_PR_REFUSED;
	return ISCSI_PR_ERROR;
}

enum iscsi_pr_answer csv_iscsi_pr_out(struct iscsi_dev *d, int sa, enum csv_pr_type type, uint64_t key, uint64_t sa_key)
{
	/* No APTPL: tgtd refuses it, and who comes back after a power cut reads its slot first (F2). */
	struct scsi_persistent_reserve_out_basic param = {
		.reservation_key = key,
		.service_action_reservation_key = sa_key,
	};
	enum iscsi_pr_answer r = ISCSI_PR_ERROR;

	for (int i = 0; i < TRIES; i++) {
		struct iscsi_call call = { .d = d };
		bool again;

		if (!d->up)
			return ISCSI_PR_LOST;
		if (!csv_iscsi_call_wait(&call, iscsi_persistent_reserve_out_task(
						    d->ctx, d->name.lun, sa, SCSI_PERSISTENT_RESERVE_SCOPE_LU,
						    (int)type, &param, csv_iscsi_call_cb, &call)))
			return ISCSI_PR_LOST;
		again = csv_iscsi_call_again(&call);
		r = csv_iscsi_pr_answer(&call);
		if (is_busy(call.status)) {
			csv_iscsi_pump(d, 100);
			again = true;
		}
		csv_iscsi_call_free(&call);
		if (!again)
			break;
	}
	return r;
}

/* PERSISTENT RESERVE IN; OK: call->task->datain has at least 8 bytes. */
static enum csv_err reserve_in(struct iscsi_dev *d, int sa, uint16_t len, struct iscsi_call *call)
{
	for (int i = 0; i < TRIES; i++) {
		enum csv_err err;

		*call = (struct iscsi_call){ .d = d };
		if (!d->up)
			return CSV_UNREACH;
		if (!csv_iscsi_call_wait(
			call, iscsi_persistent_reserve_in_task(d->ctx, d->name.lun, sa, len, csv_iscsi_call_cb, call)))
			return CSV_UNREACH;
		if (call->status == SCSI_STATUS_GOOD && call->task->datain.size >= 8)
			return CSV_OK;
		err = call->status == SCSI_STATUS_CHECK_CONDITION && is_refusal(call->task) ? CSV_NOTSUP : CSV_IO;
		if (!csv_iscsi_call_again(call) && !is_busy(call->status)) {
			csv_iscsi_call_free(call);
			return err;
		}
		csv_iscsi_call_free(call);
	}
	return CSV_IO;
}

/*
 * All registered keys, one entry for each registration (a key that several paths
 * use comes several times).  *keys is the caller's to free.
 */
static enum csv_err read_keys(struct iscsi_dev *d, uint64_t **keys, unsigned *n, uint32_t *generation)
{
	unsigned room = 256;

	for (;;) {
		struct iscsi_call call;
		enum csv_err err = reserve_in(d, SCSI_PERSISTENT_RESERVE_READ_KEYS, (uint16_t)(8 + 8 * room), &call);
		const unsigned char *p;
		unsigned listed, got;

		if (err != CSV_OK)
			return err;
		p = call.task->datain.data;
		*generation = scsi_get_uint32(p);
		listed = scsi_get_uint32(p + 4) / 8;
		got = ((unsigned)call.task->datain.size - 8) / 8;
		if (listed > got && room < KEYS_MAX && listed <= KEYS_MAX) {
			csv_iscsi_call_free(&call);
			room = listed > room ? listed : KEYS_MAX;
			continue;
		}
		/* A list cut short would make a key that is there look gone. */
		*keys = listed > got ? NULL : malloc((listed + 1) * sizeof(**keys));
		*n = listed;
		for (unsigned i = 0; *keys && i < listed; i++)
			(*keys)[i] = scsi_get_uint64(p + 8 + 8 * (size_t)i);
		csv_iscsi_call_free(&call);
		if (!*keys)
			return listed > got ? CSV_PROTO : CSV_NOMEM;
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

enum csv_err csv_iscsi_pr_status(struct iscsi_dev *d, struct csv_pr_status *st)
{
	struct iscsi_call call;
	uint64_t *keys;
	unsigned n;
	enum csv_err err = read_keys(d, &keys, &n, &st->generation);

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
	err = reserve_in(d, SCSI_PERSISTENT_RESERVE_READ_RESERVATION, 256, &call);
	if (err != CSV_OK)
		return err;
	/* SPC-4 6.15.3: no descriptor, no reservation. */
	if (call.task->datain.size >= 24 && scsi_get_uint32(call.task->datain.data + 4) >= 16) {
		st->holder = scsi_get_uint64(call.task->datain.data + 8);
		st->type = (enum csv_pr_type)(call.task->datain.data[21] & 0x0f);
	}
	csv_iscsi_call_free(&call);
	return CSV_OK;
}

static enum csv_err to_err(enum iscsi_pr_answer r)
{
	switch (r) {
	case ISCSI_PR_OK:
		return CSV_OK;
	case ISCSI_PR_CONFLICT:
		return CSV_CONFLICT;
	case ISCSI_PR_REFUSED:
		return CSV_NOTSUP;
	case ISCSI_PR_LOST:
		return CSV_UNREACH;
	case ISCSI_PR_ERROR:
		break;
	}
	return CSV_IO;
}

enum csv_err csv_iscsi_pr_register(struct iscsi_dev *d, uint64_t key)
{
	return to_err(
	    csv_iscsi_pr_out(d, SCSI_PERSISTENT_RESERVE_REGISTER_AND_IGNORE_EXISTING_KEY, CSV_PR_NONE, 0, key));
}

enum csv_err csv_iscsi_pr_reserve(struct iscsi_dev *d, uint64_t key, enum csv_pr_type type)
{
	return to_err(csv_iscsi_pr_out(d, SCSI_PERSISTENT_RESERVE_RESERVE, type, key, 0));
}

/*
 * LOGICAL UNIT RESET and its answer: no command that any host had queued before it
 * will be executed after it (SAM-5 7.7).  Our own commands are let through first, so
 * that none of them is among the aborted.
 */
static enum csv_err lun_reset(struct iscsi_dev *d)
{
	struct iscsi_call call = { .d = d };
	bool gate = d->gate;
	enum csv_err err = CSV_OK;
	int res;

	d->gate = false;
	while (d->ninflight > 0 && d->up && !d->lost)
		csv_iscsi_pump(d, 100);
	if (!d->up || d->lost)
		return CSV_UNREACH;
	res = iscsi_task_mgmt_async(d->ctx, d->name.lun, ISCSI_TM_LUN_RESET, 0xffffffff, 0, csv_iscsi_call_cb, &call);
	if (!csv_iscsi_call_wait_sent(&call, res == 0))
		return CSV_UNREACH;
	if (call.response != ISCSI_TMR_FUNC_COMPLETE)
		err = CSV_NOTSUP;
	/* The unit attention that we have caused ourselves says nothing new: taken here, it does not count (J4). */
	if (csv_iscsi_test_ready(d) == CSV_UNREACH)
		return CSV_UNREACH;
	d->gate = gate;
	return err;
}

/*
 * A conflict on PREEMPT means that the victim's key is gone already, or our own is;
 * only the list of keys tells which (F2).  CONFLICT: our own is gone.
 */
static enum csv_err look_for_keys(struct iscsi_dev *d, uint64_t key, uint64_t victim, bool *gone)
{
	uint64_t *keys;
	uint32_t generation;
	unsigned n;
	enum csv_err err = read_keys(d, &keys, &n, &generation);

	if (err != CSV_OK)
		return err;
	*gone = !contains(keys, n, victim);
	if (!contains(keys, n, key))
		err = CSV_CONFLICT;
	free(keys);
	return err;
}

/* Nobody is registered but we and the victim. */
static bool only_two(struct iscsi_dev *d, const struct iscsi_ctl *ctl)
{
	uint64_t *keys;
	uint32_t generation;
	unsigned n;
	bool two;

	if (read_keys(d, &keys, &n, &generation) != CSV_OK)
		return false;
	two = contains(keys, n, ctl->key);
	for (unsigned i = 0; i < n; i++)
		two &= keys[i] == ctl->key || keys[i] == ctl->victim;
	free(keys);
	return two;
}

/* tgtd: it must remember us as the reservation's maker, whatever the victim does meanwhile (iscsi_holder.c). */
static enum iscsi_pr_answer preempt_tgtd(struct iscsi_dev *d, const struct iscsi_ctl *ctl)
{
	enum iscsi_pr_answer r = ISCSI_PR_REFUSED;

	/* In a duel: all other registrations go, and we become the maker, in one step. */
	if (only_two(d, ctl))
		r = csv_iscsi_pr_out(d, SCSI_PERSISTENT_RESERVE_PREEMPT, ctl->type, ctl->key, 0);
	if (r != ISCSI_PR_REFUSED)
		return r;
	r = csv_iscsi_become_holder(d, ctl->type, ctl->key);
	if (r != ISCSI_PR_OK && r != ISCSI_PR_REFUSED)
		return r;
	r = csv_iscsi_pr_out(d, SCSI_PERSISTENT_RESERVE_PREEMPT, ctl->type, ctl->key, ctl->victim);
	if (r == ISCSI_PR_OK && csv_iscsi_become_holder(d, ctl->type, ctl->key) == ISCSI_PR_LOST)
		return ISCSI_PR_LOST;
	return r;
}

/*
 * One attempt.  *gone: the victim's key is.  CONFLICT: our own is.
 *
 * The reservation comes first (F1): after a restart of the target it may be that nobody has made it again, and then a
 * victim without a key may write.  RESERVE is GOOD for any registered host while one of the same type stands.
 */
static enum csv_err remove_key(struct iscsi_dev *d, struct iscsi_ctl *ctl, bool *gone)
{
	enum iscsi_pr_answer r = csv_iscsi_pr_out(d, SCSI_PERSISTENT_RESERVE_RESERVE, ctl->type, ctl->key, 0);

	if (r == ISCSI_PR_OK)
		d->pr_type = ctl->type;
	else if (r != ISCSI_PR_CONFLICT)
		return to_err(r);
	r = csv_iscsi_pr_out(d, SCSI_PERSISTENT_RESERVE_PREEMPT_AND_ABORT, ctl->type, ctl->key, ctl->victim);
	ctl->aborted = r == ISCSI_PR_OK;
	if (r == ISCSI_PR_REFUSED)
		r = d->tgtd ? preempt_tgtd(d, ctl)
			    : csv_iscsi_pr_out(d, SCSI_PERSISTENT_RESERVE_PREEMPT, ctl->type, ctl->key, ctl->victim);
	if (r != ISCSI_PR_OK && r != ISCSI_PR_CONFLICT)
		return to_err(r);
	/* Whatever the target has answered: the key must be gone and ours must stand (F1, F5). */
	return look_for_keys(d, ctl->key, ctl->victim, gone);
}

/*
 * F3.  PREEMPT AND ABORT answers when the victim's queued commands are dead.  Where it
 * is refused, PREEMPT does the first half and the reset, with its answer, the second;
 * so too where the victim's key was gone before we came (an earlier attempt, perhaps,
 * whose answer was lost).
 *
 * Both keys may stand after a conflict: another host is fencing at the moment.  Then again.
 */
static enum csv_err fence(struct iscsi_dev *d, struct iscsi_ctl *ctl)
{
	enum csv_err err;
	bool gone;

	for (int i = 0; i < TRIES; i++) {
		gone = false;
		err = remove_key(d, ctl, &gone);
		if (err != CSV_OK)
			return err;
		if (gone)
			return ctl->aborted ? CSV_OK : lun_reset(d);
		csv_iscsi_pump(d, 50);
	}
	return CSV_CONFLICT;
}

bool csv_iscsi_pr_run(struct iscsi_dev *d, struct iscsi_ctl *ctl)
{
	switch (ctl->op) {
	case ISCSI_CTL_REGISTER:
		ctl->err = csv_iscsi_pr_register(d, ctl->key);
		if (ctl->err == CSV_OK)
			d->registered = ctl->key != 0;
		break;
	case ISCSI_CTL_RESERVE:
		ctl->err = csv_iscsi_pr_reserve(d, ctl->key, ctl->type);
		if (ctl->err == CSV_OK)
			d->pr_type = ctl->type;
		break;
	case ISCSI_CTL_PREEMPT:
		ctl->err = fence(d, ctl);
		break;
	case ISCSI_CTL_STATUS:
		ctl->err = csv_iscsi_pr_status(d, ctl->st);
		break;
	}
	return ctl->err != CSV_UNREACH;
}
