/* `fineclip prepare`: pictures, annotations and captions -> a store (FORMATS.md section 4, recipe).
 */
#ifndef FC_DATA_PREPARE_H
#define FC_DATA_PREPARE_H

#include "core/yaml.h"

/** Run a recipe whose overrides are already applied. source: coco | synthetic. Paths are relative
 * to the working directory. Prints a summary (pictures read, kept, dropped by reason; regions
 * likewise; captions cut) through the log. */
FC_NODISCARD fc_status fc_prepare(const fc_yaml *recipe);

#endif
