/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sizes and bounds that disk, messages and tools share. */
#ifndef CSV_LIMITS_H
#define CSV_LIMITS_H

#define CSV_BLOCK_SIZE 4096u
#define CSV_BLOCK_SHIFT 12

#define CSV_NAME_MAX 255        /* bytes of a directory entry's name */
#define CSV_VOLNAME_MAX 63      /* bytes of a volume's name */
#define CSV_CLUSTER_MAX 63      /* bytes of a cluster's name */
#define CSV_NODENAME_MAX 63     /* bytes of a node's name */
#define CSV_VMNAME_MAX 63       /* bytes of a VM's name */
#define CSV_SYMLINK_MAX 4095    /* bytes of a symbolic link's target */
#define CSV_LINK_MAX 65000u     /* hard links of one inode */

#define CSV_SLOTS_MAX 64u       /* mounted nodes of a volume */
#define CSV_SLOTS_DEFAULT 16u
#define CSV_NODES_MAX 64u       /* nodes of a cluster */
#define CSV_LVB_SIZE 32u        /* lock value block, as the DLM has it */

#define CSV_JOURNAL_BLOCKS_MIN 128u                 /* 512 KiB: test images */
#define CSV_JOURNAL_BLOCKS_DEFAULT (64u << 20 >> 12) /* 64 MiB */
#define CSV_VOLUME_BLOCKS_MIN 2048u                 /* 8 MiB with small journals */
#define CSV_FILE_SIZE_MAX (1ull << 60)              /* bytes */

#endif
