# SPDX-License-Identifier: GPL-2.0-or-later
"""csvadm on volumes in files: results, bad input, exit codes, one clear line."""
import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CSVADM = ROOT / "build" / "bin" / "csvadm"
SUPER_BLOCKS = (0, 129)  # the primary and its first copy (docs/FORMAT.md)
BLOCK = 4096


def adm(*words, env=None):
    """csvadm with a run directory that does not exist: no csvlockd answers."""
    environment = {**os.environ, "CSV_RUN_DIR": "/nonexistent/csvfs", **(env or {})}
    return subprocess.run([str(CSVADM), *map(str, words)], env=environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, timeout=60)


def refused(done, code, *parts):
    """The command failed with this code and one line that has these parts; nothing on standard output."""
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("csvadm: "), done.stderr
    for part in parts:
        assert part in done.stderr, done.stderr
    assert done.stdout == ""


@pytest.fixture
def image(tmp_path):
    """An empty file of 64 MiB."""
    path = tmp_path / "vol.img"
    with open(path, "wb") as file:
        file.truncate(64 << 20)
    return path


@pytest.fixture
def volume(image):
    """A volume without a cluster."""
    assert adm("format", image, "--name", "vol1", "--slots", 2, "--journal", "1M").returncode == 0
    return image


def unchanged(path):
    """Content of the parts of a file that anything would write first."""
    with open(path, "rb") as file:
        return file.read(2 << 20)


def test_format_tells_what_it_made(image):
    done = adm("--json", "format", image, "--name", "vol1", "--cluster", "c1", "--slots", 4, "--journal", "1M")
    made = json.loads(done.stdout)
    assert done.returncode == 0 and made["schema"] == 1
    assert (made["volume"], made["slots"], made["cluster"]) == ("vol1", 4, "c1")
    assert made["size"] <= 64 << 20 and len(made["uuid"]) == 36


def test_volume_info_reads_it_back(volume):
    info = json.loads(adm("--json", "volume", "info", volume).stdout)
    assert info["name"] == "vol1" and info["cluster"] is None
    assert [s["state"] for s in info["slots"]] == ["clean", "clean"]
    assert 0 < info["free"] < info["size"]


@pytest.mark.parametrize("words, part", [
    ([], "one LUN"), (["--slots", "65"], "--slots"), (["--slots", "x"], "--slots"), (["--journal", "1"], "--journal"),
    (["--name", "a/b"], "a/b"), (["--name", ""], "name"), (["--name", "x" * 64], "name"), (["--bogus"], "option")])
def test_format_refuses_bad_words(image, words, part):
    before = unchanged(image)
    lun = [image] if words else []
    done = adm("format", *lun, *(["--name", "vol1"] if "--name" not in words else []), *words)
    refused(done, 2, part)
    assert unchanged(image) == before


def test_format_refuses_a_missing_lun(tmp_path):
    refused(adm("format", tmp_path / "none", "--name", "v"), 4, "none")


def test_format_refuses_a_tiny_lun(tmp_path):
    path = tmp_path / "tiny"
    path.write_bytes(bytes(1 << 20))
    done = adm("format", path, "--name", "v")
    assert done.returncode != 0 and done.stderr.count("\n") == 1
    assert path.read_bytes() == bytes(1 << 20)


def test_format_refuses_a_foreign_filesystem(image):
    subprocess.run(["/usr/sbin/mke2fs", "-q", "-F", image], check=True)
    before = unchanged(image)
    refused(adm("format", image, "--name", "vol1"), 9, "ext", "--force")
    assert unchanged(image) == before
    assert adm("format", image, "--name", "vol1", "--journal", "1M", "--force").returncode == 0


def test_format_refuses_what_is_ambiguous(image):
    """Two signatures are twice a reason, not none."""
    subprocess.run(["/usr/sbin/mke2fs", "-q", "-F", image], check=True)
    with open(image, "r+b") as file:
        file.write(b"LUKS\xba\xbe\x00\x01")
    before = unchanged(image)
    refused(adm("format", image, "--name", "vol1"), 9, "ext2", "crypto_LUKS", "--force")
    assert unchanged(image) == before


@pytest.mark.parametrize("mib, magic", [(1, b"\x0d\xd0\x01\xc0"), (2, b"\x5e\xf1\xab\x2f")])
def test_format_refuses_signatures_farther_on(image, mib, magic):
    with open(image, "r+b") as file:
        file.seek(mib << 20)
        file.write(magic.ljust(4096, b"\1"))
    refused(adm("format", image, "--name", "vol1"), 9, "VMFS", "--force")


