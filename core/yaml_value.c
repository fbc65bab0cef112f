/* Typed values, errors with their place, unknown keys. */
#include "core/memory.h"
#include "core/suggest.h"
#include "core/yaml_node.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fc_status FC_PRINTF(3, 0)
    fail(fc_status code, const fc_yaml *node, const char *fmt, va_list ap)
{
    char what[1536];
    vsnprintf(what, sizeof what, fmt, ap);
    char line[32] = "";
    if (node->line > 0) {
        snprintf(line, sizeof line, ":%d", node->line);
    }
    const char *path = fc_yaml_path(node);
    return FC_FAIL(code, "%s%s: %s%s%s", node->file->text, line, path, *path != '\0' ? ": " : "",
                   what);
}

fc_status fc_yaml_error(const fc_yaml *node, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fc_status status = fail(FC_USAGE, node, fmt, ap);
    va_end(ap);
    return status;
}

fc_status fc_yaml_fail(fc_status code, const fc_yaml *node, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fc_status status = fail(code, node, fmt, ap);
    va_end(ap);
    return status;
}

/* What stands in a node, for messages; long texts are cut. */
static const char *found(const fc_yaml *node, char buffer[80])
{
    switch (node->kind) {
    case FC_YAML_NULL:
        return "nothing (null)";
    case FC_YAML_SEQUENCE:
        return "a list";
    case FC_YAML_MAPPING:
        return "a mapping";
    case FC_YAML_SCALAR:
        break;
    }
    snprintf(buffer, 80, "%s%.40s%s%s", node->plain ? "" : "the text \"", node->text,
             strlen(node->text) > 40 ? "..." : "", node->plain ? "" : "\"");
    return buffer;
}

fc_status fc_yaml_bool(const fc_yaml *node, bool *out)
{
    static const char *const words[] = {"true", "True", "TRUE", "false", "False", "FALSE"};
    for (size_t i = 0; node->kind == FC_YAML_SCALAR && node->plain && i < 6; i++) {
        if (strcmp(node->text, words[i]) == 0) {
            *out = i < 3;
            return FC_OK;
        }
    }
    char buffer[80];
    return fc_yaml_error(node, "want true or false, found %s", found(node, buffer));
}

static const char *skip_digits(const char *p)
{
    while (isdigit((unsigned char)*p)) {
        p++;
    }
    return p;
}

/* Behind [+-] digits [. digits] [e [+-] digits]; NULL: no such thing. strtod alone would take
 * hexadecimal and "nan". */
static const char *skip_number(const char *text)
{
    const char *p = text + (*text == '-' || *text == '+');
    const char *digits = p;
    p = skip_digits(p);
    size_t count = (size_t)(p - digits);
    if (*p == '.') {
        const char *after = skip_digits(p + 1);
        count += (size_t)(after - p - 1);
        p = after;
    }
    if (count == 0) {
        return NULL;
    }
    if (*p == 'e' || *p == 'E') {
        p += 1 + (p[1] == '-' || p[1] == '+');
        return isdigit((unsigned char)*p) ? skip_digits(p) : NULL;
    }
    return p;
}

static bool parse_number(const fc_yaml *node, double *out)
{
    if (node->kind != FC_YAML_SCALAR || !node->plain) {
        return false;
    }
    const char *end = skip_number(node->text);
    if (end == NULL || *end != '\0') {
        return false;
    }
    *out = strtod(node->text, NULL);
    return isfinite(*out);
}

/* Whole numbers beyond 2^53 keep every digit. */
static bool parse_whole(const fc_yaml *node, int64_t *out)
{
    double real;
    if (!parse_number(node, &real)) {
        return false;
    }
    char *end;
    errno = 0;
    long long whole = strtoll(node->text, &end, 10);
    if (*end == '\0' && errno == 0) {
        *out = whole;
        return true;
    }
    if (*end == '\0' || real != floor(real) || fabs(real) > 9007199254740992.0) {
        return false;
    }
    *out = (int64_t)real;
    return true;
}

fc_status fc_yaml_int(const fc_yaml *node, int64_t lo, int64_t hi, int64_t *out)
{
    char buffer[80];
    int64_t value;
    if (!parse_whole(node, &value)) {
        return fc_yaml_error(node, "want a whole number, found %s", found(node, buffer));
    }
    if (value < lo || value > hi) {
        if (hi == INT64_MAX) {
            return fc_yaml_error(node, "want at least %lld, found %s", (long long)lo,
                                 found(node, buffer));
        }
        return fc_yaml_error(node, "want %lld to %lld, found %s", (long long)lo, (long long)hi,
                             found(node, buffer));
    }
    *out = value;
    return FC_OK;
}

