/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/fake_lun.h"

#include <stdlib.h>
#include <string.h>

#include "lib/iov.h"
#include "lib/pr.h"

#define FAKE_SECTOR 512u

/* ---- commands ------------------------------------------------------------------------------------- */

static void check(struct csv_scsi_cmd *cmd, uint8_t key, int asc)
{
	cmd->status = CSV_SAM_CHECK_CONDITION;
	cmd->key = key;
	cmd->asc = (uint16_t)asc;
}

static void answer(struct csv_scsi_cmd *cmd, const uint8_t *buf, size_t len)
{
	cmd->moved = len < cmd->len ? len : cmd->len;
	memcpy(cmd->data, buf, cmd->moved);
}

#define FOR_EACH_PATH(lun, p)                                                                                          \
	for (unsigned h_ = 0; h_ < FAKE_HOSTS; h_++)                                                                   \
		for (struct fake_path *p = (lun)->host[h_].path; p < (lun)->host[h_].path + FAKE_PATHS; p++)

static unsigned remove_key(struct fake_lun *lun, uint64_t key, const struct fake_path *but)
{
	unsigned n = 0;

	FOR_EACH_PATH(lun, p)
	{
		if (p == but || !p->key || (key && p->key != key))
			continue;
		p->key = 0;
		n++;
	}
	return n;
}

static void read_keys(struct fake_lun *lun, struct csv_scsi_cmd *cmd)
{
	uint8_t buf[8 + 8 * FAKE_HOSTS * FAKE_PATHS] = { 0 };
	size_t n = 0;

	lun->key_reads++;
	FOR_EACH_PATH(lun, p)
	{
		if (p->key)
			csv_be_put(buf + 8 + 8 * n++, 8, p->key);
	}
	csv_be_put(buf, 4, lun->generation);
	csv_be_put(buf + 4, 4, 8 * n);
	answer(cmd, buf, 8 + 8 * n);
}

static void read_reservation(struct fake_lun *lun, struct csv_scsi_cmd *cmd)
{
	uint8_t buf[24] = { 0 };

	csv_be_put(buf, 4, lun->generation);
	if (lun->type)
		csv_be_put(buf + 4, 4, 16);
	buf[21] = (uint8_t)lun->type;
	answer(cmd, buf, lun->type ? 24 : 8);
}

static void do_register(struct fake_path *p, struct csv_scsi_cmd *cmd, uint64_t key, bool aptpl)
{
	struct fake_lun *lun = p->host->lun;

	if (aptpl && lun->refuse_aptpl) {
		check(cmd, CSV_SENSE_ILLEGAL_REQUEST, 0x2600);
		return;
	}
	p->host->registered_while_busy += key && p->host->nwaiting;
	p->key = key;
	lun->aptpl = aptpl;
	lun->generation++;
}

static void reserve_out(struct fake_path *p, struct csv_scsi_cmd *cmd)
{
	struct fake_lun *lun = p->host->lun;
	const uint8_t *param = cmd->data;
	uint64_t key = csv_be_get(param, 8), sa_key = csv_be_get(param + 8, 8);
	int sa = cmd->cdb[1] & 0x1f;

	if (sa == CSV_PR_REGISTER_AND_IGNORE) {
		do_register(p, cmd, sa_key, param[20] & 1);
		return;
	}
	if (sa == CSV_PR_PREEMPT_AND_ABORT && lun->refuse_abort) {
		check(cmd, CSV_SENSE_ILLEGAL_REQUEST, 0x2400);
		return;
	}
	if (!p->key || p->key != key) {
		cmd->status = CSV_SAM_CONFLICT;
		return;
	}
	if (sa == CSV_PR_RESERVE) {
		lun->type = (enum csv_pr_type)(cmd->cdb[2] & 0xf);
		return;
	}
	if (sa == CSV_PR_RELEASE) {
		lun->type = CSV_PR_NONE;
		if (lun->intruder)
			lun->host[2].path[0].key = FAKE_INTRUDER;
		return;
	}
	lun->generation++;
	if (!remove_key(lun, sa_key, p))
		cmd->status = CSV_SAM_CONFLICT;
	else
		p->host->aborts += sa == CSV_PR_PREEMPT_AND_ABORT;
}

