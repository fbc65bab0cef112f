/* Tables come out aligned. */
#include "core/memory.h"
#include "launch/table.h"
#include "tests/check.h"

#include <math.h>
#include <string.h>

static void rendered(const fc_table *t, const char *want)
{
    char *text = fc_table_render(t);
    FC_CHECK_STR(text, want);
    fc_free(&text);
}

int main(void)
{
    const char *const headings[] = {"terms", "top-1", "n"};
    fc_table *t = fc_table_create(3, headings);
    rendered(t, "terms  top-1  n\n"
                "---------------\n");
    fc_table_cell(t, "caf\xc3\xa9 all");
    fc_table_percent(t, 0.58349);
    fc_table_cell(t, "%d", 12345);
    fc_table_cell(t, "x");
    fc_table_percent(t, NAN);
    fc_table_end_row(t);
    fc_table_rule(t);
    fc_table_cell(t, "chance");
    fc_table_cell(t, "-.5");
    fc_table_cell(t, "%d", 7);
    fc_table_end_row(t);
    rendered(t, "terms     top-1      n\n"
                "----------------------\n"
                "caf\xc3\xa9 all   58.3  12345\n"
                "x             -\n"
                "----------------------\n"
                "chance      -.5      7\n");
    fc_table_destroy(&t);
    FC_CHECK(t == NULL);

    t = fc_table_create(2, NULL);
    rendered(t, "");
    fc_table_cell(t, "a");
    fc_table_cell(t, "text");
    fc_table_cell(t, "longer");
    fc_table_cell(t, "1");
    rendered(t, "a       text\n"
                "longer  1\n");
    fc_table_destroy(&t);
    FC_CHECK_INT(fc_text_width("\xe2\x96\x81-\xc3\xa9"), 3);
    return fc_check_end();
}
