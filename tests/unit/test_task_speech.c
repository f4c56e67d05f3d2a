// test_task_speech.c - recordings as sequences: WAV files against bytes written here, mu-law against its formula,
// windows, decimation, groups that stay together, lists and folders, hostile files.
#include "tests/unit/seq_fixture.h"

static char *options(const char *name, const char *more) {
    static char text[512];
    snprintf(text, sizeof text, "path: %s\n%s", in_folder(name), more);
    return text;
}

static void anew(void) {
    folder_remove(NULL);
    assert_int_equal(mkdir(folder, 0700), 0);
}

static unsigned char *bytes_of(unsigned char *at, uint32_t v, int n) {
    for (int i = 0; i < n; i++) *at++ = (unsigned char)(v >> 8 * i);
    return at;
}

typedef struct {
    int bits, channels, rate, n;
    bool extensible, list;  // a WAVE_FORMAT_EXTENSIBLE; a chunk of 3 bytes before the data
    int (*sample)(int at, int channel);
} wav;

// Writes it; the number of bytes.
static size_t put_wav(const char *name, wav w) {
    static unsigned char b[1 << 17];
    unsigned char *at = b + 12;
    memcpy(b, "RIFF", 4), memcpy(b + 8, "WAVE", 4);
    memcpy(at, "fmt ", 4);
    at = bytes_of(at + 4, w.extensible ? 40 : 16, 4);
    at = bytes_of(at, w.extensible ? 0xfffe : 1, 2);
    at = bytes_of(at, (uint32_t)w.channels, 2);
    at = bytes_of(at, (uint32_t)w.rate, 4);
    at = bytes_of(at, (uint32_t)(w.rate * w.channels * w.bits / 8), 4);
    at = bytes_of(at, (uint32_t)(w.channels * w.bits / 8), 2);
    at = bytes_of(at, (uint32_t)w.bits, 2);
    if (w.extensible) {
        at = bytes_of(at, 22, 2), at = bytes_of(at, (uint32_t)w.bits, 2), at = bytes_of(at, 0, 4);
        at = bytes_of(at, 1, 2);
        memcpy(at, "\0\0\0\0\20\0\200\0\0\252\0\70\233\161", 14);
        at += 14;
    }
    if (w.list) memcpy(at, "LIST\3\0\0\0abc", 12), at += 12;  // and a byte to an even place
    memcpy(at, "data", 4);
    at = bytes_of(at + 4, (uint32_t)(w.n * w.channels * w.bits / 8), 4);
    for (int i = 0; i < w.n; i++)
        for (int c = 0; c < w.channels; c++) at = bytes_of(at, (uint32_t)w.sample(i, c), w.bits / 8);
    bytes_of(b + 4, (uint32_t)(at - b - 8), 4);
    put(name, b, (size_t)(at - b));
    return (size_t)(at - b);
}

static int ramp16(int at, int channel) { return channel ? 12345 : (int16_t)(at * 2749 - 32768); }
static int ramp8(int at, int channel) { return channel ? 3 : at * 37 % 256; }

// F of the text of the task, in double, from a sample of -1 .. 1.
static int mu_law(double x, int levels) {
    const double mu = levels - 1, f = (x < 0 ? -1 : 1) * log(1 + mu * fabs(x)) / log(1 + mu);
    return (int)floor((f + 1) / 2 * mu + 0.5);
}

static void put_two(wav w, const char *second) {  // the same recording twice, one is for training
    anew();
    assert_int_equal(mkdir(in_folder("a"), 0700), 0);
    put_wav("a/one.wav", w);
    put_wav(second, w);
}

