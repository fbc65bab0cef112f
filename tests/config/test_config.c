/* Experiments: defaults, bases, overrides, the resolved text, and every kind of mistake with its
 * place and exit status. */
#include "core/memory.h"
#include "launch/config/config.h"
#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(fc_check_temp(name), "wb");
    FC_CHECK(f != NULL);
    fputs(text, f);
    fclose(f);
}

/* Load a written file with overrides separated by blanks. */
static fc_status load(fc_config **out, const char *name, const char *overrides)
{
    char copy[512], *list[32];
    int count = 0;
    snprintf(copy, sizeof copy, "%s", overrides);
    for (char *one = strtok(copy, " "); one != NULL; one = strtok(NULL, " ")) {
        list[count++] = one;
    }
    return fc_config_load(out, fc_check_temp(name), count, list);
}

/* An experiment of one text, "exp.yaml". */
static fc_status load_text(fc_config **out, const char *text, const char *overrides)
{
    write_file("exp.yaml", text);
    return load(out, "exp.yaml", overrides);
}

static void refused(int line, const char *text, const char *overrides, fc_status code,
                    const char *part)
{
    fc_config *c = NULL;
    fc_status status = load_text(&c, text, overrides);
    const char *message = status == FC_OK ? "" : fc_error_message();
    fc_check_true(status == code && strstr(message, part) != NULL && c == NULL, __FILE__, line,
                  "got '%s' with '%s', want '%s' with '%s'", fc_status_text(status), message,
                  fc_status_text(code), part);
    fc_config_destroy(&c);
}
#define REFUSED(text, part) refused(__LINE__, text, "", FC_USAGE, part)
#define REFUSED_LINE(overrides, part) refused(__LINE__, "seed: 1\n", overrides, FC_USAGE, part)

static void test_defaults(void)
{
    fc_config *c = NULL;
    FC_CHECK_OK(load_text(&c, "{}\n", ""));
    FC_CHECK_STR(c->name, "exp");
    FC_CHECK_STR(c->output, "runs/exp");
    FC_CHECK_INT(c->seed, 0);
    FC_CHECK_INT(c->device, FC_DEVICE_AUTO);
    FC_CHECK_INT(c->precision, FC_PRECISION_AUTO);
    FC_CHECK_STR(c->model.config.name, "eva02-clip-b-16");
    FC_CHECK_STR(c->model.init, "random");
    FC_CHECK_INT(c->model.image_size, 224);
    FC_CHECK_INT(c->model.freeze, 0);
    FC_CHECK(c->data.train.node == NULL && c->data.train.path == NULL && !c->data.train.synthetic);
    FC_CHECK_INT(c->data.samples, 0);
    FC_CHECK_INT(c->data.max_boxes, 20);
    FC_CHECK_NEAR(c->data.min_box_size, 8, 0);
    FC_CHECK_NEAR(c->data.max_box_size, 1024, 0);
    FC_CHECK(c->data.shuffle);
    FC_CHECK_INT(c->data.workers, 0);
    FC_CHECK_INT(c->loss_count, 3);
    FC_CHECK_INT(c->train.epochs, 10);
    FC_CHECK_INT(c->train.steps, 0);
    FC_CHECK_INT(c->train.batch_size, 32);
    FC_CHECK_NEAR(c->train.optimizer.lr, 1e-5, 0);
    FC_CHECK_NEAR(c->train.optimizer.betas[0], 0.9, 0);
    FC_CHECK_NEAR(c->train.optimizer.betas[1], 0.999, 0);
    FC_CHECK_NEAR(c->train.optimizer.eps, 1e-8, 0);
    FC_CHECK_INT(c->train.schedule.kind, FC_SCHEDULE_COSINE);
    FC_CHECK_INT(c->train.schedule.warmup_steps, 1000);
    FC_CHECK_NEAR(c->train.schedule.power, 1, 0);
    FC_CHECK_NEAR(c->train.clip_grad_norm, 0, 0);
    FC_CHECK_INT(c->train.compat, 0);
    FC_CHECK(c->train.local_loss && c->train.gather_with_grad && !c->train.shard_optimizer);
    FC_CHECK_INT(c->train.checkpoint.every_epochs, 1);
    FC_CHECK_INT(c->train.checkpoint.every_steps, 0);
    FC_CHECK_INT(c->train.checkpoint.keep, 2);
    FC_CHECK_STR(c->train.resume, "auto");
    FC_CHECK_NEAR(c->run.step_timeout, 1800, 0);
    FC_CHECK_INT(c->eval.every_epochs, 1);
    FC_CHECK(c->eval.before_training);
    FC_CHECK(c->eval.box_classification.data.node == NULL);
    FC_CHECK_INT(c->eval.box_classification.resize, FC_FIT_SQUASH);
    fc_config_destroy(&c);
    FC_CHECK(c == NULL);
}

