# hylab. Two commands matter: `make demo` (the main job, end to end) and `make test` (all tests).
# Others: all, python (the library of python/hylab), gpu-session (tests/gpu_session.sh), install, uninstall, man, asan, tsan, lint,
# faults, layering, fuzz, fuzz-NAME (tests/fuzz/fuzz.mk), bench, bench-gpu, test-gpu, test-slurm, clean. BUILD=dir builds elsewhere,
# SAN=1 with sanitizers, CC=clang with clang, WERROR=1 takes warnings as errors. The CUDA backend is built where nvcc is found: on
# the PATH, in /usr/local/cuda, or CUDA=/path/to/cuda; CUDA=0 leaves
# it out. `make test` checks its kernels on any machine, with nvcc or not, by an emulation of the GPU on the CPU
# (tests/cuda_emu); `make test-gpu` on a GPU, where REQUIRE_GPU=1 makes it an error that there is none.
BUILD ?= $(if $(SAN),build/asan,build/release)
ifeq ($(origin CC),default)
CC = gcc
endif
ifeq ($(origin CXX),default)
CXX = $(if $(findstring clang,$(CC)),$(subst clang,clang++,$(CC)),g++)
endif
CLANG := $(findstring clang,$(CC))
Q := $(if $(V),,@)  # V=1 shows the compiler's command lines
OPT ?= $(if $(SAN),-O1 -g -fsanitize=address$(comma)undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer,-O2 -g)
comma := ,
COMMIT := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
DIRTY := $(if $(shell git status --porcelain -- Makefile '*.c' '*.cc' '*.cu' '*.cuh' '*.h' '*.def' 2>/dev/null),1,0)
CPPFLAGS += -I. -D_GNU_SOURCE
STRICT := $(if $(WERROR),-Werror)
# One build serves the program and the shared library, which shows nothing but python/capi/hylab_api.h: with hidden names
# the compiler makes the same code as without -fPIC.
PICFLAGS := -fPIC -fvisibility=hidden
CFLAGS += -std=c11 $(OPT) $(PICFLAGS) -fopenmp -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes -Wno-missing-field-initializers -Wvla -ffp-contract=off $(STRICT)
CXX_FLAGS = -std=c++17 $(OPT) $(PICFLAGS) -Wall -Wextra -Wshadow $(STRICT)
LDLIBS += -lyaml -lsqlite3 -ljansson -lxxhash -ldnnl -lutf8proc -lpcre2-8 -lsentencepiece -lstdc++ -lm
FASTFLAGS = $(if $(SAN),,-O3) -ffp-contract=fast -fno-math-errno -fno-trapping-math
ISA_base = -march=x86-64
ISA_avx2 = -march=x86-64-v3
ISA_avx512 = -march=x86-64-v4 -mprefer-vector-width=512

# ---- the CUDA backend. Sanitizer builds leave it out: its kernels run there in the emulation.
CUDA ?=
ifneq ($(or $(filter 0,$(CUDA)),$(SAN)),)
NVCC :=
else ifneq ($(CUDA),)
NVCC := $(wildcard $(CUDA)/bin/nvcc)
$(if $(NVCC),,$(error CUDA=$(CUDA): there is no bin/nvcc in it. CUDA=0 builds without CUDA))
else
NVCC := $(firstword $(shell command -v nvcc 2>/dev/null) $(wildcard /usr/local/cuda/bin/nvcc))
endif
CUSRC := $(wildcard kernels/cuda/*.cu)
CUDA_ARCH ?= -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=sm_90 -gencode arch=compute_90,code=compute_90
NVCCFLAGS = -std=c++17 -O3 -lineinfo $(CUDA_ARCH) -ccbin $(CXX) -Xcompiler -Wall,-Wextra -Werror all-warnings
CUOBJ := $(if $(NVCC),$(CUSRC:%.cu=$(BUILD)/%.o))
ifneq ($(CUOBJ),)
LDLIBS += -L$(dir $(NVCC))../lib64 -lcudart_static -ldl -lrt -lpthread
endif
CUDA_BUILD := $(if $(CUOBJ),$(shell $(NVCC) --version | tail -n 1) $(NVCC) $(CUDA_ARCH),none)

SRC := $(wildcard core/*/*.c kernels/cpu/*.c kernels/cpu/*/*.c $(if $(CUOBJ),,kernels/cuda/none.c) \
         analysis/*/*.c results/*.c experiments/cli/*.c experiments/runner/*.c python/capi/*.c)
REF := $(filter kernels/cpu/ref/%,$(SRC))
FAST := $(filter kernels/cpu/fast/%,$(SRC))
MAIN := experiments/cli/main.c
PLAIN := $(filter-out $(REF) $(FAST) $(MAIN),$(SRC))
CXXSRC := $(wildcard core/*/*.cc)
OBJ := $(PLAIN:%.c=$(BUILD)/%.o) $(CXXSRC:%.cc=$(BUILD)/%.o) \
       $(foreach s,f32 f64,$(REF:%.c=$(BUILD)/%.$(s).o)) \
       $(foreach i,base avx2 avx512,$(FAST:%.c=$(BUILD)/%.$(i).o)) $(CUOBJ)
