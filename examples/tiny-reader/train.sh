#!/bin/sh
# Trains the tiny reader from random weights, as it lies in this folder: sh examples/tiny-reader/train.sh
#
# Four stages (training/*.json), each goes on from the one before: one frame, white on black (how letters look); one frame,
# everything; tiles, receipts, signs and all questions; then the same with larger letters and without what it could not
# learn. About four hours of one core. Interrupt it as you like: the next call goes on, bit for bit. Everything goes to
# build/tiny-reader; the model ends in build/tiny-reader/model.
set -eu
cd "$(dirname "$0")/../.."
. tests/support/install.sh
install_packages g++ cmake make libeigen3-dev nlohmann-json3-dev libstb-dev \
    fonts-dejavu-core fonts-freefont-ttf fonts-open-sans fonts-roboto-unhinted
out=build/tiny-reader
mkdir -p $out
cmake -S . -B build -DCMAKE_BUILD_TYPE=Release -DSMOLVLM_BUILD_EXAMPLES=ON >$out/cmake.log
cmake --build build --target smolvlm_cli 10_tiny_reader -j "$(nproc)"

for stage in 1_easy:000600 2_frames:006000 3_all:007000 4_plain:005000; do
    name=${stage%:*}
    [ ! -d $out/$name/checkpoint-${stage#*:} ] || continue
    resume=''
    ls -d $out/$name/checkpoint-* >/dev/null 2>&1 && resume=--resume
    build/bin/10_tiny_reader train --config examples/tiny-reader/training/$name.json $resume
    [ -d $out/$name/checkpoint-${stage#*:} ] || exit 130 # interrupted
done
[ -d $out/model ] || build/bin/smolvlm convert --model $out/4_plain/checkpoint-005000 --output $out/model --dtype f16
build/bin/10_tiny_reader score $out/model
