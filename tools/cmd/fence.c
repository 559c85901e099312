/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csvadm node fence: everything that a node has mounted is fenced and recovered by the others, whatever state it is in.
 * Its guests lose their disks; so it has to be confirmed.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "csv/disk.h"
#include "tools/csvadm.h"

struct target {
	const char *name;
	struct csv_msg_node node;
	bool found;
};

static void on_node(void *arg, const struct csv_msg *msg)
{
	struct target *t = arg;

	if (msg->type != CSV_MSG_STATUS_NODE || strncmp(msg->node.name, t->name, sizeof(msg->node.name)))
		return;
	t->node = msg->node;
	t->found = true;
}

/* Nobody is asked who cannot answer. */
static bool confirmed(const char *name)
{
	char line[16] = "";

	if (!isatty(STDIN_FILENO))
		return false;
	fprintf(stderr, "All volumes of node %s are fenced; what runs there loses its disks. Go on? [y/N] ", name);
	return fgets(line, sizeof(line), stdin) && (line[0] == 'y' || line[0] == 'Y');
}

static enum csv_err fence(struct csv_call *c, struct csv_client *cl, struct target *t)
{
	struct csv_msg req = { .type = CSV_MSG_NODE_LIST };
	enum csv_err err = csv_client_call(cl, &req, c->timeout_ms, on_node, t, &c->why);

	if (err)
		return err;
	if (!t->found)
		return csv_fail(&c->why, CSV_NOENT, "see csvadm node list", "no node of the cluster has this name");
	req = (struct csv_msg){ .type = CSV_MSG_NODE_FENCE };
	req.node.nodeid = t->node.nodeid;
	err = csv_client_call(cl, &req, c->timeout_ms, NULL, NULL, &c->why);
	if (err != CSV_TIMEOUT)
		return err;
	csv_why_init(&c->why);
	return csv_fail(&c->why, CSV_TIMEOUT, "it goes on: see csvadm status, and csvlockd's log",
			"it is to be fenced, but not all that it had is recovered after %d s", c->timeout_ms / 1000);
}

enum csv_err csv_cmd_node_fence(struct csv_call *c)
{
	static const struct option longs[] = { { "yes", no_argument, NULL, 'y' }, { 0 } };
	struct target t = { 0 };
	struct csv_client *cl;
	enum csv_err err;
	bool yes = false;
	int opt;

	while ((opt = getopt_long(c->argc, c->argv, "", longs, NULL)) >= 0) {
		if (opt != 'y')
			return csv_usage(c, "unknown option");
		yes = true;
	}
	if (c->argc - optind != 1 || !csv_name_ok(c->argv[optind], CSV_NODENAME_MAX))
		return csv_usage(c, "the name of a node is needed");
	c->what = t.name = c->argv[optind];
	if (!yes && !confirmed(t.name))
		return csv_usage(c, "what runs on the node loses its disks: --yes says that this is meant");
	err = csv_lockd(c, &cl, NULL);
	if (err)
		return err;
	err = fence(c, cl, &t);
	csv_client_close(cl);
	if (err)
		return err;
	c->result = json_object();
	csv_out_str(c->result, "name", t.name);
	csv_out_u64(c->result, "id", t.node.nodeid);
	json_object_set_new(c->result, "slot", t.node.slot == CSV_SLOT_NONE ? json_null() : json_integer(t.node.slot));
	return CSV_OK;
}
