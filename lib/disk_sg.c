/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SG_IO on the kernel's SCSI disks as a port, one for each path: the disk itself, or all disks below a multipath
 * device.
 *
 * Not IOC_PR_*: its REGISTER asks for APTPL, which not every target has, and it has no READ KEYS.  On a multipath
 * device SG_IO goes to one path of the kernel's choice, so each path's own disk is opened.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <scsi/sg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/disk_impl.h"
#include "lib/pr.h"

#define TIMEOUT_MS 30000 /* as the kernel's for reads and writes */
#define READY_TRIES 20
#define SENSE_LEN 64

/* linux/drivers/scsi: host bytes */
#define DID_OK 0x00
#define DID_RESET 0x08
#define DID_SOFT_ERROR 0x0b
#define DID_IMM_RETRY 0x0c
#define DID_REQUEUE 0x0d

#ifndef SG_SCSI_RESET_NO_ESCALATE
#define SG_SCSI_RESET_NO_ESCALATE 0x100
#endif

struct sg_path {
	struct csv_scsi_port port;
	int fd;
	dev_t rdev;
};

struct sg_lun {
	bool rdonly, multipath;
	char path[PATH_MAX];
	dev_t rdev;
	struct sg_path paths[DISK_PATHS];
	unsigned n;
	bool no_aptpl; /* all paths lead to one target */
};

/* ---- one command ---------------------------------------------------------------------------------- */

/* SPC-4 4.5: fixed and descriptor format. */
static void parse_sense(struct csv_scsi_cmd *cmd, const uint8_t *sense, unsigned len)
{
	bool descriptor = len > 0 && (sense[0] & 0x7f) >= 0x72;

	cmd->key = 0;
	cmd->asc = 0;
	if (descriptor && len >= 4) {
		cmd->key = sense[1] & 0x0f;
		cmd->asc = (uint16_t)csv_be_get(sense + 2, 2);
	} else if (!descriptor && len >= 14) {
		cmd->key = sense[2] & 0x0f;
		cmd->asc = (uint16_t)csv_be_get(sense + 12, 2);
	}
}

/* The kernel gave the command up, or is about to: to be sent again. */
static bool is_passing(unsigned host_status)
{
	return host_status == DID_RESET || host_status == DID_SOFT_ERROR || host_status == DID_IMM_RETRY ||
	       host_status == DID_REQUEUE;
}

static enum csv_err sg_command(int fd, struct csv_scsi_cmd *cmd)
{
	uint8_t sense[SENSE_LEN] = { 0 };
	struct sg_io_hdr hdr = {
		.interface_id = 'S',
		.dxfer_direction = !cmd->len  ? SG_DXFER_NONE
				   : cmd->out ? SG_DXFER_TO_DEV
					      : SG_DXFER_FROM_DEV,
		.cmd_len = (unsigned char)cmd->cdb_len,
		.mx_sb_len = sizeof(sense),
		.dxfer_len = (unsigned)cmd->len,
		.dxferp = cmd->data,
		.cmdp = cmd->cdb,
		.sbp = sense,
		.timeout = TIMEOUT_MS,
	};

	cmd->moved = 0;
	while (ioctl(fd, SG_IO, &hdr)) {
		if (errno != EINTR)
			return errno == ENOTTY || errno == EINVAL ? CSV_NOTSUP : CSV_UNREACH;
	}
	cmd->status = hdr.status;
	if (cmd->status == CSV_SAM_GOOD && is_passing(hdr.host_status))
		cmd->status = CSV_SAM_TASK_ABORTED;
	else if (cmd->status == CSV_SAM_GOOD && hdr.host_status != DID_OK)
		return CSV_UNREACH;
	parse_sense(cmd, sense, hdr.sb_len_wr);
	if (cmd->len && !cmd->out && hdr.resid >= 0 && (size_t)hdr.resid <= cmd->len)
		cmd->moved = cmd->len - (size_t)hdr.resid;
	return CSV_OK;
}

static struct sg_path *path_of(struct csv_scsi_port *port)
{
	return csv_list_entry(port, struct sg_path, port);
}

static enum csv_err port_command(struct csv_scsi_port *port, struct csv_scsi_cmd *cmd)
{
	enum csv_err err = sg_command(path_of(port)->fd, cmd);

	return err == CSV_OK ? err : CSV_UNREACH;
}

/* The unit attention that we have caused ourselves says nothing new: taken here, it does not count (J4). */
static enum csv_err take_attention(int fd)
{
	for (int i = 0; i < READY_TRIES; i++) {
		struct csv_scsi_cmd cmd = { .cdb_len = 6 };

		if (sg_command(fd, &cmd) != CSV_OK)
			return CSV_UNREACH;
		if (cmd.status != CSV_SAM_CHECK_CONDITION || cmd.key != CSV_SENSE_UNIT_ATTENTION)
			break;
	}
	return CSV_OK;
}

