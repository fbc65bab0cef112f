/* Strict YAML: what is read, where errors point, what hostile files may cost. */
#include "core/memory.h"
#include "core/suggest.h"
#include "core/yaml.h"
#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static fc_yaml *parse(const char *text)
{
    fc_yaml *root = NULL;
    FC_CHECK_OK(fc_yaml_parse(&root, text, strlen(text), "t.yaml"));
    return root;
}

static void refused(int line, const char *text, const char *part)
{
    fc_yaml *root = NULL;
    fc_status status = fc_yaml_parse(&root, text, strlen(text), "t.yaml");
    const char *message = status == FC_OK ? "" : fc_error_message();
    fc_check_true(status == FC_USAGE && strstr(message, part) != NULL && root == NULL, __FILE__,
                  line, "status %d, message '%s', want '%s'", (int)status, message, part);
    fc_yaml_destroy(&root);
}
#define REFUSED(text, part) refused(__LINE__, text, part)

/* The node at a dotted path of mappings. */
static const fc_yaml *at(const fc_yaml *root, const char *path)
{
    char copy[256];
    snprintf(copy, sizeof copy, "%s", path);
    for (char *part = strtok(copy, "."); part != NULL && root != NULL; part = strtok(NULL, ".")) {
        root = fc_yaml_get(root, part);
    }
    return root;
}

static void test_reading(void)
{
    fc_yaml *root = parse("# comment\n"
                          "name: first run\n"
                          "train: {lr: 1.0e-5, steps: 1e3, on: true}\n"
                          "list:\n"
                          "  - one\n"
                          "  - {deep: x}\n"
                          "empty:\n"
                          "tilde: ~\n"
                          "quoted: \"null\"\n"
                          "umlaut: \"\\u00e9\"\n");
    FC_CHECK_INT(fc_yaml_size(root), 7);
    FC_CHECK_STR(fc_yaml_text(at(root, "name")), "first run");
    FC_CHECK_INT(fc_yaml_line(at(root, "name")), 2);
    FC_CHECK_STR(fc_yaml_file(at(root, "name")), "t.yaml");
    FC_CHECK_STR(fc_yaml_path(at(root, "train.lr")), "train.lr");
    const fc_yaml *list = at(root, "list");
    FC_CHECK_INT(fc_yaml_type(list), FC_YAML_SEQUENCE);
    FC_CHECK_INT(fc_yaml_line(list), 4);
    FC_CHECK_STR(fc_yaml_text(fc_yaml_item(list, 0)), "one");
    const fc_yaml *deep = fc_yaml_get(fc_yaml_item(list, 1), "deep");
    FC_CHECK_STR(fc_yaml_path(deep), "list.1.deep");
    FC_CHECK_INT(fc_yaml_line(deep), 6);
    FC_CHECK_INT(fc_yaml_type(at(root, "empty")), FC_YAML_NULL);
    FC_CHECK_INT(fc_yaml_type(at(root, "tilde")), FC_YAML_NULL);
    FC_CHECK(fc_yaml_text(at(root, "tilde")) == NULL);
    FC_CHECK_STR(fc_yaml_text(at(root, "quoted")), "null");
    FC_CHECK_STR(fc_yaml_text(at(root, "umlaut")), "\xc3\xa9");
    FC_CHECK(fc_yaml_get(root, "absent") == NULL);
    FC_CHECK(fc_yaml_get(list, "absent") == NULL);
    const char *key;
    FC_CHECK_STR(fc_yaml_text(fc_yaml_entry(root, 0, &key)), "first run");
    FC_CHECK_STR(key, "name");
    fc_yaml_destroy(&root);
    FC_CHECK(root == NULL);
    fc_yaml_destroy(&root);
}

static void test_anchors(void)
{
    fc_yaml *root = parse("a: &x {k: [1, 2]}\nb: *x\nc: [*x, &s word, *s]\n&k d: 1\n");
    FC_CHECK_INT(fc_yaml_size(at(root, "b.k")), 2);
    FC_CHECK_INT(fc_yaml_line(at(root, "b")), 2);
    FC_CHECK_STR(fc_yaml_path(at(root, "b.k")), "b.k");
    FC_CHECK_STR(fc_yaml_text(fc_yaml_item(at(root, "c"), 2)), "word");
    fc_yaml_destroy(&root);
    REFUSED("a: *nowhere\n", "t.yaml:1: no anchor above is called nowhere");
    REFUSED("a: &x [1, *x]\n", "no anchor above is called x");
}

