/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file that remembers a mount: as it was written, or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/mountfile.h"

static char run[] = "/tmp/csv-mountfile-XXXXXX";

static struct csv_mountfile example(const char *dir)
{
	struct csv_mountfile f = { .slot = 3, .incarnation = 9, .pid = getpid(), .start = csv_process_start(getpid()) };

	strcpy(f.lun, "iscsi://10.0.0.1,10.0.0.2/iqn.2025-01.x:y/1?chap=a b=c");
	snprintf(f.dir, sizeof(f.dir), "%s", dir);
	strcpy(f.opts, "lock=cpg,node=n1");
	strcpy(f.volume, "vol1");
	for (unsigned i = 0; i < 16; i++)
		f.uuid[i] = (uint8_t)(i * 17);
	return f;
}

static void only_file(char *path, size_t size, const char *mode)
{
	char cmd[256];
	FILE *p;

	snprintf(cmd, sizeof(cmd), "ls %s/mounts/*", run);
	p = popen(cmd, "r");
	assert_non_null(fgets(path, (int)size, p));
	pclose(p);
	path[strcspn(path, "\n")] = 0;
	if (mode)
		assert_int_equal(chmod(path, (mode_t)strtol(mode, NULL, 8)), 0);
}

static void count(void *arg, const struct csv_mountfile *f)
{
	(*(unsigned *)arg)++;
}

static unsigned files(void)
{
	unsigned n = 0;

	csv_mountfile_each(run, count, &n);
	return n;
}

static void test_round_trip(void **state)
{
	struct csv_mountfile f = example("/run/csv/a dir=x"), g;

	assert_int_equal(csv_mountfile_read(run, f.dir, &g), CSV_NOENT);
	assert_int_equal(csv_mountfile_write(run, &f), CSV_OK);
	memset(&g, 0xff, sizeof(g));
	assert_int_equal(csv_mountfile_read(run, f.dir, &g), CSV_OK);
	assert_memory_equal(&f, &g, sizeof(f));
	assert_true(csv_mountfile_served(&g));
	f.slot = 4;
	assert_int_equal(csv_mountfile_write(run, &f), CSV_OK);
	assert_int_equal(csv_mountfile_read(run, f.dir, &g), CSV_OK);
	assert_int_equal(g.slot, 4);
	assert_int_equal(files(), 1);
	csv_mountfile_remove(run, f.dir);
	assert_int_equal(csv_mountfile_read(run, f.dir, &g), CSV_NOENT);
	assert_int_equal(files(), 0);
}

/* A process that has ended, and another that has got its number. */
static void test_served(void **state)
{
	struct csv_mountfile f = example("/mnt");
	int hold[2];

	f.start++;
	assert_false(csv_mountfile_served(&f));
	assert_int_equal(pipe(hold), 0);
	f.pid = fork();
	if (f.pid == 0) {
		char c;

		close(hold[1]);
		_exit(read(hold[0], &c, 1) != 0);
	}
	f.start = csv_process_start(f.pid);
	assert_true(csv_mountfile_served(&f));
	close(hold[1]);
	assert_int_equal(waitpid(f.pid, NULL, 0), f.pid);
	assert_false(csv_mountfile_served(&f));
	close(hold[0]);
}

static void test_refused(void **state)
{
	struct csv_mountfile f = example("/mnt"), g;
	char path[256];

	strcpy(f.opts, "a\npid=1");
	assert_int_equal(csv_mountfile_write(run, &f), CSV_INVAL);
	f = example("/mnt");
	assert_int_equal(csv_mountfile_write(run, &f), CSV_OK);
	only_file(path, sizeof(path), "0622");
	assert_int_equal(csv_mountfile_read(run, "/mnt", &g), CSV_ACCESS);
	assert_int_equal(files(), 0);
	only_file(path, sizeof(path), "0600");
	assert_int_equal(csv_mountfile_read(run, "/mnt", &g), CSV_OK);
	assert_int_equal(truncate(path, 30), 0);
	assert_int_equal(csv_mountfile_read(run, "/mnt", &g), CSV_INVAL);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(csv_mountfile_read(run, "/mnt", &g), CSV_INVAL);
	csv_mountfile_remove(run, "/mnt");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_served),
		cmocka_unit_test(test_refused),
	};
	char mounts[64];
	int failed;

	if (!mkdtemp(run))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(mounts, sizeof(mounts), "%s/mounts", run);
	rmdir(mounts);
	rmdir(run);
	return failed;
}
