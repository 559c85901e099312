/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csv-vm-exec NAME COMMAND [ARGUMENT...]: tells csvlockd that this process, and what it starts, is the VM NAME, then
 * becomes COMMAND.  vm-launch starts QEMU with it (CSV_VM_EXEC), so that the VM has its name before its disks are
 * opened. Without csvlockd (lock=local) there is nobody to tell: COMMAND runs all the same.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lockd/client/client.h"

#define TELL_MS 10000

static enum csv_err tell(const char *name, struct csv_why *why)
{
	struct csv_msg_hello hello = { .role = CSV_ROLE_ADMIN };
	struct csv_msg msg = { .type = CSV_MSG_VM_SET };
	struct csv_client *cl;
	enum csv_err err;

	msg.vm.pid = (uint32_t)getpid();
	strcpy(msg.vm.name, name);
	err = csv_client_open(NULL, &hello, TELL_MS, &cl, NULL, why);
	if (err)
		return err == CSV_NOCLUSTER ? CSV_OK : err;
	err = csv_client_call(cl, &msg, TELL_MS, NULL, NULL, why);
	csv_client_close(cl);
	return err;
}

int main(int argc, char **argv)
{
	struct csv_why why;
	enum csv_err err;

	if (argc < 3 || !*argv[1] || strlen(argv[1]) > CSV_VMNAME_MAX) {
		fprintf(stderr, "usage: csv-vm-exec NAME COMMAND [ARGUMENT...]\n");
		return csv_err_exit(CSV_USAGE);
	}
	csv_why_init(&why);
	err = tell(argv[1], &why);
	if (err) {
		fprintf(stderr, "csv-vm-exec: %s: %s\n", argv[1], why.text);
		return csv_err_exit(err);
	}
	execvp(argv[2], argv + 2);
	fprintf(stderr, "csv-vm-exec: %s: %s\n", argv[2], strerror(errno));
	return 1;
}
