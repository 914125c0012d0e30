#pragma once
/// The version of these headers: the one place that states it (the build reads it from here).
/// Semantic versioning covers include paths, public names, the operations of the Backend concept and the error types.

#ifdef SMOLVLM_VERSION_MAJOR
#error "smolvlm: two copies of the library are included in one translation unit; check the include paths"
#endif

#define SMOLVLM_VERSION_MAJOR 0
#define SMOLVLM_VERSION_MINOR 1
#define SMOLVLM_VERSION_PATCH 0
