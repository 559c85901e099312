/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/lock/vm.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/list.h"

#define ANCESTORS_MAX 64 /* how far up a registration is looked for */

struct vm {
	struct csv_list link;
	uint32_t pid;
	uint64_t start; /* of the process, in clock ticks since boot: tells a reused pid */
	char name[CSV_VMNAME_MAX + 1];
};

struct csv_vms {
	pthread_mutex_t mutex;
	struct csv_list list;
};

/* Reads parent and start time from /proc/PID/stat (proc(5): fields 4 and 22). False: no such process. */
static bool process_stat(uint32_t pid, uint32_t *ppid, uint64_t *start)
{
	char path[64], buf[1024], *p;
	unsigned long long ticks;
	bool ok = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	p = fgets(buf, sizeof(buf), f) ? strrchr(buf, ')') : NULL; /* the name may hold anything */
	if (p && sscanf(p + 1, " %*c %u %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", ppid,
			&ticks) == 2) {
		*start = ticks;
		ok = true;
	}
	fclose(f);
	return ok;
}

uint32_t csv_process_of(uint32_t tid)
{
	char path[64], line[128];
	uint32_t pid = tid;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%u/status", tid);
	f = fopen(path, "re");
	if (!f)
		return tid;
	while (fgets(line, sizeof(line), f) && sscanf(line, "Tgid: %u", &pid) != 1)
		;
	fclose(f);
	return pid;
}

enum csv_err csv_vms_new(struct csv_vms **out)
{
	struct csv_vms *v = calloc(1, sizeof(*v));

	if (!v)
		return CSV_NOMEM;
	pthread_mutex_init(&v->mutex, NULL);
	csv_list_init(&v->list);
	*out = v;
	return CSV_OK;
}

static void remove_vm(struct vm *vm)
{
	csv_list_del(&vm->link);
	free(vm);
}

void csv_vms_free(struct csv_vms *v)
{
	if (!v)
		return;
	while (!csv_list_empty(&v->list))
		remove_vm(csv_list_entry(v->list.next, struct vm, link));
	pthread_mutex_destroy(&v->mutex);
	free(v);
}

static struct vm *find(struct csv_vms *v, uint32_t pid, uint64_t start)
{
	struct csv_list *pos;

	csv_list_for_each(pos, &v->list) {
		struct vm *vm = csv_list_entry(pos, struct vm, link);

		if (vm->pid == pid && vm->start == start)
			return vm;
	}
	return NULL;
}

/* Registrations of processes that are gone. */
static void sweep(struct csv_vms *v)
{
	struct csv_list *pos, *tmp;
	uint64_t start;
	uint32_t ppid;

	csv_list_for_each_safe(pos, tmp, &v->list) {
		struct vm *vm = csv_list_entry(pos, struct vm, link);

		if (!process_stat(vm->pid, &ppid, &start) || start != vm->start)
			remove_vm(vm);
	}
}

enum csv_err csv_vm_set(struct csv_vms *v, uint32_t pid, const char *name)
{
	enum csv_err err = CSV_OK;
	uint64_t start;
	uint32_t ppid;
	struct vm *vm;

	if (!process_stat(pid, &ppid, &start))
		return CSV_NOENT;
	pthread_mutex_lock(&v->mutex);
	sweep(v);
	vm = find(v, pid, start);
	if (vm && !*name) {
		remove_vm(vm);
	} else if (*name) {
		if (!vm) {
			vm = calloc(1, sizeof(*vm));
			if (vm)
				csv_list_push_back(&v->list, &vm->link);
		}
		if (vm) {
			vm->pid = pid;
			vm->start = start;
			snprintf(vm->name, sizeof(vm->name), "%.*s", CSV_VMNAME_MAX, name);
		} else {
			err = CSV_NOMEM;
		}
	}
	pthread_mutex_unlock(&v->mutex);
	return err;
}

void csv_vm_of(struct csv_vms *v, uint32_t pid, char name[CSV_VMNAME_MAX + 1])
{
	uint64_t start = 0, first = 0;
	uint32_t ppid = 0, p;
	struct vm *vm = NULL;

	pid = p = csv_process_of(pid);
	pthread_mutex_lock(&v->mutex);
	for (int i = 0; !vm && p > 0 && i < ANCESTORS_MAX; i++, p = ppid) {
		if (!process_stat(p, &ppid, &start))
			break;
		if (p == pid)
			first = start;
		vm = find(v, p, start);
	}
	if (vm)
		memcpy(name, vm->name, CSV_VMNAME_MAX + 1);
	else
		snprintf(name, CSV_VMNAME_MAX + 1, "%u:%llu", pid, (unsigned long long)first);
	pthread_mutex_unlock(&v->mutex);
}
