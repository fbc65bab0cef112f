/* A rehearsed step has the peaks of the step itself, to the byte, and leaves nothing behind; a
 * budget runs as few blocks again as it needs. fctest: timeout=120 */
#include "core/rehearsal.h"
#include "launch/fake_batch.h"
#include "launch/memory_plan.h"
#include "tests/models/fixture.h"

enum { IMAGES = 6, BOXES = 3, SIDE = 32, CONCEPTS = 7 };

typedef struct scenario {
    const char *name;
    const char *terms[4];
    fc_dtype dtype;
    fc_vision_kind kind;
    unsigned freeze;
    int accumulate;
    fc_recompute recompute;
} scenario;

typedef struct bench {
    fc_clip *m;
    fc_comm *comm;
    fc_step *step;
    fc_step_options options;
    fc_concepts *concepts;
    fc_batch batch;
} bench;

static void set_up(bench *b, const scenario *s)
{
    fc_model_config config = fx_small_config(s->kind);
    *b = (bench){.options = {.local_loss = true,
                             .gather_with_grad = true,
                             .accumulate = s->accumulate,
                             .recompute = s->recompute,
                             .adamw = {.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-8}}};
    for (int i = 0; i < 4 && s->terms[i] != NULL; i++) {
        const fc_loss_def *def = fc_loss_find(s->terms[i]);
        FC_CHECK(def != NULL);
        b->options.terms[b->options.term_count++] = (fc_step_term){.def = def, .weight = 1};
        if (def != NULL) {
            FX_NEED(fc_loss_read_options(def, NULL, &b->options.terms[i].options));
        }
    }
    FX_NEED(fc_comm_create_self(&b->comm));
    FX_NEED(fc_clip_create(&b->m, &config, SIDE, s->dtype, s->freeze));
    fc_clip_init(b->m, 1);
    const unsigned needs = fc_step_needs(&b->options);
    if ((needs & FC_NEED_TEACHER) != 0) {
        FX_NEED(fc_clip_keep_initial(b->m));
    }
    const fc_fake_sizes sizes = {.images = IMAGES,
                                 .boxes = BOXES,
                                 .crops = true,
                                 .image_size = SIDE,
                                 .caption_tokens = 12,
                                 .region_tokens = 8,
                                 .vocab_size = 100};
    fc_fake_batch(&b->batch, &sizes, 3);
    if ((needs & FC_NEED_CONCEPT) != 0) {
        b->concepts = fc_concepts_fake(CONCEPTS, b->batch.regions, b->m, 5);
        b->options.concepts = b->concepts;
    }
    b->step = fc_step_create(b->m, b->comm, &b->options);
}

static void tear_down(bench *b)
{
    fc_step_destroy(&b->step);
    fc_concepts_close(&b->concepts);
    fc_batch_free(&b->batch);
    fc_clip_destroy(&b->m);
    fc_comm_destroy(&b->comm);
}

static void check_bytes(const scenario *s, const char *what, size_t have, size_t want)
{
    fc_check_true(have == want, __FILE__, __LINE__, "%s: %s: rehearsed %zu bytes, %zu taken",
                  s->name, what, have, want);
}

static void check_scenario(const scenario *s)
{
    bench b;
    fc_tape_memory rehearsed, again;
    fc_step_result before, after;
    set_up(&b, s);
    const size_t bytes = (size_t)b.m->params->grad_total * fc_dtype_bytes(b.m->params->dtype);
    uint8_t *grad = fc_alloc(bytes, 1);
    FX_NEED(fc_step_rehearse(b.step, &b.batch, s->recompute, &rehearsed));
    FX_NEED(fc_step_gradients(b.step, &b.batch, &before));
    const fc_tape_memory taken = fc_step_memory(b.step);
    check_bytes(s, "activations", rehearsed.activations, taken.activations);
    check_bytes(s, "gradients", rehearsed.gradients, taken.gradients);
    check_bytes(s, "host", rehearsed.host, taken.host);
    FC_CHECK(rehearsed.activations > 0 && rehearsed.gradients > 0 && rehearsed.host > 0);
    FC_CHECK(taken.scratch <= fc_arena_room(0));
    memcpy(grad, b.m->params->grad, bytes);
    /* In between nothing changes, and the next step is the same to the bit. */
    FX_NEED(fc_step_rehearse(b.step, &b.batch, s->recompute, &again));
    FC_CHECK(memcmp(&again, &rehearsed, sizeof again) == 0);
    FC_CHECK(memcmp(grad, b.m->params->grad, bytes) == 0);
    FX_NEED(fc_step_gradients(b.step, &b.batch, &after));
    FC_CHECK(memcmp(grad, b.m->params->grad, bytes) == 0);
    FC_CHECK(isfinite(before.loss) && before.loss == after.loss);
    FC_CHECK(before.flops == after.flops);
    fc_free(&grad);
    tear_down(&b);
}

