/* `fineclip inspect` on small files of each kind, and on files that are none of them. */
#include "core/memory.h"
#include "core/safetensors.h"
#include "data/store/store_writer.h"
#include "launch/dist.h"
#include "launch/inspect/inspect.h"
#include "launch/results/results.h"
#include "launch/verbs.h"
#include "tests/check.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OUTPUT = 1 << 16 };
static char output[OUTPUT];

/* Run the verb with stdout into `output`. */
static fc_status inspect(const char *path, const char *option)
{
    const char *words[] = {"inspect", path, option};
    char *argv[3];
    for (int i = 0; i < 3; i++) {
        argv[i] = words[i] == NULL ? NULL : fc_strdup(words[i]);
    }
    const char *file = fc_check_temp("stdout");
    fflush(stdout);
    int keep = dup(STDOUT_FILENO), to = open(file, O_RDWR | O_CREAT | O_TRUNC, 0600);
    FC_CHECK(keep >= 0 && to >= 0);
    dup2(to, STDOUT_FILENO);
    fc_status status = fc_verb_inspect(option == NULL ? 2 : 3, argv);
    fflush(stdout);
    dup2(keep, STDOUT_FILENO);
    close(keep);
    ssize_t bytes = pread(to, output, OUTPUT - 1, 0);
    output[bytes > 0 ? bytes : 0] = '\0';
    close(to);
    for (int i = 0; i < 3; i++) {
        fc_free(&argv[i]);
    }
    return status;
}

static void says(const char *part, int line)
{
    fc_check_true(strstr(output, part) != NULL, __FILE__, line, "no '%s' in:\n%s", part, output);
}
#define SAYS(part) says(part, __LINE__)

static void write_text(const char *path, const char *text, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    FC_CHECK(f != NULL && fwrite(text, 1, bytes, f) == bytes && fclose(f) == 0);
}

static void test_unknown(void)
{
    char path[1024];
    snprintf(path, sizeof path, "%s", fc_check_temp("unknown"));
    FC_CHECK_FAILS(inspect(path, NULL), FC_NOINPUT, path);
    write_text(path, "", 0);
    FC_CHECK_FAILS(inspect(path, NULL), FC_DATA, "is empty");
    write_text(path, "name: x\n", 8);
    FC_CHECK_FAILS(inspect(path, NULL), FC_DATA, "looks like text");
    write_text(path, "PK\3\4rest of it", 14);
    FC_CHECK_FAILS(inspect(path, NULL), FC_DATA, "pt_to_safetensors");
    write_text(path, "\1\2\3\0\5\6", 6);
    FC_CHECK_FAILS(inspect(path, NULL), FC_DATA, "unknown binary data");
    write_text(path, "\x89HDF\r\n\x1a\n and no more", 20);
    FC_CHECK_FAILS(inspect(path, NULL), FC_DATA, "damaged");
    FC_CHECK_FAILS(inspect("/", NULL), FC_NOINPUT, "without results.h5");
    FC_CHECK_FAILS(inspect(path, "--nonsense"), FC_USAGE, "--nonsense");
    FC_CHECK_FAILS(inspect(path, "second"), FC_DATA, "damaged");
    FC_CHECK_FAILS(inspect(path, "--sheet"), FC_USAGE, "--sheet wants a value");
    FC_CHECK_FAILS(inspect("--count", "-3"), FC_USAGE, "--count wants a whole number");
    FC_CHECK_FAILS(inspect("--seed", "3"), FC_USAGE, "needs a file");
    FC_CHECK_FAILS(inspect("--all", NULL), FC_USAGE, "needs a file");
    FC_CHECK_OK(inspect("--help", NULL));
    SAYS("usage: fineclip inspect FILE");
}

