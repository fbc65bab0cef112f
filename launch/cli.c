#include "launch/cli.h"

#include "core/build_info.h"
#include "core/memory.h"
#include "core/paths.h"
#include "core/suggest.h"
#include "launch/config/config.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { MOST_WORDS = 32 };

static bool is_help(const char *arg)
{
    return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* KEY=VALUE; a path with an = further on is a file. */
static bool is_override(const char *arg)
{
    const char *p = arg;
    while (isalnum((unsigned char)*p) || *p == '_' || *p == '.' || *p == '-') {
        p++;
    }
    return p != arg && *p == '=';
}

/* "did you mean X?" or the list of words, for an error. */
static void say_words(const char *word, const char *const *words, char *out, size_t bytes)
{
    const char *near = fc_suggest(word, words);
    if (near != NULL) {
        snprintf(out, bytes, "did you mean %s?", near);
        return;
    }
    snprintf(out, bytes, "there %s", words[0] == NULL ? "are none" : "are ");
    for (int i = 0; words[i] != NULL; i++) {
        size_t used = strlen(out);
        snprintf(out + used, bytes - used, "%s%s", i > 0 ? ", " : "", words[i]);
    }
}

static fc_status unknown_verb(const fc_verb *verbs, const char *word)
{
    const char *words[MOST_WORDS + 1] = {NULL};
    for (int i = 0; i < MOST_WORDS && verbs[i].name != NULL; i++) {
        words[i] = verbs[i].name;
    }
    char hint[512];
    say_words(word, words, hint, sizeof hint);
    return FC_FAIL(FC_USAGE, "%s is neither a command nor an experiment file; %s", word, hint);
}

static fc_status unknown_option(const char *word)
{
    static const char *const words[] = {"--help", "--version", "--help-keys", "--dry-run", NULL};
    char hint[512];
    say_words(word, words, hint, sizeof hint);
    return FC_FAIL(FC_USAGE, "%s: no such flag; %s", word, hint);
}

static const fc_verb *find_verb(const fc_verb *verbs, const char *word)
{
    for (; verbs->name != NULL; verbs++) {
        if (strcmp(verbs->name, word) == 0) {
            return verbs;
        }
    }
    return NULL;
}

/* Set what a verb runs with, or the text that explains it. */
static fc_status settle(fc_invocation *out, const fc_verb *verb, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (is_help(argv[i]) && verb->help != NULL) {
            out->text = fc_strdup(verb->help);
            return FC_OK;
        }
        if (is_help(argv[i])) {
            static char help[] = "--help";
            argv[1] = help; /* the verb answers to this one alone */
            argc = 2;
        }
    }
    out->verb = verb;
    out->argc = argc;
    out->argv = argv;
    return FC_OK;
}

fc_status fc_cli_resolve(fc_invocation *out, const fc_verb *verbs, int argc, char **argv)
{
    *out = (fc_invocation){0};
    if (argc < 2) {
        return FC_FAIL(FC_USAGE, "no experiment file; fineclip --help explains");
    }
    const char *first = argv[1];
    const fc_verb *verb = find_verb(verbs, first);
    if (verb != NULL) {
        return settle(out, verb, argc - 1, argv + 1);
    }
    if (is_help(first)) {
        out->text = fc_help_text(verbs);
        return FC_OK;
    }
    if (strcmp(first, "--version") == 0) {
        out->text = fc_strdup("fineclip " FC_VERSION "\n");
        return FC_OK;
    }
    if (strcmp(first, "--help-keys") == 0) {
        out->text = fc_config_help();
        return FC_OK;
    }
    bool flag = first[0] == '-';
    if (flag && strcmp(first, "--dry-run") != 0) {
        return unknown_option(first);
    }
    if (!flag && !is_override(first) && !ends_with(first, ".yaml") && !ends_with(first, ".yml") &&
        strchr(first, '/') == NULL && !fc_path_is_file(first)) {
        return unknown_verb(verbs, first);
    }
    return settle(out, &verbs[0], argc, argv);
}

void fc_cli_release(fc_invocation *invocation)
{
    fc_free(&invocation->text);
}

/* The flag at argv[*at], and the value behind it, where *at then is. */
static fc_status take_flag(const fc_flag *flags, int argc, char **argv, int *at)
{
    const char *words[MOST_WORDS + 1] = {NULL};
    const char *arg = argv[*at], *equals = strchr(arg, '=');
    for (int i = 0; flags != NULL && i < MOST_WORDS && flags[i].name != NULL; i++) {
        const fc_flag *flag = &flags[i];
        const size_t length = strlen(flag->name);
        words[i] = flag->name;
        if (flag->value != NULL && equals == arg + length &&
            strncmp(arg, flag->name, length) == 0) {
            *flag->value = equals + 1;
            return FC_OK;
        }
        if (strcmp(flag->name, arg) != 0) {
            continue;
        }
        if (flag->value == NULL) {
            *flag->set = true;
            return FC_OK;
        }
        if (++*at == argc) {
            return FC_FAIL(FC_USAGE, "%s: want a value behind it", arg);
        }
        *flag->value = argv[*at];
        return FC_OK;
    }
    char hint[512];
    say_words(arg, words, hint, sizeof hint);
    return FC_FAIL(FC_USAGE, "%s: no such flag; %s", arg, hint);
}

fc_status fc_cli_parse(fc_cli *out, int argc, char **argv, const fc_flag *flags)
{
    *out = (fc_cli){.override = argv + 1};
    for (int i = 1; i < argc; i++) {
        char *arg = argv[i];
        if (arg[0] == '-' && arg[1] != '\0') {
            FC_TRY(take_flag(flags, argc, argv, &i));
        } else if (is_override(arg)) {
            out->override[out->overrides++] = arg;
        } else if (out->file != NULL) {
            return FC_FAIL(FC_USAGE, "%s and %s: one file at a time, then key=value", out->file,
                           arg);
        } else {
            out->file = arg;
        }
    }
    if (out->file == NULL) {
        return FC_FAIL(FC_USAGE, "no file is named; fineclip --help explains");
    }
    return FC_OK;
}
