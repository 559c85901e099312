/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/sha256.h"
#include "migrate/source/request.h"

#define DEFINITION_MAX (1u << 20)

bool csv_request_id(const char *text, uint8_t id[CSV_HO_ID])
{
	if (strlen(text) != 2 * CSV_HO_ID || strspn(text, "0123456789abcdefABCDEF") != 2 * CSV_HO_ID)
		return false;
	for (unsigned i = 0; i < CSV_HO_ID; i++) {
		char byte[3] = { text[2 * i], text[2 * i + 1], 0 };

		id[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
	return true;
}

void csv_request_id_text(const uint8_t id[CSV_HO_ID], char text[2 * CSV_HO_ID + 1])
{
	for (unsigned i = 0; i < CSV_HO_ID; i++)
		snprintf(text + 2 * i, 3, "%02x", id[i]);
}

/* ---- answers ---- */

static const char *state_name(uint32_t state)
{
#define NAME(name, text, who) text,
	static const char *const names[] = { CSV_HO_STATES(NAME) };
#undef NAME
	return state < CSV_HO_STATE_COUNT ? names[state] : "?";
}

static void set_str(json_t *o, const char *key, const char *value)
{
	json_object_set_new(o, key, *value ? json_string(value) : json_null());
}

static json_t *file_json(const struct csv_msg_ho_file *f)
{
	json_t *o = json_object();

	set_str(o, "path", f->path);
	json_object_set_new(o, "inode", json_integer((json_int_t)f->ino));
	json_object_set_new(o, "epoch", json_integer((json_int_t)f->epoch));
	json_object_set_new(o, "size", json_integer((json_int_t)f->size));
	return o;
}

static json_t *times_json(const struct csv_msg_ho *ho)
{
	bool known = ho->drain_ms > 0 || ho->journal_ms > 0;
	json_t *o = json_object();

	json_object_set_new(o, "drain", known ? json_real(ho->drain_ms) : json_null());
	json_object_set_new(o, "journal", known ? json_real(ho->journal_ms) : json_null());
	json_object_set_new(o, "home", known ? json_real(ho->home_ms) : json_null());
	json_object_set_new(o, "messages", ho->messages_ms > 0 ? json_real(ho->messages_ms) : json_null());
	json_object_set_new(o, "blackout", ho->blackout_ms > 0 ? json_real(ho->blackout_ms) : json_null());
	return o;
}

static json_t *item_json(const struct csv_msg_ho *ho, json_t *files)
{
	const json_t *first = json_array_get(files, 0);
	char id[2 * CSV_HO_ID + 1];
	json_t *o = json_object();

	csv_request_id_text(ho->id, id);
	set_str(o, "id", id);
	set_str(o, "state", state_name(ho->state));
	set_str(o, "outcome", ho->outcome == CSV_HO_MOVED ? "moved" : ho->outcome == CSV_HO_KEPT ? "kept" : "");
	set_str(o, "owner", ho->owner_node);
	set_str(o, "vm", ho->vm);
	set_str(o, "from", ho->src_node);
	set_str(o, "to", ho->dst_node);
	json_object_set_new(o, "epoch", first ? json_incref(json_object_get(first, "epoch")) : json_null());
	set_str(o, "uri", ho->uri);
	set_str(o, "reason", ho->why);
	json_object_set_new(o, "ms", times_json(ho));
	json_object_set_new(o, "files", files);
	return o;
}

struct collect {
	json_t *files; /* of the item that follows */
	json_t *list;  /* or NULL: */
	struct csv_request_answer *a;
};

static void on_record(void *arg, const struct csv_msg *msg)
{
	struct collect *c = arg;
	json_t *item;

	if (msg->type == CSV_MSG_HO_FILE) {
		if (!c->files)
			c->files = json_array();
		json_array_append_new(c->files, file_json(&msg->ho_file));
		return;
	}
	if (msg->type != CSV_MSG_HO_ITEM)
		return;
	item = item_json(&msg->ho, c->files ? c->files : json_array());
	c->files = NULL;
	if (c->list) {
		json_array_append_new(c->list, item);
		return;
	}
	json_decref(c->a->json);
	c->a->json = item;
	c->a->ho = msg->ho;
	c->a->have = true;
}

/* ---- requests ---- */

static enum csv_err call(struct csv_client *cl, struct csv_msg *req, int timeout_ms, struct collect *c,
			 struct csv_why *why)
{
	enum csv_err err = csv_client_call(cl, req, timeout_ms, on_record, c, why);

	json_decref(c->files);
	if (err != CSV_NOTCONN && err != CSV_TIMEOUT)
		return err;
	csv_why_init(why);
	return csv_fail(why, CSV_UNREACH, "csvadm handoff status tells what became of it", "csvlockd did not answer");
}

enum csv_err csv_request(struct csv_client *cl, enum csv_ho_request req, const uint8_t id[CSV_HO_ID], int timeout_ms,
			 struct csv_request_answer *a, struct csv_why *why)
{
	struct csv_msg msg = { .type = CSV_MSG_HO_REQUEST };
	struct collect c = { .a = a };

	msg.ho.verb = req;
	memcpy(msg.ho.id, id, CSV_HO_ID);
	return call(cl, &msg, timeout_ms, &c, why);
}

enum csv_err csv_request_list(struct csv_client *cl, const uint8_t *id, int timeout_ms, json_t *list,
			      struct csv_why *why)
{
	struct csv_msg msg = { .type = CSV_MSG_HO_LIST };
	struct collect c = { .list = list };

	if (id)
		memcpy(msg.ho.id, id, CSV_HO_ID);
	return call(cl, &msg, timeout_ms, &c, why);
}

static enum csv_err send_file(struct csv_client *cl, const char *path, struct csv_why *why)
{
	struct csv_msg msg = { .type = CSV_MSG_HO_FILE };
	char *real = realpath(path, NULL);
	struct stat st;

	if (!real || stat(real, &st)) {
		free(real);
		return csv_fail(why, csv_err_from_errno(errno), "", "%s: %s", path, strerror(errno));
	}
	snprintf(msg.ho_file.path, sizeof(msg.ho_file.path), "%s", real);
	free(real);
	if (!S_ISREG(st.st_mode))
		return csv_fail(why, CSV_INVAL, "", "%s is not a file", path);
	msg.ho_file.ino = st.st_ino;
	return csv_client_send(cl, &msg);
}

static enum csv_err send_definition(struct csv_client *cl, const char *path, struct csv_why *why)
{
	struct csv_msg msg = { .type = CSV_MSG_HO_FILE };
	char *real = realpath(path, NULL);
	enum csv_err err;

	if (!real || strlen(real) >= sizeof(msg.ho_file.path)) {
		free(real);
		return csv_fail(why, CSV_NOENT, "", "definition %s cannot be found", path);
	}
	strcpy(msg.ho_file.path, real);
	free(real);
	msg.ho_file.index = CSV_HO_DEFINITION;
	err = csv_sha256_file(msg.ho_file.path, DEFINITION_MAX, &msg.ho_file.size, msg.ho_file.sha256);
	if (err)
		return csv_fail(why, err, "", "definition %s cannot be read", path);
	return csv_client_send(cl, &msg);
}

enum csv_err csv_request_prepare(struct csv_client *cl, const struct csv_prepare *p, int timeout_ms,
				 struct csv_request_answer *a, struct csv_why *why)
{
	struct csv_msg msg = { .type = CSV_MSG_HO_REQUEST };
	struct collect c = { .a = a };
	enum csv_err err = CSV_OK;

	for (int i = 0; i < p->npaths && !err; i++)
		err = send_file(cl, p->paths[i], why);
	if (!err && p->definition)
		err = send_definition(cl, p->definition, why);
	if (err)
		return err;
	msg.ho.verb = CSV_HO_REQ_PREPARE;
	msg.ho.pid = p->pid;
	msg.ho.launch = p->launch;
	if (snprintf(msg.ho.vm, sizeof(msg.ho.vm), "%s", p->vm ? p->vm : "") >= (int)sizeof(msg.ho.vm) ||
	    snprintf(msg.ho.dst_node, sizeof(msg.ho.dst_node), "%s", p->to) >= (int)sizeof(msg.ho.dst_node) ||
	    snprintf(msg.ho.uri, sizeof(msg.ho.uri), "%s", p->uri ? p->uri : "") >= (int)sizeof(msg.ho.uri))
		return csv_fail(why, CSV_INVAL, "", "a name is too long");
	return call(cl, &msg, timeout_ms, &c, why);
}

json_t *csv_request_of_vm(json_t *list, const char *vm)
{
	json_t *found = NULL, *o;
	size_t i;

	json_array_foreach(list, i, o)
	{
		const char *name = json_string_value(json_object_get(o, "vm"));

		if (name && !strcmp(name, vm))
			found = o;
	}
	return found;
}