static void test_syntax_errors(void)
{
    REFUSED("a: 1\nb: [1, 2\nc: 3\n", "t.yaml:3: column");
    REFUSED("a: 1\n\tb: 2\n", "a tab stands there");
    REFUSED("a: 1\nb: 2\na: 3\n", "t.yaml:3: a: this key already stands in line 1");
    REFUSED("t:\n  a: {x: 1, x: 2}\n", "t.yaml:2: x: this key already stands in line 2");
    REFUSED("", "nothing in it");
    REFUSED("# only a comment\n", "nothing in it");
    REFUSED("- a\n- b\n", "not a mapping");
    REFUSED("word\n", "not a mapping");
    REFUSED("a: 1\n---\nb: 2\n", "t.yaml:2: a second document begins");
    REFUSED("? [1]\n: 2\n", "a key must be a plain word");
    REFUSED("a: !!int 3\n", "t.yaml:1: tags have no meaning here");
    REFUSED("a: !thing {b: 1}\n", "tags have no meaning here: !thing");
    REFUSED("a: &x {b: 1}\nc:\n  <<: *x\n", "t.yaml:3: merge keys");
    REFUSED("a: \"x\\0y\"\n", "zero byte");
    REFUSED("a: \xff\xfe\n", "must be UTF-8");
    REFUSED("a: 'open\n", "t.yaml:");
}

static void test_hostile(void)
{
    /* 9 levels of 9 aliases: 3.9e8 nodes if written out. */
    char text[2048] = "a0: &a0 x\n";
    for (int i = 1; i <= 9; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used,
                 "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i - 1, i - 1,
                 i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    }
    REFUSED(text, "too large once its aliases are written out");

    enum { LONG = 1 << 20, ALIASES = 100 };
    char *big = fc_alloc(LONG + 10 * ALIASES + 100, 1);
    strcpy(big, "a: &x ");
    memset(big + 6, 'y', LONG);
    strcat(big, "\nb: [");
    for (int i = 0; i < ALIASES; i++) {
        strcat(big + LONG, "*x, ");
    }
    strcat(big + LONG, "]\n");
    REFUSED(big, "too large once its aliases are written out");

    /* A long key, not a long value. */
    strcpy(big, "a: &x\n  ? ");
    memset(big + 10, 'y', LONG);
    strcat(big + LONG, "\n  : 1\nb: [");
    for (int i = 0; i < ALIASES; i++) {
        strcat(big + LONG, "*x, ");
    }
    strcat(big + LONG, "]\n");
    REFUSED(big, "too large once its aliases are written out");

    char *deep = fc_alloc(200000, 1);
    memset(deep, '[', 100000);
    memcpy(deep, "a: ", 3);
    REFUSED(deep, "nested too deeply");
    memset(big, 0, LONG);
    strcpy(big, "a: 1\n");
    for (int i = 0; i < 500; i++) {
        strcat(big, "b");
    }
    REFUSED(big, "t.yaml");
    fc_free(&deep);
    fc_free(&big);

    char *many = fc_alloc((5 << 20) + 1, 1);
    memset(many, '\n', 5 << 20);
    REFUSED(many, "too many for a YAML file");
    fc_free(&many);
}

static void test_files(void)
{
    fc_yaml *root = NULL;
    FC_CHECK_FAILS(fc_yaml_load(&root, fc_check_temp("none.yaml")), FC_NOINPUT, "none.yaml");
    FC_CHECK_FAILS(fc_yaml_load(&root, "/"), FC_NOINPUT, "/: cannot read");
    FC_CHECK_FAILS(fc_yaml_load(&root, "/dev/zero"), FC_USAGE, "too many for a YAML file");
    const char *path = fc_check_temp("a.yaml");
    FILE *f = fopen(path, "wb");
    FC_CHECK(f != NULL);
    fputs("\xef\xbb\xbf"
          "a: 1\r\nb: 2\r\n",
          f);
    fclose(f);
    FC_CHECK_OK(fc_yaml_load(&root, path));
    FC_CHECK_STR(fc_yaml_text(at(root, "b")), "2");
    FC_CHECK_STR(fc_yaml_file(at(root, "b")), path);
    fc_yaml_destroy(&root);
}

