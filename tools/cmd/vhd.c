/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csvadm vhd create, info, mark, unmark: fixed VHDs, and which files are images.  A fixed VHD is the disk's bytes
 * followed by one footer of 512 bytes, big-endian (Virtual Hard Disk Image Format Specification 1.0, "Hard Disk Footer
 * Format").  The space is preallocated unwritten, so that any size takes milliseconds and reads as zeros.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uuid/uuid.h>

#include "lib/env.h"
#include "tools/csvadm.h"
#include "tools/image.h"

#define SECTOR 512u
#define VHD_EPOCH 946684800 /* 2000-01-01 00:00:00 UTC in Unix time */
#define VHD_FIXED 2u
#define VHD_SIZE_MAX (64ull << 40)

struct vhd_footer {
	char cookie[8];
	uint32_t features, version;
	uint64_t data_offset;
	uint32_t timestamp;
	char creator[4];
	uint32_t creator_version;
	char creator_os[4];
	uint64_t original_size, current_size;
	uint16_t cylinders;
	uint8_t heads, sectors;
	uint32_t type, checksum;
	uint8_t uuid[16];
	uint8_t saved_state;
	uint8_t reserved[427];
} __attribute__((packed));
static_assert(sizeof(struct vhd_footer) == SECTOR, "footer is a sector");

/* CHS as in the specification's appendix "CHS Calculation". */
static void geometry(uint64_t bytes, struct vhd_footer *f)
{
	uint64_t total = bytes / SECTOR, cyl_heads;
	uint32_t spt, heads;

	if (total > 65535ull * 16 * 255)
		total = 65535ull * 16 * 255;
	if (total >= 65535ull * 16 * 63) {
		spt = 255;
		heads = 16;
		cyl_heads = total / spt;
	} else {
		spt = 17;
		cyl_heads = total / spt;
		heads = (uint32_t)((cyl_heads + 1023) / 1024);
		if (heads < 4)
			heads = 4;
		if (cyl_heads >= heads * 1024ull || heads > 16) {
			spt = 31;
			heads = 16;
			cyl_heads = total / spt;
		}
		if (cyl_heads >= heads * 1024ull) {
			spt = 63;
			heads = 16;
			cyl_heads = total / spt;
		}
	}
	f->cylinders = htobe16((uint16_t)(cyl_heads / heads));
	f->heads = (uint8_t)heads;
	f->sectors = (uint8_t)spt;
}

/* One's complement of the sum of all bytes but the checksum's own. */
static uint32_t checksum(struct vhd_footer f)
{
	const uint8_t *b = (const uint8_t *)&f;
	uint32_t sum = 0;

	f.checksum = 0;
	for (size_t i = 0; i < sizeof(f); i++)
		sum += b[i];
	return ~sum;
}

/*
 * Creator "win " with OS "Wi2k": what readers take current_size from; for a "vpc " footer QEMU would round the size
 * down to the CHS geometry.
 */
static void make_footer(uint64_t size, struct vhd_footer *f)
{
	memset(f, 0, sizeof(*f));
	memcpy(f->cookie, "conectix", 8);
	f->features = htobe32(2);
	f->version = htobe32(0x00010000);
	f->data_offset = htobe64(UINT64_MAX);
	f->timestamp = htobe32((uint32_t)(time(NULL) - VHD_EPOCH));
	memcpy(f->creator, "win ", 4);
	f->creator_version = htobe32(0x00010000);
	memcpy(f->creator_os, "Wi2k", 4);
	f->original_size = f->current_size = htobe64(size);
	geometry(size, f);
	f->type = htobe32(VHD_FIXED);
	uuid_generate(f->uuid);
	f->checksum = htobe32(checksum(*f));
}

static enum csv_err fill(struct csv_call *c, int fd, uint64_t size)
{
	struct vhd_footer f;

	if (fallocate(fd, 0, 0, (off_t)(size + SECTOR)))
		return csv_fail(&c->why, csv_err_from_errno(errno),
				errno == ENOSPC ? "free space or take a smaller size" : "", "cannot allocate: %s",
				strerror(errno));
	make_footer(size, &f);
	if (pwrite(fd, &f, sizeof(f), (off_t)size) != (ssize_t)sizeof(f) || fsync(fd))
		return csv_fail(&c->why, csv_err_from_errno(errno), "", "cannot write the footer: %s", strerror(errno));
	return CSV_OK;
}

static enum csv_err parse_create(struct csv_call *c, const char **path, uint64_t *size)
{
	static const struct option longs[] = { { "size", required_argument, NULL, 's' },
					       { "type", required_argument, NULL, 't' },
					       { 0 } };
	const char *text = NULL;
	int opt;

	while ((opt = getopt_long(c->argc, c->argv, "", longs, NULL)) >= 0) {
		if (opt == 's')
			text = optarg;
		else if (opt != 't')
			return csv_usage(c, "unknown option, or an option without its value");
		else if (strcmp(optarg, "fixed"))
			return csv_usage(c, "--type %.40s: only fixed VHDs are made", optarg);
	}
	if (c->argc - optind != 1 || !text)
		return csv_usage(c, "a path and --size are needed");
	*path = c->argv[optind];
	c->what = *path;
	if (!csv_parse_size(text, size) || !*size || *size % SECTOR || *size > VHD_SIZE_MAX)
		return csv_fail(&c->why, CSV_USAGE, "give a multiple of 512, at most 64T, as in --size 10G",
				"%.40s is no size for a VHD", text);
	return CSV_OK;
}

/*
 * An empty file that is an image, whatever its name: the flag decides whether its writers exclude each other. Negative:
 * *err says why not, and nothing is there.  Made by mknod(2), because a file that was opened is open for a moment after
 * its close(2), and an open file cannot be marked.
 */
static int make_image(struct csv_call *c, const char *path, enum csv_err *err)
{
	struct csv_ioctl_image image;
	struct csv_why unused;
	int fd = -1;

	csv_why_init(&unused);
	*err = csv_image_ask(path, CSV_IMAGE_INFO, &image, &unused);
	if (*err != CSV_OK && *err != CSV_NOENT) {
		c->why = unused;
		return -1;
	}
	if (mknod(path, S_IFREG | 0600, 0)) {
		*err = csv_fail(&c->why, csv_err_from_errno(errno), errno == EEXIST ? "take another name" : "", "%s",
				strerror(errno));
		return -1;
	}
	*err = csv_image_ask(path, CSV_IMAGE_MARK, &image, &c->why);
	if (!*err) {
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			*err = csv_fail(&c->why, csv_err_from_errno(errno), "", "%s", strerror(errno));
	}
	if (*err)
		unlink(path);
	return fd;
}

/* "fixed", "dynamic", "differencing" by the footer; "raw" without a sound one. */
static const char *type_of(int fd, uint64_t size, uint64_t *virtual_size)
{
	struct vhd_footer f;

	*virtual_size = size;
	if (size < SECTOR || pread(fd, &f, sizeof(f), (off_t)(size - SECTOR)) != (ssize_t)sizeof(f))
		return "raw";
	if (memcmp(f.cookie, "conectix", 8) || be32toh(f.checksum) != checksum(f))
		return "raw";
	*virtual_size = be64toh(f.current_size);
	return be32toh(f.type) == 2 ? "fixed" : be32toh(f.type) == 3 ? "dynamic" : "differencing";
}

/* What `vhd info` says; reading needs no lease. */
static enum csv_err describe(struct csv_call *c, const char *path)
{
	struct csv_ioctl_image image;
	uint64_t virtual_size;
	struct stat st;
	const char *type;
	enum csv_err err = csv_image_ask(path, CSV_IMAGE_INFO, &image, &c->why);
	int fd;

	if (err)
		return err;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st)) {
		err = csv_fail(&c->why, csv_err_from_errno(errno), "", "%s", strerror(errno));
		if (fd >= 0)
			close(fd);
		return err;
	}
	type = type_of(fd, (uint64_t)st.st_size, &virtual_size);
	close(fd);
	c->result = json_object();
	csv_out_str(c->result, "path", path);
	csv_out_str(c->result, "type", type);
	csv_out_u64(c->result, "virtual_size", virtual_size);
	csv_out_u64(c->result, "allocated", (uint64_t)st.st_blocks * 512);
	csv_image_json(c->result, &image);
	return CSV_OK;
}

