// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What vm-exec (on the host) and vm-agent (in a virtual machine) say to each other on a TCP connection of a
 * command's own. Both run on one computer: numbers are in its byte order.
 *
 * The first frame is START; its data are texts, each with its final zero: the folder, then "A" and an argument for
 * each argument, "E" and NAME=VALUE for each variable. Then frames go both ways until EXIT, or until one side hangs
 * up: the command of a vm-exec that has gone is killed.
 */
#ifndef TESTS_LAB_AGENT_FRAME_H
#define TESTS_LAB_AGENT_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum frame_type {
    FRAME_START,  /* host -> VM: what to run */
    FRAME_INPUT,  /* host -> VM: bytes for standard input; none: its end */
    FRAME_SIGNAL, /* host -> VM: u32, a signal for the command */
    FRAME_OUTPUT, /* VM -> host: bytes of standard output */
    FRAME_ERROR,  /* VM -> host: bytes of standard error */
    FRAME_EXIT,   /* VM -> host: u32, wait status; the last frame */
};

#define FRAME_MAX (1u << 20) /* bytes of data */
#define AGENT_PORT 777

struct frame {
    uint32_t type; /* enum frame_type */
    uint32_t size; /* bytes of data behind this header */
};

/* All bytes or false: error, end of file, hang-up. */
bool read_all(int fd, void *data, size_t size);
bool write_all(int fd, const void *data, size_t size);

/* Send a frame; false if the other side has gone. */
bool send_frame(int fd, enum frame_type type, const void *data, size_t size);

/* Receive a frame; *data is malloc'd, with a zero behind its end, and the caller's. False if the other side has gone. */
bool receive_frame(int fd, struct frame *frame, char **data);

#endif
