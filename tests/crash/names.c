/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scenarios of the namespace and of leases. */
#include <fcntl.h>

#include "scenarios.h"

#define NAMES 24u
#define DIRS 4u

/* Sometimes something becomes durable, sometimes it goes home. */
static void beside(struct crash *c)
{
	switch (crash_pick(c, 8)) {
	case 0:
	case 1:
		crash_commit(c);
		break;
	case 2:
		crash_checkpoint(c);
		break;
	case 3:
		crash_commit_later(c);
		break;
	default:
		break;
	}
}

static void name_of(struct crash *c, char *name, size_t size)
{
	static const struct {
		const char *before, *behind;
	} form[] = { { "file ", "" }, { "disk-", ".vhd" }, { "a name that is rather long, so that nodes split ", "" } };
	unsigned i = crash_pick(c, 3);

	snprintf(name, size, "%s%u%s", form[i].before, crash_pick(c, NAMES), form[i].behind);
}

/* What a random choice may meet. */
static void expect(struct crash *c, enum csv_err err, const char *what)
{
	if (err != CSV_EXIST && err != CSV_NOENT && err != CSV_NOTEMPTY && err != CSV_ISDIR && err != CSV_NOTDIR &&
	    err != CSV_INVAL && err != CSV_NOSPC && err != CSV_PERM)
		crash_expect(c, err, what);
}

/* One of the directories, which are made when they are missing. */
static struct csv_iref dir_of(struct crash *c, unsigned i)
{
	struct csv_iref root = crash_root(c), ref;
	struct csv_attr a;
	char name[32];

	if (i == 0)
		return root;
	snprintf(name, sizeof(name), "dir %u", i);
	if (csv_lookup(&c->me->ctx, root, name, &ref) == CSV_OK && csv_getattr(&c->me->ctx, ref, &a) == CSV_OK &&
	    S_ISDIR(a.mode))
		return ref;
	return crash_create(c, root, name, S_IFDIR | 0755, &ref) == CSV_OK ? ref : root;
}

static struct csv_iref some_dir(struct crash *c)
{
	return dir_of(c, crash_pick(c, DIRS));
}

void crash_run_create(struct crash *c)
{
	char name[80];

	for (unsigned i = 0; i < 60 && crash_good(c); i++) {
		name_of(c, name, sizeof(name));
		if (crash_pick(c, 5) == 0)
			expect(c, crash_symlink(c, some_dir(c), name, "../where/it/leads/to"), "symlink");
		else
			expect(c, crash_create(c, some_dir(c), name, S_IFREG | 0644, NULL), "create");
		beside(c);
	}
}

void crash_run_mkdir(struct crash *c)
{
	struct csv_iref dir = crash_root(c), sub;
	char name[32];

	for (unsigned i = 0; i < 50 && crash_good(c); i++) {
		snprintf(name, sizeof(name), "sub %u", crash_pick(c, 6));
		if (crash_pick(c, 4) == 0) {
			expect(c, crash_remove(c, dir, name), "rmdir");
		} else if (crash_create(c, dir, name, S_IFDIR | 0700, &sub) == CSV_OK && crash_pick(c, 3) == 0) {
			dir = sub;
		}
		if (crash_pick(c, 8) == 0)
			dir = crash_root(c);
		beside(c);
	}
}

void crash_run_unlink(struct crash *c)
{
	struct csv_iref ref;
	char name[80];

	for (unsigned i = 0; i < 30 && crash_good(c); i++) {
		name_of(c, name, sizeof(name));
		expect(c, crash_create(c, crash_root(c), name, S_IFREG | 0644, NULL), "create");
	}
	crash_commit(c);
	for (unsigned i = 0; i < 50 && crash_good(c); i++) {
		name_of(c, name, sizeof(name));
		if (crash_pick(c, 4) == 0 && csv_lookup(&c->me->ctx, crash_root(c), name, &ref) == CSV_OK) {
			name_of(c, name, sizeof(name));
			expect(c, crash_link(c, ref, some_dir(c), name), "link");
		} else {
			expect(c, crash_remove(c, crash_root(c), name), "unlink");
		}
		beside(c);
	}
}

void crash_run_rename(struct crash *c)
{
	static const unsigned flags[] = { 0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE };
	char a[80], b[80];

	for (unsigned i = 0; i < 24 && crash_good(c); i++) {
		name_of(c, a, sizeof(a));
		expect(c, crash_create(c, some_dir(c), a, S_IFREG | 0644, NULL), "create");
	}
	crash_commit(c);
	for (unsigned i = 0; i < 60 && crash_good(c); i++) {
		struct csv_iref from = some_dir(c), to = some_dir(c);

		name_of(c, a, sizeof(a));
		name_of(c, b, sizeof(b));
		if (crash_pick(c, 4) == 0) {
			from = to = crash_root(c);
			snprintf(a, sizeof(a), "dir %u", 1 + crash_pick(c, DIRS - 1));
			if (crash_pick(c, 2))
				to = some_dir(c);
		}
		expect(c, crash_rename(c, from, a, to, b, flags[crash_pick(c, 5)]), "rename");
		beside(c);
	}
}

void crash_run_lease(struct crash *c)
{
	struct csv_iref ref[3];
	char name[32];

	for (unsigned i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "vm %u.vhdx", i);
		if (!crash_expect(c, crash_create(c, crash_root(c), name, S_IFREG | 0644, &ref[i]), "create"))
			return;
	}
	crash_commit(c);
	for (unsigned i = 0; i < 60 && crash_good(c); i++) {
		snprintf(name, sizeof(name), "vm %u", crash_pick(c, 5));
		crash_expect(c,
			     crash_lease(c, ref[crash_pick(c, 3)],
					 crash_pick(c, 3) ? CSV_LEASE_EXCLUSIVE : CSV_LEASE_NONE, name),
			     "lease");
		beside(c);
	}
}

void crash_run_mix(struct crash *c)
{
	char name[80], other[80];

	for (unsigned i = 0; i < 150 && crash_good(c); i++) {
		struct csv_iref dir = some_dir(c);

		name_of(c, name, sizeof(name));
		name_of(c, other, sizeof(other));
		switch (crash_pick(c, 5)) {
		case 0:
		case 1:
			expect(c, crash_create(c, dir, name, S_IFREG | 0644, NULL), "create");
			break;
		case 2:
			expect(c, crash_remove(c, dir, name), "unlink");
			break;
		case 3:
			expect(c, crash_rename(c, dir, name, some_dir(c), other, 0), "rename");
			break;
		default:
			expect(c, crash_symlink(c, dir, name, other), "symlink");
			break;
		}
		beside(c);
	}
}
