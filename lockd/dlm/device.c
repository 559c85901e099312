/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lockd/dlm/device.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

/* The kernel's struct dlm_lksb, which is libdlm's too: whoever includes both must not have it twice. */
#include <linux/dlm.h>
#include <linux/dlm_device.h>
#define BUILDING_LIBDLM
#include <libdlm.h>

static_assert(CSV_NL == LKM_NLMODE && CSV_CR == LKM_CRMODE && CSV_CW == LKM_CWMODE && CSV_PR == LKM_PRMODE &&
		  CSV_PW == LKM_PWMODE && CSV_EX == LKM_EXMODE,
	      "modes are the DLM's");

/* Here the kernel tells its nodes apart, a folder each. */
#define COMMS "/sys/kernel/config/dlm/cluster/comms"

/* What the kernel gives to read, with room for a value block, which the locks here do not have. */
struct dlm_read {
	struct dlm_lock_result result;
	char value[DLM_USER_LVB_LEN];
};

struct csv_dlm_device {
	dlm_lshandle_t space;
	int fd; /* libdlm's */
	/*
	 * The event that was read last, in memory that is shared with forked processes: one that is killed on its way
	 * back from the kernel leaves it there.  Handled: without an address.
	 */
	struct dlm_read *last;
};

/*
 * The kernel gives these two addresses back and nobody calls them: which one it is tells what happened.  They differ in
 * what they do, or a linker might make one of them.
 */
static void completed(void *arg)
{
	(void)arg;
	abort();
}

static void blocking(void *arg)
{
	(void)arg;
	_exit(1);
}

static void *argument(uint64_t cookie)
{
	static_assert(sizeof(void *) == sizeof(uint64_t), "a cookie travels in a pointer");
	return (void *)(uintptr_t)cookie;
}

