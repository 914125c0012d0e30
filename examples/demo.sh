#!/bin/sh
# A first look, from a fresh Debian or Ubuntu machine to an answer about a picture: sh examples/demo.sh [PICTURE [QUESTION]]
#   1. installs a compiler and three libraries with apt-get (only what is missing) and builds build/bin/smolvlm
#   2. shows a picture, and what the model sees of it: tiles, the global frame, the expanded prompt
#   3. asks the tiny reader, the model in examples/tiny-reader, what is written in it
# Exit code 0 only if all of it happened.
set -eu
cd "$(dirname "$0")/.."
picture=${1:-examples/tiny-reader/ticket.png}
out=build/demo
smolvlm=build/bin/smolvlm
model=examples/tiny-reader

# quietly COMMAND...: its output only if it fails.
quietly() {
    "$@" >"$out/log.txt" 2>&1 && return 0
    cat "$out/log.txt" >&2
    echo "FAILED: $*" >&2
    return 1
}
ask() {
    echo "> $1"
    $smolvlm generate --model $model --image "$picture" --prompt "$1"
}

. tests/support/install.sh
install_packages g++ cmake make libeigen3-dev nlohmann-json3-dev libstb-dev
mkdir -p $out

echo "== Building the program (two to three minutes on two cores)"
quietly cmake -S . -B build -DCMAKE_BUILD_TYPE=Release -DSMOLVLM_BUILD_EXAMPLES=ON
quietly cmake --build build --target smolvlm_cli -j "$(nproc)"

echo "== The picture, and what the model sees of it"
$smolvlm show "$picture"
$smolvlm preprocess --model $model --image "$picture" --output $out/tiles.safetensors --contact-sheet $out/contact_sheet.png
$smolvlm show $out/contact_sheet.png
$smolvlm prompt --model $model --image "$picture" --prompt "Read all the text." >$out/prompt.txt
echo "the prompt is $(wc -c <$out/prompt.txt) bytes and begins"
cut -c1-110 $out/prompt.txt | head -2

echo "== Questions to the tiny reader (examples/tiny-reader/README.md)"
if [ $# -gt 1 ]; then
    ask "$2"
else
    ask "Read all the text."
    [ $# -gt 0 ] || ask "What is written in row 2, column 3?"
fi
echo "== Next:  $smolvlm generate --image examples/tiny-reader/receipt.png --prompt 'How much is the total?'"
