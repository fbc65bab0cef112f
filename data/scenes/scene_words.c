/* The vocabulary of the scenes, and how sentences are put together and cut into ids. */
#include "core/memory.h"
#include "data/scenes/scene_parts.h"

#include <stdlib.h>
#include <string.h>

/* Every word a sentence may hold, sorted for bsearch. Ids: 0 padding, 1 an unknown word, then
 * these, then start and end: the end id is the largest, where the text feature is taken. */
static const char *const words[] = {
    ",",         "a",       "above",    "against",    "an",        "and",         "another",
    "at",        "azure",   "backdrop", "background", "banded",    "bands",       "behind",
    "below",     "big",     "bigger",   "blank",      "blue",      "bottom",      "bright",
    "by",        "center",  "checked",  "checkered",  "checks",    "circle",      "color",
    "corner",    "covered", "covering", "crescent",   "crimson",   "cross",       "cyan",
    "dark",      "dim",     "disc",     "dots",       "dotted",    "edge",        "eight",
    "emerald",   "empty",   "fading",   "five",       "four",      "front",       "golden",
    "gradient",  "grainy",  "green",    "hatched",    "heart",     "hidden",      "higher",
    "hoop",      "huge",    "image",    "in",         "is",        "large",       "larger",
    "left",      "light",   "little",   "medium",     "mesh",      "meshed",      "mid-sized",
    "middle",    "moon",    "near",     "next",       "no",        "noisy",       "object",
    "objects",   "of",      "on",       "one",        "orange",    "overlapping", "pale",
    "partly",    "pattern", "photo",    "picture",    "pink",      "plain",       "plus",
    "purple",    "red",     "right",    "ring",       "rose",      "scarlet",     "seven",
    "shaded",    "shape",   "shapes",   "side",       "six",       "small",       "smaller",
    "solid",     "spots",   "spotted",  "square",     "star",      "striped",     "stripes",
    "tangerine", "than",    "that",     "the",        "there",     "thing",       "three",
    "tiny",      "to",      "top",      "triangle",   "turquoise", "two",         "under",
    "violet",    "with",    "without",  "wooden",     "yellow",
};
enum {
    WORDS = sizeof words / sizeof words[0],
    UNKNOWN = 1,
    FIRST,
    START = FIRST + WORDS,
    END,
    VOCAB
};

int fc_scene_vocab_size(void)
{
    return VOCAB;
}

int fc_scene_context_length(void)
{
    return FCI_SCENE_CONTEXT;
}

const char *fc_scene_word(int id)
{
    switch (id) {
    case 0:
        return "<pad>";
    case UNKNOWN:
        return "<unknown>";
    case START:
        return "<start>";
    case END:
        return "<end>";
    default:
        return id > 0 && id < VOCAB ? words[id - FIRST] : "<outside>";
    }
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, *(const char *const *)b);
}

static int word_id(const char *word)
{
    const char *const *found = bsearch(word, words, WORDS, sizeof words[0], compare);
    return found == NULL ? UNKNOWN : FIRST + (int)(found - words);
}

/* Next word or comma of *text, lower-cased and cut to the room; false at the end. Any other sign
 * than letters, '-' and ',' parts words. */
static bool next_word(const char **text, char *word, size_t room)
{
    size_t n = 0;
    const char *p = *text;
    for (; *p != '\0'; p++) {
        char c = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
        if ((c >= 'a' && c <= 'z') || c == '-') {
            if (n + 1 < room) {
                word[n++] = c;
            }
        } else if (n > 0) {
            break;
        } else if (c == ',') {
            word[n++] = c;
            p++;
            break;
        }
    }
    word[n] = '\0';
    *text = p;
    return n > 0;
}

int fc_scene_tokenize(const char *text, int max, int32_t *ids)
{
    FC_ASSERT(max >= 2);
    char word[32];
    int n = 0;
    ids[n++] = START;
    while (n < max && next_word(&text, word, sizeof word)) {
        ids[n++] = word_id(word);
    }
    if (n == max) {
        n--;
    }
    ids[n++] = END;
    return n;
}

static void append(fci_sentence *s, const char *text)
{
    size_t have = strlen(s->text), more = strlen(text);
    FC_ASSERT(have + more < sizeof s->text);
    memcpy(s->text + have, text, more + 1);
}

static bool ends_with_a(const char *text)
{
    size_t n = strlen(text);
    return n > 0 && text[n - 1] == 'a' && (n == 1 || text[n - 2] == ' ');
}

void fci_say(fci_sentence *s, const char *text)
{
    char word[32];
    while (next_word(&text, word, sizeof word)) {
        if (ends_with_a(s->text) && strchr("aeiou", word[0]) != NULL) {
            append(s, "n");
        }
        if (s->words > 0 && word[0] != ',') {
            append(s, " ");
        }
        append(s, word);
        s->words++;
    }
    FC_ASSERT(s->words <= FCI_SCENE_CONTEXT - 2);
}

bool fci_say_clause(fci_sentence *s, const fci_sentence *clause)
{
    if (s->words + clause->words > FCI_SCENE_CONTEXT - 2) {
        return false;
    }
    fci_say(s, clause->text);
    return true;
}
