/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvadm migrate: live migration of a VM on plain QEMU. */
#include <string.h>

#include "migrate/source/driver.h"
#include "tools/csvadm.h"

#define DECIDE_MS 120000

static bool parse(struct csv_call *c, struct csv_migrate_opts *o)
{
	static const struct option longs[] = { { "to", required_argument, NULL, 't' },
					       { "uri", required_argument, NULL, 'u' },
					       { "definition", required_argument, NULL, 'd' },
					       { 0 } };
	int opt;

	while ((opt = getopt_long(c->argc, c->argv, "", longs, NULL)) >= 0) {
		if (opt == 't' && csv_name_ok(optarg, CSV_NODENAME_MAX))
			o->to = optarg;
		else if (opt == 'u' && !strncmp(optarg, "tcp:", 4) && optarg[4])
			o->uri = optarg;
		else if (opt == 'd')
			o->definition = optarg;
		else
			return false;
	}
	if (c->argc - optind != 1 || !csv_name_ok(c->argv[optind], CSV_VMNAME_MAX))
		return false;
	o->vm = c->argv[optind];
	return o->to != NULL;
}

enum csv_err csv_cmd_migrate(struct csv_call *c)
{
	struct csv_migrate_opts o = { .run_dir = c->run_dir,
				      .timeout_ms = c->timeout_ms > DECIDE_MS ? c->timeout_ms : DECIDE_MS };
	struct csv_migrate_report r;
	struct csv_client *cl;
	enum csv_err err;

	if (!parse(c, &o))
		return csv_usage(c, "a VM and a node are needed");
	c->what = o.vm;
	err = csv_lockd(c, &cl, NULL);
	if (err)
		return err;
	err = csv_migrate(cl, &o, &r, &c->why);
	csv_client_close(cl);
	if (r.handoff.have)
		c->result = csv_migrate_json(&o, &r);
	json_decref(r.handoff.json);
	return err;
}
