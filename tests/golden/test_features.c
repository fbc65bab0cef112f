/* Features of the tiny models against those of the published program: whole pictures, dense, boxes,
 * crops, captions, class embeddings, and dense features on another grid. In float and in double. */
/* fctest: timeout=120 */
#include "core/safetensors.h"
#include "data/store/store.h"
#include "tests/models/fixture.h"

/* Double differs from the published program by its float arithmetic alone. */
static const double TOLERANCE[2] = {[FC_F32] = 1e-5, [FC_F64] = 2e-6};

typedef struct golden {
    fc_safetensors *features;
    fc_store *store;
    fc_dtype dtype;
    fc_tape *tape;
} golden;

/* Largest difference of a tensor's values to the golden ones, which unit lengths and widths of 48
 * keep near 1 in size. */
static void compare(const golden *g, const char *name, const fc_tensor *have)
{
    const fc_st_tensor *want = fc_safetensors_find(g->features, name);
    if (!FC_CHECK(want != NULL && have != NULL)) {
        return;
    }
    if (!FC_CHECK_INT(fc_tensor_count(have), want->count)) {
        return;
    }
    double *a = fx_values(have), *b = fc_alloc((size_t)want->count, sizeof *b);
    FX_NEED(fc_safetensors_read_f64(want, b));
    double error = fc_check_max_abs(a, b, want->count);
    fc_check_true(error <= TOLERANCE[g->dtype], __FILE__, __LINE__, "%s differs by %g", name,
                  error);
    printf("%-22s %s %.2g\n", name, g->dtype == FC_F64 ? "double" : "float", error);
    fc_free(&a);
    fc_free(&b);
}

static uint8_t *read_pictures(fc_store *s, int64_t count, int side,
                              fc_status (*read)(fc_store *, int64_t, fc_picture *))
{
    size_t bytes = (size_t)side * (size_t)side * 3;
    uint8_t *all = fc_alloc((size_t)count, bytes);
    for (int64_t i = 0; i < count; i++) {
        fc_picture picture = {0};
        FX_NEED(read(s, i, &picture));
        FC_CHECK(picture.width == side && picture.height == side);
        memcpy(all + (size_t)i * bytes, picture.rgb, bytes);
        fc_picture_free(&picture);
    }
    return all;
}

/* Rows of zeros beyond the end, as in a batch. */
static fc_tensor *text_rows(const golden *g, const fc_clip *m, fc_token_set set, int64_t rows,
                            const uint64_t *item)
{
    int length = m->config.text.context_length;
    int32_t *ids = fc_alloc((size_t)(rows * length), sizeof *ids);
    int64_t *offsets = fc_alloc((size_t)rows + 1, sizeof *offsets);
    for (int64_t i = 0; i < rows; i++) {
        int count;
        FX_NEED(fc_store_tokens(g->store, set, item == NULL ? i : (int64_t)item[i],
                                m->config.text.vocab_size, length, ids + i * length, &count));
        offsets[i + 1] = (i + 1) * length;
    }
    fc_tensor *y = fc_clip_text(m, g->tape, rows, ids, offsets, 0);
    fc_free(&ids);
    fc_free(&offsets);
    FX_NEED(fc_tape_status(g->tape));
    return y;
}

static void check_pictures(const golden *g, const fc_clip *m)
{
    fc_store *s = g->store;
    int side = m->image_size;
    uint8_t *pictures = read_pictures(s, s->images, side, fc_store_picture);
    uint8_t *crops = read_pictures(s, s->regions, side, fc_store_crop);
    fc_pixels pixels = {.size = side, .count = {s->images, s->regions}, .rgb = {pictures, crops}};
    fc_tensor *cls, *dense;
    FX_NEED(fc_clip_vision(m, g->tape, &pixels, s->images, 0, 0, &cls, &dense));
    int64_t *index = fc_alloc((size_t)(s->images + s->regions), sizeof *index);
    for (int64_t i = 0; i < s->images + s->regions; i++) {
        index[i] = i;
    }
    compare(g, "image_features", fc_gather_rows(g->tape, cls, index, s->images));
    compare(g, "crop_features",
            fc_l2norm(g->tape, fc_gather_rows(g->tape, cls, index + s->images, s->regions)));
    compare(g, "dense_features", dense);

    float *boxes = fc_alloc((size_t)s->regions * 4, sizeof *boxes);
    int32_t *image = fc_alloc((size_t)s->regions, sizeof *image);
    for (int64_t i = 0; i < s->images; i++) {
        for (uint64_t r = s->region_of[i]; r < s->region_of[i + 1]; r++) {
            image[r] = (int32_t)i;
            for (int k = 0; k < 4; k++) {
                boxes[4 * r + (uint64_t)k] = s->boxes[4 * r + (uint64_t)k] / (float)side;
            }
        }
    }
    compare(g, "roi_features",
            fc_clip_box_features(g->tape, dense, m->grid, boxes, image, s->regions));
    fc_free(&boxes);
    fc_free(&image);
    fc_free(&index);
    fc_free(&pictures);
    fc_free(&crops);
}

