/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which VM a process belongs to: the name registered for it or for one of its ancestors (vm-launch, a hook's prepare,
 * the libvirt plugin: VM_SET records), else "pid:starttime", which names a process for ever on this host.
 */
#ifndef CSV_LOCK_VM_H
#define CSV_LOCK_VM_H

#include <stdint.h>

#include "csv/err.h"
#include "csv/limits.h"

struct csv_vms;
enum csv_err csv_vms_new(struct csv_vms **v);
void csv_vms_free(struct csv_vms *v);
/* The process that a thread belongs to: FUSE names the thread that asks. A thread that is gone is taken for a process. */
uint32_t csv_process_of(uint32_t tid);
/* Registers; an empty name takes the registration away. A dead process's registration counts for nobody. */
enum csv_err csv_vm_set(struct csv_vms *v, uint32_t pid, const char *name);
/* pid: as in the FUSE request, a thread will do. Never fails; a process that is gone is "pid:0". */
void csv_vm_of(struct csv_vms *v, uint32_t pid, char vm[CSV_VMNAME_MAX + 1]);

#endif