LIB := $(BUILD)/libhylab.a
TESTSRC := $(wildcard tests/unit/test_*.c)
TESTBIN := $(TESTSRC:tests/unit/%.c=$(BUILD)/tests/%) $(BUILD)/tests/test_cuda_emu
# Fuzz targets without libFuzzer: they are given the inputs that are kept (tests/cli/test_fuzz.sh).
REPLAYBIN := $(patsubst tests/fuzz/fuzz_%.c,$(BUILD)/tests/replay_%,$(wildcard tests/fuzz/fuzz_*.c))
BENCHSRC := $(filter-out %/bench_gpu.c,$(wildcard experiments/bench/bench_*.c))
GPUBENCH := $(wildcard experiments/bench/gpu_*.c) experiments/bench/bench_gpu.c
BENCHBIN := $(BENCHSRC:experiments/bench/%.c=$(BUILD)/bench/%)

# The same kernels and backend over the emulated GPU: these objects come before the library and so win over what it has.
# Multiply-adds are fused as nvcc fuses them, where this machine can: what relies on a product's own rounding must fail here too.
EMU_FUSED := $(if $(SAN),,$(shell grep -qw fma /proc/cpuinfo 2>/dev/null && echo -mfma))
EMU_FLAGS = -std=c++17 -O2 -g $(if $(SAN),$(OPT)) -DHY_CUDA_EMU -Wall -Wextra -Wno-unknown-pragmas $(if $(CLANG),-Wno-pass-failed,-Wno-maybe-uninitialized) -fno-strict-aliasing $(STRICT) \
            $(if $(EMU_FUSED),$(EMU_FUSED) -ffp-contract=fast,-ffp-contract=off)
