/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lockd/dlm/release.h"

#include <inttypes.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* Needs types that it does not include. */
#include <linux/dlmconstants.h>
#include <libdlmcontrol.h>

#include "lockd/dlm/check.h"

static bool lockspace_waits(char *name, uint32_t nodeid)
{
	struct dlmc_node node = { 0 };

	return dlmc_node_info(name, (int)nodeid, &node) == 0 && (node.flags & DLMC_NF_NEED_FENCING) &&
	       !(node.flags & DLMC_NF_MEMBER);
}

static bool waits(uint32_t nodeid)
{
	struct dlmc_lockspace *list = NULL;
	bool any = false;
	int n = 0;

	if (dlmc_lockspaces(&n, &list) != 0)
		return false; /* dlm_controld does not run, or has none */
	for (int i = 0; i < n && !any; i++)
		any = lockspace_waits(list[i].name, nodeid);
	free(list);
	return any;
}

/* The agent gets the question on its standard input and nothing else, as from dlm_controld. */
static pid_t start_agent(const char *agent, int *to)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		return -1;
	pid = fork();
	if (!pid) {
		dup2(ends[0], 0);
		dup2(2, 1); /* our own standard output is for us */
		signal(SIGPIPE, SIG_DFL);
		execlp(agent, agent, (char *)NULL);
		_exit(127);
	}
	close(ends[0]);
	if (pid < 0)
		close(ends[1]);
	else
		*to = ends[1];
	return pid;
}

static bool agent_agrees(uint32_t nodeid)
{
	char agent[CSV_DLM_AGENT_MAX];
	int to, status = -1;
	pid_t pid;

	if (!csv_dlm_agent(agent, sizeof(agent)))
		return false;
	pid = start_agent(agent, &to);
	if (pid < 0)
		return false;
	dprintf(to, "node=%" PRIu32 "\n", nodeid);
	close(to);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

enum csv_dlm_release csv_dlm_release(uint32_t nodeid)
{
	char text[16];

	if (!waits(nodeid))
		return CSV_DLM_FREE;
	signal(SIGPIPE, SIG_IGN); /* an agent that does not read ends by its own code */
	if (!agent_agrees(nodeid)) {
		printf("the DLM waits for the fence of node %" PRIu32 ", which the fence agent does not confirm\n",
		       nodeid);
		return CSV_DLM_WAITS;
	}
	snprintf(text, sizeof(text), "%" PRIu32, nodeid);
	if (!waits(nodeid))
		return CSV_DLM_FREE;
	if (dlmc_fence_ack(text) < 0) {
		printf("the DLM waits for the fence of node %" PRIu32
		       ", and dlm_controld does not take that it is done\n",
		       nodeid);
		return CSV_DLM_WAITS;
	}
	printf("dlm_controld did not have node %" PRIu32 " fenced, which is out and replayed: told it so\n", nodeid);
	return CSV_DLM_FREE;
}