static void test_values(void)
{
    fc_config *c = NULL;
    FC_CHECK_OK(load_text(&c,
                          "name: row 6\n"
                          "output: out/${name}/x\n"
                          "device: cpu\n"
                          "precision: fp64\n"
                          "model:\n"
                          "  config: {embed_dim: 32, vision_cfg: {image_size: 64, patch_size: 16,\n"
                          "    width: 64, layers: 2}, text_cfg: {width: 64, layers: 2}}\n"
                          "  image_size: 96\n"
                          "  freeze: [text, logit_scale]\n"
                          "data:\n"
                          "  train: {synthetic: {images: 50, seed: 7}}\n"
                          "  samples: 1e3\n"
                          "  caption: first\n"
                          "  workers: 3\n"
                          "losses: {self_distillation: {weight: 0.5, stop_gradient: crops},\n"
                          "  global_contrastive: 2, region_contrastive: 0}\n"
                          "train:\n"
                          "  steps: 20\n"
                          "  schedule: {kind: constant_cooldown, warmup_steps: 2,\n"
                          "    cooldown_steps: 5, end_lr: 1e-7, power: 2}\n"
                          "  clip_grad_norm: 1.0\n"
                          "  compat: [dummy_region]\n"
                          "  recompute: blocks\n"
                          "  resume: never\n"
                          "run: {on_bad_loss: rollback, spike_sigma: 6}\n"
                          "eval:\n"
                          "  box_classification: {data: val.h5, image_size: 128, resize: longest}\n"
                          "  retrieval: {synthetic: {images: 9}}\n",
                          ""));
    FC_CHECK_STR(c->name, "row 6");
    FC_CHECK_STR(c->output, "out/row 6/x");
    FC_CHECK_INT(c->precision, FC_PRECISION_FP64);
    FC_CHECK_STR(c->model.config.name, "custom");
    FC_CHECK_INT(c->model.config.embed_dim, 32);
    FC_CHECK_INT(c->model.image_size, 96);
    FC_CHECK_INT(c->model.freeze, 2 | 4);
    FC_CHECK(c->data.train.synthetic && c->data.train.path == NULL);
    FC_CHECK_INT(c->data.train.scenes.images, 50);
    FC_CHECK_INT(c->data.train.scenes.seed, 7);
    FC_CHECK_INT(c->data.samples, 1000);
    FC_CHECK_INT(c->data.caption, FC_PICK_FIRST);
    FC_CHECK_INT(c->data.workers, 3);
    FC_CHECK_INT(c->loss_count, 2); /* weight 0 is off */
    FC_CHECK_STR(c->losses[0].def->name, "global_contrastive");
    FC_CHECK_NEAR(c->losses[0].weight, 2, 0);
    FC_CHECK_STR(c->losses[1].def->name, "self_distillation");
    FC_CHECK_NEAR(c->losses[1].weight, 0.5, 0);
    FC_CHECK_INT(c->losses[1].options.value[0], 1);
    FC_CHECK_INT(c->train.steps, 20);
    FC_CHECK_INT(c->train.schedule.kind, FC_SCHEDULE_CONSTANT_COOLDOWN);
    FC_CHECK_INT(c->train.schedule.cooldown_steps, 5);
    FC_CHECK_NEAR(c->train.clip_grad_norm, 1, 0);
    FC_CHECK_INT(c->train.compat, FC_COMPAT_DUMMY_REGION);
    FC_CHECK_INT(c->train.recompute, FC_RECOMPUTE_BLOCKS);
    FC_CHECK_INT(c->run.on_bad_loss, FC_BAD_LOSS_ROLLBACK);
    FC_CHECK_NEAR(c->run.spike_sigma, 6, 0);
    FC_CHECK_STR(c->eval.box_classification.data.path, "val.h5");
    FC_CHECK_INT(c->eval.box_classification.image_size, 128);
    FC_CHECK_INT(c->eval.box_classification.resize, FC_FIT_LONGEST);
    FC_CHECK(c->eval.retrieval.data.synthetic);
    FC_CHECK_INT(c->eval.retrieval.data.scenes.images, 9);
    fc_config_destroy(&c);
}

