# `make` builds, `make help` explains.
BUILD ?= build
CC = gcc
CLANG ?= clang
CFLAGS ?= -O2 -g
PYTHON ?= python3
# make V=1 shows every command.
Q = $(if $(V),,@echo "  $(1) $@";)
FUZZ_SECONDS ?= $(or $(SECONDS),60)
PKG := libuv libwebsockets libnghttp2 zlib libprotobuf-c sqlite3 jansson libcrypto openblas inih

# make SANITIZER=address|undefined|thread: a build of its own, in a folder of its own.
SANITIZER ?=
SANITIZE_address := -fsanitize=address,undefined -fno-sanitize-recover=all
SANITIZE_undefined := -fsanitize=undefined -fno-sanitize-recover=all
SANITIZE_thread := -fsanitize=thread
ifneq ($(SANITIZER),)
ifeq ($(filter $(SANITIZER),address undefined thread),)
$(error SANITIZER is "$(SANITIZER)", expected address, undefined or thread)
endif
override BUILD := $(BUILD)-$(SANITIZER)
endif

# The order of summation is a promise: no fast-math, and contraction said out loud.
BASE_FLAGS = -std=gnu17 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wpointer-arith -Wvla $(WERROR) \
             -fno-fast-math -ffp-contract=off -fno-strict-aliasing -fno-omit-frame-pointer -pthread \
             -D_GNU_SOURCE -MMD -MP -I. -I$(BUILD)/gen $(PKG_CFLAGS) $(SANITIZE_$(SANITIZER))
PKG_CFLAGS := $(shell pkg-config --cflags $(PKG) 2>/dev/null)
LIBS = -Wl,--as-needed $(PKG_LIBS) -lm -pthread $(SANITIZE_$(SANITIZER))
PKG_LIBS := $(shell pkg-config --libs $(PKG) 2>/dev/null)

COMMIT := $(shell git describe --always --dirty --exclude='*' --abbrev=12 2>/dev/null || echo unknown)

# ---- sources: a library a layer, found by folder ----

