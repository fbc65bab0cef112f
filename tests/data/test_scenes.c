/* Synthetic scenes without the store: layout, figures, pixels, and sentences that must be true of
 * their scene. The words' meaning is written down here again, apart from the generator's tables.
 * fctest: timeout=60 */
#include "core/memory.h"
#include "data/scenes/scene_parts.h"
#include "tests/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SCENES = 1500, SIDE = 96 };

static fc_scene_options options(bool unseen)
{
    return (fc_scene_options){.images = SCENES,
                              .seed = 5,
                              .size = SIDE,
                              .min_objects = 2,
                              .max_objects = 5,
                              .captions = 3,
                              .unseen = unseen};
}

/* --- words and what they mean --- */

typedef enum { COLOR, SHAPE, TEXTURE, SIZE, TONE, GROUND, COLUMN, ROW } kind;
typedef struct meaning {
    const char *word;
    kind kind;
    int value;
} meaning;
static const meaning meanings[] = {
    {"red", COLOR, 0},       {"crimson", COLOR, 0},    {"scarlet", COLOR, 0},
    {"orange", COLOR, 1},    {"tangerine", COLOR, 1},  {"yellow", COLOR, 2},
    {"golden", COLOR, 2},    {"green", COLOR, 3},      {"emerald", COLOR, 3},
    {"cyan", COLOR, 4},      {"turquoise", COLOR, 4},  {"blue", COLOR, 5},
    {"azure", COLOR, 5},     {"purple", COLOR, 6},     {"violet", COLOR, 6},
    {"pink", COLOR, 7},      {"rose", COLOR, 7},       {"circle", SHAPE, 0},
    {"disc", SHAPE, 0},      {"square", SHAPE, 1},     {"triangle", SHAPE, 2},
    {"star", SHAPE, 3},      {"cross", SHAPE, 4},      {"plus", SHAPE, 4},
    {"ring", SHAPE, 5},      {"hoop", SHAPE, 5},       {"heart", SHAPE, 6},
    {"crescent", SHAPE, 7},  {"moon", SHAPE, 7},       {"plain", TEXTURE, 0},
    {"solid", TEXTURE, 0},   {"pattern", TEXTURE, 0},  {"color", TEXTURE, 0},
    {"striped", TEXTURE, 1}, {"banded", TEXTURE, 1},   {"stripes", TEXTURE, 1},
    {"bands", TEXTURE, 1},   {"dotted", TEXTURE, 2},   {"spotted", TEXTURE, 2},
    {"dots", TEXTURE, 2},    {"spots", TEXTURE, 2},    {"checkered", TEXTURE, 3},
    {"checked", TEXTURE, 3}, {"checks", TEXTURE, 3},   {"hatched", TEXTURE, 4},
    {"meshed", TEXTURE, 4},  {"mesh", TEXTURE, 4},     {"shaded", TEXTURE, 5},
    {"fading", TEXTURE, 5},  {"gradient", TEXTURE, 5}, {"small", SIZE, 0},
    {"little", SIZE, 0},     {"tiny", SIZE, 0},        {"medium", SIZE, 1},
    {"mid-sized", SIZE, 1},  {"large", SIZE, 2},       {"big", SIZE, 2},
    {"huge", SIZE, 2},       {"dark", TONE, 0},        {"dim", TONE, 0},
    {"medium", TONE, 1},     {"light", TONE, 2},       {"pale", TONE, 2},
    {"bright", TONE, 2},     {"plain", GROUND, 0},     {"blank", GROUND, 0},
    {"empty", GROUND, 0},    {"fading", GROUND, 1},    {"shaded", GROUND, 1},
    {"grainy", GROUND, 2},   {"noisy", GROUND, 2},     {"striped", GROUND, 3},
    {"banded", GROUND, 3},   {"wooden", GROUND, 4},    {"left", COLUMN, 0},
    {"right", COLUMN, 2},    {"top", ROW, 0},          {"bottom", ROW, 2},
    {"middle", ROW, 1},      {"center", ROW, 1}};

