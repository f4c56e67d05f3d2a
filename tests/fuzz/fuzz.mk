# fuzz.mk - fuzzing with libFuzzer (Debian: clang libclang-rt-14-dev). `make fuzz-NAME` for FUZZ_SECONDS, `make fuzz` each in turn.
# A target is tests/fuzz/fuzz_NAME.c, the rooms of core that it needs (below), and the inputs it starts from (tests/fuzz/seeds.sh).
# tests/fuzz/corpus/NAME are inputs found earlier, few and small: of those that reach new code 60 of all sizes up to 600 bytes
# (fuzz-keep-NAME writes them; `make check` gives them to the target again, tests/cli/test_fuzz.sh). New inputs are
# kept in build/fuzz/corpus-NAME, what fails in build/fuzz/.
FUZZ_SECONDS ?= 60
FUZZ_CC ?= clang
FUZZ_NAMES = safetensors gguf yaml json config shards tokenizer db data tokens
FUZZ_FLAGS = $(CPPFLAGS) -DHY_COMMIT='"fuzz"' -DHY_DIRTY=0 -std=c11 -g -O1 -ffunction-sections -fdata-sections -Wl,--gc-sections -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined
FUZZ_RUN = -timeout=10 -rss_limit_mb=2048 -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 -artifact_prefix=build/fuzz/

# Freed memory is kept from reuse for 4 MB, not 256: otherwise every input pays for fresh pages, several times its own work.
FUZZ_ENV = ASAN_OPTIONS=quarantine_size_mb=4:malloc_context_size=4

# Whole rooms; what a target does not reach is left out when it is linked.
fuzz_rooms = $(foreach r,$(1),$(wildcard core/$(r)/*.c))
FUZZ_SRC_safetensors = $(call fuzz_rooms,base format)
FUZZ_SRC_gguf = $(call fuzz_rooms,base format token) build/fuzz/tok_sentencepiece.o
FUZZ_LIB_gguf = -lutf8proc -lpcre2-8 -lsentencepiece -lstdc++
FUZZ_SRC_yaml = $(call fuzz_rooms,base format spec)
FUZZ_SRC_json = $(call fuzz_rooms,base format)
# without what opens a backend: the target runs nothing
FUZZ_SRC_config = $(filter-out core/model/device.c core/exec/generate%,$(call fuzz_rooms,base format spec model exec family))
FUZZ_SRC_shards = $(call fuzz_rooms,base format)
FUZZ_SRC_tokenizer = $(call fuzz_rooms,base format token) build/fuzz/tok_sentencepiece.o
FUZZ_LIB_tokenizer = -lutf8proc -lpcre2-8 -lsentencepiece -lstdc++
FUZZ_SRC_db = $(call fuzz_rooms,base format) $(wildcard results/*.c analysis/summary/*.c)
FUZZ_LIB_db = -lsqlite3
FUZZ_SRC_data = $(call fuzz_rooms,base format) $(wildcard core/task/data_*.c) core/task/task_seq.c core/task/task_cells.c
FUZZ_SRC_tokens = $(call fuzz_rooms,base format token corpus) build/fuzz/tok_sentencepiece.o
FUZZ_LIB_tokens = -lutf8proc -lpcre2-8 -lsentencepiece -lstdc++
FUZZ_MAX_safetensors = 4096
FUZZ_MAX_gguf = 2048
FUZZ_MAX_yaml = 4096
FUZZ_MAX_json = 2048
FUZZ_MAX_config = 4096
FUZZ_MAX_shards = 2048
FUZZ_MAX_tokenizer = 2048
FUZZ_MAX_db = 256
FUZZ_MAX_data = 512
FUZZ_MAX_tokens = 2048

.PHONY: fuzz $(FUZZ_NAMES:%=fuzz-%) $(FUZZ_NAMES:%=fuzz-keep-%)
fuzz: $(FUZZ_NAMES:%=fuzz-%)
define FUZZ_RULE
fuzz-$(1): build/fuzz/$(1)
	@mkdir -p build/fuzz/corpus-$(1)
	@tests/fuzz/seeds.sh $(1) build/fuzz/seeds-$(1)
	$$(FUZZ_ENV) $$< -max_len=$$(FUZZ_MAX_$(1)) $$(FUZZ_RUN) -dict=build/fuzz/seeds-$(1)/dict build/fuzz/corpus-$(1) \
	  build/fuzz/seeds-$(1)/in $$(wildcard tests/fuzz/corpus/$(1))
fuzz-keep-$(1): build/fuzz/$(1)
	@mkdir -p build/fuzz/kept-$(1) tests/fuzz/corpus/$(1)
	@tests/fuzz/seeds.sh $(1) build/fuzz/seeds-$(1)
	$$(FUZZ_ENV) $$< -max_len=600 -merge=1 build/fuzz/kept-$(1) tests/fuzz/corpus/$(1) build/fuzz/corpus-$(1)
	@ls -S -r build/fuzz/kept-$(1) | awk '{f[NR] = $$$$0} END {n = NR < 60 ? NR : 60; for (i = 0; i < n; i++) print f[1 + int(i * NR / n)]}' | while read -r f; do cp build/fuzz/kept-$(1)/$$$$f tests/fuzz/corpus/$(1)/; done
build/fuzz/$(1): tests/fuzz/fuzz_$(1).c $$(FUZZ_SRC_$(1))
	@mkdir -p $$(@D)
	$$(FUZZ_CC) $$(FUZZ_FLAGS) -o $$@ $$^ $$(FUZZ_LIB_$(1)) -lyaml -ljansson -lxxhash -lm
endef
$(foreach n,$(FUZZ_NAMES),$(eval $(call FUZZ_RULE,$(n))))
build/fuzz/tok_sentencepiece.o: core/token/tok_sentencepiece.cc core/token/tok_sp.h
	@mkdir -p $(@D)
	$(FUZZ_CC) $(CPPFLAGS) -std=c++17 -g -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize=vptr,function -fno-sanitize-recover=undefined -c -o $@ $<
