/* A plan made out of hostile sources, for the targets that read them. */
#ifndef FC_TESTS_FUZZ_PLAN_H
#define FC_TESTS_FUZZ_PLAN_H

#include "core/memory.h"
#include "data/prepare/sources.h"
#include "data/store/content_hash.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Scratch folder of the process. */
static char fuzz_folder[48];

static inline void fuzz_remove_folder(void)
{
    rmdir(fuzz_folder);
}

static inline fci_plan_builder *fuzz_builder(size_t memory)
{
    static bool made;
    if (!made) {
        snprintf(fuzz_folder, sizeof fuzz_folder, "%s/fineclip-fuzz-XXXXXX", fuzz_temp());
        made = mkdtemp(fuzz_folder) != NULL && atexit(fuzz_remove_folder) == 0;
        FUZZ_CHECK(made);
    }
    const fci_plan_options options = {
        .folder = fuzz_folder,
        .images = "pictures",
        .samples = 5,
        .filter_regions = true,
        .drop_repeated = true,
        .memory = memory,
        .proposals = {.min_score = 0.1, .nms_iou = 0.7, .max_side = 1000, .max_boxes = 30}};
    fci_plan_builder *b;
    FUZZ_CHECK(fuzz_ok(fci_builder_create(&b, &options)));
    return b;
}

/* Join, write, read again: categories are rows, and nothing vanished. */
static inline void fuzz_finish(fci_plan_builder *b)
{
    static const uint8_t fingerprint[FC_HASH_BYTES];
    char path[64];
    snprintf(path, sizeof path, "%s/plan", fuzz_folder);
    if (!fuzz_ok(fci_builder_finish(b, path, fingerprint))) {
        return;
    }
    fci_plan plan;
    fci_bytes bytes = {0};
    fci_plan_image image = {0};
    bool same;
    FUZZ_CHECK(fuzz_ok(fci_plan_open(&plan, path, fingerprint, &same)) && same);
    unlink(path);
    FUZZ_CHECK(fuzz_ok(fci_plan_read(&plan, 0, plan.images, &bytes)));
    fci_unpack u = {bytes.data, bytes.count, false};
    int64_t regions = 0, captions = 0;
    for (int64_t i = 0; i < plan.images; i++) {
        FUZZ_CHECK(fuzz_ok(fci_plan_image_unpack(&image, &u)));
        regions += image.regions;
        captions += image.captions;
        for (int r = 0; r < image.regions; r++) {
            FUZZ_CHECK(image.region[r].category >= -1 &&
                       image.region[r].category < plan.categories);
        }
    }
    FUZZ_CHECK(u.left == 0);
    for (int i = FCI_COUNT_regions_elsewhere; i <= FCI_COUNT_regions_over_limit; i++) {
        regions += plan.counts.of[i];
    }
    for (int i = FCI_COUNT_captions_elsewhere; i <= FCI_COUNT_captions_empty; i++) {
        captions += plan.counts.of[i];
    }
    FUZZ_CHECK(regions == plan.counts.of[FCI_COUNT_regions_read]);
    FUZZ_CHECK(captions == plan.counts.of[FCI_COUNT_captions_read]);
    fci_plan_image_free(&image);
    fc_free(&bytes.data);
    fci_plan_close(&plan);
}

#endif
