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

# A guest has one processor, and much of what is tested waits: of three lanes one boots guests, one is
# for scenarios, and one for the rest with the guests marked `beside`. They take about as long.
# PLUTINO_EXHAUSTIVE=1 takes every case of every matrix.
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
lane() { # NAME ARGUMENT...
  local name=$1
  shift
  (exec .venv/bin/python -m pytest -p no:cacheprovider --durations=15 "$@" </dev/null) >"$kept/$name" 2>&1 &
  pids+=($!)
}
set -m # each lane is a process group
lane "guests" -m "guest and not beside" tests/guest
lane "scenarios" -m "not guest" tests/scenarios
(exec .venv/bin/python -m pytest -p no:cacheprovider --durations=15 -m "not guest or beside" \
  --ignore tests/scenarios </dev/null) &
pids+=($!)
failed=0
for pid in "${pids[@]}"; do wait "$pid" || failed=$?; done
for name in "scenarios" "guests"; do
  printf '\n== Python tests: the lane of %s\n' "$name"
  cat "$kept/$name"
done
exit "$failed"
