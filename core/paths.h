/* Where shipped files are: models/configs and experiments, in the source tree or installed. */
#ifndef FC_CORE_PATHS_H
#define FC_CORE_PATHS_H

#include <stdbool.h>

/** Folder number i (from 0) that holds shipped files, in order of search: $FINECLIP_SHARE, then
 * ../share/fineclip next to the program, then the source tree the program was built from. Heap;
 * NULL past the last. Folders need not exist. */
char *fc_path_share(int i);
/** `path` itself where such a file exists, else, for a relative path, the first share folder that
 * has it. Heap; NULL when nowhere. */
char *fc_path_find(const char *path);
/** As fc_path_find, share folders alone: "models/configs/tiny-vit.yaml". */
char *fc_path_find_shared(const char *path);
/** True for anything readable that is not a folder. */
bool fc_path_is_file(const char *path);

#endif
