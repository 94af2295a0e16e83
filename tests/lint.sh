#!/usr/bin/env bash
# Format, lint and types of Python and Rust.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/plutino
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/engine-target}
echo "== ruff"
.venv/bin/ruff format --check --quiet .
.venv/bin/ruff check --quiet .
echo "== mypy"
.venv/bin/mypy --no-error-summary
echo "== clippy"
cargo clippy --manifest-path engine/Cargo.toml --release --locked --all-targets --quiet -- -D warnings