static void check_texts(const golden *g, const fc_clip *m)
{
    fc_store *s = g->store;
    compare(g, "text_features", text_rows(g, m, FC_CAPTION_TOKENS, s->images, s->caption_of));
    compare(g, "region_text_features",
            fc_l2norm(g->tape, text_rows(g, m, FC_REGION_TOKENS, s->regions, NULL)));

    fc_tensor *prompts = fc_l2norm(g->tape, text_rows(g, m, FC_PROMPT_TOKENS, s->prompts, NULL));
    double *values = fx_values(prompts);
    fc_tensor *mean = fc_tape_matrix(g->tape, s->categories, prompts->cols, false);
    for (int64_t k = 0; k < s->categories; k++) {
        uint64_t first = s->category_offsets[k], last = s->category_offsets[k + 1];
        for (int64_t c = 0; c < prompts->cols; c++) {
            double sum = 0;
            for (uint64_t p = first; p < last; p++) {
                sum += values[(int64_t)p * prompts->cols + c];
            }
            sum /= (double)(last - first);
            if (g->dtype == FC_F64) {
                ((double *)mean->data)[k * prompts->cols + c] = sum;
            } else {
                ((float *)mean->data)[k * prompts->cols + c] = (float)sum;
            }
        }
    }
    compare(g, "class_embeddings", fc_l2norm(g->tape, mean));
    fc_free(&values);
}

/* The same weights at 96 pixels: learned positions resized, rotary ones computed anew. `by_file`:
 * resized while loading, else from the loaded model. */
static void check_other_grid(const golden *g, const char *folder, bool by_file)
{
    const fc_st_tensor *input = fc_safetensors_find(g->features, "input_96");
    if (input == NULL) {
        return;
    }
    fc_clip *m = NULL;
    if (by_file) {
        m = fx_golden(folder, 96, g->dtype);
    } else {
        fc_clip *own = fx_golden(folder, 64, g->dtype);
        FX_NEED(fc_clip_resized(&m, own, 96));
        fc_clip_destroy(&own);
    }
    void *planes = fc_alloc((size_t)input->count, fc_dtype_bytes(g->dtype));
    FX_NEED(g->dtype == FC_F64 ? fc_safetensors_read_f64(input, planes)
                               : fc_safetensors_read_f32(input, planes));
    fc_pixels pixels = {.size = 96, .count = {input->shape[0], 0}, .planes = planes};
    fc_tensor *cls, *dense;
    FX_NEED(fc_clip_vision(m, g->tape, &pixels, input->shape[0], input->shape[0], 0, &cls, &dense));
    FC_CHECK(cls == NULL);
    compare(g, "dense_features_96", dense);
    fc_free(&planes);
    fc_clip_destroy(&m);
}

static void check_model(const char *folder, fc_dtype dtype, bool record)
{
    char name[64];
    golden g = {.dtype = dtype, .tape = fc_tape_create(dtype)};
    snprintf(name, sizeof name, "%s/features.safetensors", folder);
    FX_NEED(fc_safetensors_open(&g.features, fc_check_golden(name)));
    snprintf(name, sizeof name, "%s/store.h5", folder);
    FX_NEED(fc_store_open(&g.store, fc_check_golden(name)));
    (void)fc_tape_record(g.tape, record);

    fc_clip *m = fx_golden(folder, 64, dtype);
    printf("%s\n", folder);
    check_pictures(&g, m);
    check_texts(&g, m);
    check_other_grid(&g, folder, record);
    fc_clip_destroy(&m);
    fc_store_close(&g.store);
    fc_safetensors_close(&g.features);
    fc_tape_destroy(&g.tape);
}

int main(void)
{
    check_model("eva_tiny", FC_F64, true);
    check_model("eva_tiny", FC_F32, false);
    check_model("clip_tiny", FC_F64, false);
    check_model("clip_tiny", FC_F32, true);
    return fc_check_end();
}
