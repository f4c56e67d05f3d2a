#!/usr/bin/env python3
"""Compares hylab's tokenizers with the reference packages, string by string: ids of encoding and text of decoding.

Small tokenizers are trained here on the text of experiments/data with exactly the normalizer, pre-tokenizer, decoder and
post-processor settings of the families; other files are given with --file. Needs the packages tokenizers and sentencepiece.

    python tests/golden/compare_tokenizers.py --hylab ./hylab --count 100000
    python tests/golden/compare_tokenizers.py --kinds llama3 qwen2 --count 1000
    python tests/golden/compare_tokenizers.py --file models/llama/tokenizer.json --count 20000
    python tests/golden/compare_tokenizers.py --sweep
        (every code point through the patterns and the normal forms: has the meaning of a class changed?)
    python tests/golden/compare_tokenizers.py --write tests/golden/tokenizers        (the small goldens of the C tests)
"""
import argparse
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import unicodedata

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
TEXT = os.path.join(ROOT, "experiments", "data", "tinyshakespeare.txt")
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
GPT4O = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
MARK = "\u2581"


# ---------------------------------------------------------------------------------------------- the kinds
def corpus(vocabulary):
    with open(TEXT, encoding="utf-8") as f:
        text = f.read()[: 300000 if vocabulary > 1000 else 60000]
    extra = ["naïve café, Ångström ﬁn – “quoted” …", "日本語のテキストと漢字。한국어 문장입니다", "Привет, мир! שלום עולם مرحبا", "🙂👩‍👩‍👧‍👦🏳️‍🌈 ééé", "def f(x):\n\treturn x**2\n\n\n", "1234567890 2024-01-02"]
    return [line + "\n" for line in text.split("\n")] + extra * 20


def byte_fallback(vocabulary, legacy, first=False, normalized=True):
    """Llama-2 and Hymba: byte fallback. legacy: the normalizer writes the spaces; else the Metaspace pre-tokenizer."""
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=special + ["<0x%02X>" % i for i in range(256)], limit_alphabet=100, show_progress=False)
    t.train_from_iterator(corpus(vocabulary), trainer)
    d = json.loads(t.to_str())
    d["added_tokens"] = [dict(id=i, content=c, single_word=False, lstrip=False, rstrip=False, normalized=normalized, special=True) for i, c in enumerate(special)]
    n = len(d["model"]["vocab"])
    d["added_tokens"].append(dict(id=n, content="[PAD]", single_word=False, lstrip=False, rstrip=False, normalized=False, special=True))
    d["added_tokens"].append(dict(id=n + 1, content="<tool>", single_word=False, lstrip=True, rstrip=True, normalized=normalized, special=False))
    if legacy:
        d["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": MARK}, {"type": "Replace", "pattern": {"String": " "}, "content": MARK}]}
        d["pre_tokenizer"] = None
    else:
        d["normalizer"] = None
        d["pre_tokenizer"] = {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "first" if first else "always", "split": not first}
    d["decoder"] = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": MARK}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    d["post_processor"] = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "<s>", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}
    d["model"]["merges"] = [" ".join(m) for m in d["model"]["merges"]] if legacy else d["model"]["merges"]
    return d


def byte_level(vocabulary, split=None, nfc=False, special=(), added=(), ignore_merges=False, bos=None, pre=None):
    t = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if nfc:
        t.normalizer = normalizers.NFC()
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split is None)
    t.pre_tokenizer = pre if pre else pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(split), "isolated"), level]) if split else level
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(corpus(vocabulary), trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    t.add_special_tokens(list(special))
    t.add_tokens(list(added))
    t.post_processor = processors.ByteLevel(trim_offsets=True)
    if bos:
        t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), processors.TemplateProcessing(single=bos + " $A", pair=bos + " $A " + bos + " $B:1", special_tokens=[(bos, t.token_to_id(bos))])])
    return json.loads(t.to_str())


def words(vocabulary, model, trainer, pre, normalizer=None, decoder=None, post=None, special=("<unk>", "<s>", "</s>"), **options):
    """The kinds of small studies: words between spaces, in pieces or whole."""
    t = Tokenizer(model)
    t.pre_tokenizer = pre
    if normalizer:
        t.normalizer = normalizer
    t.train_from_iterator(corpus(vocabulary), trainer(vocab_size=vocabulary, special_tokens=list(special), show_progress=False, **options))
    if decoder:
        t.decoder = decoder
    if post:
        t.post_processor = post((special[2], t.token_to_id(special[2])), (special[1], t.token_to_id(special[1])))
    return json.loads(t.to_str())


