/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lockd/dlm/ask.h"

#include <stddef.h>

#include "lockd/client/client.h"

static enum csv_err connect_lockd(int open_ms, struct csv_client **cl, struct csv_why *why)
{
	struct csv_msg_hello hello = { .role = CSV_ROLE_ADMIN };

	return csv_client_open(NULL, &hello, open_ms, cl, NULL, why);
}

enum csv_err csv_fence_ask(uint32_t nodeid, int open_ms, int fence_ms, struct csv_why *why)
{
	struct csv_msg msg = { .type = CSV_MSG_NODE_FENCE };
	struct csv_client *cl;
	enum csv_err err;

	err = connect_lockd(open_ms, &cl, why);
	if (err)
		return err;
	msg.node.nodeid = nodeid;
	err = csv_client_call(cl, &msg, fence_ms, NULL, NULL, why);
	csv_client_close(cl);
	/* The end of a list would be an answer too, but to something else. */
	if (!err && msg.type != CSV_MSG_DONE)
		return csv_fail(why, CSV_PROTO, "", "csvlockd answered with %s", csv_msg_name(msg.type));
	return err ? csv_fail(why, err, "", "%s", csv_err_text(err)) : CSV_OK;
}

enum csv_err csv_fence_reachable(int open_ms, struct csv_why *why)
{
	struct csv_client *cl;
	enum csv_err err = connect_lockd(open_ms, &cl, why);

	if (!err)
		csv_client_close(cl);
	return err;
}
