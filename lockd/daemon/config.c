/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <corosync/cmap.h>
#include <ini.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/env.h"
#include "lib/number.h"
#include "lockd/daemon/daemon.h"

#define STATUS_DEFAULT_MS 2000

struct parse {
	struct csv_daemon_conf *conf;
	char group[64];
	char bad[128]; /* first line that was not understood */
};

static bool parse_ms(const char *text, unsigned max, unsigned *ms)
{
	uint64_t v;

	if (!csv_number(text, 0, max, &v))
		return false;
	*ms = (unsigned)v;
	return true;
}

/* A figure of [timeouts]: where it goes and how far; NULL: none of ours. */
static unsigned *timeout_of(struct csv_daemon_conf *c, const char *name, unsigned *max)
{
	*max = CSV_EVICT_MAX_MS;
	if (!strcmp(name, "watchdog_ms"))
		return &c->watchdog_ms;
	if (!strcmp(name, "evict_ms"))
		return &c->evict_ms;
	*max = CSV_REATTACH_MAX_MS;
	return !strcmp(name, "reattach_ms") ? &c->reattach_ms : NULL;
}

/* inih's call-back: 0 means that the line is wrong. Sections and names of other programs are left alone.
 */
static int on_line(void *arg, const char *section, const char *name, const char *value)
{
	struct parse *p = arg;
	char wanted[48] = "too long";
	unsigned *ms = NULL, max;
	bool good = true;

	if (!strcmp(section, "timeouts"))
		ms = timeout_of(p->conf, name, &max);
	if (ms) {
		good = parse_ms(value, max, ms);
		snprintf(wanted, sizeof(wanted), "not a number from 0 to %u", max);
	} else if (!strcmp(section, "node") && !strcmp(name, "name"))
		good = snprintf(p->conf->node, sizeof(p->conf->node), "%s", value) < (int)sizeof(p->conf->node);
	else if (!strcmp(section, "node") && !strcmp(name, "group"))
		good = snprintf(p->group, sizeof(p->group), "%s", value) < (int)sizeof(p->group);
	else if (!strcmp(section, "migration") && !strcmp(name, "address"))
		good = snprintf(p->conf->migration_address, sizeof(p->conf->migration_address), "%s", value) <
		       (int)sizeof(p->conf->migration_address);
	if (!good && !*p->bad)
		snprintf(p->bad, sizeof(p->bad), "[%.20s] %.20s = %.30s: %s", section, name, value, wanted);
	return good;
}

/* include/csv/timeouts.h */
static enum csv_err check_timeouts(const struct csv_daemon_conf *c, struct csv_why *why)
{
	if (c->watchdog_ms && c->watchdog_ms < CSV_WATCHDOG_MIN_MS)
		return csv_fail(why, CSV_INVAL, "mend [timeouts] in csvfs.conf",
				"watchdog_ms %u is less than %u: a csvlockd that is only late would be killed",
				c->watchdog_ms, CSV_WATCHDOG_MIN_MS);
	if (c->evict_ms < CSV_EVICT_MIN_MS(c->watchdog_ms))
		return csv_fail(why, CSV_INVAL, "mend [timeouts] in csvfs.conf",
				"evict_ms %u is less than %u: with watchdog_ms %u the others would evict this node "
				"before its watchdog can help",
				c->evict_ms, CSV_EVICT_MIN_MS(c->watchdog_ms), c->watchdog_ms);
	return CSV_OK;
}

enum csv_err csv_conf_load(struct csv_daemon_conf *conf, const char *path, struct csv_why *why)
{
	struct parse p = { .conf = conf };
	const char *run = getenv("CSV_RUN_DIR");
	int line;

	memset(conf, 0, sizeof(*conf));
	conf->reattach_ms = CSV_REATTACH_MS;
	conf->watchdog_ms = CSV_WATCHDOG_MS;
	conf->evict_ms = CSV_EVICT_MS;
	conf->status_ms = STATUS_DEFAULT_MS;
	if (snprintf(conf->run_dir, sizeof(conf->run_dir), "%s", run && *run ? run : "/run/csvfs") >=
	    (int)sizeof(conf->run_dir))
		return csv_fail(why, CSV_INVAL, "use a shorter path", "run directory: name too long");
	if (!path)
		path = getenv("CSV_CONFIG");
	if (!path)
		path = "/etc/csvfs/csvfs.conf";
	line = ini_parse(path, on_line, &p);
	if (line > 0)
		return csv_fail(why, CSV_INVAL, "mend the line", "%s, line %d: %s", path, line,
				*p.bad ? p.bad : "not understood");
	if (csv_access_group(conf, p.group, why))
		return CSV_INVAL;
	return check_timeouts(conf, why);
}

