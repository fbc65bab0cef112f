/* Attributes of a store that are not part of its format. */
#include "core/memory.h"
#include "data/prepare/prepare_counts.h"
#include "launch/inspect/inspect.h"
#include "launch/inspect/inspect_store.h"

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

/* What prepare counted, in its own words; counts that it does not know come last. */
static void print_counts(const fc_store_note *notes, int count)
{
    fci_counts counts = {{0}};
    char *others = fc_strdup("");
    for (int i = 0; i < count; i++) {
        int k = 0;
        while (k < FCI_COUNTS && strcmp(fci_count_word((fci_count_name)k), notes[i].name) != 0) {
            k++;
        }
        if (k < FCI_COUNTS) {
            counts.of[k] = strtoll(notes[i].value, NULL, 10);
        } else {
            char *other = fc_format("%s %s", notes[i].name, notes[i].value);
            append(&others, ", ", other);
            fc_free(&other);
        }
    }
    const char *label = "prepared";
    for (int line = 0; count > 0 && line <= fci_counts_lines(); line++) {
        bool last = line == fci_counts_lines();
        char *text = last ? fc_strdup(others) : fci_counts_line(&counts, line);
        if (text != NULL && text[0] != '\0') {
            fci_inspect_line(label, text);
            label = "";
        }
        fc_free(&text);
    }
    fc_free(&others);
}

static bool of_format(const char *name)
{
    static const char *const known[] = {"format",    "version",   "context_length", "vocab_size",
                                        "tokenizer", "crop_size", "crop_scale",     "created",
                                        "source",    "complete",  "recipe"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(name, known[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* The recipe as it was given, line by line. */
static void print_recipe(const char *recipe)
{
    printf("\nrecipe\n");
    while (*recipe != '\0') {
        size_t bytes = strcspn(recipe, "\n");
        printf("  %.*s\n", (int)bytes, recipe);
        recipe += bytes + (recipe[bytes] == '\n');
    }
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

fc_status fci_inspect_recipe(fc_store *s)
{
    fc_store_note *notes;
    int count;
    FC_TRY(fc_store_notes(s, "/", &notes, &count));
    for (int i = 0; i < count; i++) {
        if (strcmp(notes[i].name, "recipe") == 0) {
            print_recipe(notes[i].value);
        }
    }
    fc_store_notes_free(&notes, count);
    return FC_OK;
}
