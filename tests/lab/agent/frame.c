// SPDX-License-Identifier: GPL-2.0-or-later
#include "frame.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

/* Descriptors may be non-blocking ones of somebody else. */
static bool again(int fd, short events)
{
	if (errno == EINTR)
		return true;
	if (errno != EAGAIN)
		return false;
	struct pollfd one = { .fd = fd, .events = events };
	return poll(&one, 1, -1) >= 0 || errno == EINTR;
}

bool read_all(int fd, void *data, size_t size)
{
	for (char *at = data; size > 0;) {
		ssize_t got = read(fd, at, size);
		if (got < 0 && again(fd, POLLIN))
			continue;
		if (got <= 0)
			return false;
		at += got;
		size -= (size_t)got;
	}
	return true;
}

bool write_all(int fd, const void *data, size_t size)
{
	for (const char *at = data; size > 0;) {
		ssize_t done = write(fd, at, size);
		if (done < 0 && again(fd, POLLOUT))
			continue;
		if (done < 0)
			return false;
		at += done;
		size -= (size_t)done;
	}
	return true;
}

bool send_frame(int fd, enum frame_type type, const void *data, size_t size)
{
	struct frame frame = { .type = type, .size = (uint32_t)size };
	return write_all(fd, &frame, sizeof(frame)) && write_all(fd, data, size);
}

bool receive_frame(int fd, struct frame *frame, char **data)
{
	if (!read_all(fd, frame, sizeof(*frame)) || frame->size > FRAME_MAX)
		return false;
	char *got = malloc(frame->size + 1);
	if (!got)
		return false;
	if (!read_all(fd, got, frame->size)) {
		free(got);
		return false;
	}
	got[frame->size] = 0;
	*data = got;
	return true;
}
