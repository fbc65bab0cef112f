/* Category sentences: the ensemble's size and shape, cleaning of names, template files. */
#include "core/memory.h"
#include "data/file.h"
#include "data/prepare/prompts.h"
#include "tests/check.h"

#include <string.h>

static void check_sentence(const fc_prompts *p, int i, const char *name, const char *want)
{
    char *got = fc_prompt_sentence(p, i, name);
    FC_CHECK_STR(got, want);
    fc_free(&got);
}

static void ensemble(void)
{
    fc_prompts p;
    FC_CHECK_OK(fc_prompts_read(&p, "ensemble"));
    FC_CHECK_INT(p.count, 63);
    int prefixed = 0, articles = 0;
    for (int i = 0; i < p.count; i++) {
        char *s = fc_prompt_sentence(&p, i, "apple");
        prefixed += strncmp(s, "This is a", 9) == 0 || strncmp(s, "This is the ", 12) == 0;
        articles += strstr(s, " an apple") != NULL;
        FC_CHECK(strstr(s, "apple") != NULL && strchr(s, '{') == NULL);
        for (int k = 0; k < i; k++) {
            char *other = fc_prompt_sentence(&p, k, "apple");
            FC_CHECK(strcmp(other, s) != 0);
            fc_free(&other);
        }
        fc_free(&s);
    }
    FC_CHECK_INT(prefixed, 58);
    FC_CHECK_INT(articles, 15); /* 2 in the scene, itap, photo, 2 good/bad, 2 bright/dark, 6
                                   damaged, black and white */
    check_sentence(&p, 0, "dog", "There is a dog in the scene.");
    check_sentence(&p, 0, "owl", "There is an owl in the scene.");
    check_sentence(&p, 2, "dog", "This is a photo of a dog in the scene.");
    check_sentence(&p, 5, "Owl", "itap of a owl."); /* the article goes by the raw letter */
    check_sentence(&p, 52, "tree-merged", "This is the plastic tree-merged.");
    check_sentence(&p, 62, "wall_other/stone...", "This is a painting of a wall other or stone.");
    fc_prompts_free(&p);
}

static void files(void)
{
    fc_prompts p;
    const char *path = fc_check_temp("templates.txt");
    const char *text = "see {article} {} and {}\r\n\n  \nthe {}";
    FC_CHECK_OK(fc_prompts_read(&p, "none"));
    FC_CHECK_INT(p.count, 0);
    FC_CHECK_OK(fci_file_write(path, (const uint8_t *)text, strlen(text)));
    FC_CHECK_OK(fc_prompts_read(&p, path));
    FC_CHECK_INT(p.count, 2);
    check_sentence(&p, 0, "eagle_owl", "see an eagle owl and eagle owl");
    check_sentence(&p, 1, "x", "the x");
    fc_prompts_free(&p);
    FC_CHECK_OK(fci_file_write(path, (const uint8_t *)"{}\nno name\n", 11));
    FC_CHECK_FAILS(fc_prompts_read(&p, path), FC_USAGE, "templates.txt:2: this template has no {}");
    FC_CHECK_OK(fci_file_write(path, (const uint8_t *)"\n\n", 2));
    FC_CHECK_FAILS(fc_prompts_read(&p, path), FC_USAGE, "no templates");
    FC_CHECK_FAILS(fc_prompts_read(&p, fc_check_temp("absent.txt")), FC_NOINPUT, "absent.txt");
}

int main(void)
{
    ensemble();
    files();
    return fc_check_end();
}
