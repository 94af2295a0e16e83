#!/usr/bin/env bash
# Every check of the project: lint and types first, since they fail fastest, then Rust, then Python.
# Arguments are for pytest, which then runs alone.
set -euo pipefail
cd "$(dirname "$0")/.."

# Thousands of processes start here: none of them shall compile what another has compiled already.
unset PYTHONDONTWRITEBYTECODE
.venv/bin/python -m compileall -q src tests

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
[ $# -eq 0 ] || exec .venv/bin/python -m pytest "$@"

# A guest has one processor: one lane boots guests while the other does without, and ends with those
# that are marked `beside`. PLUTINO_EXHAUSTIVE=1 takes every case of every matrix.
kept=$(mktemp -d)
pids=()
end_lanes() { # by SIGINT to all of a lane: pytest then tears down, and a guest's command ends it
  local pid
  for pid in "${pids[@]}"; do kill -INT -- "-$pid" 2>/dev/null || true; done
  wait || true
  rm -rf "$kept"
}
trap end_lanes EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
lane() { exec .venv/bin/python -m pytest -p no:cacheprovider --durations=15 "$@" </dev/null; }
set -m # each lane is a process group
(lane -m "guest and not beside") >"$kept/guests" 2>&1 &
pids+=($!)
(lane -m "not guest or beside") &
pids+=($!)
failed=0
wait "${pids[1]}" || failed=$?
wait "${pids[0]}" || failed=$?
printf '\n== Python tests: the lane of guests\n'
cat "$kept/guests"
exit "$failed"
