/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ends corosync on another node, and with it the node's part in the DLM. */
#include <corosync/cfg.h>

#include "lockd/daemon/daemon.h"

void csv_kill_node(uint32_t nodeid)
{
	corosync_cfg_handle_t h;
	corosync_cfg_callbacks_t none = { 0 };
	cs_error_t err = corosync_cfg_initialize(&h, &none);

	if (err == CS_OK) {
		err = corosync_cfg_kill_node(h, nodeid, "csvfs: its locks in the DLM are given up by nobody");
		corosync_cfg_finalize(h);
	}
	/* NOT_EXIST: it is not in the membership, where a dead node is not either. */
	if (err != CS_OK && err != CS_ERR_NOT_EXIST)
		csv_error("corosync on node %u cannot be ended (%d): end it there, or reset the node", nodeid,
			  (int)err);
}