/* The resolved text has every key, reads back as the same experiment, and resolves to itself. */
static void test_round_trip(void)
{
    fc_config *c = NULL, *back = NULL;
    FC_CHECK_OK(load_text(&c,
                          "model: {config: tiny-vit, freeze: [image]}\n"
                          "data: {train: {synthetic: {images: 5}}, samples: 4}\n"
                          "losses: {region_contrastive: 1e-1}\n"
                          "eval: {retrieval: a store.h5}\n",
                          "train.optimizer.betas=[0.5,0.25] name=12"));
    char *text = fc_config_text(c);
    FC_CHECK(strstr(text, "batch_size: 32") != NULL);
    FC_CHECK(strstr(text, "output: 'runs/12'") != NULL);
    FC_CHECK(strstr(text, "betas: [0.5, 0.25]") != NULL);
    FC_CHECK_OK(fc_config_parse_text(&back, text, strlen(text), "resolved"));
    FC_CHECK_STR(back->name, "12");
    FC_CHECK_STR(back->output, "runs/12");
    FC_CHECK_STR(back->model.config.name, "tiny-vit");
    FC_CHECK_INT(back->model.freeze, 1);
    FC_CHECK_INT(back->data.train.scenes.images, 5);
    FC_CHECK_INT(back->data.samples, 4);
    FC_CHECK_INT(back->loss_count, 1);
    FC_CHECK_NEAR(back->losses[0].weight, 0.1, 0);
    FC_CHECK_NEAR(back->train.optimizer.betas[1], 0.25, 0);
    FC_CHECK_STR(back->eval.retrieval.data.path, "a store.h5");
    char *again = fc_config_text(back);
    FC_CHECK_STR(text, again);
    fc_free(&text);
    fc_free(&again);
    fc_config_destroy(&c);
    fc_config_destroy(&back);
    FC_CHECK_FAILS(fc_config_parse_text(&back, "base: x.yaml\n", 13, "resolved"), FC_USAGE,
                   "resolved:1: base: a resolved configuration has no base");
}

static void test_base(void)
{
    fc_config *c = NULL;
    FC_CHECK(mkdir(fc_check_temp("sub"), 0777) == 0);
    write_file("root.yaml", "seed: 1\ntrain: {batch_size: 4, optimizer: {lr: 1}}\n"
                            "losses: {global_contrastive: 1, self_distillation: 1}\n");
    write_file("sub/middle.yaml", "base: ../root.yaml\nseed: 2\ntrain: {optimizer: {eps: 1e-6}}\n");
    write_file("leaf.yaml", "base: sub/middle.yaml\ndata: {max_boxes: 3}\n"
                            "losses: {self_distillation: null, region_contrastive: 3}\n");
    FC_CHECK_OK(load(&c, "leaf.yaml", "train.optimizer.lr=2"));
    FC_CHECK_STR(c->name, "leaf");
    FC_CHECK_INT(c->seed, 2);
    FC_CHECK_INT(c->train.batch_size, 4);
    FC_CHECK_NEAR(c->train.optimizer.lr, 2, 0);
    FC_CHECK_NEAR(c->train.optimizer.eps, 1e-6, 0);
    FC_CHECK_INT(c->data.max_boxes, 3);
    FC_CHECK_INT(c->loss_count, 2);
    FC_CHECK_STR(c->losses[1].def->name, "region_contrastive");
    char *text = fc_config_text(c);
    FC_CHECK(strstr(text, "base") == NULL);
    fc_free(&text);
    fc_config_destroy(&c);

    /* Errors point to the file that holds the mistake. */
    write_file("root.yaml", "seed: 1\ntrain:\n  bacth_size: 4\n");
    FC_CHECK_FAILS(load(&c, "leaf.yaml", ""), FC_USAGE,
                   "root.yaml:3: train.bacth_size: unknown key; did you mean train.batch_size?");
    write_file("root.yaml", "base: leaf.yaml\n");
    FC_CHECK_FAILS(load(&c, "leaf.yaml", ""), FC_USAGE, "root.yaml:1: base: ");
    FC_CHECK(strstr(fc_error_message(), "leads back to itself") != NULL);
    write_file("root.yaml", "base: [a]\n");
    FC_CHECK_FAILS(load(&c, "leaf.yaml", ""), FC_USAGE, "root.yaml:1: base: want the path");
    write_file("root.yaml", "base: gone.yaml\n");
    FC_CHECK_FAILS(load(&c, "leaf.yaml", ""), FC_NOINPUT, "root.yaml:1: base: cannot open");
    FC_CHECK_FAILS(load(&c, "leaf.yaml", "base=x.yaml"), FC_NOINPUT, "base: cannot open");
    write_file("root.yaml", "seed: 1\n");
    FC_CHECK_FAILS(load(&c, "leaf.yaml", "base=x.yaml"), FC_USAGE, "command line: base:");
    for (int i = 0; i < 20; i++) {
        char name[32], text_of[64];
        snprintf(name, sizeof name, "chain%d.yaml", i);
        snprintf(text_of, sizeof text_of, "base: chain%d.yaml\n", i + 1);
        write_file(name, text_of);
    }
    FC_CHECK_FAILS(load(&c, "chain0.yaml", ""), FC_USAGE, "files laid over each other");
    FC_CHECK(c == NULL);
}

