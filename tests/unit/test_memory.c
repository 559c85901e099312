/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file by which a csvlockd tells the next one which nodes are expelled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "lockd/daemon/memory.h"

static char dir[64], path[128];
static struct csv_expelled got[CSV_NODES_MAX];

static int setup(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/csv-test-memory.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/expelled", dir);
	return 0;
}

static int teardown(void **state)
{
	unlink(path);
	return rmdir(dir);
}

static void test_comes_back(void **state)
{
	struct csv_expelled list[CSV_NODES_MAX];

	assert_int_equal(csv_memory_read(dir, "c", got), 0);
	for (unsigned i = 0; i < CSV_NODES_MAX; i++)
		list[i] = (struct csv_expelled){ .nodeid = UINT32_MAX - i, .over = i % 2, .id = UINT64_MAX - i };
	assert_int_equal(csv_memory_write(dir, "c", list, CSV_NODES_MAX), CSV_OK);
	assert_int_equal(csv_memory_read(dir, "c", got), CSV_NODES_MAX);
	for (unsigned i = 0; i < CSV_NODES_MAX; i++) {
		assert_int_equal(got[i].nodeid, list[i].nodeid);
		assert_int_equal(got[i].over, list[i].over);
		assert_true(got[i].id == list[i].id);
	}
	assert_int_equal(csv_memory_write(dir, "c", list, 1), CSV_OK);
	assert_int_equal(csv_memory_read(dir, "c", got), 1);
}

/* Node ids of another cluster are other nodes. */
static void test_of_another_cluster(void **state)
{
	struct csv_expelled e = { .nodeid = 3, .id = 7 };

	assert_int_equal(csv_memory_write(dir, "cluster", &e, 1), CSV_OK);
	assert_int_equal(csv_memory_read(dir, "clust", got), 0);
	assert_int_equal(csv_memory_read(dir, "cluster2", got), 0);
	assert_int_equal(csv_memory_read(dir, "cluster", got), 1);
}

static void test_nonsense(void **state)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs("csvfs expelled 1 c\nnode=0 id=1 over=0\nnode=x\n\nnode=2 id=ff over=1\nnode=3 id=", f);
	fclose(f);
	assert_int_equal(csv_memory_read(dir, "c", got), 1);
	assert_int_equal(got[0].nodeid, 2);
	assert_true(got[0].over);
	assert_true(got[0].id == 0xff);
}

/* What was there stays. */
static void test_cannot_be_written(void **state)
{
	struct csv_expelled e = { .nodeid = 3, .id = 7 };
	char fresh[160];

	assert_int_equal(csv_memory_write(dir, "c", &e, 1), CSV_OK);
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	assert_int_equal(symlink("/dev/full", fresh), 0);
	assert_int_not_equal(csv_memory_write(dir, "c", &e, 0), CSV_OK);
	unlink(fresh);
	assert_int_equal(csv_memory_read(dir, "c", got), 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_comes_back),
		T(test_of_another_cluster),
		T(test_nonsense),
		T(test_cannot_be_written),
	};

	return cmocka_run_group_tests_name("memory of expelled nodes", tests, NULL, NULL);
}
