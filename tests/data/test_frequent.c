/* The most frequent captions: exact counts, also where there are more kinds than are kept. */
#include "data/store/frequent.h"
#include "tests/data/store_maker.h"

enum { KINDS = 100000, FREQUENT = 4, VOCAB = 1000 };

/* A caption of its own. */
static int rare(int64_t key, int32_t *ids)
{
    const int32_t row[] = {VOCAB - 2, (int32_t)(key % 991), (int32_t)(key / 991), VOCAB - 1};
    memcpy(ids, row, sizeof row);
    return 4;
}

/* Captions that come again, the k-th every 1000 (k+1) pictures. */
static int frequent(int k, int32_t *ids)
{
    const int32_t row[] = {VOCAB - 2, 7, 7, 7, (int32_t)k, VOCAB - 1};
    memcpy(ids, row, sizeof row);
    return 6;
}

static void write_store(const char *path, int64_t images)
{
    const fc_store_options options = {
        .context_length = 8, .vocab_size = VOCAB, .tokenizer = "made-up", .codec = FC_CODEC_RAW};
    fc_store_writer *w;
    if (!FC_CHECK_OK(fc_store_writer_create(&w, path, &options))) {
        return;
    }
    const uint8_t pixel[3] = {1, 2, 3};
    for (int64_t i = 0; i < images; i++) {
        int32_t ids[1 + FREQUENT][8];
        fc_store_caption captions[1 + FREQUENT];
        int count = 1;
        captions[0] = (fc_store_caption){ids[0], rare(i, ids[0]), NULL};
        for (int k = 0; k < FREQUENT; k++) {
            if (i % (1000 * (k + 1)) == 10 * k) {
                captions[count] = (fc_store_caption){ids[count], frequent(k, ids[count]), NULL};
                count++;
            }
        }
        FC_CHECK_OK(fc_store_writer_add(w, i, NULL, 1, 1, pixel, 3, count, captions, 0, NULL));
    }
    FC_CHECK_OK(fc_store_writer_finish(w));
    fc_store_writer_destroy(&w);
}

static void check(int64_t images, int want)
{
    const char *path = fc_check_temp("frequent.h5");
    write_store(path, images);
    fc_store *s;
    if (!FC_CHECK_OK(fc_store_open(&s, path))) {
        return;
    }
    fc_frequent_row rows[10];
    int filled = -1;
    FC_CHECK_OK(fc_frequent_rows(s, FC_CAPTION_TOKENS, 10, rows, &filled));
    FC_CHECK_INT(filled, want);
    for (int k = 0; k < filled && k < FREQUENT; k++) {
        int64_t step = 1000 * (k + 1), count = (images - 10 * k + step - 1) / step;
        int32_t ids[8], wanted[8];
        int length = 0;
        FC_CHECK_INT(rows[k].count, count);
        FC_CHECK_OK(fc_store_tokens(s, FC_CAPTION_TOKENS, rows[k].item, VOCAB, 8, ids, &length));
        FC_CHECK_INT(length, frequent(k, wanted));
        FC_CHECK(memcmp(ids, wanted, 6 * sizeof *ids) == 0);
        /* The first of its kind: that of picture 10 k. */
        FC_CHECK(rows[k].item >= (int64_t)s->caption_of[10 * k] &&
                 rows[k].item < (int64_t)s->caption_of[10 * k + 1]);
    }
    FC_CHECK_OK(fc_frequent_rows(s, FC_CAPTION_TOKENS, 1, rows, &filled));
    FC_CHECK_INT(filled, 1);
    FC_CHECK_OK(fc_frequent_rows(s, FC_REGION_TOKENS, 10, rows, &filled));
    FC_CHECK_INT(filled, 0);
    FC_CHECK_OK(fc_frequent_rows(s, FC_PROMPT_TOKENS, 10, rows, &filled));
    FC_CHECK_INT(filled, 0);
    fc_store_close(&s);
}

int main(void)
{
    check(20000, FREQUENT); /* all kinds fit */
    check(KINDS, FREQUENT); /* they do not: candidates are counted in a second pass */
    return fc_check_end();
}
