/* Parameters of a model in one flat array of a backend's memory, their gradients in another. On
 * bf16 tapes these are the float masters; what tensors show is a copy in bf16 beside them, but for
 * the parameters that stay wide.
 *
 * Parameters that were added one after another lie side by side, so a view over several of them is
 * one matrix: q, k and v weights are one product, w1 and w2 another. A parameter that got no
 * gradient in a step (touched == false) is not updated at all, not even decayed (METHOD.md section
 * 6). */
#ifndef FC_CORE_PARAM_H
#define FC_CORE_PARAM_H

#include "core/backend.h"

typedef struct fc_param {
    char *name; /* as in the weights file; NULL: filler inside a view, never saved, never trained */
    int ndim;
    int64_t shape[4];
    int64_t offset, count; /* elements into data */
    int64_t grad_offset;   /* elements into grad; -1: frozen */
    bool trainable, decay;
    bool wide;          /* tensors show the master where the tape is bf16 */
    double least, most; /* updates keep values within */
    bool touched;       /* a gradient reached it since fc_params_zero_grad */
    int pending;        /* recorded uses whose backward has not run yet */
} fc_param;

typedef struct fc_params {
    const fc_backend *backend;
    fc_dtype dtype;   /* of data and grad: the wide type of the tape's */
    fc_dtype compute; /* the tape's */
    int count, capacity;
    fc_param *items;
    int64_t total, grad_total;
    void *data, *grad;
    void *working;     /* data as bf16, element by element, where compute is; else NULL */
    fc_tensor **views; /* owned by the set */
    int view_count;
    /* Called in backward when the last recorded use of a parameter is done; NULL: nobody waits. */
    void (*on_ready)(void *ctx, int param);
    void *on_ready_ctx;
} fc_params;

/** On the CPU. */
fc_params *fc_params_create(fc_dtype dtype);
/** For tapes of type `compute` on this backend. */
fc_params *fc_params_create_on(const fc_backend *backend, fc_dtype compute);
void fc_params_destroy(fc_params **p);
/** Append one parameter; name is copied. Returns its index. Decay follows METHOD.md section 6: ndim
 * >= 2 and none of bn, ln, bias, logit_scale in the name. Trainable until frozen. */
int fc_params_add(fc_params *p, const char *name, int ndim, const int64_t *shape);
/** Append `count` zeros that belong to no parameter (eva02's absent key bias). */
int fc_params_add_filler(fc_params *p, int64_t count);
/** Tensors over this parameter are float also where the tape is bf16 (core/cuda/cuda.h says which
 * must be). Before fc_params_commit. */
void fc_params_keep_wide(fc_params *p, int param);
/** Updates leave values within [least, most]; without this, wherever they go. */
void fc_params_bound(fc_params *p, int param, double least, double most);
/** No gradient, no update for parameters whose name starts with prefix; returns how many. Before
 * fc_params_commit. */
int fc_params_freeze(fc_params *p, int first, int count);
/** Allocate data (zeros) and gradients of what is trained. No parameter can be added afterwards. */
void fc_params_commit(fc_params *p);
/** A tensor over parameters [first, first+count) seen as (rows, cols); rows*cols is their total
 * count. rows 0: a vector of cols. Usable before commit (data is filled in by it). Lives as long as
 * the set. */
fc_tensor *fc_params_view(fc_params *p, int first, int count, int64_t rows, int64_t cols);
/** A view of rows [row, row+rows) of one matrix parameter. */
fc_tensor *fc_params_rows(fc_params *p, int param, int64_t row, int64_t rows);
int fc_params_find(const fc_params *p, const char *name); /* -1: none */
/** Addresses in the backend's memory. */
void *fc_param_data(const fc_params *p, int i);
void *fc_param_grad(const fc_params *p, int i); /* NULL: frozen */
void fc_params_zero_grad(fc_params *p);
/** Elements of real parameters (fillers left out); of those that are trained. */
int64_t fc_params_size(const fc_params *p);
int64_t fc_params_trained_size(const fc_params *p);
/** Copy a parameter, or its gradient, to an array of the process, values of p->dtype; waits. */
void fc_param_read(const fc_params *p, int i, void *out);
void fc_param_read_grad(const fc_params *p, int i, void *out);
/** Values of p->dtype into a parameter, master and working copy. */
void fc_param_write(fc_params *p, int i, const void *in);
/** All values, where the process can read them: the set's own array where it can, else a copy that
 * *owned holds (fc_free). */
const void *fc_params_on_host(const fc_params *p, void **owned);
/** All values out of an array of the process that is laid out as data is. */
void fc_params_write(fc_params *p, const void *in);
/** Copy a parameter out of / into host doubles or floats whatever the set's type. */
void fc_param_get_f32(const fc_params *p, int i, float *out);
void fc_param_set_f32(fc_params *p, int i, const float *in);
void fc_param_set_f64(fc_params *p, int i, const double *in);

#endif
