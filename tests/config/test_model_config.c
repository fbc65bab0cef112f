/* Model configurations: defaults, sizes that do not fit, names and paths, everything shipped. */
#include "core/memory.h"
#include "core/paths.h"
#include "models/model_config.h"
#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char good[] = "embed_dim: 48\n"
                           "vision_cfg:\n"
                           "  kind: eva02\n"
                           "  image_size: 64\n"
                           "  patch_size: 16\n"
                           "  width: 64\n"
                           "  layers: 3\n"
                           "text_cfg:\n"
                           "  width: 64\n"
                           "  layers: 2\n";

/* Read `good` with overrides (separated by blanks). */
static fc_status read(fc_model_config *out, const char *overrides)
{
    fc_yaml *root = NULL;
    FC_CHECK_OK(fc_yaml_parse(&root, good, strlen(good), "m.yaml"));
    char copy[256];
    snprintf(copy, sizeof copy, "%s", overrides);
    for (char *one = strtok(copy, " "); one != NULL; one = strtok(NULL, " ")) {
        FC_CHECK_OK(fc_yaml_override(root, one));
    }
    fc_status status = fc_model_config_read(out, root);
    fc_yaml_destroy(&root);
    return status;
}

static void test_defaults(void)
{
    fc_model_config m;
    FC_CHECK_OK(read(&m, ""));
    FC_CHECK_STR(m.name, "custom");
    FC_CHECK_INT(m.embed_dim, 48);
    FC_CHECK(!m.quick_gelu);
    FC_CHECK_INT(m.vision.kind, FC_VISION_EVA02);
    FC_CHECK_INT(m.vision.head_width, 64);
    FC_CHECK_NEAR(m.vision.mlp_ratio, 4.0, 0);
    FC_CHECK_INT(m.vision.pt_hw_seq_len, 16);
    FC_CHECK_INT(m.text.heads, 1);
    FC_CHECK_INT(m.text.context_length, 77);
    FC_CHECK_INT(m.text.vocab_size, 49408);
    FC_CHECK_OK(read(&m, "vision_cfg.kind=vit quick_gelu=true vision_cfg.mlp_ratio=2.5"));
    FC_CHECK_INT(m.vision.kind, FC_VISION_VIT);
    FC_CHECK(m.quick_gelu);
    FC_CHECK_NEAR(m.vision.mlp_ratio, 2.5, 0);
    FC_CHECK_OK(read(&m, "vision_cfg.kind=null"));
    FC_CHECK_INT(m.vision.kind, FC_VISION_VIT);
}

#define REFUSED(overrides, part)                                                                   \
    do {                                                                                           \
        fc_model_config m;                                                                         \
        FC_CHECK_FAILS(read(&m, overrides), FC_USAGE, part);                                       \
    } while (0)

static void test_errors(void)
{
    REFUSED("embed_dim=null", "the key embed_dim is missing");
    REFUSED("embed_dim=0", "command line: embed_dim: want 1 to");
    REFUSED("vision_cfg=12", "command line: vision_cfg: want a mapping");
    REFUSED("vision_cfg.widht=3", "vision_cfg.widht: unknown key; did you mean vision_cfg.width?");
    REFUSED("vision_cfg.eva_model_name=x", "vision_cfg.eva_model_name: unknown key");
    REFUSED("vision_cfg.kind=eva2", "did you mean eva02?");
    REFUSED("vision_cfg.patch_size=15", "vision_cfg.patch_size: 15 does not divide image_size 64");
    REFUSED("vision_cfg.width=96", "m.yaml:2: vision_cfg: 64 does not divide width 96");
    REFUSED("vision_cfg.head_width=5", "vision_cfg.head_width: 5 does not divide width 64");
    REFUSED("vision_cfg.width=60 vision_cfg.head_width=6", "6 is not a multiple of 4");
    REFUSED("vision_cfg.mlp_ratio=0.001", "leaves no hidden channel");
    REFUSED("vision_cfg.mlp_ratio=-1", "vision_cfg.mlp_ratio: want");
    REFUSED("vision_cfg.kind=vit vision_cfg.pt_hw_seq_len=16", "this is vit");
    REFUSED("vision_cfg.layers=2.5", "vision_cfg.layers: want a whole number");
    REFUSED("text_cfg.heads=5", "text_cfg.heads: 5 does not divide width 64");
    REFUSED("text_cfg.width=48", "m.yaml:8: text_cfg: the key heads is missing");
    REFUSED("text_cfg.context_length=1", "text_cfg.context_length: want at least 2");
    REFUSED("text_cfg.vocab_size=yes", "text_cfg.vocab_size: want a whole number, found yes");
    REFUSED("quick_gelu=1", "quick_gelu: want true or false");
}

