/* Weights files: names and shapes as published, bit for bit round trips, timm's names, resized
 * position tables, and errors that list what does not fit. */
#include "core/safetensors.h"
#include "models/clip_parts.h"
#include "tests/models/fixture.h"

static bool is_rope(const char *name)
{
    return strstr(name, "rope.freqs_") != NULL;
}

/* Load and save gives every tensor of the golden file, and no other, with the same shape and bytes
 * (rotary tables, which are computed, to rounding). */
static void check_round_trip(const char *folder, fc_dtype dtype)
{
    char name[64];
    snprintf(name, sizeof name, "%s/init.safetensors", folder);
    fc_clip *m = fx_golden(folder, 64, dtype);
    const char *path = fc_check_temp("round_trip.safetensors");
    const char *metadata[] = {"made_by", "test", NULL};
    FX_NEED(fc_clip_save(m, path, metadata));
    fc_safetensors *want, *have;
    FX_NEED(fc_safetensors_open(&want, fc_check_golden(name)));
    FX_NEED(fc_safetensors_open(&have, path));
    FC_CHECK_INT(have->count, want->count);
    FC_CHECK_STR(fc_safetensors_metadata(have, "made_by"), "test");
    for (int i = 0; i < want->count; i++) {
        const fc_st_tensor *a = &want->tensors[i], *b = fc_safetensors_find(have, a->name);
        if (!fc_check_true(b != NULL, __FILE__, __LINE__, "%s is not written", a->name)) {
            continue;
        }
        FC_CHECK_INT(b->dtype, FC_ST_F32);
        FC_CHECK_INT(b->ndim, a->ndim);
        for (int k = 0; k < a->ndim; k++) {
            FC_CHECK_INT(b->shape[k], a->shape[k]);
        }
        if (is_rope(a->name)) {
            double x[1024], y[1024];
            FX_NEED(fc_safetensors_read_f64(a, x));
            FX_NEED(fc_safetensors_read_f64(b, y));
            FC_CHECK_NEAR(fc_check_max_abs(x, y, a->count), 0, 2e-6);
        } else {
            fc_check_true(memcmp(a->data, b->data, (size_t)a->count * sizeof(float)) == 0, __FILE__,
                          __LINE__, "%s changed", a->name);
        }
    }
    fc_safetensors_close(&want);
    fc_safetensors_close(&have);
    fc_clip_destroy(&m);
}

/* A copy of a golden file that can be changed. */
typedef struct edit {
    fc_safetensors *from;
    fc_st_tensor tensors[256];
    int count;
} edit;

static void edit_open(edit *e, const char *folder)
{
    char name[64];
    snprintf(name, sizeof name, "%s/init.safetensors", folder);
    FX_NEED(fc_safetensors_open(&e->from, fc_check_golden(name)));
    e->count = e->from->count;
    memcpy(e->tensors, e->from->tensors, (size_t)e->count * sizeof e->tensors[0]);
}

static fc_st_tensor *edit_find(edit *e, const char *name)
{
    for (int i = 0; i < e->count; i++) {
        if (strcmp(e->tensors[i].name, name) == 0) {
            return &e->tensors[i];
        }
    }
    FC_CHECK(false);
    exit(fc_check_end());
}

static const char *edit_write(edit *e)
{
    const char *path = fc_check_temp("edited.safetensors");
    FX_NEED(fc_safetensors_write(path, e->count, e->tensors, NULL));
    fc_safetensors_close(&e->from);
    return path;
}

static void check_same_values(const fc_clip *a, const fc_clip *b)
{
    FC_CHECK_INT(a->params->count, b->params->count);
    FC_CHECK(memcmp(a->params->data, b->params->data,
                    (size_t)a->params->total * fc_dtype_bytes(a->params->dtype)) == 0);
}

/* The file as open_clip's timm-based EVA02 has it: other names, no rotary tables. */
static void check_timm(void)
{
    static const char *const renamed[][2] = {
        {"attn.q_bias", "attn.q_proj.bias"},
        {"attn.v_bias", "attn.v_proj.bias"},
        {"attn.inner_attn_ln.weight", "attn.norm.weight"},
        {"attn.inner_attn_ln.bias", "attn.norm.bias"},
        {"mlp.w1.weight", "mlp.fc1_g.weight"},
        {"mlp.w1.bias", "mlp.fc1_g.bias"},
        {"mlp.w2.weight", "mlp.fc1_x.weight"},
        {"mlp.w2.bias", "mlp.fc1_x.bias"},
        {"mlp.ffn_ln.weight", "mlp.norm.weight"},
        {"mlp.ffn_ln.bias", "mlp.norm.bias"},
        {"mlp.w3.weight", "mlp.fc2.weight"},
        {"mlp.w3.bias", "mlp.fc2.bias"},
    };
    static char names[256][96];
    edit e;
    edit_open(&e, "eva_tiny");
    int kept = 0;
    for (int i = 0; i < e.count; i++) {
        const char *name = e.tensors[i].name;
        if (is_rope(name)) {
            continue;
        }
        if (strncmp(name, "visual.", 7) == 0) {
            snprintf(names[kept], sizeof names[kept], "visual.trunk.%s", name + 7);
            for (size_t k = 0; k < sizeof renamed / sizeof renamed[0]; k++) {
                char *at = strstr(names[kept], renamed[k][0]);
                if (at != NULL && strlen(at) == strlen(renamed[k][0])) {
                    snprintf(at, sizeof names[kept] - (size_t)(at - names[kept]), "%s",
                             renamed[k][1]);
                    break;
                }
            }
        } else {
            snprintf(names[kept], sizeof names[kept], "%s", name);
        }
        e.tensors[kept] = e.tensors[i];
        e.tensors[kept].name = names[kept];
        kept++;
    }
    e.count = kept;
    const char *path = edit_write(&e);
    fc_clip *own = fx_golden("eva_tiny", 64, FC_F32), *timm = NULL;
    FX_NEED(fc_clip_create(&timm, &own->config, 64, FC_F32, 0));
    FC_CHECK_OK(fc_clip_load(timm, path));
    check_same_values(own, timm);
    fc_clip_destroy(&own);
    fc_clip_destroy(&timm);
}

