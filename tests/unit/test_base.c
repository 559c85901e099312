/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Errors, CRC32C, clock and random numbers, log. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "csv/err.h"
#include "lib/crc32c.h"
#include "lib/env.h"
#include "lib/farewell.h"
#include "lib/log.h"
#include "lib/number.h"

static void test_err_list(void **state)
{
	assert_int_equal(CSV_OK, 0);
	assert_string_equal(csv_err_name(CSV_NOQUORUM), "noquorum");
	assert_string_equal(csv_err_name(CSV_OTHERCLUSTER), "othercluster");
	assert_string_equal(csv_err_text(CSV_FENCED), "fenced");
	assert_int_equal(csv_err_exit(CSV_KEPT), 10);
	assert_int_equal(csv_err_errno(CSV_LEASED), EBUSY);
	assert_string_equal(csv_err_name((enum csv_err)9999), "unknown");
	for (int e = 0; e < CSV_ERR_COUNT; e++) {
		assert_true(csv_err_text((enum csv_err)e)[0] != 0);
		assert_in_range(csv_err_exit((enum csv_err)e), 0, 10);
	}
	assert_int_equal(csv_err_from_errno(ENOENT), CSV_NOENT);
	assert_int_equal(csv_err_from_errno(EBUSY), CSV_BUSY);
	assert_int_equal(csv_err_from_errno(EXDEV), CSV_IO);
}

static void test_why_keeps_first(void **state)
{
	struct csv_why why;

	csv_why_init(&why);
	assert_int_equal(csv_fail_block(&why, CSV_CHECKSUM, 77, "block %d is torn", 77), CSV_CHECKSUM);
	assert_int_equal(csv_fail(&why, CSV_IO, "ask", "something else"), CSV_IO);
	assert_int_equal(why.err, CSV_CHECKSUM);
	assert_int_equal(why.block, 77);
	assert_string_equal(why.text, "block 77 is torn");
	assert_string_equal(why.hint, "");
	assert_int_equal(csv_fail(NULL, CSV_IO, NULL, "nobody asks"), CSV_IO);
}

/* RFC 3720 B.4; the RFC gives the digests as bytes on the wire, here as little-endian integers. */
static void test_crc_vectors(void **state)
{
	unsigned char buf[32];

	memset(buf, 0, sizeof(buf));
	assert_int_equal(csv_crc32c(0, buf, sizeof(buf)), 0x8a9136aau);
	memset(buf, 0xff, sizeof(buf));
	assert_int_equal(csv_crc32c(0, buf, sizeof(buf)), 0x62a8ab43u);
	for (int i = 0; i < 32; i++)
		buf[i] = (unsigned char)i;
	assert_int_equal(csv_crc32c(0, buf, sizeof(buf)), 0x46dd794eu);
	assert_int_equal(csv_crc32c(0, "123456789", 9), 0xe3069283u);
}

static void test_crc_pieces(void **state)
{
	unsigned char buf[1000];
	uint64_t rng = 1;

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (unsigned char)csv_rng_next(&rng);
	for (size_t cut = 0; cut <= sizeof(buf); cut += 37)
		assert_int_equal(csv_crc32c(csv_crc32c(0, buf, cut), buf + cut, sizeof(buf) - cut),
				 csv_crc32c(0, buf, sizeof(buf)));
	assert_int_equal(csv_crc32c(0, buf, 0), 0);
}

static void test_env(void **state)
{
	struct csv_env *env = csv_env_system();
	uint64_t a = env->mono_ns(env), b = env->mono_ns(env);
	uint64_t r[2] = { 0, 0 };
	int64_t sec;
	uint32_t nsec;

	assert_true(b >= a);
	env->wall(env, &sec, &nsec);
	assert_true(sec > 1600000000 && nsec < 1000000000);
	env->random(env, r, sizeof(r));
	assert_true(r[0] != r[1]);
}

static void test_log_ring(void **state)
{
	char path[] = "/tmp/csv-log-XXXXXX", text[65536];
	int fd = mkstemp(path);
	FILE *f;
	size_t n;

	assert_true(fd >= 0);
	close(fd);
	csv_log_open("unit", path, CSV_LOG_INFO);
	csv_info("seen by all");
	csv_debug("only in the\nring");
	csv_log_open("unit", NULL, CSV_LOG_ERROR);

	f = fopen(path, "r");
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = 0;
	fclose(f);
	assert_non_null(strstr(text, "INFO unit["));
	assert_non_null(strstr(text, "seen by all\n"));
	assert_null(strstr(text, "only in"));

	for (int i = 0; i < 4094; i++)
		csv_debug("line %d", i);
	f = fopen(path, "w+");
	csv_log_dump(f);
	rewind(f);
	assert_non_null(fgets(text, sizeof(text), f));
	assert_non_null(strstr(text, "seen by all"));
	assert_non_null(fgets(text, sizeof(text), f));
	assert_non_null(strstr(text, "only in the ring"));
	fclose(f);
	unlink(path);
}

static void test_number(void **state)
{
	static const char *const bad[] = { "", "x", "1x", "x1", " 1", "1 ", "+1", "-1", "0x10", "1.0", "4", "101" };
	uint64_t v = 7;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(csv_number(bad[i], 5, 100, &v));
	assert_false(csv_number("18446744073709551616", 0, UINT64_MAX, &v));
	assert_false(csv_number("99999999999999999999999", 0, UINT64_MAX, &v));
	assert_int_equal(v, 7);
	assert_true(csv_number("5", 5, 100, &v));
	assert_int_equal(v, 5);
	assert_true(csv_number("0100", 5, 100, &v));
	assert_int_equal(v, 100);
	assert_true(csv_number("18446744073709551615", 0, UINT64_MAX, &v));
	assert_true(v == UINT64_MAX);
}

/* A child that stops until it is told to go on, then says it, `again` times. */
static pid_t speaker(const struct csv_farewell *f, unsigned again)
{
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		raise(SIGSTOP);
		while (again-- > 0)
			csv_farewell_send(f);
		_exit(0);
	}
	waitpid(child, NULL, WUNTRACED);
	return child;
}

static void let_speak(pid_t child)
{
	kill(child, SIGCONT);
	waitpid(child, NULL, 0);
}

/* What a process says as it ends reaches who listens for it; nobody else's word is taken for it. */
static void test_farewell(void **state)
{
	struct csv_farewell said = { .err = CSV_IO, .slot = 3, .incarnation = 9, .volume = "v" }, heard;
	pid_t child = speaker(&said, 2);
	int fd = csv_farewell_listen(child);

	assert_true(fd >= 0);
	assert_int_equal(csv_farewell_listen(child), -1);
	assert_false(csv_farewell_read(fd, child, &heard));
	let_speak(child);
	assert_true(csv_farewell_read(fd, child, &heard));
	assert_memory_equal(&heard, &said, sizeof(said));
	assert_false(csv_farewell_read(fd, getpid(), &heard)); /* the second one, of another process */
	close(fd);
	let_speak(speaker(&said, 1)); /* nobody listens */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_err_list),    cmocka_unit_test(test_why_keeps_first),
		cmocka_unit_test(test_crc_vectors), cmocka_unit_test(test_crc_pieces),
		cmocka_unit_test(test_env),	    cmocka_unit_test(test_log_ring),
		cmocka_unit_test(test_number),	    cmocka_unit_test(test_farewell),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
