/* The last stage: parts of a store, in order, become the store. */
#include "core/memory.h"
#include "data/prepare/prepare_parts.h"
#include "data/prepare/spill.h"

#include <string.h>

static fc_status open_part(const fci_recipe *recipe, int64_t block, fci_part *out)
{
    char *path = fci_block_path(recipe, block);
    fc_status status = fci_part_open(out, path);
    fc_free(&path);
    return status;
}

fc_status fci_blocks_counts(const fci_recipe *recipe, const fci_plan *plan, fci_counts *counts)
{
    *counts = plan->counts;
    for (int64_t i = 0; i < fci_block_count(plan); i++) {
        fci_part part;
        FC_TRY(open_part(recipe, i, &part));
        fci_counts_add(counts, &part.counts);
        fci_part_close(&part);
    }
    FC_TRY(fci_check_bad(recipe, counts, plan->counts.of[FCI_COUNT_pictures_listed], ""));
    return FC_OK;
}

typedef struct merging {
    const fci_recipe *recipe;
    const fci_plan *plan;
    fc_store_writer *writer;
    fci_spill *hashes;      /* (hash) -> place of each kept picture */
    fci_spill *repeated;    /* places of those that are not the first of their hash */
    const fci_record *next; /* of repeated */
    fci_counts *counts;
} merging;

/* A picture's place: block and number in it. */
static uint64_t place_of(int64_t block, int64_t i)
{
    return (uint64_t)block * FCI_BLOCK + (uint64_t)i;
}

static fc_status collect_hashes(merging *m)
{
    for (int64_t b = 0; b < fci_block_count(m->plan); b++) {
        fci_part part;
        FC_TRY(open_part(m->recipe, b, &part));
        fc_status status = FC_OK;
        for (int64_t i = 0; i < part.kept && status == FC_OK; i++) {
            uint64_t key[2], place = place_of(b, i);
            memcpy(key, part.hash[i], sizeof key);
            status = fci_spill_add(m->hashes, key[0], key[1], &place, sizeof place);
        }
        fci_part_close(&part);
        FC_TRY(status);
    }
    return FC_OK;
}

static fc_status find_repeated(merging *m)
{
    uint64_t last[2] = {0, 0}, place;
    const fci_record *r;
    bool first = true;
    FC_TRY(fci_spill_next(m->hashes, &r));
    while (r != NULL) {
        if (!first && r->key[0] == last[0] && r->key[1] == last[1]) {
            memcpy(&place, r->data, sizeof place);
            FC_TRY(fci_spill_add(m->repeated, place, 0, NULL, 0));
        }
        first = false;
        memcpy(last, r->key, sizeof last);
        FC_TRY(fci_spill_next(m->hashes, &r));
    }
    FC_TRY(fci_spill_next(m->repeated, &m->next));
    return FC_OK;
}

static void count_picture(fci_counts *counts, const fc_store_image *image)
{
    counts->of[FCI_COUNT_pictures_written]++;
    counts->of[FCI_COUNT_pictures_without_caption] += image->captions == 0;
    counts->of[FCI_COUNT_pictures_without_region] += image->regions == 0;
    counts->of[FCI_COUNT_captions_written] += image->captions;
    counts->of[FCI_COUNT_regions_written] += image->regions;
    for (int i = 0; i < image->regions; i++) {
        counts->of[FCI_COUNT_regions_captioned] += image->region[i].caption.count > 0;
    }
}

static fc_status write_picture(merging *m, const fc_store_image *image, uint64_t place)
{
    bool repeated = m->next != NULL && m->next->key[0] == place;
    if (repeated) {
        FC_TRY(fci_spill_next(m->repeated, &m->next));
    }
    if (repeated && m->recipe->drop_duplicates) {
        m->counts->of[FCI_COUNT_pictures_duplicate]++;
        m->counts->of[FCI_COUNT_captions_with_picture] += image->captions;
        m->counts->of[FCI_COUNT_regions_with_picture] += image->regions;
        return FC_OK;
    }
    m->counts->of[FCI_COUNT_pictures_repeated] += repeated;
    count_picture(m->counts, image);
    FC_TRY(fc_store_writer_put(m->writer, image));
    return FC_OK;
}

