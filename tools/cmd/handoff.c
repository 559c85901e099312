/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvadm handoff prepare, commit, abort, takeback, finish, status. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/number.h"
#include "migrate/source/request.h"
#include "tools/csvadm.h"

/* A commit may have to wait for a recovery before the truth is known. */
#define DECIDE_MS 120000

static int patience(const struct csv_call *c)
{
	return c->timeout_ms > DECIDE_MS ? c->timeout_ms : DECIDE_MS;
}

static enum csv_err parse_prepare(struct csv_call *c, struct csv_prepare *p)
{
	static const struct option longs[] = {
		{ "vm", required_argument, NULL, 'v' },
		{ "pid", required_argument, NULL, 'p' },
		{ "to", required_argument, NULL, 't' },
		{ "definition", required_argument, NULL, 'd' },
		{ "launch", no_argument, NULL, 'l' },
		{ "uri", required_argument, NULL, 'u' },
		{ 0 },
	};
	uint64_t pid;
	int opt;

	while ((opt = getopt_long(c->argc, c->argv, "", longs, NULL)) >= 0) {
		if (opt == 'v' && csv_name_ok(optarg, CSV_VMNAME_MAX))
			p->vm = optarg;
		else if (opt == 'p' && csv_number(optarg, 1, INT32_MAX, &pid))
			p->pid = (uint32_t)pid;
		else if (opt == 'p')
			return csv_usage(c, "--pid %.40s: not a process number from 1 to %d", optarg, INT32_MAX);
		else if (opt == 't' && csv_name_ok(optarg, CSV_NODENAME_MAX))
			p->to = optarg;
		else if (opt == 'd')
			p->definition = optarg;
		else if (opt == 'l')
			p->launch = true;
		else if (opt == 'u')
			p->uri = optarg;
		else
			return csv_usage(c, "unknown option, or an option without its value");
	}
	p->paths = c->argv + optind;
	p->npaths = c->argc - optind;
	if (!p->to || (p->vm != NULL) + (p->pid != 0) + (p->npaths > 0) != 1)
		return csv_usage(c, "a node and one of VM, process, files are needed");
	return CSV_OK;
}

enum csv_err csv_cmd_handoff_prepare(struct csv_call *c)
{
	struct csv_request_answer a = { 0 };
	struct csv_prepare p = { 0 };
	struct csv_client *cl;
	enum csv_err err = parse_prepare(c, &p);

	if (err)
		return err;
	err = csv_lockd(c, &cl, NULL);
	if (err)
		return err;
	err = csv_request_prepare(cl, &p, patience(c), &a, &c->why);
	csv_client_close(cl);
	c->result = a.json;
	return err;
}

static enum csv_err on_id(struct csv_call *c, enum csv_ho_request req)
{
	struct csv_request_answer a = { 0 };
	uint8_t id[CSV_HO_ID];
	struct csv_client *cl;
	enum csv_err err;

	if (c->argc != 2 || !csv_request_id(c->argv[1], id))
		return csv_usage(c, "the id of a handoff is needed: 32 hexadecimal digits");
	c->what = c->argv[1];
	err = csv_lockd(c, &cl, NULL);
	if (err)
		return err;
	err = csv_request(cl, req, id, patience(c), &a, &c->why);
	csv_client_close(cl);
	c->result = a.json;
	return err;
}

enum csv_err csv_cmd_handoff_commit(struct csv_call *c)
{
	return on_id(c, CSV_HO_REQ_COMMIT);
}

enum csv_err csv_cmd_handoff_abort(struct csv_call *c)
{
	return on_id(c, CSV_HO_REQ_ABORT);
}

enum csv_err csv_cmd_handoff_takeback(struct csv_call *c)
{
	return on_id(c, CSV_HO_REQ_TAKEBACK);
}

enum csv_err csv_cmd_handoff_finish(struct csv_call *c)
{
	return on_id(c, CSV_HO_REQ_FINISH);
}

enum csv_err csv_cmd_handoff_status(struct csv_call *c)
{
	uint8_t id[CSV_HO_ID];
	struct csv_client *cl;
	enum csv_err err;
	json_t *list;

	if (c->argc > 2 || (c->argc == 2 && !csv_request_id(c->argv[1], id)))
		return csv_usage(c, "takes one id of a handoff, or nothing");
	err = csv_lockd(c, &cl, NULL);
	if (err)
		return err;
	list = json_array();
	err = csv_request_list(cl, c->argc == 2 ? id : NULL, c->timeout_ms, list, &c->why);
	csv_client_close(cl);
	if (c->argc == 2 && json_array_size(list)) {
		c->result = json_incref(json_array_get(list, 0));
		json_decref(list);
		return err;
	}
	c->result = json_object();
	json_object_set_new(c->result, "handoffs", list);
	return err;
}
