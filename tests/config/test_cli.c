/* The command line: verbs, files, overrides, flags, and what it says to mistakes. */
#include "launch/cli.h"
#include "tests/check.h"

#include <string.h>

static fc_status run(int argc, char **argv)
{
    (void)argv;
    return argc > 0 ? FC_OK : FC_BUG;
}

static const fc_verb verbs[] = {
    {"train", "train it", "help of train\n", run},
    {"eval", "evaluate it", "help of eval\n", run},
    {"prepare", "make a store", NULL, run},
    {NULL, NULL, NULL, NULL},
};

static char words[16][64];
static char *argv_of[17];

/* Split a command line at blanks; argv[0] is the program. */
static int split(const char *line)
{
    char copy[512];
    int argc = 0;
    strncpy(copy, line, sizeof copy - 1);
    copy[sizeof copy - 1] = '\0';
    for (char *one = strtok(copy, " "); one != NULL; one = strtok(NULL, " ")) {
        strncpy(words[argc], one, sizeof words[argc] - 1);
        argv_of[argc] = words[argc];
        argc++;
    }
    argv_of[argc] = NULL;
    return argc;
}

static fc_status resolve(fc_invocation *out, const char *line)
{
    return fc_cli_resolve(out, verbs, split(line), argv_of);
}

static void test_verbs(void)
{
    fc_invocation in;
    FC_CHECK_OK(resolve(&in, "fineclip exp.yaml a=1"));
    FC_CHECK(in.verb == &verbs[0] && in.text == NULL);
    FC_CHECK_INT(in.argc, 3);
    FC_CHECK_STR(in.argv[1], "exp.yaml");
    FC_CHECK_OK(resolve(&in, "fineclip train exp.yaml"));
    FC_CHECK(in.verb == &verbs[0]);
    FC_CHECK_INT(in.argc, 2);
    FC_CHECK_STR(in.argv[0], "train");
    FC_CHECK_STR(in.argv[1], "exp.yaml");
    FC_CHECK_OK(resolve(&in, "fineclip eval exp.yaml"));
    FC_CHECK(in.verb == &verbs[1]);
    FC_CHECK_OK(resolve(&in, "fineclip --dry-run exp.yaml"));
    FC_CHECK(in.verb == &verbs[0]);
    FC_CHECK_OK(resolve(&in, "fineclip folder/experiment"));
    FC_CHECK(in.verb == &verbs[0]);

    FC_CHECK_FAILS(resolve(&in, "fineclip"), FC_USAGE, "fineclip --help");
    FC_CHECK_FAILS(resolve(&in, "fineclip evla exp.yaml"), FC_USAGE,
                   "evla is neither a command nor an experiment file; did you mean eval?");
    FC_CHECK_FAILS(resolve(&in, "fineclip sweep x.yaml"), FC_USAGE,
                   "there are train, eval, prepare");
    FC_CHECK_FAILS(resolve(&in, "fineclip --verison"), FC_USAGE, "did you mean --version?");
    FC_CHECK_FAILS(resolve(&in, "fineclip -x"), FC_USAGE, "-x: no such flag");
}

static void test_texts(void)
{
    fc_invocation in;
    FC_CHECK_OK(resolve(&in, "fineclip --help"));
    FC_CHECK(in.verb == NULL && strstr(in.text, "evaluate it") != NULL);
    fc_cli_release(&in);
    FC_CHECK(in.text == NULL);
    FC_CHECK_OK(resolve(&in, "fineclip -h"));
    FC_CHECK(in.verb == NULL && in.text != NULL);
    fc_cli_release(&in);
    FC_CHECK_OK(resolve(&in, "fineclip --version"));
    FC_CHECK(in.verb == NULL && strncmp(in.text, "fineclip ", 9) == 0);
    fc_cli_release(&in);
    FC_CHECK_OK(resolve(&in, "fineclip --help-keys"));
    FC_CHECK(in.verb == NULL && strstr(in.text, "train.batch_size") != NULL);
    fc_cli_release(&in);
    FC_CHECK_OK(resolve(&in, "fineclip eval x.yaml --help"));
    FC_CHECK(in.verb == NULL);
    FC_CHECK_STR(in.text, "help of eval\n");
    fc_cli_release(&in);
    FC_CHECK_OK(resolve(&in, "fineclip x.yaml -h"));
    FC_CHECK_STR(in.text, "help of train\n");
    fc_cli_release(&in);
    FC_CHECK_OK(resolve(&in, "fineclip prepare x.yaml a=1 -h"));
    FC_CHECK(in.verb == &verbs[2] && in.text == NULL);
    FC_CHECK_INT(in.argc, 2);
    FC_CHECK_STR(in.argv[1], "--help");
}

static void test_arguments(void)
{
    bool dry_run = false, check = false;
    const char *ranks = NULL;
    const fc_flag flags[] = {
        {"--dry-run", &dry_run, NULL}, {"--check", &check, NULL}, {"--ranks", NULL, &ranks}, {0}};
    fc_cli cli;
    int argc = split("train a=1 --dry-run runs/lr=3/exp.yaml train.lr=b=c losses.x-y=2");
    FC_CHECK_OK(fc_cli_parse(&cli, argc, argv_of, flags));
    FC_CHECK_STR(cli.file, "runs/lr=3/exp.yaml");
    FC_CHECK(dry_run && !check);
    FC_CHECK_INT(cli.overrides, 3);
    FC_CHECK_STR(cli.override[0], "a=1");
    FC_CHECK_STR(cli.override[1], "train.lr=b=c");
    FC_CHECK_STR(cli.override[2], "losses.x-y=2");

    argc = split("train --ranks 8 exp.yaml a=1");
    FC_CHECK_OK(fc_cli_parse(&cli, argc, argv_of, flags));
    FC_CHECK_STR(ranks, "8");
    FC_CHECK_STR(cli.file, "exp.yaml");
    FC_CHECK_INT(cli.overrides, 1);
    argc = split("train exp.yaml --ranks=x=y");
    FC_CHECK_OK(fc_cli_parse(&cli, argc, argv_of, flags));
    FC_CHECK_STR(ranks, "x=y");
    argc = split("train exp.yaml --ranks");
    FC_CHECK_FAILS(fc_cli_parse(&cli, argc, argv_of, flags), FC_USAGE,
                   "--ranks: want a value behind it");
    argc = split("train exp.yaml --check=1");
    FC_CHECK_FAILS(fc_cli_parse(&cli, argc, argv_of, flags), FC_USAGE, "--check=1: no such flag");
    argc = split("train exp.yaml --dryrun");
    FC_CHECK_FAILS(fc_cli_parse(&cli, argc, argv_of, flags), FC_USAGE,
                   "--dryrun: no such flag; did you mean --dry-run?");
    FC_CHECK_FAILS(fc_cli_parse(&cli, argc, argv_of, NULL), FC_USAGE,
                   "--dryrun: no such flag; there are none");
    argc = split("train exp.yaml other.yaml");
    FC_CHECK_FAILS(fc_cli_parse(&cli, argc, argv_of, flags), FC_USAGE,
                   "exp.yaml and other.yaml: one file at a time");
    argc = split("train a=1");
    FC_CHECK_FAILS(fc_cli_parse(&cli, argc, argv_of, flags), FC_USAGE, "no file is named");
}

int main(void)
{
    test_verbs();
    test_texts();
    test_arguments();
    return fc_check_end();
}