def make_words(kind, vocabulary):
    n, p, bpe = normalizers, pre_tokenizers, trainers.BpeTrainer
    bert = ("[UNK]", "[CLS]", "[SEP]")
    if kind == "whitespace":
        return words(vocabulary, models.BPE(unk_token="<unk>"), bpe, p.Whitespace())
    if kind == "whitespace-split":
        return words(vocabulary, models.BPE(unk_token="<unk>", fuse_unk=True), bpe, p.WhitespaceSplit(), limit_alphabet=40)
    if kind == "wordlevel":
        return words(vocabulary, models.WordLevel(unk_token="<unk>"), trainers.WordLevelTrainer, p.Whitespace(), n.Sequence([n.NFD(), n.StripAccents(), n.Lowercase()]))
    if kind == "wordpiece":
        return words(vocabulary, models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20), trainers.WordPieceTrainer, p.BertPreTokenizer(), n.BertNormalizer(), decoders.WordPiece(), processors.BertProcessing, bert)
    if kind == "wordpiece-cased":
        return words(vocabulary, models.WordPiece(unk_token="[UNK]"), trainers.WordPieceTrainer, p.BertPreTokenizer(), n.BertNormalizer(lowercase=False, strip_accents=True, handle_chinese_chars=False), decoders.WordPiece(cleanup=False), None, bert)
    if kind == "bpe-suffix":  # the first GPT
        return words(vocabulary, models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"), bpe, p.BertPreTokenizer(), n.BertNormalizer(), decoders.BPEDecoder("</w>"), end_of_word_suffix="</w>")
    if kind == "clip":
        split = p.Split(Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True)
        pre = p.Sequence([split, p.ByteLevel(add_prefix_space=False)])
        return words(vocabulary, models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"), bpe, pre, n.Sequence([n.NFC(), n.Replace(Regex(r"\s+"), " "), n.Lowercase()]), decoders.Sequence([decoders.ByteLevel(), decoders.Replace("</w>", " ")]), processors.RobertaProcessing, end_of_word_suffix="</w>", initial_alphabet=p.ByteLevel.alphabet())
    if kind == "bpe-prefix":
        return words(vocabulary, models.BPE(unk_token="<unk>", continuing_subword_prefix="##"), bpe, p.Whitespace(), n.Sequence([n.Strip(), n.Lowercase()]), decoders.WordPiece(), continuing_subword_prefix="##")
    if kind == "roberta":
        return words(vocabulary, models.BPE(), bpe, p.ByteLevel(add_prefix_space=True), None, decoders.ByteLevel(), processors.RobertaProcessing, initial_alphabet=p.ByteLevel.alphabet())
    if kind == "delimiter":
        return words(vocabulary, models.WordLevel(unk_token="<unk>"), trainers.WordLevelTrainer, p.CharDelimiterSplit(" "), n.Sequence([n.Strip(right=False)]))
    return None


def make(kind, vocabulary):
    d = make_words(kind, vocabulary)
    if d:
        return d
    if kind == "llama2":
        return byte_fallback(vocabulary, legacy=True, normalized=False)
    if kind == "llama-1":
        return byte_fallback(vocabulary, legacy=True)
    if kind == "hymba":
        return byte_fallback(vocabulary, legacy=False)
    if kind == "hymba-first":
        return byte_fallback(vocabulary, legacy=False, first=True, normalized=False)
    if kind == "llama3":
        return byte_level(vocabulary, LLAMA3, special=["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"], ignore_merges=True, bos="<|begin_of_text|>")
    if kind == "qwen2":
        return byte_level(vocabulary, QWEN2, nfc=True, special=["<|endoftext|>", "<|im_start|>", "<|im_end|>"], added=[AddedToken("<tool_call>", normalized=False)])
    if kind == "gptneox":
        return byte_level(vocabulary, special=["<|endoftext|>", "<|padding|>"], added=[AddedToken(" " * k, normalized=True) for k in range(24, 1, -1)])
    if kind == "gpt2-prefix":
        return byte_level(vocabulary, special=["<|endoftext|>"], pre=pre_tokenizers.ByteLevel(add_prefix_space=True), added=[AddedToken("wort", single_word=True), AddedToken("<l>", lstrip=True), AddedToken("<r>", rstrip=True)])
    if kind == "gpt4o":
        return byte_level(vocabulary, GPT4O, special=["<|endoftext|>"])
    if kind == "smollm":
        pre = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
        return byte_level(vocabulary, special=["<|endoftext|>", "<|im_start|>"], pre=pre)
    if kind == "falcon":
        pre = pre_tokenizers.Sequence([pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True), pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated")])
        return byte_level(vocabulary, special=["<|endoftext|>", ">>QUESTION<<"], pre=pre)
    raise SystemExit("no kind " + kind)


# llama-1 is compared only with releases up to 0.21: 0.23 writes its special tokens, which are normalized ones, into decoded text
# as "\u2581<s>" in spite of skip_special_tokens. hylab does as 0.21.
OLD = ["llama-1"]
KINDS = ["llama2", "hymba", "hymba-first", "llama3", "qwen2", "gptneox", "gpt2-prefix", "gpt4o", "smollm", "falcon"]
WORD_KINDS = ["whitespace", "whitespace-split", "wordlevel", "wordpiece", "wordpiece-cased", "bpe-suffix", "clip", "bpe-prefix", "roberta", "delimiter"]
SP_KINDS = ["sp-bpe", "sp-unigram"]


def make_sp(kind, vocabulary, rules=None):
    import sentencepiece as spm
    out = io.BytesIO()
    options = dict(sentence_iterator=iter(corpus(vocabulary)), model_writer=out, vocab_size=vocabulary, minloglevel=2, num_threads=1)
    if kind == "sp-bpe":  # Llama-2
        options.update(model_type="bpe", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True, character_coverage=0.999)
    else:
        options.update(model_type="unigram", byte_fallback=False, character_coverage=0.9995, user_defined_symbols=["<tool>"], hard_vocab_limit=False)
    if rules and kind != "sp-bpe":
        options.update(normalization_rule_tsv=rules)
    spm.SentencePieceTrainer.train(**options)
    return out.getvalue()


# ---------------------------------------------------------------------------------------------- the strings
POOLS = [
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", " ", " \t\n\r", "0123456789", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    "".join(map(chr, range(0x20))) + "\x7f\x80\x85\xa0\xad", "\u200b\u200c\u200d\u200e\u200f\u202a\u202e\u2028\u2029\u2060\ufeff\ufffd\ufffe\uffff\u180e\u3000\u2003",
    "".join(map(chr, range(0x300, 0x370))), "".join(map(chr, range(0x1100, 0x1200))), "".join(map(chr, range(0xAC00, 0xAC60))), "".join(map(chr, range(0x5D0, 0x5EB))) + "".join(map(chr, range(0x610, 0x6D4))),
    "".join(map(chr, range(0x900, 0x980))), "".join(map(chr, range(0xE00, 0xE5C))), "".join(map(chr, range(0x4E00, 0x4E80))) + "".join(map(chr, range(0x3040, 0x3100))),
    "".join(map(chr, range(0x1F600, 0x1F650))) + "\u200d\ufe0f\u20e3" + "".join(map(chr, range(0x1F3FB, 0x1F400))) + "".join(map(chr, range(0x1F1E6, 0x1F200))),
    "éèêëēėęñçøåæœßÿžšðþıİſKÅΩ", "".join(map(chr, range(0x370, 0x400))) + "".join(map(chr, range(0x400, 0x460))), "①②③½¼²³ⅣⅨ٣٤५६", MARK, "ﬀﬁﬂﬃﬄﬅﬆ", "".join(map(chr, range(0x100, 0x144))),
]
WORDS = ["the", " the", "The", "don't", "I'LL", "we'Ve", "'s", "it'ſ", "  ", "\n\n", "\r\n", " \n ", "\t\t", "wort", "wortwort", "1234567", "3.14159", "http://x.y/z?q=1", "👩‍👩‍👧‍👦", "🏳️‍🌈", "e\u0301", "a\u0315\u0301\u0327", "각", "각", "Å", "\u212b", "\u0958", "㎏", "<0x0A>", "<0xZZ>", "<0x41>", "Ġthe", "Ċ", "x" * 40]


def random_char(r):
    while True:
        c = r.choice([r.randrange(0x80), r.randrange(0x800), r.randrange(0x10000), r.randrange(0x110000), r.randrange(0x1F000, 0x20000)])
        if not 0xD800 <= c < 0xE000:
            return chr(c)


def strings(count, special, seed=1):
    """Awkward strings first, then random ones of every make, the same for the same seed."""
    r = random.Random(seed)
    with open(TEXT, encoding="utf-8") as f:
        text = f.read()
    fixed = ["", " ", "  ", "\n", "\0", "a\0b", MARK, MARK * 3, " " + MARK, "x" * 5000, "ab" * 3000, " " * 3000, "\n" * 2000, "é" * 2000, "🙂" * 1000, "\u0301" * 500, "a" + "\u0301\u0327" * 300, "".join(special), " ".join(special), text[:3000], text[5000:9000].upper()]
    fixed += [t[:k] for t in special for k in range(1, len(t))] + [t[k:] for t in special for k in range(1, len(t))]
    fixed += [a + t + b for t in special for a in ("", " ", "x", "\n", "  ", "é") for b in ("", " ", "x", "\n", "  ", "e\u0301")]
    yield from fixed[:count]
    for i in range(count - len(fixed)):
        kind = i % 10
        if kind == 0:
            yield "".join(random_char(r) for _ in range(r.randrange(1, 30)))
        elif kind == 1:
            a = r.randrange(len(text) - 200)
            yield text[a : a + r.randrange(1, 200)]
        elif kind == 2:
            yield "".join(r.choice(WORDS) for _ in range(r.randrange(1, 12)))
        elif kind == 3 and special:
            yield "".join(r.choice(special) if r.random() < 0.4 else r.choice(special)[: r.randrange(1, 6)] if r.random() < 0.3 else r.choice(WORDS + [" ", "  ", "a"]) for _ in range(r.randrange(1, 10)))
        elif kind == 4:
            pool = r.choice(POOLS)
            yield "".join(r.choice(pool) for _ in range(r.randrange(1, 60)))
        elif kind == 5:
            yield unicodedata.normalize(r.choice(["NFC", "NFD", "NFKD"]), "".join(r.choice(r.choice(POOLS)) for _ in range(r.randrange(1, 40))))
        elif kind == 6:
            yield r.choice(POOLS[0]) * r.randrange(1, 100) + r.choice([" ", "", "\n"]) * r.randrange(0, 20)
        else:
            yield "".join(r.choice(r.choice(POOLS)) for _ in range(r.randrange(1, 40)))


# ---------------------------------------------------------------------------------------------- comparing
def hylab(args, exe, lines):
    """lines: JSON texts; gives the JSON values that come back."""
    p = subprocess.run([exe, "tokenize"] + args + ["--lines"], input=("\n".join(lines) + "\n").encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if p.returncode:
        raise SystemExit("hylab failed: " + p.stderr.decode())
    out = p.stdout.decode("utf-8").split("\n")[:-1]
    assert len(out) == len(lines), (len(out), len(lines))
    return [json.loads(x) for x in out]


class Reference:
    def __init__(self, path):
        self.sp = not path.endswith(".json")
        if self.sp:
            import sentencepiece as spm
            self.t = spm.SentencePieceProcessor(model_file=path)
            self.special = [self.t.id_to_piece(i) for i in range(self.t.get_piece_size()) if self.t.is_control(i)] + ["<tool>", "<unk>"]
            self.size = self.t.get_piece_size()
        else:
            self.t = Tokenizer.from_file(path)
            self.t.no_truncation()
            self.t.no_padding()
            self.special = [a.content for a in self.t.get_added_tokens_decoder().values()][:40]
            self.size = max(self.t.get_vocab(True).values()) + 1

    def encode(self, texts):
        return [self.t.encode(s) for s in texts] if self.sp else [e.ids for e in self.t.encode_batch(texts)]

    def decode(self, ids, skip):
        if not self.sp:
            return [self.t.decode(x, skip_special_tokens=skip) for x in ids]
        return [self.t.decode([i for i in x if not (skip and self.t.is_control(i))]) if x else "" for x in ids]


def compare(name, path, exe, count):
    ref = Reference(path)
    texts = list(strings(count, ref.special))
    r = random.Random(7)
    wrong = 0

    def report(what, source, want, got):
        nonlocal wrong
        for a, b, c in zip(source, want, got):
            if b != c:
                wrong += 1
                if wrong <= 5:
                    print("  %s %s: %s\n    reference %s\n    hylab     %s" % (name, what, json.dumps(a)[:300], json.dumps(b)[:300], json.dumps(c)[:300]))

    total = 0
    for a in range(0, len(texts), 20000):
        part = texts[a : a + 20000]
        want = ref.encode(part)
        report("encode", part, want, hylab([path], exe, [json.dumps(s) for s in part]))
        # decoding: what was encoded, and random ids
        ids = want + [[r.randrange(ref.size) for _ in range(r.randrange(1, 20))] for _ in range(len(part) // 4)]
        report("decode", ids, ref.decode(ids, True), hylab([path, "--decode"], exe, [json.dumps(x) for x in ids]))
        report("decode with special tokens", ids, ref.decode(ids, False), hylab([path, "--decode", "--keep-special"], exe, [json.dumps(x) for x in ids]))
        total += len(part)
    print("%-14s %8d strings, vocabulary %6d: %d differences" % (name, total, ref.size, wrong), flush=True)
    return wrong


def sweep(folder, exe):
    """Every code point between letters, digits, spaces, marks and added tokens; of the planes without characters every 97th."""
    points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000 and (c < 0x32400 or 0xE0000 <= c < 0xE0200 or c % 97 == 0)]
    wrong = 0

    def run(name, path, text, block):
        nonlocal wrong
        ref, bad = Tokenizer.from_file(path), 0
        texts = ["|".join(text.replace("@", chr(c)) for c in points[i : i + block]) for i in range(0, len(points), block)]
        for a in range(0, len(texts), 4000):
            part = texts[a : a + 4000]
            got = hylab([path], exe, [json.dumps(s) for s in part])
            for s, want, ids in zip(part, ref.encode_batch(part), got):
                if want.ids != ids:
                    bad += 1
                    if bad <= 3:
                        print("  %s: %s" % (name, json.dumps(s)[:200]))
        print("%-14s every code point, %d strings: %d differences" % (name, len(texts), bad), flush=True)
        wrong += bad

    for kind in ["llama2", "llama3", "qwen2", "gptneox", "gpt2-prefix", "gpt4o", "smollm", "falcon"]:
        path = os.path.join(folder, kind + ".json")
        write_file(path, kind, 600)
        run(kind, path, "x@1@ @X@x@@\n@wort@wort<l>@<r>@'s@", 16)
    plain = byte_level(300)
    for form in ["NFC", "NFD", "NFKC", "NFKD"]:
        path = os.path.join(folder, form + ".json")
        with open(path, "w") as f:
            json.dump(dict(plain, normalizer={"type": form}), f)
        run(form, path, "@ a\u0315@\u0334 @\u0301\u0327 \uac00@ \u1100@\u0300", 8)
    return wrong


def write_file(path, kind, vocabulary, rules=None):
    if kind in SP_KINDS:
        with open(path, "wb") as f:
            f.write(make_sp(kind, vocabulary, rules))
    else:
        with open(path, "w", encoding="utf-8") as f:
            json.dump(make(kind, vocabulary), f, ensure_ascii=False, separators=(",", ":"))


def write_goldens(folder):
    """Small ones: 3 lines a string in KIND.golden, the string, its ids, their text with special tokens."""
    os.makedirs(folder, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:  # a normalizer of a few kB in place of the usual 240
        rules.write("FB01\t66 69\nFF21\t41\n2126\t3A9\n41 30A\tC5\n")
        rules.flush()
        for kind in ["llama2", "hymba-first", "llama3", "qwen2", "gptneox", "falcon"] + WORD_KINDS + SP_KINDS:
            path = os.path.join(folder, kind + (".model" if kind in SP_KINDS else ".json"))
            write_file(path, kind, 400, rules.name)
            ref = Reference(path)
            texts = [s for s in strings(3000, ref.special, seed=5) if len(s) < 36]
            texts = texts[:8] + random.Random(3).sample(texts[8:], 42)
            ids = ref.encode(texts)
            with open(os.path.join(folder, kind + ".golden"), "w", encoding="ascii") as f:
                for s, x, y in zip(texts, ids, ref.decode(ids, False)):
                    f.write(json.dumps(s) + "\n" + json.dumps(x) + "\n" + json.dumps(y) + "\n")
    write_patterns(os.path.join(folder, "patterns.golden"))


# Syntax of patterns: each is tried on each text; patterns.golden has a line of JSON for each that finds something.
PATTERNS = [
    r"\b\w+\b", r"\B.", r"^.", r".$", r"\A.", r".\z", r".\Z", r"^$", r"(?<=^)a|b(?=$)", r"\R", r"\R+", r"[^\r\n]+|\R", r"\h+", r"\H+", r"\N+", r"\O{2}",
    r"[a[bc]]+", r" ?[^(\s|[.;])]+", r"[^a[^b]]", r"[a-z&&[^aeiou]]+", r"[^a-z&&[^aeiou]]+", r"[\w&&[^\d_]]+", r"[\p{L}&&[[:ascii:]]&&[^x]]+",
    r"[\W\d]+", r"[^\W\d]+", r"[\S&&\D]+", r"[\P{L}]+", r"[^\P{L}]+", r"[\p{^L}_]+", r"[\H]+", r"[\h-]+", r"[\b]", r"[\w-]+", r"[a-]+", r"[\w]+", r"[\W]+", r"\w+", r"\W+", r"\p{Word}+", r"[\p{Word}]+",
] + [r"[[:%s:]]+" % n for n in "alnum alpha ascii blank cntrl digit graph lower print punct space upper word xdigit ^alpha ^punct ^space ^word".split()] + [
    r"\p{%s}+" % n for n in "Greek Cyrillic Latin Arabic Hebrew Han Hiragana Common Inherited Letter Number Punctuation Alpha Alnum Upper Lower Mn Me Pc Pd Ps Po Sm Sc Sk So Zs Cc Cf Cn Any Emoji lowercase_letter white-space".split()] + [
    r"\P{Mn}+", r"\P{Cn}+", r"(?<word>\w)(?<rest>\d)", r"{\w}", r"a{2}", r"a{,2}", r"a{", r"(?i:straSSe)", r"(?>a+)b", r"(?<!\w)x(?!\w)",
]
PATTERN_TEXTS = [
    "aab (abc); x_1 = y;\r\nsix\n\nab\n", "\u00e9t\u00e9 \u0436\u0416 \u03b1\u03a9 \u6f22\u3042 \u05d0 \u0661\u00b2\u00bd 1F e\u0301\u20dd", "a\u0085b\u2028c\u00a0d\t- $+~^ {d} \u00ad\u200d\U0001f600 \u1c89\ud7ff",
    "a\n", "\n", "x", "STRASSE strasse 0xBEEF \b \U0001171e\u0378\u0897",
]


def write_patterns(path):
    with open(path, "w", encoding="ascii") as f:
        for p in PATTERNS:
            split = pre_tokenizers.Split(Regex(p), "isolated")
            for s in PATTERN_TEXTS:
                pieces = [x for x, _ in split.pre_tokenize_str(s)]
                if pieces != [s]:
                    f.write(json.dumps([p, s, pieces]) + "\n")


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--hylab", default=os.path.join(ROOT, "hylab"))
    a.add_argument("--count", type=int, default=100000, help="strings a tokenizer")
    a.add_argument("--vocab", type=int, default=4000)
    a.add_argument("--kinds", nargs="*", default=KINDS + WORD_KINDS + OLD + SP_KINDS)
    a.add_argument("--file", nargs="*", help="compare with these files only")
    a.add_argument("--keep", help="folder for the trained tokenizers (default: a temporary one)")
    a.add_argument("--sweep", action="store_true", help="compare every code point instead")
    a.add_argument("--write", metavar="DIR", help="write the small goldens instead")
    o = a.parse_args()
    if o.write:
        return write_goldens(o.write)
    wrong = 0
    with tempfile.TemporaryDirectory() as tmp:
        folder = o.keep or tmp
        os.makedirs(folder, exist_ok=True)
        if o.sweep:
            return 1 if sweep(folder, o.hylab) else 0
        for f in o.file or []:
            wrong += compare(os.path.basename(os.path.dirname(f)) or f, f, o.hylab, o.count)
        for kind in [] if o.file else o.kinds:
            path = os.path.join(folder, kind + (".model" if kind in SP_KINDS else ".json"))
            write_file(path, kind, o.vocab)
            if kind in OLD and not tokenizers.__version__.startswith("0.21."):
                print("%-14s left out: needs tokenizers 0.21, this is %s" % (kind, tokenizers.__version__))
                continue
            wrong += compare(kind, path, o.hylab, o.count)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
