/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvadm format: everything is checked before the first byte is written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/disk/keys.h"
#include "lib/number.h"
#include "tools/csvadm.h"
#include "tools/foreign.h"

struct wish {
	const char *lun;
	struct csv_format f;
	bool force, takeover;
};

static enum csv_err parse_journal(struct csv_call *c, const char *text, uint32_t *blocks)
{
	uint64_t bytes;

	if (!csv_parse_size(text, &bytes) || bytes % CSV_BLOCK_SIZE ||
	    bytes / CSV_BLOCK_SIZE < CSV_JOURNAL_BLOCKS_MIN || bytes > 4ull << 30)
		return csv_usage(c, "--journal %.40s: not a size from 512K to 4G", text);
	*blocks = (uint32_t)(bytes / CSV_BLOCK_SIZE);
	return CSV_OK;
}

static enum csv_err parse_slots(struct csv_call *c, const char *text, uint32_t *slots)
{
	uint64_t n;

	if (!csv_number(text, 1, CSV_SLOTS_MAX, &n))
		return csv_usage(c, "--slots %.40s: not a number from 1 to %u", text, CSV_SLOTS_MAX);
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
	case 't':
		w->takeover = true;
		return CSV_OK;
	default:
		return csv_usage(c, "unknown option, or an option without its value");
	}
}

static enum csv_err parse(struct csv_call *c, struct wish *w)
{
	static const struct option longs[] = {
		{ "name", required_argument, NULL, 'n' },
		{ "cluster", required_argument, NULL, 'c' },
		{ "slots", required_argument, NULL, 's' },
		{ "journal", required_argument, NULL, 'j' },
		{ "force", no_argument, NULL, 'f' },
		{ "takeover", no_argument, NULL, 't' },
		{ 0 },
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

/* Without --force: there is nothing that anybody knows. `super`, `why`: what csv_super_read() said. */
static enum csv_err refuse_foreign(struct csv_call *c, struct csv_bdev *dev, const struct wish *w, enum csv_err super,
				   const struct csv_super *sb, const struct csv_why *why)
{
	switch ((int)super) {
	case CSV_OK:
		return csv_fail(&c->why, CSV_FOREIGN, "use --force to lose it",
				"csvfs volume %s of cluster %s is on it", sb->name,
				*sb->cluster ? sb->cluster : "(none)");
	case CSV_FEATURE:
	case CSV_DAMAGED:
	case CSV_CHECKSUM:
	case CSV_IDENTITY:
		return csv_fail(&c->why, CSV_FOREIGN, "use --force to lose it",
				"a csvfs volume that cannot be used is on it: %.150s", why->text);
	case CSV_NOTCSV:
		return csv_foreign(w->lun, dev, "use --force to lose it", &c->why);
	default:
		return csv_fail(&c->why, super, "", "%.200s", why->text);
	}
}

/*
 * Nobody has the LUN mounted, not even if its superblock or slots cannot be read: keys of csvfs at the target tell.  A
 * key of our own keeps mounts away until the format has ended.  0: the device has no keys.
 */
static enum csv_err claim(struct csv_call *c, struct csv_bdev *dev, const struct csv_super *sb, const struct wish *w,
			  uint64_t *key)
{
	struct csv_pr_status *st;
	enum csv_err err = w->takeover ? CSV_OK : csv_keys_refuse(dev, sb, 0, &c->why);

	*key = 0;
	if (err || !dev->ops->pr_register)
		return err;
	st = calloc(1, sizeof(*st));
	err = st ? dev->ops->pr_status(dev, st) : CSV_NOMEM;
	if (!err) {
		*key = csv_key_make_local(csv_env_system(), st);
		err = dev->ops->pr_register(dev, *key);
	}
	if (!err)
		err = dev->ops->pr_reserve(dev, *key, CSV_PR_WRITE_EXCLUSIVE_ALL_REG);
	if (!err)
		err = w->takeover ? csv_keys_preempt(dev, *key, st, csv_key_known)
				  : csv_keys_refuse(dev, sb, *key, &c->why);
	free(st);
	if (err == CSV_NOTSUP)
		return CSV_OK;
	return err ? csv_fail(&c->why, err, "", "reservation on the LUN: %s", csv_err_text(err)) : CSV_OK;
}

static enum csv_err format(struct csv_call *c, struct csv_bdev *dev, const struct wish *w, struct csv_super *sb)
{
	struct csv_super old;
	struct csv_why why;
	enum csv_err super, err;
	uint64_t key;

	csv_why_init(&why);
	super = csv_super_read(dev, &old, &why);
	err = claim(c, dev, super ? NULL : &old, w, &key);
	if (!err && !w->force)
		err = refuse_foreign(c, dev, w, super, &old, &why);
	if (!err)
		err = csv_format_write(dev, csv_env_system(), &w->f, sb, &c->why);
	if (key)
		dev->ops->pr_register(dev, 0);
	return err;
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
	err = format(c, dev, &w, &sb);
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
