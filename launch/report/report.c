/* A report as files: one page, the same as Markdown, and CSV. */
#include "launch/report/report.h"

#include "core/log.h"
#include "core/memory.h"
#include "core/replace.h"
#include "launch/folder.h"
#include "launch/report/report_figures.h"
#include "launch/report/report_tables.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* One table with its heading. */
typedef struct section {
    const char *title;
    fc_sheet *sheet; /* NULL: nothing to say */
    bool printed;    /* on stdout, too */
} section;

enum { SECTIONS = 5 };

typedef struct page {
    const fc_report_options *options;
    fci_report *report;
    fci_figures *figures;
    section section[SECTIONS];
    char *notes;
} page;

/* ---- Markdown ---- */

static char *markdown(const page *p, bool whole)
{
    fc_growing g = {0};
    fc_grow(&g, "## %s\n", p->options->name);
    for (int i = 0; i < SECTIONS; i++) {
        const section *s = &p->section[i];
        if (s->sheet != NULL && (whole || s->printed)) {
            char *table = fc_sheet_markdown(s->sheet);
            fc_grow(&g, "\n%s:\n\n%s", s->title, table);
            fc_free(&table);
        }
        char *rest = i == 0 ? p->notes : NULL; /* right below what they explain */
        for (char *end; rest != NULL && *rest != '\0'; rest = end + 1) {
            end = strchr(rest, '\n');
            fc_grow(&g, "\n%.*s\n", (int)(end - rest), rest);
        }
    }
    for (int i = 0; i < p->figures->count && whole && p->options->png; i++) {
        const fc_figure *f = &p->figures->figure[i];
        fc_grow(&g, "\n![%s](report_%s.png)\n\n%s\n", f->title, p->figures->key[i],
                p->figures->text[i]);
    }
    return g.text;
}

/* ---- HTML ---- */

static void put_base64(fc_growing *g, const unsigned char *data, size_t bytes)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes; i += 3) {
        size_t left = bytes - i;
        uint32_t word = (uint32_t)data[i] << 16;
        word |= left > 1 ? (uint32_t)data[i + 1] << 8 : 0;
        word |= left > 2 ? data[i + 2] : 0;
        char four[4] = {digit[word >> 18], digit[word >> 12 & 63],
                        left > 1 ? digit[word >> 6 & 63] : '=', left > 2 ? digit[word & 63] : '='};
        fc_grow_bytes(g, four, sizeof four);
    }
}

static const char style[] =
    "body{font:15px/1.45 'DejaVu Sans',Verdana,sans-serif;color:#1a1a1a;max-width:1100px;"
    "margin:2em auto;padding:0 1em}\n"
    "h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}\n"
    ".wide{overflow-x:auto}\n"
    "table{border-collapse:collapse;font-size:.87em;font-variant-numeric:tabular-nums}\n"
    "th,td{padding:.28em .7em;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}\n"
    "th{border-bottom:2px solid #888;background:#f5f5f5}th.text,td.text{text-align:left}\n"
    "p.note{color:#444;font-size:.87em;margin:.4em 0}\n"
    "figure{margin:1.5em 0}img{max-width:100%;height:auto;border:1px solid #e4e4e4}\n"
    "figcaption{color:#444;font-size:.87em}\n";

static fc_status html_figure(fc_growing *g, const page *p, int i)
{
    const fc_figure *f = &p->figures->figure[i];
    char *svg = NULL;
    size_t bytes = 0;
    FC_TRY(fc_figure_svg(f, &svg, &bytes));
    fc_grow(g, "<figure>\n<img alt=\"%s\" src=\"data:image/svg+xml;base64,", f->title);
    put_base64(g, (const unsigned char *)svg, bytes);
    fc_grow(g, "\">\n<figcaption>%s</figcaption>\n</figure>\n", p->figures->text[i]);
    fc_free(&svg);
    return FC_OK;
}

