/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the destination of a handoff does before it says "prepared": compares the VM's
 * definition with the hash it was told and, for a migration, has the hook vm-launch
 * start the incoming VM.  Both in a child: the loop never waits for the LUN (L5).
 *
 * The hook is a file of this node, owned by root and writable by nobody else; nothing
 * that comes over the wire or lies on the volume is ever a command.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/sha256.h"
#include "lockd/daemon/daemon.h"
#include "lockd/daemon/handoff.h"
#include "lockd/daemon/helper.h"

#define DEFINITION_MAX (1u << 20)
#define OUTPUT_MAX 4096u
#define MISMATCH 120 /* exit codes of the child before it is the hook */
#define UNREADABLE 121
#define NO_HOOK 122

struct launch {
	struct csv_list link;
	struct csv_daemon *d;
	struct csv_ho_msg *armed; /* NULL: sent on */
	struct csv_helper helper;
	char output[OUTPUT_MAX];
	uint8_t id[CSV_HO_ID];
};

static struct csv_list launches = CSV_LIST_INIT(launches);

static void forget(struct launch *l)
{
	csv_list_del(&l->link);
	free(l->armed);
	free(l);
}

static void answer(struct launch *l, enum csv_err err, const char *why)
{
	struct csv_ho_msg *m = l->armed;

	l->armed = NULL;
	if (err) {
		m->event = CSV_HO_EV_REFUSED;
		m->err = err;
		snprintf(m->why, sizeof(m->why), "%s", why);
	}
	if (l->d->machine)
		csv_driver_handoff(l->d, m);
	free(m);
}

/* ---- in the child ---- */

static bool safe(const char *path, bool dir)
{
	struct stat st;

	return !stat(path, &st) && (dir ? S_ISDIR(st.st_mode) : S_ISREG(st.st_mode)) &&
	       (!st.st_uid || st.st_uid == geteuid()) && !(st.st_mode & (S_IWGRP | S_IWOTH));
}

static void hex(const uint8_t *sum, char text[65])
{
	for (unsigned i = 0; i < 32; i++)
		snprintf(text + 2 * i, 3, "%02x", sum[i]);
}

/* The program that gives the VM its name lies beside csvlockd. */
static void name_registrar(void)
{
	char path[512];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - sizeof("csv-vm-exec"));
	char *slash;

	if (n <= 0)
		return;
	path[n] = 0;
	slash = strrchr(path, '/');
	if (!slash)
		return;
	strcpy(slash + 1, "csv-vm-exec");
	if (!access(path, X_OK))
		setenv("CSV_VM_EXEC", path, 0);
}

static _Noreturn void child(int out, const struct csv_ho_plan *p, const char *definition, const char *uri,
			    const char *note)
{
	const char *dir = getenv("CSV_HOOK_DIR");
	uint8_t sum[32];
	uint64_t size;
	char hook[512], text[65];

	dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
	dup2(out, 1);
	dup2(out, 2);
	if (csv_sha256_file(definition, DEFINITION_MAX, &size, sum))
		_exit(UNREADABLE);
	if (size != p->definition_size || memcmp(sum, p->definition_sha256, 32))
		_exit(MISMATCH);
	if (!p->launch)
		_exit(0);
	if (!dir || !*dir)
		dir = "/etc/csvfs/hooks";
	snprintf(hook, sizeof(hook), "%s/vm-launch", dir);
	if (!safe(dir, true) || !safe(hook, false))
		_exit(NO_HOOK);
	hex(sum, text);
	setenv("CSV_DEFINITION_SHA256", text, 1);
	setenv("CSV_INCOMING_FILE", note, 1);
	name_registrar();
	execl(hook, hook, definition, uri, (char *)NULL);
	_exit(NO_HOOK);
}

/* ---- its end ---- */

/* The value of "key": in the hook's one JSON object: a number, or a string without escapes. */
static bool field(const char *text, const char *key, char *value, size_t size)
{
	char quoted[32];
	const char *at, *end;

	snprintf(quoted, sizeof(quoted), "\"%s\":", key);
	at = strstr(text, quoted);
	if (!at)
		return false;
	at += strlen(quoted);
	at += strspn(at, " ");
	end = *at == '"' ? strchr(++at, '"') : at + strspn(at, "0123456789");
	if (!end || end == at || (size_t)(end - at) >= size)
		return false;
	memcpy(value, at, (size_t)(end - at));
	value[end - at] = 0;
	return true;
}

static void last_line(const char *text, char *line, size_t size)
{
	size_t len = strlen(text);
	const char *at;

	while (len && text[len - 1] == '\n')
		len--;
	for (at = text + len; at > text && at[-1] != '\n'; at--)
		;
	snprintf(line, size, "%.*s", (int)(text + len - at), at);
}

static void failed(struct launch *l, int status)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	char why[CSV_HO_WHY_MAX];

	if (code == MISMATCH) {
		answer(l, CSV_DAMAGED, "the VM's definition read here is not the one that was sent");
	} else if (code == UNREADABLE) {
		answer(l, CSV_NOENT, "the VM's definition cannot be read");
	} else if (code == NO_HOOK) {
		answer(l, CSV_PERM, "no hook vm-launch that belongs to root and only root can write");
	} else {
		last_line(l->output, why, sizeof(why));
		answer(l, code == 3 ? CSV_BUSY : CSV_IO, *why ? why : "vm-launch did not answer");
	}
}