static void test_overrides(void)
{
    fc_config *c = NULL;
    /* Below a bare weight the weight stays; below absent losses the other defaults stay. */
    FC_CHECK_OK(load_text(&c, "losses: {self_distillation: 0.5}\n",
                          "losses.self_distillation.stop_gradient=regions"));
    FC_CHECK_INT(c->loss_count, 1);
    FC_CHECK_NEAR(c->losses[0].weight, 0.5, 0);
    FC_CHECK_INT(c->losses[0].options.value[0], 2);
    fc_config_destroy(&c);
    FC_CHECK_OK(load_text(&c, "seed: 3\n", "losses.self_distillation.weight=0"));
    FC_CHECK_INT(c->loss_count, 2);
    fc_config_destroy(&c);
    FC_CHECK_OK(load_text(&c, "seed: 3\n", "losses.self_distillation=0.25"));
    FC_CHECK_INT(c->loss_count, 3);
    FC_CHECK_NEAR(c->losses[2].weight, 0.25, 0);
    fc_config_destroy(&c);
    FC_CHECK_OK(load_text(&c, "eval: {retrieval: v.h5, box_classification: v.h5}\n",
                          "eval.retrieval.resize=center_crop eval.box_classification=null"));
    FC_CHECK_STR(c->eval.retrieval.data.path, "v.h5");
    FC_CHECK_INT(c->eval.retrieval.resize, FC_FIT_CENTER_CROP);
    FC_CHECK_INT(c->eval.retrieval.more.count, 0);
    fc_config_destroy(&c);
    FC_CHECK_OK(load_text(&c, "eval: {retrieval: {data: v.h5, more: {a: w.h5, b: null}}}\n",
                          "eval.retrieval.more.a.resize=center_crop eval.retrieval.more.c=x.h5"));
    FC_CHECK_INT(c->eval.retrieval.more.count, 2);
    FC_CHECK_STR(c->eval.retrieval.more.set[0].name, "a");
    FC_CHECK_STR(c->eval.retrieval.more.set[0].data.path, "w.h5");
    FC_CHECK_INT(c->eval.retrieval.more.set[0].resize, FC_FIT_CENTER_CROP);
    FC_CHECK_STR(c->eval.retrieval.more.set[1].data.path, "x.h5");
    FC_CHECK_INT(c->eval.retrieval.more.set[1].resize, FC_FIT_SQUASH);
    fc_config_destroy(&c);
    FC_CHECK_OK(load_text(&c, "eval: {retrieval: v.h5, box_classification: v.h5}\n",
                          "eval.retrieval.resize=center_crop eval.box_classification=null"));
    FC_CHECK(c->eval.box_classification.data.node == NULL);
    fc_config_destroy(&c);
    FC_CHECK_OK(load_text(&c, "data: {train: a.h5}\ntrain: {steps: 5}\n",
                          "data.train.synthetic.images=7 train.steps=null eval.retrieval=b.h5"));
    FC_CHECK_INT(c->data.train.scenes.images, 7);
    FC_CHECK_INT(c->train.steps, 0);
    FC_CHECK_STR(c->eval.retrieval.data.path, "b.h5");
    fc_config_destroy(&c);

    REFUSED_LINE("train.bacth_size=3",
                 "command line: train.bacth_size: unknown key; did you mean train.batch_size?");
    REFUSED_LINE("batch_size=3", "did you mean train.batch_size?");
    REFUSED_LINE("train.batch_size=0",
                 "command line: train.batch_size: want 1 to 1000000, found 0");
    REFUSED_LINE("seed", "command line: seed: want key=value");
    REFUSED_LINE("losses.self_distilation=1", "did you mean losses.self_distillation?");
}

