/* Numbers and series as people read them. */
#include "core/memory.h"
#include "launch/inspect/inspect.h"
#include "launch/table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BUFFERS = 8, BUFFER = 64, LEVELS = 8 };

static char *turn(void)
{
    static char buffers[BUFFERS][BUFFER];
    static int next;
    next = (next + 1) % BUFFERS;
    return buffers[next];
}

const char *fci_text_count(int64_t count)
{
    char digits[32], *out = turn(), *to = out;
    snprintf(digits, sizeof digits, "%lld", (long long)count);
    size_t length = strlen(digits);
    for (size_t i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0 && digits[i - 1] != '-') {
            *to++ = ',';
        }
        *to++ = digits[i];
    }
    *to = '\0';
    return out;
}

const char *fci_text_bytes(int64_t bytes)
{
    const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    char *out = turn();
    double value = (double)bytes;
    int unit = 0;
    for (; value >= 1024 && unit < 6; unit++) {
        value /= 1024;
    }
    snprintf(out, BUFFER, "%.*f %s", unit == 0 || value >= 100 ? 0 : 1, value, units[unit]);
    return out;
}

/* Mean of what is finite in values[first, last); NaN where nothing is. */
static double mean_of(const double *values, int64_t first, int64_t last)
{
    double sum = 0;
    int64_t n = 0;
    for (int64_t i = first; i < last; i++) {
        if (isfinite(values[i])) {
            sum += values[i];
            n++;
        }
    }
    return n > 0 ? sum / (double)n : NAN;
}

char *fci_text_sparkline(const double *values, int64_t count, int columns)
{
    /* U+2581 to U+2588, or letters that grow darker. */
    const char *const blocks[LEVELS] = {"\xe2\x96\x81", "\xe2\x96\x82", "\xe2\x96\x83",
                                        "\xe2\x96\x84", "\xe2\x96\x85", "\xe2\x96\x86",
                                        "\xe2\x96\x87", "\xe2\x96\x88"};
    const char *const letters[LEVELS] = {"_", ".", "-", "~", "=", "+", "*", "#"};
    const char *const *level = fc_text_utf8() ? blocks : letters;
    int64_t cells = count < columns ? count : columns;
    double *means = fc_alloc((size_t)cells, sizeof *means), low = INFINITY, high = -INFINITY;
    for (int64_t c = 0; c < cells; c++) {
        means[c] = mean_of(values, c * count / cells, (c + 1) * count / cells);
        if (!isnan(means[c])) {
            low = fmin(low, means[c]);
            high = fmax(high, means[c]);
        }
    }
    char *text = fc_alloc((size_t)cells * 3 + 1, 1), *to = text;
    for (int64_t c = 0; c < cells; c++) {
        const char *mark = " ";
        if (!isnan(means[c])) {
            double place = high > low ? (means[c] - low) / (high - low) : 0;
            int at = (int)(place * LEVELS);
            mark = level[at < LEVELS ? at : LEVELS - 1];
        }
        size_t bytes = strlen(mark);
        memcpy(to, mark, bytes);
        to += bytes;
    }
    fc_free(&means);
    return text;
}

char *fci_text_clipped(const char *text, int columns)
{
    char *out = fc_strdup(text);
    bool longer = fc_text_width(text) > columns;
    int column = 0;
    for (char *at = out; *at != '\0'; at++) {
        if (((unsigned char)*at & 0xc0) != 0x80 && longer && column++ == columns - 3) {
            *at = '\0';
            char *cut = fc_format("%s...", out);
            fc_free(&out);
            return cut;
        }
        if ((unsigned char)*at < 32 || *at == 127) {
            *at = ' ';
        }
    }
    return out;
}
