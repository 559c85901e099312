/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvadm lun check: whether a LUN is fit for a volume, and why not. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "fs/disk/keys.h"
#include "fs/disk/super.h"
#include "tools/csvadm.h"
#include "tools/foreign.h"
#include "tools/lun/probe.h"

#define TYPE CSV_PR_WRITE_EXCLUSIVE_ALL_REG
#define SIZE_MIN (64ull << 20)

static enum csv_err parse(struct csv_call *c, const char **lun, bool *destructive)
{
	static const struct option longs[] = { { "destructive", no_argument, NULL, 'd' }, { 0 } };
	int opt;

	while ((opt = getopt_long(c->argc, c->argv, "", longs, NULL)) >= 0) {
		if (opt != 'd')
			return csv_usage(c, "unknown option");
		*destructive = true;
	}
	if (c->argc - optind != 1)
		return csv_usage(c, "one LUN is needed");
	*lun = c->argv[optind];
	c->what = *lun;
	return CSV_OK;
}

/* What speaks against a volume on it, and what makes it slower or weaker. */
static void judge(const struct csv_bdev_geometry *geo, const struct csv_lun_report *r, json_t *against, json_t *notes)
{
	if (!r->type[TYPE])
		json_array_append_new(
		    against,
		    json_string("it does not honour reservations of type 7 (write exclusive, all registrants): "
				"a dead node could not be fenced"));
	if (r->enforced_known && !r->enforced)
		json_array_append_new(against, json_string("it lets a host that is not registered write"));
	if (geo->size < SIZE_MIN)
		json_array_append_new(against, json_string("it is too small"));
	if (!r->preempt_abort && !r->standing)
		json_array_append_new(notes, json_string("PREEMPT AND ABORT is refused: each fence resets the LUN, and "
							 "healthy nodes send again what that aborts"));
	if (!r->aptpl && !r->standing)
		json_array_append_new(notes, json_string("reservations do not outlive the target's power (APTPL)"));
	if (r->standing)
		json_array_append_new(
		    notes,
		    json_string("a reservation without keys stands, which trying others would remove: what it had "
				"is not known"));
}

static json_t *report(const struct csv_bdev_geometry *geo, const struct csv_lun_report *r)
{
	json_t *o = json_object(), *types = json_array(), *against = json_array(), *notes = json_array();

	csv_out_u64(o, "size", geo->size);
	csv_out_u64(o, "block", geo->block);
	for (int t = 1; t < CSV_LUN_TYPES; t++) {
		if (r->type[t])
			json_array_append_new(types, json_integer(t));
	}
	json_object_set_new(o, "pr_types", types);
	json_object_set_new(o, "enforced", r->enforced_known ? json_boolean(r->enforced) : json_null());
	json_object_set_new(o, "preempt_abort", r->standing ? json_null() : json_boolean(r->preempt_abort));
	json_object_set_new(o, "compare_write", json_boolean(r->compare_write));
	json_object_set_new(o, "unmap", json_boolean(r->unmap));
	json_object_set_new(o, "aptpl", r->standing ? json_null() : json_boolean(r->aptpl));
	judge(geo, r, against, notes);
	json_object_set_new(o, "fit", json_boolean(json_array_size(against) == 0));
	json_object_set_new(o, "against", against);
	json_object_set_new(o, "notes", notes);
	return o;
}

/*
 * Reservations, if only for a moment, make the writes of everybody else fail, also of those who know nothing of them.
 * The keys tell of mounts anywhere.
 */
static enum csv_err refuse_if_used(struct csv_call *c, struct csv_bdev *dev, const char *lun, bool destructive)
{
	struct csv_super sb;
	bool ours = csv_super_read(dev, &sb, NULL) == CSV_OK;
	enum csv_err err = csv_keys_refuse(dev, ours ? &sb : NULL, 0, &c->why);

	if (err || ours || destructive)
		return err;
	return csv_foreign(
	    lun, dev, "it may be in use without reservations: end its use everywhere and give --destructive", &c->why);
}

/* Nothing may be left behind: the signals that end a program wait for the end of the probe. */
static enum csv_err probe(struct csv_call *c, const char *lun, bool destructive)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct csv_bdev *dev, *other = NULL;
	struct csv_lun_report r;
	sigset_t set, old;
	enum csv_err err;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		sigaddset(&set, ends[i]);
	err = csv_bdev_open(lun, CSV_BDEV_EXCLUSIVE, &dev, &c->why);
	if (err != CSV_OK)
		return err;
	/* Each session of libiscsi is an initiator port of its own; the kernel's disk is one and the same. */
	if (!strncmp(lun, "iscsi://", 8))
		err = csv_bdev_open(lun, 0, &other, &c->why);
	if (err == CSV_OK)
		err = refuse_if_used(c, dev, lun, destructive);
	if (err == CSV_OK) {
		sigprocmask(SIG_BLOCK, &set, &old);
		err = csv_lun_probe(dev, other, destructive, &r, &c->why);
		sigprocmask(SIG_SETMASK, &old, NULL);
	}
	if (err == CSV_OK)
		c->result = report(&dev->geo, &r);
	csv_bdev_close(other);
	csv_bdev_close(dev);
	return err;
}

enum csv_err csv_cmd_lun_check(struct csv_call *c)
{
	bool destructive = false;
	const char *lun = NULL;
	enum csv_err err = parse(c, &lun, &destructive);

	if (err == CSV_OK)
		err = probe(c, lun, destructive);
	if (err == CSV_OK && !json_is_true(json_object_get(c->result, "fit")))
		c->exit_code = 1;
	return err;
}
