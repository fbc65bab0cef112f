/* Progress on a pseudo-terminal and in a pipe. What the terminal shows is worked out by a small
 * emulator of the few controls that are used; it refuses all others. */
#include "core/log.h"
#include "core/memory.h"
#include "launch/progress.h"
#include "tests/check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STEPS = 200, WIDTH = 60, OUTPUT = 1 << 17 };

static void work(int64_t line_every)
{
    struct timespec pause = {0, 2000000};
    fc_progress p;
    fc_progress_begin(&p, "train", 100, 100 + STEPS, line_every);
    for (int i = 1; i <= STEPS; i++) {
        nanosleep(&pause, NULL);
        fc_progress_step(&p, 100 + i, "loss 3.25  lr 1.0e-04  210 img/s");
        if (i == STEPS / 2) {
            fc_log_info("halfway");
        }
    }
    fc_progress_end(&p);
    fc_log_info("after");
    fc_progress_end(&p);
}

/* Run work() in a child whose stderr is `fd`; read what comes out of `from`. */
static char *run_child(int fd, int from, int64_t line_every)
{
    pid_t pid = fork();
    if (pid == 0) {
        setenv("TERM", "xterm", 1);
        dup2(fd, STDERR_FILENO);
        close(from);
        close(fd);
        work(line_every);
        _exit(0);
    }
    close(fd);
    char *out = fc_alloc(OUTPUT, 1);
    size_t used = 0;
    for (ssize_t n; used < OUTPUT - 1 && (n = read(from, out + used, OUTPUT - 1 - used)) > 0;) {
        used += (size_t)n;
    }
    close(from);
    int status = -1;
    FC_CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    return out;
}

typedef struct screen {
    char lines[64][256];
    int row, column, widest, bars, unknown;
    bool counted_bar;
} screen;

static void show(screen *s, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        char *line = s->lines[s->row];
        if (*c == '\r') {
            s->column = 0;
        } else if (*c == '\n') {
            s->row = s->row < 62 ? s->row + 1 : 62;
        } else if (strncmp(c, "\033[K", 3) == 0) {
            line[s->column] = '\0';
            if (strncmp(line, "train", 5) == 0) {
                s->bars++;
            }
            c += 2;
        } else if ((unsigned char)*c < 32 || s->column >= 255) {
            s->unknown++;
        } else {
            if (line[s->column] == '\0') {
                line[s->column + 1] = '\0';
            }
            line[s->column++] = *c;
            s->widest = s->column > s->widest ? s->column : s->widest;
        }
    }
}

static void test_terminal(void)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    FC_CHECK(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    struct winsize size = {.ws_row = 24, .ws_col = WIDTH};
    if (!FC_CHECK(slave >= 0 && ioctl(slave, TIOCSWINSZ, &size) == 0)) {
        return;
    }
    char *out = run_child(slave, master, 10);
    screen *s = fc_alloc(1, sizeof *s);
    show(s, out);
    FC_CHECK_STR(s->lines[0], "halfway");
    FC_CHECK_STR(s->lines[1], "after");
    FC_CHECK_STR(s->lines[2], "");
    FC_CHECK_INT(s->unknown, 0);
    FC_CHECK_INT(s->widest, WIDTH - 1);
    /* 200 steps in 0.4 s or more: at most ten lines a second (however slow the machine is that
     * runs this), the first and the last and the one after the message. */
    FC_CHECK(s->bars >= 4 && s->bars < STEPS / 2);
    FC_CHECK(strstr(out, "100% 300/300  in ") != NULL);
    FC_CHECK(strstr(out, " left  loss 3.25") != NULL);
    fc_free(&s);
    fc_free(&out);
}

static int count(const char *text, const char *part)
{
    int n = 0;
    for (; (text = strstr(text, part)) != NULL; text++) {
        n++;
    }
    return n;
}

static void test_pipe(int64_t line_every, int lines)
{
    int ends[2];
    FC_CHECK(pipe(ends) == 0);
    char *out = run_child(ends[1], ends[0], line_every);
    FC_CHECK_INT(count(out, "train "), lines);
    FC_CHECK_INT(count(out, "\n"), lines + 2);
    FC_CHECK_INT(count(out, "\r") + count(out, "\033"), 0);
    if (lines > 0) {
        FC_CHECK(strncmp(out, "train 150/300 (50%)  loss 3.25", 30) == 0);
        FC_CHECK(strstr(out, "train 300/300 (100%)  loss 3.25") != NULL);
    }
    fc_free(&out);
}

static void test_times(void)
{
    const struct {
        double seconds;
        const char *text;
    } cases[] = {
        {0, "0.0 s"},    {4.24, "4.2 s"},   {12.6, "13 s"},       {60, "1:00"},
        {187.2, "3:07"}, {7900, "2:11:40"}, {97800, "1 d 03:10"}, {1e30, "11574074074 d 01:46"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[32];
        fc_progress_time(text, cases[i].seconds);
        FC_CHECK_STR(text, cases[i].text);
    }
    fc_progress p = {.done = 100, .total = 200};
    FC_CHECK(fc_progress_left(&p) < 0);
    p.recent_steps = 10;
    p.recent_seconds = 5;
    FC_CHECK_NEAR(fc_progress_left(&p), 50, 1e-12);
    p.done = 200;
    FC_CHECK_NEAR(fc_progress_left(&p), 0, 0);
}

int main(void)
{
    test_terminal();
    test_pipe(50, 4);
    test_pipe(75, 3); /* at 150, 225 and 300, which is the end */
    test_pipe(0, 0);
    test_times();
    return fc_check_end();
}
