/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/disk/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/crc32c.h"

#define PREFIX 0xC5F5ull
#define LOCAL_MARK 8ull
#define NUMBER_MASK 0xfffull

bool csv_key_known(uint64_t key)
{
	return key >> 48 == PREFIX;
}

bool csv_key_local(uint64_t key)
{
	return key >> 44 == (PREFIX << 4 | LOCAL_MARK);
}

/* The local keys of this host, their number aside. */
static uint64_t host_keys(void)
{
	char name[224];

	csv_initiator_name(name, sizeof(name));
	return PREFIX << 48 | LOCAL_MARK << 44 | (uint64_t)csv_crc32c(0, name, strlen(name)) << 12;
}

bool csv_key_of_host(uint64_t key)
{
	return (key & ~NUMBER_MASK) == host_keys();
}

bool csv_key_among(const struct csv_pr_status *st, uint64_t key)
{
	for (unsigned i = 0; i < st->nkeys; i++) {
		if (st->keys[i] == key)
			return true;
	}
	return false;
}

uint64_t csv_key_make_local(struct csv_env *env, const struct csv_pr_status *st)
{
	uint64_t base = host_keys();
	uint16_t number;

	/* *st has room for fewer keys than there are numbers. */
	env->random(env, &number, sizeof(number));
	while (csv_key_among(st, base | (number & NUMBER_MASK)))
		number++;
	return base | (number & NUMBER_MASK);
}

bool csv_key_over(struct csv_bdev *dev, const struct csv_super *sb, uint64_t key)
{
	uint32_t slot = (uint32_t)(key >> 32) & NUMBER_MASK;
	struct csv_slot s;

	if (!sb || !csv_key_known(key) || csv_key_local(key) || slot >= sb->slots)
		return false;
	return csv_slot_read(dev, sb, slot, &s, NULL) == CSV_OK && s.state == CSV_SLOT_CLEAN && s.pr_key == key;
}

enum csv_err csv_key_busy(struct csv_bdev *dev, const struct csv_super *sb, uint64_t key, const char *hint,
			  struct csv_why *why)
{
	struct csv_slot s;

	for (uint32_t n = 0; sb && n < sb->slots; n++) {
		if (csv_slot_read(dev, sb, n, &s, NULL) || s.pr_key != key)
			continue;
		return csv_fail(why, CSV_BUSY, hint, "node %s has volume %s mounted (reservation key %016llx)",
				*s.node ? s.node : "?", sb->name, (unsigned long long)key);
	}
	return csv_fail(why, CSV_BUSY, hint, "it is mounted by another host (reservation key %016llx)",
			(unsigned long long)key);
}

static enum csv_err read_status(struct csv_bdev *dev, struct csv_pr_status **st)
{
	*st = calloc(1, sizeof(**st));
	return *st ? dev->ops->pr_status(dev, *st) : CSV_NOMEM;
}

enum csv_err csv_keys_refuse(struct csv_bdev *dev, const struct csv_super *sb, uint64_t own, struct csv_why *why)
{
	struct csv_pr_status *st;
	enum csv_err err;

	if (!dev->ops->pr_status)
		return CSV_OK;
	err = read_status(dev, &st);
	if (err && err != CSV_NOTSUP)
		csv_fail(why, err, "", "the LUN's reservations cannot be read: %s", csv_err_text(err));
	for (unsigned i = 0; !err && i < st->nkeys; i++) {
		if (st->keys[i] != own && csv_key_known(st->keys[i]) && !csv_key_over(dev, sb, st->keys[i]))
			err = csv_key_busy(dev, sb, st->keys[i],
					   "unmount it there; if that host is dead for certain, mount it with -o "
					   "takeover and unmount it",
					   why);
	}
	free(st);
	return err == CSV_NOTSUP ? CSV_OK : err; /* no mount could have registered there */
}

static enum csv_err verify(struct csv_bdev *dev, uint64_t own, bool (*which)(uint64_t key))
{
	struct csv_pr_status *st;
	enum csv_err err = read_status(dev, &st);

	if (!err && !csv_key_among(st, own))
		err = CSV_FENCED;
	for (unsigned i = 0; !err && i < st->nkeys; i++) {
		if (st->keys[i] != own && which(st->keys[i]))
			err = CSV_BUSY;
	}
	if (!err && st->type != CSV_PR_WRITE_EXCLUSIVE_ALL_REG)
		err = dev->ops->pr_reserve(dev, own, CSV_PR_WRITE_EXCLUSIVE_ALL_REG);
	free(st);
	return err;
}

enum csv_err csv_keys_preempt(struct csv_bdev *dev, uint64_t own, const struct csv_pr_status *st,
			      bool (*which)(uint64_t key))
{
	enum csv_err err = CSV_OK;

	for (unsigned i = 0; !err && i < st->nkeys; i++) {
		if (st->keys[i] != own && which(st->keys[i]))
			err = dev->ops->pr_preempt(dev, own, st->keys[i], CSV_PR_WRITE_EXCLUSIVE_ALL_REG, NULL);
	}
	if (!err)
		err = verify(dev, own, which);
	return err == CSV_CONFLICT ? CSV_FENCED : err;
}
