/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CSV_TOOLS_NAMES_H
#define CSV_TOOLS_NAMES_H
/*
 * mkfs.csvfs, mount.csvfs and fsck.csvfs are links to csvadm: translates their command lines and exit codes, as mount(8)
 * and fsck(8) want them, and runs the command.  Returns the exit code, or -1 if `name` is none of these.
 */
int csv_other_name(const char *name, int argc, char **argv);
#endif
