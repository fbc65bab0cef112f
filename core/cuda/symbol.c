/* Libraries that are opened when a device is used, so that the program starts without them. */
#include "core/cuda/runtime.h"

#include <dlfcn.h>

void *fci_cuda_symbol(const char *library, const char *name)
{
    void *handle = dlopen(library, RTLD_NOW | RTLD_GLOBAL); /* counted: opening again is cheap */
    return handle == NULL ? NULL : dlsym(handle, name);
}
