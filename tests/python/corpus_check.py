"""A second reader of token shards (core/corpus/corpus.h): every count, offset and hash of a set, and, where its tokenizer is
"bytes", every id from the sources, cut into documents by rules of its own. Prints "N documents, M tokens" or what is wrong.

    corpus_check.py DIR [--sources FOLDER]     sources whose path is relative lie in FOLDER
    corpus_check.py DIR --ids                  the ids of each document, a JSON list a line, instead
    corpus_check.py DIR --sign                 a manifest that was edited gets the checksum that fits
"""
import ctypes, ctypes.util, json, os, re, struct, sys


class H128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


def library():
    for name in ("libxxhash.so.0", "libxxhash.so", ctypes.util.find_library("xxhash")):
        try:
            x = ctypes.CDLL(name)
            break
        except (OSError, TypeError):
            pass
    else:
        print("skip: no libxxhash")
        sys.exit(77)
    x.XXH3_128bits.restype, x.XXH3_128bits.argtypes = H128, [ctypes.c_char_p, ctypes.c_size_t]
    x.XXH3_64bits.restype, x.XXH3_64bits.argtypes = ctypes.c_uint64, [ctypes.c_char_p, ctypes.c_size_t]
    return x


X = library()


def h128(data):
    h = X.XXH3_128bits(data, len(data))
    return "%016x%016x" % (h.high, h.low)


def h64(data):
    return X.XXH3_64bits(data, len(data))


def want(what, found, wanted):
    if found != wanted:
        raise SystemExit(f"{what}: {found!r}, wanted {wanted!r}")


def cut_long(text, most):
    """Documents of at most `most` bytes: behind the last line that fits, else the last word, else the last character."""
    while len(text) > most:
        head = text[:most]
        k = head.rfind(b"\n") + 1 or max(head.rfind(b" "), head.rfind(b"\t")) + 1
        if not k:
            k = most
            while k > 1 and text[k] & 0xC0 == 0x80:
                k -= 1
        yield text[:k]
        text = text[k:]
    if text:
        yield text


def documents(data, s):
    """What is in a file by the settings of a set: texts in order."""
    if data[:3] == b"\xef\xbb\xbf":
        data = data[3:]
    kind = s["documents"]
    if kind == "jsonl":
        return [t for t in (json.loads(line)[s["field"]].encode() for line in data.split(b"\n") if line.strip(b" \t\r\n")) if t]
    if kind == "separator":
        parts = data.split(s["separator"].encode())
    elif kind == "blank":
        parts = [p.strip(b"\n") for p in re.split(rb"(?:^|(?<=\n))(?:[ \t\r]*(?:\n|\Z))+", data)]
    else:
        parts = [data]
    if not s["split_long"]:
        assert all(len(p) <= s["max_document"] for p in parts)
        return [p for p in parts if p]
    return [d for p in parts for d in cut_long(p, s["max_document"])]


def sign(folder):
    path = os.path.join(folder, "manifest.json")
    raw = open(path, "rb").read()
    head = raw[: raw.rindex(b'"checksum"')]
    open(path, "wb").write(head + b'"checksum": "%s"\n}\n' % h128(head).encode())


def main(folder, sources, show):
    raw = open(os.path.join(folder, "manifest.json"), "rb").read()
    m = json.loads(raw)
    want("last member", list(m)[-1], "checksum")
    want("checksum", m["checksum"], h128(raw[: raw.rindex(b'"checksum"')]))
    want("format", (m["format"], m["version"]), ("hylab.tokens", 1))
    want("dtype", m["dtype"], "u16" if m["vocab"] <= 65536 else "u32")
    width = 2 if m["dtype"] == "u16" else 4
    want("files", sorted(os.listdir(folder)), sorted(["manifest.json"] + ["%05d.%s" % (i, w) for i in range(len(m["shards"])) for w in ("tokens", "documents")]))
    docs, content = [], (f"hylab.tokens 1 {m['dtype']} {m['vocab']}\n").encode()
    place = {"source": 0, "offset": 0, "line": 1, "hash": ""}
    for i, s in enumerate(m["shards"]):
        tokens = open(os.path.join(folder, f"{i:05d}.tokens"), "rb").read()
        index = open(os.path.join(folder, f"{i:05d}.documents"), "rb").read()
        want(f"shard {i} tokens", len(tokens), s["tokens"] * width)
        want(f"shard {i} documents", len(index), s["documents"] * 24)
        want(f"shard {i} tokens_hash", h128(tokens), s["tokens_hash"])
        want(f"shard {i} documents_hash", h128(index), s["documents_hash"])
        at = total = 0
        for end, length, hashed in struct.iter_unpack("<QQQ", index):
            ids = tokens[at * width : end * width]
            want(f"shard {i}, hash of the document at {at}", h64(ids), hashed)
            content += struct.pack("<QQQ", end - at, length, hashed)
            docs.append((struct.unpack(f"<{end - at}{'H' if width == 2 else 'I'}", ids), length))
            at, total = end, total + length
        want(f"shard {i} ends", at, s["tokens"])
        want(f"shard {i} bytes", total, s["bytes"])
    want("content", h128(content), m["content"])
    for what in ("tokens", "documents", "bytes"):
        want(what, sum(s[what] for s in m["shards"]), m[what])
    assert all(0 <= t < m["vocab"] for ids, _ in docs for t in ids)
    texts, starts = [], []
    for i, s in enumerate(m["sources"]):
        data = open(os.path.join(sources, s["path"]), "rb").read()
        want(s["path"], (len(data), h128(data)), (s["bytes"], s["hash"]))
        texts += documents(data, m["settings"])
    for i, s in enumerate(m["shards"]):  # where its text begins
        f = s["from"]
        data = open(os.path.join(sources, m["sources"][f["source"]]["path"]), "rb").read()[: f["offset"]]
        want(f"shard {i} line", f["line"], data.count(b"\n") + 1)
        want(f"shard {i} hash of the source", f["hash"], h128(data) if i else "")
    if m["tokenizer"]["kind"] == "bytes":
        around = [[m["settings"][k]] if k in m["settings"] else [] for k in ("begin", "end")]
        want("number of documents", len(docs), len(texts))
        for (ids, length), text in zip(docs, texts):
            want("bytes of a document", length, len(text))
            want("ids of a document", list(ids), around[0] + list(text) + around[1])
    if show:
        for ids, _ in docs:
            print(json.dumps(list(ids)))
        return
    print(f"{m['documents']} documents, {m['tokens']} tokens, {len(m['shards'])} shards")


if __name__ == "__main__":
    where = sys.argv.index("--sources") if "--sources" in sys.argv else 0
    if "--sign" in sys.argv:
        sign(sys.argv[1])
    else:
        main(sys.argv[1], sys.argv[where + 1] if where else ".", "--ids" in sys.argv)