sources = $(sort $(foreach folder,$(1),$(wildcard $(folder)/*.c)))
objects = $(patsubst %.c,$(BUILD)/%.o,$(1))
# tests/unit has the folders of the sources, to any depth
tests_of = $(sort $(shell find tests/unit/$(1) -name '*.c' 2>/dev/null))

MODELS_SRC  := $(call sources,models/base models/format models/tensor models/graph models/family models/planner models/learner)
STORAGE_SRC := $(call sources,storage)
SERVER_SRC  := $(filter-out server/main.c,$(call sources,server))
CLIENT_SRC  := $(call sources,client/c)
CTL_SRC     := $(call sources,client/ctl)
ENVS_SRC    := $(call sources,client/envs)
SUPPORT_SRC := $(call sources,tests/support)
BENCH_SRC   := $(call sources,tests/bench)
FUZZ_SRC    := $(wildcard tests/fuzz/fuzz_*.c)

MODELS  := $(BUILD)/libdr_models.a
STORAGE := $(BUILD)/libdr_storage.a
SERVER  := $(BUILD)/libdr_server.a
ENVS    := $(BUILD)/libdr_envs.a
PROTO   := $(BUILD)/libdr_proto.a
CLIENT  := $(BUILD)/libdreamd.a

.PHONY: all
all: $(BUILD)/dreamd $(BUILD)/dreamctl ## build the daemon and its client

$(MODELS): $(call objects,$(MODELS_SRC))
$(STORAGE): $(call objects,$(STORAGE_SRC))
$(SERVER): $(call objects,$(SERVER_SRC))
$(ENVS): $(call objects,$(ENVS_SRC))
# What a C client links: the library with the messages it speaks.
CLIENT_PROTO = $(filter $(BUILD)/gen/dreamd/% $(BUILD)/gen/google/% $(BUILD)/gen/grpc/health/%,$(PROTO_OBJ))
$(CLIENT): $(call objects,$(CLIENT_SRC))

$(BUILD)/%.a:
	@mkdir -p $(@D)
	@rm -f $@
	$(call Q,ar)$(AR) rcs $@ $^

$(BUILD)/dreamd: $(BUILD)/server/main.o $(SERVER) $(STORAGE) $(MODELS) $(ENVS) $(PROTO)
	$(call Q,ld)$(CC) -o $@ $^ $(LIBS)

$(BUILD)/dreamctl: $(call objects,$(CTL_SRC)) $(CLIENT) $(ENVS) $(PROTO)
	$(call Q,ld)$(CC) -o $@ $^ $(LIBS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(call Q,cc)$(CC) $(BASE_FLAGS) $(CFLAGS) -c $< -o $@

# Kernels for one instruction set each; which one runs is chosen at run time.
ifeq ($(shell $(CC) -dumpmachine 2>/dev/null | cut -d- -f1),x86_64)
$(addprefix $(BUILD)/models/tensor/,kernels_avx2.o kernels_avx2_gemm.o): BASE_FLAGS += -mavx2 -mfma
endif

# Loops over elements, which -O2 leaves as they are.
$(BUILD)/models/graph/op_%.o: CFLAGS += -O3

# ---- migrations: each file of SQL a string, in the order of their numbers ----
MIGRATIONS := $(sort $(wildcard storage/migrations/*.sql))
$(BUILD)/gen/migrations.h: $(MIGRATIONS)
	@mkdir -p $(@D)
	$(call Q,gen){ echo 'static const char *const migrations[] = {'; \
	for file in $(MIGRATIONS); do sed 's/[\\"]/\\&/g; s/.*/    "&\\n"/' $$file; echo '    ,'; done; \
	echo '};'; } > $@
$(BUILD)/storage/store.o: $(BUILD)/gen/migrations.h

# ---- protocol code: C by protoc-c, descriptors for reflection by protoc ----
PROTO_ROOTS := -Iproto/public -Iproto -I/usr/include
PROTOS      := $(sort $(shell find proto -name '*.proto'))
WELL_KNOWN  := google/protobuf/any.proto google/protobuf/duration.proto \
               google/protobuf/timestamp.proto google/protobuf/descriptor.proto
PROTO_NAMES := $(patsubst proto/public/%.proto,%,$(filter proto/public/%,$(PROTOS))) \
               $(patsubst proto/%.proto,%,$(filter-out proto/public/%,$(PROTOS)))
PROTO_OBJ   := $(patsubst %,$(BUILD)/gen/%.pb-c.o,$(PROTO_NAMES) $(WELL_KNOWN:.proto=))
PROTO_STAMP := $(BUILD)/gen/.made

$(PROTO_STAMP): $(PROTOS)
	@mkdir -p $(@D)
	$(call Q,protoc)protoc-c $(PROTO_ROOTS) --c_out=$(BUILD)/gen $(PROTOS) $(WELL_KNOWN)
	@protoc $(PROTO_ROOTS) --include_imports --descriptor_set_out=$(BUILD)/gen/dreamd.desc $(PROTOS)
	@touch $@
$(BUILD)/gen/%.pb-c.o: $(PROTO_STAMP)
	$(call Q,cc)$(CC) $(BASE_FLAGS) $(CFLAGS) -c $(BUILD)/gen/$*.pb-c.c -o $@
# The generated headers must be there before anything that includes them is compiled.
$(call objects,server/main.c $(SERVER_SRC) $(CLIENT_SRC) $(CTL_SRC) $(shell find tests -name '*.c' 2>/dev/null)): | $(PROTO_STAMP)
$(BUILD)/server/rpc_descriptors.o: $(PROTO_STAMP)
$(BUILD)/server/rpc_descriptors.o: BASE_FLAGS += -Wa,-I$(BUILD)/gen
$(PROTO): $(PROTO_OBJ)
$(CLIENT): $(CLIENT_PROTO)
# Made of what the build is: another commit or other flags make it again.
BUILT_FROM := $(COMMIT) $(CC) $(CFLAGS) $(SANITIZER)
$(BUILD)/gen/built-from: $(if $(filter-out 0,$(shell echo '$(BUILT_FROM)' | cmp -s - $(BUILD)/gen/built-from; echo $$?)),FORCE)
	@mkdir -p $(@D)
	@echo '$(BUILT_FROM)' > $@
$(BUILD)/server/version.o: $(BUILD)/gen/built-from
$(BUILD)/server/version.o: BASE_FLAGS += -DDR_COMMIT='"$(COMMIT)"' -DDR_BUILD_FLAGS='"$(strip $(CFLAGS) $(SANITIZE_$(SANITIZER)))"'
.PHONY: FORCE
FORCE:

# ---- run ----

.PHONY: run
run: ## install what is missing, build, start the daemon with the shipped models
	@deploy/install-packages.sh build
	@$(MAKE) --no-print-directory all
	@echo "dreamd: try $(BUILD)/dreamctl models list, or $(BUILD)/dreamctl agent --model pendulum --env pendulum --act plan --episodes 1 --seed 0"
	@exec $(BUILD)/dreamd serve $(RUN_OPTIONS)

# ---- tests ----

VENV := .venv
PIP_LOG := $(BUILD)/pip.log
$(VENV)/check.stamp: tests/requirements.txt
	@mkdir -p $(BUILD)
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --requirement $< 2> $(PIP_LOG) || { cat $(PIP_LOG); exit 1; }
	@touch $@
$(VENV)/torch.stamp: tests/requirements-torch.txt $(VENV)/check.stamp
	$(VENV)/bin/pip install --quiet --requirement $< 2> $(PIP_LOG) || { cat $(PIP_LOG); exit 1; }
	@touch $@

UNIT_TESTS := $(foreach layer,models storage server client,$(if $(call tests_of,$(layer)),$(BUILD)/tests/unit_$(layer)))
FUZZ_REPLAYS := $(patsubst tests/fuzz/%.c,$(BUILD)/tests/%,$(FUZZ_SRC))
ALL_LIBS = $(SERVER) $(STORAGE) $(MODELS) $(CLIENT) $(ENVS) $(PROTO)
$(BUILD)/tests/unit_models: $(call objects,$(call tests_of,models))
$(BUILD)/tests/unit_storage: $(call objects,$(call tests_of,storage))
$(BUILD)/tests/unit_server: $(call objects,$(call tests_of,server))
# session_wiped.c looks at what is freed.
$(BUILD)/tests/unit_server: LIBS += -Wl,--wrap=free
$(BUILD)/tests/unit_client: $(call objects,$(call tests_of,client))
$(UNIT_TESTS): $(call objects,$(SUPPORT_SRC)) $(ALL_LIBS)
	@mkdir -p $(@D)
	$(call Q,ld)$(CC) -o $@ $(filter %.o,$^) $(ALL_LIBS) -lcriterion $(LIBS)
# Programs that tests in Python drive; each is one file.
TOOLS := $(patsubst tests/tools/%.c,$(BUILD)/tests/%,$(wildcard tests/tools/*.c))
$(TOOLS): $(BUILD)/tests/%: $(BUILD)/tests/tools/%.o $(call objects,$(SUPPORT_SRC)) $(ALL_LIBS)
	@mkdir -p $(@D)
	$(call Q,ld)$(CC) -o $@ $(filter %.o,$^) $(ALL_LIBS) $(LIBS)
# gRPC's interoperability cases have messages of their own.
INTEROP_STAMP := $(BUILD)/gen/.made-interop
$(INTEROP_STAMP): tests/interop/grpc/testing/test.proto
	@mkdir -p $(@D)
	$(call Q,protoc)protoc-c -Itests/interop --c_out=$(BUILD)/gen $<
	@touch $@
$(BUILD)/gen/grpc/testing/test.pb-c.o $(BUILD)/tests/tools/interop_server.o: $(INTEROP_STAMP)
$(BUILD)/tests/interop_server: $(BUILD)/gen/grpc/testing/test.pb-c.o
$(FUZZ_REPLAYS): $(BUILD)/tests/%: $(BUILD)/tests/fuzz/%.o $(BUILD)/tests/fuzz/replay.o $(call objects,$(SUPPORT_SRC)) $(ALL_LIBS)
	@mkdir -p $(@D)
	$(call Q,ld)$(CC) -o $@ $(filter %.o,$^) $(ALL_LIBS) $(LIBS)

# For SANITIZER=thread. In every program: a syscall() through which it sees what libuv closes. In unit tests: a main of
# ours, because it and Criterion's own runner do not go together.
ifeq ($(SANITIZER),thread)
$(BUILD)/dreamd $(BUILD)/dreamctl $(BUILD)/bench $(UNIT_TESTS) $(TOOLS) $(FUZZ_REPLAYS): $(BUILD)/tests/tsan/close.o
$(UNIT_TESTS): $(BUILD)/tests/tsan/main.o
$(BUILD)/tests/unit_server: $(BUILD)/tests/tsan/close_test.o
endif

.PHONY: tests
tests: all $(UNIT_TESTS) $(FUZZ_REPLAYS) $(TOOLS) ## build every test, run none

.PHONY: check
check: ## install what tests need, build, run every test (ONLY=word,word: those alone), one closing line
	@deploy/install-packages.sh build test
	@$(MAKE) --no-print-directory $(VENV)/check.stamp tests
	@$(VENV)/bin/python tests/run.py --build $(BUILD) $(if $(SANITIZER),--sanitizer $(SANITIZER)) $(if $(ONLY),--only $(ONLY))

# OPS operations by eight clients; SEED says which. With SANITIZER=address or thread under it.
.PHONY: torture
OPS ?= 100000
SEED ?= 1
torture: ## clients of every kind while memory, disk, sockets and the daemon fail: OPS=100000 SEED=1
	@deploy/install-packages.sh build test
	@$(MAKE) --no-print-directory $(VENV)/check.stamp tests
	@$(VENV)/bin/python tests/torture/torture.py --build $(BUILD) --ops $(OPS) --seed $(SEED) --sanitizer "$(SANITIZER)" $(if $(REPORT),--report $(REPORT))

.PHONY: check-ecosystem
check-ecosystem: ## the slower tests: what needs PyTorch or Go
	@deploy/install-packages.sh build test ecosystem
	@$(MAKE) --no-print-directory $(VENV)/torch.stamp tests
	@$(VENV)/bin/python tests/run.py --build $(BUILD) --ecosystem

.PHONY: check-fresh
check-fresh: ## `make run` and an agent in a Debian chroot that holds nothing but make
	@deploy/install-packages.sh fresh
	@tests/fresh.sh

.PHONY: ci
ci: ## what must pass before anything lands
	@deploy/install-packages.sh build test lint
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory check
	@$(MAKE) --no-print-directory check SANITIZER=address
	@$(MAKE) --no-print-directory check SANITIZER=thread ONLY=unit_server,unit_storage,test_simulation,test_interact,test_transport
	@$(MAKE) --no-print-directory check-ecosystem

.PHONY: lint
lint: ## layers, banned calls, form, links of pages, warnings as errors
	@deploy/install-packages.sh build lint
	@$(MAKE) --no-print-directory $(VENV)/check.stamp
	@$(VENV)/bin/python tests/lint/lint.py
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/lint WERROR=-Werror all tests
	@echo "lint: clean"

.PHONY: format
format: ## put every C file into form
	clang-format -i $$(git ls-files '*.c' '*.h')

.PHONY: bench
bench: $(VENV)/torch.stamp ## figures beside their peers, pass or miss beside each bar
	@$(MAKE) --no-print-directory all $(BUILD)/bench
	@$(VENV)/bin/python tests/bench/run.py --build $(BUILD)

$(BUILD)/bench: $(call objects,$(BENCH_SRC)) $(call objects,$(SUPPORT_SRC)) $(ALL_LIBS)
	$(call Q,ld)$(CC) -o $@ $(filter %.o,$^) $(ALL_LIBS) $(LIBS)

# libFuzzer wants clang and its own flags in every object. As many targets at a time as there are processors.
FUZZ_TARGETS := $(or $(TARGET),$(patsubst tests/fuzz/fuzz_%.c,%,$(FUZZ_SRC)))
.PHONY: fuzz
fuzz: ## explore every fuzz target (TARGET=name: one) for SECONDS each (60), starting from the corpus
	@deploy/install-packages.sh build test fuzz
	@$(MAKE) --no-print-directory -j $$(nproc) BUILD=$(BUILD)/fuzz CC=$(CLANG) \
	    CFLAGS="-O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all" $(addprefix explore-,$(FUZZ_TARGETS))
	@echo "fuzz: $(words $(FUZZ_TARGETS)) targets, $(FUZZ_SECONDS) s each, no crash"
$(BUILD)/explore_%: $(BUILD)/tests/fuzz/fuzz_%.o $(call objects,$(SUPPORT_SRC)) $(ALL_LIBS)
	$(call Q,ld)$(CC) -fsanitize=fuzzer,address,undefined -o $@ $(filter %.o,$^) $(ALL_LIBS) $(LIBS)
# What is found goes to build/fuzz/found/TARGET, and is where the next run begins.
explore-%: $(BUILD)/explore_%
	@mkdir -p $(BUILD)/found/$*
	@$< -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 \
	    -artifact_prefix=$(BUILD)/found/$*- $(BUILD)/found/$* tests/fuzz/corpus/$* \
	    > $(BUILD)/found/$*.log 2>&1 || { tail -n 60 $(BUILD)/found/$*.log; exit 1; }
	@sed -n 's/^stat::number_of_executed_units: */fuzz $*: runs /p' $(BUILD)/found/$*.log

# ---- install ----

.PHONY: man
man: all ## manual pages from the programs' own --help, into build/man
	@$(PYTHON) deploy/man/make.py $(BUILD) $(BUILD)/man

# The zoo goes where the unit of deploy/ looks for it.
PREFIX ?= /usr/local
.PHONY: install
install: man $(CLIENT) ## programs, C library, pages, completion and zoo, under PREFIX (/usr/local) and DESTDIR
	install -D -t $(DESTDIR)$(PREFIX)/bin $(BUILD)/dreamd $(BUILD)/dreamctl
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/include client/c/dreamd.h
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib $(CLIENT)
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man1 $(BUILD)/man/dreamd.1 $(BUILD)/man/dreamctl.1
	install -D -m 644 deploy/completion/dreamd.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/dreamd
	ln -sf dreamd $(DESTDIR)$(PREFIX)/share/bash-completion/completions/dreamctl
	mkdir -p $(DESTDIR)$(PREFIX)/share/dreamd
	cp -r models/zoo $(DESTDIR)$(PREFIX)/share/dreamd/

# ---- the Python package ----

# Built from a copy, because setuptools writes beside its sources.
.PHONY: wheel
wheel: $(VENV)/check.stamp ## the Python package as a wheel, into build/wheel
	@rm -rf $(BUILD)/python $(BUILD)/wheel && mkdir -p $(BUILD)/wheel && cp -RL client/python $(BUILD)/python && rm -rf $(BUILD)/python/build
	@$(VENV)/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir $(BUILD)/wheel ./$(BUILD)/python 2> $(PIP_LOG) \
	    || { cat $(PIP_LOG); exit 1; }
	@ls $(BUILD)/wheel/*.whl

# ---- pictures of the README ----

# A daemon of its own on a free port, for as long as it takes to draw.
.PHONY: pictures
pictures: all $(VENV)/torch.stamp ## draw the pictures of README.md again, from reports/ and a running model
	@folder=$$(mktemp -d); $(BUILD)/dreamd serve --listen 127.0.0.1:0 --http-listen none --data $$folder/data \
	    --endpoint-file $$folder/endpoint --log-level warn & daemon=$$!; \
	until [ -e $$folder/endpoint ]; do kill -0 $$daemon || exit 1; sleep 0.1; done; \
	port=$$(sed 's/.*"port": *\([0-9]*\).*/\1/; q' $$folder/endpoint); \
	PYTHONPATH=client/python/src $(VENV)/bin/python client/python/examples/pictures/draw.py --address 127.0.0.1:$$port; result=$$?; \
	kill $$daemon; wait $$daemon; rm -rf $$folder; exit $$result

# ---- the rest ----

# Some minutes a model. The folders must not exist: what is shipped is removed by hand first.
.PHONY: zoo
ZOO_OPTIONS_pendulum := --evaluate 60
zoo: $(addprefix models/zoo/,cartpole pendulum) ## learn the shipped models from nothing (remove their folders first)
models/zoo/%: | $(BUILD)/dreamd
	$(BUILD)/dreamd learn --env $* --seed 0 $(ZOO_OPTIONS_$*) --out $@

.PHONY: clean
clean: ## remove what was built; data in var/ stays
	rm -rf $(BUILD) $(BUILD)-address $(BUILD)-undefined $(BUILD)-thread client/python/build client/python/src/*.egg-info

.PHONY: help
help: ## this text
	@echo "make [target] [SANITIZER=address|undefined|thread] [BUILD=folder]"
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | while IFS='|' read -r name text; do printf '  %-18s %s\n' "$$name" "$$text"; done

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
.SECONDARY:
