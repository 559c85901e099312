/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvadm format: everything is checked before the first byte is written. */
#include <blkid/blkid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/disk/super.h"
#include "tools/csvadm.h"

struct wish {
	const char *lun;
	struct csv_format f;
	bool force;
};

static enum csv_err parse_journal(struct csv_call *c, const char *text, uint32_t *blocks)
{
	uint64_t bytes;

	if (!csv_parse_size(text, &bytes) || bytes % CSV_BLOCK_SIZE ||
	    bytes / CSV_BLOCK_SIZE < CSV_JOURNAL_BLOCKS_MIN || bytes > 4ull << 30)
		return csv_usage(c, "--journal %s: not a size from 512K to 4G", text);
	*blocks = (uint32_t)(bytes / CSV_BLOCK_SIZE);
	return CSV_OK;
}

static enum csv_err parse_slots(struct csv_call *c, const char *text, uint32_t *slots)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (!*text || *end || n < 1 || n > CSV_SLOTS_MAX)
		return csv_usage(c, "--slots %s: not a number from 1 to %u", text, CSV_SLOTS_MAX);
	*slots = (uint32_t)n;
	return CSV_OK;
}

static enum csv_err parse_option(struct csv_call *c, int opt, struct wish *w)
{
	switch (opt) {
	case 'n':
		w->f.name = optarg;
		return CSV_OK;
	case 'c':
		w->f.cluster = optarg;
		return CSV_OK;
	case 's':
		return parse_slots(c, optarg, &w->f.slots);
	case 'j':
		return parse_journal(c, optarg, &w->f.journal_blocks);
	case 'f':
		w->force = true;
		return CSV_OK;
	default:
		return csv_usage(c, "unknown option, or an option without its value");
	}
}

static enum csv_err parse(struct csv_call *c, struct wish *w)
{
	static const struct option longs[] = {
		{ "name", required_argument, NULL, 'n' },  { "cluster", required_argument, NULL, 'c' },
		{ "slots", required_argument, NULL, 's' }, { "journal", required_argument, NULL, 'j' },
		{ "force", no_argument, NULL, 'f' },	   { 0 },
	};
	enum csv_err err = CSV_OK;
	int opt;

	while (!err && (opt = getopt_long(c->argc, c->argv, "", longs, NULL)) >= 0)
		err = parse_option(c, opt, w);
	if (err)
		return err;
	if (c->argc - optind != 1)
		return csv_usage(c, "one LUN is needed");
	w->lun = c->argv[optind];
	c->what = w->lun;
	if (!w->f.name)
		return csv_fail(&c->why, CSV_USAGE, "give --name", "a volume needs a name");
	if (!csv_name_ok(w->f.name, CSV_VOLNAME_MAX))
		return csv_fail(&c->why, CSV_USAGE, "use 1 to 63 letters, digits, dots, underscores and dashes",
				"%.80s is no name for a volume", w->f.name);
	if (*w->f.cluster && !csv_name_ok(w->f.cluster, CSV_CLUSTER_MAX))
		return csv_fail(&c->why, CSV_USAGE, "use the cluster_name of corosync.conf",
				"%.80s is no name for a cluster", w->f.cluster);
	return CSV_OK;
}

/* What libblkid finds on a path: filesystems, RAID members, partition tables. Empty: nothing known. */
static void foreign_on_path(const char *path, char *found, size_t size)
{
	blkid_probe pr = blkid_new_probe_from_filename(path);
	const char *type = NULL;

	*found = 0;
	if (!pr)
		return;
	blkid_probe_enable_superblocks(pr, 1);
	blkid_probe_enable_partitions(pr, 1);
	if (blkid_do_safeprobe(pr) == 0 && (!blkid_probe_lookup_value(pr, "TYPE", &type, NULL) ||
					    !blkid_probe_lookup_value(pr, "PTTYPE", &type, NULL)))
		snprintf(found, size, "%s", type);
	blkid_free_probe(pr);
}

/*
 * libblkid reads paths only.  For a LUN over libiscsi its first and last MiB, where all the signatures it knows lie,
 * are laid into a sparse temporary file of the LUN's size.
 */
