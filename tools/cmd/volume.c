/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvadm volume info: superblock and slots, read from the LUN. */
#include <stdio.h>
#include <string.h>

#include "fs/disk/super.h"
#include "fs/meta/alloc.h"
#include "tools/csvadm.h"

struct lun_of {
	const char *volume;
	char lun[256];
};

static void on_volume(void *arg, const struct csv_msg *msg)
{
	struct lun_of *l = arg;

	if (msg->type == CSV_MSG_STATUS_VOLUME && !strncmp(msg->volume.name, l->volume, sizeof(msg->volume.name)))
		memcpy(l->lun, msg->volume.lun, sizeof(l->lun));
}

/* A volume's name is looked up at csvlockd, everything with a slash is a LUN itself. */
static enum csv_err find_lun(struct csv_call *c, struct lun_of *l)
{
	struct csv_msg req = { .type = CSV_MSG_STATUS };
	struct csv_client *cl;
	enum csv_err err;

	if (strchr(l->volume, '/')) {
		if (snprintf(l->lun, sizeof(l->lun), "%s", l->volume) >= (int)sizeof(l->lun))
			return csv_usage(c, "the LUN's name is too long");
		return CSV_OK;
	}
	err = csv_lockd(c, &cl, NULL);
	if (err)
		return err;
	err = csv_client_call(cl, &req, c->timeout_ms, on_volume, l, &c->why);
	csv_client_close(cl);
	l->lun[sizeof(l->lun) - 1] = 0;
	if (!err && !*l->lun)
		return csv_fail(&c->why, CSV_NOENT, "give its LUN instead", "the volume is not mounted on this node");
	return err;
}

static json_t *slot_json(const struct csv_slot *s)
{
	static const char *const states[] = { "clean", "live", "fenced" };
	char key[24];
	json_t *o = json_object();

	csv_out_u64(o, "n", s->slot);
	csv_out_str(o, "state", s->state <= CSV_SLOT_FENCED ? states[s->state] : "?");
	csv_out_str(o, "node", s->node);
	csv_out_u64(o, "incarnation", s->incarnation);
	snprintf(key, sizeof(key), "0x%016llx", (unsigned long long)s->pr_key);
	csv_out_str(o, "pr_key", s->pr_key ? key : NULL);
	return o;
}

static void on_feature(void *arg, const char *name)
{
	json_array_append_new(arg, json_string(name));
}

static enum csv_err describe(struct csv_call *c, struct csv_bdev *dev, const char *lun)
{
	struct csv_fs fs = { 0 };
	uint64_t free_blocks = 0;
	json_t *slots, *features;
	enum csv_err err;

	err = csv_fs_open(&fs, dev, csv_env_system(), true, CSV_SLOT_NONE, 0, &c->why);
	if (err)
		return err;
	csv_fs_lock_shared(&fs);
	err = csv_alloc_free_blocks(&fs, &free_blocks);
	csv_fs_unlock(&fs);
	c->result = json_object();
	csv_out_str(c->result, "name", fs.sb.name);
	csv_out_uuid(c->result, "uuid", fs.sb.uuid);
	csv_out_str(c->result, "cluster", fs.sb.cluster);
	csv_out_str(c->result, "lun", lun);
	csv_out_u64(c->result, "size", fs.sb.blocks * CSV_BLOCK_SIZE);
	if (!err)
		csv_out_u64(c->result, "free", free_blocks * CSV_BLOCK_SIZE);
	else
		json_object_set_new(c->result, "free", json_null());
	features = json_array();
	csv_super_features(&fs.sb, on_feature, features);
	json_object_set_new(c->result, "features", features);
	csv_out_u64(c->result, "superblock_copy", fs.sb.copy_used);
	if (fs.sb.copy_used)
		csv_warning(c, "the first superblock is damaged, copy %u was used; run csvadm check", fs.sb.copy_used);
	slots = json_array();
	for (uint32_t n = 0; n < fs.sb.slots; n++) {
		struct csv_slot s;

		if (!csv_slot_read(dev, &fs.sb, n, &s, NULL))
			json_array_append_new(slots, slot_json(&s));
	}
	json_object_set_new(c->result, "slots", slots);
	csv_fs_close(&fs);
	return CSV_OK;
}

enum csv_err csv_cmd_volume_info(struct csv_call *c)
{
	struct lun_of l = { 0 };
	struct csv_bdev *dev;
	enum csv_err err;

	if (c->argc != 2)
		return csv_usage(c, "a volume or LUN is needed");
	l.volume = c->argv[1];
	c->what = l.volume;
	err = find_lun(c, &l);
	if (err)
		return err;
	err = csv_bdev_open(l.lun, CSV_BDEV_RDONLY, &dev, &c->why);
	if (err)
		return err;
	err = describe(c, dev, l.lun);
	csv_bdev_close(dev);
	return err;
}
