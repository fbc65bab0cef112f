#include "launch/report/paper.h"

#include "core/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FC_PAPER(setting, terms, where, top1, top5, i1, i5, i10, t1, t5, t10, minutes, gigabytes)  \
    {FC_PAPER_##setting, terms, where, {top1, top5, i1, i5, i10, t1, t5, t10}, minutes, gigabytes},
static const fc_paper_row rows[] = {
#include "launch/report/paper.def"
};
#undef FC_PAPER

const fc_paper_row *fc_paper_find(fc_paper_setting setting, const char *terms)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].setting == setting && strcmp(rows[i].terms, terms) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

const char *fc_paper_text(const fc_yaml *config, const char *path)
{
    char word[128];
    const fc_yaml *node = config;
    while (node != NULL && *path != '\0') {
        size_t length = strcspn(path, ".");
        snprintf(word, sizeof word, "%.*s", (int)length, path);
        node = fc_yaml_type(node) == FC_YAML_MAPPING ? fc_yaml_get(node, word) : NULL;
        path += length + (path[length] == '.');
    }
    return node != NULL && fc_yaml_type(node) == FC_YAML_SCALAR ? fc_yaml_text(node) : NULL;
}

bool fc_paper_setting_of(const fc_run *run, const fc_yaml *config, fc_paper_setting *out)
{
    const int64_t largest = 2500000; /* pictures of the paper's scaling runs */
    const char *samples = fc_paper_text(config, "data.samples");
    *out = run->train_images == largest ? FC_PAPER_CC_COCO : FC_PAPER_COCO;
    return *out == FC_PAPER_CC_COCO || samples == NULL || strcmp(samples, "all") == 0;
}

/* ---- Differences ---- */

static void differ(char **text, const char *what, const char *ours, const char *theirs)
{
    char *longer =
        fc_format("%s%s%s %s (%s)", *text, **text != '\0' ? ", " : "", what, ours, theirs);
    fc_free(text);
    *text = longer;
}

static void want_text(char **text, const fc_yaml *config, const char *key, const char *what,
                      const char *theirs, bool unset_ok)
{
    const char *ours = fc_paper_text(config, key);
    if (ours == NULL ? !unset_ok : strcmp(ours, theirs) != 0) {
        differ(text, what, ours != NULL ? ours : "not set", theirs);
    }
}

static void want_number(char **text, const char *what, double ours, double theirs)
{
    const double close = 1e-9;
    if (!(fabs(ours - theirs) <= close * fabs(theirs))) {
        char mine[32], other[32];
        snprintf(mine, sizeof mine, "%.9g", ours);
        snprintf(other, sizeof other, "%.9g", theirs);
        differ(text, what, isnan(ours) ? "not set" : mine, other);
    }
}

static double number_at(const fc_yaml *config, const char *key)
{
    const char *text = fc_paper_text(config, key);
    return text != NULL ? strtod(text, NULL) : NAN;
}

/* A number after a word of an evaluation's protocol: "data x.h5; images 5000; captions 25010". */
static double protocol_number(const char *protocol, const char *word)
{
    char mark[64];
    snprintf(mark, sizeof mark, "; %s ", word);
    const char *found = protocol != NULL ? strstr(protocol, mark) : NULL;
    return found != NULL ? strtod(found + strlen(mark), NULL) : NAN;
}

/* A list of words at group.key; NULL where there is none. */
static const fc_yaml *list_at(const fc_yaml *config, const char *group, const char *key)
{
    const fc_yaml *above = fc_yaml_get(config, group);
    const fc_yaml *list =
        above != NULL && fc_yaml_type(above) == FC_YAML_MAPPING ? fc_yaml_get(above, key) : NULL;
    return list != NULL && fc_yaml_type(list) == FC_YAML_SEQUENCE ? list : NULL;
}