def test_format_refuses_a_damaged_volume(volume):
    """A csvfs volume that nobody can use may still be wanted."""
    size = volume.stat().st_size
    with open(volume, "r+b") as file:
        for block in (*SUPER_BLOCKS, size // BLOCK - 1):
            file.seek(block * BLOCK + 100)
            file.write(b"\xff" * 512)
    refused(adm("format", volume, "--name", "vol2"), 9, "csvfs", "--force")
    set_up = adm("format", volume, "--name", "vol2", "--slots", 2, "--journal", "1M", "--force")
    assert set_up.returncode == 0


def test_format_refuses_a_volume(volume):
    before = unchanged(volume)
    refused(adm("format", volume, "--name", "vol2"), 9, "vol1", "--force")
    assert unchanged(volume) == before


def test_mount_refuses_what_is_no_volume(image, tmp_path):
    refused(adm("mount", image, tmp_path, "-o", "lock=local"), 9, str(image))


def test_mount_refuses_bad_options(volume, tmp_path):
    for options in ("lock=none", "bogus", "path_timeout=x"):
        refused(adm("mount", volume, tmp_path, "-o", options), 2)


@pytest.mark.parametrize("options", ["path_timeout=0", "path_timeout=86401", "path_timeout=5s", "path_timeout= 5",
                                     "path_timeout=+5", "path_timeout=99999999999999999999", "node="])
def test_mount_names_a_bad_value(volume, tmp_path, options):
    refused(adm("mount", volume, tmp_path, "-o", f"lock=local,{options}"), 2, options.partition("=")[0])


def test_mount_refuses_what_means_nothing(volume, image, tmp_path):
    """A file has no path to lose and no reservations; a cluster's volume is never mounted read-only."""
    before = volume.read_bytes()
    refused(adm("mount", volume, tmp_path, "-o", "lock=local,path_timeout=5"), 2, "path_timeout")
    refused(adm("mount", volume, tmp_path, "-o", "lock=local,takeover"), 2, "takeover")
    refused(adm("mount", volume, tmp_path, "-o", "lock=cpg,ro"), 2, "read-only")
    refused(adm("mount", volume, tmp_path, "-o", "colour=blue"), 2, "colour", "path_timeout")
    assert volume.read_bytes() == before


@pytest.mark.parametrize("value", ["0", "-5", "3601", "20x", "x", "", " 5", "+5", "4294968", "18446744073709551617"])
def test_timeout_refuses_what_is_no_time(value):
    """20x, or a number that overflows milliseconds, is not taken for another."""
    refused(adm("--timeout", value, "help"), 2, f"--timeout {value}", "1 to 3600")


def test_numbers_are_checked():
    refused(adm("handoff", "prepare", "--pid", "12x", "--to", "n2"), 2, "--pid 12x")
    refused(adm("handoff", "prepare", "--pid", "4294967297", "--to", "n2"), 2, "--pid 4294967297", str(2**31 - 1))
    for inode in ("-1", "12x", "18446744073709551616", "0"):
        refused(adm("lock", "list", "v", "--inode", inode), 2, f"--inode {inode}")
    for lun in ("iscsi://h/iqn.x/-1", "iscsi://h/iqn.x/16384", "iscsi://h:0/iqn.x/1", "iscsi://h:x/iqn.x/1"):
        refused(adm("volume", "info", lun), 2, "number")


def test_configuration_names_a_bad_value(tmp_path):
    """csvlockd does not start with a figure that it would have to guess at."""
    config = tmp_path / "csvfs.conf"
    for value in ("5s", "-1", "60001", "18446744073709551617"):
        config.write_text(f"[timeouts]\nreattach_ms = {value}\n")
        done = subprocess.run([CSVADM.with_name("csvlockd"), "--foreground", "--config", config], check=False,
                              capture_output=True, text=True, timeout=30,
                              env={**os.environ, "CSV_RUN_DIR": str(tmp_path / "run")})
        assert done.returncode == 2, done.stderr
        assert f"reattach_ms = {value}" in done.stderr and "0 to 60000" in done.stderr


def test_mount_without_csvlockd(image, tmp_path):
    assert adm("format", image, "--name", "v", "--cluster", "c", "--slots", 2, "--journal", "1M").returncode == 0
    refused(adm("mount", image, tmp_path, "-o", "lock=cpg"), 5, "csvlockd")


FEATURES = {"compat": 64 + 8, "rocompat": 64 + 16, "incompat": 64 + 24}  # where in a superblock (docs/FORMAT.md)


def set_feature(volume, kind, bit):
    """The bit is set in every copy, with good checksums."""
    size, at = volume.stat().st_size, FEATURES[kind]
    for block in (*SUPER_BLOCKS, size // BLOCK - 1):
        with open(volume, "r+b") as file:
            file.seek(block * BLOCK)
            data = bytearray(file.read(BLOCK))
            assert data[:4] == b"CSVS"
            data[at:at + 8] = (1 << bit).to_bytes(8, "little")
            data[4:8] = bytes(4)
            data[4:8] = _crc32c(bytes(data)).to_bytes(4, "little")
            file.seek(block * BLOCK)
            file.write(data)


def test_an_unknown_feature_is_named(volume):
    set_feature(volume, "incompat", 40)
    refused(adm("volume", "info", volume), 9, "feature", "incompat-40")


def test_features_that_are_set_are_listed(volume):
    assert json.loads(adm("--json", "volume", "info", volume).stdout)["features"] == []
    set_feature(volume, "compat", 3)
    set_feature(volume, "rocompat", 41)
    info = json.loads(adm("--json", "volume", "info", volume).stdout)
    assert info["features"] == ["compat-3", "rocompat-41"]


def _crc32c(data):
    """CRC32C, bit by bit: slow and independent of the project's."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_a_damaged_superblock_is_replaced_by_its_copy(volume):
    with open(volume, "r+b") as file:
        file.write(b"\xff" * 512)
    done = adm("--json", "volume", "info", volume)
    info = json.loads(done.stdout)
    assert info["name"] == "vol1" and info["superblock_copy"] == 1
    assert "copy 1 was used" in done.stderr and done.stderr.count("\n") == 1


def test_all_superblocks_damaged(volume):
    size = volume.stat().st_size
    with open(volume, "r+b") as file:
        for block in (*SUPER_BLOCKS, size // BLOCK - 1):
            file.seek(block * BLOCK + 100)
            file.write(b"\xff" * 512)
    done = adm("volume", "info", volume)
    assert done.returncode == 8 and done.stderr.count("\n") == 1


def test_errors_in_json_keep_the_line(image):
    done = adm("--json", "volume", "info", image)
    error = json.loads(done.stdout)["error"]
    assert done.returncode == 9 and error["code"] == "notcsv" and error["message"]
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [["status"], ["node", "list"], ["volume", "list"], ["lock", "list", "vol1"],
                                   ["handle", "list"]])
def test_questions_without_csvlockd(words):
    refused(adm(*words), 5, "csvlockd")


@pytest.mark.parametrize("words", [["bogus"], ["--bogus"], ["volume"], ["umount"], ["status", "more"]])
def test_wrong_commands(words):
    assert adm(*words).returncode == 2


def test_help_names_every_command():
    text = adm("help").stdout
    for word in ("format", "check", "mount", "umount", "vhd create", "lock list"):
        assert word in text


def test_vhd_create_refuses_bad_sizes(tmp_path):
    for size in ("0", "100", "x", "65T", "1G1"):
        refused(adm("vhd", "create", tmp_path / "d.vhd", "--size", size), 2, "size")
    refused(adm("vhd", "create", tmp_path / "d.vhd", "--size", "1M", "--type", "dynamic"), 2, "fixed")
    assert not (tmp_path / "d.vhd").exists()


def test_vhd_create_wants_a_volume(tmp_path):
    """Elsewhere nothing would keep two writers of it apart."""
    refused(adm("vhd", "create", tmp_path / "d.vhd", "--size", "1M"), 2, "not on a csvfs volume")
    assert not (tmp_path / "d.vhd").exists()


def test_other_names(image, tmp_path):
    for name in ("mkfs.csvfs", "fsck.csvfs", "mount.csvfs"):
        (tmp_path / name).symlink_to(CSVADM)
    made = subprocess.run([tmp_path / "mkfs.csvfs", image, "--name", "v", "--journal", "1M", "--slots", "2"], check=False)
    assert made.returncode == 0
    for option in ("-a", "-p", "-n", "-fn", "-C0"):
        assert subprocess.run([tmp_path / "fsck.csvfs", option, image], check=False).returncode == 0
    for option, said in (("-y", "no repair"), ("-r", "no repair"), ("-fy", "no repair"), ("-x", "-x")):
        asked = subprocess.run([tmp_path / "fsck.csvfs", option, image], check=False, capture_output=True, text=True)
        assert asked.returncode == 16 and asked.stdout == ""
        assert asked.stderr.count("\n") == 1 and said in asked.stderr
    wrong = subprocess.run([tmp_path / "mount.csvfs", image], check=False, stderr=subprocess.PIPE)
    assert wrong.returncode == 1
