# `make` builds, `make help` explains.
BUILD ?= build
CC = gcc
CFLAGS ?= -O2 -g
PKG := libuv libnghttp2 libprotobuf-c sqlite3 jansson libcrypto openblas inih

# Fixed order of summation is a promise: no fast-math, and contraction said out loud.
BASE_FLAGS := -std=gnu17 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wpointer-arith -Wvla \
              -fno-fast-math -ffp-contract=off -fno-strict-aliasing -pthread -MMD -MP \
              -I. -I$(BUILD)/gen $(shell pkg-config --cflags $(PKG) 2>/dev/null)
LIBS := $(shell pkg-config --libs $(PKG) 2>/dev/null) -lm -pthread

# make SANITIZER=address|undefined|thread: a build of its own, in a folder of its own
SANITIZER ?=
ifneq ($(SANITIZER),)
ifeq ($(filter $(SANITIZER),address undefined thread),)
$(error SANITIZER is "$(SANITIZER)", expected address, undefined or thread)
endif
BUILD := $(BUILD)-$(SANITIZER)
SANITIZE_address := -fsanitize=address,undefined -fno-sanitize-recover=all
SANITIZE_undefined := -fsanitize=undefined -fno-sanitize-recover=all
SANITIZE_thread := -fsanitize=thread
BASE_FLAGS += $(SANITIZE_$(SANITIZER)) -fno-omit-frame-pointer
LIBS += $(SANITIZE_$(SANITIZER))
endif

sources = $(sort $(wildcard $(addsuffix /*.c,$(1))))
objects = $(patsubst %.c,$(BUILD)/%.o,$(1))

MODELS_SRC  := $(call sources,models/base models/format models/tensor models/graph models/family models/planner models/learner)
STORAGE_SRC := $(call sources,storage)
SERVER_SRC  := $(call sources,server)
CLIENT_SRC  := $(call sources,client/c)
CTL_SRC     := $(call sources,client/ctl)
ENVS_SRC    := $(call sources,client/envs)

.PHONY: all
all: $(BUILD)/dreamd $(BUILD)/dreamctl

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(BASE_FLAGS) $(CFLAGS) -c $< -o $@

# ---- kernels for one instruction set each, chosen at run time ----
$(BUILD)/models/tensor/kernels_avx2.o: BASE_FLAGS += $(if $(filter x86_64,$(shell uname -m)),-mavx2 -mfma)

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
	protoc-c $(PROTO_ROOTS) --c_out=$(BUILD)/gen $(PROTOS) $(WELL_KNOWN)
	protoc $(PROTO_ROOTS) --include_imports --descriptor_set_out=$(BUILD)/gen/dreamd.desc $(PROTOS)
	@touch $@
$(BUILD)/gen/%.pb-c.o: $(PROTO_STAMP)
	$(CC) $(BASE_FLAGS) $(CFLAGS) -c $(BUILD)/gen/$*.pb-c.c -o $@
# The generated headers must be there before anything that includes them is compiled.
$(call objects,$(SERVER_SRC) $(CLIENT_SRC) $(CTL_SRC) $(shell find tests -name '*.c' 2>/dev/null)): | $(PROTO_STAMP)
$(BUILD)/server/rpc_descriptors.o: $(PROTO_STAMP)
$(BUILD)/server/rpc_descriptors.o: BASE_FLAGS += -Wa,-I$(BUILD)/gen

# ---- the daemon: everything but main.c is a library, so that tests can run a server inside ----
SERVER_LIB := $(filter-out server/main.c,$(SERVER_SRC))
GIT_COMMIT := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
$(BUILD)/server/version.o: BASE_FLAGS += -DDR_COMMIT='"$(GIT_COMMIT)"'
$(BUILD)/dreamd: $(call objects,server/main.c $(SERVER_LIB) $(STORAGE_SRC) $(MODELS_SRC)) $(PROTO_OBJ)
	$(CC) $^ $(LIBS) -o $@

# ---- unit tests: one binary a layer ----
unit_objects = $(call objects,$(sort $(shell find tests/unit/$(1) tests/support -name '*.c' 2>/dev/null)))
$(BUILD)/tests/unit_server: $(call unit_objects,server) \
    $(call objects,$(SERVER_LIB) $(STORAGE_SRC) $(MODELS_SRC)) $(PROTO_OBJ)
	$(CC) $^ $(LIBS) -lcriterion -o $@

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
