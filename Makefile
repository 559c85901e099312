# SPDX-License-Identifier: GPL-2.0-or-later
# csvfs: `make help` lists the targets.

MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.SECONDARY:

# A build has a folder of its own: VARIANT is empty, bugs, asan, tsan or fuzz.
VARIANT ?=
BUILD   := build$(if $(VARIANT),/$(VARIANT))
CC      ?= gcc
ifeq ($(origin CC),default)
CC      := gcc
endif
OPT     ?= -O2 -g
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings \
           -Wvla -Wundef -Wformat=2 -Wswitch-enum -Wno-unused-parameter -Wno-missing-field-initializers
WERROR  ?=
HARDEN  := -fstack-protector-strong -fno-strict-overflow
CPPFLAGS_ALL := -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DFUSE_USE_VERSION=314 -I. -Iinclude -isystem /usr/include/fuse3 $(CPPFLAGS)
CFLAGS_ALL   := -std=gnu17 $(OPT) $(WARN) $(WERROR) $(HARDEN) -pthread -MMD -MP $(CFLAGS)
LDFLAGS_ALL  := -pthread $(LDFLAGS)

ifeq ($(VARIANT),bugs)
CPPFLAGS_ALL += -DCSV_BUGS
endif
ifeq ($(VARIANT),asan)
CFLAGS_ALL   += -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined
LDFLAGS_ALL  += -fsanitize=address,undefined
endif
ifeq ($(VARIANT),tsan)
CFLAGS_ALL   += -fsanitize=thread -fno-omit-frame-pointer
LDFLAGS_ALL  += -fsanitize=thread
endif
ifeq ($(VARIANT),fuzz)
CFLAGS_ALL   += -fsanitize=fuzzer-no-link,address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined
LDFLAGS_ALL  += -fsanitize=address,undefined
endif

# ---- the parts: who may include whom is checked by tools/dev/check-includes ----
src = $(sort $(wildcard $(addsuffix /*.c,$(1))))
obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

LIB_SRC     := $(call src,lib)
MIGCORE_SRC := $(call src,migrate/core)
LOCKD_SRC   := $(filter-out lockd/main.c,$(call src,lockd lockd/core lockd/engine lockd/daemon))
CLIENT_SRC  := $(call src,lockd/client)
DLM_SRC     := $(filter-out lockd/dlm/csv-%.c,$(call src,lockd/dlm))
MIGRATE_SRC := $(call src,migrate/source migrate/target migrate/qemu)
CORE_SRC    := $(call src,fs/disk fs/journal fs/meta fs/data fs/vhd)
FSD_SRC     := $(filter-out fs/main.c,$(call src,fs fs/lock fs/fuse fs/ctl))
CSVADM_SRC  := $(filter-out tools/main.c,$(call src,tools tools/cmd tools/check tools/lun))

LIB_A     := $(BUILD)/libcsv.a
MIGCORE_A := $(BUILD)/libmigcore.a
LOCKD_A   := $(BUILD)/liblockd.a
CLIENT_A  := $(BUILD)/liblockclient.a
DLM_A     := $(BUILD)/liblockdlm.a
MIGRATE_A := $(BUILD)/libmigrate.a
CORE_A    := $(BUILD)/libfscore.a
FSD_A     := $(BUILD)/libfsd.a
TOOLS_A   := $(BUILD)/libtools.a

LIBS_LIB   := -luring -liscsi -lisal
LIBS_FSD   := -lfuse3 -linih
LIBS_TOOLS := -lsmartcols -ljansson -lblkid -luuid
LIBS_DLM   := -ldlm -ldlmcontrol
LIBS_LOCKD := -lcpg -lcfg -lvotequorum -lcmap -lqb -linih

BINS := $(addprefix $(BUILD)/bin/,$(if $(wildcard fs/main.c),csvfs) $(if $(wildcard lockd/main.c),csvlockd) \
        $(if $(wildcard tools/main.c),csvadm) $(if $(wildcard migrate/hook/csv-handoff.c),csv-handoff) \
        $(if $(wildcard migrate/hook/csv-vm-exec.c),csv-vm-exec) csv-dlm-space csv-dlm-fence)

all: $(BINS)

$(LIB_A): $(call obj,$(LIB_SRC))
$(MIGCORE_A): $(call obj,$(MIGCORE_SRC))
$(LOCKD_A): $(call obj,$(LOCKD_SRC))
$(CLIENT_A): $(call obj,$(CLIENT_SRC))
$(DLM_A): $(call obj,$(DLM_SRC))
$(MIGRATE_A): $(call obj,$(MIGRATE_SRC))
$(CORE_A): $(call obj,$(CORE_SRC))
$(FSD_A): $(call obj,$(FSD_SRC))
$(TOOLS_A): $(call obj,$(CSVADM_SRC))

%.a:
	@mkdir -p $(@D)
	@rm -f $@
	@ar rcs $@ $^

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -c -o $@ $<

define link
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $(1)
endef

$(BUILD)/bin/csvfs: $(call obj,fs/main.c) $(FSD_A) $(MIGRATE_A) $(CLIENT_A) $(CORE_A) $(LIB_A)
	$(call link,$^ $(LIBS_LIB) $(LIBS_FSD) -luuid)

$(BUILD)/bin/csvlockd: $(call obj,lockd/main.c) $(LOCKD_A) $(MIGCORE_A) $(LIB_A)
	$(call link,$^ $(LIBS_LIB) $(LIBS_LOCKD) -luuid)

$(BUILD)/bin/csvadm: $(call obj,tools/main.c) $(TOOLS_A) $(MIGRATE_A) $(CLIENT_A) $(CORE_A) $(LIB_A)
	$(call link,$^ $(LIBS_LIB) $(LIBS_TOOLS) -linih)

$(BUILD)/bin/csv-handoff: $(call obj,migrate/hook/csv-handoff.c) $(MIGRATE_A) $(CLIENT_A) $(LIB_A)
	$(call link,$^ $(LIBS_LIB) -ljansson -linih -luuid)

$(BUILD)/bin/csv-vm-exec: $(call obj,migrate/hook/csv-vm-exec.c) $(CLIENT_A) $(LIB_A)
	$(call link,$^ $(LIBS_LIB))

# Beside csvlockd, which has not these libraries: a host without a DLM needs none of them.
$(BUILD)/bin/csv-dlm-space: $(call obj,lockd/dlm/csv-dlm-space.c) $(DLM_A) $(LIB_A)
	$(call link,$^ $(LIBS_DLM))

$(BUILD)/bin/csv-dlm-fence: $(call obj,lockd/dlm/csv-dlm-fence.c) $(DLM_A) $(CLIENT_A) $(LIB_A)
	$(call link,$^)

# ---- tests ------------------------------------------------------------------
# tests/{unit,sim,crash,fuzz}/test_X.c: a cmocka program each; helpers beside them
# are all other .c files of the folder.
UNIT_SRC  := $(filter-out tests/fuzz/entry.c,$(call src,tests/unit tests/sim tests/crash tests/fuzz))
TEST_MAIN := $(foreach f,$(UNIT_SRC),$(if $(filter test_%,$(notdir $(f))),$(f)))
TEST_HELP := $(filter-out $(TEST_MAIN),$(UNIT_SRC))
TESTS     := $(patsubst tests/%.c,$(BUILD)/tests/%,$(TEST_MAIN))
TEST_A    := $(BUILD)/libtest.a
$(TEST_A): $(call obj,$(TEST_HELP))

# The archives refer to each other in tests: one group.
$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(TEST_A) $(TOOLS_A) $(FSD_A) $(MIGRATE_A) $(CLIENT_A) $(CORE_A) $(LOCKD_A) $(DLM_A) $(MIGCORE_A) $(LIB_A)
	$(call link,$< -Wl$(comma)--start-group $(filter %.a,$^) -Wl$(comma)--end-group -lcmocka $(LIBS_LIB) $(LIBS_FSD) $(LIBS_TOOLS) $(LIBS_LOCKD) $(LIBS_DLM))
comma := ,

# A program of libFuzzer for each target of tests/fuzz/fuzz.h (clang, VARIANT=fuzz).
FUZZERS := machine state frames handoff dlm texts volume
$(BUILD)/obj/tests/fuzz/entry-%.o: tests/fuzz/entry.c
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -DFUZZ_TARGET=fuzz_$* -c -o $@ $<
$(BUILD)/bin/fuzz-%: $(BUILD)/obj/tests/fuzz/entry-%.o $(TEST_A) $(TOOLS_A) $(FSD_A) $(MIGRATE_A) $(CLIENT_A) $(CORE_A) $(LOCKD_A) $(DLM_A) $(MIGCORE_A) $(LIB_A)
	$(call link,-fsanitize=fuzzer $< -Wl$(comma)--start-group $(filter %.a,$^) -Wl$(comma)--end-group -lcmocka $(LIBS_LIB) $(LIBS_FSD) $(LIBS_TOOLS) $(LIBS_LOCKD) $(LIBS_DLM))
fuzzers: $(addprefix $(BUILD)/bin/fuzz-,$(FUZZERS))

# Looks at the LUN from outside: no code of ours in it.
$(BUILD)/bin/lun-witness: $(BUILD)/obj/tests/cluster/witness/lun-witness.o
	$(call link,$^ -liscsi)

# Drives the kernel's DLM in the lab.
$(BUILD)/bin/dlm-probe: $(BUILD)/obj/tests/lab/probe/dlm-probe.o
	$(call link,$^ -ldlm)

# Measures locks through csvlockd, and what lies below them.
BENCH_SRC := $(call src,tests/bench)
$(BUILD)/bin/lock-bench: $(call obj,$(BENCH_SRC)) $(FSD_A) $(MIGRATE_A) $(CLIENT_A) $(CORE_A) $(LIB_A)
	$(call link,$^ $(LIBS_LIB) $(LIBS_FSD) -luuid -lcpg -ldlm)

tests: $(TESTS) $(BUILD)/bin/lun-witness $(BUILD)/bin/dlm-probe $(BUILD)/bin/lock-bench

# Parallel by default; the cluster's tests and QEMU never run beside something else.
JOBS ?= $(shell nproc)
PYTEST := /usr/bin/python3 -m pytest -q -p no:cacheprovider

# Installs what is missing (apt), on a machine where nothing is there yet.
setup:
	@tools/setup/packages

guest:
	@tests/demo/guest/build
	@tests/demo/vm/build

build-check:
	@$(MAKE) -j$(JOBS) --no-print-directory WERROR=-Werror all tests
	@$(MAKE) -j$(JOBS) --no-print-directory WERROR=-Werror CC=clang BUILD=build/clang all
	@$(MAKE) -j$(JOBS) --no-print-directory WERROR=-Werror VARIANT=bugs all tests
	@$(MAKE) -j$(JOBS) --no-print-directory WERROR=-Werror VARIANT=asan tests

# All tests. The parts that need the cluster or QEMU come last, one after the other.
check: setup
	@$(MAKE) --no-print-directory build-check
	@$(MAKE) --no-print-directory guest
	@tests/leftovers --before
	@tests/run includes=cmd:tools/dev/check-includes style=cmd:tools/dev/check-style \
		unit=cmocka:build/tests/unit sim=cmocka:build/tests/sim crash=cmocka:build/tests/crash \
		bugs-sim=cmocka:build/bugs/tests/sim bugs-crash=cmocka:build/bugs/tests/crash \
		fuzz=cmocka:build/tests/fuzz asan-fuzz=cmocka:build/asan/tests/fuzz \
		bugs-fence=cmd:build/bugs/tests/unit/test_recover \
		asan-unit=cmocka:build/asan/tests/unit \
		local=pytest:tests/local guest=pytest:tests/demo cluster=pytest:tests/cluster \
		leftovers=cmd:tests/leftovers

SEEDS ?= 5000
sim:
	@$(MAKE) -j$(JOBS) --no-print-directory tests
	@SEEDS=$(SEEDS) tests/run sim=cmocka:build/tests/sim

# The same, with the tables of which state has met which event.
sim-table:
	@$(MAKE) -j$(JOBS) --no-print-directory tests
	@for t in handoff machine; do SIM_TABLE=1 SEEDS=$(SEEDS) build/tests/sim/test_$$t || exit 1; done

N ?= 5000
crash:
	@$(MAKE) -j$(JOBS) --no-print-directory tests
	@CRASH_N=$(N) tests/run crash=cmocka:build/tests/crash

# Each target for FUZZ_S seconds, one after the other. What is found lies in build/fuzz/found, the inputs in build/fuzz/corpus.
FUZZ_S ?= 30
fuzz:
	@$(MAKE) -j$(JOBS) --no-print-directory build/tests/fuzz/test_fuzz_wire build/tests/fuzz/test_fuzz_disk
	@$(MAKE) -j$(JOBS) --no-print-directory VARIANT=fuzz CC=clang fuzzers
	@mkdir -p build/fuzz/corpus build/fuzz/found
	@for t in wire disk; do FUZZ_CORPUS=build/fuzz/corpus build/tests/fuzz/test_fuzz_$$t || exit 1; done
	@tests/run $(foreach t,$(FUZZERS),"$(t)=cmd:build/fuzz/bin/fuzz-$(t) -max_total_time=$(FUZZ_S) -max_len=4096 -timeout=20 \
		-rss_limit_mb=2048 -verbosity=0 -artifact_prefix=build/fuzz/found/$(t)- build/fuzz/corpus/$(t)")

asan tsan:
	@$(MAKE) -j$(JOBS) --no-print-directory VARIANT=$@ tests
	@tests/run $@=cmocka:build/$@/tests/unit

cluster: setup
	@$(MAKE) -j$(JOBS) --no-print-directory all
	@tests/cluster/up --nodes $(or $(NODES),3) --lun-size $(or $(LUN_SIZE),8G)

cluster-stop:
	@tests/cluster/down

# The same parts on virtual machines with the stock kernel: its DLM, its iSCSI initiator, its block layer.
lab: setup
	@$(MAKE) -j$(JOBS) --no-print-directory WERROR=-Werror all $(BUILD)/bin/dlm-probe
	@CSV_TEST_SECONDS=900 tests/run lab=pytest:tests/lab

# A VM inside the machines moves between them, and one of them dies.
lab-demo: setup
	@$(MAKE) -j$(JOBS) --no-print-directory all
	@tests/lab/demo

# csvfs and GFS2 side by side on those machines.
lab-bench: setup
	@$(MAKE) -j$(JOBS) --no-print-directory all
	@tests/lab/bench

# Who dies, and in the middle of what: every pair of the two, on five nodes of this host. Then each step of a handoff.
matrix: setup
	@$(MAKE) -j$(JOBS) --no-print-directory WERROR=-Werror all
	@$(MAKE) -j$(JOBS) --no-print-directory WERROR=-Werror VARIANT=bugs all
	@tests/matrix/run
	@tests/run handoff-steps=pytest:tests/cluster/test_handoff_stops.py

# The same on three virtual machines, with the kernel's DLM.
lab-matrix: setup
	@$(MAKE) -j$(JOBS) --no-print-directory WERROR=-Werror all
	@tests/matrix/run --lab

# A cluster of two nodes, split N times.
split: N = 100
split: setup
	@$(MAKE) -j$(JOBS) --no-print-directory WERROR=-Werror all
	@tests/matrix/split $(N)

# What a lock costs, and the messages below it, in the same run.
bench-locks: setup
	@$(MAKE) -j$(JOBS) --no-print-directory WERROR=-Werror all $(BUILD)/bin/lock-bench
	@tests/bench/locks

# The main job: a VM's disk moves between nodes, live and after a node's death.
demo: setup
	@$(MAKE) -j$(JOBS) --no-print-directory all $(BUILD)/bin/lun-witness
	@tests/demo/run

demo-stop:
	@tests/demo/stop

format:
	@git ls-files '*.c' | xargs clang-format -i

PREFIX ?= /usr/local
install: all
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)/etc/csvfs/hooks $(DESTDIR)/etc/csvfs/chap $(DESTDIR)/var/lib/csvfs
	install -m 755 $(BINS) $(DESTDIR)$(PREFIX)/sbin
	for name in mkfs mount fsck; do ln -sf csvadm $(DESTDIR)$(PREFIX)/sbin/$$name.csvfs; done
	chmod 700 $(DESTDIR)/etc/csvfs/chap
	[ -e $(DESTDIR)/etc/csvfs/hooks/vm-launch ] || install -m 755 migrate/hook/vm-launch $(DESTDIR)/etc/csvfs/hooks

help:
	@echo "make              build everything into build/bin"
	@echo "make check        install what is missing, build with warnings as errors, run all tests"
	@echo "make demo         a running VM's disk moves between three nodes on this machine; KEEP=1 leaves them up"
	@echo "make demo-stop    remove every trace of the demo"
	@echo "make cluster      bring up a cluster on this machine (NODES=3 LUN_SIZE=8G)"
	@echo "make cluster-stop take it down"
	@echo "make lab          tests on three virtual machines with Debian's kernel: DLM, open-iscsi, reservations"
	@echo "make lab-demo     a VM inside those machines moves between them, and one of them dies"
	@echo "make lab-bench    csvfs and GFS2 side by side on those machines"
	@echo "make matrix       who dies, in the middle of what: all of it, and what each costs; lab-matrix: on virtual machines"
	@echo "make split        a cluster of two nodes, split N=100 times: one goes on"
	@echo "make bench-locks  what a lock costs, beside the messages below it"
	@echo "make sim          the simulator, SEEDS=N seeds"
	@echo "make sim-table    the same, with tables of the states and events that it has met"
	@echo "make crash        recorded-write crash tests, N=... images"
	@echo "make fuzz         libFuzzer (clang) on all that is read from disk, wire and files, FUZZ_S=30 seconds each"
	@echo "make asan, tsan   unit tests under the sanitizers"
	@echo "make install      DESTDIR= PREFIX=/usr/local"
	@echo "make format       clang-format all C files"
	@echo "make clean        remove build/"

clean:
	rm -rf build

.PHONY: all tests clean setup guest build-check check sim sim-table crash asan tsan cluster cluster-stop lab lab-demo lab-bench demo demo-stop format install help matrix lab-matrix split bench-locks fuzz fuzzers
-include $(shell test -d $(BUILD)/obj && find $(BUILD)/obj -name '*.d')
