/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvadm status, node list, volume list: what csvlockd and the csvfs of this node tell. */
#include <stdio.h>
#include <string.h>

#include "tools/csvadm.h"

struct answer {
	json_t *node;
	json_t *nodes;
	json_t *volumes;
	const struct csv_msg_welcome *w;
};

static json_t *node_json(const struct csv_msg_node *n)
{
	json_t *o = json_object();

	csv_out_str(o, "name", n->name);
	csv_out_u64(o, "id", n->nodeid);
	csv_out_str(o, "state", n->state);
	csv_out_time(o, "since", n->since_sec);
	json_object_set_new(o, "slot", n->slot == UINT32_MAX ? json_null() : json_integer(n->slot));
	json_object_set_new(o, "pr_registered", json_null()); /* csv_nodes_registered() */
	return o;
}

/* The last recovery that this node did for another. */
static json_t *recovery_json(const struct csv_msg_volume *v)
{
	json_t *o;

	if (!v->recovery_sec)
		return json_null();
	o = json_object();
	csv_out_time(o, "since", v->recovery_sec);
	csv_out_u64(o, "slot", v->recovery_slot);
	csv_out_u64(o, "incarnation", v->recovery_incarnation);
	json_object_set_new(o, "fence_ms", json_real(v->recovery_fence_ms));
	json_object_set_new(o, "replay_ms", json_real(v->recovery_replay_ms));
	return o;
}

static json_t *volume_json(const struct csv_msg_volume *v)
{
	json_t *o = json_object(), *counters = json_object();

	csv_out_str(o, "name", v->name);
	csv_out_uuid(o, "uuid", v->uuid);
	csv_out_str(o, "state", v->state);
	csv_out_str(o, "reason", v->reason);
	csv_out_time(o, "since", v->since_sec);
	csv_out_str(o, "mount", v->mount);
	csv_out_str(o, "lun", v->lun);
	csv_out_str(o, "engine", v->engine);
	csv_out_u64(o, "slot", v->slot);
	csv_out_u64(o, "incarnation", v->incarnation);
	csv_out_u64(o, "size", v->size);
	csv_out_u64(o, "free", v->free);
	csv_out_u64(counters, "cluster_msgs_sent", v->cluster_msgs_sent);
	csv_out_u64(counters, "lock_requests", v->lock_requests);
	csv_out_u64(counters, "reads", v->reads);
	csv_out_u64(counters, "writes", v->writes);
	csv_out_u64(counters, "blocks_written", v->blocks_written);
	csv_out_u64(counters, "flushes", v->flushes);
	json_object_set_new(o, "counters", counters);
	json_object_set_new(o, "recovery", recovery_json(v));
	return o;
}

static void on_answer(void *arg, const struct csv_msg *msg)
{
	struct answer *a = arg;
	json_t *node;

	if (msg->type == CSV_MSG_STATUS_VOLUME) {
		json_array_append_new(a->volumes, volume_json(&msg->volume));
	} else if (msg->type == CSV_MSG_STATUS_NODE) {
		json_array_append_new(a->nodes, node_json(&msg->node));
		if (!msg->node.self)
			return;
		node = json_object();
		csv_out_str(node, "name", *msg->node.name ? msg->node.name : a->w->node);
		csv_out_u64(node, "id", msg->node.nodeid);
		json_object_set_new(node, "quorate", json_boolean(msg->node.quorate));
		csv_out_str(node, "engine", a->w->engine);
		csv_out_str(node, "cluster", a->w->cluster);
		csv_out_str(node, "state", msg->node.state);
		json_decref(a->node);
		a->node = node;
	}
}

/* Asks csvlockd `type` and gathers all it says. */
static enum csv_err gather(struct csv_call *c, enum csv_msg_type type, struct answer *a)
{
	struct csv_msg req = { .type = type };
	struct csv_msg_welcome w;
	struct csv_client *cl;
	enum csv_err err;

	if (c->argc != 1)
		return csv_usage(c, "takes no argument");
	err = csv_lockd(c, &cl, &w);
	if (err)
		return err;
	a->w = &w;
	a->node = json_null();
	a->nodes = json_array();
	a->volumes = json_array();
	err = csv_client_call(cl, &req, c->timeout_ms, on_answer, a, &c->why);
	csv_client_close(cl);
	a->w = NULL;
	return err;
}

static void drop(json_t *v)
{
	json_decref(v);
}

/* A csvfs that does not answer is an error, but what the others said is shown all the same. */
enum csv_err csv_cmd_status(struct csv_call *c)
{
	struct answer a = { 0 };
	enum csv_err err = gather(c, CSV_MSG_STATUS, &a);

	if (!a.volumes)
		return err;
	drop(a.nodes);
	c->result = json_object();
	json_object_set_new(c->result, "node", a.node);
	json_object_set_new(c->result, "volumes", a.volumes);
	if (err == CSV_TIMEOUT)
		csv_fail(&c->why, err, "see csvfs's log", "a csvfs of this node does not answer");
	return err;
}

enum csv_err csv_cmd_volume_list(struct csv_call *c)
{
	struct answer a = { 0 };
	enum csv_err err = gather(c, CSV_MSG_STATUS, &a);

	if (!a.volumes)
		return err;
	drop(a.nodes);
	drop(a.node);
	c->result = json_object();
	json_object_set_new(c->result, "volumes", a.volumes);
	return err;
}

enum csv_err csv_cmd_node_list(struct csv_call *c)
{
	struct answer a = { 0 };
	enum csv_err err = gather(c, CSV_MSG_NODE_LIST, &a);

	if (!a.nodes)
		return err;
	drop(a.volumes);
	drop(a.node);
	c->result = json_object();
	json_object_set_new(c->result, "nodes", a.nodes);
	if (err)
		return err;
	/* Whose key stands is the LUN's to say. Without an answer it is not known, and the list as good as before. */
	a = (struct answer){ 0 };
	gather(c, CSV_MSG_STATUS, &a);
	csv_why_init(&c->why);
	if (!a.volumes)
		return CSV_OK;
	csv_nodes_registered(json_object_get(c->result, "nodes"), a.volumes);
	drop(a.nodes);
	drop(a.node);
	drop(a.volumes);
	return CSV_OK;
}
