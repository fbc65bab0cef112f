/* Safetensors files: named tensors, fp32/fp16/bf16 in, fp32 (or any bytes) out. */
#ifndef FC_CORE_SAFETENSORS_H
#define FC_CORE_SAFETENSORS_H

#include "core/status.h"

#include <stdint.h>

typedef enum {
    FC_ST_F64,
    FC_ST_F32,
    FC_ST_F16,
    FC_ST_BF16,
    FC_ST_I64,
    FC_ST_I32,
    FC_ST_U8
} fc_st_dtype;

typedef struct fc_st_tensor {
    const char *name;
    fc_st_dtype dtype;
    int ndim; /* 0..8 */
    int64_t shape[8];
    int64_t count; /* product of shape; 1 for ndim 0 */
    const void
        *data; /* into the mapped file when reading, the caller's when writing; may be unaligned */
} fc_st_tensor;

typedef struct fc_safetensors {
    char *path;
    int count;
    fc_st_tensor *tensors; /* in file order */
    int metadata_count;
    char **metadata; /* key, value, key, value, ..., NULL; NULL: none */
    void *map;
    size_t map_bytes;
    void *names;
} fc_safetensors;

/** Map a file and check its header completely: sizes, offsets without gaps or overlaps or beyond
 * the end, known dtypes, no duplicate names. FC_NOINPUT or FC_DATA, naming the file and the tensor.
 */
FC_NODISCARD fc_status fc_safetensors_open(fc_safetensors **out, const char *path);
void fc_safetensors_close(fc_safetensors **st);
/** By name; NULL if absent. */
const fc_st_tensor *fc_safetensors_find(const fc_safetensors *st, const char *name);
const char *fc_safetensors_metadata(const fc_safetensors *st, const char *key);
/** Element values as float / double (F64, F32, F16, BF16 only); out has room for t->count. */
FC_NODISCARD fc_status fc_safetensors_read_f32(const fc_st_tensor *t, float *out);
FC_NODISCARD fc_status fc_safetensors_read_f64(const fc_st_tensor *t, double *out);

/** What fc_safetensors_write puts beside the caller's metadata. */
#define FC_ST_SUM_KEY "content_crc32"
enum { FC_ST_SUM_BYTES = 16 };
/** The checksum of the content agrees with the file's own, or there is none. Reads everything.
 * FC_DATA: damaged. */
FC_NODISCARD fc_status fc_safetensors_verify(const fc_safetensors *st);
void fci_safetensors_sum(char text[FC_ST_SUM_BYTES], int count, const fc_st_tensor *tensors,
                         const char *const *metadata);

/** Write a file as PATH.partial, fsync, rename. metadata: key, value, ... NULL (may be NULL); a
 * checksum of it and of all tensors is added. */
FC_NODISCARD fc_status fc_safetensors_write(const char *path, int count,
                                            const fc_st_tensor *tensors,
                                            const char *const *metadata);
int fc_st_dtype_bytes(fc_st_dtype dtype);
/** "F32" and so on; static. */
const char *fc_st_dtype_name(fc_st_dtype dtype);

#endif
