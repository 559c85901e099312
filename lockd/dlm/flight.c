/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lockd/dlm/flight.h"

#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>

struct csv_dlm_flight {
	_Atomic uint64_t cookie[CSV_DLM_FLIGHT_MAX]; /* 0: free place */
	unsigned next;				     /* where to look for one first */
};

struct csv_dlm_flight *csv_dlm_flight_new(void)
{
	void *p = mmap(NULL, sizeof(struct csv_dlm_flight), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int csv_dlm_flight_begin(struct csv_dlm_flight *f, uint64_t cookie)
{
	for (unsigned n = 0; n < CSV_DLM_FLIGHT_MAX; n++) {
		unsigned place = f->next++ % CSV_DLM_FLIGHT_MAX;

		if (!atomic_load(&f->cookie[place])) {
			atomic_store(&f->cookie[place], cookie);
			return (int)place;
		}
	}
	return -1;
}

void csv_dlm_flight_end(struct csv_dlm_flight *f, int place)
{
	if (place >= 0)
		atomic_store(&f->cookie[place], 0);
}

void csv_dlm_flight_heard(struct csv_dlm_flight *f, uint64_t cookie)
{
	for (unsigned place = 0; place < CSV_DLM_FLIGHT_MAX; place++) {
		if (atomic_load(&f->cookie[place]) == cookie)
			atomic_store(&f->cookie[place], 0);
	}
}

bool csv_dlm_flight_none(const struct csv_dlm_flight *f)
{
	for (unsigned place = 0; place < CSV_DLM_FLIGHT_MAX; place++) {
		if (atomic_load(&f->cookie[place]))
			return false;
	}
	return true;
}