static struct csv_dlm_device *alloc(void)
{
	struct csv_dlm_device *dev = calloc(1, sizeof(*dev));
	void *last = mmap(NULL, sizeof(*dev->last), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (dev && last != MAP_FAILED) {
		dev->last = last;
		return dev;
	}
	if (last != MAP_FAILED)
		munmap(last, sizeof(*dev->last));
	free(dev);
	return NULL;
}

static void release(struct csv_dlm_device *dev)
{
	munmap(dev->last, sizeof(*dev->last));
	free(dev);
}

int csv_dlm_device_open(const char *lockspace, struct csv_dlm_device **out)
{
	struct csv_dlm_device *dev = alloc();
	uint32_t major, minor, patch;
	int err;

	if (!dev)
		return ENOMEM;
	if (dlm_kernel_version(&major, &minor, &patch) || major != DLM_DEVICE_VERSION_MAJOR) {
		release(dev);
		return ENXIO;
	}
	/* The kernel counts creations and leaves with the last one, so there is to be one. */
	dev->space = dlm_open_lockspace(lockspace);
	if (!dev->space)
		dev->space = dlm_create_lockspace(lockspace, 0600);
	if (!dev->space) {
		err = errno ? errno : EIO;
		release(dev);
		return err;
	}
	dev->fd = dlm_ls_get_fd(dev->space);
	/* Only reading minds. */
	fcntl(dev->fd, F_SETFL, O_NONBLOCK);
	*out = dev;
	return 0;
}

int csv_dlm_device_leave(struct csv_dlm_device *dev, const char *lockspace)
{
	dlm_lshandle_t still;
	int err = 0;

	/* 2: with its locks. libdlm says nothing of what the kernel answers. */
	if (dlm_release_lockspace(lockspace, dev->space, 2))
		err = errno;
	release(dev);
	if (err)
		return err;
	still = dlm_open_lockspace(lockspace);
	if (!still)
		return 0;
	dlm_close_lockspace(still);
	return EBUSY;
}

int csv_dlm_device_fd(const struct csv_dlm_device *dev)
{
	return dev->fd;
}

/* The block is the kernel's to name only: what it would write there is in the event, which libdlm does not read. */
static int request(struct csv_dlm_device *dev, uint64_t cookie, const char *name, enum csv_mode mode, uint32_t flags,
		   uint32_t *id)
{
	struct dlm_lksb block = { .sb_lkid = *id };

	if (dlm_ls_lock(dev->space, mode, &block, flags, name, name ? (unsigned int)strlen(name) : 0, 0, completed,
			argument(cookie), blocking, NULL))
		return errno;
	*id = block.sb_lkid;
	return 0;
}

int csv_dlm_device_lock(struct csv_dlm_device *dev, uint64_t cookie, const char *name, enum csv_mode mode, bool noqueue,
			uint32_t *id)
{
	*id = 0;
	return request(dev, cookie, name, mode, noqueue ? LKF_NOQUEUE : 0, id);
}

int csv_dlm_device_convert(struct csv_dlm_device *dev, uint64_t cookie, uint32_t id, enum csv_mode mode)
{
	return request(dev, cookie, NULL, mode, LKF_CONVERT | LKF_PERSISTENT, &id);
}

int csv_dlm_device_adopt(struct csv_dlm_device *dev, uint64_t cookie, const char *name, enum csv_mode mode,
			 uint32_t *id)
{
	*id = 0;
	return request(dev, cookie, name, mode, LKF_ORPHAN | LKF_PERSISTENT, id);
}

int csv_dlm_device_unlock(struct csv_dlm_device *dev, uint64_t cookie, uint32_t id)
{
	struct dlm_lksb block = { 0 };

	return dlm_ls_unlock(dev->space, id, 0, &block, argument(cookie)) ? errno : 0;
}

int csv_dlm_device_cancel(struct csv_dlm_device *dev, uint64_t cookie, uint32_t id)
{
	struct dlm_lksb block = { 0 };

	return dlm_ls_unlock(dev->space, id, LKF_CANCEL, &block, argument(cookie)) ? errno : 0;
}

/* One number in a file of a node's folder; 0: there is none. */
static int read_number(int folder, const char *node, const char *file)
{
	char path[300], text[16] = "";
	int fd;

	snprintf(path, sizeof(path), "%s/%s", node, file);
	fd = openat(folder, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = 0;
	close(fd);
	return atoi(text);
}

/* The DLM's number of this host; 0: not known. */
static int own_nodeid(void)
{
	DIR *d = opendir(COMMS);
	struct dirent *e;
	int id = 0;

	while (d && !id && (e = readdir(d))) {
		if (e->d_name[0] != '.' && read_number(dirfd(d), e->d_name, "local") == 1)
			id = read_number(dirfd(d), e->d_name, "nodeid");
	}
	if (d)
		closedir(d);
	return id;
}

int csv_dlm_device_purge(struct csv_dlm_device *dev)
{
	int nodeid = own_nodeid();

	/* Any other number would take another host's orphans. */
	if (!nodeid)
		return ENXIO;
	return dlm_ls_purge(dev->space, nodeid, 0) ? errno : 0;
}

void csv_dlm_device_wait_running(struct csv_dlm_device *dev)
{
	int nodeid = own_nodeid();

	/* The orphans of a process that cannot be. */
	if (nodeid)
		dlm_ls_purge(dev->space, nodeid, INT_MAX);
}

static void tell_completion(struct csv_dlm_device_event *ev, int sb_status)
{
	ev->error = 0;
	switch (-sb_status) {
	case 0:
		ev->what = CSV_DLM_GRANTED;
		break;
	case DLM_EUNLOCK:
		ev->what = CSV_DLM_UNLOCKED;
		break;
	default:
		ev->what = CSV_DLM_REFUSED;
		ev->error = sb_status == -DLM_ECANCEL ? ECANCELED : -sb_status;
		break;
	}
}

static void *address(const struct csv_dlm_device *dev)
{
	return __atomic_load_n(&dev->last->result.user_astaddr, __ATOMIC_SEQ_CST);
}

static void tell(const struct csv_dlm_device *dev, struct csv_dlm_device_event *ev)
{
	const struct dlm_lock_result *r = &dev->last->result;

	ev->cookie = (uintptr_t)r->user_astparam;
	ev->mode = r->bast_mode;
	if (address(dev) == (void *)blocking)
		ev->what = CSV_DLM_BLOCKS;
	else
		tell_completion(ev, r->lksb.sb_status);
}

int csv_dlm_device_next(struct csv_dlm_device *dev, struct csv_dlm_device_event *ev)
{
	ssize_t n;

	csv_dlm_device_handled(dev);
	n = read(dev->fd, dev->last, sizeof(*dev->last));
	if (n < 0)
		return errno == EINTR ? EAGAIN : errno;
	if (n < (ssize_t)sizeof(dev->last->result))
		return EPROTO;
	tell(dev, ev);
	return 0;
}

void csv_dlm_device_handled(struct csv_dlm_device *dev)
{
	__atomic_store_n(&dev->last->result.user_astaddr, NULL, __ATOMIC_SEQ_CST);
}

bool csv_dlm_device_unhandled(const struct csv_dlm_device *dev, struct csv_dlm_device_event *ev)
{
	if (!address(dev))
		return false;
	tell(dev, ev);
	return true;
}