static void test_mistakes(void)
{
    REFUSED("seed: 1\nsedd: 2\n", "exp.yaml:2: sedd: unknown key; did you mean seed?");
    REFUSED("trian: {steps: 2}\n", "exp.yaml:1: trian: unknown key; did you mean train?");
    REFUSED("lr: 1\n", "exp.yaml:1: lr: unknown key");
    REFUSED("train:\n  optimizer:\n    lr: fast\n",
            "exp.yaml:3: train.optimizer.lr: want a number, found fast");
    REFUSED("train:\n  batch_size: 1.5\n", "exp.yaml:2: train.batch_size: want a whole number");
    REFUSED("train:\n  batch_size: \"8\"\n", "found the text \"8\"");
    REFUSED("train: 5\n", "exp.yaml:1: train: want a mapping");
    REFUSED("train: {schedule: cosine}\n", "train.schedule: want a mapping with the key kind");
    REFUSED("deterministic: 1\n", "exp.yaml:1: deterministic: want true or false");
    REFUSED("device: gpu\n", "exp.yaml:1: device: want auto, cpu or cuda, found gpu");
    REFUSED("precision: fp23\n", "did you mean fp32?");
    REFUSED("device: cuda\nprecision: fp64\n", "exp.yaml:2: precision: fp64 is for device: cpu");
    REFUSED("train: {optimizer: {betas: [0.9]}}\n", "train.optimizer.betas: want two numbers");
    REFUSED("train: {optimizer: {betas: [0.9, 1.0]}}\n", "train.optimizer.betas.1: want 0 to 1");
    REFUSED("train: {optimizer: {lr: -1}}\n", "train.optimizer.lr: want");
    REFUSED("model: {freeze: text}\n", "model.freeze: want a list, e.g. [image]");
    REFUSED("model: {freeze: [txt]}\n",
            "model.freeze.0: want image, text or logit_scale, found txt");
    REFUSED("data: {samples: some}\n", "data.samples: want a whole number, found some");
    REFUSED("data: {samples: 0}\n", "data.samples: want 1 to");
    REFUSED("data: {train: [a]}\n", "data.train: want the path of a store or {synthetic");
    REFUSED("data: {train: {sinthetic: {}}}\n", "did you mean data.train.synthetic?");
    REFUSED("data:\n  train: {synthetic: {image: 3}}\n",
            "exp.yaml:2: data.train.synthetic.image: unknown key; did you mean "
            "data.train.synthetic.images?");
    REFUSED("data: {train: {synthetic: {images: -3}}}\n", "data.train.synthetic.images: want");
    REFUSED("data: {train: {synthetic: {}, path: x}}\n", "data.train.path: unknown key");
    REFUSED("data: {min_box_size: 9, max_box_size: 8}\n", "data.min_box_size: 9 is more than");
    REFUSED("losses: 1\n", "losses: want a mapping such as {global_contrastive: 1.0}");
    REFUSED("losses:\n  contrastive: 1\n", "exp.yaml:2: losses.contrastive: no such loss term");
    REFUSED("losses: {global_contrastive: -1}\n", "losses.global_contrastive: want");
    REFUSED("losses: {global_contrastive: {wieght: 1}}\n",
            "did you mean losses.global_contrastive.weight?");
    REFUSED("losses: {global_contrastive: {stop_gradient: none}}\n",
            "losses.global_contrastive.stop_gradient: unknown key");
    REFUSED("losses: {self_distillation: {stop_gradient: crop}}\n", "did you mean crops?");
    REFUSED("losses: {regionclip: {classes: 0}}\n", "losses.regionclip.classes: want 1 to");
    REFUSED("losses: {regionclip: {concept: a.h5}}\n", "did you mean losses.regionclip.concepts?");
    REFUSED("losses: {regionclip: {concepts: [a]}}\n", "losses.regionclip.concepts: want a text");
    REFUSED("losses: {clipself: {stop_gradient: none}}\n",
            "losses.clipself.stop_gradient: unknown key");
    REFUSED("model:\n  config: tiny-vit\n  unlocked_blocks: 5\n",
            "exp.yaml:3: model.unlocked_blocks: 5, the model's picture tower has 4 blocks");
    REFUSED("model: {unlocked_blocks: 0}\n", "model.unlocked_blocks: want 1 to");
    REFUSED("model: {unlocked_blocks: 2, freeze: [image]}\n", "no block of it trains");
    REFUSED("train: {ensemble_alpha: 1.5}\n", "train.ensemble_alpha: want 0 to 1");
    REFUSED("data: {regions: grid}\n", "data.regions: grid: cells have no captions and no "
                                       "categories, and losses.region_contrastive needs them");
    REFUSED("train: {schedule: {kind: constant_cooldown}}\n",
            "needs train.schedule.cooldown_steps");
    REFUSED("train: {schedule: {cooldown_steps: 4}}\n", "only kind: constant_cooldown");
    REFUSED("train: {steps: 3, schedule: {kind: constant_cooldown, cooldown_steps: 4}}\n",
            "4 steps of cool-down in a run of 3");
    REFUSED("train: {compat: [dummy]}\n",
            "train.compat.0: want unsynced_gradients or dummy_region");
    REFUSED("train: {batch_size: 2, accumulate: 4}\n", "train.accumulate: 4 micro-batches");
    REFUSED("model: {image_size: 225}\n",
            "exp.yaml:1: model.image_size: 225 is not a multiple of the model's patch, 16");
    REFUSED("eval: {retrieval: {data: x.h5, image_size: 15}}\n", "eval.retrieval.image_size: 15");
    REFUSED("eval: {retrieval: {data: x.h5, resize: longest}}\n", "want squash or center_crop");
    REFUSED("eval: {box_classification: {data: x.h5, resize: center_crop}}\n",
            "eval.box_classification.resize: want squash or longest");
    REFUSED("eval: {retrieval: {data: x.h5, more: {a b: y.h5}}}\n", "want a name of letters");
    REFUSED("eval: {retrieval: {data: x.h5, more: {a.b: y.h5}}}\n", "want a name of letters");
    REFUSED("eval: {retrieval: {data: x.h5, more: [y.h5]}}\n",
            "eval.retrieval.more: want a mapping");
    REFUSED("eval: {retrieval: {more: {a: y.h5}}}\n", "eval.retrieval.data is not set");
    REFUSED("eval:\n  retrieval:\n    data: x.h5\n    more: {a: {data: y.h5, resise: squash}}\n",
            "exp.yaml:4: eval.retrieval.more.a.resise: unknown key; did you mean "
            "eval.retrieval.more.a.resize?");
    REFUSED("eval: {retrieval: {data: x.h5, more: {a: {data: y.h5, resize: longest}}}}\n",
            "eval.retrieval.more.a.resize: want squash or center_crop");
    REFUSED("eval: {retrieval: {data: x.h5, more: {a: {data: y.h5, image_size: 15}}}}\n",
            "eval.retrieval.more.a.image_size: 15");
    REFUSED("eval: {box_clasification: x.h5}\n", "did you mean eval.box_classification");
    REFUSED("name: a/b\n", "exp.yaml:1: name: want 1 to");
    REFUSED("name: [a]\n", "exp.yaml:1: name: want 1 to");
    REFUSED("name: ${name}\n", "name: want 1 to");
    REFUSED("seed: 1\noutput: runs/${nmae}\n",
            "exp.yaml:2: output: ${nmae}: only ${name} is known");
    REFUSED("model: {config: {embed_dim: 5}}\n", "model.config: the key vision_cfg is missing");
    REFUSED("model:\n  config: {embed_dim: 5, vision_cfg: {kind: vot}}\n",
            "exp.yaml:2: model.config.vision_cfg.kind: want vit or eva02");
    REFUSED("model: {config: [1]}\n", "model.config: want a name in models/configs");
    REFUSED("a: [1\n", "exp.yaml:2: column");
    refused(__LINE__, "model:\n  config: tiny-vti\n", "", FC_NOINPUT,
            "exp.yaml:2: model.config: no model configuration tiny-vti, in models/configs or as a "
            "file; did you mean tiny-vit?");
    fc_config *c = NULL;
    FC_CHECK_FAILS(fc_config_load(&c, "no/such.yaml", 0, NULL), FC_NOINPUT,
                   "no/such.yaml: no such");
    FC_CHECK_FAILS(fc_config_load(&c, "/", 0, NULL), FC_NOINPUT, "/: no such experiment file");
}