// ---------------------------------------------------------------------------------------------------- samples
static void levels(void **state) {
    (void)state;
    static const wav cases[] = {
        {16, 1, 8000, 24, false, false, ramp16},
        {16, 2, 8000, 24, true, true, ramp16},
        {8, 1, 8000, 24, false, true, ramp8},
        {8, 3, 16000, 24, false, false, ramp8},
    };
    static const int n_levels[] = {256, 256, 16, 2};
    for (int k = 0; k < 16; k++) {
        const wav w = cases[k % 4];
        const int L = n_levels[k / 4];
        char more[128];
        put_two(w, "a/two.wav");
        snprintf(more, sizeof more, "samples: 24\nvalidation: 0.5\ntuning: 0\nlevels: %d", L);
        hy_task *t = open_task("speech", options("", more), 1);
        assert_int_equal(hy_task_vocab(t), L + 2);
        example e = example_get(t, HY_SPLIT_EVAL, 0, 0);
        for (int i = 0; i < 24; i++) {
            const double x = w.bits == 16 ? ramp16(i, 0) / 32768.0 : (ramp8(i, 0) - 128) / 128.0;
            assert_int_equal(e.ids[i], mu_law(x, L));
        }
        assert_int_equal(e.labels[24], L + 1);
        assert_string_equal(hy_task_piece(t, e.labels[24]), "a");
        example_free(&e);
        hy_task_close(t);
    }
    // silence, the ends, and where the coarse grid of mu-law is told from a linear one
    assert_true(mu_law(0, 256) == 128 && mu_law(-1, 256) == 0 && mu_law(1, 256) == 255 && mu_law(0.01, 256) == 157);
    put_two((wav){16, 1, 8000, 24, false, false, ramp16}, "a/two.wav");
    hy_task *t = open_task("speech", options("", "samples: 24\nvalidation: 0.5\ntuning: 0\nencoding: linear"), 1);
    example e = example_get(t, HY_SPLIT_EVAL, 0, 0);
    for (int i = 0; i < 24; i++) assert_int_equal(e.ids[i], (ramp16(i, 0) + 32768) / 256);
    example_free(&e);
    hy_task_close(t);
}

static int loud_quiet(int at, int channel) { return (void)channel, at / 8 == 1 ? 1638 : 8000 + 100 * at; }

// 30 samples in windows of 8: three and a rest; the second is quiet. Decimated by 3: one of 8 and a rest of 2.
static void windows(void **state) {
    (void)state;
    const wav w = {16, 1, 8000, 30, false, false, loud_quiet};
    put_two(w, "a/two.wav");
    static const struct {
        const char *more;
        int64_t count;
    } cases[] = {{"", 3},
                 {"quiet: 0.1\n", 2},
                 {"windows: 1\n", 1},
                 {"windows: 2\n", 2},
                 {"decimate: 3\n", 1},
                 {"decimate: 7\n", 1}};
    for (int k = 0; k < 6; k++) {
        char more[128];
        snprintf(more, sizeof more, "samples: 8\nvalidation: 0.5\ntuning: 0\n%s", cases[k].more);
        hy_task *t = open_task("speech", options("", more), 1);
        assert_int_equal(hy_task_cell(t, HY_SPLIT_EVAL, 0)->count, cases[k].count);
        assert_int_equal(hy_task_cell(t, HY_SPLIT_TRAIN, 0)->count, cases[k].count);
        bool seen[3] = {false};
        for (int64_t i = 0; i < cases[k].count; i++) {
            example e = example_get(t, HY_SPLIT_EVAL, 0, i);
            const int step = k == 4 ? 3 : k == 5 ? 7 : 1;
            int window = -1;
            for (int from = 0; from < 3 && window < 0; from++) {
                bool same = true;
                for (int j = 0; j < 8 && same; j++) {
                    double mean = 0;
                    const int at = 8 * from + j;
                    for (int m = 0; m < step; m++) mean += loud_quiet(at * step + m, 0) / 32768.0 / step;
                    same = e.ids[j] == mu_law((at + 1) * step <= 30 ? mean : 0, 256);  // filled up with silence
                }
                if (same) window = from;
            }
            assert_true(window >= 0 && !seen[window]);
            seen[window] = true;
            example_free(&e);
        }
        if (k == 1) assert_true(seen[0] && !seen[1] && seen[2]);
        if (k == 2) assert_true(seen[0]);
        hy_task_close(t);
    }
    refused("speech", options("", "samples: 8\nvalidation: 0.5\nquiet: 1"), "leaves no window");
}

// ---------------------------------------------------------------------------------------------------- splits
static int the_number, the_label;
static int numbered(int at, int channel) {
    return (void)channel, at ? at == 1 ? the_label * 1000 : 0 : the_number * 1000 + 500;
}