static void ended(void *arg, int status)
{
	struct launch *l = arg;
	const struct csv_handoff *h;
	char text[32];

	if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		csv_incoming_note(l->d, l->id, 0);
		failed(l, status);
		forget(l);
		return;
	}
	h = l->d->machine ? csv_ho_find(csv_machine_handoffs(l->d->machine), l->id) : NULL;
	if (h && h->plan.launch) {
		bool told = field(l->output, "pid", text, sizeof(text));

		csv_incoming_note(l->d, l->id, told ? (pid_t)strtol(text, NULL, 10) : 0);
		field(l->output, "incoming", l->armed->plan.uri, sizeof(l->armed->plan.uri));
	}
	answer(l, CSV_OK, "");
	forget(l);
}

/* ---- the beginning ---- */

static const struct csv_peer *volume_of(struct csv_daemon *d, const uint8_t *uuid)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &d->peers) {
		const struct csv_peer *p = csv_list_entry(pos, struct csv_peer, link);

		if (p->role == CSV_ROLE_FS && !p->closing && !memcmp(p->hello.uuid, uuid, 16))
			return p;
	}
	return NULL;
}

/* Where the incoming VM is to listen: as the request wishes, else as this node's configuration says. */
static bool choose_uri(const struct csv_daemon *d, const struct csv_ho_plan *p, char *uri, size_t size)
{
	const char *wish = p->uri;

	if (!p->launch)
		return true;
	if (!strncmp(wish, "tcp:", 4) && wish[4] && wish[4] != ':') {
		const char *host_end = wish[4] == '[' ? strchr(wish, ']') : wish + 4;
		bool port = host_end && strchr(host_end, ':');

		snprintf(uri, size, "%s%s", wish, port ? "" : ":0");
		return true;
	}
	if (*wish || !*d->conf.migration_address)
		return false;
	snprintf(uri, size, "tcp:%s:0", d->conf.migration_address);
	return true;
}

/* False: there is no child. */
static bool spawn(struct launch *l, const struct csv_ho_plan *p, const char *definition, const char *uri)
{
	char note[256];
	pid_t pid;

	csv_incoming_path(l->d, l->id, note, sizeof(note));
	pid = csv_helper_fork(&l->helper, CSV_LAUNCH_MS);
	if (!pid)
		child(l->helper.fd, p, definition, uri, note);
	return pid > 0;
}

/* Only below the mount. */
static bool stays_inside(const char *rel)
{
	size_t len = strlen(rel);

	return *rel != '/' && strncmp(rel, "../", 3) && !strstr(rel, "/../") &&
	       !(len >= 2 && !strcmp(rel + len - 2, ".."));
}

static bool is_launching(const uint8_t *id)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &launches) {
		if (!memcmp(csv_list_entry(pos, struct launch, link)->id, id, CSV_HO_ID))
			return true;
	}
	return false;
}

void csv_launch_start(struct csv_daemon *d, struct csv_ho_msg *armed)
{
	const struct csv_handoff *h = csv_ho_find(csv_machine_handoffs(d->machine), armed->id);
	const struct csv_peer *fs = h ? volume_of(d, h->plan.uuid) : NULL;
	struct launch *l;
	char definition[sizeof(fs->hello.mount) + CSV_HO_PATH_MAX], uri[CSV_HO_URI_MAX + 80] = "";

	/* Asked again while the hook runs, because the csvfs has attached anew: the hook's answer serves both. */
	if (is_launching(armed->id)) {
		free(armed);
		return;
	}
	/* Asked again after we were restarted: what our predecessor has started cannot tell us where it listens. */
	if (csv_incoming_renew(d, armed))
		return;
	l = calloc(1, sizeof(*l));
	CSV_ASSERT(l);
	l->d = d;
	l->armed = armed;
	l->helper = (struct csv_helper){
		.loop = d->loop, .ended = ended, .arg = l, .text = l->output, .size = sizeof(l->output), .leads = true
	};
	memcpy(l->id, armed->id, CSV_HO_ID);
	csv_list_push_back(&launches, &l->link);
	if (!fs) {
		forget(l); /* gone meanwhile */
		return;
	}
	snprintf(definition, sizeof(definition), "%s/%s", fs->hello.mount, h->plan.definition);
	if (!stays_inside(h->plan.definition)) {
		answer(l, CSV_INVAL, "the definition is not on the volume");
	} else if (h->plan.launch && !*h->plan.definition) {
		answer(l, CSV_INVAL, "a VM without definition cannot be started");
	} else if (!choose_uri(d, &h->plan, uri, sizeof(uri))) {
		answer(l, CSV_INVAL,
		       "where to listen is not known: give --uri tcp:IP, or [migration] address in csvfs.conf");
	} else if (!spawn(l, &h->plan, definition, uri)) {
		answer(l, CSV_NOMEM, "vm-launch cannot be started");
	} else {
		return;
	}
	forget(l);
}

void csv_launch_free(struct csv_daemon *d)
{
	while (!csv_list_empty(&launches)) {
		struct launch *l = csv_list_entry(launches.next, struct launch, link);

		csv_helper_kill(&l->helper);
		forget(l);
	}
}
