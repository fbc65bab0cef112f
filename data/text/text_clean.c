#include "data/text/text_clean.h"

#include "core/memory.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <gumbo.h>
#include <unicase.h>
#include <unistr.h>

typedef struct text {
    char *at;
    size_t count, room;
} text;

static void append(text *t, const char *bytes, size_t count)
{
    if (t->count + count + 1 > t->room) {
        t->room = 2 * t->room + count + 1;
        t->at = fc_realloc(t->at, t->room, 1);
    }
    memcpy(t->at + t->count, bytes, count);
    t->count += count;
    t->at[t->count] = '\0';
}

static void append_code_point(text *t, uint32_t c)
{
    uint8_t bytes[6];
    int n = u8_uctomb(bytes, c, sizeof bytes);
    append(t, (const char *)bytes, n > 0 ? (size_t)n : 0);
}

static char *repair(const char *from)
{
    const uint8_t *p = (const uint8_t *)from;
    size_t left = strlen(from);
    if (u8_check(p, left) == NULL) {
        return fc_strdup(from);
    }
    text t = {0};
    append(&t, "", 0);
    while (left > 0) {
        ucs4_t c;
        int n = u8_mbtouc(&c, p, left); /* c is U+FFFD for what is not UTF-8 */
        append_code_point(&t, c);
        p += n;
        left -= (size_t)n;
    }
    return t.at;
}

/* The HTML5 meaning of a numeric reference, with Python's treatment of code points that are not
 * characters. */
static void append_numeric(text *t, uint32_t c)
{
    static const uint16_t windows_1252[32] = {
        0x20ac, 0x81,   0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
        0x2039, 0x0152, 0x8d,   0x017d, 0x8f,   0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
        0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x9d,   0x017e, 0x0178};
    bool control = (c >= 0x1 && c <= 0x8) || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f;
    bool not_a_character = (c >= 0xfdd0 && c <= 0xfdef) || (c & 0xfffe) == 0xfffe;
    if (c == 0 || (c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff) {
        append_code_point(t, 0xfffd);
    } else if (c >= 0x80 && c <= 0x9f) {
        append_code_point(t, windows_1252[c - 0x80]);
    } else if (!control && !not_a_character) {
        append_code_point(t, c);
    }
}

static int digit(char c, int base)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (base == 16 && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))) {
        return (c | 32) - 'a' + 10;
    }
    return -1;
}

/* p stands behind "&#". Returns the end of the reference, NULL where there is none. */
static const char *numeric(text *t, const char *p)
{
    int base = 10;
    if (*p == 'x' || *p == 'X') {
        base = 16;
        p++;
    }
    if (digit(*p, base) < 0) {
        return NULL;
    }
    uint32_t c = 0;
    for (; digit(*p, base) >= 0; p++) {
        c = c > 0x10ffff ? c : c * (uint32_t)base + (uint32_t)digit(*p, base);
    }
    append_numeric(t, c);
    return *p == ';' ? p + 1 : p;
}

static bool is_name_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* p stands behind "&". gumbo, an HTML5 parser, is our table of names: the x in front keeps it from
 * dropping white space, and nothing but the name is shown to it. A name that only begins with a
 * known one counts up to there. */
static const char *named(text *t, const char *p)
{
    char page[40] = "x&";
    size_t n = 0;
    while (n < 32 && is_name_char(p[n])) {
        n++;
    }
    if (n == 0) {
        return NULL;
    }
    n += p[n] == ';';
    memcpy(page + 2, p, n);
    page[n + 2] = '\0';
    bool found = false;
    GumboOutput *parsed = gumbo_parse(page);
    const GumboVector *parts = &parsed->root->v.element.children;
    for (unsigned i = 0; i < parts->length && !found; i++) {
        const GumboNode *part = parts->data[i];
        if (part->type != GUMBO_NODE_ELEMENT || part->v.element.tag != GUMBO_TAG_BODY ||
            part->v.element.children.length == 0) {
            continue;
        }
        const GumboNode *node = part->v.element.children.data[0];
        if (node->type == GUMBO_NODE_TEXT && strcmp(node->v.text.text, page) != 0) {
            append(t, node->v.text.text + 1, strlen(node->v.text.text + 1));
            found = true;
        }
    }
    gumbo_destroy_output(&kGumboDefaultOptions, parsed);
    return found ? p + n : NULL;
}

char *fci_html_unescape(const char *from)
{
    text t = {0};
    append(&t, "", 0);
    while (*from != '\0') {
        size_t plain = strcspn(from, "&");
        append(&t, from, plain);
        from += plain;
        if (*from == '\0') {
            break;
        }
        const char *end = from[1] == '#' ? numeric(&t, from + 2) : named(&t, from + 1);
        if (end == NULL) {
            append(&t, from, 1);
            end = from + 1;
        }
        from = end;
    }
    return t.at;
}

/* Python's str.isspace: Unicode white space and the four separators of ASCII. */
static bool is_space(ucs4_t c)
{
    return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

/* In place; s is valid UTF-8. Returns the new length; *ascii: nothing but ASCII is left. */
static size_t squeeze_space(char *s, bool *ascii)
{
    const uint8_t *p = (const uint8_t *)s;
    size_t left = strlen(s), count = 0;
    bool pending = false;
    *ascii = true;
    while (left > 0) {
        ucs4_t c = *p;
        int n = c < 0x80 ? 1 : u8_mbtouc(&c, p, left);
        if (is_space(c)) {
            pending = count > 0;
        } else {
            if (pending) {
                s[count++] = ' ';
                pending = false;
            }
            *ascii = *ascii && c < 0x80;
            memmove(s + count, p, (size_t)n);
            count += (size_t)n;
        }
        p += n;
        left -= (size_t)n;
    }
    s[count] = '\0';
    return count;
}

static char *lower(char *s, size_t count, bool ascii)
{
    if (ascii) {
        for (size_t i = 0; i < count; i++) {
            if (s[i] >= 'A' && s[i] <= 'Z') {
                s[i] = (char)(s[i] | 32);
            }
        }
        return s;
    }
    size_t n = 0;
    uint8_t *lowered = u8_tolower((const uint8_t *)s, count, NULL, NULL, NULL, &n);
    if (lowered == NULL) {
        return s;
    }
    text t = {0};
    append(&t, (const char *)lowered, n);
    free(lowered); /* lint: allow, libunistring allocated it */
    fc_free(&s);
    return t.at;
}

char *fci_text_clean(const char *from)
{
    char *s = repair(from);
    for (int i = 0; i < 2 && strchr(s, '&') != NULL; i++) {
        char *plain = fci_html_unescape(s);
        fc_free(&s);
        s = plain;
    }
    bool ascii;
    size_t count = squeeze_space(s, &ascii);
    return lower(s, count, ascii);
}
