// test_task_images.c - images as sequences: IDX and CIFAR files against bytes written here, splits, order, permutation,
// downsampling by hand, identity, hostile files.
#include "tests/unit/seq_fixture.h"

enum { H = 4, W = 6, LEN = H * W, N = 50, CLASSES = 5 };

static char *options(const char *more) {
    static char text[512];
    snprintf(text, sizeof text, "path: %s\n%s", folder, more);
    return text;
}

static void idx_only(void) {
    folder_remove(NULL);
    assert_int_equal(mkdir(folder, 0700), 0);
    put_idx("train", 0, N, H, W, CLASSES);
}

// ---------------------------------------------------------------------------------------------------- IDX
// Every image is in exactly one split, whole and with its own class; the split is that of split_seed alone; the run's
// seed changes the order of training only.
static void splits_are_disjoint(void **state) {
    (void)state;
    idx_only();
    int where[2][N], first[2] = {0, 0};
    for (int run = 0; run < 2; run++) {
        hy_task *t = open_task("images", options("validation: 0.2\ntuning: 0.1\nlevels: 64"), run ? 99 : 1);
        assert_int_equal(hy_task_vocab(t), 64 + 1 + CLASSES);
        static const int64_t want[HY_SPLITS] = {[HY_SPLIT_TRAIN] = 35, [HY_SPLIT_EVAL] = 10, [HY_SPLIT_TUNE] = 5};
        for (int i = 0; i < N; i++) where[run][i] = -1;
        for (int s = 0; s < HY_SPLITS; s++) {
            assert_int_equal(hy_task_cell(t, (hy_split)s, 0)->count, want[s]);
            for (int64_t i = 0; i < want[s]; i++) {
                const int image = which(t, (hy_split)s, i, N, LEN, 64, CLASSES);
                assert_true(image >= 0 && where[run][image] == -1);
                where[run][image] = s;
                if (s == HY_SPLIT_TRAIN && !i) first[run] = image;
            }
        }
        assert_int_equal(which(t, HY_SPLIT_TRAIN, 35, N, LEN, 64, CLASSES), first[run]);  // the next pass
        hy_task_close(t);
    }
    assert_memory_equal(where[0], where[1], sizeof where[0]);
    assert_int_not_equal(first[0], first[1]);
    hy_task *t = open_task("images", options("validation: 0.2\ntuning: 0.1\nlevels: 64\nsplit_seed: 7"), 1);
    int moved = 0;
    for (int64_t i = 0; i < 10; i++)
        moved += where[0][which(t, HY_SPLIT_EVAL, i, N, LEN, 64, CLASSES)] != HY_SPLIT_EVAL;
    assert_true(moved > 0);
    hy_task_close(t);
}

// With a test part evaluation is that and all of it; a share of the rest is for tuning; subsets are the same for each
// seed.
static void test_part(void **state) {
    (void)state;
    idx_only();
    put_idx("t10k", 100, 20, H, W, CLASSES);
    hy_task *t = open_task("images", options(""), 3);
    assert_int_equal(hy_task_cell(t, HY_SPLIT_EVAL, 0)->count, 20);
    assert_int_equal(hy_task_cell(t, HY_SPLIT_TUNE, 0)->count, 5);
    assert_int_equal(hy_task_cell(t, HY_SPLIT_TRAIN, 0)->count, 45);
    assert_true(hy_task_cell(t, HY_SPLIT_EVAL, 0)->chance == 0.2);  // 4 of 20
    bool seen[120] = {false};
    for (int64_t i = 0; i < 20; i++) seen[which(t, HY_SPLIT_EVAL, i, 120, LEN, 256, CLASSES)] = true;
    for (int i = 0; i < 120; i++) assert_int_equal(seen[i], i >= 100);
    hy_task_close(t);
    uint64_t sets[2] = {0, 0};
    for (int run = 0; run < 2; run++) {
        t = open_task("images", options("train_examples: 12\ntest_examples: 7"), run ? 5 : 6);
        assert_int_equal(hy_task_cell(t, HY_SPLIT_TRAIN, 0)->count, 12);
        assert_int_equal(hy_task_cell(t, HY_SPLIT_EVAL, 0)->count, 7);
        for (int64_t i = 0; i < 12; i++) sets[run] |= (uint64_t)1 << which(t, HY_SPLIT_TRAIN, i, N, LEN, 256, CLASSES);
        hy_task_close(t);
    }
    assert_true(sets[0] == sets[1] && __builtin_popcountll(sets[0]) == 12);
    refused("images", options("validation: 0.2"), "test part of its own");
}