static void html_section(fc_growing *g, const page *p, int i)
{
    const section *s = &p->section[i];
    if (s->sheet != NULL) {
        char *table = fc_sheet_html(s->sheet);
        fc_grow(g, "<h2>%s</h2>\n<div class=\"wide\">\n%s</div>\n", s->title, table);
        fc_free(&table);
    }
    char *rest = i == 0 ? p->notes : NULL;
    for (char *end; rest != NULL && *rest != '\0'; rest = end + 1) {
        end = strchr(rest, '\n');
        char *line = fc_format("%.*s", (int)(end - rest), rest), *text = fc_html_text(line);
        char *sign = strstr(text, "+-");
        if (sign != NULL) {
            memcpy(sign, "\xc2\xb1", 2); /* the sign takes two bytes as well */
        }
        fc_grow(g, "<p class=\"note\">%s</p>\n", text);
        fc_free(&text);
        fc_free(&line);
    }
}

/* Results first, then pictures, then the other tables. */
static fc_status html(const page *p, fc_growing *g)
{
    char *name = fc_html_text(p->options->name);
    fc_grow(g,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
            "<title>%s</title>\n<style>\n%s</style>\n</head>\n<body>\n<h1>%s</h1>\n",
            name, style, name);
    fc_free(&name);
    fc_status status = FC_OK;
    for (int i = 0; i < SECTIONS && status == FC_OK; i++) {
        html_section(g, p, i);
        for (int k = 0; i == 1 && k < p->figures->count && status == FC_OK; k++) {
            status = html_figure(g, p, k);
        }
    }
    fc_grow(g, "</body>\n</html>\n");
    return status;
}

/* ---- Files ---- */

static fc_status write_file(const page *p, const char *name, const char *text)
{
    char *path = fc_format("%s/%s", p->options->output, name);
    fc_replace *file = NULL;
    fc_status status;
    FC_TRY_GOTO(status, fc_replace_begin(&file, path), done);
    FC_TRY_GOTO(status, fc_replace_write(file, text, strlen(text)), done);
    FC_TRY_GOTO(status, fc_replace_commit(&file, false), done);
done:
    fc_replace_abandon(&file);
    fc_free(&path);
    return status;
}

static fc_status write_texts(const page *p)
{
    char *text = markdown(p, true);
    fc_status status = write_file(p, "report.md", text);
    fc_free(&text);
    FC_TRY(status);
    text = fci_csv_groups(p->report);
    status = write_file(p, "report.csv", text);
    fc_free(&text);
    FC_TRY(status);
    text = fci_csv_runs(p->report);
    status = write_file(p, "report_runs.csv", text);
    fc_free(&text);
    FC_TRY(status);
    fc_growing g = {0};
    status = html(p, &g);
    if (status == FC_OK) {
        status = write_file(p, "report.html", g.text);
    }
    fc_free(&g.text);
    return status;
}

static fc_status write_pictures(const page *p)
{
    for (int i = 0; i < p->figures->count; i++) {
        char *path = fc_format("%s/report_%s.png", p->options->output, p->figures->key[i]);
        fc_status status = fc_figure_png(&p->figures->figure[i], path);
        fc_free(&path);
        FC_TRY(status);
    }
    return FC_OK;
}

fc_status fc_report_write(const fc_report_options *options)
{
    page p = {.options = options};
    FC_TRY(fci_report_load(&p.report, options->count, options->paths, options->missing_ok));
    const section all[SECTIONS] = {
        {"Results", fci_table_results(p.report), true},
        {"What each term changed, in points", fci_table_effects(p.report), true},
        {"Retrieval", fci_table_retrieval(p.report), false},
        {"Cost", fci_table_cost(p.report), true},
        {"Every run", fci_table_runs(p.report), false},
    };
    memcpy(p.section, all, sizeof all);
    p.notes = fci_report_notes(p.report);
    p.figures = fci_figures_create(p.report);
    fc_status status = fc_folder_make(options->output);
    if (status == FC_OK) {
        status = write_texts(&p);
    }
    if (status == FC_OK && options->png) {
        status = write_pictures(&p);
    }
    if (status == FC_OK) {
        char *text = markdown(&p, false);
        fputs(text, stdout);
        fflush(stdout);
        fc_free(&text);
        fc_log_info("written to %s: report.html, report.md, report.csv, report_runs.csv%s",
                    options->output, options->png ? ", report_*.png" : "");
    }
    for (int i = 0; i < SECTIONS; i++) {
        fc_sheet_destroy(&p.section[i].sheet);
    }
    fci_figures_destroy(&p.figures);
    fc_free(&p.notes);
    fci_report_destroy(&p.report);
    return status;
}
