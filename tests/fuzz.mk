# fuzz.mk - fuzzing with libFuzzer (Debian: clang libclang-rt-14-dev). `make fuzz-NAME` for FUZZ_SECONDS, `make fuzz` each in turn.
# A target is tests/fuzz_NAME.c, the sources it needs (below), and the inputs it starts from (tests/fuzz_seeds.sh). New inputs
# are kept in build/fuzz/corpus-NAME, what fails in build/fuzz/.
FUZZ_SECONDS ?= 60
FUZZ_CC ?= clang
FUZZ_NAMES = safetensors yaml json config shards tokenizer
FUZZ_FLAGS = $(CPPFLAGS) -std=c11 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined
FUZZ_RUN = -timeout=10 -rss_limit_mb=2048 -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 -artifact_prefix=build/fuzz/

FUZZ_SPEC = core/yaml.c core/field.c core/spec.c core/specyaml.c core/specsugar.c core/published.c core/count.c core/cachesize.c
FUZZ_ST = core/safetensors.c core/safetensors_write.c core/json.c core/utf8.c
FUZZ_SRC_safetensors = $(FUZZ_ST)
FUZZ_SRC_yaml = $(FUZZ_SPEC)
FUZZ_SRC_json = core/json.c core/utf8.c
FUZZ_SRC_config = $(wildcard core/import*.c) core/model.c core/program.c core/params.c core/checkpoint.c core/state.c core/plan.c core/shards.c $(FUZZ_SPEC) $(FUZZ_ST)
FUZZ_SRC_shards = core/shards.c $(FUZZ_ST)
FUZZ_SRC_tokenizer = core/tokenizer.c $(wildcard core/tok_*.c) core/json.c core/utf8.c build/fuzz/tok_sentencepiece.o
FUZZ_LIB_tokenizer = -lutf8proc -lpcre2-8 -lsentencepiece -lstdc++
FUZZ_MAX_safetensors = 4096
FUZZ_MAX_yaml = 4096
FUZZ_MAX_json = 2048
FUZZ_MAX_config = 4096
FUZZ_MAX_shards = 2048
FUZZ_MAX_tokenizer = 8192

.PHONY: fuzz $(FUZZ_NAMES:%=fuzz-%)
fuzz: $(FUZZ_NAMES:%=fuzz-%)
define FUZZ_RULE
fuzz-$(1): build/fuzz/$(1)
	@mkdir -p build/fuzz/corpus-$(1)
	@tests/fuzz_seeds.sh $(1) build/fuzz/seeds-$(1)
	$$< -max_len=$$(FUZZ_MAX_$(1)) $$(FUZZ_RUN) -dict=build/fuzz/seeds-$(1)/dict build/fuzz/corpus-$(1) build/fuzz/seeds-$(1)/in
build/fuzz/$(1): tests/fuzz_$(1).c $$(FUZZ_SRC_$(1)) core/base.c
	@mkdir -p $$(@D)
	$$(FUZZ_CC) $$(FUZZ_FLAGS) -o $$@ $$^ $$(FUZZ_LIB_$(1)) -lyaml -ljansson -lxxhash -lm
endef
$(foreach n,$(FUZZ_NAMES),$(eval $(call FUZZ_RULE,$(n))))
build/fuzz/tok_sentencepiece.o: core/tok_sentencepiece.cc core/tok_sp.h
	@mkdir -p $(@D)
	$(FUZZ_CC) $(CPPFLAGS) -std=c++17 -g -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize=vptr,function -fno-sanitize-recover=undefined -c -o $@ $<