fc_status fc_yaml_real(const fc_yaml *node, double lo, double hi, double *out)
{
    char buffer[80];
    double value;
    if (!parse_number(node, &value)) {
        return fc_yaml_error(node, "want a number, found %s", found(node, buffer));
    }
    if (!(value >= lo && value <= hi)) {
        if (hi > 1e300) {
            return fc_yaml_error(node, "want at least %g, found %s", lo, found(node, buffer));
        }
        return fc_yaml_error(node, "want %g to %g, found %s", lo, hi, found(node, buffer));
    }
    *out = value;
    return FC_OK;
}

/* A number and the unit behind it. */
static bool parse_bytes(const char *text, double *out)
{
    static const struct {
        const char *name;
        double bytes;
    } units[] = {{"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40},
                 {"kB", 1e3},     {"MB", 1e6},     {"GB", 1e9},     {"TB", 1e12}};
    const char *unit = skip_number(text);
    if (unit == NULL) {
        return false;
    }
    while (*unit == ' ') {
        unit++;
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(unit, units[i].name) == 0) {
            *out = strtod(text, NULL) * units[i].bytes;
            return true;
        }
    }
    return false;
}

fc_status fc_yaml_bytes(const fc_yaml *node, int64_t *out)
{
    char buffer[80];
    double bytes = 0;
    if (node->kind != FC_YAML_SCALAR || !parse_bytes(node->text, &bytes) ||
        !(bytes >= 1 && bytes <= 0x1p60)) {
        return fc_yaml_error(node,
                             "want a size with its unit (KiB, MiB, GiB, TiB), e.g. 20GiB, "
                             "found %s",
                             found(node, buffer));
    }
    *out = (int64_t)bytes;
    return FC_OK;
}

fc_status fc_yaml_choice(const fc_yaml *node, const char *const *words, int *out)
{
    for (int i = 0; node->kind == FC_YAML_SCALAR && words[i] != NULL; i++) {
        if (strcmp(node->text, words[i]) == 0) {
            *out = i;
            return FC_OK;
        }
    }
    char list[512] = "";
    for (int i = 0; words[i] != NULL; i++) {
        size_t used = strlen(list);
        const char *between = i == 0 ? "" : words[i + 1] == NULL ? " or " : ", ";
        snprintf(list + used, sizeof list - used, "%s%s", between, words[i]);
    }
    char buffer[80];
    const char *near = node->kind == FC_YAML_SCALAR ? fc_suggest(node->text, words) : NULL;
    return fc_yaml_error(node, "want %s, found %s%s%s%s", list, found(node, buffer),
                         near != NULL ? "; did you mean " : "", near != NULL ? near : "",
                         near != NULL ? "?" : "");
}

/* ---- Unknown keys ---- */

void fc_yaml_mark_read(const fc_yaml *node)
{
    ((fc_yaml *)node)->read = true;
    for (int i = 0; i < node->count; i++) {
        fc_yaml_mark_read(node->children[i]);
    }
}

static const char *last_part(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot != NULL ? dot + 1 : path;
}

/* The nearest key so far. A key of that name elsewhere ("batch_size" for "train.batch_size") counts
 * as one more edit. */
typedef struct {
    const char *path; /* the wrong key */
    char *best;
    int distance;
} nearest;

static void consider(nearest *n, const char *candidate)
{
    const char *wrong = last_part(n->path), *right = last_part(candidate);
    size_t length = strlen(wrong);
    int allowed = length < 3 ? 0 : (int)((length + 2) / 3);
    int whole = fc_edit_distance(n->path, candidate);
    int part = fc_edit_distance(wrong, right) + 1;
    int distance = whole < part || length < 4 ? whole : part;
    if (distance <= allowed && distance < n->distance) {
        fc_free(&n->best);
        n->best = fc_strdup(candidate);
        n->distance = distance;
    }
}

static fc_status unknown(const fc_yaml *node, const char *const *known)
{
    nearest n = {.path = fc_yaml_path(node), .distance = INT32_MAX};
    const fc_yaml *mapping = node->parent;
    const char *before = fc_yaml_path(mapping);
    for (int i = 0; i < mapping->asked_count; i++) {
        char *path = fc_format("%s%s%s", before, *before != '\0' ? "." : "", mapping->asked[i]);
        consider(&n, path);
        fc_free(&path);
    }
    for (int i = 0; known != NULL && known[i] != NULL; i++) {
        consider(&n, known[i]);
    }
    fc_status status =
        fc_yaml_error(node, "unknown key%s%s%s", n.best != NULL ? "; did you mean " : "",
                      n.best != NULL ? n.best : "", n.best != NULL ? "?" : "");
    fc_free(&n.best);
    return status;
}

fc_status fc_yaml_check_unknown(const fc_yaml *root, const char *const *known)
{
    for (int i = 0; i < root->count; i++) {
        const fc_yaml *child = root->children[i];
        if (root->kind == FC_YAML_MAPPING && !child->read) {
            return unknown(child, known);
        }
        FC_TRY(fc_yaml_check_unknown(child, known));
    }
    return FC_OK;
}
