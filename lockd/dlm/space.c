/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lockd/dlm/space.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * WAITS, GRANTED, LASTS, HELD; then CHANGES and HELD again, or the end.  In all of them but HELD one thing is on its
 * way in the kernel, or (GRANTED) is refused by it for the moment.
 */
enum state {
	WAITS,	 /* the request is in the kernel */
	GRANTED, /* it is to outlive this process before csvlockd hears of it */
	LASTS,	 /* it does, and csvlockd has been told; the kernel has yet to say so */
	HELD,
	CHANGES, /* what csvlockd asked for is in the kernel */
};

struct space_lock {
	struct csv_omap_node node;
	struct csv_list busy;
	uint64_t cookie;
	uint32_t id; /* the kernel's */
	enum state state;
	int flight;	       /* LASTS, CHANGES: its place there; else -1 */
	enum csv_dlm_op asked; /* LOCK, CONVERT or UNLOCK without an answer yet; 0: none */
	enum csv_mode mode;    /* what is asked for, else held */
	enum csv_mode told;    /* in which csvlockd knows it to be wanted since the mode changed; NL: it does not */
};

static int compare(const void *key, const struct csv_omap_node *n)
{
	uint64_t a = *(const uint64_t *)key, b = csv_omap_entry(n, struct space_lock, node)->cookie;

	return a < b ? -1 : a > b;
}

void csv_dlm_space_init(struct csv_dlm_space *s, struct csv_dlm_device *dev, struct csv_dlm_flight *flight,
			void (*answer)(const struct csv_dlm_res *res))
{
	s->dev = dev;
	s->flight = flight;
	s->answer = answer;
	csv_omap_init(&s->locks, compare);
	csv_list_init(&s->busy);
}

static struct space_lock *find(struct csv_dlm_space *s, uint64_t cookie)
{
	struct csv_omap_node *n = csv_omap_find(&s->locks, &cookie);

	return n ? csv_omap_entry(n, struct space_lock, node) : NULL;
}

static struct space_lock *add(struct csv_dlm_space *s, uint64_t cookie)
{
	struct space_lock *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->cookie = cookie;
	l->flight = -1;
	csv_list_init(&l->busy);
	csv_omap_insert(&s->locks, &cookie, &l->node);
	return l;
}

static void drop(struct csv_dlm_space *s, struct space_lock *l)
{
	csv_dlm_flight_end(s->flight, l->flight);
	csv_list_del(&l->busy);
	csv_omap_del(&s->locks, &l->node);
	free(l);
}

void csv_dlm_space_clear(struct csv_dlm_space *s)
{
	struct csv_omap_node *n;

	while ((n = csv_omap_first(&s->locks)))
		drop(s, csv_omap_entry(n, struct space_lock, node));
}

static void done(struct csv_dlm_space *s, uint64_t cookie, int status, enum csv_mode mode)
{
	struct csv_dlm_res res = { .event = CSV_DLM_DONE, .cookie = cookie, .status = (uint32_t)status, .mode = mode };

	s->answer(&res);
}

static void answer_asked(struct csv_dlm_space *s, struct space_lock *l, int status)
{
	l->asked = 0;
	done(s, l->cookie, status, status ? CSV_NL : l->mode);
}

/* What was on its way is heard of. */
static void land(struct csv_dlm_space *s, struct space_lock *l)
{
	csv_dlm_flight_end(s->flight, l->flight);
	l->flight = -1;
	l->state = HELD;
}

/* GRANTED: the conversion to the mode it has makes it last. */
static int ask_kernel(struct csv_dlm_space *s, struct space_lock *l, const char **what)
{
	if (l->state == GRANTED)
		*what = "make a lock last";
	else
		*what = l->asked == CSV_DLM_CONVERT ? "convert" : "unlock";
	if (l->state == GRANTED || l->asked == CSV_DLM_CONVERT)
		return csv_dlm_device_convert(s->dev, l->cookie, l->id, l->mode);
	return csv_dlm_device_unlock(s->dev, l->cookie, l->id);
}

static void asked_kernel(struct csv_dlm_space *s, struct space_lock *l)
{
	if (l->state == GRANTED) {
		l->state = LASTS;
		answer_asked(s, l, 0);
		return;
	}
	l->state = CHANGES;
	l->told = CSV_NL;
}

