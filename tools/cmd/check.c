/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvadm check: verifies a volume that nobody has mounted. Exit codes as fsck(8). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fs/disk/keys.h"
#include "tools/check/check.h"
#include "tools/csvadm.h"

/* fsck(8). */
#define FSCK_CLEAN 0
#define FSCK_ERRORS_LEFT 4
#define FSCK_OPERATIONAL 8
#define FSCK_USAGE 16

/* Findings of one code that are shown; the rest is counted. */
#define SHOWN_PER_CODE 100u

struct lists {
	json_t *findings, *notes;
};

static void on_finding(void *arg, const struct csv_finding *f)
{
	struct lists *l = arg;
	json_t *o = json_object();

	csv_out_str(o, "code", f->code);
	json_object_set_new(o, "block", f->block == UINT64_MAX ? json_null() : json_integer((json_int_t)f->block));
	json_object_set_new(o, "inode", f->inode ? json_integer((json_int_t)f->inode) : json_null());
	/* Names come from the volume: whatever is not UTF-8 is shown with question marks. */
	if (json_object_set_new(o, "text", json_string(f->text))) {
		char text[sizeof(f->text)];

		memcpy(text, f->text, sizeof(text));
		for (char *p = text; *p; p++)
			if (*p < ' ' || *p > '~')
				*p = '?';
		csv_out_str(o, "text", text);
	}
	if (!f->note)
		json_object_set_new(o, "repaired", json_false());
	json_array_append_new(f->note ? l->notes : l->findings, o);
}

/* Says for each code how many more there are than shown. */
static void tell_rest(const struct csv_check_summary *sum, struct lists *l)
{
	for (int i = 0; i < CSV_CHECK_CODE_COUNT; i++) {
		struct csv_finding f = { .id = (enum csv_check_code)i, .block = UINT64_MAX, .note = true };

		if (sum->per_code[i] <= SHOWN_PER_CODE)
			continue;
		f.code = csv_check_code_name(f.id);
		snprintf(f.text, sizeof(f.text), "%" PRIu64 " more of these are not shown",
			 sum->per_code[i] - SHOWN_PER_CODE);
		on_finding(l, &f);
	}
}

/* A csvfs volume it is, but no copy of its superblock is good: damage, and all that can be said. */
static enum csv_err no_superblock(struct csv_call *c, struct lists *l, struct csv_check_summary *sum)
{
	struct csv_finding f = { .id = CSV_CHECK_SUPER_PRIMARY, .block = c->why.block };

	f.code = csv_check_code_name(f.id);
	snprintf(f.text, sizeof(f.text), "no superblock can be used: %.180s", c->why.text);
	on_finding(l, &f);
	sum->findings++;
	csv_why_init(&c->why);
	return CSV_OK;
}

static enum csv_err check(struct csv_call *c, struct csv_bdev *dev, struct csv_check_summary *sum)
{
	const struct csv_check_opts opts = { .max_per_code = SHOWN_PER_CODE };
	struct lists l;
	struct csv_super sb;
	enum csv_err err;

	/* A superblock that cannot be read is for the check to report; whoever has the volume shows all the same. */
	err = csv_super_read(dev, &sb, NULL);
	err = csv_keys_refuse(dev, err ? NULL : &sb, 0, &c->why);
	if (err)
		return err;
	l.findings = json_array();
	l.notes = json_array();
	err = csv_check_run(dev, csv_env_system(), &opts, on_finding, &l, sum, &c->why);
	tell_rest(sum, &l);
	if (err == CSV_DAMAGED || err == CSV_CHECKSUM || err == CSV_IDENTITY)
		err = no_superblock(c, &l, sum);
	if (err) {
		json_decref(l.findings);
		json_decref(l.notes);
		return err;
	}
	c->result = json_object();
	csv_out_str(c->result, "volume", sum->name);
	json_object_set_new(c->result, "clean", json_boolean(sum->findings == 0));
	csv_out_u64(c->result, "inodes", sum->inodes);
	csv_out_u64(c->result, "directories", sum->directories);
	csv_out_u64(c->result, "images", sum->images);
	csv_out_u64(c->result, "used", sum->blocks_used * CSV_BLOCK_SIZE);
	csv_out_u64(c->result, "findings_total", sum->findings);
	json_object_set_new(c->result, "findings", l.findings);
	json_object_set_new(c->result, "notes", l.notes);
	return CSV_OK;
}

enum csv_err csv_cmd_check(struct csv_call *c)
{
	static const struct option longs[] = { { 0 } };
	struct csv_check_summary sum = { 0 };
	struct csv_bdev *dev;
	enum csv_err err;

	c->exit_code = FSCK_USAGE;
	if (getopt_long(c->argc, c->argv, "", longs, NULL) >= 0)
		return csv_usage(c, "unknown option");
	if (c->argc - optind != 1)
		return csv_usage(c, "one LUN is needed");
	c->what = c->argv[optind];
	c->exit_code = FSCK_OPERATIONAL;
	err = csv_bdev_open(c->what, CSV_BDEV_RDONLY | CSV_BDEV_EXCLUSIVE, &dev, &c->why);
	if (err) {
		if (err == CSV_USAGE)
			c->exit_code = FSCK_USAGE;
		return err;
	}
	err = check(c, dev, &sum);
	csv_bdev_close(dev);
	if (err)
		return err;
	c->exit_code = sum.findings ? FSCK_ERRORS_LEFT : FSCK_CLEAN;
	return CSV_OK;
}
