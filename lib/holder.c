/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who holds a file or device?  For the reason of CSV_BUSY only: looked up after
 * the fact in /proc and /sys, best effort, and empty where it cannot be seen.
 */
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/bdev_impl.h"

static void process_name(const char *pid, char *buf, size_t size)
{
	char path[64], comm[32] = "?";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%.16s/comm", pid);
	f = fopen(path, "re");
	if (f) {
		if (!fgets(comm, sizeof(comm), f))
			comm[0] = 0;
		fclose(f);
	}
	comm[strcspn(comm, "\n")] = 0;
	snprintf(buf, size, "process %.16s (%s)", pid, comm);
}

/* True if the open file described in `path` (proc(5), fdinfo) holds an OFD lock on the inode `id` ("MAJ:MIN:INO"). */
static bool fdinfo_has_lock(const char *path, const char *id)
{
	char line[256];
	bool found = false;
	FILE *f = fopen(path, "re");

	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f))
		found = strncmp(line, "lock:", 5) == 0 && strstr(line, "OFDLCK") && strstr(line, id);
	fclose(f);
	return found;
}

static bool process_has_lock(const char *pid, const char *id)
{
	char path[300];
	struct dirent *d;
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%.16s/fdinfo", pid);
	dir = opendir(path);
	if (!dir)
		return false;
	while (!found && (d = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%.16s/fdinfo/%s", pid, d->d_name);
		found = isdigit((unsigned char)d->d_name[0]) && fdinfo_has_lock(path, id);
	}
	closedir(dir);
	return found;
}

void csv_holder_of_file(int fd, char *buf, size_t size)
{
	struct dirent *d;
	struct stat st;
	char id[64];
	DIR *dir;

	buf[0] = 0;
	dir = opendir("/proc");
	if (!dir)
		return;
	if (fstat(fd, &st) == 0) {
		snprintf(id, sizeof(id), " %02x:%02x:%lu ", major(st.st_dev), minor(st.st_dev),
			 (unsigned long)st.st_ino);
		while (!buf[0] && (d = readdir(dir)))
			if (isdigit((unsigned char)d->d_name[0]) && process_has_lock(d->d_name, id))
				process_name(d->d_name, buf, size);
	}
	closedir(dir);
}

static void mount_of(dev_t rdev, char *buf, size_t size)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[1024], where[64];
	unsigned maj, min;

	if (!f)
		return;
	while (!buf[0] && fgets(line, sizeof(line), f))
		if (sscanf(line, "%*s %*s %u:%u %*s %63s", &maj, &min, where) == 3 && makedev(maj, min) == rdev)
			snprintf(buf, size, "the mount on %s", where);
	fclose(f);
}

/* Device mapper, md and the like show up as holders (sysfs). */
static void stacked_on(dev_t rdev, char *buf, size_t size)
{
	char path[64];
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/holders", major(rdev), minor(rdev));
	dir = opendir(path);
	if (!dir)
		return;
	while (!buf[0] && (d = readdir(dir)))
		if (d->d_name[0] != '.')
			snprintf(buf, size, "the device %.60s", d->d_name);
	closedir(dir);
}

/* An O_EXCL opener leaves no mark; any other process with the device open is named as what it is. */
static void opener_of(dev_t rdev, char *buf, size_t size)
{
	struct dirent *p, *d;
	DIR *proc = opendir("/proc"), *dir;
	char path[300];
	struct stat st;

	if (!proc)
		return;
	while (!buf[0] && (p = readdir(proc))) {
		if (!isdigit((unsigned char)p->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%.16s/fd", p->d_name);
		dir = opendir(path);
		while (dir && !buf[0] && (d = readdir(dir)))
			if (fstatat(dirfd(dir), d->d_name, &st, 0) == 0 && S_ISBLK(st.st_mode) && st.st_rdev == rdev)
				process_name(p->d_name, buf, size);
		if (dir)
			closedir(dir);
	}
	closedir(proc);
}

void csv_holder_of_device(const char *path, char *buf, size_t size)
{
	struct stat st;

	buf[0] = 0;
	if (stat(path, &st))
		return;
	mount_of(st.st_rdev, buf, size);
	if (!buf[0])
		stacked_on(st.st_rdev, buf, size);
	if (!buf[0])
		opener_of(st.st_rdev, buf, size);
}