/* Value of a word of this kind, or -1. */
static int value_of(const char *word, kind k)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (meanings[i].kind == k && strcmp(meanings[i].word, word) == 0) {
            return meanings[i].value;
        }
    }
    return -1;
}

static bool agrees(const char *word, kind k, int truth)
{
    int value = value_of(word, k);
    return value < 0 || value == truth;
}

static bool true_of(const char *word, const fci_scene_object *o)
{
    return agrees(word, COLOR, o->color) && agrees(word, SHAPE, o->shape) &&
           agrees(word, TEXTURE, o->texture) && agrees(word, SIZE, o->size);
}

static int third(double x)
{
    return x < 0.36 ? 0 : x > 0.64 ? 2 : 1;
}

static bool true_place(const char *word, const fci_scene_object *o)
{
    return agrees(word, COLUMN, third(o->x)) && agrees(word, ROW, third(o->y));
}

typedef struct text {
    int count;
    char word[FCI_SCENE_CONTEXT][24];
} text;

/* Words out of ids, so that the sentence is what the model will see. */
static text words_of(const fci_sentence *s)
{
    int32_t ids[FCI_SCENE_CONTEXT + 8];
    int n = fc_scene_tokenize(s->text, FCI_SCENE_CONTEXT + 8, ids);
    text t = {0};
    FC_CHECK(n <= FCI_SCENE_CONTEXT && n >= 3);
    FC_CHECK_INT(n, s->words + 2);
    FC_CHECK_INT(ids[0], fc_scene_vocab_size() - 2);
    FC_CHECK_INT(ids[n - 1], fc_scene_vocab_size() - 1);
    for (int i = 1; i + 1 < n && t.count < FCI_SCENE_CONTEXT; i++) {
        bool known = ids[i] >= 2 && ids[i] < fc_scene_vocab_size() - 2;
        fc_check_true(known, __FILE__, __LINE__, "id %d in \"%s\"", (int)ids[i], s->text);
        strncpy(t.word[t.count++], fc_scene_word(ids[i]), sizeof t.word[0] - 1);
    }
    return t;
}

static int find(const fci_scene *s, int color, int shape)
{
    for (int i = 0; i < s->objects; i++) {
        if (s->object[i].color == color && s->object[i].shape == shape) {
            return i;
        }
    }
    return -1;
}

static bool has(const char *phrase, const char *part)
{
    return strstr(phrase, part) != NULL;
}

/* What is said between the mentions of a and b holds for them; *said counts relations. */
static bool relation_holds(const char *phrase, const fci_scene *s, int a, int b, int *said)
{
    const fci_scene_object *p = &s->object[a], *q = &s->object[b];
    const struct {
        const char *part;
        bool holds;
    } table[] = {{"left of", p->x < q->x},
                 {"right of", p->x > q->x},
                 {"above", p->y < q->y},
                 {"higher than", p->y < q->y},
                 {"below", p->y > q->y},
                 {"under", p->y > q->y},
                 {"bigger than", p->extent > q->extent},
                 {"larger than", p->extent > q->extent},
                 {"smaller than", p->extent < q->extent},
                 {"overlapping", s->overlap[a][b]},
                 {"in front of", s->overlap[a][b] && a > b},
                 {"partly covering", s->overlap[a][b] && a > b},
                 {"behind", s->overlap[a][b] && a < b},
                 {"partly covered by", s->overlap[a][b] && a < b},
                 {"next to", hypot(p->x - q->x, p->y - q->y) < 0.8}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (has(phrase, table[i].part)) {
            (*said)++;
            return table[i].holds;
        }
    }
    return true;
}

/* Counts over all captions, so that a parser that sees nothing fails the test. */
typedef struct tally {
    int mentions, relations, grounds, attributes;
} tally;

