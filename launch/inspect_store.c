/* `fineclip inspect` on a store: counts and distributions from the index arrays, which are in
 * memory; pictures are read by --check alone. */
#include "core/log.h"
#include "core/memory.h"
#include "data/store.h"
#include "launch/dist.h"
#include "launch/inspect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    BUCKETS = 10,
    BAR_COLUMNS = 40,
    CAPTIONS_SHOWN = 3,
    CATEGORIES_SHOWN = 8,
    TEXT_COLUMNS = 76,
    TOKENS_SHOWN = 12,
};

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

static double mean(const span *s)
{
    return s->count > 0 ? (double)s->sum / (double)s->count : 0;
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

static void print_pictures(const fc_store *s)
{
    span height = {0}, width = {0};
    for (int64_t i = 0; i < s->images; i++) {
        take(&height, s->height[i]);
        take(&width, s->width[i]);
    }
    int64_t bytes = s->images > 0 ? (int64_t)s->image_offsets[s->images] : 0;
    printf("pictures    %s, %s, %s (%s each)\n", fci_text_count(s->images), fc_codec_name(s->codec),
           fci_text_bytes(bytes), fci_text_bytes(s->images > 0 ? bytes / s->images : 0));
    printf("            width %lld to %lld (mean %.0f), height %lld to %lld (mean %.0f)\n",
           (long long)width.least, (long long)width.most, mean(&width), (long long)height.least,
           (long long)height.most, mean(&height));
}

static void print_captions(const fc_store *s)
{
    if (s->caption_of == NULL) {
        printf("captions    none\n");
        return;
    }
    span each = lengths(s->caption_of, s->images);
    span tokens = lengths(s->caption_offsets, s->captions);
    printf("captions    %s, %lld to %lld a picture (mean %.1f), %lld to %lld tokens (mean %.1f)\n",
           fci_text_count(s->captions), (long long)each.least, (long long)each.most, mean(&each),
           (long long)tokens.least, (long long)tokens.most, mean(&tokens));
}

/* 0, 1, 2, 3-4, 5-8, ... and the last takes all above. */
static int bucket_of(int64_t value)
{
    int bucket = 0;
    for (int64_t top = 0; bucket < BUCKETS - 1 && value > top; top = top == 0 ? 1 : 2 * top) {
        bucket++;
    }
    return bucket;
}

static void print_histogram(const uint64_t *offsets, int64_t items)
{
    int64_t counts[BUCKETS] = {0}, most = 1;
    int last = 0;
    for (int64_t i = 0; i < items; i++) {
        int bucket = bucket_of((int64_t)(offsets[i + 1] - offsets[i]));
        counts[bucket]++;
        most = counts[bucket] > most ? counts[bucket] : most;
        last = bucket > last ? bucket : last;
    }
    for (int b = 0; b <= last; b++) {
        int64_t high = b == 0 ? 0 : (int64_t)1 << (b - 1), low = b < 3 ? high : high / 2 + 1;
        char label[32];
        if (b == BUCKETS - 1) {
            snprintf(label, sizeof label, "%lld+", (long long)low);
        } else if (low == high) {
            snprintf(label, sizeof label, "%lld", (long long)high);
        } else {
            snprintf(label, sizeof label, "%lld-%lld", (long long)low, (long long)high);
        }
        char bar[BAR_COLUMNS + 1];
        int cells = (int)((counts[b] * BAR_COLUMNS + most - 1) / most);
        memset(bar, '#', (size_t)cells);
        bar[cells] = '\0';
        printf("   %9s %s%s%s\n", label, bar, cells > 0 ? " " : "", fci_text_count(counts[b]));
    }
}

static void print_regions(const fc_store *s)
{
    if (s->region_of == NULL) {
        printf("regions     none\n");
        return;
    }
    span each = lengths(s->region_of, s->images), tokens = {0};
    int64_t with_category = 0, small = 0;
    for (int64_t r = 0; r < s->regions; r++) {
        int64_t ids = (int64_t)(s->region_offsets[r + 1] - s->region_offsets[r]);
        if (ids > 0) {
            take(&tokens, ids);
        }
        const float *box = s->boxes + 4 * r;
        with_category += s->has_category && s->category[r] >= 0 ? 1 : 0;
        small += !((box[2] - box[0]) * (box[3] - box[1]) >= 64) ? 1 : 0;
    }
    printf("regions     %s, %lld to %lld a picture (mean %.1f); %s smaller than 8 x 8 pixels\n",
           fci_text_count(s->regions), (long long)each.least, (long long)each.most, mean(&each),
           fci_text_count(small));
    printf("            %s with a category, %s with a caption", fci_text_count(with_category),
           fci_text_count(tokens.count));
    if (tokens.count > 0) {
        printf(" of %lld to %lld tokens (mean %.1f)", (long long)tokens.least,
               (long long)tokens.most, mean(&tokens));
    }
    printf("\n            regions a picture:\n");
    print_histogram(s->region_of, s->images);
    if (s->has_crops) {
        int64_t bytes = s->regions > 0 ? (int64_t)s->crop_offsets[s->regions] : 0;
        printf("crops       %d x %d, %s, grown %.4g times, %s (%s each)\n", s->crop_size,
               s->crop_size, fc_codec_name(s->crop_codec), s->crop_scale, fci_text_bytes(bytes),
               fci_text_bytes(s->regions > 0 ? bytes / s->regions : 0));
    } else {
        printf("crops       none; they are cut from the pictures while loading\n");
    }
}

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
    printf("            most regions:");
    for (size_t k = 0; k < count && k < CATEGORIES_SHOWN && f[k].count > 0; k++) {
        char *name = fci_text_clipped(s->category_names[f[k].category], 24);
        printf("%s %s (%s)", k > 0 ? "," : "", name, fci_text_count(f[k].count));
        fc_free(&name);
    }
    printf("; %s without any\n", fci_text_count(unused));
    fc_free(&f);
}

