/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who may ask what at the socket.
 *
 * Root, and whom csvlockd itself runs as, may do everything.  Members of the group of csvfs.conf, if there is one, may
 * look, and nothing else: every other request ends a VM, a mount or a node, or says in whose name files are written
 * (VM_SET), and a csvfs is believed whatever it declares.  The mode of the socket lets nobody else in; what the kernel
 * says of the other end guards against a mode, or a directory, that somebody has loosened.
 */
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lockd/daemon/daemon.h"

enum csv_err csv_access_group(struct csv_daemon_conf *conf, const char *name, struct csv_why *why)
{
	const struct group *g;

	if (!*name)
		return CSV_OK;
	g = getgrnam(name);
	if (!g)
		return csv_fail(why, CSV_INVAL, "make it (groupadd), or mend [node] group in csvfs.conf",
				"there is no group %.60s", name);
	conf->gid = g->gr_gid;
	conf->has_group = true;
	return CSV_OK;
}

enum csv_err csv_access_socket(const struct csv_daemon_conf *conf, const char *path)
{
	if (conf->has_group && chown(path, (uid_t)-1, conf->gid))
		return csv_err_from_errno(errno);
	return chmod(path, conf->has_group ? 0660 : 0600) ? csv_err_from_errno(errno) : CSV_OK;
}

/* Is it one of the further groups of the process at the other end? */
static bool among_groups(int s, gid_t gid)
{
	socklen_t len = 0;
	bool found = false;
	gid_t *list;

	if (!getsockopt(s, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) || errno != ERANGE)
		return false; /* none, or the kernel does not tell */
	list = malloc(len);
	CSV_ASSERT(list);
	if (!getsockopt(s, SOL_SOCKET, SO_PEERGROUPS, list, &len))
		for (size_t i = 0; i < len / sizeof(*list); i++)
			found |= list[i] == gid;
	free(list);
	return found;
}

enum csv_access csv_access_of(const struct csv_daemon_conf *conf, int s, struct ucred *cred)
{
	socklen_t len = sizeof(*cred);

	if (getsockopt(s, SOL_SOCKET, SO_PEERCRED, cred, &len))
		return CSV_ACCESS_NONE;
	if (cred->uid == 0 || cred->uid == geteuid())
		return CSV_ACCESS_ALL;
	if (conf->has_group && (cred->gid == conf->gid || among_groups(s, conf->gid)))
		return CSV_ACCESS_LOOK;
	return CSV_ACCESS_NONE;
}

bool csv_access_may(enum csv_access access, enum csv_role role, uint32_t type)
{
	if (access == CSV_ACCESS_ALL)
		return true;
	if (access == CSV_ACCESS_NONE || role != CSV_ROLE_ADMIN)
		return false;
	switch (type) {
	case CSV_MSG_HELLO:
	case CSV_MSG_STATUS:
	case CSV_MSG_NODE_LIST:
	case CSV_MSG_LOCK_LIST:
	case CSV_MSG_BRL_LIST:
	case CSV_MSG_HANDLE_LIST:
	case CSV_MSG_HO_LIST:
		return true;
	default:
		return false;
	}
}