// One permutation for all images and splits, the same for every run, another for another seed.
static void permuted(void **state) {
    (void)state;
    idx_only();
    hy_task *plain = open_task("images", options("validation: 0.2"), 1);
    hy_task *t = open_task("images", options("validation: 0.2\npermute: true"), 1);
    hy_task *other = open_task("images", options("validation: 0.2\npermute: true\npermute_seed: 2"), 1);
    int from[LEN];
    bool used[LEN] = {false}, moved = false, differs = false;
    for (int p = 0; p < LEN; p++) {  // the place that has this place's values in every training image
        from[p] = -1;
        for (int q = 0; q < LEN && from[p] < 0; q++) {
            bool same = true;
            for (int64_t i = 0; i < 35 && same; i++) {
                example a = example_get(plain, HY_SPLIT_TRAIN, 0, i), b = example_get(t, HY_SPLIT_TRAIN, 0, i);
                same = b.ids[p] == a.ids[q];
                example_free(&a), example_free(&b);
            }
            if (same) from[p] = q;
        }
        assert_true(from[p] >= 0 && !used[from[p]]);
        used[from[p]] = true;
        moved |= from[p] != p;
    }
    assert_true(moved);
    for (int64_t i = 0; i < 10; i++) {
        example a = example_get(plain, HY_SPLIT_EVAL, 0, i), b = example_get(t, HY_SPLIT_EVAL, 0, i);
        example c = example_get(other, HY_SPLIT_EVAL, 0, i);
        for (int p = 0; p < LEN; p++) assert_int_equal(b.ids[p], a.ids[from[p]]);
        for (int p = 0; p < LEN; p++) differs |= b.ids[p] != c.ids[p];
        assert_int_equal(a.labels[LEN], b.labels[LEN]);
        example_free(&a), example_free(&b), example_free(&c);
    }
    assert_true(differs);
    hy_buf drawn[2] = {{0}, {0}};  // a person sees every pixel in its place
    for (int k = 0; k < 2; k++) {
        example e = example_get(k ? t : plain, HY_SPLIT_EVAL, 0, 0);
        assert_true(hy_task_picture(k ? t : plain, e.ids, e.labels, &drawn[k]));
        example_free(&e);
    }
    assert_int_equal(strncmp(drawn[0].s, drawn[1].s, drawn[0].n), 0);
    free(drawn[0].s), free(drawn[1].s);
    hy_task_close(plain), hy_task_close(t), hy_task_close(other);
}

// Means of 2 x 2 pixels, halves up: by hand.
static void downsampled(void **state) {
    (void)state;
    folder_remove(NULL);
    assert_int_equal(mkdir(folder, 0700), 0);
    unsigned char images[16 + 3 * 8] = {0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 4},
                                  labels[8 + 3] = {0, 0, 8, 1, 0, 0, 0, 3, 1, 1, 1};
    static const unsigned char image[8] = {0, 1, 255, 255, 1, 0, 254, 255};  // means 0.5 and 254.75
    for (int i = 0; i < 3; i++) memcpy(images + 16 + 8 * i, image, 8);
    images[16 + 8 + 1] = 2;  // the second image: 0.75
    put("train-images-idx3-ubyte", images, sizeof images);
    put("train-labels-idx1-ubyte", labels, sizeof labels);
    hy_task *t = open_task("images", options("validation: 0.3\ntuning: 0\ndownsample: 2"), 1);
    for (int s = 0; s < 2; s++)
        for (int64_t i = 0; i < hy_task_cell(t, (hy_split)s, 0)->count; i++) {
            example e = example_get(t, (hy_split)s, 0, i);
            assert_int_equal(e.T, 3);
            assert_int_equal(e.ids[0], 1);
            assert_int_equal(e.ids[1], 255);
            example_free(&e);
        }
    hy_task_close(t);
    refused("images", options("validation: 0.3\ndownsample: 4"), "does not divide both sides of images of 2 x 4");
}