static void test_values(void)
{
    fc_yaml *root = parse("t: true\nf: False\ni: 12\ne: 1e3\nneg: -7\nbig: 9223372036854775807\n"
                          "r: 1.0e-5\nint_real: 10\ndot: .5\nfrac: 1.5\nhex: 0x10\nnan: .nan\n"
                          "text: \"12\"\nword: crops\nhuge: 1e400\nover: 9223372036854775808\n"
                          "list: [1]\nnothing:\nbad: 1e\nyes: yes\n");
    bool b;
    int64_t i;
    double r;
    int c;
    FC_CHECK_OK(fc_yaml_bool(at(root, "t"), &b));
    FC_CHECK(b);
    FC_CHECK_OK(fc_yaml_bool(at(root, "f"), &b));
    FC_CHECK(!b);
    FC_CHECK_FAILS(fc_yaml_bool(at(root, "yes"), &b), FC_USAGE,
                   "t.yaml:20: yes: want true or false, found yes");
    FC_CHECK_OK(fc_yaml_int(at(root, "i"), 0, 12, &i));
    FC_CHECK_INT(i, 12);
    FC_CHECK_OK(fc_yaml_int(at(root, "e"), 1000, 1000, &i));
    FC_CHECK_INT(i, 1000);
    FC_CHECK_OK(fc_yaml_int(at(root, "neg"), INT64_MIN, INT64_MAX, &i));
    FC_CHECK_INT(i, -7);
    FC_CHECK_OK(fc_yaml_int(at(root, "big"), 0, INT64_MAX, &i));
    FC_CHECK_INT(i, INT64_MAX);
    FC_CHECK_FAILS(fc_yaml_int(at(root, "i"), 0, 11, &i), FC_USAGE,
                   "t.yaml:3: i: want 0 to 11, found 12");
    FC_CHECK_FAILS(fc_yaml_int(at(root, "neg"), 0, INT64_MAX, &i), FC_USAGE,
                   "want at least 0, found -7");
    FC_CHECK_FAILS(fc_yaml_int(at(root, "frac"), 0, 9, &i), FC_USAGE, "want a whole number");
    FC_CHECK_FAILS(fc_yaml_int(at(root, "hex"), 0, 99, &i), FC_USAGE, "found 0x10");
    FC_CHECK_FAILS(fc_yaml_int(at(root, "text"), 0, 99, &i), FC_USAGE, "found the text \"12\"");
    FC_CHECK_FAILS(fc_yaml_int(at(root, "over"), 0, INT64_MAX, &i), FC_USAGE, "whole number");
    FC_CHECK_FAILS(fc_yaml_int(at(root, "list"), 0, 9, &i), FC_USAGE, "found a list");
    FC_CHECK_FAILS(fc_yaml_int(at(root, "nothing"), 0, 9, &i), FC_USAGE, "nothing (null)");
    FC_CHECK_FAILS(fc_yaml_int(root, 0, 9, &i), FC_USAGE, "t.yaml:1: want");
    FC_CHECK_OK(fc_yaml_real(at(root, "r"), 0, 1, &r));
    FC_CHECK_NEAR(r, 1e-5, 0);
    FC_CHECK_OK(fc_yaml_real(at(root, "int_real"), 0, 10, &r));
    FC_CHECK_NEAR(r, 10, 0);
    FC_CHECK_OK(fc_yaml_real(at(root, "dot"), 0, 1, &r));
    FC_CHECK_NEAR(r, 0.5, 0);
    FC_CHECK_FAILS(fc_yaml_real(at(root, "nan"), 0, 1, &r), FC_USAGE, "want a number, found .nan");
    FC_CHECK_FAILS(fc_yaml_real(at(root, "huge"), 0, INFINITY, &r), FC_USAGE, "want a number");
    FC_CHECK_FAILS(fc_yaml_real(at(root, "bad"), 0, 1, &r), FC_USAGE, "want a number, found 1e");
    FC_CHECK_FAILS(fc_yaml_real(at(root, "frac"), 0, 1, &r), FC_USAGE, "want 0 to 1, found 1.5");
    static const char *const words[] = {"none", "crops", "regions", NULL};
    FC_CHECK_OK(fc_yaml_choice(at(root, "word"), words, &c));
    FC_CHECK_INT(c, 1);
    FC_CHECK_OK(fc_yaml_override(root, "word=region"));
    FC_CHECK_FAILS(fc_yaml_choice(at(root, "word"), words, &c), FC_USAGE,
                   "command line: word: want none, crops or regions, found region; did you mean "
                   "regions?");
    fc_yaml_destroy(&root);
}