#define EDGE (1u << 20)
static enum csv_err foreign_on_lun(struct csv_bdev *dev, char *found, size_t size)
{
	char path[] = "/tmp/csvadm-probe-XXXXXX";
	uint64_t off[2] = { 0, dev->geo.size > 2 * EDGE ? dev->geo.size - EDGE : EDGE };
	enum csv_err err = CSV_OK;
	char *buf = aligned_alloc(4096, EDGE);
	int fd = mkstemp(path);

	if (!buf || fd < 0 || ftruncate(fd, (off_t)dev->geo.size))
		err = CSV_IO;
	for (int i = 0; !err && i < 2 && off[i] + EDGE <= dev->geo.size; i++) {
		err = csv_bdev_read(dev, off[i], buf, EDGE);
		if (!err && pwrite(fd, buf, EDGE, (off_t)off[i]) != EDGE)
			err = CSV_IO;
	}
	if (!err)
		foreign_on_path(path, found, size);
	if (fd >= 0) {
		close(fd);
		unlink(path);
	}
	free(buf);
	return err;
}

/* A slot is in use if it is not clean and its life's key is registered (LUN); a file's mounts hold the file's lock. */
static enum csv_err refuse_if_live(struct csv_call *c, struct csv_bdev *dev, const struct csv_super *sb)
{
	struct csv_pr_status *st = NULL;
	enum csv_err err = CSV_OK;

	if (!dev->ops->pr_status)
		return CSV_OK;
	st = calloc(1, sizeof(*st));
	if (!st)
		return CSV_NOMEM;
	err = dev->ops->pr_status(dev, st);
	if (err)
		csv_fail(&c->why, err, "", "the LUN's reservations cannot be read: %s", csv_err_text(err));
	for (uint32_t n = 0; !err && n < sb->slots; n++) {
		struct csv_slot s;

		if (csv_slot_read(dev, sb, n, &s, NULL) || s.state == CSV_SLOT_CLEAN)
			continue;
		for (unsigned k = 0; k < st->nkeys; k++) {
			if (st->keys[k] == s.pr_key)
				err = csv_fail(&c->why, CSV_BUSY, "unmount it there first",
					       "node %s has volume %s mounted", *s.node ? s.node : "?", sb->name);
		}
	}
	free(st);
	return err;
}

static enum csv_err refuse_foreign(struct csv_call *c, struct csv_bdev *dev, const struct wish *w)
{
	char found[64] = "";
	struct csv_super sb;
	enum csv_err err;

	if (!csv_super_read(dev, &sb, NULL)) {
		err = refuse_if_live(c, dev, &sb);
		if (err)
			return err;
		if (!w->force)
			return csv_fail(&c->why, CSV_FOREIGN, "use --force to lose it",
					"csvfs volume %s of cluster %s is on it", sb.name,
					*sb.cluster ? sb.cluster : "(none)");
		return CSV_OK;
	}
	if (w->force)
		return CSV_OK;
	if (strncmp(w->lun, "iscsi://", 8))
		foreign_on_path(w->lun, found, sizeof(found));
	else if (foreign_on_lun(dev, found, sizeof(found)))
		return csv_fail(&c->why, CSV_IO, "", "its content cannot be read");
	if (*found)
		return csv_fail(&c->why, CSV_FOREIGN, "use --force to lose it", "%s is on it", found);
	return CSV_OK;
}

enum csv_err csv_cmd_format(struct csv_call *c)
{
	struct wish w = {
		.f = { .cluster = "", .slots = CSV_SLOTS_DEFAULT, .journal_blocks = CSV_JOURNAL_BLOCKS_DEFAULT }
	};
	struct csv_bdev *dev;
	struct csv_super sb;
	enum csv_err err;

	err = parse(c, &w);
	if (err)
		return err;
	err = csv_bdev_open(w.lun, CSV_BDEV_EXCLUSIVE, &dev, &c->why);
	if (err)
		return err;
	err = refuse_foreign(c, dev, &w);
	if (!err)
		err = csv_format_write(dev, csv_env_system(), &w.f, &sb, &c->why);
	csv_bdev_close(dev);
	if (err)
		return err;
	c->result = json_object();
	csv_out_str(c->result, "volume", sb.name);
	csv_out_uuid(c->result, "uuid", sb.uuid);
	csv_out_u64(c->result, "size", sb.blocks * CSV_BLOCK_SIZE);
	csv_out_u64(c->result, "slots", sb.slots);
	csv_out_str(c->result, "cluster", sb.cluster);
	return CSV_OK;
}
