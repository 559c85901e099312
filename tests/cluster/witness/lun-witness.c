/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A witness outside csvfs: looks at the LUN with libiscsi alone, sharing no code
 * with the project, and (but for `sleep`) without registering or reserving anything.
 *
 *	lun-witness URL keys               registered keys and the reservation, as JSON
 *	lun-witness URL read BLOCK COUNT   4096-byte blocks to standard output
 *	lun-witness URL sleep KEY BLOCK    a mounter that stands still: registers, reads the block, says "ready"; at a
 *	                                   line on standard input it writes the block back and says "written" or
 *"refused"
 */
#include <inttypes.h>
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK 4096u

static void die(const char *what, struct iscsi_context *ctx)
{
	fprintf(stderr, "lun-witness: %s: %s\n", what, ctx ? iscsi_get_error(ctx) : "out of memory");
	exit(1);
}

static struct iscsi_context *login(const char *url, int *lun)
{
	char name[96];
	struct iscsi_context *ctx;
	struct iscsi_url *u;

	/* A name of our own: the same as a node's would end that node's session. */
	snprintf(name, sizeof(name), "iqn.2026-01.org.csvfs.witness:%d", (int)getpid());
	ctx = iscsi_create_context(name);
	if (!ctx)
		die("context", NULL);
	u = iscsi_parse_full_url(ctx, url);
	if (!u)
		die(url, ctx);
	iscsi_set_targetname(ctx, u->target);
	iscsi_set_session_type(ctx, ISCSI_SESSION_NORMAL);
	if (iscsi_full_connect_sync(ctx, u->portal, u->lun))
		die("login", ctx);
	*lun = u->lun;
	iscsi_destroy_url(u);
	return ctx;
}

/* A unit attention is news for this session, not the answer: asked again a few times. */
static struct scsi_task *reserve_in(struct iscsi_context *ctx, int lun, int what)
{
	for (int i = 0; i < 5; i++) {
		struct scsi_task *t = iscsi_persistent_reserve_in_sync(ctx, lun, what, 8192);

		if (!t)
			die("PERSISTENT RESERVE IN", ctx);
		if (t->status == SCSI_STATUS_GOOD)
			return t;
		scsi_free_scsi_task(t);
	}
	die("PERSISTENT RESERVE IN", ctx);
	return NULL;
}

static uint64_t be(const uint8_t *p, int n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | *p++;
	return v;
}

/* Parameter data as in SPC-4 6.15.2 and 6.15.3. */
static void keys(struct iscsi_context *ctx, int lun)
{
	struct scsi_task *t = reserve_in(ctx, lun, SCSI_PERSISTENT_RESERVE_READ_KEYS);
	uint32_t len = t->datain.size >= 8 ? (uint32_t)be(t->datain.data + 4, 4) : 0;

	printf("{\"keys\": [");
	for (uint32_t i = 0; i + 8 <= len && 16 + i <= (uint32_t)t->datain.size; i += 8)
		printf("%s\"0x%016" PRIx64 "\"", i ? ", " : "", be(t->datain.data + 8 + i, 8));
	scsi_free_scsi_task(t);
	t = reserve_in(ctx, lun, SCSI_PERSISTENT_RESERVE_READ_RESERVATION);
	if (t->datain.size >= 24 && be(t->datain.data + 4, 4) >= 16)
		printf("], \"type\": %d}\n", t->datain.data[21] & 15);
	else
		printf("], \"type\": 0}\n");
	scsi_free_scsi_task(t);
}

static uint32_t sector_size(struct iscsi_context *ctx, int lun)
{
	for (int i = 0; i < 5; i++) {
		struct scsi_task *t = iscsi_readcapacity16_sync(ctx, lun);
		struct scsi_readcapacity16 *rc = t && t->status == SCSI_STATUS_GOOD ? scsi_datain_unmarshall(t) : NULL;
		uint32_t size = rc ? rc->block_length : 0;

		if (t)
			scsi_free_scsi_task(t);
		if (size)
			return size;
	}
	die("READ CAPACITY", ctx);
	return 0;
}

static void read_blocks(struct iscsi_context *ctx, int lun, uint64_t block, uint64_t count)
{
	uint32_t sector = sector_size(ctx, lun);

	for (uint64_t i = 0; i < count; i++) {
		struct scsi_task *t =
		    iscsi_read16_sync(ctx, lun, (block + i) * (BLOCK / sector), BLOCK, (int)sector, 0, 0, 0, 0, 0);

		if (!t || t->status != SCSI_STATUS_GOOD)
			die("READ", ctx);
		fwrite(t->datain.data, 1, BLOCK, stdout);
		scsi_free_scsi_task(t);
	}
}

static void sleeper(struct iscsi_context *ctx, int lun, uint64_t key, uint64_t block)
{
	struct scsi_persistent_reserve_out_basic reg = { .service_action_reservation_key = key };
	int status = SCSI_STATUS_CHECK_CONDITION, sector = (int)sector_size(ctx, lun);
	uint64_t lba = block * (BLOCK / (uint32_t)sector);
	unsigned char data[BLOCK];
	struct scsi_task *t;

	t = iscsi_persistent_reserve_out_sync(ctx, lun, SCSI_PERSISTENT_RESERVE_REGISTER_AND_IGNORE_EXISTING_KEY,
					      SCSI_PERSISTENT_RESERVE_SCOPE_LU, 0, &reg);
	if (!t || t->status != SCSI_STATUS_GOOD)
		die("REGISTER", ctx);
	t = iscsi_read16_sync(ctx, lun, lba, BLOCK, sector, 0, 0, 0, 0, 0);
	if (!t || t->status != SCSI_STATUS_GOOD)
		die("READ", ctx);
	memcpy(data, t->datain.data, BLOCK);
	printf("ready\n");
	fflush(stdout);
	(void)!getchar();
	for (int i = 0; i < 5 && status == SCSI_STATUS_CHECK_CONDITION; i++) {
		t = iscsi_write16_sync(ctx, lun, lba, data, BLOCK, sector, 0, 0, 0, 0, 0);
		status = t ? t->status : SCSI_STATUS_ERROR;
	}
	if (status != SCSI_STATUS_GOOD && status != SCSI_STATUS_RESERVATION_CONFLICT)
		die("WRITE", ctx);
	printf("%s\n", status == SCSI_STATUS_GOOD ? "written" : "refused");
}

int main(int argc, char **argv)
{
	struct iscsi_context *ctx;
	int lun;

	if (argc == 3 && !strcmp(argv[2], "keys")) {
		ctx = login(argv[1], &lun);
		keys(ctx, lun);
	} else if (argc == 5 && !strcmp(argv[2], "read")) {
		ctx = login(argv[1], &lun);
		read_blocks(ctx, lun, strtoull(argv[3], NULL, 0), strtoull(argv[4], NULL, 0));
	} else if (argc == 5 && !strcmp(argv[2], "sleep")) {
		ctx = login(argv[1], &lun);
		sleeper(ctx, lun, strtoull(argv[3], NULL, 0), strtoull(argv[4], NULL, 0));
	} else {
		fprintf(stderr, "usage: lun-witness URL keys | read BLOCK COUNT | sleep KEY BLOCK\n");
		return 2;
	}
	iscsi_logout_sync(ctx);
	iscsi_destroy_context(ctx);
	return fflush(stdout) ? 1 : 0;
}