static void test_peaks(void)
{
    const fc_recompute none = {0, 0}, all = {FC_ALL_BLOCKS, FC_ALL_BLOCKS};
#define FINECLIP                                                                                   \
    {                                                                                              \
        "global_contrastive", "region_contrastive", "self_distillation"                            \
    }
    const scenario scenarios[] = {
        {"plain", FINECLIP, FC_F32, FC_VISION_EVA02, 0, 1, none},
        {"double", FINECLIP, FC_F64, FC_VISION_EVA02, 0, 1, none},
        {"vit", FINECLIP, FC_F32, FC_VISION_VIT, 0, 1, none},
        {"all again", FINECLIP, FC_F32, FC_VISION_EVA02, 0, 1, all},
        {"some again", FINECLIP, FC_F32, FC_VISION_EVA02, 0, 1, {2, 1}},
        {"in parts", FINECLIP, FC_F32, FC_VISION_EVA02, 0, 4, none},
        {"in parts, some again", FINECLIP, FC_F64, FC_VISION_VIT, 0, 3, {3, 3}},
        {"frozen text", FINECLIP, FC_F32, FC_VISION_EVA02, FC_FREEZE_TEXT, 1, {1, 2}},
        {"last blocks", FINECLIP, FC_F32, FC_VISION_EVA02, FC_TRAIN_LAST_BLOCKS(2), 1, {4, 0}},
        {"global", {"global_contrastive"}, FC_F32, FC_VISION_EVA02, 0, 1, none},
        {"teacher", {"clipself"}, FC_F32, FC_VISION_EVA02, FC_FREEZE_TEXT, 1, none},
        {"concepts", {"regionclip"}, FC_F32, FC_VISION_EVA02, 0, 2, {1, 0}},
    };
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        check_scenario(&scenarios[i]);
    }
}

/* Which blocks run again changes no bit of a gradient. */
static void test_same_gradients(void)
{
    const fc_recompute ways[] = {{0, 0}, {2, 1}, {0, 3}, {FC_ALL_BLOCKS, FC_ALL_BLOCKS}};
    void *want = NULL;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        const scenario s = {
            .name = "same", .terms = FINECLIP, .kind = FC_VISION_EVA02, .accumulate = 1};
        const fc_tape_memory nothing = {0};
        bench b;
        fc_step_result result;
        set_up(&b, &s);
        const size_t bytes = (size_t)b.m->params->grad_total * fc_dtype_bytes(b.m->params->dtype);
        fc_step_settle(b.step, ways[i], &nothing);
        FX_NEED(fc_step_gradients(b.step, &b.batch, &result));
        if (want == NULL) {
            want = fc_alloc(bytes, 1);
            memcpy(want, b.m->params->grad, bytes);
        }
        fc_check_true(memcmp(want, b.m->params->grad, bytes) == 0, __FILE__, __LINE__,
                      "%d and %d blocks again: other gradients", ways[i].vision, ways[i].text);
        fc_step_rest(b.step); /* and after a rest the same again */
        FX_NEED(fc_step_gradients(b.step, &b.batch, &result));
        FC_CHECK(memcmp(want, b.m->params->grad, bytes) == 0);
        tear_down(&b);
    }
    fc_free(&want);
}