static void test_weights(void)
{
    char path[1024];
    snprintf(path, sizeof path, "%s", fc_check_temp("w.safetensors"));
    float values[12] = {0};
    const fc_st_tensor tensors[] = {
        {"logit_scale", FC_ST_F32, 0, {0}, 1, values},
        {"visual.blocks.0.w", FC_ST_F32, 2, {3, 4}, 12, values},
        {"visual.blocks.1.w", FC_ST_F32, 2, {3, 4}, 12, values},
        {"visual.blocks.2.w", FC_ST_F16, 2, {3, 4}, 12, values},
        {"visual.v2.w", FC_ST_F32, 2, {1, 2}, 2, values},
    };
    const char *metadata[] = {"step", "12\n", NULL};
    FC_CHECK_OK(fc_safetensors_write(path, 5, tensors, metadata));
    FC_CHECK_OK(inspect(path, NULL));
    SAYS("5 tensors, 39 values; 4 F32 1 F16\n  step: 12 \n");
    SAYS("\nlogit_scale        F32    []           1\n");
    SAYS("\nvisual.blocks.*.w  F32    [3, 4]      12      2\n");
    SAYS("\nvisual.blocks.*.w  F16    [3, 4]      12\n");
    SAYS("\nvisual.v2.w        F32    [1, 2]       2\n");
    FC_CHECK_OK(inspect(path, "--all"));
    SAYS("visual.blocks.1.w  F32");
    FC_CHECK_OK(inspect(path, "--check"));
    SAYS("no findings");
    FC_CHECK_FAILS(inspect(path, path), FC_USAGE, "both are stores");
    values[3] = NAN;
    FC_CHECK_OK(fc_safetensors_write(path, 3, tensors, NULL));
    FC_CHECK_FAILS(inspect(path, "--check"), FC_DATA, "2 tensors");
    SAYS("'visual.blocks.1.w': 1 of 12 values are NaN or infinite, the first at 3\n");
    FC_CHECK(truncate(path, 100) == 0);
    FC_CHECK_FAILS(inspect(path, NULL), FC_DATA, path);
    FC_CHECK_OK(fc_safetensors_write(path, 0, tensors, NULL));
    FC_CHECK_OK(inspect(path, NULL));
    SAYS("0 tensors, 0 values");
}

static void test_results(void)
{
    char folder[1024], path[1100];
    snprintf(folder, sizeof folder, "%s", fc_check_temp("run"));
    FC_CHECK(mkdir(folder, 0700) == 0);
    snprintf(path, sizeof path, "%s/results.h5", folder);
    const char *const terms[] = {"global_contrastive"};
    const fc_results_info info = {.name = "demo",
                                  .config = "a: 1",
                                  .code_version = "0.1.0",
                                  .device = "cpu",
                                  .precision = "fp32",
                                  .world_size = 2,
                                  .parameters = 1234567,
                                  .train_images = 1000,
                                  .terms = 1,
                                  .term_name = terms};
    fc_results *r = NULL;
    FC_CHECK_OK(fc_results_open(&r, path, &info, NULL));
    FC_CHECK_OK(inspect(path, NULL));
    SAYS("steps     none logged\n");
    SAYS("no evaluation yet\n");
    for (int64_t step = 1; step <= 8; step++) {
        double term = 9 - (double)step;
        fc_results_row row = {.step = step,
                              .epoch = (double)step / 4,
                              .loss = 2 * term,
                              .lr = 0.5,
                              .seconds = 0.25,
                              .images_per_second = 64,
                              .terms = &term};
        FC_CHECK_OK(fc_results_step(r, &row));
    }
    for (int e = 0; e < 20; e++) {
        fc_results_eval_row eval = {.epoch = e,
                                    .has_box = true,
                                    .top1 = 0.123 + 0.001 * e,
                                    .regions = 1500,
                                    .box_protocol = "data: coco"};
        FC_CHECK_OK(fc_results_eval(r, &eval));
    }
    fc_results_memory(r, 2, (int64_t[]){0, 0}, (int64_t[]){1 << 20, 3 << 20});
    FC_CHECK_OK(fc_results_finish(r, "completed"));
    fc_results_close(&r);
    setenv("LC_ALL", "C", 1);
    FC_CHECK_OK(inspect(folder, "--check")); /* a run's folder stands for its results */
    SAYS("run \"demo\", completed\n");
    SAYS("1,234,567 parameters, 1,000 training pictures\n");
    SAYS("0.1.0 on cpu, fp32, 2 ranks\n");
    SAYS("steps     8 logged, the last is 8 (epoch 2)\n");
    SAYS("memory    at most 3.0 MiB a rank\n");
    SAYS("loss      #*+=~-._\n");
    SAYS("\nloss                     16     2      2    16\n");
    SAYS("\n  global_contrastive      8     1      1     8\n");
    SAYS("\n    0   12.3 ");
    SAYS("\n   19   14.2 ");
    FC_CHECK(strstr(output, "\n    6 ") == NULL && strstr(output, "\n    7 ") != NULL);
    SAYS("boxes: data: coco\n");
    SAYS("no findings");
    setenv("LC_ALL", "C.UTF-8", 1);
    FC_CHECK_OK(inspect(path, NULL));
    SAYS("\xe2\x96\x88\xe2\x96\x87\xe2\x96\x86");
}

