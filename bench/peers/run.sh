#!/bin/sh
# Everything for the table "Speed" of the README: sh bench/peers/run.sh [THREADS]
# Builds the program and its benchmark, installs the pinned peers into build/peers/venv with pip (llama.cpp is compiled),
# makes the 256M shape with random weights, compares answers, then times both sides in turns: tile, prefill and
# decoding (compare.json), then a photo to its first token (photo.json). Takes two hours, in which the machine should do
# nothing else.
set -eu
cd "$(dirname "$0")/../.."
threads=${1:-2}
. tests/support/install.sh
install_packages g++ cmake make libeigen3-dev nlohmann-json3-dev libstb-dev python3-venv
cmake -S . -B build -DCMAKE_BUILD_TYPE=Release -DSMOLVLM_BUILD_BENCH=ON
cmake --build build -j "$(nproc)" --target smolvlm_cli bench_vision_prefill_decode
python=build/peers/venv/bin/python
[ -x $python ] || python3 -m venv build/peers/venv
$python -m pip install -q -r bench/peers/requirements.txt
[ -f build/peers/256M/config.json ] || $python bench/peers/make_random_models.py --size 256M --dtype f32 --out build/peers
$python bench/peers/compare.py --model build/peers/256M --threads "$threads" --out build/peers
$python bench/peers/photo_to_first_token.py --model build/peers/256M --threads "$threads" --out build/peers/photo.json
