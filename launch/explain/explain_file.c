/* Raw maps as HDF5, format "fineclip-maps" version 1.
 *
 * Root attributes: those of fc_trained_describe, `layers` (last | all), `phrase_as`
 * (text | token), `method`. A group a picture (/0, /1, ...) with attributes `source`, `width`,
 * `height`, `resize`; T texts, grid g x g:
 *   /N/picture (height,width,3) u8          the picture as it was read
 *   /N/text, kind, sentence [T]             sentence | phrase; the text a phrase is of, or -1
 *   /N/similarity [T] f64                   cosine of picture and text
 *   /N/relevance (T,g,g) f64                the class token's row of R over the patches
 *   /N/dense_similarity (T,g,g) f64         cosine of each patch's dense feature and the text
 *   /N/tokens, token_text, token_relevance  all texts' tokens one after another, of text i those in
 *   /N/token_offsets [T+1]                  [offsets[i], offsets[i+1]); NaN: a phrase of tokens */
#include "core/memory.h"
#include "launch/explain/explain_parts.h"
#include "launch/hdf5_output.h"

#include <math.h>
#include <stdio.h>

typedef struct page {
    const fci_h5_output *out;
    const fc_explain_picture *picture;
    const fc_explained *found;
    int index, grid;
} page;

static fc_status write(const page *p, const char *name, hid_t stored, hid_t type, int rank,
                       const hsize_t *dims, const void *values)
{
    char path[64];
    snprintf(path, sizeof path, "/%d/%s", p->index, name);
    return fci_h5_write(p->out, path, stored, type, rank, dims, values);
}

static fc_status write_strings(const page *p, const char *name, int64_t count,
                               const char *const *values)
{
    char path[64];
    snprintf(path, sizeof path, "/%d/%s", p->index, name);
    return fci_h5_write_strings(p->out, path, count, values);
}

static fc_status write_tokens(const page *p)
{
    const fc_explain_picture *x = p->picture;
    const hsize_t ends[1] = {(hsize_t)x->texts + 1};
    int64_t *offsets = fc_alloc((size_t)x->texts + 1, sizeof *offsets);
    for (int i = 0; i < x->texts; i++) {
        offsets[i + 1] = offsets[i] + x->text[i].count;
    }
    const size_t total = (size_t)offsets[x->texts];
    const hsize_t all[1] = {total};
    int32_t *ids = fc_alloc(total, sizeof *ids);
    double *relevance = fc_alloc(total, sizeof *relevance);
    const char **shown = fc_alloc(total, sizeof *shown);
    for (int i = 0; i < x->texts; i++) {
        for (int k = 0; k < x->text[i].count; k++) {
            ids[offsets[i] + k] = x->text[i].ids[k];
            shown[offsets[i] + k] = x->text[i].shown[k];
            relevance[offsets[i] + k] = p->found->tokens[i] != NULL ? p->found->tokens[i][k] : NAN;
        }
    }
    fc_status status;
    FC_TRY_GOTO(status,
                write(p, "token_offsets", H5T_STD_I64LE, H5T_NATIVE_INT64, 1, ends, offsets), done);
    FC_TRY_GOTO(status, write(p, "tokens", H5T_STD_I32LE, H5T_NATIVE_INT32, 1, all, ids), done);
    FC_TRY_GOTO(status, write_strings(p, "token_text", (int64_t)total, shown), done);
    FC_TRY_GOTO(status,
                write(p, "token_relevance", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 1, all, relevance),
                done);
done:
    fc_free(&offsets);
    fc_free(&ids);
    fc_free(&relevance);
    fc_free(&shown);
    return status;
}

static fc_status write_texts(const page *p)
{
    const int n = p->picture->texts;
    const hsize_t texts[1] = {(hsize_t)n};
    const char **text = fc_alloc((size_t)n, sizeof *text),
               **kind = fc_alloc((size_t)n, sizeof *kind);
    int32_t *sentence = fc_alloc((size_t)n, sizeof *sentence);
    for (int i = 0; i < n; i++) {
        text[i] = p->picture->text[i].text;
        kind[i] = p->picture->text[i].phrase ? "phrase" : "sentence";
        sentence[i] = p->picture->text[i].sentence;
    }
    fc_status status;
    FC_TRY_GOTO(status, write_strings(p, "text", n, text), done);
    FC_TRY_GOTO(status, write_strings(p, "kind", n, kind), done);
    FC_TRY_GOTO(status, write(p, "sentence", H5T_STD_I32LE, H5T_NATIVE_INT32, 1, texts, sentence),
                done);
done:
    fc_free(&text);
    fc_free(&kind);
    fc_free(&sentence);
    return status;
}