// target next: every value scored once, after those before it and a start; no class anywhere.
static void next_value(void **state) {
    (void)state;
    idx_only();
    hy_task *label = open_task("images", options("validation: 0.2"), 1);
    hy_task *t = open_task("images", options("validation: 0.2\ntarget: next"), 1);
    assert_int_equal(hy_task_vocab(t), 257);
    assert_true(hy_task_bytes_per_token(t) == 1 && isnan(hy_task_bytes_per_token(label)));
    for (int64_t i = 0; i < 10; i++) {
        example a = example_get(label, HY_SPLIT_EVAL, 0, i), b = example_get(t, HY_SPLIT_EVAL, 0, i);
        assert_int_equal(b.T, LEN);
        assert_int_equal(b.ids[0], 256);
        for (int p = 0; p < LEN; p++) assert_int_equal(b.labels[p], a.ids[p]);
        for (int p = 1; p < LEN; p++) assert_int_equal(b.ids[p], a.ids[p - 1]);
        example_free(&a), example_free(&b);
    }
    hy_task_close(label), hy_task_close(t);
}

// ---------------------------------------------------------------------------------------------------- CIFAR
enum { PLANE = 1024 };

static int colour(int image, int c, int at) { return (image * 53 + c * 101 + at * 7) % (256 - 60 * c); }

// n records from image number `first`; hundred: a coarse label before the fine one.
static void put_cifar(const char *name, int first, int n, bool hundred) {
    const size_t record = 1 + (size_t)hundred + 3 * PLANE;
    unsigned char *b = calloc((size_t)n, record), *at = b;
    for (int i = first; i < first + n; i++) {
        if (hundred) *at++ = (unsigned char)(i % 20);
        *at++ = (unsigned char)(hundred ? i % 100 : i % 10);
        for (int c = 0; c < 3; c++)
            for (int p = 0; p < PLANE; p++) *at++ = (unsigned char)colour(i, c, p);
    }
    put(name, b, (size_t)n * record);
    free(b);
}

static void check_cifar(const char *more, int classes, int n_classes_of, bool grey, int first_test, int n_test) {
    hy_task *t = open_task("images", options(more), 1);
    const int len = grey ? PLANE : 3 * PLANE;
    assert_int_equal(hy_task_vocab(t), 257 + classes);
    assert_int_equal(hy_task_cell(t, HY_SPLIT_EVAL, 0)->count, n_test);
    for (int64_t k = 0; k < n_test; k++) {
        example e = example_get(t, HY_SPLIT_EVAL, 0, k);
        bool any = false;
        assert_int_equal(e.T, len + 1);
        for (int i = first_test; i < first_test + n_test && !any; i++) {
            bool same = e.labels[len] == 257 + i % n_classes_of;
            for (int p = 0; p < PLANE && same; p++) {
                const int r = colour(i, 0, p), g = colour(i, 1, p), b = colour(i, 2, p);
                if (grey)
                    same = fabs(e.ids[p] - (0.299 * r + 0.587 * g + 0.114 * b)) < 0.501;
                else
                    same = e.ids[3 * p] == r && e.ids[3 * p + 1] == g && e.ids[3 * p + 2] == b;
            }
            any = same;
        }
        assert_true(any);
        example_free(&e);
    }
    hy_task_close(t);
}

static void cifar(void **state) {
    (void)state;
    folder_remove(NULL);
    assert_int_equal(mkdir(folder, 0700), 0);
    for (int i = 1; i <= 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "data_batch_%d.bin", i);
        refused("images", options(""), i == 1 ? "no train-images-idx3-ubyte" : name);  // until all are there
        put_cifar(name, 4 * i, 4, false);
    }
    put_cifar("test_batch.bin", 40, 6, false);
    check_cifar("", 10, 10, true, 40, 6);
    check_cifar("channels: colour", 10, 10, false, 40, 6);
    hy_task *t = open_task("images", options("channels: colour\ndownsample: 32\ntuning: 0"), 1);
    assert_int_equal(hy_task_max_len(t), 4);
    example e = example_get(t, HY_SPLIT_EVAL, 0, 0);
    for (int c = 0; c < 3; c++) {  // the mean of one colour of one of the six images
        bool any = false;
        for (int i = 40; i < 46; i++) {
            int sum = 0;
            for (int p = 0; p < PLANE; p++) sum += colour(i, c, p);
            any |= e.labels[3] == 257 + i % 10 && e.ids[c] == (int)floor(sum / 1024.0 + 0.5);
        }
        assert_true(any);
    }
    example_free(&e);
    hy_task_close(t);
    folder_remove(NULL);
    assert_int_equal(mkdir(folder, 0700), 0);
    put_cifar("train.bin", 0, 9, true);
    put_cifar("test.bin", 70, 6, true);
    check_cifar("", 100, 100, true, 70, 6);
    check_cifar("classes: coarse\nchannels: colour", 20, 20, false, 70, 6);
    put_cifar("test.bin", 70, 6, false);
    refused("images", options(""), "test.bin: 18438 bytes are no whole number of records of 3074");
    unsigned char *bad = calloc(1, 3074);
    bad[0] = 3, bad[1] = 100;
    put("test.bin", bad, 3074);
    free(bad);
    refused("images", options(""), "a label is 100, but there are 100 classes");
}