/*
 * The kernel answers when the target has: no command that any host had queued before it will be executed after it
 * (SAM-5 7.7).  Our own are let through first, so that none of them is among the aborted.
 */
static enum csv_err port_reset(struct csv_scsi_port *port)
{
	struct disk_dev *d = port->owner;
	int fd = path_of(port)->fd, how = SG_SCSI_RESET_DEVICE | SG_SCSI_RESET_NO_ESCALATE;
	enum csv_err err;

	csv_disk_drain(d);
	err = ioctl(fd, SG_SCSI_RESET, &how) ? CSV_NOTSUP : CSV_OK;
	if (err != CSV_OK && errno != EOPNOTSUPP && errno != ENOTTY && errno != EINVAL)
		err = CSV_IO;
	if (take_attention(fd) != CSV_OK)
		err = CSV_UNREACH;
	csv_disk_open_gate(d);
	return err;
}

/* ---- who we are ------------------------------------------------------------------------------------ */

static bool read_line(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");
	bool ok = f && fgets(buf, (int)size, f);

	if (f)
		fclose(f);
	if (ok)
		buf[strcspn(buf, "\n")] = 0;
	return ok;
}

/* "session4" of .../host3/session4/target3:0:0/3:0:0:1 */
static bool session_of(dev_t rdev, char *session, size_t size)
{
	char link[64], real[PATH_MAX];
	const char *s;

	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u/device", major(rdev), minor(rdev));
	if (!realpath(link, real))
		return false;
	s = strstr(real, "/session");
	if (!s)
		return false;
	snprintf(session, size, "%.*s", (int)strcspn(s + 1, "/"), s + 1);
	return true;
}

/*
 * The session's ISID.  Some drivers show it; of iscsi_tcp it is what open-iscsi makes: Cisco's OUI, then the number of
 * the session (RFC 7143 11.12.5).  A wrong one is refused by the target.
 */
static void isid_of(const char *session, uint8_t isid[6])
{
	char path[128], hex[32];
	uint64_t v = 0x00023d000000 | (strtoul(session + strlen("session"), NULL, 10) & 0xffffff);

	snprintf(path, sizeof(path), "/sys/class/iscsi_session/%s/isid", session);
	if (read_line(path, hex, sizeof(hex)))
		v = strtoull(hex, NULL, 16);
	csv_be_put(isid, 6, v);
}

static size_t port_transport_id(struct csv_scsi_port *port, uint8_t *id)
{
	char session[32], path[128], name[256];
	uint8_t isid[6];

	if (!session_of(path_of(port)->rdev, session, sizeof(session)))
		return 0;
	snprintf(path, sizeof(path), "/sys/class/iscsi_session/%s/initiatorname", session);
	if (!read_line(path, name, sizeof(name)))
		return 0;
	isid_of(session, isid);
	return csv_pr_tgtd_transport_id(name, isid, id);
}

/* ---- paths ------------------------------------------------------------------------------------------ */

/* An INQUIRY; `page` 0: the standard data, else a page of vital product data. */
static enum csv_err inquiry(int fd, uint8_t page, uint8_t *data, uint8_t len, size_t *got)
{
	struct csv_scsi_cmd cmd = {
		.cdb = { 0x12, page ? 1 : 0, page, 0, len },
		.cdb_len = 6,
		.data = data,
		.len = len,
	};
	enum csv_err err = sg_command(fd, &cmd);

	*got = cmd.moved;
	return err == CSV_OK && cmd.status != CSV_SAM_GOOD ? CSV_NOTSUP : err;
}

/*
 * Vendor and product of a LUN are the administrator's to set at tgtd, and are set; its T10 designator begins as its own
 * programmer left it (SPC-4 7.8.6.4).
 */
static enum csv_err is_tgtd(int fd, bool *yes)
{
	uint8_t data[255] = { 0 };
	size_t got, end;
	enum csv_err err = inquiry(fd, 0x83, data, sizeof(data), &got);

	if (err != CSV_OK)
		return err == CSV_UNREACH ? err : CSV_OK; /* a target without that page */
	end = got < 4 ? 0 : 4 + (size_t)csv_be_get(data + 2, 2);
	if (end > got)
		end = got;
	for (size_t i = 4; i + 4 <= end; i += 4 + (size_t)data[i + 3])
		*yes |= (data[i + 1] & 0xf) == 1 && data[i + 3] >= 8 && i + 12 <= end &&
			!memcmp(data + i + 4, "IET     ", 8);
	return CSV_OK;
}

