/* Attributes of a store that are not part of its format. */
#include "core/memory.h"
#include "launch/inspect.h"
#include "launch/inspect_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LABEL_COLUMNS = 12, SCREEN_COLUMNS = 100 };

void fci_inspect_line(const char *label, const char *text)
{
    const int room = SCREEN_COLUMNS - LABEL_COLUMNS;
    while (true) {
        size_t bytes = strlen(text);
        if (bytes > (size_t)room) {
            bytes = (size_t)room;
            while (bytes > 0 && text[bytes] != ' ') {
                bytes--;
            }
            bytes = bytes == 0 ? strcspn(text, " ") : bytes;
        }
        printf("%-*s%.*s\n", LABEL_COLUMNS, label, (int)bytes, text);
        text += bytes;
        text += strspn(text, " ");
        if (*text == '\0') {
            return;
        }
        label = "";
    }
}

static void append(char **text, const char *separator, const char *more)
{
    char *longer = fc_format("%s%s%s", *text, (*text)[0] == '\0' ? "" : separator, more);
    fc_free(text);
    *text = longer;
}

/* "12345" as "12,345"; other values as they are. */
static const char *readable(const char *value)
{
    char *end;
    long long whole = strtoll(value, &end, 10);
    return *end == '\0' && end != value ? fci_text_count(whole) : value;
}

/* The name up to its first underline: what was counted. */
static size_t subject(const char *name)
{
    size_t length = strncmp(name, "region_captions_", 16) == 0 ? 15 : strcspn(name, "_");
    return length;
}

/* Counts by subject: "pictures_missing" 3, "pictures_written" 80 -> "pictures: missing 3, written
 * 80". What is 0 did not happen. */
static void print_counts(const fc_store_note *notes, int count)
{
    const char *label = "prepared";
    for (int i = 0; i < count;) {
        size_t length = subject(notes[i].name);
        char *text = fc_strdup(""), *title = fc_format("%.*s: ", (int)length, notes[i].name);
        int j = i;
        for (; j < count && subject(notes[j].name) == length &&
               strncmp(notes[j].name, notes[i].name, length) == 0;
             j++) {
            if (strcmp(notes[j].value, "0") != 0) {
                const char *what = notes[j].name + length;
                char *item =
                    fc_format("%s %s", *what == '_' ? what + 1 : what, readable(notes[j].value));
                append(&text, ", ", item);
                fc_free(&item);
            }
        }
        if (text[0] != '\0') {
            append(&title, "", text);
            for (char *at = title; *at != '\0'; at++) {
                *at = *at == '_' ? ' ' : *at;
            }
            fci_inspect_line(label, title);
            label = "";
        }
        fc_free(&text);
        fc_free(&title);
        i = j;
    }
}

static bool of_format(const char *name)
{
    static const char *const known[] = {"format",    "version",   "context_length", "vocab_size",
                                        "tokenizer", "crop_size", "crop_scale",     "created",
                                        "source",    "complete"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(name, known[i]) == 0) {
            return true;
        }
    }
    return false;
}

fc_status fci_inspect_notes(fc_store *s)
{
    enum { VALUE_COLUMNS = 60 };
    fc_store_note *notes;
    int count;
    FC_TRY(fc_store_notes(s, "/summary", &notes, &count));
    print_counts(notes, count);
    fc_store_notes_free(&notes, count);
    FC_TRY(fc_store_notes(s, "/", &notes, &count));
    char *text = fc_strdup("");
    for (int i = 0; i < count; i++) {
        if (!of_format(notes[i].name)) {
            char *value = fci_text_clipped(notes[i].value, VALUE_COLUMNS);
            char *item = fc_format("%s %s", notes[i].name, value);
            append(&text, ", ", item);
            fc_free(&item);
            fc_free(&value);
        }
    }
    if (text[0] != '\0') {
        fci_inspect_line("attributes", text);
    }
    fc_free(&text);
    fc_store_notes_free(&notes, count);
    return FC_OK;
}
