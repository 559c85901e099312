/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvadm lock dump: what csvlockd's state says of the locks of a volume, byte ranges and all who wait. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "csv/disk.h"
#include "tools/csvadm.h"

static void on_lock(void *arg, const struct csv_msg *msg)
{
	const struct csv_msg_lock *l = &msg->lock;
	char name[64];
	json_t *o;

	if (msg->type != CSV_MSG_LOCK_ITEM || l->res_type >= CSV_RES_TYPES || l->mode > CSV_EX)
		return;
	snprintf(name, sizeof(name), "%s.%llu", csv_res_type_name((enum csv_res_type)l->res_type),
		 (unsigned long long)l->res_id);
	o = json_object();
	csv_out_str(o, "resource", name);
	csv_out_str(o, "mode", csv_mode_name((enum csv_mode)l->mode));
	csv_out_str(o, "node", l->holder_node);
	json_object_set_new(o, "slot", l->holder_slot == CSV_SLOT_NONE ? json_null() : json_integer(l->holder_slot));
	csv_out_str(o, "state", l->waiting ? "waits" : "holds");
	json_array_append_new(arg, o);
}

static const char *range_state(uint32_t state)
{
	static const char *const names[] = {
		[CSV_BRL_HELD] = "holds", [CSV_BRL_BEHIND] = "waits", [CSV_BRL_FROZEN] = "frozen"
	};

	return state < sizeof(names) / sizeof(names[0]) ? names[state] : "?";
}

static const char *range_mode(uint32_t type)
{
	return type == F_RDLCK ? "read" : type == F_WRLCK ? "write" : "unlock";
}

static void on_range(void *arg, const struct csv_msg *msg)
{
	const struct csv_msg_brl_item *it = &msg->brl_item;
	const struct csv_msg_brl *b = &it->brl;
	char behind[96];
	json_t *o;

	if (msg->type != CSV_MSG_BRL_ITEM)
		return;
	o = json_object();
	csv_out_u64(o, "inode", b->ino);
	csv_out_u64(o, "generation", b->gen);
	csv_out_str(o, "kind", b->flock ? "flock" : "fcntl");
	csv_out_str(o, "mode", range_mode(b->type));
	csv_out_u64(o, "start", b->start);
	json_object_set_new(o, "end", b->end == UINT64_MAX ? json_null() : json_integer((json_int_t)b->end));
	csv_out_str(o, "node", it->node);
	csv_out_u64(o, "pid", b->pid);
	csv_out_u64(o, "handle", b->handle);
	csv_out_str(o, "state", range_state(it->state));
	snprintf(behind, sizeof(behind), "%.63s:%u", it->behind_node, it->behind_pid);
	csv_out_str(o, "waits_for", it->behind_node[0] ? behind : NULL);
	json_array_append_new(arg, o);
}

enum csv_err csv_cmd_lock_dump(struct csv_call *c)
{
	struct csv_msg req = { .type = CSV_MSG_LOCK_LIST };
	struct csv_client *cl;
	enum csv_err err;

	if (c->argc != 2)
		return csv_usage(c, "a volume is needed");
	c->what = c->argv[1];
	if (snprintf(req.volume.name, sizeof(req.volume.name), "%s", c->what) >= (int)sizeof(req.volume.name))
		return csv_fail(&c->why, CSV_NOENT, "", "no volume has such a name");
	err = csv_lockd(c, &cl, NULL);
	if (err)
		return err;
	c->result = json_object();
	json_object_set_new(c->result, "locks", json_array());
	json_object_set_new(c->result, "ranges", json_array());
	err = csv_client_call(cl, &req, c->timeout_ms, on_lock, json_object_get(c->result, "locks"), &c->why);
	if (!err) {
		req = (struct csv_msg){ .type = CSV_MSG_BRL_LIST };
		snprintf(req.volume.name, sizeof(req.volume.name), "%s", c->what);
		err = csv_client_call(cl, &req, c->timeout_ms, on_range, json_object_get(c->result, "ranges"), &c->why);
	}
	csv_client_close(cl);
	return err;
}