// A recording of two windows of 4 that tells its number and label.
static void put_numbered(const char *name, int number, int label) {
    the_number = number, the_label = label;
    put_wav(name, (wav){16, 1, 8000, 8, false, false, numbered});
}

static int told(const example *e, int most) {  // the number of an example's recording; -1: its second window
    if (e->ids[0] == 128) return -1;
    for (int i = 0; i < most; i++)
        if (mu_law((i * 1000 + 500) / 32768.0, 256) == e->ids[0]) return i;
    fail();
    return 0;
}

// Prompts in three languages: every prompt in one split in all of them, none missing, labels right, each in two
// windows.
static void groups(void **state) {
    (void)state;
    enum { PROMPTS = 20 };
    static const char *const langs[] = {"en", "fr", "ru"};
    anew();
    for (int l = 2; l >= 0; l--) {
        assert_int_equal(mkdir(in_folder(langs[l]), 0700), 0);
        for (int i = 0; i < PROMPTS; i++) {
            char name[64];
            snprintf(name, sizeof name, "%s/p%d.wav", langs[l], i);
            put_numbered(name, i, l);
        }
    }
    put_text("en/notes.txt", "no recording");
    assert_int_equal(mkdir(in_folder("_noise_"), 0700), 0);
    hy_task *t = open_task("speech", options("", "samples: 4\nvalidation: 0.2\ntuning: 0.1\nsplit_seed: 3"), 1);
    int split[PROMPTS], seen[PROMPTS] = {0}, second = 0, count[HY_SPLITS] = {0};
    for (int i = 0; i < PROMPTS; i++) split[i] = -1;
    for (int s = 0; s < HY_SPLITS; s++)
        for (int64_t i = 0; i < hy_task_cell(t, (hy_split)s, 0)->count; i++) {
            example e = example_get(t, (hy_split)s, 0, i);
            const int p = told(&e, PROMPTS);
            count[s]++;
            if (p < 0) {
                second++;
            } else {
                assert_true(split[p] < 0 || split[p] == s);
                split[p] = s;
                seen[p]++;
                assert_int_equal(e.ids[1], mu_law((e.labels[4] - 257) * 1000 / 32768.0, 256));
            }
            example_free(&e);
        }
    for (int i = 0; i < PROMPTS; i++) assert_int_equal(seen[i], 3);
    assert_int_equal(second, 60);
    assert_int_equal(count[HY_SPLIT_EVAL], 4 * 3 * 2);
    assert_int_equal(count[HY_SPLIT_TUNE], 2 * 3 * 2);
    assert_true(hy_task_cell(t, HY_SPLIT_EVAL, 0)->chance == 1 / 3.0);
    assert_string_equal(hy_task_piece(t, 258), "fr");
    hy_task_close(t);
}

// Laid out as Speech Commands: lists decide; the rest is for training; a speaker in two splits is refused.
static void lists(void **state) {
    (void)state;
    anew();
    assert_int_equal(mkdir(in_folder("no"), 0700) | mkdir(in_folder("yes"), 0700), 0);
    static const char *const names[] = {"no/a_nohash_0.wav",  "no/b_nohash_0.wav",  "no/c_nohash_0.wav",
                                        "yes/a_nohash_0.wav", "yes/b_nohash_0.wav", "yes/c_nohash_1.wav",
                                        "yes/a_nohash_1.wav"};
    for (int i = 0; i < 7; i++) put_numbered(names[i], i, i >= 3);
    put_text("testing_list.txt", "no/b_nohash_0.wav\r\nyes/b_nohash_0.wav\n");
    put_text("validation_list.txt", "yes/c_nohash_1.wav\nno/c_nohash_0.wav\nno/none.wav");
    hy_task *t = open_task("speech", options("", "samples: 8\ntuning: 0"), 1);
    static const int want[] = {HY_SPLIT_TRAIN, HY_SPLIT_EVAL, HY_SPLIT_TUNE, HY_SPLIT_TRAIN,
                               HY_SPLIT_EVAL,  HY_SPLIT_TUNE, HY_SPLIT_TRAIN};
    int found = 0;
    for (int s = 0; s < HY_SPLITS; s++)
        for (int64_t i = 0; i < hy_task_cell(t, (hy_split)s, 0)->count; i++, found++) {
            example e = example_get(t, (hy_split)s, 0, i);
            assert_int_equal(want[told(&e, 7)], s);
            example_free(&e);
        }
    assert_int_equal(found, 7);
    hy_task_close(t);
    char *before = identity("speech", options("", "samples: 8\ntuning: 0"));
    put_text("validation_list.txt", "no/none.wav");
    char *after = identity("speech", options("", "samples: 8\ntuning: 0"));
    assert_string_not_equal(before, after);  // what is trained on is another
    free(before), free(after);
    put_text("validation_list.txt", "yes/c_nohash_1.wav\nno/c_nohash_0.wav\nno/none.wav");
    refused("speech", options("", "samples: 8"), "write tuning: 0");
    refused("speech", options("", "samples: 8\ntuning: 0\nvalidation: 0.1"), "test part of its own");
    put_text("testing_list.txt", "no/b_nohash_0.wav\n");
    refused("speech", options("", "samples: 8\ntuning: 0"), "group \"b\" is in two splits, eval and train");
}

