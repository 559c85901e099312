/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One root or node of a B+tree in memory: slots sorted by key grow up, values grow
 * down.  A deleted value leaves garbage, which is squeezed out when room is needed.
 */
#include <string.h>

#include "fs/meta/tree_int.h"

static unsigned free_end(struct tarea a)
{
	return csv_le16_get(tarea_head(a)->free_end);
}

static unsigned garbage(struct tarea a)
{
	return csv_le16_get(tarea_head(a)->garbage);
}

static void set_count(struct tarea a, unsigned n)
{
	tarea_head(a)->count = csv_le16_of((uint16_t)n);
}

static void set_free_end(struct tarea a, unsigned end)
{
	tarea_head(a)->free_end = csv_le16_of((uint16_t)end);
}

static void set_garbage(struct tarea a, unsigned n)
{
	tarea_head(a)->garbage = csv_le16_of((uint16_t)n);
}

void csv_tree_area_init(void *area, unsigned size)
{
	tarea_reset((struct tarea){ area, size }, 0);
}

void tarea_reset(struct tarea a, unsigned level)
{
	memset(a.p, 0, a.size);
	tarea_head(a)->level = csv_le16_of((uint16_t)level);
	set_free_end(a, a.size);
}

unsigned tarea_used(struct tarea a)
{
	return TREE_HEAD + TREE_SLOT * tarea_count(a) + a.size - free_end(a) - garbage(a);
}

int tarea_search(struct tarea a, uint64_t key)
{
	int lo = 0, hi = (int)tarea_count(a);

	while (lo < hi) {
		int mid = lo + (hi - lo) / 2;

		if (tarea_key(a, (unsigned)mid) <= key)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo - 1;
}

/* Moves all values together at the end of the area. */
static void squeeze(struct tarea a)
{
	uint8_t copy[CSV_TREE_NODE_AREA];
	unsigned end = a.size;

	CSV_ASSERT(a.size <= sizeof(copy));
	memcpy(copy, a.p, a.size);
	for (unsigned i = 0; i < tarea_count(a); i++) {
		struct csv_disk_tree_slot *s = tarea_slot(a, i);
		unsigned len = csv_le16_get(s->len);

		end -= len;
		memcpy(a.p + end, copy + csv_le16_get(s->off), len);
		s->off = csv_le16_of((uint16_t)end);
	}
	set_free_end(a, end);
	set_garbage(a, 0);
}

void tarea_insert(struct tarea a, unsigned i, uint64_t key, const void *value, unsigned len)
{
	unsigned n = tarea_count(a), end;
	struct csv_disk_tree_slot *s = tarea_slot(a, i);

	CSV_ASSERT(i <= n && tarea_room(a) >= TREE_SLOT + len);
	if (free_end(a) - (TREE_HEAD + TREE_SLOT * n) < TREE_SLOT + len)
		squeeze(a);
	memmove(s + 1, s, (n - i) * TREE_SLOT);
	end = free_end(a) - len;
	if (len)
		memcpy(a.p + end, value, len);
	*s = (struct csv_disk_tree_slot){ csv_le64_of(key), csv_le16_of((uint16_t)end), csv_le16_of((uint16_t)len) };
	set_free_end(a, end);
	set_count(a, n + 1);
}

void tarea_delete(struct tarea a, unsigned i)
{
	unsigned n = tarea_count(a);
	struct csv_disk_tree_slot *s = tarea_slot(a, i);

	CSV_ASSERT(i < n);
	set_garbage(a, garbage(a) + csv_le16_get(s->len));
	memmove(s, s + 1, (n - i - 1) * TREE_SLOT);
	set_count(a, n - 1);
	if (n == 1) {
		set_free_end(a, a.size);
		set_garbage(a, 0);
	}
}

void tarea_move_tail(struct tarea dst, struct tarea src, unsigned from)
{
	unsigned n = tarea_count(src);

	for (unsigned i = from; i < n; i++)
		tarea_insert(dst, tarea_count(dst), tarea_key(src, i), tarea_value(src, i), tarea_len(src, i));
	for (unsigned i = n; i > from; i--)
		tarea_delete(src, i - 1);
}

uint64_t tarea_child(struct tarea a, unsigned i)
{
	csv_le64 v;

	memcpy(&v, tarea_value(a, i), sizeof(v));
	return csv_le64_get(v);
}

void tarea_insert_child(struct tarea a, unsigned i, uint64_t key, uint64_t block)
{
	csv_le64 v = csv_le64_of(block);

	tarea_insert(a, i, key, &v, sizeof(v));
}

/* ---- verification ------------------------------------------------------------- */

/* Marks bytes [off, off+len) in the map; false if one is marked already. */
static bool mark(uint8_t *map, unsigned off, unsigned len)
{
	for (unsigned i = off; i < off + len; i++) {
		if (map[i / 8] & 1u << i % 8)
			return false;
		map[i / 8] |= (uint8_t)(1u << i % 8);
	}
	return true;
}

static enum csv_err verify_head(struct tarea a, struct csv_why *why)
{
	unsigned n = tarea_count(a), slots_end = TREE_HEAD + TREE_SLOT * n;

	if (tarea_level(a) >= CSV_TREE_LEVELS_MAX)
		return csv_fail(why, CSV_DAMAGED, NULL, "tree level %u is too high", tarea_level(a));
	if (free_end(a) > a.size || slots_end > free_end(a))
		return csv_fail(why, CSV_DAMAGED, NULL, "tree area of %u slots with values from %u of %u", n,
				free_end(a), a.size);
	if (tarea_level(a) > 0 && n == 0)
		return csv_fail(why, CSV_DAMAGED, NULL, "inner tree node without children");
	return CSV_OK;
}

static enum csv_err verify_slot(struct tarea a, unsigned i, uint8_t *map, struct csv_why *why)
{
	unsigned off = csv_le16_get(tarea_slot(a, i)->off), len = tarea_len(a, i);

	if (i > 0 && tarea_key(a, i) <= tarea_key(a, i - 1))
		return csv_fail(why, CSV_DAMAGED, NULL, "tree slot %u is out of order", i);
	if (tarea_level(a) > 0 ? len != sizeof(csv_le64) : len > CSV_TREE_VALUE_MAX)
		return csv_fail(why, CSV_DAMAGED, NULL, "tree slot %u has a value of %u bytes", i, len);
	if (off < free_end(a) || off + len > a.size)
		return csv_fail(why, CSV_DAMAGED, NULL, "value of tree slot %u lies outside", i);
	if (!mark(map, off, len))
		return csv_fail(why, CSV_DAMAGED, NULL, "value of tree slot %u overlaps another", i);
	return CSV_OK;
}

enum csv_err csv_tree_area_verify(const void *area, unsigned size, struct csv_why *why)
{
	/* Only looked at; struct tarea has no const twin. */
	struct tarea a = { (uint8_t *)(uintptr_t)area, size };
	uint8_t map[(CSV_TREE_NODE_AREA + 7) / 8] = { 0 };
	unsigned live = 0;
	enum csv_err err;

	CSV_ASSERT(size <= CSV_TREE_NODE_AREA);
	err = verify_head(a, why);
	if (err)
		return err;
	for (unsigned i = 0; i < tarea_count(a); i++) {
		err = verify_slot(a, i, map, why);
		if (err)
			return err;
		live += tarea_len(a, i);
	}
	if (live + garbage(a) != size - free_end(a))
		return csv_fail(why, CSV_DAMAGED, NULL, "tree area of %u bytes of values and %u of garbage in %u", live,
				garbage(a), size - free_end(a));
	return CSV_OK;
}
