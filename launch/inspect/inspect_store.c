/* `fineclip inspect` on a store: counts and distributions from the index arrays, which are in
 * memory, and from the tokens, which are read in passing; pictures are read by --check alone. */
#include "launch/inspect/inspect_store.h"

#include "core/log.h"
#include "core/memory.h"
#include "data/store/overlap.h"
#include "launch/dist.h"
#include "launch/inspect/inspect.h"
#include "launch/inspect/inspect_histogram.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CATEGORIES_SHOWN = 8, TEXT_COLUMNS = 88, SMALL_SIDE = 8 };

typedef struct span {
    int64_t least, most, sum, count;
} span;

static void take(span *s, int64_t value)
{
    s->least = s->count == 0 || value < s->least ? value : s->least;
    s->most = s->count == 0 || value > s->most ? value : s->most;
    s->sum += value;
    s->count++;
}

/* "1 to 34 a picture (mean 9.1)", or "5 a picture" where all are the same; heap. */
static char *span_text(const span *s, const char *unit)
{
    if (s->least == s->most) {
        return fc_format("%lld%s", (long long)s->least, unit);
    }
    double mean = (double)s->sum / (double)s->count;
    return fc_format("%lld to %lld%s (mean %.*f)", (long long)s->least, (long long)s->most, unit,
                     mean < 100 ? 1 : 0, mean);
}

/* Lengths of the items of an offsets array. */
static span lengths(const uint64_t *offsets, int64_t items)
{
    span s = {0};
    for (int64_t i = 0; i < items; i++) {
        take(&s, (int64_t)(offsets[i + 1] - offsets[i]));
    }
    return s;
}

static fc_status print_hashes(const fc_store *s)
{
    if (s->image_hash == NULL) {
        fci_inspect_line("", "no hashes of the source files, so shared pictures cannot be told");
        return FC_OK;
    }
    int64_t repeated;
    FC_TRY(fc_overlap_repeated(s, &repeated));
    char *text = fc_format("hashes of the source files: %s",
                           repeated == 0 ? "no two pictures are the same" : "");
    if (repeated > 0) {
        char *longer =
            fc_format("%s%s pictures repeat an earlier one", text, fci_text_count(repeated));
        fc_free(&text);
        text = longer;
    }
    fci_inspect_line("", text);
    fc_free(&text);
    return FC_OK;
}

static fc_status print_pictures(const fc_store *s)
{
    if (s->images == 0) {
        fci_inspect_line("pictures", "none");
        return FC_OK;
    }
    span height = {0}, width = {0};
    for (int64_t i = 0; i < s->images; i++) {
        take(&height, s->height[i]);
        take(&width, s->width[i]);
    }
    int64_t bytes = (int64_t)s->image_offsets[s->images];
    char *across = span_text(&width, ""), *down = span_text(&height, "");
    char *text =
        fc_format("%s, %s, %s (%s each)", fci_text_count(s->images), fc_codec_name(s->codec),
                  fci_text_bytes(bytes), fci_text_bytes(bytes / s->images));
    char *sizes = fc_format("width %s, height %s", across, down);
    fci_inspect_line("pictures", text);
    fci_inspect_line("", sizes);
    fc_free(&text);
    fc_free(&sizes);
    fc_free(&across);
    fc_free(&down);
    return print_hashes(s);
}

static void print_captions(const fc_store *s)
{
    if (s->caption_of == NULL) {
        fci_inspect_line("captions", "none");
        return;
    }
    span each = lengths(s->caption_of, s->images);
    span tokens = lengths(s->caption_offsets, s->captions);
    char *pictures = span_text(&each, " a picture"), *ids = span_text(&tokens, " tokens");
    char *text = fc_format("%s, %s, %s", fci_text_count(s->captions), pictures, ids);
    fci_inspect_line("captions", text);
    fc_free(&text);
    fc_free(&pictures);
    fc_free(&ids);
}

static void print_crops(const fc_store *s)
{
    if (!s->has_crops) {
        fci_inspect_line("crops", "none; they are cut from the pictures while loading");
        return;
    }
    int64_t bytes = s->regions > 0 ? (int64_t)s->crop_offsets[s->regions] : 0;
    char *text =
        fc_format("%d x %d, %s, of the box grown %.4g times, %s (%s each)", s->crop_size,
                  s->crop_size, fc_codec_name(s->crop_codec), s->crop_scale, fci_text_bytes(bytes),
                  fci_text_bytes(s->regions > 0 ? bytes / s->regions : 0));
    fci_inspect_line("crops", text);
    fc_free(&text);
}