static void manifest(void **state) {
    (void)state;
    anew();
    for (int i = 0; i < 6; i++) {
        char name[32];
        snprintf(name, sizeof name, i == 3 ? "a, \"b\".wav" : "r%d.wav", i);
        put_numbered(name, i, i % 2);
    }
    put_text("m.csv",
             "\xef\xbb\xbfgroup,path,split,label\r\nx,r0.wav,train,odd\r\nx,r1.wav,,\"even\"\n\ny,r2.wav,test,odd\n"
             ",\"a, \"\"b\"\".wav\",eval,even\n,r4.wav,validation,odd\n,r5.wav,tune,even");
    hy_task *t = open_task("speech", options("m.csv", "samples: 8\ntuning: 0"), 1);
    static const int want[] = {HY_SPLIT_TRAIN, HY_SPLIT_TRAIN, HY_SPLIT_EVAL,
                               HY_SPLIT_EVAL,  HY_SPLIT_TUNE,  HY_SPLIT_TUNE};
    for (int s = 0; s < HY_SPLITS; s++) {
        assert_int_equal(hy_task_cell(t, (hy_split)s, 0)->count, 2);
        for (int64_t i = 0; i < 2; i++) {
            example e = example_get(t, (hy_split)s, 0, i);
            const int p = told(&e, 6);
            assert_int_equal(want[p], s);
            assert_string_equal(hy_task_piece(t, e.labels[8]), p % 2 ? "even" : "odd");
            example_free(&e);
        }
    }
    hy_task_close(t);
    static const struct {
        const char *text, *words;
    } bad[] = {
        {"", "must name the columns"},
        {"path;label\n", "must name the columns"},
        {"path,label\n", "names no recording"},
        {"path,label\nr0.wav\n", "m.csv:2: 1 fields, the first line names 2"},
        {"path,label\nr0.wav,a\n\nr1.wav,a,b\n", "m.csv:4: 3 fields"},
        {"path,label\n\"r0.wav,a\n", "m.csv:2: no CSV"},
        {"path,label\n\"r0.wav\"x,a\n", "m.csv:2: no CSV"},
        {"path,label\nr0\r.wav,a\n", "m.csv:2: no CSV"},
        {"path,label\nr0.wav,\n", "m.csv:2: path or label is empty"},
        {"path,label,split\nr0.wav,a,dev\n", "m.csv:2: split \"dev\""},
        {"path,label,split,group\nr0.wav,a,test,g\nr1.wav,a,train,g\n", "group \"g\" is in two splits"},
        {"path,label,split,group\nr0.wav,a,test,g\nr1.wav,a,,g\n", "group \"g\" is in two splits"},
        {"path,label\nnone.wav,a\n", "none.wav: cannot open"},
        {"path,label\nr0.wav,a\n", "nothing is left"},
        {"a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,1,2,3,4,5,path,label\n", "must name the columns"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put_text("m.csv", bad[i].text);
        refused("speech", options("m.csv", strstr(bad[i].text, "split") ? "tuning: 0" : "tuning: 0\nvalidation: 0.5"),
                bad[i].words);
    }
    put("m.csv", "path,label\nr0.wav,\0a\n", 22);
    refused("speech", options("m.csv", "validation: 0.5"), "it has a byte 0");
}

// ------------------------------------------------------------------------------------------------- identity, hostile
static void identities(void **state) {
    (void)state;
    const char *more = "samples: 8\nvalidation: 0.5\ntuning: 0";
    anew();
    assert_int_equal(mkdir(in_folder("a"), 0700) | mkdir(in_folder("b"), 0700), 0);
    put_numbered("a/1.wav", 1, 0), put_numbered("b/2.wav", 2, 0);
    char *one = identity("speech", options("", more)), *again = identity("speech", options("", more));
    assert_string_equal(one, again);
    put_numbered("b/2.wav", 3, 0);
    char *other = identity("speech", options("", more));
    assert_string_not_equal(one, other);
    put_numbered("b/2.wav", 2, 0);
    assert_int_equal(rename(in_folder("b"), in_folder("c")), 0);  // another label
    char *named = identity("speech", options("", more));
    assert_string_not_equal(one, named);
    free(one), free(again), free(other), free(named);
}

static void hostile(void **state) {
    (void)state;
    const char *more = "samples: 8\nvalidation: 0.5\ntuning: 0";
    static unsigned char whole[256], b[256];
    anew();
    assert_int_equal(mkdir(in_folder("a"), 0700), 0);
    put_numbered("a/1.wav", 1, 0);
    const size_t n = put_wav("a/2.wav", (wav){16, 1, 8000, 8, false, false, ramp16});
    FILE *f = fopen(in_folder("a/2.wav"), "rb");
    assert_int_equal(fread(whole, 1, n, f), n);
    fclose(f);
    for (size_t cut = 0; cut < n; cut++) {  // whatever is missing
        put("a/2.wav", whole, cut);
        refused("speech", options("", more), "a/2.wav: ");
    }
    static const struct {
        int at, value;
        const char *words;
    } bytes[] = {
        {0, 'X', "is no WAV file"},
        {11, 'X', "is no WAV file"},
        {12, 'X', "comes before a fmt chunk"},
        {16, 14, "tells of"},
        {19, 0xff, "tells of 4278190096 bytes"},
        {20, 3, "WAV format 3"},
        {20, 7, "WAV format 7"},
        {22, 0, "0 channels"},
        {23, 0xff, "65281 channels"},
        {22, 2, "2 bytes a frame do not fit 2 channels"},
        {27, 0xff, "samples a second"},
        {32, 4, "4 bytes a frame"},
        {34, 24, "of 24 bits"},
        {34, 0, "of 0 bits"},
        {40, 0, "has no samples"},
        {43, 0xff, "written into a pipe"},
        {24, 0x41, "16001 samples a second"},
    };
    for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        hy_task *t = NULL;
        memcpy(b, whole, n);
        b[bytes[i].at] = (unsigned char)bytes[i].value;
        put("a/2.wav", b, n);
        assert_int_equal(hy_task_open("speech", options("", more), 1, &t), HY_EINPUT);
        assert_non_null(strstr(hy_error_text(), "a/2.wav: "));
        if (bytes[i].at != 24 && !strstr(hy_error_text(), bytes[i].words)) fail_msg("%s", hy_error_text());
        if (bytes[i].at == 24) assert_non_null(strstr(hy_error_text(), "the recordings before it have 8000"));
    }
    static const char small[] = "RIFF\0\0\0\0WAVEfmt \16\0\0\0\1\0\1\0\100\37\0\0\0\0\0\0\2\0data\2\0\0\0ab";
    put("a/2.wav", small, sizeof small - 1);
    refused("speech", options("", more), "has 14 bytes, not 16");
    refused("speech", "samples: 8", "name a folder");
    refused("speech", "path: /nonexistent", "/nonexistent: cannot open");
    anew();
    refused("speech", options("", more), "no folder in it has a .wav file");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels),   cmocka_unit_test(windows),    cmocka_unit_test(groups),  cmocka_unit_test(lists),
        cmocka_unit_test(manifest), cmocka_unit_test(identities), cmocka_unit_test(hostile),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
