// Two copies of the library in one translation unit are an error that says so.
// expect: two copies of the library

#ifdef WRONG
#define SMOLVLM_VERSION_MAJOR 7
#endif
#include <smolvlm/version.hpp>
