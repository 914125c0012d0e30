#!/bin/sh
# What nvcc makes of the CUDA kernels: sh tests/cuda_compile.sh [--long] [--install-tools]
#     --long            for sm_80, sm_90a and sm_100; without it for sm_80 alone
#     --install-tools   cuobjdump and nvdisasm from PyPI into build/cuda_compile/venv, where the toolkit lacks them
# Compiles every kernel with all warnings as errors, writes build/cuda_compile/table.txt (registers, stack, spills of each
# kernel, the worst of its instances) and fails on spills in matrix products and attention. With cuobjdump it also reads the
# machine code of the tensor-core kernels: HMMA (products), LDGSTS (asynchronous copies) and LDSM (ldmatrix) must be there,
# loads from local memory must not. No GPU is needed. Without nvcc it says so and succeeds.
set -eu
cd "$(dirname "$0")/.."
architectures=80
tools=''
for argument in "$@"; do
    case $argument in
    --long) architectures='80 90a 100' ;;
    --install-tools) tools=wanted ;;
    *)
        echo "usage: sh tests/cuda_compile.sh [--long] [--install-tools]" >&2
        exit 2
        ;;
    esac
done

PATH=$PATH:/usr/local/cuda/bin
command -v nvcc >/dev/null 2>&1 || {
    echo "CUDA kernels compiled by nvcc: not run, there is no nvcc"
    exit 0
}
work=build/cuda_compile
mkdir -p $work
if [ -n "$tools" ] && ! command -v cuobjdump >/dev/null 2>&1; then
    [ -x $work/venv/bin/pip ] || python3 -m venv $work/venv
    $work/venv/bin/pip install -q nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm
fi
found=$(find $work/venv -name cuobjdump -type f 2>/dev/null | head -n 1)
[ -z "$found" ] || PATH=$PATH:$(dirname "$found")

# Every architecture, as many at a time as there are cores.
echo "compiling every kernel for $architectures with $(nvcc --version | sed -n 's/.*release \([0-9.]*\).*/nvcc \1/p')"
printf '%s\n' $architectures | xargs -P "$(nproc 2>/dev/null || echo 1)" -I ARCH sh -c '
    nvcc -std=c++20 -O3 -Werror all-warnings -Xptxas -v -I include -arch=sm_ARCH -cubin -o '$work'/kernels_ARCH.cubin \
        tests/cuda_compile/kernels.cu >'$work'/ptxas_ARCH.log 2>&1 || {
        grep -E "error|warning" '$work'/ptxas_ARCH.log | head -n 20
        echo "FAILED: the kernels do not compile for sm_ARCH"
        exit 1
    }'

# One line a kernel and architecture: name, instances, and the largest number of registers, stack and spilt bytes.
for arch in $architectures; do
    c++filt <$work/ptxas_$arch.log | sed "s/'void /'/" | awk -v arch=sm_$arch '
        /Compiling entry function/ {
            name = $0
            sub(/.*Compiling entry function ./, "", name)
            sub(/[<(].*/, "", name)
            sub(/.*::/, "", name)
            ++instances[name]
        }
        /bytes stack frame/ {
            if ($1 > stack[name]) stack[name] = $1
            if ($5 + $9 > spilt[name]) spilt[name] = $5 + $9
        }
        /: Used [0-9]+ registers/ {
            for (i = 1; i < NF; ++i) if ($i == "Used" && $(i + 1) > registers[name]) registers[name] = $(i + 1)
        }
        END { for (k in instances) printf "%-34s %-8s %9d %9d %9d %9d\n", k, arch, instances[k], registers[k], stack[k], spilt[k] }'
done | sort >$work/lines.txt
[ -s $work/lines.txt ] || { echo "FAILED: ptxas reported no kernel"; exit 1; }
{
    printf '%-34s %-8s %9s %9s %9s %9s\n' kernel for instances registers stack spilt
    cat $work/lines.txt
} >$work/table.txt
cat $work/table.txt
if awk '$1 ~ /gemm|linear|attention/ && $6 > 0 { print "FAILED: " $1 " spills " $6 " bytes on " $2; bad = 1 } END { exit !bad }' $work/lines.txt; then
    exit 1
fi

# The machine code of the tensor-core kernels.
if ! command -v cuobjdump >/dev/null 2>&1; then
    echo "machine code of the hot loops: not run, there is no cuobjdump (sh tests/cuda_compile.sh --install-tools)"
    exit 0
fi
for arch in $architectures; do
    cuobjdump -sass $work/kernels_$arch.cubin >$work/sass_$arch.txt 2>$work/cuobjdump.log || {
        cat $work/cuobjdump.log
        echo "machine code of the hot loops on sm_$arch: not run, cuobjdump failed"
        continue
    }
    awk '/Function :/ { name = $3 } { print name, $0 }' $work/sass_$arch.txt | c++filt | awk -v arch=sm_$arch '
        { where = $0; sub(/^void /, "", where); sub(/[<(].*/, "", where); sub(/ .*/, "", where); sub(/.*::/, "", where) }
        where !~ /_mma_kernel$/ { next }
        { seen[where] = 1 }
        / HMMA\./ { ++hmma[where] }
        / LDGSTS/ { ++ldgsts[where] }
        / LDSM/ { ++ldsm[where] }
        / (LDL|STL)/ { ++local[where] }
        END {
            for (k in seen) {
                printf "%-34s %-8s HMMA %d  LDGSTS %d  LDSM %d  local loads and stores %d\n", k, arch, hmma[k], ldgsts[k], ldsm[k], local[k]
                if (!hmma[k] || !ldgsts[k] || !ldsm[k] || local[k]) bad = 1
                ++count
            }
            if (!count || bad) { print "FAILED: a tensor-core kernel lacks its instructions on " arch; exit 1 }
        }'
done
echo "CUDA kernels compiled by nvcc: passed"
