/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csv-dlm-space's table of locks over a DLM that does as the test says: what the real one does only at the wrong
 * moment.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "lockd/dlm/space.h"

/* What was asked of the DLM since the last look, "lock 1 res EX", and what it answers to the next. */
static char asked[512];
static int refuse[8];
static unsigned nrefuse;
/* What it has to say. */
static struct csv_dlm_device_event events[8];
static unsigned nevents;
/* An event was read and is not handled: a keeper would take what is in flight for its lock as answered. */
static bool unhandled;
/* What csvlockd was told, "done 1 0 EX". */
static char told[512];

static struct csv_dlm_space space;
static struct csv_dlm_flight *flight;

static int ask(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int ask(const char *fmt, ...)
{
	size_t n = strlen(asked);
	int err = nrefuse ? refuse[0] : 0;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(asked + n, sizeof(asked) - n, fmt, ap);
	va_end(ap);
	if (nrefuse)
		memmove(refuse, refuse + 1, --nrefuse * sizeof(refuse[0]));
	return err;
}

int csv_dlm_device_lock(struct csv_dlm_device *dev, uint64_t cookie, const char *name, enum csv_mode mode, bool noqueue,
			uint32_t *id)
{
	*id = (uint32_t)cookie + 100;
	return ask("lock %u %s %s%s\n", (unsigned)cookie, name, csv_mode_name(mode), noqueue ? " noqueue" : "");
}

int csv_dlm_device_convert(struct csv_dlm_device *dev, uint64_t cookie, uint32_t id, enum csv_mode mode)
{
	assert_int_equal(id, cookie + 100);
	assert_false(unhandled);
	return ask("convert %u %s\n", (unsigned)cookie, csv_mode_name(mode));
}

int csv_dlm_device_unlock(struct csv_dlm_device *dev, uint64_t cookie, uint32_t id)
{
	assert_int_equal(id, cookie + 100);
	assert_false(unhandled);
	return ask("unlock %u\n", (unsigned)cookie);
}

int csv_dlm_device_cancel(struct csv_dlm_device *dev, uint64_t cookie, uint32_t id)
{
	assert_int_equal(id, cookie + 100);
	return ask("cancel %u\n", (unsigned)cookie);
}

int csv_dlm_device_adopt(struct csv_dlm_device *dev, uint64_t cookie, const char *name, enum csv_mode mode,
			 uint32_t *id)
{
	*id = (uint32_t)cookie + 100;
	return ask("adopt %s %s\n", name, csv_mode_name(mode));
}

int csv_dlm_device_purge(struct csv_dlm_device *dev)
{
	return ask("purge\n");
}

int csv_dlm_device_next(struct csv_dlm_device *dev, struct csv_dlm_device_event *ev)
{
	csv_dlm_device_handled(dev);
	if (!nevents)
		return EAGAIN;
	unhandled = true;
	*ev = events[0];
	memmove(events, events + 1, --nevents * sizeof(events[0]));
	return 0;
}

void csv_dlm_device_handled(struct csv_dlm_device *dev)
{
	unhandled = false;
}

static void tell(const struct csv_dlm_res *res)
{
	size_t n = strlen(told);

	snprintf(told + n, sizeof(told) - n, "%s %u %s %s\n", res->event == CSV_DLM_BAST ? "bast" : "done",
		 (unsigned)res->cookie, res->status ? strerrorname_np((int)res->status) : "0",
		 csv_mode_name((enum csv_mode)res->mode));
}

static int setup(void **state)
{
	asked[0] = told[0] = 0;
	nevents = nrefuse = 0;
	flight = csv_dlm_flight_new();
	csv_dlm_space_init(&space, NULL, flight, tell);
	return flight ? 0 : -1;
}

static int teardown(void **state)
{
	csv_dlm_space_clear(&space);
	return 0;
}

/* One request of csvlockd. */
static int request(enum csv_dlm_op op, uint64_t cookie, const char *name, enum csv_mode mode)
{
	struct csv_dlm_req req = { .op = op, .cookie = cookie, .mode = mode };
	const char *what;

	strcpy(req.name, name);
	return csv_dlm_space_request(&space, &req, &what);
}

/* One event of the DLM. */
static int happens(enum csv_dlm_what what, uint64_t cookie, int error)
{
	const char *text;

	events[nevents++] = (struct csv_dlm_device_event){ .what = what, .cookie = cookie, .error = error };
	return csv_dlm_space_events(&space, &text);
}

static void wants(uint64_t cookie, enum csv_mode mode)
{
	const char *text;

	events[nevents++] = (struct csv_dlm_device_event){ .what = CSV_DLM_BLOCKS, .cookie = cookie, .mode = mode };
	assert_int_equal(csv_dlm_space_events(&space, &text), 0);
}

static void retry(void)
{
	const char *what;

	assert_int_equal(csv_dlm_space_retry(&space, &what), 0);
}

/* This and no more was asked of the DLM, and told to csvlockd. */
static void expect(const char *of_dlm, const char *to_lockd)
{
	assert_string_equal(asked, of_dlm);
	assert_string_equal(told, to_lockd);
	asked[0] = told[0] = 0;
}

static void have(uint64_t cookie, const char *name, enum csv_mode mode)
{
	assert_int_equal(request(CSV_DLM_LOCK, cookie, name, mode), 0);
	assert_int_equal(happens(CSV_DLM_GRANTED, cookie, 0), 0); /* the request */
	assert_int_equal(happens(CSV_DLM_GRANTED, cookie, 0), 0); /* it lasts */
	asked[0] = told[0] = 0;
}

/* A lock lasts before csvlockd hears of it, and is told without waiting for the DLM's word. */
static void test_lock_lasts(void **state)
{
	request(CSV_DLM_LOCK, 1, "res", CSV_EX);
	expect("lock 1 res EX\n", "");
	assert_int_equal(happens(CSV_DLM_GRANTED, 1, 0), 0);
	expect("convert 1 EX\n", "done 1 0 EX\n");
	/* What csvlockd asks meanwhile has its turn after that word. */
	request(CSV_DLM_CONVERT, 1, "", CSV_PR);
	expect("", "");
	happens(CSV_DLM_GRANTED, 1, 0);
	expect("convert 1 PR\n", "");
	happens(CSV_DLM_GRANTED, 1, 0);
	expect("", "done 1 0 PR\n");
	request(CSV_DLM_UNLOCK, 1, "", CSV_NL);
	happens(CSV_DLM_UNLOCKED, 1, 0);
	expect("unlock 1\n", "done 1 0 NL\n");
	assert_int_equal(request(CSV_DLM_LOCK, 1, "res", CSV_EX), 0); /* the cookie is free */
}

static void test_refused(void **state)
{
	request(CSV_DLM_LOCK, 1, "res", CSV_EX);
	happens(CSV_DLM_REFUSED, 1, EAGAIN);
	expect("lock 1 res EX\n", "done 1 EAGAIN NL\n");
	request(CSV_DLM_LOCK, 1, "res", CSV_EX);
	request(CSV_DLM_CANCEL, 1, "", CSV_NL);
	happens(CSV_DLM_REFUSED, 1, ECANCELED);
	expect("lock 1 res EX\ncancel 1\n", "done 1 ECANCELED NL\n");
	request(CSV_DLM_CANCEL, 1, "", CSV_NL);
	expect("", "");
}

/* A cancel that came too late keeps the DLM from doing anything with the lock until its reply, of which nothing is
 * heard. */
static void test_cancel_too_late(void **state)
{
	request(CSV_DLM_LOCK, 1, "res", CSV_EX);
	request(CSV_DLM_CANCEL, 1, "", CSV_NL);
	expect("lock 1 res EX\ncancel 1\n", "");
	refuse[nrefuse++] = EBUSY;
	refuse[nrefuse++] = EBUSY;
	happens(CSV_DLM_GRANTED, 1, 0);
	expect("convert 1 EX\n", ""); /* it would not last yet, so nobody may have it */
	assert_true(csv_dlm_space_is_busy(&space));
	request(CSV_DLM_CANCEL, 1, "", CSV_NL);
	retry();
	expect("convert 1 EX\n", "");
	retry();
	expect("convert 1 EX\n", "done 1 0 EX\n");
	assert_false(csv_dlm_space_is_busy(&space));
}

/* The master of the lock died before it could say that the cancel was too late: the DLM says "cancelled" of a held
 * lock. */
static void test_cancelled_but_held(void **state)
{
	request(CSV_DLM_LOCK, 1, "res", CSV_EX);
	request(CSV_DLM_CANCEL, 1, "", CSV_NL);
	happens(CSV_DLM_GRANTED, 1, 0);
	expect("lock 1 res EX\ncancel 1\nconvert 1 EX\n", "done 1 0 EX\n");
	assert_int_equal(happens(CSV_DLM_REFUSED, 1, ECANCELED), 0);
	assert_int_equal(happens(CSV_DLM_GRANTED, 1, 0), 0);
	assert_int_equal(happens(CSV_DLM_REFUSED, 1, ECANCELED), 0);
	expect("", "");
	request(CSV_DLM_UNLOCK, 1, "", CSV_NL);
	assert_int_equal(happens(CSV_DLM_REFUSED, 1, ECANCELED), 0);
	expect("unlock 1\n", "");
	happens(CSV_DLM_UNLOCKED, 1, 0);
	expect("", "done 1 0 NL\n");
}

static void test_busy_locks_wait_for_themselves_only(void **state)
{
	have(1, "a", CSV_EX);
	have(2, "b", CSV_EX);
	have(3, "c", CSV_EX);
	refuse[nrefuse++] = EBUSY;
	refuse[nrefuse++] = EBUSY;
	request(CSV_DLM_UNLOCK, 1, "", CSV_NL);
	request(CSV_DLM_CONVERT, 2, "", CSV_PR);
	request(CSV_DLM_UNLOCK, 3, "", CSV_NL);
	expect("unlock 1\nconvert 2 PR\nunlock 3\n", "");
	refuse[nrefuse++] = EBUSY;
	retry();
	expect("unlock 1\nconvert 2 PR\n", "");
	retry();
	expect("unlock 1\n", "");
	happens(CSV_DLM_UNLOCKED, 1, 0);
	happens(CSV_DLM_GRANTED, 2, 0);
	expect("", "done 1 0 NL\ndone 2 0 PR\n");
	assert_false(csv_dlm_space_is_busy(&space));
}

static void test_adopt(void **state)
{
	request(CSV_DLM_ADOPT, 1, "res", CSV_PR);
	expect("adopt res PR\n", "done 1 0 PR\n");
	refuse[nrefuse++] = EAGAIN;
	refuse[nrefuse++] = EAGAIN;
	refuse[nrefuse++] = EAGAIN;
	request(CSV_DLM_ADOPT, 2, "res", CSV_NL);
	expect("adopt res NL\nadopt res EX\nadopt res PW\nadopt res PR\n", "done 2 0 PR\n");
	refuse[nrefuse++] = ENOENT;
	request(CSV_DLM_ADOPT, 3, "res", CSV_EX);
	expect("adopt res EX\n", "done 3 ENOENT NL\n");
	assert_int_equal(request(CSV_DLM_LOCK, 3, "res", CSV_EX), 0);
	asked[0] = 0;
	/* An orphan that is in no mode at all. */
	for (nrefuse = 0; nrefuse < 7; nrefuse++)
		refuse[nrefuse] = EAGAIN;
	request(CSV_DLM_ADOPT, 4, "res", CSV_EX);
	assert_string_equal(told, "done 4 ENOENT NL\n");
	/* What was on its way for the dead one is not an answer to anything. */
	asked[0] = told[0] = 0;
	assert_int_equal(happens(CSV_DLM_GRANTED, 1, 0), 0);
	request(CSV_DLM_UNLOCK, 1, "", CSV_NL);
	assert_int_equal(happens(CSV_DLM_GRANTED, 1, 0), 0);
	expect("unlock 1\n", "");
	happens(CSV_DLM_UNLOCKED, 1, 0);
	expect("", "done 1 0 NL\n");
}

static void test_blocking(void **state)
{
	request(CSV_DLM_LOCK, 1, "res", CSV_EX);
	asked[0] = 0;
	wants(1, CSV_PR); /* may come before the grant */
	expect("", "bast 1 0 PR\n");
	happens(CSV_DLM_GRANTED, 1, 0);
	asked[0] = told[0] = 0;
	wants(1, CSV_PR); /* again, because the lock was made last */
	expect("", "");
	wants(1, CSV_EX);
	expect("", "bast 1 0 EX\n");
	happens(CSV_DLM_GRANTED, 1, 0);
	request(CSV_DLM_CONVERT, 1, "", CSV_PR);
	happens(CSV_DLM_GRANTED, 1, 0);
	asked[0] = told[0] = 0;
	wants(1, CSV_EX); /* anew, in the new mode */
	expect("", "bast 1 0 EX\n");
	wants(9, CSV_EX); /* of a lock that is gone */
	expect("", "");
}

/* It is known what the DLM has yet to say something of. */
static void test_flight(void **state)
{
	request(CSV_DLM_LOCK, 1, "a", CSV_EX); /* while it waits it goes with the process */
	assert_true(csv_dlm_flight_none(flight));
	refuse[nrefuse++] = EBUSY;
	happens(CSV_DLM_GRANTED, 1, 0);
	assert_true(csv_dlm_flight_none(flight));
	retry();
	assert_false(csv_dlm_flight_none(flight));
	have(2, "b", CSV_EX);
	request(CSV_DLM_UNLOCK, 2, "", CSV_NL);
	csv_dlm_flight_heard(flight, 1);
	assert_false(csv_dlm_flight_none(flight));
	happens(CSV_DLM_UNLOCKED, 2, 0);
	assert_true(csv_dlm_flight_none(flight));
	happens(CSV_DLM_GRANTED, 1, 0);
	request(CSV_DLM_CONVERT, 1, "", CSV_PR);
	assert_false(csv_dlm_flight_none(flight));
	happens(CSV_DLM_GRANTED, 1, 0);
	assert_true(csv_dlm_flight_none(flight));
}

/* When there is no place for more, the rest is put off. */
static void test_flight_is_full(void **state)
{
	for (uint64_t other = 2; other < CSV_DLM_FLIGHT_MAX + 2; other++)
		assert_true(csv_dlm_flight_begin(flight, other) >= 0);
	request(CSV_DLM_LOCK, 1, "a", CSV_EX);
	happens(CSV_DLM_GRANTED, 1, 0);
	retry();
	expect("lock 1 a EX\n", "");
	csv_dlm_flight_heard(flight, 77);
	retry();
	expect("convert 1 EX\n", "done 1 0 EX\n");
}

static void test_wrong_requests(void **state)
{
	static const char long_name[] = "0123456789012345678901234567890";
	struct csv_dlm_req req = { .op = CSV_DLM_LOCK, .cookie = 9, .mode = CSV_EX };
	const char *what;

	have(1, "res", CSV_EX);
	assert_int_equal(request(CSV_DLM_LOCK, 1, "other", CSV_EX), EPROTO);
	assert_int_equal(request(CSV_DLM_ADOPT, 1, "other", CSV_EX), EPROTO);
	assert_int_equal(request(CSV_DLM_LOCK, 0, "other", CSV_EX), EPROTO);
	assert_int_equal(request(CSV_DLM_LOCK, 2, "", CSV_EX), EPROTO);
	assert_int_equal(request(CSV_DLM_LOCK, 2, "other", 6), EPROTO);
	assert_int_equal(request(CSV_DLM_CONVERT, 1, "", 6), EPROTO);
	assert_int_equal(request(CSV_DLM_CONVERT, 2, "", CSV_NL), EPROTO);
	assert_int_equal(request(CSV_DLM_UNLOCK, 2, "", CSV_NL), EPROTO);
	assert_int_equal(request(0, 1, "", CSV_NL), EPROTO);
	assert_int_equal(request(CSV_DLM_LEAVE + 1, 1, "", CSV_NL), EPROTO);
	memset(req.name, 'x', sizeof(req.name)); /* no end */
	assert_int_equal(csv_dlm_space_request(&space, &req, &what), EPROTO);
	expect("", "");
	request(CSV_DLM_UNLOCK, 1, "", CSV_NL);
	assert_int_equal(request(CSV_DLM_UNLOCK, 1, "", CSV_NL), EPROTO); /* before the answer */
	assert_int_equal(request(CSV_DLM_LOCK, 2, long_name, CSV_EX), 0);
}

static void test_troubles_of_the_dlm(void **state)
{
	have(1, "res", CSV_EX);
	refuse[nrefuse++] = ENOMEM;
	assert_int_equal(request(CSV_DLM_LOCK, 2, "res", CSV_EX), ENOMEM);
	assert_int_equal(happens(CSV_DLM_UNLOCKED, 1, 0), EPROTO); /* that nobody asked for: the lock is lost */
	request(CSV_DLM_CONVERT, 1, "", CSV_PR);
	assert_int_equal(happens(CSV_DLM_REFUSED, 1, EDEADLK), EDEADLK);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_lock_lasts),
		TEST(test_refused),
		TEST(test_cancel_too_late),
		TEST(test_cancelled_but_held),
		TEST(test_busy_locks_wait_for_themselves_only),
		TEST(test_adopt),
		TEST(test_blocking),
		TEST(test_flight),
		TEST(test_flight_is_full),
		TEST(test_wrong_requests),
		TEST(test_troubles_of_the_dlm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