/* NOTSUP: no SCSI disk. */
static enum csv_err inquire(int fd, bool *tgtd)
{
	uint8_t data[36] = { 0 };
	size_t got;
	enum csv_err err = inquiry(fd, 0, data, sizeof(data), &got);

	if (err != CSV_OK)
		return err;
	if (got < sizeof(data) || data[0] != 0)
		return CSV_NOTSUP; /* SPC-4 6.6.2: a connected direct access device is 0 */
	return is_tgtd(fd, tgtd);
}

static void drop_paths(struct sg_lun *l)
{
	for (unsigned i = 0; i < l->n; i++) {
		l->no_aptpl |= l->paths[i].port.no_aptpl;
		close(l->paths[i].fd);
	}
	l->n = 0;
}

static enum csv_err add_path(struct sg_lun *l, const char *path)
{
	struct sg_path *p = &l->paths[l->n];
	struct stat st;
	enum csv_err err;
	bool tgtd = false;

	if (l->n == DISK_PATHS)
		return CSV_NOTSUP;
	/* Not O_EXCL: the device above has claimed it. */
	p->fd = open(path, (l->rdonly ? O_RDONLY : O_RDWR) | O_NONBLOCK | O_CLOEXEC);
	if (p->fd < 0)
		return csv_err_from_errno(errno);
	err = fstat(p->fd, &st) ? CSV_IO : inquire(p->fd, &tgtd);
	/* A path that is down for the moment is a path. */
	if (err != CSV_OK && err != CSV_UNREACH) {
		close(p->fd);
		return err;
	}
	p->rdev = st.st_rdev;
	p->port = (struct csv_scsi_port){
		.command = port_command,
		.reset = port_reset,
		.transport_id = port_transport_id,
		.tgtd = tgtd,
		.no_aptpl = l->no_aptpl,
	};
	l->n++;
	return CSV_OK;
}

static enum csv_err add_slaves(struct sg_lun *l)
{
	enum csv_err err = CSV_OK;
	char path[300];
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/slaves", major(l->rdev), minor(l->rdev));
	dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/dev/%s", e->d_name);
		if (add_path(l, path) == CSV_NOTSUP)
			err = CSV_NOTSUP;
	}
	if (dir)
		closedir(dir);
	return l->n ? err : CSV_NOTSUP;
}

static enum csv_err add_paths(struct sg_lun *l)
{
	return l->multipath ? add_slaves(l) : add_path(l, l->path);
}

static void look(struct disk_dev *d)
{
	struct sg_lun *l = d->paths.data;

	/* The one path of a plain disk stays what it is. */
	if (l->multipath || !l->n) {
		drop_paths(l);
		add_paths(l);
	}
	d->npaths = l->n;
	for (unsigned i = 0; i < l->n; i++) {
		d->path[i] = &l->paths[i].port;
		csv_disk_port_init(d, d->path[i]);
	}
}

static void close_paths(void *data)
{
	struct sg_lun *l = data;

	drop_paths(l);
	free(l);
}

/* ---- open ------------------------------------------------------------------------------------------- */

static bool sysfs(dev_t rdev, const char *name, char *buf, size_t size)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major(rdev), minor(rdev), name);
	return read_line(path, buf, size);
}

enum csv_err csv_disk_sg_paths(const char *path, bool rdonly, struct disk_paths *paths, bool *cached)
{
	struct sg_lun *l;
	enum csv_err err;
	struct stat st;
	char text[128];

	if (stat(path, &st) || !S_ISBLK(st.st_mode))
		return CSV_NOTSUP;
	/* Reservations are of a whole LUN. */
	if (sysfs(st.st_rdev, "partition", text, sizeof(text)))
		return CSV_NOTSUP;
	*cached = !sysfs(st.st_rdev, "queue/write_cache", text, sizeof(text)) || strcmp(text, "write through") != 0;
	l = calloc(1, sizeof(*l));
	if (!l)
		return CSV_NOMEM;
	snprintf(l->path, sizeof(l->path), "%s", path);
	l->rdev = st.st_rdev;
	l->rdonly = rdonly;
	l->multipath = sysfs(st.st_rdev, "dm/uuid", text, sizeof(text)) && !strncmp(text, "mpath-", 6);
	err = !l->multipath && sysfs(st.st_rdev, "dm/uuid", text, sizeof(text)) ? CSV_NOTSUP : add_paths(l);
	if (err != CSV_OK) {
		drop_paths(l);
		free(l);
		return err;
	}
	*paths = (struct disk_paths){ .look = look, .close = close_paths, .data = l };
	return CSV_OK;
}