/* Adjectives wait for their noun: a figure of the scene, or the background. */
static bool caption_holds(const text *t, const fci_scene *s, tally *count)
{
    int last = -1, begin = 0;
    char between[400] = "";
    for (int i = 0; i < t->count; i++) {
        const char *word = t->word[i];
        strcat(between, " ");
        strcat(between, word);
        bool ground = strcmp(word, "background") == 0 || strcmp(word, "backdrop") == 0;
        int shape = value_of(word, SHAPE);
        if (ground) {
            for (int k = begin; k < i; k++) {
                if (!agrees(t->word[k], TONE, s->tone) || !agrees(t->word[k], GROUND, s->ground)) {
                    return false;
                }
            }
            count->grounds++;
        } else if (shape >= 0) {
            int color = i > 0 ? value_of(t->word[i - 1], COLOR) : -1;
            int o = color < 0 ? -1 : find(s, color, shape);
            if (o < 0) {
                return false;
            }
            for (int k = begin; k < i; k++) {
                bool own = k >= i - 4; /* further back are words after the mention before */
                count->attributes += value_of(t->word[k], TEXTURE) >= 0;
                if (own && strcmp(t->word[k], "with") != 0 && !true_of(t->word[k], &s->object[o])) {
                    return false;
                }
            }
            if (last >= 0 && !relation_holds(between, s, last, o, &count->relations)) {
                return false;
            }
            count->mentions++;
            last = o;
            begin = i + 1;
            between[0] = '\0';
        } else if (last >= 0 && (strcmp(word, "stripes") == 0 || strcmp(word, "bands") == 0 ||
                                 strcmp(word, "dots") == 0 || strcmp(word, "spots") == 0 ||
                                 strcmp(word, "checks") == 0 || strcmp(word, "mesh") == 0 ||
                                 strcmp(word, "gradient") == 0 || strcmp(word, "pattern") == 0 ||
                                 strcmp(word, "color") == 0)) {
            if (!true_of(word, &s->object[last])) {
                return false;
            }
            begin = i + 1;
        } else if (strcmp(word, "a") == 0 || strcmp(word, "an") == 0 || strcmp(word, "the") == 0) {
            begin = i + 1;
        }
        if (last >= 0 && begin <= i && !true_place(word, &s->object[last]) &&
            !has(between, "left") && !has(between, "right")) {
            return false;
        }
    }
    return count->mentions > 0;
}

