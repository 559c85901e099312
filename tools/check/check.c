/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The course of a check; see check_int.h. */
#include <stdlib.h>

#include "tools/check/check_int.h"

static void run_passes(struct chk *c, struct csv_bdev **overlay)
{
	chk_slots(c);
	if (c->err == CSV_OK)
		chk_journals(c, overlay);
	if (c->err == CSV_OK)
		chk_groups(c);
	if (c->err == CSV_OK)
		chk_scan(c);
	if (c->err == CSV_OK)
		chk_directories(c);
	if (c->err == CSV_OK)
		chk_orphans(c);
	if (c->err == CSV_OK)
		chk_links(c);
	if (c->err == CSV_OK)
		chk_space(c);
}

enum csv_err csv_check_run(struct csv_bdev *dev, struct csv_env *env, const struct csv_check_opts *opts,
			   void (*finding)(void *arg, const struct csv_finding *f), void *arg,
			   struct csv_check_summary *sum, struct csv_why *why)
{
	static const struct csv_check_opts none;
	uint64_t start = env->mono_ns(env);
	struct csv_check_summary own;
	struct csv_bdev *overlay = NULL;
	struct chk c = { .dev = dev, .opts = opts ? opts : &none, .finding = finding, .arg = arg };
	enum csv_err err;

	c.sum = sum ? sum : &own;
	*c.sum = (struct csv_check_summary){ 0 };
	err = chk_superblocks(&c, why);
	if (err == CSV_OK && c.err == CSV_OK)
		run_passes(&c, &overlay);
	if (err == CSV_OK && c.err != CSV_OK)
		err = csv_fail(why, c.err, "", "check cannot go on: %s", csv_err_text(c.err));
	c.sum->done = err == CSV_OK;
	c.sum->ns = env->mono_ns(env) - start;
	chk_inodes_free(&c.inodes);
	chk_bits_free(&c.used);
	chk_bits_free(&c.meta);
	chk_bits_free(&c.chunk);
	chk_bits_free(&c.in_use);
	free(c.ag_bad);
	csv_bdev_close(overlay);
	return err;
}
