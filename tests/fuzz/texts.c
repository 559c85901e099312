/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What people write: csvfs.conf, names of LUNs, mount options, figures, and the notes of mounts in RUN_DIR/mounts. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/opts.h"
#include "lib/iscsi_impl.h"
#include "lib/mountfile.h"
#include "lib/number.h"
#include "lockd/daemon/daemon.h"
#include "tests/fuzz/fuzz.h"
#include "tools/csvadm.h"

enum { AS_CONF, AS_LUN, AS_OPTIONS, AS_FIGURES, AS_MOUNTFILE, FORMS };

static void conf(const uint8_t *data, size_t len)
{
	static struct csv_daemon_conf c;
	struct csv_why why;
	char path[64];
	int fd = memfd_create("csv-fuzz-conf", MFD_CLOEXEC);

	CSV_ASSERT(fd >= 0 && write(fd, data, len) == (ssize_t)len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	csv_why_init(&why);
	if (csv_conf_load(&c, path, &why) == CSV_OK) {
		CSV_ASSERT(c.reattach_ms <= CSV_REATTACH_MAX_MS && c.evict_ms <= CSV_EVICT_MAX_MS);
		CSV_ASSERT(memchr(c.node, 0, sizeof(c.node)));
	} else {
		CSV_ASSERT(*why.text);
	}
	close(fd);
}

static void lun(char *text)
{
	struct iscsi_lun_name name;
	struct csv_why why;

	csv_why_init(&why);
	if (csv_iscsi_parse(text, &name, &why) == CSV_OK)
		CSV_ASSERT(name.nportals > 0 && memchr(name.target, 0, sizeof(name.target)) && !strchr(name.chap, '/'));
	else
		CSV_ASSERT(*why.text);
}

static void options(char *text)
{
	static struct csv_mount_opts o;
	char csvfs[] = "csvfs", lun_name[] = "lun", dir[] = "/", dash[] = "-o";
	char *argv[] = { csvfs, lun_name, dir, dash, text, NULL };
	struct csv_why why;

	csv_why_init(&why);
	memset(&o, 0, sizeof(o));
	if (csv_opts_parse(5, argv, &o, &why) != CSV_OK)
		CSV_ASSERT(*why.text);
}

static void figures(const char *text)
{
	uint64_t v;

	if (csv_number(text, 3, 1000, &v))
		CSV_ASSERT(v >= 3 && v <= 1000);
	if (csv_parse_size(text, &v))
		CSV_ASSERT(v <= 1ull << 63);
	csv_name_ok(text, 63);
}

static void on_mount(void *arg, const struct csv_mountfile *f)
{
	CSV_ASSERT(f->dir[0] == '/' && memchr(f->opts, 0, sizeof(f->opts)));
}

static void mountfile(const uint8_t *data, size_t len)
{
	char dir[] = "/tmp/csv-fuzz-XXXXXX", mounts[64], path[96];
	int fd;

	CSV_ASSERT(mkdtemp(dir));
	snprintf(mounts, sizeof(mounts), "%s/mounts", dir);
	snprintf(path, sizeof(path), "%s/0123456789abcdef", mounts);
	CSV_ASSERT(!mkdir(mounts, 0700));
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CSV_ASSERT(fd >= 0 && write(fd, data, len) == (ssize_t)len);
	close(fd);
	csv_mountfile_each(dir, on_mount, NULL);
	unlink(path);
	rmdir(mounts);
	rmdir(dir);
}

static void run(const uint8_t *data, size_t len)
{
	char text[FUZZ_MAX + 1];
	unsigned form = len ? data[0] % FORMS : AS_FIGURES;

	if (!len || len > FUZZ_MAX)
		return;
	memcpy(text, data + 1, len - 1);
	text[len - 1] = 0;
	switch (form) {
	case AS_CONF:
		conf(data + 1, len - 1);
		break;
	case AS_LUN:
		lun(text);
		break;
	case AS_OPTIONS:
		options(text);
		break;
	case AS_FIGURES:
		figures(text);
		break;
	case AS_MOUNTFILE:
		mountfile(data + 1, len - 1);
		break;
	}
}

static size_t seed(unsigned i, uint8_t *data)
{
	static const struct {
		uint8_t form;
		const char *text;
	} seeds[] = {
		{ AS_CONF, "[node]\nname = n1\ngroup = root\n[timeouts]\nwatchdog_ms = 2000\nevict_ms=5000\n# no\n" },
		{ AS_CONF, "[timeouts]\nreattach_ms = 60000 ; much\n[migration]\naddress=10.0.0.1\n" },
		{ AS_LUN, "iscsi://10.77.1.200:3260,host2/iqn.2026-01.org.example:lun/1?chap=name" },
		{ AS_LUN, "iscsi://[fe80::1]:3260/iqn.2026-01.org.example:lun/1" },
		{ AS_OPTIONS, "lock=local,ro,node=n1,path_timeout=120,takeover,log=/tmp/log,run_dir=/run/csvfs" },
		{ AS_FIGURES, "512G" },
		{ AS_FIGURES, "999" },
		{ AS_MOUNTFILE, "lun=/dev/sda\ndir=/mnt\nopts=lock=local\nvolume=vol1\n" },
	};

	if (i >= sizeof(seeds) / sizeof(seeds[0]))
		return 0;
	data[0] = seeds[i].form;
	memcpy(data + 1, seeds[i].text, strlen(seeds[i].text));
	return 1 + strlen(seeds[i].text);
}

const struct fuzz_target fuzz_texts = { "texts", run, seed };
