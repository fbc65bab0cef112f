#include "launch/inspect/inspect_histogram.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { LABEL = 8, BAR = 7, COLUMN = 23, MOST = 8 };

void fci_histogram_add(fci_histogram *h, int64_t value)
{
    int bucket = 0;
    while (bucket < h->buckets - 1 && value > h->top[bucket]) {
        bucket++;
    }
    h->count[bucket]++;
}

/* Buckets [*first, *end) hold all values. */
static int64_t range(const fci_histogram *h, int *first, int *end)
{
    int64_t sum = 0;
    *first = *end = 0;
    for (int b = 0; b < h->buckets; b++) {
        if (h->count[b] > 0) {
            *first = sum == 0 ? b : *first;
            *end = b + 1;
            sum += h->count[b];
        }
    }
    return sum;
}

static void label(const fci_histogram *h, int b, char *text, size_t bytes)
{
    int64_t low = b == 0 ? 0 : h->top[b - 1] + 1;
    if (b == h->buckets - 1) {
        snprintf(text, bytes, "%lld+", (long long)low);
    } else if (low == h->top[b]) {
        snprintf(text, bytes, "%lld", (long long)low);
    } else {
        snprintf(text, bytes, "%lld-%lld", (long long)low, (long long)h->top[b]);
    }
}

/* "   33-64 #######  12.3%" */
static void row(const fci_histogram *h, int b, int64_t sum, char *text, size_t bytes)
{
    char name[48], bar[BAR + 1];
    int64_t most = 1;
    for (int i = 0; i < h->buckets; i++) {
        most = h->count[i] > most ? h->count[i] : most;
    }
    int cells = (int)((h->count[b] * BAR + most - 1) / most);
    memset(bar, '#', (size_t)cells);
    bar[cells] = '\0';
    label(h, b, name, sizeof name);
    double percent = 100.0 * (double)h->count[b] / (double)sum;
    snprintf(text, bytes, "%*s %-*s%6.*f%%", LABEL, name, BAR, bar,
             percent > 0 && percent < 0.1 ? 2 : 1, percent);
}

void fci_histograms_print(const fci_histogram *h, int count)
{
    const fci_histogram *shown[MOST];
    int first[MOST], end[MOST], n = 0, rows = 0;
    int64_t sum[MOST];
    for (int i = 0; i < count && n < MOST; i++) {
        sum[n] = range(&h[i], &first[n], &end[n]);
        if (sum[n] > 0) {
            rows = end[n] - first[n] > rows ? end[n] - first[n] : rows;
            shown[n++] = &h[i];
        }
    }
    for (int r = -1; r < rows && n > 0; r++) {
        char line[MOST * (COLUMN + 64)] = "";
        size_t used = 0;
        for (int i = 0; i < n; i++) {
            char cell[96] = "";
            if (r < 0) {
                snprintf(cell, sizeof cell, "%*s", COLUMN - 1, shown[i]->title);
            } else if (first[i] + r < end[i]) {
                row(shown[i], first[i] + r, sum[i], cell, sizeof cell);
            }
            used += (size_t)snprintf(line + used, sizeof line - used, "%-*s  ", COLUMN, cell);
        }
        while (used > 0 && line[used - 1] == ' ') {
            line[--used] = '\0';
        }
        printf("%s\n", line);
    }
}
