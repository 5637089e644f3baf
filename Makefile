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

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