static void print_categories(const fc_store *s)
{
    if (s->categories == 0) {
        printf("categories  none\n");
        return;
    }
    int64_t things = 0;
    for (int64_t k = 0; k < s->categories; k++) {
        things += s->category_isthing != NULL && s->category_isthing[k] != 0 ? 1 : 0;
    }
    printf("categories  %s (%s things, %s stuff), %.4g prompts each\n",
           fci_text_count(s->categories), fci_text_count(things),
           fci_text_count(s->categories - things), (double)s->prompts / (double)s->categories);
    if (s->has_category && s->regions > 0) {
        print_frequencies(s);
    }
}

static fc_status print_token_ids(fc_store *s, int64_t caption)
{
    enum { ROOM = 1024 };
    int32_t ids[ROOM];
    int count = 0;
    FC_TRY(fc_store_tokens(s, FC_CAPTION_TOKENS, caption, INT32_MAX, ROOM, ids, &count));
    printf("token ids");
    for (int i = 0; i < count && i < TOKENS_SHOWN; i++) {
        printf(" %d", (int)ids[i]);
    }
    printf("%s\n", count > TOKENS_SHOWN ? " ..." : "");
    return FC_OK;
}

static fc_status print_first_captions(fc_store *s)
{
    if (s->captions > 0) {
        printf("\n");
    }
    for (int64_t i = 0, shown = 0; s->caption_of != NULL && i < s->images; i++) {
        if (shown == CAPTIONS_SHOWN || s->caption_of[i] == s->caption_of[i + 1]) {
            continue;
        }
        shown++;
        int64_t caption = (int64_t)s->caption_of[i];
        char *name = NULL, *text = NULL;
        FC_TRY(fc_store_text(s, "images/name", i, &name));
        fc_status status = fc_store_text(s, "captions/text", caption, &text);
        char *shown_name =
            name != NULL ? fci_text_clipped(name, 30) : fc_format("picture %lld", (long long)i);
        printf("%s: ", shown_name);
        fc_free(&shown_name);
        fc_free(&name);
        FC_TRY(status);
        if (text != NULL) {
            char *line = fci_text_clipped(text, TEXT_COLUMNS);
            printf("%s\n", line);
            fc_free(&line);
            fc_free(&text);
        } else {
            FC_TRY(print_token_ids(s, caption));
        }
    }
    return FC_OK;
}

static fc_status show(fc_store *s)
{
    struct stat info;
    int64_t bytes = stat(s->path, &info) == 0 ? (int64_t)info.st_size : 0;
    printf("%s: store, %s\n", s->path, fci_text_bytes(bytes));
    print_pictures(s);
    print_captions(s);
    print_regions(s);
    print_categories(s);
    printf("tokens      %s, vocabulary of %s, at most %d\n",
           s->tokenizer != NULL ? s->tokenizer : "tokenizer not named",
           fci_text_count(s->vocab_size), s->context_length);
    const char *const names[] = {"source", "created"};
    const char *const values[] = {s->source, s->created};
    for (int i = 0; i < 2; i++) {
        if (values[i] != NULL && values[i][0] != '\0') {
            char *line = fci_text_clipped(values[i], TEXT_COLUMNS);
            printf("%-11s %s\n", names[i], line);
            fc_free(&line);
        }
    }
    return print_first_captions(s);
}

fc_status fci_inspect_store(const fci_inspect_options *options)
{
    fc_store *s = NULL;
    fc_status status = FC_OK;
    if (fc_log_rank() == 0) {
        status = fc_store_open(&s, options->path);
        if (status == FC_OK) {
            status = show(s);
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
