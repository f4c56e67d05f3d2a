// data_wav.c - WAV files: a RIFF of chunks, of which "fmt " and "data" are read. PCM of 8 bits (0 .. 255, 128 is
// silence) and 16 bits (signed, lowest byte first); of several channels the first. See seq_impl.h.
#include <stdlib.h>
#include <string.h>

#include "core/task/seq_impl.h"

enum { PCM = 1, EXTENSIBLE = 0xfffe, RATE_MOST = 384000, CHANNELS_MOST = 64 };

typedef struct {
    const uint8_t *fmt, *data;
    size_t n_fmt, n_data;
} chunks;

static uint32_t u16(const uint8_t *b) { return (uint32_t)b[0] | (uint32_t)b[1] << 8; }
static uint32_t u32(const uint8_t *b) { return u16(b) | u16(b + 2) << 16; }

// The first chunk of each kind; nothing behind the data is looked at.
static hy_status chunks_find(const char *path, const uint8_t *b, size_t n, chunks *c) {
    if (n < 12 || memcmp(b, "RIFF", 4) || memcmp(b + 8, "WAVE", 4))
        return hy_error(HY_EINPUT, "%s: is no WAV file: it does not begin with RIFF .... WAVE", path);
    for (size_t at = 12; !c->data;) {
        if (n - at < 8)
            return hy_error(HY_EINPUT, "%s: ends before its %s chunk: it is not whole", path, c->fmt ? "data" : "fmt");
        const uint8_t *head = b + at;
        const size_t size = u32(head + 4);
        at += 8;
        if (size > n - at)
            return hy_error(
                HY_EINPUT,
                "%s: its chunk \"%.4s\" tells of %zu bytes, but %zu follow: it is not whole, or was written "
                "into a pipe (sox IN.wav OUT.wav mends that)",
                path, (const char *)head, size, n - at);
        if (!memcmp(head, "fmt ", 4) && !c->fmt) c->fmt = b + at, c->n_fmt = size;
        if (!memcmp(head, "data", 4)) c->data = b + at, c->n_data = size;
        at += size;
        if (size % 2 && at < n) at++;  // chunks begin at even places
    }
    if (!c->fmt) return hy_error(HY_EINPUT, "%s: its data chunk comes before a fmt chunk", path);
    return HY_OK;
}

static hy_status format_read(const char *path, const chunks *c, uint32_t *channels, uint32_t *rate, uint32_t *bits) {
    if (c->n_fmt < 16) return hy_error(HY_EINPUT, "%s: its fmt chunk has %zu bytes, not 16 or more", path, c->n_fmt);
    uint32_t format = u16(c->fmt);
    *channels = u16(c->fmt + 2), *rate = u32(c->fmt + 4), *bits = u16(c->fmt + 14);
    if (format == EXTENSIBLE && c->n_fmt >= 26) format = u16(c->fmt + 24);
    if (format != PCM || (*bits != 8 && *bits != 16))
        return hy_error(
            HY_EINPUT,
            "%s: WAV format %u of %u bits; PCM (1) of 8 or 16 bits is read: convert it (sox IN.wav -b 16 -e "
            "signed-integer OUT.wav)",
            path, format, *bits);
    if (*channels < 1 || *channels > CHANNELS_MOST)
        return hy_error(HY_EINPUT, "%s: %u channels; 1 to %d are read", path, *channels, CHANNELS_MOST);
    if (*rate < 1 || *rate > RATE_MOST)
        return hy_error(HY_EINPUT, "%s: %u samples a second; 1 to %d are read", path, *rate, RATE_MOST);
    if (u16(c->fmt + 12) != *channels * *bits / 8)
        return hy_error(HY_EINPUT, "%s: %u bytes a frame do not fit %u channels of %u bits", path, u16(c->fmt + 12),
                        *channels, *bits);
    return HY_OK;
}

hy_status hy_wav_read(const char *path, const void *data, size_t n, hy_wav *out) {
    chunks c = {0};
    uint32_t channels = 0, rate = 0, bits = 0;
    *out = (hy_wav){0};
    HY_TRY(chunks_find(path, data, n, &c));
    HY_TRY(format_read(path, &c, &channels, &rate, &bits));
    const size_t frame = channels * bits / 8;
    if (c.n_data < frame) return hy_error(HY_EINPUT, "%s: has no samples", path);
    out->rate = (int)rate;
    out->n = (int64_t)(c.n_data / frame);
    out->v = hy_xcalloc((size_t)out->n, sizeof *out->v);
    for (int64_t i = 0; i < out->n; i++) {
        const uint8_t *at = c.data + (size_t)i * frame;
        out->v[i] = bits == 8 ? (float)((int)at[0] - 128) / 128 : (float)(int16_t)u16(at) / 32768;
    }
    return HY_OK;
}