static void check_fails(int line, const char *text, unsigned purpose, fc_status code,
                        const char *part)
{
    fc_config *c = NULL;
    FC_CHECK_OK(load_text(&c, text, ""));
    if (c != NULL) {
        fc_status status = fc_config_check(c, purpose);
        const char *message = status == FC_OK ? "" : fc_error_message();
        fc_check_true(status == code && strstr(message, part) != NULL, __FILE__, line,
                      "got '%s' with '%s', want '%s' with '%s'", fc_status_text(status), message,
                      fc_status_text(code), part);
    }
    fc_config_destroy(&c);
}
#define CHECK_FAILS(text, purpose, code, part) check_fails(__LINE__, text, purpose, code, part)

static void test_files(void)
{
    CHECK_FAILS("seed: 1\n", FC_FOR_TRAIN, FC_USAGE, "exp.yaml: data.train: not set");
    CHECK_FAILS("seed: 1\ndata:\n  train: none.h5\n", FC_FOR_TRAIN, FC_NOINPUT,
                "exp.yaml:3: data.train: cannot open none.h5: No such file");
    CHECK_FAILS("data: {train: /}\n", FC_FOR_TRAIN, FC_NOINPUT, "data.train: / is a folder");
    CHECK_FAILS("data: {train: none.h5}\n", 0, FC_OK, "");
    CHECK_FAILS("data: {train: {synthetic: {}}}\n", FC_FOR_TRAIN, FC_OK, "");
    CHECK_FAILS("model:\n  init: w.safetensors\n", FC_FOR_EVAL, FC_USAGE,
                "exp.yaml: eval: neither");
    CHECK_FAILS("model:\n  init: w.safetensors\neval: {retrieval: {synthetic: {}}}\n", FC_FOR_EVAL,
                FC_NOINPUT, "exp.yaml:2: model.init: cannot open w.safetensors");
    CHECK_FAILS("eval:\n  retrieval: v.h5\n", FC_FOR_EVAL, FC_NOINPUT,
                "exp.yaml:2: eval.retrieval.data: cannot open v.h5");
    CHECK_FAILS("eval:\n  retrieval: {data: {synthetic: {}}, more: {b: v.h5}}\n", FC_FOR_EVAL,
                FC_NOINPUT, "exp.yaml:2: eval.retrieval.more.b.data: cannot open v.h5");
    CHECK_FAILS("data: {train: {synthetic: {}}}\neval:\n  box_classification: v.h5\n",
                FC_FOR_TRAIN | FC_FOR_EVAL, FC_NOINPUT, "exp.yaml:3: eval.box_classification.data");
    CHECK_FAILS("data: {train: {synthetic: {}}}\nlosses: {regionclip: {concepts: gone.h5}}\n",
                FC_FOR_TRAIN, FC_NOINPUT,
                "exp.yaml:2: losses.regionclip.concepts: cannot open gone.h5");
    CHECK_FAILS("data: {train: {synthetic: {}}}\nlosses: {global_contrastive: 0}\n", FC_FOR_TRAIN,
                FC_USAGE, "losses: every term is off");
    CHECK_FAILS("data: {train: {synthetic: {}}}\nmodel: {freeze: [image, text, logit_scale]}\n",
                FC_FOR_TRAIN, FC_USAGE, "model.freeze: all parts are frozen");
    CHECK_FAILS("data: {train: {synthetic: {}}}\ntrain:\n  resume: gone\n", FC_FOR_TRAIN,
                FC_NOINPUT, "exp.yaml:3: train.resume: cannot open gone");
}