static fc_status write_pictures(merging *m, const fc_prepare_watch *watch)
{
    int64_t blocks = fci_block_count(m->plan);
    for (int64_t b = 0; b < blocks; b++) {
        fci_part part;
        FC_TRY(open_part(m->recipe, b, &part));
        fc_status status = FC_OK;
        for (int64_t i = 0; i < part.kept && status == FC_OK; i++) {
            status = fci_part_next(&part);
            if (status == FC_OK) {
                status = write_picture(m, &part.image, place_of(b, i));
            }
        }
        fci_part_close(&part);
        FC_TRY(status);
        if (watch->step != NULL) {
            watch->step(watch->ctx, "write", b + 1 == blocks ? m->plan->images : b * FCI_BLOCK,
                        m->plan->images);
        }
        if (watch->stop != NULL && watch->stop()) {
            return FC_FAIL(FC_INTERRUPTED,
                           "stopped; what is done is kept in %s: the same command "
                           "goes on from there",
                           m->recipe->work);
        }
    }
    return FC_OK;
}

static fc_status write_category(merging *m, const fc_tokenizer *t, const fci_plan_category *c)
{
    int prompts = m->recipe->prompts.count, length = m->recipe->context_length;
    fc_store_caption *prompt = fc_alloc((size_t)prompts, sizeof *prompt);
    int32_t *ids = fc_alloc((size_t)prompts * (size_t)length, sizeof *ids);
    for (int i = 0; i < prompts; i++) {
        char *sentence = fc_prompt_sentence(&m->recipe->prompts, i, c->name);
        prompt[i].tokens = ids + (size_t)i * (size_t)length;
        prompt[i].count = fc_tokenize(t, sentence, length, ids + (size_t)i * (size_t)length, NULL);
        fc_free(&sentence);
    }
    fc_status status = fc_store_writer_category(m->writer, c->name, c->isthing, prompts, prompt);
    fc_free(&prompt);
    fc_free(&ids);
    return status;
}

static fc_status write_all(merging *m, const fc_tokenizer *t, const fc_prepare_watch *watch)
{
    FC_TRY(collect_hashes(m));
    FC_TRY(find_repeated(m));
    FC_TRY(write_pictures(m, watch));
    for (int64_t k = 0; k < m->plan->categories; k++) {
        FC_TRY(write_category(m, t, &m->plan->category[k]));
    }
    for (int i = 0; i < FCI_COUNTS; i++) {
        FC_TRY(fc_store_writer_summary(m->writer, fci_count_word((fci_count_name)i),
                                       m->counts->of[i]));
    }
    FC_TRY(fc_store_writer_finish(m->writer));
    return FC_OK;
}

fc_status fci_prepare_store(const fci_recipe *recipe, const fci_plan *plan, const fc_tokenizer *t,
                            const fc_prepare_watch *watch, fci_counts *counts)
{
    enum { SORT_MEMORY = 32 << 20 };
    static const char *const words[] = {"coco", "folder", "shards", "retrieval", "karpathy"};
    char *source = fc_format("%s: %s", words[recipe->source],
                             recipe->images != NULL ? recipe->images : recipe->shards[0]);
    fc_store_options options = {.context_length = recipe->context_length,
                                .vocab_size = t == NULL ? 49408 : fc_tokenizer_vocab_size(t),
                                .tokenizer = "clip-bpe",
                                .source = source,
                                .recipe = recipe->resolved,
                                .codec = recipe->codec,
                                .crops = recipe->crops,
                                .crop_size = recipe->crop_size,
                                .crop_scale = recipe->crop_scale,
                                .crop_codec = recipe->crop_codec,
                                .text = recipe->text,
                                .names = true,
                                .scores = plan->has_scores};
    merging m = {.recipe = recipe, .plan = plan, .counts = counts};
    fc_status status;
    fci_spill_create(&m.hashes, recipe->work, SORT_MEMORY);
    fci_spill_create(&m.repeated, recipe->work, SORT_MEMORY);
    FC_TRY_GOTO(status, fci_blocks_counts(recipe, plan, counts), done);
    FC_TRY_GOTO(status, fc_store_writer_create(&m.writer, recipe->output, &options), done);
    FC_TRY_GOTO(status, write_all(&m, t, watch), done);
done:
    fc_store_writer_destroy(&m.writer);
    fci_spill_destroy(&m.hashes);
    fci_spill_destroy(&m.repeated);
    fc_free(&source);
    return status;
}
