// SPDX-License-Identifier: GPL-2.0-or-later
/* A broadcast datagram ten times a second: enough for every bridge to know where the guest is. */
#include "beacon.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char interface[] = "eth0";

static int beacon_socket(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface, sizeof(interface)) == 0)
		return fd;
	close(fd);
	return -1;
}

static void beacon_loop(int fd)
{
	const struct sockaddr_in everybody = {
		.sin_family = AF_INET,
		.sin_port = htons(BEACON_PORT),
		.sin_addr.s_addr = htonl(INADDR_BROADCAST),
	};
	const struct timespec period = { .tv_nsec = BEACON_PERIOD_MS * 1000000L };

	for (unsigned int n = 0;; n++) {
		char text[32];
		int length = snprintf(text, sizeof(text), "csvfs demo %u\n", n);

		/* A lost one does not matter: the next comes soon. */
		(void)sendto(fd, text, (size_t)length, 0, (const struct sockaddr *)&everybody, sizeof(everybody));
		nanosleep(&period, NULL);
	}
}

void beacon_start(void)
{
	int fd;

	if (if_nametoindex(interface) == 0 || fork() != 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = beacon_socket();
	if (fd < 0)
		_exit(1);
	beacon_loop(fd);
}
