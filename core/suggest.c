#include "core/suggest.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

enum { LONGEST = 127, FAR = 1000 };

static int min2(int a, int b)
{
    return a < b ? a : b;
}

int fc_edit_distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    if (n > LONGEST || m > LONGEST) {
        return FAR;
    }
    /* Three rows of the table are enough: a swap looks two rows back. */
    int rows[3][LONGEST + 1];
    for (size_t j = 0; j <= m; j++) {
        rows[0][j] = (int)j;
    }
    for (size_t i = 1; i <= n; i++) {
        int *row = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];
        row[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);
            row[j] = min2(min2(row[j - 1], up[j]) + 1, up[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
                y == tolower((unsigned char)a[i - 2])) {
                row[j] = min2(row[j], up2[j - 2] + 1);
            }
        }
    }
    return rows[n % 3][m];
}

const char *fc_suggest(const char *word, const char *const *words)
{
    const char *best = NULL;
    int least = FAR;
    for (; *words != NULL; words++) {
        int distance = fc_edit_distance(word, *words);
        size_t length = strlen(word) > strlen(*words) ? strlen(word) : strlen(*words);
        int allowed = length < 3 ? 0 : (int)((length + 2) / 3);
        if (distance <= allowed && distance < least) {
            least = distance;
            best = *words;
        }
    }
    return best;
}