static fc_status describe_picture(const page *p)
{
    char path[32];
    snprintf(path, sizeof path, "/%d", p->index);
    hid_t group = H5Gopen2(p->out->file, path, H5P_DEFAULT);
    FC_H5(group, FC_RUNTIME, "%s:%s cannot be opened", p->out->partial, path);
    fc_status status;
    FC_TRY_GOTO(status, fci_h5_set_string(group, path, "source", p->picture->source), done);
    FC_TRY_GOTO(status, fci_h5_set_int(group, path, "width", p->picture->picture.width), done);
    FC_TRY_GOTO(status, fci_h5_set_int(group, path, "height", p->picture->picture.height), done);
    FC_TRY_GOTO(status, fci_h5_set_string(group, path, "resize", "squash"), done);
done:
    H5Gclose(group);
    return status;
}

static fc_status write_picture(const page *p)
{
    const fc_explain_picture *x = p->picture;
    const hsize_t texts[1] = {(hsize_t)x->texts};
    const hsize_t maps[3] = {(hsize_t)x->texts, (hsize_t)p->grid, (hsize_t)p->grid};
    const hsize_t pixels[3] = {(hsize_t)x->picture.height, (hsize_t)x->picture.width, 3};
    FC_TRY(write(p, "picture", H5T_STD_U8LE, H5T_NATIVE_UINT8, 3, pixels, x->picture.rgb));
    FC_TRY(describe_picture(p));
    FC_TRY(write_texts(p));
    FC_TRY(
        write(p, "similarity", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 1, texts, p->found->similarity));
    FC_TRY(write(p, "relevance", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 3, maps, p->found->relevance));
    FC_TRY(
        write(p, "dense_similarity", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 3, maps, p->found->dense));
    return write_tokens(p);
}

static fc_status write_all(const fci_h5_output *out, const fc_trained *t,
                           const fc_explain_request *r, const fc_explained *e,
                           const fc_explain_options *o)
{
    const struct {
        const char *name, *value;
    } texts[] = {{"format", "fineclip-maps"},
                 {"layers", o->all_layers ? "all" : "last"},
                 {"phrase_as", o->phrase_as == FC_PHRASE_AS_TOKEN ? "token" : "text"},
                 {"method",
                  "relevance: GAE (Chefer et al. 2021), y = exp(logit_scale) cosine; E = mean over "
                  "heads of max(0, A dy/dA), R = (I + E_last) ... (I + E_first); row of the class "
                  "token, of the end token divided by its sum. dense_similarity: cosine of "
                  "value-only last-block features"}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        FC_TRY(fci_h5_set_string(out->file, out->partial, texts[i].name, texts[i].value));
    }
    FC_TRY(fci_h5_set_int(out->file, out->partial, "version", 1));
    FC_TRY(fci_h5_set_int(out->file, out->partial, "pictures", r->pictures));
    FC_TRY(fc_trained_describe(t, out->file, out->partial));
    for (int i = 0; i < r->pictures; i++) {
        const page p = {out, &r->picture[i], &e[i], i, t->model->grid};
        FC_TRY(write_picture(&p));
    }
    return FC_OK;
}

fc_status fc_explain_file(const char *path, const fc_trained *t, const fc_explain_request *r,
                          const fc_explained *e, const fc_explain_options *options)
{
    fci_h5_output out;
    FC_TRY(fci_h5_output_begin(&out, path));
    fci_h5_lock();
    fc_status status = write_all(&out, t, r, e, options);
    fci_h5_unlock();
    if (status == FC_OK) {
        status = fci_h5_output_commit(&out);
    }
    fci_h5_output_abandon(&out);
    return status;
}