static void test_merge(void)
{
    fc_yaml *root = parse("name: base\ntrain: {lr: 1, schedule: {kind: cosine, warmup: 5}}\n"
                          "list: [1, 2]\nkeep: yes\n");
    const char *text = "\nname: over\ntrain: {lr: 2, schedule: {warmup: 6}, extra: x}\nlist: [3]\n"
                       "keep: null\n";
    fc_yaml *over = NULL;
    FC_CHECK_OK(fc_yaml_parse(&over, text, strlen(text), "o.yaml"));
    FC_CHECK_OK(fc_yaml_merge(root, over));
    fc_yaml_destroy(&over);
    FC_CHECK_STR(fc_yaml_text(at(root, "name")), "over");
    FC_CHECK_STR(fc_yaml_text(at(root, "train.schedule.kind")), "cosine");
    FC_CHECK_STR(fc_yaml_text(at(root, "train.schedule.warmup")), "6");
    FC_CHECK_STR(fc_yaml_text(at(root, "train.extra")), "x");
    FC_CHECK_INT(fc_yaml_size(at(root, "list")), 1);
    FC_CHECK_INT(fc_yaml_type(at(root, "keep")), FC_YAML_NULL);
    /* Errors point to the file a value came from. */
    int64_t i;
    FC_CHECK_FAILS(fc_yaml_int(at(root, "train.schedule.kind"), 0, 1, &i), FC_USAGE,
                   "t.yaml:2: train.schedule.kind: ");
    FC_CHECK_FAILS(fc_yaml_int(at(root, "train.extra"), 0, 1, &i), FC_USAGE,
                   "o.yaml:3: train.extra: ");
    fc_yaml_destroy(&root);
}

static void test_override(void)
{
    fc_yaml *root = parse("train: {batch_size: 4, betas: [0.9, 0.999]}\nlosses: {a: 1.0}\n");
    FC_CHECK_OK(fc_yaml_override(root, "train.batch_size=16"));
    FC_CHECK_OK(fc_yaml_override(root, "train.betas.1=0.98"));
    FC_CHECK_OK(fc_yaml_override(root, "losses.a.weight=0"));
    FC_CHECK_OK(fc_yaml_override(root, "new.deep.key={x: [a, b]}"));
    FC_CHECK_OK(fc_yaml_override(root, "empty="));
    FC_CHECK_OK(fc_yaml_override(root, "equation=a=b"));
    FC_CHECK_STR(fc_yaml_text(at(root, "train.batch_size")), "16");
    FC_CHECK_STR(fc_yaml_text(fc_yaml_item(at(root, "train.betas"), 1)), "0.98");
    FC_CHECK_STR(fc_yaml_text(at(root, "losses.a.weight")), "0");
    FC_CHECK_STR(fc_yaml_text(fc_yaml_item(at(root, "new.deep.key.x"), 1)), "b");
    FC_CHECK_STR(fc_yaml_path(fc_yaml_item(at(root, "new.deep.key.x"), 1)), "new.deep.key.x.1");
    FC_CHECK_INT(fc_yaml_type(at(root, "empty")), FC_YAML_NULL);
    FC_CHECK_STR(fc_yaml_text(at(root, "equation")), "a=b");
    int64_t i;
    FC_CHECK_FAILS(fc_yaml_int(at(root, "train.batch_size"), 0, 9, &i), FC_USAGE,
                   "command line: train.batch_size: want 0 to 9, found 16");
    FC_CHECK_FAILS(fc_yaml_override(root, "train.batch_size"), FC_USAGE,
                   "command line: train.batch_size: want key=value");
    FC_CHECK_FAILS(fc_yaml_override(root, "=3"), FC_USAGE, "want key=value");
    FC_CHECK_FAILS(fc_yaml_override(root, "train..x=3"), FC_USAGE, "not a key");
    FC_CHECK_FAILS(fc_yaml_override(root, "train.<<.x=3"), FC_USAGE, "not a key");
    FC_CHECK_FAILS(fc_yaml_override(root, "train.betas.2=3"), FC_USAGE,
                   "command line: train.betas.2: the list has no item 2");
    FC_CHECK_FAILS(fc_yaml_override(root, "train.x=[1,"), FC_USAGE, "command line: train.x: ");
    FC_CHECK_FAILS(fc_yaml_override(root, "train.\xff=1"), FC_USAGE, "not UTF-8");
    char *deep = fc_alloc(1000, 1);
    for (int k = 0; k < 200; k++) {
        strcat(deep, "a.");
    }
    strcat(deep, "a=1");
    FC_CHECK_FAILS(fc_yaml_override(root, deep), FC_USAGE, "nested too deeply");
    /* 62 keys and a scalar fit into 64 levels; with two lists around it they do not. */
    memset(deep, 0, 1000);
    for (int k = 0; k < 61; k++) {
        strcat(deep, "b.");
    }
    strcat(deep, "b=[]");
    FC_CHECK_OK(fc_yaml_override(root, deep));
    deep[strlen(deep) - 2] = '\0';
    strcat(deep, "[[1]]");
    FC_CHECK_FAILS(fc_yaml_override(root, deep), FC_USAGE, "nested too deeply");
    fc_free(&deep);
    fc_yaml_destroy(&root);
}

