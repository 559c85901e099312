/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvadm lock list, handle list. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/number.h"
#include "tools/csvadm.h"

struct locks {
	json_t *list;
	uint64_t inode; /* only what concerns it; 0: all */
};

static bool wanted(const struct locks *to, const struct csv_msg_lock *l)
{
	if (!to->inode)
		return true;
	return l->res_id == to->inode &&
	       (l->res_type == CSV_RES_INODE || l->res_type == CSV_RES_OPEN || l->res_type == CSV_RES_LEASE);
}

/* What concerns one resource comes together. */
static json_t *resource(json_t *list, const struct csv_msg_lock *l)
{
	json_t *o = json_array_get(list, json_array_size(list) - 1);
	char name[64];

	snprintf(name, sizeof(name), "%s.%llu", csv_res_type_name((enum csv_res_type)l->res_type),
		 (unsigned long long)l->res_id);
	if (o && !strcmp(json_string_value(json_object_get(o, "resource")), name))
		return o;
	o = json_object();
	csv_out_str(o, "resource", name);
	json_object_set_new(o, "mode", json_null());
	json_object_set_new(o, "holders", json_array());
	json_object_set_new(o, "waiters", json_array());
	json_array_append_new(list, o);
	return o;
}

static void on_lock(void *arg, const struct csv_msg *msg)
{
	const struct csv_msg_lock *l = &msg->lock;
	const struct locks *to = arg;
	char text[128];
	json_t *o;

	if (msg->type != CSV_MSG_LOCK_ITEM || l->res_type >= CSV_RES_TYPES || l->mode > CSV_EX || !wanted(to, l))
		return;
	o = resource(to->list, l);
	if (!l->waiting)
		csv_out_str(o, "mode", csv_mode_name((enum csv_mode)l->mode));
	snprintf(text, sizeof(text), "%.63s:%s", l->holder_node, csv_mode_name((enum csv_mode)l->mode));
	json_array_append_new(json_object_get(o, l->waiting ? "waiters" : "holders"), json_string(text));
}

enum csv_err csv_cmd_lock_list(struct csv_call *c)
{
	static const struct option longs[] = { { "inode", required_argument, NULL, 'i' }, { 0 } };
	struct csv_msg req = { .type = CSV_MSG_LOCK_LIST };
	struct locks to = { .inode = 0 };
	struct csv_client *cl;
	enum csv_err err;
	int opt;

	while ((opt = getopt_long(c->argc, c->argv, "", longs, NULL)) >= 0) {
		if (opt != 'i')
			return csv_usage(c, "unknown option, or an option without its value");
		if (!csv_number(optarg, 1, UINT64_MAX, &to.inode))
			return csv_usage(c, "--inode %.40s: not the number of an inode, from 1 to 2^64 - 1", optarg);
	}
	if (c->argc - optind != 1)
		return csv_usage(c, "a volume is needed");
	c->what = c->argv[optind];
	if (snprintf(req.volume.name, sizeof(req.volume.name), "%s", c->what) >= (int)sizeof(req.volume.name))
		return csv_fail(&c->why, CSV_NOENT, "", "no volume has such a name");
	err = csv_lockd(c, &cl, NULL);
	if (err)
		return err;
	to.list = json_array();
	err = csv_client_call(cl, &req, c->timeout_ms, on_lock, &to, &c->why);
	csv_client_close(cl);
	if (err) {
		json_decref(to.list);
		return err;
	}
	c->result = json_object();
	json_object_set_new(c->result, "locks", to.list);
	return CSV_OK;
}

static const char *handle_state(uint32_t state)
{
	static const char *const names[] = { "open", "armed", "leased", "parked", "revoked" };

	return state < sizeof(names) / sizeof(names[0]) ? names[state] : "?";
}

static void on_handle(void *arg, const struct csv_msg *msg)
{
	const struct csv_msg_handle *h = &msg->handle;
	json_t *o;

	if (msg->type != CSV_MSG_HANDLE)
		return;
	o = json_object();
	csv_out_u64(o, "id", h->id);
	csv_out_str(o, "path", h->path);
	csv_out_str(o, "node", h->node);
	csv_out_u64(o, "pid", h->pid);
	csv_out_str(o, "mode", h->writable ? "rw" : "ro");
	csv_out_str(o, "state", handle_state(h->state));
	csv_out_u64(o, "epoch", h->epoch);
	csv_out_str(o, "vm", h->vm);
	csv_out_str(o, "volume", h->volume);
	json_array_append_new(arg, o);
}

enum csv_err csv_cmd_handle_list(struct csv_call *c)
{
	static const struct option longs[] = { { "vm", required_argument, NULL, 'v' }, { 0 } };
	struct csv_msg req = { .type = CSV_MSG_HANDLE_LIST };
	struct csv_client *cl;
	enum csv_err err;
	int opt;

	while ((opt = getopt_long(c->argc, c->argv, "", longs, NULL)) >= 0) {
		if (opt != 'v' || !csv_name_ok(optarg, CSV_VMNAME_MAX))
			return csv_usage(c, "unknown option, or no name of a VM");
		snprintf(req.handle.vm, sizeof(req.handle.vm), "%s", optarg);
	}
	if (c->argc != optind)
		return csv_usage(c, "takes no argument");
	err = csv_lockd(c, &cl, NULL);
	if (err)
		return err;
	c->result = json_object();
	json_object_set_new(c->result, "handles", json_array());
	err = csv_client_call(cl, &req, c->timeout_ms, on_handle, json_object_get(c->result, "handles"), &c->why);
	csv_client_close(cl);
	return err;
}
