/* What says which pictures there are and what is in them. Each reader streams one kind of file into
 * a plan under construction; all of them run on one rank. Errors: FC_NOINPUT: no such file; FC_DATA
 * names file and line. */
#ifndef FC_DATA_SOURCES_H
#define FC_DATA_SOURCES_H

#include "data/prepare/plan_build.h"

typedef enum { FCI_COCO_CAPTIONS, FCI_COCO_INSTANCES, FCI_COCO_PANOPTIC } fci_coco_kind;

/** COCO's annotation files, and the published proposals, which look like instances. images,
 * categories: take the file's list of pictures, of categories. Crowd annotations of instances are
 * left out (those of panoptic stay, as in the published evaluation). */
FC_NODISCARD fc_status fci_source_coco(fci_plan_builder *b, fci_coco_kind kind, const char *path,
                                       bool images, bool categories);
/** Retrieval lists [{"image": NAME, "caption": ["...", ...]}, ...]; the list of pictures. */
FC_NODISCARD fc_status fci_source_retrieval(fci_plan_builder *b, const char *path);
/** Karpathy's dataset_*.json: pictures of the splits (words joined by "+": "train+restval"; NULL:
 * all) with their sentences. */
FC_NODISCARD fc_status fci_source_karpathy(fci_plan_builder *b, const char *path,
                                           const char *splits);
/** Every .jpg, .jpeg and .png below a folder, in the order of their paths. */
FC_NODISCARD fc_status fci_source_folder(fci_plan_builder *b, const char *folder);
/** Webdataset tar shards as img2dataset writes them, in the order given: of a sample its jpg, jpeg
 * or png, its caption from txt, else from json's "caption", and json's width and height. A shard
 * that ends in the middle keeps what is whole. */
FC_NODISCARD fc_status fci_source_shards(fci_plan_builder *b, char *const *paths, int count);

/** Records of a detector: a list, or JSON lines, of {"image_id": number or name, "bbox": [x, y, w,
 * h], "score": , "category_id": , "caption": }, the last three optional. */
FC_NODISCARD fc_status fci_source_detections(fci_plan_builder *b, const char *path);
/** Records of a captioner of pictures: {"image_id": number or name, "caption": }. */
FC_NODISCARD fc_status fci_source_caption_records(fci_plan_builder *b, const char *path);
/** Sentences of regions: the published object {"FILE.jpg_X_Y_W_H.jpg": "..."}, or records of a
 * captioner with a "caption" and either the exported crop's "key" or "image_id" and "bbox". */
FC_NODISCARD fc_status fci_source_region_captions(fci_plan_builder *b, const char *path);

/** True where a file holds records (a list, or JSON lines by its suffix .jsonl or .ndjson) and not
 * one object. FC_NOINPUT: it cannot be opened. */
FC_NODISCARD fc_status fci_source_is_records(const char *path, bool *records);

#endif