static void test_put_and_expand(void)
{
    fc_yaml *root = parse("output: runs/${name}/${name}\nlist: [\"${name}\", \"${other}\"]\n");
    FC_CHECK_FAILS(fc_yaml_expand(root, "name", "\xff"), FC_USAGE, "${name} is not UTF-8");
    FC_CHECK_FAILS(fc_yaml_put_text(root, "name", "caf\xe9"), FC_USAGE, "name: the text is not");
    FC_CHECK_OK(fc_yaml_expand(root, "name", "null"));
    FC_CHECK_STR(fc_yaml_text(at(root, "output")), "runs/null/null");
    FC_CHECK_STR(fc_yaml_text(fc_yaml_item(at(root, "list"), 0)), "null");
    FC_CHECK_STR(fc_yaml_text(fc_yaml_item(at(root, "list"), 1)), "${other}");
    FC_CHECK_OK(fc_yaml_put(root, "a.b", at(root, "list")));
    FC_CHECK_OK(fc_yaml_put_text(root, "a.c", "12"));
    FC_CHECK_INT(fc_yaml_size(at(root, "a.b")), 2);
    FC_CHECK_STR(fc_yaml_path(at(root, "a.b")), "a.b");
    int64_t i;
    FC_CHECK_FAILS(fc_yaml_int(at(root, "a.c"), 0, 99, &i), FC_USAGE, "the text \"12\"");
    fc_yaml_destroy(&root);

    char *long_name = fc_alloc(1 << 17, 1);
    memset(long_name, 'x', (1 << 17) - 1);
    root = parse("a: ${n}${n}${n}${n}${n}${n}${n}${n}${n}\n");
    FC_CHECK_FAILS(fc_yaml_expand(root, "n", long_name), FC_USAGE, "t.yaml:1: a: longer than");
    fc_yaml_destroy(&root);
    fc_free(&long_name);
}

