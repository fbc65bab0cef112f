#include "losses/loss.h"

#include <string.h>

static const fc_loss_def *const all[] = {
#define FC_LOSS(name) &fc_loss_##name,
#include "losses/loss.def"
#undef FC_LOSS
};

const fc_loss_def *const *fc_loss_all(int *count)
{
    *count = (int)(sizeof all / sizeof *all);
    return all;
}

const fc_loss_def *fc_loss_find(const char *name)
{
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strcmp(all[i]->name, name) == 0) {
            return all[i];
        }
    }
    return NULL;
}