// ------------------------------------------------------------------------------------------------- identity, hostile
static void identities(void **state) {
    (void)state;
    idx_only();
    put_idx("t10k", 100, 20, H, W, CLASSES);
    char *a = identity("images", options("")), *again = identity("images", options(""));
    assert_string_equal(a, again);
    put_idx("t10k", 101, 20, H, W, CLASSES);  // evaluation is part of what is measured
    char *b = identity("images", options(""));
    assert_string_not_equal(a, b);
    put_idx("t10k", 100, 20, H, W, CLASSES);
    FILE *f = fopen(in_folder("train-labels-idx1-ubyte"), "r+b");
    fseek(f, 8 + 5, SEEK_SET);
    fputc(4, f);
    fclose(f);
    char *c = identity("images", options(""));  // one label of training
    assert_string_not_equal(a, c);
    free(a), free(again), free(b), free(c);
}

static void hostile(void **state) {
    (void)state;
    static const struct {
        unsigned char bytes[20];
        size_t n;
        const char *words;
    } cases[] = {
        {{0}, 0, "is no IDX file"},
        {{0, 0, 8}, 3, "is no IDX file"},
        {{0x1f, 0x8b, 8, 0}, 4, "run gunzip"},
        {{'P', '5', 10, '1'}, 4, "is no IDX file"},
        {{0, 0, 0x0d, 3}, 4, "type 0x0d"},
        {{0, 0, 8, 1, 0, 0, 0, 1, 5}, 9, "of 1 dimensions; images have 3"},
        {{0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0}, 15, "inside its header"},
        {{0, 0, 8, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1}, 16, "a dimension is 0"},
        {{0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3}, 19, "tells of 4 values, but 3 follow"},
        {{0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 3}, 19, "tells of 2 values, but 3 follow"},
        {{0, 0, 8, 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 16, "4294967295 pixels"},
        {{0, 0, 8, 3, 0, 0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 1}, 16, "65537 pixels"},
        {{0, 0, 8, 3, 0xff, 0xff, 0xff, 0xff, 0, 0, 16, 0, 0, 0, 16, 0}, 16, "tells of 72057594021150720 values"},
        {{0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 7, 8}, 18, "has 2 images"},
    };
    idx_only();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put("train-images-idx3-ubyte", cases[i].bytes, cases[i].n);
        refused("images", options("validation: 0.2"), cases[i].words);
        assert_non_null(strstr(hy_error_text(), "train-images-idx3-ubyte"));
    }
    idx_only();
    put_idx("t10k", 0, 5, H, W + 1, CLASSES);
    refused("images", options(""), "those of training have 4 x 6");
    assert_int_equal(unlink(in_folder("t10k-images-idx3-ubyte")), 0);
    refused("images", options(""), "has no test part");
    refused("images", options("validation: 0.5\ntuning: 0.5"), "leave nothing to train on");
    put("train-labels-idx1-ubyte", "\0\0\10\1\0\0\0\62", 8);
    refused("images", options("validation: 0.2"),
            "train-labels-idx1-ubyte: its header tells of 50 values, but 0 follow");
    put("train-labels-idx1-ubyte", "\0\0\10\1\0\0\0\2\1\1", 10);
    refused("images", options("validation: 0.2"), "has 50 images");
    assert_int_equal(unlink(in_folder("train-labels-idx1-ubyte")), 0);
    refused("images", options("validation: 0.2"), "there is no train-labels-idx1-ubyte beside it");
    refused("images", "path: /nonexistent", "no data_batch_1.bin (CIFAR-10)");
    refused("images", "levels: 4", "name a folder");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits_are_disjoint), cmocka_unit_test(test_part),  cmocka_unit_test(permuted),
        cmocka_unit_test(downsampled),         cmocka_unit_test(next_value), cmocka_unit_test(cifar),
        cmocka_unit_test(identities),          cmocka_unit_test(hostile),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