static bool has_word(const fc_yaml *config, const char *group, const char *key, const char *word)
{
    const fc_yaml *list = list_at(config, group, key);
    for (int i = 0; list != NULL && i < fc_yaml_size(list); i++) {
        const char *text = fc_yaml_text(fc_yaml_item(list, i));
        if (text != NULL && strcmp(text, word) == 0) {
            return true;
        }
    }
    return false;
}

static void training(char **text, const fc_run *run, const fc_yaml *config,
                     fc_paper_setting setting)
{
    const double coco_pictures = 118287, cc_pictures = 2500000, epochs = 10, batch = 256;
    const double lr = 1e-5, decay = 0.1, warmup = 1000, boxes = 20;
    want_number(text, "training pictures", (double)run->train_images,
                setting == FC_PAPER_COCO ? coco_pictures : cc_pictures);
    if (fc_paper_text(config, "train.steps") != NULL) {
        differ(text, "steps", fc_paper_text(config, "train.steps"), "by epochs");
    } else if (setting == FC_PAPER_COCO) {
        want_number(text, "epochs", number_at(config, "train.epochs"), epochs);
    }
    want_number(text, "global batch",
                number_at(config, "train.batch_size") * (double)run->world_size, batch);
    want_number(text, "lr", number_at(config, "train.optimizer.lr"), lr);
    want_number(text, "weight decay", number_at(config, "train.optimizer.weight_decay"), decay);
    want_number(text, "warm-up steps", number_at(config, "train.schedule.warmup_steps"), warmup);
    want_number(text, "boxes a picture", number_at(config, "data.max_boxes"), boxes);
    if (!has_word(config, "model", "freeze", "text")) {
        differ(text, "text tower", "trained", "frozen");
    }
    want_text(text, config, "data.regions", "regions", "random", true);
    const fc_yaml *compat = list_at(config, "train", "compat");
    for (int i = 0; compat != NULL && i < fc_yaml_size(compat); i++) {
        const char *word = fc_yaml_text(fc_yaml_item(compat, i));
        differ(text, "compat", word != NULL ? word : "something", "none");
    }
}

static void evaluation(char **text, const fc_run *run, const fc_yaml *config,
                       fc_paper_setting setting, const char *retrieval, const char *retrieval_key)
{
    const double categories = 133, coco_pictures = 5000, flickr_pictures = 1000, side = 224;
    bool flickr = setting == FC_PAPER_CC_FLICKR;
    if (run->has_box && !flickr) {
        want_number(text, "categories", (double)run->categories, categories);
        want_number(text, "side of pictures for boxes",
                    protocol_number(run->box_protocol, "image size"), side);
        want_text(text, config, "eval.box_classification.resize", "resize for boxes", "squash",
                  false);
    }
    if (retrieval != NULL) {
        char *resize = fc_format("%s.resize", retrieval_key);
        want_number(text, "pictures for retrieval", protocol_number(retrieval, "images"),
                    flickr ? flickr_pictures : coco_pictures);
        want_number(text, "side of pictures for retrieval",
                    protocol_number(retrieval, "image size"), side);
        want_text(text, config, resize, "resize for retrieval", "squash", true);
        fc_free(&resize);
    }
}

char *fc_paper_differences(const fc_run *run, const fc_yaml *config, fc_paper_setting setting,
                           const char *retrieval, const char *retrieval_key)
{
    const double side = 224;
    char *text = fc_strdup("");
    const char *init = fc_paper_text(config, "model.init");
    want_text(&text, config, "model.config", "model", "eva02-clip-b-16", false);
    if (init == NULL || strcmp(init, "random") == 0) {
        differ(&text, "initial weights", "random", "pre-trained");
    }
    if (fc_paper_text(config, "model.image_size") != NULL) {
        want_number(&text, "picture side", number_at(config, "model.image_size"), side);
    }
    if (run->rows > 0) {
        training(&text, run, config, setting);
    }
    evaluation(&text, run, config, setting, retrieval, retrieval_key);
    return text;
}