static void check_errors(void)
{
    fc_clip *m = fx_golden("eva_tiny", 64, FC_F32), *same = fx_golden("eva_tiny", 64, FC_F32);
    edit e;
    edit_open(&e, "eva_tiny");
    edit_find(&e, "visual.norm.bias")->name = "visual.norm.bais";
    const char *path = edit_write(&e);
    FC_CHECK_FAILS(fc_clip_load(m, path), FC_DATA, "missing visual.norm.bias");
    FC_CHECK_FAILS(fc_clip_load(m, path), FC_DATA, "unknown visual.norm.bais");
    FC_CHECK_FAILS(fc_clip_load(m, path), FC_DATA, "2 tensors do not fit");

    edit_open(&e, "eva_tiny");
    fc_st_tensor *head = edit_find(&e, "visual.head.weight");
    head->shape[0] = 64;
    head->shape[1] = 48;
    edit_find(&e, "text.ln_final.bias")->dtype = FC_ST_I32;
    path = edit_write(&e);
    FC_CHECK_FAILS(fc_clip_load(m, path), FC_DATA,
                   "visual.head.weight is [64,48], the model has [48,64]");
    FC_CHECK_FAILS(fc_clip_load(m, path), FC_DATA, "text.ln_final.bias is of type I32");

    FC_CHECK_FAILS(fc_clip_load(m, fc_check_golden("clip_tiny/init.safetensors")), FC_DATA, "more");
    FC_CHECK_FAILS(fc_clip_load(m, fc_check_golden("none.safetensors")), FC_NOINPUT, "none");
    check_same_values(m, same);

    /* Buffers of published files are read over. */
    static const float mask[4] = {0};
    edit_open(&e, "eva_tiny");
    e.tensors[e.count++] = (fc_st_tensor){.name = "text.attn_mask",
                                          .dtype = FC_ST_F32,
                                          .ndim = 2,
                                          .shape = {2, 2},
                                          .count = 4,
                                          .data = mask};
    fc_clip_init(m, 1);
    FC_CHECK_OK(fc_clip_load(m, edit_write(&e)));
    check_same_values(m, same);
    fc_clip_destroy(&m);
    fc_clip_destroy(&same);
}

/* Loading at another size resizes the positions and nothing else; the file saved there has that
 * grid, and fits a model of its own size alone. */
static void check_other_size(const char *folder)
{
    fc_clip *own = fx_golden(folder, 64, FC_F32), *large = fx_golden(folder, 96, FC_F32);
    fc_clip *resized = NULL, *again = NULL, *back = NULL;
    FX_NEED(fc_clip_resized(&resized, own, 96));
    check_same_values(large, resized);
    int at = fc_params_find(own->params, fci_vision_positions(&own->config));
    FC_CHECK_INT(own->params->items[at].count, 17 * 64);
    FC_CHECK_INT(large->params->items[at].count, 37 * 64);
    double small[17 * 64], want[37 * 64], have[37 * 64];
    for (int i = 0; i < 17 * 64; i++) {
        small[i] = (double)((const float *)fc_param_data(own->params, at))[i];
    }
    for (int i = 0; i < 37 * 64; i++) {
        have[i] = (double)((const float *)fc_param_data(large->params, at))[i];
    }
    fci_positions_resize(small, 4, want, 6, 64);
    FC_CHECK_NEAR(fc_check_max_abs(have, want, 37 * 64), 0, 1e-6);

    const char *path = fc_check_temp("large.safetensors");
    FX_NEED(fc_clip_save(large, path, NULL));
    FX_NEED(fc_clip_create(&again, &own->config, 96, FC_F32, 0));
    FC_CHECK_OK(fc_clip_load(again, path));
    check_same_values(large, again);
    FX_NEED(fc_clip_create(&back, &own->config, 64, FC_F32, 0));
    FC_CHECK_FAILS(fc_clip_load(back, path), FC_DATA, "37,64], the model has [");
    fc_clip_destroy(&own);
    fc_clip_destroy(&large);
    fc_clip_destroy(&resized);
    fc_clip_destroy(&again);
    fc_clip_destroy(&back);
}

int main(void)
{
    check_round_trip("eva_tiny", FC_F32);
    check_round_trip("eva_tiny_text", FC_F64);
    check_round_trip("clip_tiny", FC_F32);
    check_timm();
    check_errors();
    check_other_size("eva_tiny");
    check_other_size("clip_tiny");
    return fc_check_end();
}