/* What regions carry. */
static void print_region_parts(const fc_store *s, const span *tokens, int64_t small)
{
    int64_t with_category = 0;
    double least = INFINITY, most = -INFINITY;
    for (int64_t r = 0; r < s->regions; r++) {
        with_category += s->has_category && s->category[r] >= 0 ? 1 : 0;
        if (s->has_score) {
            least = fmin(least, (double)s->score[r]);
            most = fmax(most, (double)s->score[r]);
        }
    }
    char *ids = span_text(tokens, " tokens");
    char *captions = fc_format("%s with a caption%s%s", fci_text_count(tokens->count),
                               tokens->count > 0 ? " of " : "", tokens->count > 0 ? ids : "");
    char *scores = least <= most ? fc_format(", scores %.3g to %.3g", least, most) : fc_strdup("");
    char *text =
        fc_format("%s with a category, %s%s", fci_text_count(with_category), captions, scores);
    char *sizes =
        fc_format("%s smaller than %d x %d pixels", fci_text_count(small), SMALL_SIDE, SMALL_SIDE);
    fci_inspect_line("", text);
    fci_inspect_line("", sizes);
    fc_free(&text);
    fc_free(&sizes);
    fc_free(&scores);
    fc_free(&captions);
    fc_free(&ids);
}

static void print_regions(const fc_store *s)
{
    if (s->region_of == NULL) {
        fci_inspect_line("regions", "none");
        return;
    }
    span each = lengths(s->region_of, s->images), tokens = {0};
    int64_t small = 0;
    for (int64_t r = 0; r < s->regions; r++) {
        int64_t ids = (int64_t)(s->region_offsets[r + 1] - s->region_offsets[r]);
        if (ids > 0) {
            take(&tokens, ids);
        }
        const float *box = s->boxes + 4 * r;
        small += !((box[2] - box[0]) * (box[3] - box[1]) >= SMALL_SIDE * SMALL_SIDE) ? 1 : 0;
    }
    char *pictures = span_text(&each, " a picture");
    char *text = fc_format("%s, %s", fci_text_count(s->regions), pictures);
    fci_inspect_line("regions", text);
    fc_free(&text);
    fc_free(&pictures);
    print_region_parts(s, &tokens, small);
    print_crops(s);
}

/* ---- Categories ---- */

typedef struct frequency {
    int64_t count, category;
} frequency;

static int by_count(const void *a, const void *b)
{
    const frequency *x = a, *y = b;
    if (x->count != y->count) {
        return x->count > y->count ? -1 : 1;
    }
    return x->category < y->category ? -1 : 1;
}

static void print_frequencies(const fc_store *s)
{
    size_t count = (size_t)s->categories;
    frequency *f = fc_alloc(count, sizeof *f);
    for (size_t k = 0; k < count; k++) {
        f[k].category = (int64_t)k;
    }
    for (int64_t r = 0; r < s->regions; r++) {
        int32_t k = s->category[r];
        if (k >= 0 && k < s->categories) {
            f[k].count++;
        }
    }
    qsort(f, count, sizeof *f, by_count);
    int64_t unused = 0;
    for (size_t k = 0; k < count; k++) {
        unused += f[k].count == 0 ? 1 : 0;
    }
    char *text = fc_strdup("most regions:");
    for (size_t k = 0; k < count && k < CATEGORIES_SHOWN && f[k].count > 0; k++) {
        char *name = fci_text_clipped(s->category_names[f[k].category], 24);
        char *longer =
            fc_format("%s%s %s %s", text, k > 0 ? "," : "", name, fci_text_count(f[k].count));
        fc_free(&name);
        fc_free(&text);
        text = longer;
    }
    char *all = fc_format("%s; %s without any", text, fci_text_count(unused));
    fci_inspect_line("", all);
    fc_free(&all);
    fc_free(&text);
    fc_free(&f);
}

