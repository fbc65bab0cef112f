/* The command line: which verb, which file, which overrides and flags (FORMATS.md section 1).
 * Nothing here needs MPI. */
#ifndef FC_LAUNCH_CLI_H
#define FC_LAUNCH_CLI_H

#include "core/status.h"

typedef struct fc_verb {
    const char *name;
    const char *summary; /* one line of `fineclip --help` */
    const char *help;    /* of `fineclip VERB --help`; NULL: the verb itself answers --help */
    fc_status (*run)(int argc, char **argv); /* argv[0] is the verb's word */
} fc_verb;

/** The verbs there are, ended by one without a name; the first is what `fineclip EXPERIMENT.yaml`
 * means. */
const fc_verb *fc_verbs(void);

typedef struct fc_invocation {
    const fc_verb *verb; /* NULL: print `text` on stdout and leave with 0 */
    int argc;            /* arguments of verb->run */
    char **argv;
    char *text; /* heap */
} fc_invocation;

/** What a command line asks for.
 *  argv   of main; may be changed in place
 *  Errors FC_USAGE no verb and no file, with the nearest verb */
FC_NODISCARD fc_status fc_cli_resolve(fc_invocation *out, const fc_verb *verbs, int argc,
                                      char **argv);
void fc_cli_release(fc_invocation *invocation);

/* A flag of a verb, e.g. {"--dry-run", &dry_run, NULL}, or one with a value behind it, "--jobs
 * slurm" or "--jobs=slurm", e.g. {"--jobs", NULL, &jobs}. */
typedef struct fc_flag {
    const char *name;
    bool *set;
    const char **value; /* within argv; left as it is where the flag is not there */
} fc_flag;

typedef struct fc_cli {
    const char *file;
    int overrides; /* key=value arguments, within argv */
    char **override;
} fc_cli;

/** One file, key=value overrides and flags, in any order.
 *  argv   of the verb; overrides are gathered in place
 *  flags  ended by one without a name; NULL: none
 *  Errors FC_USAGE no file, two files, an unknown flag (with the nearest), a flag without its value
 */
FC_NODISCARD fc_status fc_cli_parse(fc_cli *out, int argc, char **argv, const fc_flag *flags);

/** `fineclip --help`; heap. */
char *fc_help_text(const fc_verb *verbs);

#endif