/* One sector of the last block, compared and written with its own content. */
static void compare_and_write(struct fake_lun *lun, struct csv_scsi_cmd *cmd)
{
	uint8_t *last = lun->cache[FAKE_BLOCKS - 1] + FAKE_BLOCK - FAKE_SECTOR, *both = cmd->data;

	if (memcmp(last, both, FAKE_SECTOR) != 0)
		check(cmd, CSV_SENSE_MISCOMPARE, 0x1d00);
	else
		memcpy(last, both + FAKE_SECTOR, FAKE_SECTOR);
}

static enum csv_err port_command(struct csv_scsi_port *port, struct csv_scsi_cmd *cmd)
{
	struct fake_path *p = csv_list_entry(port, struct fake_path, port);
	struct fake_lun *lun = p->host->lun;
	enum csv_err err = CSV_OK;

	pthread_mutex_lock(&lun->lock);
	cmd->status = CSV_SAM_GOOD;
	cmd->moved = 0;
	if (p->dead)
		err = CSV_UNREACH;
	else if (p->attention)
		check(cmd, CSV_SENSE_UNIT_ATTENTION, p->attention);
	else if (cmd->cdb[0] == 0x5e && cmd->cdb[1] == 0)
		read_keys(lun, cmd);
	else if (cmd->cdb[0] == 0x5e)
		read_reservation(lun, cmd);
	else if (cmd->cdb[0] == 0x5f)
		reserve_out(p, cmd);
	else if (cmd->cdb[0] == 0x88)
		answer(cmd, lun->cache[FAKE_BLOCKS - 1] + FAKE_BLOCK - FAKE_SECTOR, FAKE_SECTOR);
	else if (cmd->cdb[0] == 0x89)
		compare_and_write(lun, cmd);
	p->attention = p->dead ? p->attention : 0;
	pthread_mutex_unlock(&lun->lock);
	return err;
}

static enum csv_err port_reset(struct csv_scsi_port *port)
{
	struct fake_path *p = csv_list_entry(port, struct fake_path, port);

	csv_disk_drain(port->owner);
	pthread_mutex_lock(&p->host->lun->lock);
	p->host->resets++;
	pthread_mutex_unlock(&p->host->lun->lock);
	csv_disk_open_gate(port->owner);
	return CSV_OK;
}

/* ---- the kernel's device ----------------------------------------------------------------------------- */

static bool registered(const struct fake_host *h)
{
	/* The kernel takes the first path that lives. */
	for (unsigned i = 0; i < h->npaths; i++)
		if (!h->path[i].dead)
			return h->path[i].key != 0;
	return false;
}

static bool reachable(const struct fake_host *h)
{
	for (unsigned i = 0; i < h->npaths; i++)
		if (!h->path[i].dead)
			return true;
	return false;
}

static enum csv_err execute(struct fake_host *h, struct csv_io *io)
{
	struct fake_lun *lun = h->lun;
	uint64_t block = io->off / FAKE_BLOCK;

	if (!reachable(h))
		return lun->path_error;
	if (io->op == CSV_IO_READ) {
		h->read_while_busy += h->nwaiting > 0;
		if ((int)block == lun->bad_block)
			return CSV_IO;
		csv_iov_scatter(io->iov, io->niov, 0, lun->cache[block], io->len);
		return CSV_OK;
	}
	if (lun->type && !registered(h)) {
		lun->conflicts++;
		return CSV_CONFLICT;
	}
	if (io->op == CSV_IO_WRITE) {
		if ((int)block == lun->bad_block)
			return CSV_IO;
		csv_iov_gather(io->iov, io->niov, 0, lun->cache[block], io->len);
		lun->writes++;
	}
	if (io->op == CSV_IO_FLUSH || (io->flags & CSV_IO_FUA))
		memcpy(lun->media, lun->cache, sizeof(lun->media));
	return CSV_OK;
}

static void inner_submit(struct csv_bdev *dev, struct csv_io *io)
{
	struct fake_host *h = (struct fake_host *)dev;
	enum csv_err err = CSV_OK;

	pthread_mutex_lock(&h->lun->lock);
	if (h->parked && h->nwaiting < 64) {
		h->waiting[h->nwaiting++] = io;
		io = NULL;
	} else {
		err = execute(h, io);
	}
	pthread_mutex_unlock(&h->lun->lock);
	if (io)
		io->done(io, err);
}