/* Every experiment that ships can be read; rows of an ablation differ from their base in terms
 * alone. */
static void shipped(const char *name, const char *terms)
{
    char path[96], on[256] = "";
    snprintf(path, sizeof path, "experiments/%s.yaml", name);
    fc_config *c = NULL;
    if (!FC_CHECK_OK(fc_config_load(&c, path, 0, NULL))) {
        return;
    }
    FC_CHECK(c->data.train.node != NULL);
    FC_CHECK_STR(c->name, name);
    for (int i = 0; i < c->loss_count; i++) {
        size_t used = strlen(on);
        snprintf(on + used, sizeof on - used, "%s%s", i > 0 ? " " : "", c->losses[i].def->name);
    }
    FC_CHECK_STR(on, terms);
    fc_config_destroy(&c);
}

static void test_shipped(void)
{
    static const char all_terms[] = "global_contrastive region_contrastive self_distillation";
    static const char *const all[] = {"coco_vitb16",          "coco_vitl14",
                                      "quickstart",           "coco_mini",
                                      "compat_averaged_loss", "compat_unsynced_gradients",
                                      "compat_dummy_region",  "compat_all"};
    static const char *const rows[] = {"self_distillation",
                                       "global_contrastive",
                                       "global_contrastive self_distillation",
                                       "region_contrastive",
                                       "global_contrastive region_contrastive",
                                       all_terms};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        shipped(all[i], all_terms);
    }
    shipped("methods_clip", "global_contrastive");
    shipped("methods_regionclip", "regionclip");
    shipped("methods_clipself", "clipself");
    shipped("methods_fineclip", all_terms);
    shipped("quickstart_pretrain", "global_contrastive");
    shipped("quickstart_regionclip", "regionclip");
    shipped("quickstart_clipself", "clipself");
    static const char *const sizes[] = {"100k", "500k", "2.5m"};
    static const char *const methods[][2] = {{"clip", "global_contrastive"},
                                             {"regionclip", "regionclip"},
                                             {"clipself", "clipself"},
                                             {"fineclip", all_terms}};
    for (size_t i = 0; i < 12; i++) {
        char name[64];
        snprintf(name, sizeof name, "scaling_%s_%s", sizes[i / 4], methods[i % 4][0]);
        shipped(name, methods[i % 4][1]);
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char name[64];
        snprintf(name, sizeof name, "ablation_row%d", (int)i + 1);
        shipped(name, rows[i]);
        snprintf(name, sizeof name, "quickstart_row%d", (int)i + 1);
        shipped(name, rows[i]);
    }
    fc_config *c = NULL;
    FC_CHECK_OK(fc_config_load(&c, "experiments/scaling_500k_clipself.yaml", 0, NULL));
    FC_CHECK_INT(c->data.samples, 500000);
    FC_CHECK_STR(c->data.train.path, "data/cc2.5m.h5");
    FC_CHECK_INT(c->model.unlocked_blocks, 12);
    FC_CHECK_NEAR(c->train.ensemble_alpha, 0.7, 0);
    FC_CHECK_INT(c->eval.retrieval.more.count, 1);
    FC_CHECK_STR(c->eval.retrieval.more.set[0].name, "flickr30k");
    fc_config_destroy(&c);
    FC_CHECK_OK(fc_config_load(&c, "experiments/coco_vitl14.yaml", 0, NULL));
    FC_CHECK_INT(c->model.image_size, 336);
    FC_CHECK_INT(c->model.config.vision.layers, 24);
    FC_CHECK_INT(c->model.freeze, 2);
    FC_CHECK_INT(c->data.max_boxes, 5);
    FC_CHECK_INT(c->train.batch_size, 10);
    FC_CHECK_NEAR(c->train.optimizer.lr, 1e-5, 0);
    fc_config_destroy(&c);
}

static void test_help(void)
{
    char *help = fc_config_help();
    FC_CHECK(strstr(help, "train.batch_size: 32   (") != NULL);
    FC_CHECK(strstr(help, "losses.self_distillation\n") != NULL);
    FC_CHECK(strstr(help, "losses.self_distillation.stop_gradient: none   (none | crops | ") !=
             NULL);
    FC_CHECK(strstr(help, "losses.regionclip.classes: 100   (") != NULL);
    FC_CHECK(strstr(help, "losses.regionclip.concepts: null\n") != NULL);
    FC_CHECK(strstr(help, "auto | cpu | cuda") != NULL);
    fc_free(&help);
}

int main(void)
{
    test_defaults();
    test_values();
    test_round_trip();
    test_base();
    test_overrides();
    test_mistakes();
    test_files();
    test_shipped();
    test_help();
    return fc_check_end();
}
