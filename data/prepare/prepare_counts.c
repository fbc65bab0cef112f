#include "data/prepare/prepare_counts.h"

#include "core/log.h"
#include "core/memory.h"

#include <stdio.h>

typedef enum { PICTURES, FILES, CAPTIONS, REGIONS, REGION_CAPTIONS, TEXTS, CROPS, LINES } line_name;
typedef enum { TOTAL, NOTE, DROPPED } role;

static const char *const line_words[LINES] = {"pictures",        "files", "captions", "regions",
                                              "region captions", "texts", "crops"};

static const struct {
    const char *word, *text;
    line_name line;
    role role;
} table[FCI_COUNTS] = {
#define FC_COUNT(name, line, role, text) {#name, text, line, role},
#include "data/prepare/prepare_counts.def"
#undef FC_COUNT
};

void fci_counts_add(fci_counts *sum, const fci_counts *more)
{
    for (int i = 0; i < FCI_COUNTS; i++) {
        sum->of[i] += more->of[i];
    }
}

const char *fci_count_word(fci_count_name name)
{
    return table[name].word;
}

int64_t fci_counts_bad(const fci_counts *counts)
{
    return counts->of[FCI_COUNT_pictures_missing] + counts->of[FCI_COUNT_pictures_damaged] +
           counts->of[FCI_COUNT_pictures_other_size];
}

char *fci_counts_line(const fci_counts *counts, int line)
{
    char text[1024];
    int used = snprintf(text, sizeof text, "%s:", line_words[line]);
    int64_t sum = 0;
    for (role r = TOTAL; r <= DROPPED; r++) {
        const char *before = r == DROPPED ? "; dropped: " : ", ";
        for (int i = 0; i < FCI_COUNTS; i++) {
            if (table[i].line != (line_name)line || table[i].role != r ||
                (counts->of[i] == 0 && r != TOTAL)) {
                continue;
            }
            before = text[used - 1] == ':' ? " " : before;
            used += snprintf(text + used, sizeof text - (size_t)used, "%s%lld %s", before,
                             (long long)counts->of[i], table[i].text);
            before = ", ";
            sum += counts->of[i];
        }
    }
    return sum > 0 || line == PICTURES ? fc_strdup(text) : NULL;
}

int fci_counts_lines(void)
{
    return LINES;
}

void fci_counts_log(const fci_counts *counts)
{
    for (int line = 0; line < LINES; line++) {
        char *text = fci_counts_line(counts, line);
        if (text != NULL) {
            fc_log_info("%s", text);
        }
        fc_free(&text);
    }
}