static void test_unknown(void)
{
    static const char *const known[] = {"name", "train.batch_size", "train.optimizer.lr",
                                        "eval.retrieval", NULL};
    fc_yaml *root = parse("name: x\ntrain:\n  bacth_size: 4\n");
    (void)at(root, "name");
    (void)at(root, "train");
    FC_CHECK_FAILS(fc_yaml_check_unknown(root, known), FC_USAGE,
                   "t.yaml:3: train.bacth_size: unknown key; did you mean train.batch_size?");
    FC_CHECK_FAILS(fc_yaml_check_unknown(root, NULL), FC_USAGE,
                   "t.yaml:3: train.bacth_size: unknown key");
    /* Asked-for keys of the same mapping are candidates, too. */
    (void)at(root, "train.batch_size");
    FC_CHECK_FAILS(fc_yaml_check_unknown(root, NULL), FC_USAGE, "did you mean train.batch_size?");
    fc_yaml_destroy(&root);

    root = parse("batch_size: 4\n");
    FC_CHECK_FAILS(fc_yaml_check_unknown(root, known), FC_USAGE,
                   "t.yaml:1: batch_size: unknown key; did you mean train.batch_size?");
    fc_yaml_destroy(&root);
    root = parse("zebra: 4\n");
    FC_CHECK_FAILS(fc_yaml_check_unknown(root, known), FC_USAGE, "t.yaml:1: zebra: unknown key");
    FC_CHECK(strstr(fc_error_message(), "did you mean") == NULL);
    fc_yaml_destroy(&root);

    /* Inside lists, and a mapping somebody else reads. */
    root = parse("list: [{a: 1}, {b: 2}]\nlater: {x: {y: 1}}\n");
    const fc_yaml *list = at(root, "list");
    (void)fc_yaml_get(fc_yaml_item(list, 0), "a");
    fc_yaml_mark_read(at(root, "later"));
    FC_CHECK_FAILS(fc_yaml_check_unknown(root, NULL), FC_USAGE, "list.1.b: unknown key");
    (void)fc_yaml_get(fc_yaml_item(list, 1), "b");
    FC_CHECK_OK(fc_yaml_check_unknown(root, NULL));
    fc_yaml_destroy(&root);
}

static bool same(const fc_yaml *a, const fc_yaml *b)
{
    if (fc_yaml_type(a) != fc_yaml_type(b) || fc_yaml_size(a) != fc_yaml_size(b)) {
        return false;
    }
    const char *x = fc_yaml_text(a), *y = fc_yaml_text(b);
    if ((x == NULL) != (y == NULL) || (x != NULL && strcmp(x, y) != 0)) {
        return false;
    }
    for (int i = 0; i < fc_yaml_size(a); i++) {
        if (!same(fc_yaml_item(a, i), fc_yaml_item(b, i)) ||
            strcmp(fc_yaml_path(fc_yaml_item(a, i)), fc_yaml_path(fc_yaml_item(b, i))) != 0) {
            return false;
        }
    }
    return true;
}

static void test_emit(void)
{
    fc_yaml *root =
        parse("name: x\ntrain: {lr: 1.0e-5, betas: [0.9, 0.999], none: null, on: true}\n"
              "odd: \"a: b # c\"\nlines: \"one\\ntwo\\n\"\nquoted: \"12\"\nempty: \"\"\n"
              "blank: '  x '\nu: \"\\u00e9\\u4e2d\"\nno_items: []\nno_keys: {}\n"
              "maps: [{a: 1, b: [x]}, {}]\n\"a b: c\": 1\ndash: '- x'\nword: \"null\"\n"
              "long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb "
              "cccccccccccccccccccccccccccccccccccccc\n");
    char *text = NULL, *again = NULL;
    FC_CHECK_OK(fc_yaml_emit(root, &text));
    fc_yaml *back = parse(text);
    FC_CHECK(same(root, back));
    int64_t i;
    FC_CHECK_FAILS(fc_yaml_int(at(back, "quoted"), 0, 99, &i), FC_USAGE, "the text \"12\"");
    FC_CHECK_OK(fc_yaml_emit(back, &again));
    FC_CHECK_STR(text, again);
    FC_CHECK(strstr(text, "betas: [0.9, 0.999]") != NULL);
    fc_free(&text);
    fc_free(&again);
    fc_yaml_destroy(&back);
    fc_yaml_destroy(&root);
}

static void test_suggest(void)
{
    static const char *const words[] = {"train", "eval", "prepare", "inspect", "bench", NULL};
    FC_CHECK_INT(fc_edit_distance("kitten", "sitting"), 3);
    FC_CHECK_INT(fc_edit_distance("ab", "ba"), 1);
    FC_CHECK_INT(fc_edit_distance("", "abc"), 3);
    FC_CHECK_INT(fc_edit_distance("Train", "train"), 0);
    FC_CHECK_STR(fc_suggest("evla", words), "eval");
    FC_CHECK_STR(fc_suggest("inspct", words), "inspect");
    FC_CHECK(fc_suggest("zzzz", words) == NULL);
    FC_CHECK(fc_suggest("", words) == NULL);
}

int main(void)
{
    test_reading();
    test_anchors();
    test_syntax_errors();
    test_hostile();
    test_files();
    test_values();
    test_merge();
    test_override();
    test_put_and_expand();
    test_unknown();
    test_emit();
    test_suggest();
    return fc_check_end();
}
