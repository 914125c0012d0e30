#!/bin/sh
# Everything for a machine with an NVIDIA GPU: sh tests/run_gpu.sh [--no-peers]
# Builds the program and the CUDA tests with nvcc, runs the tests on the GPU, plainly and under compute-sanitizer, then times
# the 256M shape with random weights here and in PyTorch on the same GPU (eager and torch.compile; pip installs it into
# build/peers/venv). Writes build/gpu/results.json and build/gpu/table.txt. Exit code 0 only if all tests passed.
#     --no-peers   without PyTorch: needs no network
set -eu
cd "$(dirname "$0")/.."
peers=yes
for argument in "$@"; do
    case $argument in
    --no-peers) peers='' ;;
    *)
        echo "usage: sh tests/run_gpu.sh [--no-peers]" >&2
        exit 2
        ;;
    esac
done
PATH=$PATH:/usr/local/cuda/bin
for program in nvidia-smi nvcc; do
    command -v $program >/dev/null 2>&1 || {
        echo "tests/run_gpu.sh needs $program: a machine with an NVIDIA GPU, its driver and the CUDA toolkit" >&2
        exit 1
    }
done
. tests/support/install.sh
install_packages g++ cmake make libeigen3-dev nlohmann-json3-dev doctest-dev libstb-dev
work=build/gpu
mkdir -p $work
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
eigen=/usr/include/eigen3

# The tests of tests/cuda are the same files as in emulation; here they are CUDA.
flags="-std=c++20 -O2 -arch=sm_$arch -I include -I tests -isystem $eigen -DSMOLVLM_TEST_DIR=\"$PWD/tests\" -DSMOLVLM_BUILD_DIR=\"$PWD/build\""
for source in tests/cuda/*.cpp tests/support/main.cpp; do
    echo "$source"
done | xargs -P "$(nproc)" -I SOURCE sh -c 'object='$work'/$(basename SOURCE .cpp).o
    nvcc '"$(printf '%s' "$flags" | sed 's/"/\\"/g')"' -x cu -c -o $object SOURCE'
objects=''
for source in tests/cuda/*.cpp tests/support/main.cpp; do
    objects="$objects $work/$(basename "$source" .cpp).o"
done
nvcc -arch=sm_$arch -o $work/test_cuda $objects
status=0
$work/test_cuda || status=1
for tool in memcheck racecheck synccheck initcheck; do
    if command -v compute-sanitizer >/dev/null 2>&1; then
        compute-sanitizer --tool $tool --error-exitcode 9 $work/test_cuda >$work/$tool.log 2>&1 &&
            echo "compute-sanitizer $tool: passed" || {
            echo "compute-sanitizer $tool: FAILED, see $work/$tool.log"
            status=1
        }
    else
        echo "compute-sanitizer $tool: not run, it is not installed"
    fi
done

# Speed. The program makes the numbers of one side, PyTorch those of the other; the model is the same folder.
python=build/peers/venv/bin/python
if [ -n "$peers" ]; then
    install_packages python3-venv
    [ -x $python ] || python3 -m venv build/peers/venv
    $python -m pip install -q -r tests/golden/requirements.txt
fi
if [ ! -f build/peers/256M/config.json ]; then
    [ -n "$peers" ] || {
        echo "speed: not measured, build/peers/256M is made with PyTorch"
        exit $status
    }
    $python bench/peers/make_random_models.py --size 256M --dtype f32 --out build/peers
fi
nvcc -std=c++20 -O3 -arch=sm_$arch -I include -isystem $eigen -o $work/speed bench/cuda/speed.cu
$work/speed --model build/peers/256M >$work/ours.json
{
    printf '{"ours": '
    cat $work/ours.json
    if [ -n "$peers" ]; then
        for dtype in bfloat16 float32; do
            for compile in '' --compile; do
                printf ', "torch_%s%s": ' $dtype "$(echo $compile | tr -d -)"
                $python bench/peers/transformers_speed.py --device cuda --dtype $dtype $compile --all --model build/peers/256M
            done
        done
    fi
    printf '}\n'
} >$work/results.json
python3 - $work/results.json <<'END' | tee $work/table.txt
import json, sys
results = json.load(open(sys.argv[1]))
row = lambda name, *values: print(f"{name:28}" + "".join(f"{v:>14}" if isinstance(v, str) else f"{v:14.2f}" for v in values))
row("", "tile ms", "17 tiles ms", "prefill ms", "tokens/s", "training ms")
for name, r in results["ours"].items():
    if isinstance(r, dict):
        row("here " + name, r["tile_ms"], r["tiles17_ms"], r["prefill_ms"], r["decode_tokens_per_s"], r["train_step_ms"])
for name, r in results.items():
    if name != "ours":
        row(name, r["vision_tile_s"] * 1e3, r["vision_17_tiles_s"] * 1e3, r["prefill_s"] * 1e3, r["decode_tokens_per_s"],
            r["train_step_s"] * 1e3)
END
exit $status
