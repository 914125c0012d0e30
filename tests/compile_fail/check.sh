#!/bin/sh
# Wrong code does not compile, and the compiler's message names the reason.
#     check.sh COMPILER SOURCE_DIR EIGEN_DIR
# Each .cpp file here is compiled twice: as it is, which must succeed, and with -DWRONG, which must fail with a message that
# holds the words of every "// expect: " line of the file.
set -u
compiler=$1 source=$2 eigen=$3
here=$source/tests/compile_fail
words=$(mktemp) || exit 1
trap 'rm -f "$words"' EXIT
failures=0

compile() {
    "$compiler" -std=c++20 -fsyntax-only -Wall -Wextra -Werror -I "$source/include" -I "$source/tests" -isystem "$eigen" "$@" \
        >"$words" 2>&1
}
complain() {
    echo "FAILED: $*"
    head -20 "$words"
    failures=$((failures + 1))
}

for file in "$here"/*.cpp; do
    name=$(basename "$file")
    compile "$file" || complain "$name does not compile with $compiler"
    grep -q '^// expect: ' "$file" || continue
    if compile -DWRONG "$file"; then
        complain "$name compiles with -DWRONG"
        continue
    fi
    sed -n 's|^// expect: ||p' "$file" | while read -r expected; do
        grep -qF "$expected" "$words" || { echo "$expected" && exit 1; }
    done || complain "$name fails without the words above"
done
echo "$(ls "$here"/*.cpp | wc -l) files with $compiler, $failures failures"
[ $failures = 0 ]