/* A string of cmap into a fixed field; false if there is none or it is too long. */
static bool get_string(cmap_handle_t h, const char *key, char *to, size_t size)
{
	char *s = NULL;
	bool good;

	if (cmap_get_string(h, key, &s) != CS_OK)
		return false;
	good = snprintf(to, size, "%s", s) < (int)size;
	free(s);
	return good;
}

/* Node `i` of the node list, if there is one. */
static bool get_node(cmap_handle_t h, unsigned i, struct csv_machine_node *n)
{
	char key[64];

	memset(n, 0, sizeof(*n));
	snprintf(key, sizeof(key), "nodelist.node.%u.nodeid", i);
	if (cmap_get_uint32(h, key, &n->nodeid) != CS_OK)
		return false;
	snprintf(key, sizeof(key), "nodelist.node.%u.quorum_votes", i);
	if (cmap_get_uint32(h, key, &n->votes) != CS_OK)
		n->votes = 1;
	snprintf(key, sizeof(key), "nodelist.node.%u.name", i);
	if (!get_string(h, key, n->name, sizeof(n->name)))
		snprintf(n->name, sizeof(n->name), "node%u", n->nodeid);
	return true;
}

/* What corosync works with, its coefficient for the number of nodes included. */
static enum csv_err get_detect(cmap_handle_t h, unsigned *ms, struct csv_why *why)
{
	uint32_t token, consensus;

	if (cmap_get_uint32(h, "runtime.config.totem.token", &token) != CS_OK ||
	    cmap_get_uint32(h, "runtime.config.totem.consensus", &consensus) != CS_OK)
		return csv_fail(why, CSV_NOCLUSTER, "update corosync", "corosync does not tell its token time-out");
	return csv_conf_detect(token, consensus, ms, why);
}

enum csv_err csv_conf_detect(uint32_t token, uint32_t consensus, unsigned *ms, struct csv_why *why)
{
	if ((uint64_t)token + consensus > CSV_DETECT_MAX_MS)
		return csv_fail(why, CSV_INVAL, "lower totem.token or totem.token_coefficient in corosync.conf",
				"corosync would notice a death after %" PRIu64
				" ms only (token %u, consensus %u), csvfs waits for %u at most",
				(uint64_t)token + consensus, token, consensus, CSV_DETECT_MAX_MS);
	*ms = token + consensus;
	return CSV_OK;
}

enum csv_err csv_conf_cluster(struct csv_daemon_conf *conf, struct csv_why *why)
{
	struct csv_machine_cfg *m = &conf->machine;
	uint8_t two_node = 0;
	enum csv_err err;
	cmap_handle_t h;

	memset(m, 0, sizeof(*m));
	if (cmap_initialize(&h) != CS_OK)
		return csv_fail(why, CSV_NOCLUSTER, "start corosync", "corosync does not answer");
	for (unsigned i = 0; i < CSV_NODES_MAX && get_node(h, i, &m->node[m->nnodes]); i++)
		m->nnodes++;
	if (!get_string(h, "totem.cluster_name", m->cluster, sizeof(m->cluster)))
		m->cluster[0] = 0;
	if (cmap_get_uint8(h, "quorum.two_node", &two_node) == CS_OK)
		m->two_node = two_node && m->nnodes == 2;
	if (cmap_get_uint32(h, "runtime.votequorum.this_node_id", &m->nodeid) != CS_OK)
		m->nodeid = 0; /* group.c asks CPG */
	err = get_detect(h, &conf->detect_ms, why);
	cmap_finalize(h);
	if (err != CSV_OK)
		return err;
	m->reattach_ms = conf->reattach_ms;
	m->beat_ms = CSV_GROUP_BEAT_MS;
	m->evict_ms = conf->evict_ms;
	csv_env_system()->random(csv_env_system(), &m->boot, sizeof(m->boot));
	if (!m->nnodes || !m->cluster[0])
		return csv_fail(why, CSV_NOCLUSTER,
				"give cluster_name and a nodelist with nodeid and name for each node",
				"corosync.conf has no node list or no cluster name");
	return CSV_OK;
}