/*
 * The next step of a lock that is GRANTED, or HELD and asked to change.  The kernel refuses it while a cancel that came
 * too late has no reply yet, of which nothing is heard: so it is tried again.
 */
static int submit(struct csv_dlm_space *s, struct space_lock *l, const char **what)
{
	int err = EBUSY;

	csv_list_del(&l->busy);
	csv_dlm_device_handled(s->dev);
	l->flight = csv_dlm_flight_begin(s->flight, l->cookie);
	if (l->flight >= 0)
		err = ask_kernel(s, l, what);
	if (!err) {
		asked_kernel(s, l);
		return 0;
	}
	csv_dlm_flight_end(s->flight, l->flight);
	l->flight = -1;
	if (err != EBUSY)
		return err;
	csv_list_push_back(&s->busy, &l->busy);
	return 0;
}

static int lock(struct csv_dlm_space *s, const struct csv_dlm_req *req, const char **what)
{
	struct space_lock *l = add(s, req->cookie);

	*what = "lock";
	if (!l)
		return ENOMEM;
	l->state = WAITS;
	l->asked = CSV_DLM_LOCK;
	l->mode = req->mode;
	return csv_dlm_device_lock(s->dev, l->cookie, req->name, l->mode, req->noqueue, &l->id);
}

static int change(struct csv_dlm_space *s, const struct csv_dlm_req *req, const char **what)
{
	struct space_lock *l = find(s, req->cookie);

	l->asked = req->op;
	l->mode = req->op == CSV_DLM_CONVERT ? req->mode : CSV_NL;
	return l->state == HELD ? submit(s, l, what) : 0;
}

/*
 * The answer is that of the LOCK.  One that is answered already is left alone: its cancel was sent before the answer
 * was read, and the kernel must not get it, for it might meet what is asked of the lock next.
 */
static int cancel(struct csv_dlm_space *s, const struct csv_dlm_req *req, const char **what)
{
	struct space_lock *l = find(s, req->cookie);
	int err;

	if (!l || l->state != WAITS)
		return 0;
	*what = "cancel";
	err = csv_dlm_device_cancel(s->dev, l->cookie, l->id);
	/* ENOENT: it has ended; EINVAL: it is being cancelled. Both have an event on its way. */
	return err == ENOENT || err == EINVAL ? 0 : err;
}

/* The kernel finds an orphan by its exact mode only. */
static int adopt(struct csv_dlm_space *s, const struct csv_dlm_req *req, const char **what)
{
	int mode = (int)req->mode, next = CSV_EX, err;
	struct space_lock *l = add(s, req->cookie);

	*what = "adopt";
	if (!l)
		return ENOMEM;
	for (;;) {
		err = csv_dlm_device_adopt(s->dev, l->cookie, req->name, (enum csv_mode)mode, &l->id);
		if (err != EAGAIN)
			break;
		/* All modes in vain: a request that was never granted and is being cancelled, thus no lock. */
		if (next < CSV_NL) {
			err = ENOENT;
			break;
		}
		mode = next--;
	}
	if (err && err != ENOENT)
		return err;
	l->state = HELD;
	l->mode = (enum csv_mode)mode;
	done(s, l->cookie, err, err ? CSV_NL : l->mode);
	if (err)
		drop(s, l);
	return 0;
}

static int purge(struct csv_dlm_space *s, const struct csv_dlm_req *req, const char **what)
{
	int err = csv_dlm_device_purge(s->dev);

	*what = "purge";
	if (!err)
		done(s, req->cookie, 0, CSV_NL);
	return err;
}

static bool name_fits(const struct csv_dlm_req *req)
{
	return req->name[0] && memchr(req->name, 0, sizeof(req->name));
}

/* Whether csvlockd may ask this now. */
static bool fits(struct csv_dlm_space *s, const struct csv_dlm_req *req)
{
	const struct space_lock *l = find(s, req->cookie);

	switch ((enum csv_dlm_op)req->op) {
	case CSV_DLM_LOCK:
	case CSV_DLM_ADOPT:
		return req->cookie && !l && req->mode <= CSV_EX && name_fits(req);
	case CSV_DLM_CONVERT:
		return l && !l->asked && req->mode <= CSV_EX;
	case CSV_DLM_UNLOCK:
		return l && !l->asked;
	case CSV_DLM_CANCEL:
		return req->cookie;
	case CSV_DLM_PURGE:
		return true;
	case CSV_DLM_LEAVE:
		break;
	}
	return false;
}

