/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names of open files: FUSE tells csvfs inode numbers only, but the process that has one open has its path in /proc.
 * Nothing here touches the mount itself (L5): fdinfo has the inode number, and the link of a descriptor is the kernel's
 * memory.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lockd/daemon/daemon.h"
#include "lockd/daemon/handoff.h"

static bool has_inode(const char *dir, const char *fd, uint64_t ino)
{
	unsigned long long found = 0;
	char path[64 + 256], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%.200s", dir, fd);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f))
		sscanf(line, "ino:\t%llu", &found);
	fclose(f);
	return found == ino;
}

static bool path_of(uint32_t pid, const char *fd, const char *mount, char *path, size_t size)
{
	char link[64 + 256], target[4096];
	size_t len = strlen(mount);
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%u/fd/%.200s", pid, fd);
	n = readlink(link, target, sizeof(target) - 1);
	if (n <= 0)
		return false;
	target[n] = 0;
	if (strncmp(target, mount, len) || target[len] != '/')
		return false;
	return snprintf(path, size, "%s", target + len + 1) < (int)size;
}

void csv_registry_path(const struct csv_msg_handle *h, const char *mount, char *path, size_t size)
{
	struct dirent *e;
	char dir[64];
	DIR *d;

	path[0] = 0;
	snprintf(dir, sizeof(dir), "/proc/%u/fdinfo", h->pid);
	d = opendir(dir);
	if (!d)
		return;
	while ((e = readdir(d))) {
		if (e->d_name[0] != '.' && has_inode(dir, e->d_name, h->ino) &&
		    path_of(h->pid, e->d_name, mount, path, size))
			break;
		path[0] = 0;
	}
	closedir(d);
}
