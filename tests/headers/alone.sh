#!/bin/sh
# Every header compiles alone and with all others, under strict warnings; one that lacks an include does not.
#     alone.sh INCLUDE_DIR COMPILER [FLAG...]
# Prints the compiler's words for each header that fails; exit 0 when none does.
set -u
include=$1
shift
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
jobs=$(nproc 2>/dev/null || echo 1)
flags='-std=c++20 -fsyntax-only -Wall -Wextra -Wconversion -Wshadow -Wsign-conversion -Werror'

# The header is a forced include of an empty file, because #pragma once in a main file is a warning of its own.
cat >"$work/one.sh" <<'EOF'
header=$1
shift
"$@" -include "$header" -x c++ /dev/null && exit 0
echo "FAILED: $header does not compile alone with $1" >&2
exit 1
EOF

# all DIR COMPILER [FLAG...]: every header below DIR/smolvlm, as many at a time as there are cores. (train/mpi.hpp needs
# mpi.h, which is optional; tests/mpi compiles it.)
all() {
    dir=$1
    shift
    (cd "$dir" && find smolvlm -name '*.hpp' ! -path 'smolvlm/train/mpi.hpp' | sort) |
        xargs -P "$jobs" -I HEADER sh "$work/one.sh" HEADER "$@" $flags -I "$dir"
}

# The check itself must be able to fail: a header with a missing include, and one with a warning.
mkdir -p "$work/lacking/smolvlm" "$work/warning/smolvlm" "$work/sound/smolvlm"
echo '#pragma once
inline std::vector<int> f() { return {}; }' >"$work/lacking/smolvlm/x.hpp"
echo '#pragma once
inline int f(long x) { return x; }' >"$work/warning/smolvlm/x.hpp"
echo '#pragma once
#include <vector>
inline std::vector<int> f() { return {}; }' >"$work/sound/smolvlm/x.hpp"
all "$work/sound" "$@" || { echo "a sound header is refused"; exit 1; }
all "$work/lacking" "$@" 2>/dev/null && { echo "a header that lacks an include passes"; exit 1; }
all "$work/warning" "$@" 2>/dev/null && { echo "a header with a warning passes"; exit 1; }

all "$include" "$@" || exit 1

# And all of them together, where a name in one may get in the way of another.
(cd "$include" && find smolvlm -name '*.hpp' ! -path 'smolvlm/train/mpi.hpp' | sort | sed 's/.*/#include <&>/') >"$work/everything.cpp"
"$@" $flags -I "$include" "$work/everything.cpp" || { echo "the headers do not compile together" >&2; exit 1; }
echo "$(find "$include/smolvlm" -name '*.hpp' | wc -l) headers compile alone with $1"
