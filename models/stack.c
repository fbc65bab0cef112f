/* Running a stack of blocks: one segment a block while recording; otherwise halves within halves,
 * so that of L blocks about log2 L results are alive at a time. */
#include "models/clip_parts.h"

#include <string.h>

typedef struct span {
    const fc_clip *m;
    fci_block_fn fn;
    const fc_attention_spec *spec;
    int first, count;
} span;

static span *part_of(fc_tape *tape, const span *s, int first, int count)
{
    span *part = fc_tape_alloc(tape, sizeof *part);
    *part = *s;
    part->first = first;
    part->count = count;
    return part;
}

static fc_tensor *run_span(fc_tape *tape, void *ctx, fc_tensor *x)
{
    const span *s = ctx;
    if (s->count == 1) {
        return s->fn(s->m, tape, s->first, x, s->spec);
    }
    int half = s->count / 2;
    x = fc_segment(tape, run_span, part_of(tape, s, s->first, half), x, false);
    return fc_segment(tape, run_span, part_of(tape, s, s->first + half, s->count - half), x, false);
}

static const int64_t *copy_offsets(fc_tape *tape, const int64_t *offsets, int64_t count)
{
    size_t bytes = (size_t)(count + 1) * sizeof *offsets;
    return memcpy(fc_tape_alloc(tape, bytes), offsets, bytes);
}

fc_tensor *fci_run_blocks(const fc_clip *m, fc_tape *tape, fci_block_fn fn, int count,
                          const fc_attention_spec *spec, fc_tensor *x, int recompute)
{
    if (count == 0) {
        return x;
    }
    fc_attention_spec *kept = fc_tape_alloc(tape, sizeof *kept);
    *kept = *spec;
    kept->q_offsets = copy_offsets(tape, spec->q_offsets, spec->sequences);
    kept->k_offsets = NULL;
    span whole = {m, fn, kept, 0, count};
    if (!fc_tape_recording(tape)) {
        return fc_segment(tape, run_span, &whole, x, false);
    }
    for (int l = 0; l < count; l++) {
        x = fc_segment(tape, run_span, part_of(tape, &whole, l, 1), x, l < recompute);
    }
    return x;
}

int64_t *fci_even_offsets(fc_tape *tape, int64_t count, int64_t step)
{
    int64_t *offsets = fc_tape_alloc(tape, (size_t)(count + 1) * sizeof *offsets);
    for (int64_t i = 0; i <= count; i++) {
        offsets[i] = i * step;
    }
    return offsets;
}