static void write_store(const char *path, bool bad_box)
{
    const fc_store_options options = {.context_length = 8,
                                      .vocab_size = 100,
                                      .tokenizer = "words",
                                      .source = "made up",
                                      .codec = FC_CODEC_RAW,
                                      .crop_scale = 1.5,
                                      .text = true,
                                      .names = true};
    fc_store_writer *w = NULL;
    FC_CHECK_OK(fc_store_writer_create(&w, path, &options));
    const int32_t tokens[] = {98, 5, 6, 99};
    const fc_store_caption caption = {tokens, 4, "a sentence"}, none = {NULL, 0, ""};
    const uint8_t pixels[10 * 20 * 3] = {0};
    for (int i = 0; i < 4; i++) {
        fc_store_region regions[3] = {
            {.box = {0, 0, 10, 10}, .category = 0, .caption = caption},
            {.box = {1, 1, 3, bad_box ? 1e6F : 3}, .category = -1, .caption = none},
            {.box = {0, 0, 20, 10}, .category = 0, .caption = caption}};
        char name[32];
        snprintf(name, sizeof name, "pic%d.jpg", i);
        FC_CHECK_OK(fc_store_writer_add(w, i, name, 20, 10, pixels, sizeof pixels, 1, &caption, i,
                                        regions));
    }
    FC_CHECK_OK(fc_store_writer_category(w, "red star", true, 1, &caption));
    FC_CHECK_OK(fc_store_writer_category(w, "sky", false, 1, &caption));
    FC_CHECK_OK(fc_store_writer_attribute(w, "seen", 3));
    FC_CHECK_OK(fc_store_writer_finish(w));
    fc_store_writer_destroy(&w);
}

static void test_store(void)
{
    char path[1024];
    snprintf(path, sizeof path, "%s", fc_check_temp("s.h5"));
    write_store(path, false);
    FC_CHECK_OK(inspect(path, "--check"));
    SAYS("pictures    4, raw, 2.3 KiB (600 bytes each)\n            width 20, height 10\n");
    SAYS("hashes of the source files: 3 pictures repeat an earlier one\n");
    SAYS("captions    4, 1 a picture, 4 tokens\n");
    SAYS("regions     6, 0 to 3 a picture (mean 1.5)\n");
    SAYS("4 with a category, 4 with a caption of 4 tokens\n            2 smaller than 8 x 8 "
         "pixels\n");
    SAYS("\n       0 #######  25.0%       0-7 ####     33.3%       0-4 ####### 100.0% ");
    SAYS("\n     3-4 #######  25.0%\n");
    SAYS("categories  2 (1 things, 1 stuff), 1 prompt each\n");
    SAYS("most regions: red star 4; 1 without any\n");
    SAYS("most frequent captions\n          4  a sentence\n");
    SAYS("most frequent region captions\n          4  a sentence\n");
    SAYS("first captions\n  pic0.jpg: a sentence\n");
    SAYS("words, vocabulary of 100, at most 8 a row\n");
    SAYS("attributes  seen 3\n");
    SAYS("checked: no findings\n");
    write_store(path, true);
    FC_CHECK_FAILS(inspect(path, "--check"), FC_DATA, "2 findings");
    SAYS("regions/boxes");
    struct stat info;
    FC_CHECK(stat(path, &info) == 0 && truncate(path, info.st_size / 2) == 0);
    FC_CHECK_FAILS(inspect(path, "--check"), FC_DATA, path);
}

static void test_texts(void)
{
    FC_CHECK_STR(fci_text_count(0), "0");
    FC_CHECK_STR(fci_text_count(-1234), "-1,234");
    FC_CHECK_STR(fci_text_count(-123), "-123");
    FC_CHECK_STR(fci_text_count(1234567890), "1,234,567,890");
    FC_CHECK_STR(fci_text_bytes(1023), "1023 bytes");
    FC_CHECK_STR(fci_text_bytes(1536), "1.5 KiB");
    FC_CHECK_STR(fci_text_bytes(INT64_MAX), "8.0 EiB");
    setenv("LC_ALL", "C", 1);
    const double wave[] = {0, 7.99, NAN, 4, 4, INFINITY};
    char *text = fci_text_sparkline(wave, 6, 60);
    FC_CHECK_STR(text, "_# == ");
    fc_free(&text);
    text = fci_text_sparkline(wave, 6, 3); /* means of pairs: 3.995, 4, 4 */
    FC_CHECK_STR(text, "_##");
    fc_free(&text);
    text = fci_text_clipped("two\nlines", 20);
    FC_CHECK_STR(text, "two lines");
    fc_free(&text);
    text = fci_text_clipped("\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", 4);
    FC_CHECK_STR(text, "\xc3\xa9...");
    fc_free(&text);
}

int main(void)
{
    FC_CHECK_OK(fc_dist_start());
    test_unknown();
    test_weights();
    test_results();
    test_store();
    test_texts();
    fc_dist_stop();
    return fc_check_end();
}