static void test_shipped(void)
{
    static const struct {
        const char *name;
        fc_vision_kind kind;
        int embed_dim, image_size, patch_size, width, layers, text_width;
        bool quick_gelu;
    } all[] = {
        {"clip-vit-b-32", FC_VISION_VIT, 512, 224, 32, 768, 12, 512, true},
        {"clip-vit-b-16", FC_VISION_VIT, 512, 224, 16, 768, 12, 512, true},
        {"clip-vit-l-14", FC_VISION_VIT, 768, 224, 14, 1024, 24, 768, true},
        {"clip-vit-l-14-336", FC_VISION_VIT, 768, 336, 14, 1024, 24, 768, true},
        {"eva02-clip-b-16", FC_VISION_EVA02, 512, 224, 16, 768, 12, 512, false},
        {"eva02-clip-l-14-336", FC_VISION_EVA02, 768, 336, 14, 1024, 24, 768, false},
        {"tiny-vit", FC_VISION_VIT, 64, 64, 8, 128, 4, 128, false},
        {"tiny-eva02", FC_VISION_EVA02, 64, 64, 8, 128, 4, 128, false},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        fc_model_config m;
        FC_CHECK_OK(fc_model_config_load(&m, all[i].name));
        FC_CHECK_STR(m.name, all[i].name);
        FC_CHECK_INT(m.vision.kind, all[i].kind);
        FC_CHECK_INT(m.embed_dim, all[i].embed_dim);
        FC_CHECK_INT(m.vision.image_size, all[i].image_size);
        FC_CHECK_INT(m.vision.patch_size, all[i].patch_size);
        FC_CHECK_INT(m.vision.width, all[i].width);
        FC_CHECK_INT(m.vision.layers, all[i].layers);
        FC_CHECK_INT(m.text.width, all[i].text_width);
        FC_CHECK_INT(m.quick_gelu, all[i].quick_gelu);
        FC_CHECK_INT(m.vision.width / m.vision.head_width * m.vision.head_width, m.vision.width);
    }
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");
    FC_CHECK(f != NULL);
    fputs(text, f);
    fclose(f);
}

static void test_finding(void)
{
    fc_model_config m;
    FC_CHECK_FAILS(fc_model_config_load(&m, "eva02-clip-b16"), FC_NOINPUT,
                   "eva02-clip-b16: no such model configuration, in models/configs or as a file; "
                   "did you mean eva02-clip-b-16?");
    FC_CHECK_FAILS(fc_model_config_load(&m, "nowhere/x.yaml"), FC_NOINPUT, "nowhere/x.yaml");
    FC_CHECK_OK(fc_model_config_load(&m, "models/configs/tiny-vit.yaml"));
    FC_CHECK_STR(m.name, "tiny-vit");
    const char *path = fc_check_temp("mine.yaml");
    write_file(path, good);
    FC_CHECK_OK(fc_model_config_load(&m, path));
    FC_CHECK_STR(m.name, "mine");
    write_file(path, "embed_dim: 1\nvision: {}\n");
    FC_CHECK_FAILS(fc_model_config_load(&m, path), FC_USAGE,
                   "mine.yaml:1: the key vision_cfg is missing");
    /* JSON of open_clip is YAML. */
    const char *json = fc_check_temp("m.json");
    write_file(json, "{\n\"embed_dim\": 48, \"vision_cfg\": {\"image_size\": 64, \"layers\": 3, "
                     "\"width\": 64, \"patch_size\": 16}, \"text_cfg\": {\"context_length\": 16, "
                     "\"vocab_size\": 600, \"width\": 48, \"heads\": 4, \"layers\": 2}}\n");
    FC_CHECK_OK(fc_model_config_load(&m, json));
    FC_CHECK_INT(m.text.vocab_size, 600);
}

static void test_share_folder(void)
{
    char *share = fc_strdup(fc_check_temp("share"));
    FC_CHECK(mkdir(share, 0777) == 0);
    FC_CHECK(mkdir(fc_check_temp("share/models"), 0777) == 0);
    FC_CHECK(mkdir(fc_check_temp("share/models/configs"), 0777) == 0);
    write_file(fc_check_temp("share/models/configs/special.yaml"), good);
    FC_CHECK(setenv("FINECLIP_SHARE", share, 1) == 0);
    fc_model_config m;
    FC_CHECK_OK(fc_model_config_load(&m, "special"));
    FC_CHECK_STR(m.name, "special");
    FC_CHECK_OK(fc_model_config_load(&m, "tiny-vit")); /* the other folders still count */
    char *near = fc_model_config_suggest("specail");
    FC_CHECK_STR(near, "special");
    fc_free(&near);
    char *first = fc_path_share(0);
    FC_CHECK_STR(first, share);
    fc_free(&first);
    fc_free(&share);
    FC_CHECK(unsetenv("FINECLIP_SHARE") == 0);
    FC_CHECK_FAILS(fc_model_config_load(&m, "special"), FC_NOINPUT, "special");
    char *none = fc_path_find("/no/such/file");
    FC_CHECK(none == NULL);
}

int main(void)
{
    test_defaults();
    test_errors();
    test_shipped();
    test_finding();
    test_share_folder();
    return fc_check_end();
}
