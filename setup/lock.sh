#!/usr/bin/env bash
# Writes the lock files anew: Python packages with hashes of every platform, and the Rust crates.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
python3 -m venv "$tools"
"$tools/bin/pip" install --quiet pip-tools==7.6.2
# Settings of this machine (mirrors, local folders) must not get into the files.
unset PIP_FIND_LINKS PIP_INDEX_URL PIP_EXTRA_INDEX_URL
export PIP_CONFIG_FILE=/dev/null
for name in build run test; do
  "$tools/bin/pip-compile" --quiet --generate-hashes --strip-extras --allow-unsafe --no-header \
    --no-emit-index-url --no-emit-find-links --constraint requirements/run.in \
    --output-file "requirements/$name.txt" "requirements/$name.in"
done
cargo update --manifest-path engine/Cargo.toml