static void inner_close(struct csv_bdev *dev)
{
}

static const struct csv_bdev_ops inner_ops = { .name = "fake", .submit = inner_submit, .close = inner_close };

static void look(struct disk_dev *d)
{
	struct fake_host *h = d->paths.data;

	d->npaths = h->npaths;
	for (unsigned i = 0; i < h->npaths; i++) {
		d->path[i] = &h->path[i].port;
		csv_disk_port_init(d, d->path[i]);
	}
}

static void close_paths(void *data)
{
}

/* ---- for tests ------------------------------------------------------------------------------------------- */

void fake_init(struct fake_lun *lun)
{
	memset(lun, 0, sizeof(*lun));
	pthread_mutex_init(&lun->lock, NULL);
	lun->bad_block = -1;
	lun->path_error = CSV_UNREACH;
}

struct csv_bdev *fake_open(struct fake_lun *lun, unsigned n, unsigned npaths, bool cached)
{
	struct fake_host *h = &lun->host[n];
	struct disk_paths paths = { .look = look, .close = close_paths, .data = h };

	memset(h, 0, sizeof(*h));
	h->lun = lun;
	h->npaths = npaths;
	h->inner.ops = &inner_ops;
	h->inner.geo = (struct csv_bdev_geometry){ .size = FAKE_BLOCKS * FAKE_BLOCK, .block = FAKE_SECTOR };
	for (unsigned i = 0; i < FAKE_PATHS; i++) {
		h->path[i].host = h;
		h->path[i].port = (struct csv_scsi_port){ .command = port_command, .reset = port_reset };
	}
	return csv_disk_new(&h->inner, false, cached, &paths, &h->dev) == CSV_OK ? h->dev : NULL;
}

void fake_power_cut(struct fake_lun *lun)
{
	pthread_mutex_lock(&lun->lock);
	memcpy(lun->cache, lun->media, sizeof(lun->cache));
	lun->generation = 0;
	if (!lun->aptpl) {
		lun->type = CSV_PR_NONE;
		remove_key(lun, 0, NULL);
	}
	pthread_mutex_unlock(&lun->lock);
}

void fake_set_dead(struct fake_lun *lun, unsigned n, unsigned path, bool dead)
{
	pthread_mutex_lock(&lun->lock);
	lun->host[n].path[path].dead = dead;
	pthread_mutex_unlock(&lun->lock);
}

void fake_park(struct fake_lun *lun, unsigned n)
{
	pthread_mutex_lock(&lun->lock);
	lun->host[n].parked = true;
	pthread_mutex_unlock(&lun->lock);
}

void fake_let_go(struct fake_lun *lun, unsigned n)
{
	struct fake_host *h = &lun->host[n];

	pthread_mutex_lock(&lun->lock);
	h->parked = false;
	while (h->nwaiting > 0) {
		struct csv_io *io = h->waiting[--h->nwaiting];
		enum csv_err err = execute(h, io);

		pthread_mutex_unlock(&lun->lock);
		io->done(io, err);
		pthread_mutex_lock(&lun->lock);
	}
	pthread_mutex_unlock(&lun->lock);
}

unsigned fake_waiting(struct fake_lun *lun, unsigned n)
{
	unsigned waiting;

	pthread_mutex_lock(&lun->lock);
	waiting = lun->host[n].nwaiting;
	pthread_mutex_unlock(&lun->lock);
	return waiting;
}

uint64_t fake_key(struct fake_lun *lun, unsigned n, unsigned path)
{
	uint64_t key;

	pthread_mutex_lock(&lun->lock);
	key = lun->host[n].path[path].key;
	pthread_mutex_unlock(&lun->lock);
	return key;
}

void fake_preempt(struct fake_lun *lun, unsigned n)
{
	pthread_mutex_lock(&lun->lock);
	for (unsigned i = 0; i < FAKE_PATHS; i++)
		lun->host[n].path[i].key = 0;
	lun->generation++;
	pthread_mutex_unlock(&lun->lock);
}