/* Another batch than the first: the rehearsal follows it. */
static void test_follows_batch(void)
{
    const scenario s = {
        .name = "smaller", .terms = FINECLIP, .kind = FC_VISION_EVA02, .accumulate = 1};
    bench b;
    set_up(&b, &s);
    fc_tape_memory whole, half;
    FX_NEED(fc_step_rehearse(b.step, &b.batch, s.recompute, &whole));
    b.batch.images /= 2;
    b.batch.regions /= 2;
    FX_NEED(fc_step_rehearse(b.step, &b.batch, s.recompute, &half));
    FC_CHECK(half.activations < whole.activations / 2 + whole.activations / 8);
    FC_CHECK(half.activations > whole.activations / 3);
    b.batch.images *= 2;
    b.batch.regions *= 2;
    tear_down(&b);
}

static void write_text(const char *name, const char *text)
{
    FILE *f = fopen(fc_check_temp(name), "w");
    FC_CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* The budget's blocks: none where there is room, text first since it is narrower, never one more
 * than needed, and a clear end. */
static void test_budget(void)
{
    const scenario s = {
        .name = "budget", .terms = FINECLIP, .kind = FC_VISION_EVA02, .accumulate = 1};
    bench b;
    set_up(&b, &s);
    /* Arenas take tens of MiB at least: a batch that needs more. */
    const fc_fake_sizes sizes = {.images = 400,
                                 .boxes = 4,
                                 .crops = true,
                                 .image_size = SIDE,
                                 .caption_tokens = 12,
                                 .region_tokens = 12,
                                 .vocab_size = 100};
    fc_batch large;
    fc_fake_batch(&large, &sizes, 3);
    fc_config *config = NULL;
    write_text("budget.yaml", "data: {train: {synthetic: {}}}\n");
    FX_NEED(fc_config_load(&config, fc_check_temp("budget.yaml"), 0, NULL));
    fc_memory_plan free_plan, plan;
    FX_NEED(fc_memory_plan_make(&free_plan, config, b.step, b.m, b.comm, &large, 0));
    FC_CHECK_INT(free_plan.recompute.vision, 0);
    FC_CHECK_INT(free_plan.recompute.text, 0);
    FC_CHECK_INT(free_plan.all.vision, 3);
    FC_CHECK_INT(free_plan.all.text, 2);
    FC_CHECK(free_plan.total >
             free_plan.held + (int64_t)(free_plan.step.activations + free_plan.step.gradients));
    config->train.memory_budget = free_plan.total;
    FX_NEED(fc_memory_plan_make(&plan, config, b.step, b.m, b.comm, &large, 0));
    FC_CHECK_INT(plan.recompute.vision + plan.recompute.text, 0);
    int64_t last = free_plan.total;
    int rounds = 0;
    fc_status status = FC_OK;
    for (; rounds < 20 && status == FC_OK; rounds++) {
        config->train.memory_budget = last - 1;
        status = fc_memory_plan_make(&plan, config, b.step, b.m, b.comm, &large, 0);
        if (status == FC_OK) {
            FC_CHECK(plan.total < last);
            FC_CHECK(plan.recompute.vision == 0 || plan.recompute.text == 2);
            last = plan.total;
        }
    }
    FC_CHECK(rounds > 3 && rounds < 20);
    FC_CHECK_INT(status, FC_USAGE);
    FC_CHECK(strstr(fc_error_message(), "train.memory_budget: ") != NULL);
    FC_CHECK(strstr(fc_error_message(), "1600 regions") != NULL);
    FC_CHECK(last < (free_plan.total - free_plan.held) * 2 / 3 + free_plan.held);
    /* What will be taken later counts. */
    config->train.memory_budget = free_plan.total;
    FX_NEED(fc_memory_plan_make(&plan, config, b.step, b.m, b.comm, &large, 4 << 20));
    FC_CHECK(plan.recompute.text > 0);
    fc_config_destroy(&config);
    fc_batch_free(&large);
    tear_down(&b);
}

int main(void)
{
    test_peaks();
    test_same_gradients();
    test_follows_batch();
    test_budget();
    return fc_check_end();
}