int csv_dlm_space_request(struct csv_dlm_space *s, const struct csv_dlm_req *req, const char **what)
{
	*what = "request";
	if (!fits(s, req))
		return EPROTO;
	switch ((enum csv_dlm_op)req->op) {
	case CSV_DLM_LOCK:
		return lock(s, req, what);
	case CSV_DLM_CONVERT:
	case CSV_DLM_UNLOCK:
		return change(s, req, what);
	case CSV_DLM_CANCEL:
		return cancel(s, req, what);
	case CSV_DLM_ADOPT:
		return adopt(s, req, what);
	case CSV_DLM_PURGE:
		return purge(s, req, what);
	case CSV_DLM_LEAVE:
		break;
	}
	return EPROTO;
}

/* The kernel says it again when the lock is made last. */
static void blocks(struct csv_dlm_space *s, struct space_lock *l, enum csv_mode mode)
{
	struct csv_dlm_res res = { .event = CSV_DLM_BAST, .cookie = l->cookie, .mode = mode };

	if (mode == l->told)
		return;
	l->told = mode;
	s->answer(&res);
}

static int granted(struct csv_dlm_space *s, struct space_lock *l, const char **what)
{
	switch (l->state) {
	case WAITS:
		l->state = GRANTED;
		return submit(s, l, what);
	case LASTS:
		land(s, l);
		return l->asked ? submit(s, l, what) : 0;
	case CHANGES:
		if (l->asked == CSV_DLM_CONVERT) {
			land(s, l);
			answer_asked(s, l, 0);
		}
		return 0;
	case GRANTED:
	case HELD:
		break;
	}
	/* Of an adopted lock: what its last holder had asked for still. */
	return 0;
}

/*
 * Only a request is ever refused, except that the kernel may say "cancelled" of a granted lock: its master died before
 * it could say that the cancel came too late.  The kernel leaves the lock as it is then.
 */
static int refused(struct csv_dlm_space *s, struct space_lock *l, int error, const char **what)
{
	if (l->state == WAITS) {
		answer_asked(s, l, error);
		drop(s, l);
		return 0;
	}
	*what = "change";
	return error == ECANCELED ? 0 : error;
}

static int happened(struct csv_dlm_space *s, const struct csv_dlm_device_event *ev, const char **what)
{
	struct space_lock *l = find(s, ev->cookie);

	if (!l)
		return 0;
	switch (ev->what) {
	case CSV_DLM_BLOCKS:
		blocks(s, l, ev->mode);
		return 0;
	case CSV_DLM_GRANTED:
		return granted(s, l, what);
	case CSV_DLM_REFUSED:
		return refused(s, l, ev->error, what);
	case CSV_DLM_UNLOCKED:
		*what = "unlock";
		if (l->asked != CSV_DLM_UNLOCK)
			return EPROTO;
		answer_asked(s, l, 0);
		drop(s, l);
		return 0;
	}
	return 0;
}

int csv_dlm_space_events(struct csv_dlm_space *s, const char **what)
{
	struct csv_dlm_device_event ev;
	int err;

	for (;;) {
		*what = "read";
		err = csv_dlm_device_next(s->dev, &ev);
		if (err)
			return err == EAGAIN ? 0 : err;
		err = happened(s, &ev, what);
		if (err)
			return err;
	}
}

int csv_dlm_space_retry(struct csv_dlm_space *s, const char **what)
{
	struct csv_list *pos, *tmp, *last = s->busy.prev;
	int err = 0;

	/* Those that are busy still go to the end: up to the one that was the last. */
	csv_list_for_each_safe(pos, tmp, &s->busy) {
		err = submit(s, csv_list_entry(pos, struct space_lock, busy), what);
		if (err || pos == last)
			break;
	}
	return err;
}

bool csv_dlm_space_is_busy(const struct csv_dlm_space *s)
{
	return !csv_list_empty(&s->busy);
}
