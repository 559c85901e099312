/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of handoffs as bytes, for members that join, and as a digest, for the simulator. */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "lib/crc32c.h"
#include "lib/log.h"
#include "migrate/core/table.h"

#define HEADER 16u /* number of records, next number */

size_t csv_ho_export_size(const struct csv_ho_table *t)
{
	return HEADER + (size_t)t->n * CSV_HO_MSG_MAX;
}

size_t csv_ho_export(const struct csv_ho_table *t, uint8_t *data)
{
	uint64_t head[2] = { htole64(t->n), htole64(t->next) };
	size_t len = HEADER;

	memcpy(data, head, HEADER);
	for (unsigned i = 0; i < t->n; i++)
		len += csv_handoff_encode(t->rec[i], data + len);
	return len;
}

bool csv_ho_import(struct csv_ho_table *t, const uint8_t *data, size_t len)
{
	uint64_t head[2];
	size_t pos = HEADER, used;

	csv_ho_table_free(t);
	if (len < HEADER)
		return false;
	memcpy(head, data, HEADER);
	if (le64toh(head[0]) > CSV_HO_RECORDS_MAX)
		return false;
	t->next = le64toh(head[1]);
	for (uint64_t i = 0; i < le64toh(head[0]); i++) {
		struct csv_handoff *h = calloc(1, sizeof(*h));

		CSV_ASSERT(h);
		used = csv_handoff_decode(h, data + pos, len - pos);
		if (!used) {
			free(h);
			csv_ho_table_free(t);
			return false;
		}
		t->rec[t->n++] = h;
		pos += used;
	}
	if (pos != len)
		csv_ho_table_free(t);
	return pos == len;
}

uint64_t csv_ho_digest(const struct csv_ho_table *t)
{
	uint8_t *data = malloc(CSV_HO_MSG_MAX);
	uint64_t sum = t->next;

	CSV_ASSERT(data);
	for (unsigned i = 0; i < t->n; i++) {
		size_t len = csv_handoff_encode(t->rec[i], data);

		sum = sum * 0x9e3779b97f4a7c15ull + csv_crc32c(0, data, len);
	}
	free(data);
	return sum;
}
