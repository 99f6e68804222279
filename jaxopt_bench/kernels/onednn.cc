// Which oneDNN the library calls.

#include <dlfcn.h>

#include <string>

#include "dnnl.h"

extern "C" const char* jaxopt_bench_onednn_version() {
  static const std::string version = [] {
    const dnnl_version_t* found = dnnl_version();
    return std::to_string(found->major) + "." + std::to_string(found->minor) + "." + std::to_string(found->patch);
  }();
  return version.c_str();
}

extern "C" const char* jaxopt_bench_onednn_file() {
  Dl_info found;
  return dladdr(reinterpret_cast<const void*>(&dnnl_version), &found) ? found.dli_fname : "";
}
