#!/bin/sh
# Builds and runs all tests: sh tests/run.sh [--long]
#     --long   also the sweeps that take minutes each, clang++ as second compiler of the header tests, and tests/arm.sh
# Installs what is missing with apt-get where that is possible. Build folders: build/ (Release) and build-asan/. The last
# lines are ctest's summary of the Release build; the exit code is 0 only if that, the sanitizer run and that for ARM passed.
set -eu
cd "$(dirname "$0")/.."

long=OFF
for argument in "$@"; do
    case $argument in
    --long) long=ON ;;
    *)
        echo "usage: sh tests/run.sh [--long]" >&2
        exit 2
        ;;
    esac
done

packages='g++ cmake make libeigen3-dev nlohmann-json3-dev doctest-dev libstb-dev
    fonts-dejavu-core fonts-freefont-ttf fonts-open-sans fonts-roboto-unhinted'
[ $long = OFF ] || packages="$packages clang"
. tests/support/install.sh
install_packages $packages

jobs=$(nproc)
export OMP_WAIT_POLICY=passive # tests run side by side: threads that wait leave the cores to the others

# First the sanitizers, on the folders that are quick to build and run under them: memory errors, undefined behaviour and
# failed assertions stop the test.
sanitized=''
for folder in core io tokenizer image checkpoint fuzz; do
    ls tests/$folder/*.cpp >/dev/null 2>&1 && sanitized="$sanitized $folder"
done
cmake -S . -B build-asan -DCMAKE_BUILD_TYPE=None -DSMOLVLM_BUILD_EXAMPLES=OFF -DSMOLVLM_BUILD_BENCH=OFF -DSMOLVLM_WERROR=OFF \
    -DCMAKE_CXX_FLAGS='-O1 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all'
sanitizers=passed
if [ -n "$sanitized" ]; then
    cmake --build build-asan -j "$jobs" --target $(printf 'test_%s ' $sanitized)
    OMP_NUM_THREADS=2 ctest --test-dir build-asan --output-on-failure --no-tests=error \
        -R "^($(echo $sanitized | tr ' ' '|'))\$" || sanitizers=FAILED
fi

arm=passed
[ $long = OFF ] || sh tests/arm.sh || arm=FAILED

cmake -S . -B build -DCMAKE_BUILD_TYPE=Release -DSMOLVLM_BUILD_TESTS=ON -DSMOLVLM_BUILD_BENCH=OFF -DSMOLVLM_BUILD_EXAMPLES=ON -DSMOLVLM_LONG_TESTS=$long
cmake --build build -j "$jobs"
echo "address and undefined-behaviour sanitizers ($(echo $sanitized | wc -w) folders): $sanitizers"
[ $long = OFF ] || echo "64-bit ARM, emulated: $arm"
status=0
ctest --test-dir build -j "$jobs" --output-on-failure --no-tests=error --output-log build/ctest.log || status=$?
[ $sanitizers = passed ] || {
    echo "the sanitizer run FAILED, see above"
    exit 1
}
[ $arm = passed ] || {
    echo "the run for ARM FAILED, see above"
    exit 1
}
exit $status
