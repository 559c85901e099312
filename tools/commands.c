/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one table of commands. */
#include "tools/csvadm.h"

const struct csv_command csv_commands[] = {
	{ NULL, "format", "LUN --name N [--cluster C] [--slots 16] [--journal 64M] [--force] [--takeover]",
	  "make a new volume on a LUN", csv_cmd_format },
	{ NULL, "check", "LUN", "verify a whole volume, read-only", csv_cmd_check },
	{ NULL, "mount", "LUN DIR [-o lock=auto|cpg|dlm|local,ro,node=NAME,path_timeout=S,takeover]",
	  "mount a volume; ro: with lock=local only", csv_cmd_mount },
	{ NULL, "umount", "DIR|VOLUME", "unmount a volume", csv_cmd_umount },
	{ NULL, "status", "", "state of this node and its volumes", csv_cmd_status },
	{ "volume", "list", "", "volumes mounted on this node", csv_cmd_volume_list },
	{ "volume", "info", "VOLUME|LUN", "one volume: size, features, slots", csv_cmd_volume_info },
	{ "lun", "check", "LUN [--destructive]",
	  "try what a LUN really honours, and say whether it is fit for a volume", csv_cmd_lun_check },
	{ "node", "list", "", "nodes of the cluster", csv_cmd_node_list },
	{ "lock", "list", "VOLUME [--inode I]", "cluster locks of a volume: who holds, who waits", csv_cmd_lock_list },
	{ "handle", "list", "[--vm V]", "open VHDs on this node", csv_cmd_handle_list },
	{ "vhd", "create", "PATH --size S [--type fixed]", "make a VHD on a mounted volume", csv_cmd_vhd_create },
	{ "vhd", "info", "PATH", "type, sizes and lease of a VHD", csv_cmd_vhd_info },
	{ "vhd", "mark", "PATH", "make a closed file an image: one VM at a time may write it", csv_cmd_vhd_mark },
	{ "vhd", "unmark", "PATH", "make a closed image a plain file again", csv_cmd_vhd_unmark },
	{ "handoff", "prepare", "--vm V|--pid P|PATH... --to NODE [--definition PATH [--launch [--uri tcp:IP]]]",
	  "get a VM's disks ready to move to a node", csv_cmd_handoff_prepare },
	{ "handoff", "commit", "ID", "move them, all at once; exit code 10: they stayed here", csv_cmd_handoff_commit },
	{ "handoff", "abort", "ID", "give it up, before the commit", csv_cmd_handoff_abort },
	{ "handoff", "takeback", "ID", "undo it, if the destination has written nothing", csv_cmd_handoff_takeback },
	{ "handoff", "finish", "ID", "the VM runs at the destination", csv_cmd_handoff_finish },
	{ "handoff", "status", "[ID]", "where the disks are, whatever happened", csv_cmd_handoff_status },
	{ NULL, "migrate", "VM --to NODE [--uri tcp:IP] [--definition PATH]", "live migration of a VM",
	  csv_cmd_migrate },
	{ 0 },
};
