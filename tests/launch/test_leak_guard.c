/* The leak guard: pictures shared by training and evaluation stores are said, or refused. */
#include "core/log.h"
#include "launch/dist.h"
#include "launch/guard/leak_guard.h"
#include "tests/data/store_maker.h"

#include <fcntl.h>
#include <unistd.h>

static char errors[1 << 14];

/* Guard with stderr into `errors`. */
static fc_status guard(const char *word, const char *train, const char *box, const char *retrieval)
{
    char *text = fc_format("data: {train: x.h5, leak_guard: %s}\n", word);
    fc_config *config = NULL;
    fc_experiment x = {.comm = fc_dist_comm()};
    FC_CHECK_OK(fc_config_parse_text(&config, text, strlen(text), "test.yaml"));
    fc_free(&text);
    x.config = config;
    FC_CHECK_OK(fc_store_open(&x.train, train));
    if (box != NULL) {
        FC_CHECK_OK(fc_store_open(&x.box, box));
    }
    if (retrieval != NULL && box != NULL && strcmp(box, retrieval) == 0) {
        x.retrieval = x.box;
    } else if (retrieval != NULL) {
        FC_CHECK_OK(fc_store_open(&x.retrieval, retrieval));
    }
    fflush(stderr);
    int keep = dup(STDERR_FILENO);
    int to = open(fc_check_temp("stderr"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    dup2(to, STDERR_FILENO);
    fc_status status = fc_leak_guard(&x);
    fflush(stderr);
    dup2(keep, STDERR_FILENO);
    close(keep);
    ssize_t bytes = pread(to, errors, sizeof errors - 1, 0);
    errors[bytes > 0 ? bytes : 0] = '\0';
    close(to);
    if (x.retrieval != x.box) {
        fc_store_close(&x.retrieval);
    }
    fc_store_close(&x.box);
    fc_store_close(&x.train);
    fc_config_destroy(&config);
    return status;
}

static int lines(void)
{
    int count = 0;
    for (const char *at = errors; *at != '\0'; at++) {
        count += *at == '\n';
    }
    return count;
}

static void says(int want_lines, const char *part, int line)
{
    fc_check_true(lines() == want_lines && strstr(errors, part) != NULL, __FILE__, line,
                  "want %d lines with '%s', got:\n%s", want_lines, part, errors);
}
#define SAYS(count, part) says(count, part, __LINE__)

int main(void)
{
    char train[1024], eval[1024], other[1024], link[1024];
    FC_CHECK_OK(fc_dist_start());
    snprintf(train, sizeof train, "%s", fc_check_temp("train.h5"));
    snprintf(eval, sizeof eval, "%s", fc_check_temp("eval.h5"));
    snprintf(other, sizeof other, "%s", fc_check_temp("other.h5"));
    snprintf(link, sizeof link, "%s", fc_check_temp("link.h5"));
    make_store(train, &(maker){.images = 30, .text = true});
    make_store(eval, &(maker){.images = 20, .text = true});
    copy_file(eval, other);
    for (int i = 0; i < 20; i++) { /* other pictures */
        poke(other, "/images/hash", 16 * i + 3, 255 - i);
        poke(other, "/images/hash", 16 * i + 4, i);
    }
    FC_CHECK(symlink(train, link) == 0);

    FC_CHECK_OK(guard("warn", train, other, NULL));
    FC_CHECK_INT(lines(), 0);
    FC_CHECK_OK(guard("refuse", train, other, other));
    FC_CHECK_INT(lines(), 0);
    FC_CHECK_OK(guard("warn", train, NULL, NULL));
    FC_CHECK_INT(lines(), 0);

    FC_CHECK_OK(guard("warn", train, eval, NULL));
    SAYS(1, "20 of the 20 pictures of eval.box_classification");
    SAYS(1, "picture_0.ppm, picture_1.ppm, picture_2.ppm, ...");
    FC_CHECK_OK(guard("warn", train, eval, eval)); /* one store, one warning */
    SAYS(1, "eval.box_classification and eval.retrieval");
    FC_CHECK_OK(guard("warn", train, other, eval));
    SAYS(1, "of eval.retrieval");
    FC_CHECK_OK(guard("warn", train, link, NULL));
    SAYS(1, "the training store itself");
    FC_CHECK_OK(guard("off", train, eval, train));
    FC_CHECK_INT(lines(), 0);

    FC_CHECK_FAILS(guard("refuse", train, eval, NULL), FC_DATA, "data.leak_guard: refused: 20 of");
    FC_CHECK_FAILS(guard("refuse", train, NULL, train), FC_DATA, "the training store itself");

    cut(eval, "/images/hash");
    FC_CHECK_OK(guard("warn", train, eval, eval));
    SAYS(1, "not known");
    SAYS(1, "eval.h5 keeps no hashes");
    FC_CHECK_OK(guard("warn", eval, other, NULL));
    SAYS(1, "eval.h5 keeps no hashes");
    fc_dist_stop();
    return fc_check_end();
}
