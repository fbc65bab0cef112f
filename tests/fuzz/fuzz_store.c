/* A store whose HDF5 is in order and whose contents are wrong: shown and checked as `fineclip
 * inspect --check` does, then read for a batch as training does. */
#include "core/memory.h"
#include "data/loader.h"
#include "tests/data/store_maker.h"
#include "tests/fuzz/h5_edit.h"

static const char *const objects[] = {"/",
                                      "/images",
                                      "/images/bytes",
                                      "/images/offsets",
                                      "/images/height",
                                      "/images/width",
                                      "/images/id",
                                      "/images/name",
                                      "/captions/tokens",
                                      "/captions/offsets",
                                      "/captions/image_offsets",
                                      "/captions/text",
                                      "/regions",
                                      "/regions/boxes",
                                      "/regions/image_offsets",
                                      "/regions/tokens",
                                      "/regions/offsets",
                                      "/regions/category",
                                      "/regions/score",
                                      "/regions/crop_bytes",
                                      "/regions/crop_offsets",
                                      "/regions/crop_height",
                                      "/regions/crop_width",
                                      "/regions/text",
                                      "/categories/names",
                                      "/categories/isthing",
                                      "/categories/prompt_tokens",
                                      "/categories/prompt_offsets",
                                      "/categories/category_offsets",
                                      NULL};
static const char *const attributes[] = {"format",    "version",   "context_length", "vocab_size",
                                         "tokenizer", "crop_size", "crop_scale",     "created",
                                         "source",    "complete",  "codec",          NULL};

static const fuzz_h5_base *base(void)
{
    static fuzz_h5_base kept;
    if (kept.bytes == NULL) {
        const maker everything = {.images = 5,
                                  .crops = true,
                                  .text = true,
                                  .scores = true,
                                  .region_captions = true,
                                  .categories = true};
        char *path = fc_strdup(fc_check_temp("base.h5"));
        make_store(path, &everything);
        fuzz_h5_keep(&kept, path, objects, attributes);
        fc_free(&path);
    }
    return &kept;
}

static void read_batches(fc_store *s)
{
    const fc_loader_options options = {.seed = 1,
                                       .image_size = 8,
                                       .max_boxes = 3,
                                       .max_box_size = 1024,
                                       .fit = FC_FIT_LONGEST,
                                       .caption_random = true,
                                       .regions_random = true,
                                       .need_captions = s->caption_of != NULL,
                                       .need_regions = s->region_of != NULL,
                                       .need_crops = s->region_of != NULL,
                                       .need_region_captions = s->region_of != NULL,
                                       .context_length = MAKER_CONTEXT,
                                       .vocab_size = MAKER_VOCAB,
                                       .workers = 1,
                                       .depth = 2};
    for (int64_t i = 0; i < s->images && i < 4; i++) {
        const int64_t images[2] = {i, s->images - 1};
        fc_batch batch;
        if (fuzz_ok(fc_batch_build(&batch, s, &options, i, 0, images, 2))) {
            fc_batch_free(&batch);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    const char *path = fuzz_h5_edited(base(), &in);
    FUZZ_CHECK(fuzz_inspect(fci_inspect_store, path) || size > 0); /* the sound file is sound */
    fc_store *s;
    if (fuzz_ok(fc_store_open(&s, path))) {
        read_batches(s);
        fc_store_close(&s);
    }
    return 0;
}
