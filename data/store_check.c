/* Reading all of a store and saying everything that is wrong with it. */
#include "core/memory.h"
#include "data/store_files.h"

enum { PROGRESS_EVERY = 256, MOST_IDS = 1 << 16 };

typedef struct check {
    fc_store *store;
    fci_findings *findings;
    void (*progress)(void *ctx, int64_t done, int64_t total);
    int64_t done, total;
    int32_t *ids;
} check;

/* One item was looked at: bad data and unreadable bytes are findings, anything else ends the check.
 */
static fc_status note(check *c, fc_status status)
{
    c->done++;
    if (c->progress != NULL && (c->done % PROGRESS_EVERY == 0 || c->done == c->total)) {
        c->progress(c->findings->ctx, c->done, c->total);
    }
    if (status == FC_DATA || status == FC_RUNTIME) {
        fci_findings_add(c->findings, fc_error_message());
        fc_error_clear();
        return FC_OK;
    }
    return status;
}

static bool enough(const check *c)
{
    return c->findings->count >= c->findings->limit;
}

static fc_status check_pictures(check *c)
{
    fc_store *s = c->store;
    for (int64_t i = 0; i < s->images && !enough(c); i++) {
        fc_picture picture;
        fc_status status = fc_store_picture(s, i, &picture);
        if (status == FC_OK) {
            fc_picture_free(&picture);
        }
        FC_TRY(note(c, status));
    }
    for (int64_t i = 0; s->has_crops && i < s->regions && !enough(c); i++) {
        fc_picture picture;
        fc_status status = fc_store_crop(s, i, &picture);
        if (status == FC_OK) {
            fc_picture_free(&picture);
        }
        FC_TRY(note(c, status));
    }
    return FC_OK;
}

static fc_status check_tokens(check *c, fc_token_set set, int64_t items)
{
    fc_store *s = c->store;
    int vocab = s->vocab_size > 0 ? s->vocab_size : INT32_MAX;
    int most = s->context_length > 0 && s->context_length < MOST_IDS ? s->context_length : MOST_IDS;
    for (int64_t i = 0; i < items && !enough(c); i++) {
        int count;
        FC_TRY(note(c, fc_store_tokens(s, set, i, vocab, most, c->ids, &count)));
    }
    return FC_OK;
}

static fc_status check_boxes(check *c)
{
    fc_store *s = c->store;
    for (int64_t i = 0; s->region_of != NULL && i < s->images; i++) {
        uint64_t end = s->region_of[i + 1];
        end = end < (uint64_t)s->regions ? end : (uint64_t)s->regions; /* may be wrong here */
        for (uint64_t r = s->region_of[i]; r < end && !enough(c); r++) {
            FC_TRY(note(c, fc_store_check_box(s, (int64_t)r, i)));
        }
    }
    return FC_OK;
}

static fc_status check_all(fc_store *s, fci_findings *findings,
                           void (*progress)(void *ctx, int64_t done, int64_t total))
{
    check c = {.store = s, .findings = findings, .progress = progress};
    c.total =
        s->images + (s->has_crops ? s->regions : 0) + s->captions + 2 * s->regions + s->prompts;
    c.ids = fc_alloc(MOST_IDS, sizeof *c.ids);
    fc_status status = check_boxes(&c);
    if (status == FC_OK) {
        status = check_tokens(&c, FC_CAPTION_TOKENS, s->captions);
    }
    if (status == FC_OK) {
        status = check_tokens(&c, FC_REGION_TOKENS, s->regions);
    }
    if (status == FC_OK) {
        status = check_tokens(&c, FC_PROMPT_TOKENS, s->prompts);
    }
    if (status == FC_OK) {
        status = check_pictures(&c);
    }
    fc_free(&c.ids);
    return status;
}

fc_status fc_store_check(fc_store *s, int64_t limit, void (*say)(void *ctx, const char *line),
                         void (*progress)(void *ctx, int64_t done, int64_t total), void *ctx,
                         int64_t *findings)
{
    fci_findings found = {.limit = limit, .say = say, .ctx = ctx};
    fc_status status = check_all(s, &found, progress);
    *findings = found.count;
    return status;
}

fc_status fc_store_check_file(const char *path, int64_t limit,
                              void (*say)(void *ctx, const char *line),
                              void (*progress)(void *ctx, int64_t done, int64_t total), void *ctx,
                              int64_t *findings)
{
    fci_findings found = {.limit = limit, .say = say, .ctx = ctx};
    fc_store *s;
    *findings = 0;
    FC_TRY(fci_store_open(&s, path, &found));
    fc_status status = check_all(s, &found, progress);
    *findings = found.count;
    fc_store_close(&s);
    return status;
}