static void print_categories(const fc_store *s)
{
    if (s->categories == 0) {
        fci_inspect_line("categories", "none");
        return;
    }
    int64_t things = 0;
    for (int64_t k = 0; k < s->categories; k++) {
        things += s->category_isthing != NULL && s->category_isthing[k] != 0 ? 1 : 0;
    }
    span prompts = lengths(s->category_offsets, s->categories);
    char *each =
        span_text(&prompts, prompts.most == 1 && prompts.least == 1 ? " prompt" : " prompts");
    char *text = fc_format("%s (%s things, %s stuff), %s each", fci_text_count(s->categories),
                           fci_text_count(things), fci_text_count(s->categories - things), each);
    fci_inspect_line("categories", text);
    fc_free(&text);
    fc_free(&each);
    if (s->has_category && s->regions > 0) {
        print_frequencies(s);
    }
}

/* ---- The screen ---- */

static void print_histograms(const fc_store *s)
{
    fci_histogram h[] = {
        {"regions a picture", 10, {0, 1, 2, 4, 8, 16, 32, 64, 128}, {0}},
        {"box side, pixels", 9, {7, 15, 31, 63, 127, 255, 511, 1023}, {0}},
        {"caption tokens", 10, {4, 8, 12, 16, 24, 32, 48, 64, 76}, {0}},
        {"region caption tokens", 10, {4, 8, 12, 16, 24, 32, 48, 64, 76}, {0}},
    };
    for (int64_t i = 0; s->region_of != NULL && i < s->images; i++) {
        fci_histogram_add(&h[0], (int64_t)(s->region_of[i + 1] - s->region_of[i]));
    }
    for (int64_t r = 0; r < s->regions; r++) {
        const float *b = s->boxes + 4 * r;
        double area = (double)(b[2] - b[0]) * (double)(b[3] - b[1]);
        int64_t ids = (int64_t)(s->region_offsets[r + 1] - s->region_offsets[r]);
        if (area >= 0 && area < 1e18) { /* not what a damaged box says */
            fci_histogram_add(&h[1], (int64_t)sqrt(area));
        }
        if (ids > 0) {
            fci_histogram_add(&h[3], ids);
        }
    }
    for (int64_t c = 0; c < s->captions; c++) {
        fci_histogram_add(&h[2], (int64_t)(s->caption_offsets[c + 1] - s->caption_offsets[c]));
    }
    printf("\n");
    fci_histograms_print(h, 4);
}

static void print_free_text(const char *label, const char *text)
{
    if (text != NULL && text[0] != '\0') {
        char *line = fci_text_clipped(text, TEXT_COLUMNS);
        printf("%-12s%s\n", label, line);
        fc_free(&line);
    }
}

static fc_status show(fc_store *s, bool all)
{
    struct stat info;
    int64_t bytes = stat(s->path, &info) == 0 ? (int64_t)info.st_size : 0;
    printf("%s: store, %s\n", s->path, fci_text_bytes(bytes));
    FC_TRY(print_pictures(s));
    print_captions(s);
    print_regions(s);
    print_categories(s);
    char *tokens = fc_format("%s, vocabulary of %s, at most %d a row",
                             s->tokenizer != NULL ? s->tokenizer : "tokenizer not named",
                             fci_text_count(s->vocab_size), s->context_length);
    print_free_text("tokens", tokens);
    fc_free(&tokens);
    print_free_text("source", s->source);
    print_free_text("created", s->created);
    FC_TRY(fci_inspect_notes(s));
    print_histograms(s);
    FC_TRY(fci_inspect_captions(s));
    return all ? fci_inspect_recipe(s) : FC_OK;
}

fc_status fci_inspect_store(const fci_inspect_options *options)
{
    fc_store *s = NULL;
    fc_status status = FC_OK;
    if (fc_log_rank() == 0) {
        status = fc_store_open(&s, options->path);
        if (status == FC_OK) {
            status = show(s, options->all);
        }
        fc_store_close(&s);
    }
    status = fc_dist_agree(status);
    if (!options->check || (status != FC_OK && status != FC_DATA)) {
        return status;
    }
    /* What cannot be shown can still be checked, which finds everything and not the first only. */
    char *message = fc_strdup(fc_error_message());
    fc_status checked = fci_inspect_check(options->path);
    if (checked == FC_OK && status != FC_OK) {
        fc_error_set(message, "");
    }
    fc_free(&message);
    return checked == FC_OK ? status : checked;
}
