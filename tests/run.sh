#!/usr/bin/env bash
# Every check of the project: lint and types first, since they fail fastest, then Rust, then Python.
set -euo pipefail
cd "$(dirname "$0")/.."

tests/lint.sh
cache=${XDG_CACHE_HOME:-$HOME/.cache}/plutino
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/engine-target}
echo "== engine tests"
cargo test --manifest-path engine/Cargo.toml --release --locked --quiet
echo "== Python tests"
if [ "$(id -u)" -ne 0 ] || [ ! -c /dev/net/tun ]; then
  echo "WARNING: not root or no /dev/net/tun: tests that need them will be skipped" >&2
  [ -z "${CI:-}" ] || { echo "in CI a skipped test is a failure: run as root with /dev/net/tun" >&2; exit 1; }
fi
exec .venv/bin/python -m pytest "$@"