EMU := $(patsubst %.cc,$(BUILD)/emu/%.o,$(wildcard tests/cuda_emu/*.cc))
EMU_OBJ := $(CUSRC:%.cu=$(BUILD)/emu/%.o) $(EMU)
KTSRC := $(shell grep -l kt_group tests/unit/test_*.c)
EMUBIN := $(KTSRC:tests/unit/test_%.c=$(BUILD)/tests/emu_%)
GPUBIN := $(KTSRC:tests/unit/test_%.c=$(BUILD)/tests/gpu_%)

.PHONY: all deps demo test check test-gpu check-gpu asan bench bench-gpu layering clean man install uninstall
.SECONDARY:
all: $(BUILD)/hylab

# ---- what a fresh machine lacks
PACKAGES = gcc g++ libc6-dev pkg-config libyaml-dev libsqlite3-dev libjansson-dev libxxhash-dev libdnnl-dev libcmocka-dev \
           libutf8proc-dev libpcre2-dev libsentencepiece-dev gnuplot-nox fonts-dejavu-core sqlite3
# of the tests of python/hylab and of mpirun: without them they are skipped, and say so
TEST_PACKAGES = openmpi-bin python3 python3-numpy python3-pandas python3-pip python3-setuptools python3-venv python3-wheel
test: ALSO = $(TEST_PACKAGES)
# of `make test-slurm`, whose daemons live in a folder of the test and end with it; Debian starts nothing of them by itself without a configuration
SLURM_PACKAGES = munge slurmctld slurmd slurm-client slurm-wlm-basic-plugins
test-slurm: ALSO = $(SLURM_PACKAGES)
deps:
	@missing=""; for p in $(PACKAGES) $(ALSO); do dpkg -s $$p 2>/dev/null | grep -q '^Status: install ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  sudo=""; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  echo "hylab needs these Debian packages and installs them now with apt-get:$$missing"; \
	  $$sudo apt-get update -q && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -q --no-install-recommends $$missing \
	    || { echo "apt-get failed: install$$missing yourself, then run make again" >&2; exit 1; }; \
	fi

# ---- build
$(BUILD)/hylab: $(BUILD)/experiments/cli/main.o $(LIB)
	@echo "  link  $@"
	$(Q)$(CC) $(CFLAGS) -o $@ $^ $(LDFLAGS) $(LDLIBS)
	@ln -sfn $@ hylab
$(LIB): $(OBJ) $(BUILD)/cuda
	@rm -f $@
	$(Q)ar qcs $@ $(OBJ)
# The shared library for python/hylab computes on the CPU.
SHARED_LIB := $(BUILD)/libhylab.so
.PHONY: python
python: $(SHARED_LIB)
$(SHARED_LIB): $(filter $(BUILD)/python/capi/%,$(OBJ)) $(BUILD)/kernels/cuda/none.o $(LIB) python/capi/hylab.map
	@echo "  link  $@"
	$(Q)$(CXX) -shared $(OPT) -fopenmp -o $@.new -Wl,--version-script=$(lastword $^) $(filter %.o %.a,$^) $(LDFLAGS) $(LDLIBS)
	@mv $@.new $@
# What this folder was built with: without and with CUDA, the library is another.
$(BUILD)/cuda: FORCE
	@mkdir -p $(@D)
	@echo '$(CUDA_BUILD)' | cmp -s - $@ || { echo '$(CUDA_BUILD)' >$@; $(if $(CUOBJ),,echo "  without CUDA: $(if $(SAN),a build with sanitizers,$(if $(filter 0,$(CUDA)),CUDA=0,no nvcc found)), so this is the CPU version";) }
# With which flags: objects of others are built again.
FLAGS := $(CC) $(CXX) $(OPT) $(PICFLAGS) $(FASTFLAGS)
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(FLAGS)' | cmp -s - $@ || echo '$(FLAGS)' >$@
$(filter-out $(CUOBJ),$(OBJ)) $(BUILD)/experiments/cli/main.o $(BUILD)/kernels/cuda/none.o: $(BUILD)/flags
$(BUILD)/nvcc: FORCE
	@mkdir -p $(@D)
	@echo '$(CUDA_BUILD)' | cmp -s - $@ || echo '$(CUDA_BUILD)' >$@
$(CUOBJ): $(BUILD)/%.o: %.cu $(BUILD)/nvcc
	@mkdir -p $(@D)
	@echo "  nvcc  $<"
	$(Q)$(NVCC) $(CPPFLAGS) $(NVCCFLAGS) -MMD -MP -MF $(@:.o=.d) -c -o $@ $<
$(BUILD)/emu/%.o: %.cu
	@mkdir -p $(@D)
	@echo "  c++   $< (emulated)"
	$(Q)$(CXX) $(CPPFLAGS) $(EMU_FLAGS) -MMD -MP -x c++ -c -o $@ $<
$(BUILD)/emu/%.o: %.cc
	@mkdir -p $(@D)
	@echo "  c++   $<"
	$(Q)$(CXX) $(CPPFLAGS) $(EMU_FLAGS) -Wshadow -O2 -MMD -MP -c -o $@ $<
$(BUILD)/hylab-emu: $(BUILD)/experiments/cli/main.o $(EMU_OBJ) $(LIB)
	@echo "  link  $@"
	$(Q)$(CXX) $(OPT) -fopenmp -o $@ $^ $(LDFLAGS) $(LDLIBS)
$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  cc    $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/%.o: %.cc
	@mkdir -p $(@D)
	@echo "  c++   $<"
	$(Q)$(CXX) $(CPPFLAGS) $(CXX_FLAGS) -MMD -MP -c -o $@ $<
# The commit and whether the sources differ from it: version.o is built again exactly when one of them changes.
$(BUILD)/commit: FORCE
	@mkdir -p $(@D)
	@echo '$(COMMIT) $(DIRTY)' | cmp -s - $@ || echo '$(COMMIT) $(DIRTY)' >$@
.PHONY: FORCE  # phony, because .SECONDARY would take a missing file for an old one
$(BUILD)/core/base/version.o: $(BUILD)/commit
$(BUILD)/core/base/version.o: CPPFLAGS += -DHY_COMMIT='"$(COMMIT)"' -DHY_DIRTY=$(DIRTY)
# Here a switch over an enum has no default: one that forgets a kind does not compile.
$(BUILD)/core/spec/%.o $(BUILD)/core/model/%.o $(BUILD)/core/exec/%.o: CFLAGS += -Werror=switch -Werror=switch-enum
define REF_RULE
$(BUILD)/%.$(1).o: %.c
	@mkdir -p $$(@D)
	@echo "  cc    $$< ($(1))"
	$$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -DHY_REF_SUFFIX=$(1) -Dreal=$(2) -MMD -MP -c -o $$@ $$<
endef
$(eval $(call REF_RULE,f32,float))
$(eval $(call REF_RULE,f64,double))
define FAST_RULE
$(BUILD)/%.$(1).o: %.c
	@mkdir -p $$(@D)
	@echo "  cc    $$< ($(1))"
	$$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(FASTFLAGS) $(ISA_$(1)) -DHY_ISA_SUFFIX=$(1) -DHY_ISA_$(1) -MMD -MP -c -o $$@ $$<
endef
$(foreach i,base avx2 avx512,$(eval $(call FAST_RULE,$(i))))
# A test may take the place of malloc, for libraries too: its names are not hidden.
$(BUILD)/tests/%.o: PICFLAGS :=
# in the widest vectors of the machine that builds it, as the fast kernels are compiled
$(BUILD)/tests/unit/test_vec.o: CFLAGS += $(FASTFLAGS) -march=native
$(BUILD)/tests/%: $(BUILD)/tests/unit/%.o $(LIB)
	@echo "  link  $@"
	$(Q)$(CC) $(CFLAGS) -o $@ $< $(LIB) $(LDFLAGS) -lcmocka $(LDLIBS)
# Tests of kernels a second time, over the emulated GPU, and for test-gpu a third time, over the real one.
$(BUILD)/tests/kt/%.o: tests/unit/%.c
	@mkdir -p $(@D)
	@echo "  cc    $< (GPU)"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -DKT_CUDA=1 -MMD -MP -c -o $@ $<
$(BUILD)/tests/emu_%: $(BUILD)/tests/kt/test_%.o $(EMU_OBJ) $(LIB)
	@echo "  link  $@"
	$(Q)$(CC) $(CFLAGS) -o $@ $< $(EMU_OBJ) $(LIB) $(LDFLAGS) -lcmocka $(LDLIBS)
$(BUILD)/tests/gpu_%: $(BUILD)/tests/kt/test_%.o $(LIB)
	@echo "  link  $@"
	$(Q)$(CC) $(CFLAGS) -o $@ $< $(LIB) $(LDFLAGS) -lcmocka $(LDLIBS)
$(BUILD)/tests/test_cuda_emu: tests/unit/test_cuda_emu.cc $(EMU) $(LIB)
	@mkdir -p $(@D)
	@echo "  c++   $<"
	$(Q)$(CXX) $(CPPFLAGS) $(EMU_FLAGS) -fopenmp -MMD -MP -MF $@.d -o $@ $< $(EMU) $(LIB) $(LDFLAGS) -lcmocka $(LDLIBS)
$(BUILD)/tests/replay_%: tests/fuzz/fuzz_%.c tests/fuzz/replay.c $(LIB)
	@mkdir -p $(@D)
	@echo "  cc    $< (replay)"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -MF $@.d -o $@ $< tests/fuzz/replay.c $(LIB) $(LDFLAGS) $(LDLIBS)
$(BUILD)/bench/%: experiments/bench/%.c $(LIB)
	@mkdir -p $(@D)
	@echo "  cc    $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -MF $@.d -o $@ $< $(LIB) $(LDFLAGS) $(LDLIBS)
# not those of planted faults, which are builds within this one
-include $(shell find $(BUILD) -path $(BUILD)/faults -prune -o -name '*.d' -print 2>/dev/null)

$(BUILD)/bench/bench_gpu: $(GPUBENCH:%.c=$(BUILD)/%.o) $(LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -o $@ $^ $(LDFLAGS) $(LDLIBS)
$(BUILD)/bench/bench_gpu-emu: $(GPUBENCH:%.c=$(BUILD)/%.o) $(EMU_OBJ) $(LIB)
	@mkdir -p $(@D)
	$(Q)$(CXX) $(OPT) -fopenmp -o $@ $^ $(LDFLAGS) $(LDLIBS)

# ---- installing: make install PREFIX=/usr DESTDIR=package
PREFIX ?= /usr/local
SHARE = $(DESTDIR)$(PREFIX)/share
SHARED := $(wildcard variants/*.yaml variants/README.md variants/paper/* experiments/*/*.yaml experiments/*/README.md experiments/images/*.py experiments/speech/*.py experiments/scores/*.py experiments/scores/*.json experiments/scores/tasks/* experiments/data/*)
man: $(BUILD)/hylab.1
$(BUILD)/hylab.1: $(BUILD)/hylab experiments/cli/man.sh
	@experiments/cli/man.sh $< >$@.new && mv $@.new $@
install: $(BUILD)/hylab $(BUILD)/hylab.1
	install -D -m 755 $(BUILD)/hylab $(DESTDIR)$(PREFIX)/bin/hylab
	install -D -m 644 $(BUILD)/hylab.1 $(SHARE)/man/man1/hylab.1
	install -D -m 644 -t $(SHARE)/doc/hylab LICENSE README.md CHANGELOG.md
	@for f in $(SHARED); do install -D -m 644 $$f $(SHARE)/hylab/$$f || exit 1; done
	@echo "variants and experiments: $(SHARE)/hylab"
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/hylab $(SHARE)/man/man1/hylab.1
	rm -rf $(SHARE)/doc/hylab $(SHARE)/hylab

# ---- the main job: the paper's design roadmap in small
RUNS ?= runs
JOBS ?= $(shell nproc)
demo: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all
	./hylab run experiments/roadmap/roadmap.yaml --db $(RUNS)/hylab.db --jobs $(JOBS)
	./hylab plot experiments/roadmap/roadmap.yaml --db $(RUNS)/hylab.db --out $(RUNS)/roadmap
	./hylab report experiments/roadmap/roadmap.yaml --db $(RUNS)/hylab.db --out $(RUNS)/roadmap/report.html
	@echo "table above; figures: $(RUNS)/roadmap/ (SVG, PNG, PDF); report: $(RUNS)/roadmap/report.html; database: $(RUNS)/hylab.db"

# ---- speed: every program of experiments/bench. PYTHON=/path/to/python with torch puts PyTorch beside the training steps.
bench: deps
	@$(MAKE) --no-print-directory all $(BENCHBIN)
	@for b in $(filter-out %/bench_model,$(BENCHBIN)); do echo; echo "== $$(basename $$b)"; $$b || exit 1; done
	@echo; echo "== bench_model"; $(BUILD)/bench/bench_model $(if $(PYTHON),--torch $(PYTHON))

# The GPU's kernels and models on them beside measured ceilings. PYTHON=/path/to/python with torch puts PyTorch beside them.
PRECISION ?= bf16
bench-gpu: deps
	@$(MAKE) --no-print-directory -j$(JOBS) $(BUILD)/bench/bench_gpu
	@$(BUILD)/bench/bench_gpu --precision $(PRECISION) $(if $(PYTHON),--torch $(PYTHON))

# ---- checks
check: $(BUILD)/hylab $(if $(SAN),,$(SHARED_LIB)) $(BUILD)/hylab-emu $(TESTBIN) $(EMUBIN) $(REPLAYBIN) $(BUILD)/bench/bench_gpu-emu $(BUILD)/bench/baseline
	@BUILD=$(BUILD) tests/run.sh $(TESTS)
test: deps
	@$(MAKE) --no-print-directory -j$(JOBS) check
test-gpu: deps
	@$(MAKE) --no-print-directory -j$(JOBS) check-gpu
# Packs what tests/gpu_session.sh runs on a machine with a GPU that nothing is built on.
.PHONY: gpu-session
gpu-session: $(BUILD)/hylab $(if $(CUOBJ),$(GPUBIN) $(BUILD)/bench/bench_gpu)
	@$(if $(CUOBJ),,echo "gpu-session: there is no nvcc here" >&2; exit 2;) BUILD=$(BUILD) tests/gpu_session.sh --pack build/gpu-session.tar.xz
check-gpu: $(BUILD)/hylab $(if $(CUOBJ),$(GPUBIN))
	@GPU=1 BUILD=$(BUILD) tests/run.sh $(TESTS)
# A sweep on a real Slurm of one node, with a task requeued, one out of time, one cancelled (two minutes, mostly waiting).
.PHONY: test-slurm
test-slurm: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@REQUIRE_SLURM=1 BUILD=$(BUILD) tests/run.sh =test_slurm.sh
asan: deps
	@$(MAKE) --no-print-directory -j$(JOBS) SAN=1 check
layering:
	@tests/layering.sh
# Findings of clang-tidy (.clang-tidy), cppcheck and shellcheck: none are left. LINT="files" looks at some.
.PHONY: lint tsan
ifneq ($(filter undefined default,$(origin LINT)),)  # GNU make has a variable LINT of its own, which ?= would leave
LINT := $(filter-out kernels/cpu/ref/% kernels/cpu/fast/%,$(SRC))
endif
lint:
	@echo "cppcheck"; cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,performance,portability --inline-suppr \
	  --suppressions-list=tests/lint/cppcheck.txt -j $(JOBS) $(filter-out -D_GNU_SOURCE,$(CPPFLAGS)) -D__linux__ $(LINT)
	@echo "clang-tidy"; printf '%s\n' $(LINT) | xargs -P $(JOBS) -n 8 sh -c 'clang-tidy --quiet --warnings-as-errors="*" "$$@" -- $(CPPFLAGS) \
	  -std=c11 -fopenmp -DHY_COMMIT=\"lint\" -DHY_DIRTY=0 2>/dev/null' sh
	@echo "shellcheck"; shellcheck -x -S warning $$(grep -l '^#!' tests/*.sh tests/*/*.sh experiments/cli/*.sh .ci/run)
# Threads under ThreadSanitizer, with clang (Debian: clang libomp-dev, which the matrix library's OpenMP asks for).
TSAN_CC ?= clang
TSAN_TESTS ?= test_parallel test_kernels test_linear test_conv test_rope test_scan test_ssd test_attention test_gated_norm test_lm_loss test_model
tsan:
	@$(MAKE) --no-print-directory -j$(JOBS) CUDA=0 CC=$(TSAN_CC) BUILD=build/tsan OPT='-O1 -g -fsanitize=thread' \
	  $(TSAN_TESTS:%=build/tsan/tests/%)
	@TSAN_OPTIONS="ignore_noninstrumented_modules=1 die_after_fork=0" JOBS=1 BUILD=build/tsan tests/run.sh $(TSAN_TESTS:%==%)
# Planted faults (tests/faults): FAULTS="parts of names" SAMPLE=number JOBS=copies
.PHONY: faults
faults: ALSO = $(TEST_PACKAGES)
faults: deps
	@BUILD=$(BUILD) JOBS=$(or $(FAULT_JOBS),2) CC=$(CC) CXX=$(CXX) tests/faults/faults.sh $(if $(SAMPLE),--sample $(SAMPLE)) $(FAULTS)
include tests/fuzz/fuzz.mk
clean:
	rm -rf build hylab
