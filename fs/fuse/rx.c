/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Receiving threads.  Each has a buffer placed so that the payload of a WRITE begins on a
 * page: a WRITE's headers are 80 bytes.  A body that wants to keep the payload takes the
 * buffer, and the thread gets a new one.
 */
#include "fs/fuse/rx.h"

#include <errno.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "csv/limits.h"
#include "fs/fuse/ops.h"
#include "lib/log.h"

#define THREADS 8u
#define HEADERS (sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))
static_assert(HEADERS == 80, "headers of a WRITE");
/* What libfuse 3.14 reads at once: 256 pages and a page for headers. */
#define READ_SIZE (256u * 4096u + 4096u)
#define PAGE CSV_BLOCK_SIZE

static __thread void *buffer; /* this thread's; NULL: taken */

void *session_take_buffer(void)
{
	void *taken = buffer;

	buffer = NULL;
	return taken;
}

static bool have_buffer(void)
{
	return buffer || posix_memalign(&buffer, PAGE, READ_SIZE + PAGE) == 0;
}

static void *receive(void *arg)
{
	struct fuse_session *se = arg;
	int res = 0;

	while (!fuse_session_exited(se)) {
		struct fuse_buf buf = { 0 };

		if (!have_buffer()) {
			csv_warn("no memory to receive a request");
			continue;
		}
		buf.mem = (char *)buffer + PAGE - HEADERS;
		res = fuse_session_receive_buf(se, &buf);
		if (res == -EINTR || res == -EAGAIN)
			continue;
		if (res <= 0)
			break;
		fuse_session_process_buf(se, &buf);
	}
	free(buffer);
	buffer = NULL;
	return (void *)(intptr_t)(res < 0 ? res : 0);
}

enum csv_err rx_run(struct fuse_session *se)
{
	pthread_t thread[THREADS];
	unsigned n = 0;
	int bad = 0;

	for (; n < THREADS; n++)
		if (pthread_create(&thread[n], NULL, receive, se))
			break;
	if (n == 0)
		return CSV_NOMEM;
	while (n > 0) {
		void *res;

		pthread_join(thread[--n], &res);
		if ((intptr_t)res != 0 && (intptr_t)res != -ENODEV)
			bad = (int)(intptr_t)res;
	}
	if (bad)
		csv_error("receiving FUSE requests failed: %s", strerror(-bad));
	return bad ? CSV_IO : CSV_OK;
}
