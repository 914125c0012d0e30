#!/bin/sh
# Compiles what depends on the processor for 64-bit ARM and runs its tests through qemu: sh tests/arm.sh
# Part of `sh tests/run.sh --long` and not of the plain run, because it takes minutes. Installs cross compiler and emulator
# with apt-get where that is possible; where they cannot be had it says so and is content. Build folder: build-arm/.
# The emulated processor has dot products, so test_cpu runs every path for ARM; one without them must refuse theirs.
set -eu
cd "$(dirname "$0")/.."

folders='core io tokenizer image checkpoint cpu ops model'
. tests/support/install.sh
install_packages g++-aarch64-linux-gnu qemu-user cmake make libeigen3-dev nlohmann-json3-dev doctest-dev libstb-dev || true
for program in aarch64-linux-gnu-g++ qemu-aarch64; do
    command -v $program >/dev/null || {
        echo "no $program: the tests for ARM are left out"
        exit 0
    }
done

jobs=$(nproc)
export OMP_WAIT_POLICY=passive # as in tests/run.sh
cmake -S . -B build-arm --toolchain .cmake/aarch64.cmake -DCMAKE_BUILD_TYPE=Release -DSMOLVLM_BUILD_TESTS=ON \
    -DSMOLVLM_BUILD_EXAMPLES=OFF -DSMOLVLM_BUILD_BENCH=OFF
cmake --build build-arm -j "$jobs" --target $(printf 'test_%s ' $folders)

QEMU_CPU=max ctest --test-dir build-arm -j "$jobs" --output-on-failure --no-tests=error \
    -R "^($(echo $folders | tr ' ' '|'))\$"

on_processor() { # CPU PATH: asks for a path
    QEMU_CPU=$1 SMOLVLM_CPU=$2 qemu-aarch64 -L /usr/aarch64-linux-gnu build-arm/bin/test_core >/dev/null
}
for path in portable neon neondot; do on_processor max $path; done
for path in portable neon; do on_processor cortex-a72 $path; done
if on_processor cortex-a72 neondot || on_processor max avx2; then
    echo "a path that the processor lacks was not refused"
    exit 1
fi
