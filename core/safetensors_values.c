/* Element values of a safetensors tensor as float or double. The bytes may be unaligned, so each
 * element is copied out before it is looked at. */
#include "core/safetensors.h"

#include <string.h>

/* Every half-precision number, subnormals included, is exact in float. */
static float half_to_float(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, fraction = h & 1023;
    uint32_t bits;
    float value;
    if (exponent == 0) {
        value = (float)fraction * 0x1p-24F;
        return sign != 0 ? -value : value;
    }
    if (exponent == 31) {
        bits = sign | 0x7f800000U | fraction << 13;
    } else {
        bits = sign | (exponent + 112) << 23 | fraction << 13;
    }
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float bfloat_to_float(uint16_t b)
{
    uint32_t bits = (uint32_t)b << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static fc_status not_real(const fc_st_tensor *t)
{
    return FC_FAIL(FC_DATA, "tensor '%s' is of dtype %s; want F64, F32, F16 or BF16", t->name,
                   fc_st_dtype_name(t->dtype));
}

/* One loop a type: `real` is float or double. */
#define READ_ELEMENTS(real, t, out)                                                                \
    do {                                                                                           \
        const char *from_ = (t)->data;                                                             \
        for (int64_t i_ = 0; i_ < (t)->count; i_++) {                                              \
            double f64_;                                                                           \
            float f32_;                                                                            \
            uint16_t bits_;                                                                        \
            switch ((t)->dtype) {                                                                  \
            case FC_ST_F64:                                                                        \
                memcpy(&f64_, from_ + 8 * i_, 8);                                                  \
                (out)[i_] = (real)f64_;                                                            \
                break;                                                                             \
            case FC_ST_F32:                                                                        \
                memcpy(&f32_, from_ + 4 * i_, 4);                                                  \
                (out)[i_] = (real)f32_;                                                            \
                break;                                                                             \
            case FC_ST_F16:                                                                        \
                memcpy(&bits_, from_ + 2 * i_, 2);                                                 \
                (out)[i_] = (real)half_to_float(bits_);                                            \
                break;                                                                             \
            case FC_ST_BF16:                                                                       \
                memcpy(&bits_, from_ + 2 * i_, 2);                                                 \
                (out)[i_] = (real)bfloat_to_float(bits_);                                          \
                break;                                                                             \
            case FC_ST_I64:                                                                        \
            case FC_ST_I32:                                                                        \
            case FC_ST_U8:                                                                         \
                return not_real(t);                                                                \
            }                                                                                      \
        }                                                                                          \
    } while (0)

fc_status fc_safetensors_read_f32(const fc_st_tensor *t, float *out)
{
    if (t->dtype == FC_ST_F32 && t->count > 0) {
        memcpy(out, t->data, (size_t)t->count * sizeof *out);
        return FC_OK;
    }
    READ_ELEMENTS(float, t, out);
    return FC_OK;
}

fc_status fc_safetensors_read_f64(const fc_st_tensor *t, double *out)
{
    READ_ELEMENTS(double, t, out);
    return FC_OK;
}