/* Everything up to "behind" or "in front of" is about object o, the rest about a neighbour. */
static bool region_holds(const text *t, const fci_scene *s, int o, tally *count)
{
    for (int i = 0; i < t->count; i++) {
        const char *word = t->word[i];
        bool behind = strcmp(word, "behind") == 0;
        if (behind || strcmp(word, "front") == 0) {
            for (int k = i + 2; k < t->count; k++) {
                int shape = value_of(t->word[k], SHAPE);
                if (shape >= 0) {
                    int other = find(s, value_of(t->word[k - 1], COLOR), shape);
                    count->relations++;
                    return other >= 0 && s->overlap[o][other] && (behind ? o < other : o > other);
                }
            }
            return false;
        }
        count->attributes += value_of(word, TEXTURE) >= 0;
        if (!true_of(word, &s->object[o]) || !true_place(word, &s->object[o])) {
            return false;
        }
    }
    return true;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int distinct(char **list, int n)
{
    qsort(list, (size_t)n, sizeof *list, by_text);
    int count = n > 0;
    for (int i = 1; i < n; i++) {
        count += strcmp(list[i - 1], list[i]) != 0;
    }
    return count;
}

static void test_sentences(void)
{
    fc_scene_options o = options(false);
    tally pictures = {0}, regions = {0};
    char **seen = fc_alloc(SCENES * FCI_SCENE_OBJECTS, sizeof *seen);
    int n = 0;
    for (int i = 0; i < SCENES; i++) {
        fci_scene scene;
        fci_scene_build(&scene, &o, i);
        fc_rng rng = fci_scene_stream(&o, i, FCI_PICTURE_WORDS);
        for (int c = 0; c < o.captions; c++) {
            fci_sentence s;
            fci_scene_caption(&s, &scene, &rng);
            text t = words_of(&s);
            fc_check_true(caption_holds(&t, &scene, &pictures), __FILE__, __LINE__,
                          "scene %d: \"%s\" is not true", i, s.text);
        }
        rng = fci_scene_stream(&o, i, FCI_REGION_WORDS);
        for (int r = 0; r < scene.objects; r++) {
            fci_sentence s;
            fci_scene_region_caption(&s, &scene, r, &rng);
            text t = words_of(&s);
            fc_check_true(region_holds(&t, &scene, r, &regions), __FILE__, __LINE__,
                          "scene %d object %d: \"%s\" is not true", i, r, s.text);
            seen[n++] = fc_strdup(s.text);
        }
    }
    FC_CHECK(pictures.mentions > 2 * 3 * SCENES * 8 / 10);
    FC_CHECK(pictures.relations > SCENES);
    FC_CHECK(pictures.grounds > SCENES);
    FC_CHECK(pictures.attributes > SCENES);
    FC_CHECK(regions.attributes > n / 3);
    FC_CHECK(regions.relations > n / 20);
    int different = distinct(seen, n);
    fc_check_true(different > n * 8 / 10, __FILE__, __LINE__, "%d of %d region captions differ",
                  different, n);
    for (int i = 0; i < n; i++) {
        fc_free(&seen[i]);
    }
    fc_free(&seen);
}

static void test_vocabulary(void)
{
    int vocab = fc_scene_vocab_size();
    FC_CHECK(vocab > 64 && vocab < 512);
    FC_CHECK(fc_scene_context_length() <= 32);
    for (int id = 2; id < vocab - 2; id++) {
        int32_t ids[8];
        FC_CHECK_INT(fc_scene_tokenize(fc_scene_word(id), 8, ids), 3);
        FC_CHECK_INT(ids[1], id); /* also: the table is sorted */
        FC_CHECK_INT(ids[2], vocab - 1);
    }
    int32_t ids[8];
    FC_CHECK_INT(fc_scene_tokenize("A RED zebra, left.", 8, ids), 7);
    FC_CHECK_INT(ids[3], 1);
    FC_CHECK_STR(fc_scene_word(ids[2]), "red");
    FC_CHECK_STR(fc_scene_word(ids[4]), ",");
    FC_CHECK_STR(fc_scene_word(ids[5]), "left");
    FC_CHECK_INT(fc_scene_tokenize("a red star on a red star", 4, ids), 4);
    FC_CHECK_INT(ids[3], vocab - 1);
    FC_CHECK_INT(fc_scene_tokenize("", 8, ids), 2);
    fci_sentence s = {.words = 0};
    fci_say(&s, "a orange star and a");
    fci_say(&s, "red heart , an azure ring");
    FC_CHECK_STR(s.text, "an orange star and a red heart, an azure ring");
    FC_CHECK_INT(s.words, 11);
}

static void test_prompts(void)
{
    for (int k = 0; k < fc_scene_categories(); k++) {
        char *name = fc_scene_category_name(k);
        int32_t ids[8];
        FC_CHECK_INT(fc_scene_tokenize(name, 8, ids), 4);
        FC_CHECK_INT(value_of(fc_scene_word(ids[1]), COLOR), k / 8);
        FC_CHECK_INT(value_of(fc_scene_word(ids[2]), SHAPE), k % 8);
        for (int p = 0; p < FCI_SCENE_PROMPTS; p++) {
            fci_sentence s;
            fci_scene_prompt(&s, k, p);
            FC_CHECK(strstr(s.text, name) != NULL);
            (void)words_of(&s);
        }
        fc_free(&name);
    }
}

static void test_held_out(void)
{
    int color[8] = {0}, shape[8] = {0};
    for (int k = 0; k < fc_scene_categories(); k++) {
        if (fc_scene_category_unseen(k)) {
            color[k / 8]++;
            shape[k % 8]++;
        }
    }
    for (int i = 0; i < 8; i++) {
        FC_CHECK_INT(color[i], 1);
        FC_CHECK_INT(shape[i], 1);
    }
}

/* Objects, categories and visibility over many scenes. */
static void test_layout(bool unseen)
{
    fc_scene_options o = options(unseen);
    int count[FCI_SCENE_CATEGORIES] = {0}, objects[FCI_SCENE_OBJECTS + 1] = {0};
    int texture[FCI_SCENE_TEXTURES] = {0}, size[FCI_SCENE_SIZES] = {0};
    int overlapping = 0, total = 0;
    for (int i = 0; i < SCENES; i++) {
        fci_scene s;
        fci_scene_build(&s, &o, i);
        objects[s.objects]++;
        bool any = false;
        for (int a = 0; a < s.objects; a++) {
            const fci_scene_object *p = &s.object[a];
            total++;
            count[p->color * 8 + p->shape]++;
            texture[p->texture]++;
            size[p->size]++;
            FC_CHECK(p->visible >= 0.69 && p->visible <= 1);
            FC_CHECK(p->box[0] >= 0 && p->box[1] >= 0 && p->box[2] <= 1 && p->box[3] <= 1);
            FC_CHECK(p->box[2] - p->box[0] > 0.1 && p->box[3] - p->box[1] > 0.1);
            FC_CHECK_INT(find(&s, p->color, p->shape), a); /* none twice */
            for (int b = 0; b < a; b++) {
                any = any || s.overlap[a][b];
                FC_CHECK(s.overlap[a][b] == s.overlap[b][a]);
            }
        }
        overlapping += any;
    }
    FC_CHECK_INT(objects[0] + objects[1] + objects[6] + objects[7] + objects[8], 0);
    for (int n = 2; n <= 5; n++) {
        FC_CHECK(objects[n] > SCENES / 6 && objects[n] < SCENES / 3);
    }
    FC_CHECK(overlapping > SCENES * 3 / 10 && overlapping < SCENES * 9 / 10);
    for (int k = 0; k < FCI_SCENE_CATEGORIES; k++) {
        if (!unseen && fc_scene_category_unseen(k)) {
            FC_CHECK_INT(count[k], 0);
        } else {
            FC_CHECK(count[k] > total / 64 / 2 && count[k] < total / 64 * 2);
        }
    }
    for (int t = 0; t < FCI_SCENE_TEXTURES; t++) {
        FC_CHECK(texture[t] > total / 8);
    }
    for (int z = 0; z < FCI_SCENE_SIZES; z++) {
        FC_CHECK(size[z] > total / 8);
    }
}

/* The hardest request: eight objects in every scene. */
static void test_crowd(void)
{
    fc_scene_options o = options(false);
    o.min_objects = o.max_objects = FCI_SCENE_OBJECTS;
    for (int i = 0; i < 100; i++) {
        fci_scene s;
        fci_scene_build(&s, &o, i);
        FC_CHECK_INT(s.objects, FCI_SCENE_OBJECTS);
    }
}

/* Area by coverage against the polygon's, and the box against the covered pixels. */
static void test_figures(void)
{
    static float cover[SIDE * SIDE];
    double circle = 0;
    for (int shape = 0; shape < FCI_SCENE_SHAPES; shape++) {
        for (int turn = 0; turn < 6; turn++) {
            fci_outline o;
            fci_outline_make(&o, shape, 0.47, 0.52, 0.4, 0.3 * turn);
            double box[4], sum = 0;
            int x0 = SIDE, y0 = SIDE, x1 = 0, y1 = 0;
            fci_outline_box(&o, box);
            memset(cover, 0, sizeof cover);
            fci_outline_cover(&o, 0, 0, SIDE, cover);
            for (int p = 0; p < SIDE * SIDE; p++) {
                sum += (double)cover[p];
                FC_CHECK(cover[p] >= 0 && (double)cover[p] < 1 + 1e-5);
                if (cover[p] > 0) {
                    x0 = p % SIDE < x0 ? p % SIDE : x0;
                    x1 = p % SIDE + 1 > x1 ? p % SIDE + 1 : x1;
                    y0 = p / SIDE < y0 ? p / SIDE : y0;
                    y1 = p / SIDE + 1 > y1 ? p / SIDE + 1 : y1;
                }
            }
            double area = fci_outline_area(&o);
            FC_CHECK_NEAR(sum / (SIDE * SIDE) / area, 1, 0.01);
            FC_CHECK_NEAR(box[0] * SIDE, x0, 1.3);
            FC_CHECK_NEAR(box[1] * SIDE, y0, 1.3);
            FC_CHECK_NEAR(box[2] * SIDE, x1, 1.3);
            FC_CHECK_NEAR(box[3] * SIDE, y1, 1.3);
            circle = shape == FCI_CIRCLE ? area : circle;
        }
    }
    FC_CHECK_NEAR(circle, 3.14159265 / 4 * 0.16, 0.001);
}

static bool same_picture(const fc_picture *a, const fc_picture *b)
{
    return memcmp(a->rgb, b->rgb, (size_t)SIDE * SIDE * 3) == 0;
}

static fc_picture draw(const fc_scene_options *o, int64_t index)
{
    fci_scene s;
    fc_picture p;
    fci_scene_build(&s, o, index);
    fc_rng rng = fci_scene_stream(o, index, FCI_PIXELS);
    fci_scene_render(&p, &s, o->size, &rng);
    return p;
}

static void test_deterministic(void)
{
    fc_scene_options o = options(false), seed = options(false), unseen = options(true);
    seed.seed++;
    fc_picture a = draw(&o, 7), again = draw(&o, 7), other = draw(&o, 8);
    fc_picture reseeded = draw(&seed, 7), test = draw(&unseen, 7);
    FC_CHECK(same_picture(&a, &again));
    FC_CHECK(!same_picture(&a, &other));
    FC_CHECK(!same_picture(&a, &reseeded));
    FC_CHECK(!same_picture(&a, &test));
    fci_scene s, t;
    fc_scene_options big = o;
    big.size = 2 * SIDE;
    big.captions = 1;
    fci_scene_build(&s, &o, 7);
    fci_scene_build(&t, &big, 7);
    FC_CHECK(memcmp(&s, &t, sizeof s) == 0); /* the same scene at any size */
    fc_free(&a.rgb);
    fc_free(&again.rgb);
    fc_free(&other.rgb);
    fc_free(&reseeded.rgb);
    fc_free(&test.rgb);
}

/* The middle of a plain, unhidden figure has the colour that its name says. */
static void test_colors(void)
{
    static const int named[FCI_SCENE_COLORS][3] = {{205, 35, 35},  {235, 130, 30}, {235, 215, 50},
                                                   {40, 150, 55},  {55, 200, 205}, {40, 70, 200},
                                                   {125, 45, 165}, {240, 150, 190}};
    fc_scene_options o = options(true);
    int right = 0, n = 0;
    for (int i = 0; i < SCENES; i++) {
        fci_scene s;
        fci_scene_build(&s, &o, i);
        fc_picture p = {0};
        for (int k = 0; k < s.objects; k++) {
            const fci_scene_object *q = &s.object[k];
            if (q->texture != FCI_PLAIN || q->shape == FCI_RING || q->shape == FCI_CRESCENT ||
                q->visible < 0.97) {
                continue;
            }
            if (p.rgb == NULL) {
                p = draw(&o, i);
            }
            const uint8_t *rgb = p.rgb + 3 * ((int)(q->y * SIDE) * SIDE + (int)(q->x * SIDE));
            int best = -1, least = INT32_MAX;
            for (int c = 0; c < FCI_SCENE_COLORS; c++) {
                int d0 = named[c][0] - rgb[0], d1 = named[c][1] - rgb[1], d2 = named[c][2] - rgb[2];
                int d = d0 * d0 + d1 * d1 + d2 * d2;
                best = d < least ? c : best;
                least = d < least ? d : least;
            }
            right += best == q->color;
            n++;
        }
        fc_free(&p.rgb);
    }
    fc_check_true(n > 200 && right > n * 95 / 100, __FILE__, __LINE__, "%d of %d colours right",
                  right, n);
}

int main(void)
{
    test_vocabulary();
    test_prompts();
    test_held_out();
    test_layout(false);
    test_layout(true);
    test_crowd();
    test_figures();
    test_deterministic();
    test_colors();
    test_sentences();
    return fc_check_end();
}
