/* Sentences of a store: the most frequent ones, the first ones, and any one by its index. */
#include "core/memory.h"
#include "data/store/frequent.h"
#include "launch/inspect/inspect.h"
#include "launch/inspect/inspect_store.h"

#include <stdio.h>
#include <string.h>

enum { FREQUENT_SHOWN = 3, FIRST_SHOWN = 3, TEXT_COLUMNS = 76, NAME_COLUMNS = 30, IDS_SHOWN = 12 };

static fc_status ids_of(fc_store *s, fc_token_set set, int64_t item, char **out)
{
    enum { ROOM = 1024 };
    int32_t ids[ROOM];
    int count = 0;
    FC_TRY(fc_store_tokens(s, set, item, INT32_MAX, ROOM, ids, &count));
    char text[IDS_SHOWN * 12 + 8] = "";
    size_t used = 0;
    for (int i = 0; i < count && i < IDS_SHOWN; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, " %d", (int)ids[i]);
    }
    *out = count == 0 ? fc_strdup("") : fc_format("ids%s%s", text, count > IDS_SHOWN ? " ..." : "");
    return FC_OK;
}

fc_status fci_text_of_item(fc_store *s, fc_token_set set, int64_t item, char **out)
{
    static const char *const sentences[] = {
        [FC_CAPTION_TOKENS] = "captions/text", [FC_REGION_TOKENS] = "regions/text"};
    *out = NULL;
    if (set != FC_PROMPT_TOKENS) {
        FC_TRY(fc_store_text(s, sentences[set], item, out));
    }
    return *out != NULL ? FC_OK : ids_of(s, set, item, out);
}

static fc_status print_frequent(fc_store *s, fc_token_set set, const char *title)
{
    fc_frequent_row rows[FREQUENT_SHOWN];
    int count;
    FC_TRY(fc_frequent_rows(s, set, FREQUENT_SHOWN, rows, &count));
    if (count == 0) {
        return FC_OK;
    }
    printf("\n%s\n", title);
    for (int i = 0; i < count; i++) {
        char *text = NULL;
        FC_TRY(fci_text_of_item(s, set, rows[i].item, &text));
        char *line = fci_text_clipped(text, TEXT_COLUMNS);
        printf("%11s  %s\n", fci_text_count(rows[i].count), line);
        fc_free(&line);
        fc_free(&text);
    }
    return FC_OK;
}

static fc_status print_first(fc_store *s)
{
    for (int64_t i = 0, shown = 0; s->caption_of != NULL && i < s->images; i++) {
        if (shown == FIRST_SHOWN || s->caption_of[i] == s->caption_of[i + 1]) {
            continue;
        }
        printf("%s", shown++ == 0 ? "\nfirst captions\n" : "");
        char *name = NULL, *text = NULL;
        FC_TRY(fc_store_text(s, "images/name", i, &name));
        if (name == NULL) {
            name = fc_format("picture %lld", (long long)i);
        }
        fc_status status = fci_text_of_item(s, FC_CAPTION_TOKENS, (int64_t)s->caption_of[i], &text);
        if (status == FC_OK) {
            char *shown_name = fci_text_clipped(name, NAME_COLUMNS),
                 *line = fci_text_clipped(text, TEXT_COLUMNS);
            printf("  %s: %s\n", shown_name, line);
            fc_free(&shown_name);
            fc_free(&line);
        }
        fc_free(&name);
        fc_free(&text);
        FC_TRY(status);
    }
    return FC_OK;
}

fc_status fci_inspect_captions(fc_store *s)
{
    FC_TRY(print_frequent(s, FC_CAPTION_TOKENS, "most frequent captions"));
    FC_TRY(print_frequent(s, FC_REGION_TOKENS, "most frequent region captions"));
    return print_first(s);
}
