#!/usr/bin/env bash
# What the compiler cannot prove, watched while it runs: the engine's tests under AddressSanitizer,
# and each fuzz target for a while.
#
#   tests/sanitize.sh [SECONDS]    seconds for each fuzz target, 30 if nothing is said
#
# Needs a nightly toolchain (rustup toolchain install nightly) and cargo-fuzz (cargo install
# cargo-fuzz); neither is needed for anything else.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-30}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/plutino
export CARGO_TARGET_DIR=$cache/engine-sanitized
host=$(rustc -vV | sed -n 's/^host: //p')

if ! cargo +nightly --version >/dev/null 2>&1; then
  echo "sanitize: there is no nightly toolchain: rustup toolchain install nightly" >&2
  exit 1
fi
echo "== AddressSanitizer"
RUSTFLAGS=-Zsanitizer=address cargo +nightly test --manifest-path engine/Cargo.toml --locked --quiet --target "$host"

if ! cargo +nightly fuzz --version >/dev/null 2>&1; then
  echo "sanitize: there is no cargo-fuzz: cargo install cargo-fuzz" >&2
  exit 1
fi
cd engine
for target in $(cargo +nightly fuzz list); do
  echo "== fuzz $target, $seconds s"
  cargo +nightly fuzz run "$target" -- -max_total_time="$seconds" -print_final_stats=1 -verbosity=0 -print_funcs=0
done