enum csv_err csv_cmd_vhd_create(struct csv_call *c)
{
	const char *path = NULL;
	uint64_t size = 0;
	enum csv_err err = parse_create(c, &path, &size);
	struct csv_env *env = csv_env_system();
	uint64_t start = env->mono_ns(env);
	double elapsed;
	int fd;

	if (err)
		return err;
	fd = make_image(c, path, &err);
	if (fd < 0)
		return err;
	err = fill(c, fd, size);
	close(fd);
	if (err) {
		unlink(path);
		return err;
	}
	elapsed = (double)(env->mono_ns(env) - start) / 1e6;
	err = describe(c, path);
	if (!err)
		json_object_set_new(c->result, "elapsed_ms", json_real(elapsed));
	return err;
}

static enum csv_err one_path(struct csv_call *c)
{
	if (c->argc != 2)
		return csv_usage(c, "a path is needed");
	c->what = c->argv[1];
	return CSV_OK;
}

enum csv_err csv_cmd_vhd_info(struct csv_call *c)
{
	enum csv_err err = one_path(c);

	return err ? err : describe(c, c->what);
}

static enum csv_err change(struct csv_call *c, uint32_t op)
{
	struct csv_ioctl_image image;
	enum csv_err err = one_path(c);

	if (!err)
		err = csv_image_ask(c->what, op, &image, &c->why);
	return err ? err : describe(c, c->what);
}

enum csv_err csv_cmd_vhd_mark(struct csv_call *c)
{
	return change(c, CSV_IMAGE_MARK);
}

enum csv_err csv_cmd_vhd_unmark(struct csv_call *c)
{
	return change(c, CSV_IMAGE_UNMARK);
}
