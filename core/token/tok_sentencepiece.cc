// tok_sentencepiece.cc - see tok_sp.h. C++ because the library is; whatever it throws becomes an error text here.
#include "core/token/tok_sp.h"

#include <sentencepiece_processor.h>

#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <vector>

struct hy_sp {
    sentencepiece::SentencePieceProcessor p;
};

namespace {
void put(char *error, size_t cap, const char *text) {
    const size_t n = cap - 1 < std::strlen(text) ? cap - 1 : std::strlen(text);
    std::memcpy(error, text, n);
    error[n] = 0;
}

// Runs f, which returns an error text, empty if all is well.
template <class F> int guarded(char *error, size_t cap, F f) {
    try {
        const std::string e = f();
        if (e.empty()) return 0;
        put(error, cap, e.c_str());
    } catch (const std::exception &e) {
        put(error, cap, e.what());
    } catch (...) {
        put(error, cap, "unknown exception");
    }
    return -1;
}

std::string text_of(const sentencepiece::util::Status &s) {
    return s.ok() ? std::string() : s.error_message()[0] ? s.error_message() : "the library gives no reason";
}
}  // namespace

extern "C" {
hy_sp *hy_sp_open(const char *data, size_t n, char *error, size_t cap) {
    hy_sp *s = nullptr;
    const int bad = guarded(error, cap, [&] {
        s = new hy_sp;
        return text_of(s->p.LoadFromSerializedProto(absl::string_view(data, n)));
    });
    if (!bad && s->p.GetPieceSize() < 1)
        put(error, cap, "it has no pieces");
    else if (!bad)
        return s;
    hy_sp_close(s);
    return nullptr;
}

void hy_sp_close(hy_sp *s) { delete s; }
int hy_sp_size(const hy_sp *s) { return s->p.GetPieceSize(); }

const char *hy_sp_piece(const hy_sp *s, int id, size_t *n) {
    const std::string &p = s->p.IdToPiece(id);
    if (n) *n = p.size();
    return p.c_str();
}

int hy_sp_find(const hy_sp *s, const char *piece, size_t n) {
    int id = s->p.unk_id();
    char error[8];
    guarded(error, sizeof error, [&] {
        id = s->p.PieceToId(std::string(piece, n));
        return std::string();
    });
    return id;
}

hy_sp_type hy_sp_type_of(const hy_sp *s, int id) {
    if (s->p.IsUnknown(id)) return HY_SP_UNKNOWN;
    if (s->p.IsControl(id)) return HY_SP_CONTROL;
    if (s->p.IsByte(id)) return HY_SP_BYTE;
    return s->p.IsUnused(id) ? HY_SP_UNUSED : HY_SP_NORMAL;
}

int hy_sp_role(const hy_sp *s, int role) {
    switch (role) {
        case 0: return s->p.bos_id();
        case 1: return s->p.eos_id();
        case 2: return s->p.unk_id();
        default: return s->p.pad_id();
    }
}

int hy_sp_encode(const hy_sp *s, const char *text, size_t n, hy_sp_write write, void *user, char *error, size_t cap) {
    return guarded(error, cap, [&] {
        std::vector<int> ids;
        const std::string e = text_of(s->p.Encode(absl::string_view(text, n), &ids));
        if (e.empty() && !ids.empty())
            write(user, reinterpret_cast<const char *>(ids.data()), ids.size() * sizeof ids[0]);
        return e;
    });
}

int hy_sp_decode(const hy_sp *s, const int32_t *ids, size_t n, hy_sp_write write, void *user, char *error, size_t cap) {
    return guarded(error, cap, [&] {
        std::string text;
        const std::string e = text_of(s->p.Decode(std::vector<int>(ids, ids + n), &text));
        if (e.empty()) write(user, text.data(), text.size());
        return e;
    });
}
}
