/* The checksum fineclip puts into the metadata of the safetensors files it writes. It is a sum of
 * the CRC-32 of every item, so that it does not depend on their order. */
#include "core/safetensors.h"

#include <stdio.h>
#include <string.h>

#include <zlib.h>

static uint32_t text_pair(const char *key, const char *value)
{
    uLong sum = crc32_z(crc32_z(0, NULL, 0), (const Bytef *)key, strlen(key) + 1);
    return (uint32_t)crc32_z(sum, (const Bytef *)value, strlen(value) + 1);
}

static uint32_t tensor_sum(const fc_st_tensor *t)
{
    const char *type = fc_st_dtype_name(t->dtype);
    uLong sum = text_pair(t->name, type);
    sum = crc32_z(sum, (const Bytef *)t->shape, (size_t)t->ndim * sizeof t->shape[0]);
    return (uint32_t)crc32_z(sum, t->data, (size_t)t->count * (size_t)fc_st_dtype_bytes(t->dtype));
}

void fci_safetensors_sum(char text[FC_ST_SUM_BYTES], int count, const fc_st_tensor *tensors,
                         const char *const *metadata)
{
    uint32_t sum = 0;
    for (int i = 0; metadata != NULL && metadata[i] != NULL; i += 2) {
        if (strcmp(metadata[i], FC_ST_SUM_KEY) != 0) {
            sum += text_pair(metadata[i], metadata[i + 1]);
        }
    }
    for (int i = 0; i < count; i++) {
        sum += tensor_sum(&tensors[i]);
    }
    snprintf(text, FC_ST_SUM_BYTES, "%08lx", (unsigned long)sum);
}

fc_status fc_safetensors_verify(const fc_safetensors *st)
{
    const char *said = fc_safetensors_metadata(st, FC_ST_SUM_KEY);
    char found[FC_ST_SUM_BYTES];
    if (said == NULL) {
        return FC_OK;
    }
    fci_safetensors_sum(found, st->count, st->tensors, (const char *const *)st->metadata);
    if (strcmp(said, found) != 0) {
        return FC_FAIL(FC_DATA,
                       "%s: damaged: its checksum is %s, its content's is %s (a program that "
                       "changed it on purpose has to leave out the metadata's %s)",
                       st->path, said, found, FC_ST_SUM_KEY);
    }
    return FC_OK;
}
