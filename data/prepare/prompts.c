#include "data/prepare/prompts.h"

#include "core/memory.h"
#include "data/file.h"

#include <string.h>

static const char *const ensemble[] = {
    "There is {article} {} in the scene.",
    "There is the {} in the scene.",
    "a photo of {article} {} in the scene.",
    "a photo of the {} in the scene.",
    "a photo of one {} in the scene.",
    "itap of {article} {}.",
    "itap of my {}.",
    "itap of the {}.",
    "a photo of {article} {}.",
    "a photo of my {}.",
    "a photo of the {}.",
    "a photo of one {}.",
    "a photo of many {}.",
    "a good photo of {article} {}.",
    "a good photo of the {}.",
    "a bad photo of {article} {}.",
    "a bad photo of the {}.",
    "a photo of a nice {}.",
    "a photo of the nice {}.",
    "a photo of a cool {}.",
    "a photo of the cool {}.",
    "a photo of a weird {}.",
    "a photo of the weird {}.",
    "a photo of a small {}.",
    "a photo of the small {}.",
    "a photo of a large {}.",
    "a photo of the large {}.",
    "a photo of a clean {}.",
    "a photo of the clean {}.",
    "a photo of a dirty {}.",
    "a photo of the dirty {}.",
    "a bright photo of {article} {}.",
    "a bright photo of the {}.",
    "a dark photo of {article} {}.",
    "a dark photo of the {}.",
    "a photo of a hard to see {}.",
    "a photo of the hard to see {}.",
    "a low resolution photo of {article} {}.",
    "a low resolution photo of the {}.",
    "a cropped photo of {article} {}.",
    "a cropped photo of the {}.",
    "a close-up photo of {article} {}.",
    "a close-up photo of the {}.",
    "a jpeg corrupted photo of {article} {}.",
    "a jpeg corrupted photo of the {}.",
    "a blurry photo of {article} {}.",
    "a blurry photo of the {}.",
    "a pixelated photo of {article} {}.",
    "a pixelated photo of the {}.",
    "a black and white photo of the {}.",
    "a black and white photo of {article} {}.",
    "a plastic {}.",
    "the plastic {}.",
    "a toy {}.",
    "the toy {}.",
    "a plushie {}.",
    "the plushie {}.",
    "a cartoon {}.",
    "the cartoon {}.",
    "an embroidered {}.",
    "the embroidered {}.",
    "a painting of the {}.",
    "a painting of a {}.",
};

enum { ENSEMBLE = sizeof ensemble / sizeof ensemble[0] };

static void add_template(fc_prompts *p, const char *text)
{
    p->templates = fc_realloc(p->templates, (size_t)p->count + 1, sizeof *p->templates);
    p->templates[p->count++] = fc_strdup(text);
}

static fc_status read_file(fc_prompts *p, const char *path)
{
    uint8_t *bytes;
    size_t count;
    FC_TRY(fci_file_read(path, &bytes, &count));
    fc_status status = FC_OK;
    int number = 1;
    for (char *line = (char *)bytes; line != NULL && status == FC_OK; number++) {
        char *end = strchr(line, '\n');
        if (end != NULL) {
            *end = '\0';
        }
        line[strcspn(line, "\r")] = '\0';
        if (line[strspn(line, " \t")] != '\0') {
            if (strstr(line, "{}") == NULL) {
                status = FC_FAIL(FC_USAGE, "%s:%d: this template has no {} for the category's name",
                                 path, number);
            } else {
                add_template(p, line);
            }
        }
        line = end == NULL ? NULL : end + 1;
    }
    if (status == FC_OK && p->count == 0) {
        status =
            FC_FAIL(FC_USAGE, "%s: no templates (one a line, {} for the category's name)", path);
    }
    fc_free(&bytes);
    return status;
}

fc_status fc_prompts_read(fc_prompts *out, const char *spec)
{
    *out = (fc_prompts){0};
    if (strcmp(spec, "ensemble") == 0) {
        for (int i = 0; i < ENSEMBLE; i++) {
            add_template(out, ensemble[i]);
        }
        out->prefix_this_is = true;
    } else if (strcmp(spec, "none") != 0) {
        fc_status status = read_file(out, spec);
        if (status != FC_OK) {
            fc_prompts_free(out);
        }
        FC_TRY(status);
    }
    return FC_OK;
}

void fc_prompts_free(fc_prompts *p)
{
    for (int i = 0; i < p->count; i++) {
        fc_free(&p->templates[i]);
    }
    fc_free(&p->templates);
    p->count = 0;
}

/* Append `n` bytes and a zero; the buffer has room. */
static char *put(char *to, const char *from, size_t n)
{
    memcpy(to, from, n);
    to[n] = '\0';
    return to + n;
}

static char *clean_name(const char *raw)
{
    char *name = fc_alloc(4 * strlen(raw) + 1, 1), *to = name;
    for (; *raw != '\0'; raw++) {
        if (*raw == '/') {
            to = put(to, " or ", 4);
        } else if (*raw == '_') {
            to = put(to, " ", 1);
        } else {
            char c = *raw >= 'A' && *raw <= 'Z' ? (char)(*raw | 32) : *raw;
            to = put(to, &c, 1);
        }
    }
    while (to > name && to[-1] == '.') {
        *--to = '\0';
    }
    return name;
}

char *fc_prompt_sentence(const fc_prompts *p, int i, const char *raw_name)
{
    const char *text = p->templates[i], *article = "a";
    if (raw_name[0] != '\0' && strchr("aeiou", raw_name[0]) != NULL) {
        article = "an";
    }
    char *name = clean_name(raw_name);
    size_t longest = strlen(name) + 2; /* what one {} may become; {article} shrinks */
    char *sentence = fc_alloc(strlen(text) * (longest + 1) + sizeof "This is ", 1), *to = sentence;
    if (p->prefix_this_is && (text[0] == 'a' || strncmp(text, "the", 3) == 0)) {
        to = put(to, "This is ", 8);
    }
    while (*text != '\0') {
        if (strncmp(text, "{}", 2) == 0) {
            to = put(to, name, strlen(name));
            text += 2;
        } else if (strncmp(text, "{article}", 9) == 0) {
            to = put(to, article, strlen(article));
            text += 9;
        } else {
            to = put(to, text++, 1);
        }
    }
    fc_free(&name);
    return sentence;
}
