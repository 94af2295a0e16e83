#!/usr/bin/env bash
# Sets up plutino in this folder: system packages, Python environment, engine.
#
#   setup/setup.sh run     what `plutino` itself needs
#   setup/setup.sh test    and what the tests need
#   setup/setup.sh bench   and what the benchmarks need
#
# Each stage is done once and done again only when its inputs change; a run with nothing to do needs
# no network. Downloads stay in the caches of pip and cargo, builds in ~/.cache/plutino.
set -euo pipefail
cd "$(dirname "$0")/.."

goal=${1:-run}
case $goal in run | test | bench) ;; *)
  echo "usage: setup/setup.sh run|test|bench" >&2
  exit 2
  ;;
esac

venv=.venv
native=src/plutino/_native.abi3.so # beside the sources, which an editable installation imports
cache=${XDG_CACHE_HOME:-$HOME/.cache}/plutino
rust_needed=1.85
python_needed=3.11

say() { printf 'setup: %s\n' "$*" >&2; }
fail() {
  printf 'setup: failed: %s\n' "$1" >&2
  [ $# -lt 2 ] || printf '  hint: %s\n' "$2" >&2
  exit 1
}

# --- stage 1: packages of the system -------------------------------------------------------------
# Asked for by what they bring, so that a machine with its own compiler or Python keeps it.

# Guests are for tests of the kernel, which root runs; without what they need, those are skipped.
guests=no
if [ "$goal" = test ] && [ "$(uname -m)" = x86_64 ] && [ "$(id -u)" -eq 0 ]; then guests=yes; fi

missing=()
need() { # need PACKAGE COMMAND...: the package is missing if the command fails
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}
has() { command -v "$1"; }
has_library() { ldconfig -p | grep -q "$1"; }

python_command() { # the first Python that is new enough and can make environments
  local candidate
  for candidate in /usr/bin/python3 python3 python3.13 python3.12 python3.11; do
    if "$candidate" -c "import sys, venv, ensurepip; sys.exit(sys.version_info < (${python_needed/./, }))" 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}
static_busybox() { # alone in the first archive of a guest, it finds no libraries
  has busybox && ! ldd "$(command -v busybox)"
}
new_enough_rust() {
  local version
  version=$(rustc --version 2>/dev/null | cut -d' ' -f2) && [ -n "$version" ] &&
    [ "$(printf '%s\n' "$rust_needed" "$version" | sort -V | head -n1)" = "$rust_needed" ] && has cargo >/dev/null
}
compiles_c() {
  local folder status=0
  folder=$(mktemp -d)
  printf '#include <stdlib.h>\nint main(void) { return 0; }\n' >"$folder/try.c"
  cc -o "$folder/try" "$folder/try.c" || status=1
  rm -rf "$folder"
  return $status
}

look_for_packages() {
  missing=()
  need python3-venv python_command
  need gcc has gcc
  need libc6-dev compiles_c
  need ca-certificates test -e /etc/ssl/certs/ca-certificates.crt
  if ! new_enough_rust; then missing+=(cargo-web rustc-web); fi
  if [ "$(uname -m)" = x86_64 ]; then need libipsec-mb1 has_library 'libIPSec_MB\.so'; fi
  need nftables has nft
  if [ "$goal" != run ]; then
    need iproute2 has ip
    need iputils-ping has ping
    need iptables has iptables-legacy
    need tshark has tshark
    need procps has ps
    need frr test -x /usr/lib/frr/zebra
    need bird2 has bird
    need git has git
    if [ $guests = yes ]; then # what boots a kernel, and what builds one
      need qemu-system-x86 has qemu-system-x86_64
      need busybox-static static_busybox
      need kmod has depmod
      need zstd has zstd
      need lz4 has lz4
      need xz-utils has xz
      need make has make
      need flex has flex
      need bison has bison
      need bc has bc
      need binutils has strip
    fi
    cargo clippy --version >/dev/null 2>&1 || missing+=(rust-web-clippy)
  fi
  if [ "$goal" = bench ]; then
    need iperf3 has iperf3
    need wireguard-go has wireguard-go
    need wireguard-tools has wg
  fi
}

install_packages() {
  look_for_packages
  [ ${#missing[@]} -gt 0 ] || return 0
  local hint="as root: apt-get install --no-install-recommends ${missing[*]}"
  if [ "$(id -u)" -ne 0 ]; then
    fail "these packages are missing and only root can install them: ${missing[*]}" "$hint"
  fi
  has apt-get >/dev/null || fail "no apt-get here to install: ${missing[*]}" \
    "install what they bring by your distribution's means: Python $python_needed with venv, a C compiler, Rust $rust_needed"
  say "installing packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  local log=$cache/apt.log
  if ! apt_install >"$log" 2>&1; then
    say "the package lists may be old: updating them"
    if ! apt-get update >>"$log" 2>&1 || ! apt_install >>"$log" 2>&1; then
      if [ $guests = yes ]; then
        say "WARNING: trying again without the packages for guests"
        guests=no
        install_packages
        return
      fi
      tail -n 5 "$log" >&2
      fail "apt-get could not install: ${missing[*]}" "is the network up, and has /etc/apt a source for this release? Full log: $log"
    fi
  fi
  look_for_packages
  [ ${#missing[@]} -eq 0 ] || fail "still missing after installation: ${missing[*]}" "see $log"
}
apt_install() {
  echo 'wireshark-common wireshark-common/install-setuid boolean false' | debconf-set-selections 2>/dev/null || true
  # Routing daemons are for the tests alone, which start their own: none is started by itself.
  local policy=/usr/sbin/policy-rc.d ours=no status=0
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy && ours=yes
  fi
  apt-get install -y --no-install-recommends "${missing[@]}" || status=$?
  [ $ours = no ] || rm -f $policy
  return $status
}

# --- stages with a stamp --------------------------------------------------------------------------

fingerprint() { # of files and words
  local word
  for word in "$@"; do
    if [ -f "$word" ]; then cat "$word"; else printf '%s\n' "$word"; fi
  done | sha256sum | cut -d' ' -f1
}
done_before() { [ "$(cat "$venv/.setup-$1" 2>/dev/null)" = "$2" ]; }
mark_done() { printf '%s\n' "$2" >"$venv/.setup-$1"; }
logged() { # logged NAME HINT COMMAND...: quiet while it works, the end of its output if it fails
  local name=$1 hint=$2 log=$cache/$1.log
  shift 2
  if ! "$@" >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    fail "$name" "$hint (full log: $log)"
  fi
}
network_hint="is the network up, and does it reach the package index of Python?"

make_environment() {
  local python print
  python=$(python_command) || fail "no Python $python_needed or newer with venv" "apt-get install python3-venv"
  print=$(fingerprint "$PWD" "$python" "$("$python" --version)")
  if ! done_before environment "$print"; then
    say "making the Python environment in $venv"
    rm -rf "$venv"
    logged environment "remove $venv and try again" "$python" -m venv "$venv"
    mark_done environment "$print"
  fi
}
install_requirements() { # install_requirements STAGE FILE...
  local stage=$1 print file arguments=()
  shift
  print=$(fingerprint "$@")
  done_before "$stage" "$print" && return
  for file in "$@"; do arguments+=(-r "$file"); done
  say "installing Python packages (${stage#python-}, pinned by hash)"
  logged "$stage" "$network_hint" "$venv/bin/python" -m pip install --disable-pip-version-check \
    --quiet --require-hashes "${arguments[@]}"
  mark_done "$stage" "$print"
}
install_plutino() {
  local print
  print=$(fingerprint pyproject.toml requirements/run.in src/plutino/__init__.py)
  done_before plutino "$print" && return
  say "installing plutino into $venv"
  # The engine is a part of the package, and was built by the stage before, which shows progress.
  logged plutino "see the log" "$venv/bin/python" -m pip install \
    --disable-pip-version-check --quiet --no-deps --no-build-isolation --no-index -e .
  mark_done plutino "$print"
}
replace() { # replace BUILT INSTALLED: atomic, so what runs keeps its file
  install -m 755 "$1" "$2.new"
  mv "$2.new" "$2"
}
build_engine() {
  local print
  print=$(find engine -path engine/target -prune -o -type f \( -name '*.rs' -o -name 'Cargo.*' \) -print0 |
    sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
  done_before engine "$print" && [ -x "$venv/bin/plutino-engine" ] && [ -f "$native" ] && return
  say "building the engine (the first time takes some minutes)"
  # As setuptools-rust calls it, so that the installation of plutino finds all of it built.
  PYO3_PYTHON=$PWD/$venv/bin/python PYO3_BUILD_EXTENSION_MODULE=1 \
    cargo build --manifest-path engine/Cargo.toml --release --locked --package plutino-engine --package plutino-native >&2 ||
    fail "the engine could not be built" "the lines above say why; without network the Rust crates cannot be fetched the first time"
  replace "$CARGO_TARGET_DIR/release/plutino-engine" "$venv/bin/plutino-engine"
  replace "$CARGO_TARGET_DIR/release/lib_native.so" "$native"
  mark_done engine "$print"
}
prepare_guests() { # the last stage, and the only one that may fail: the other tests do without
  local kernel failed=()
  if [ $guests = no ]; then
    say "WARNING: no guests without root, x86_64 and their packages: tests in them will be SKIPPED"
    return
  fi
  if ! "$venv/bin/python" -m plutino.lab.guest --kernel uml-7.3 --prepare; then
    say "WARNING: uml-6.12 in place of uml-7.3: tests in guests take twice as long"
    "$venv/bin/python" -m plutino.lab.guest --kernel uml-6.12 --prepare || failed+=(uml-6.12)
  fi
  "$venv/bin/python" -m plutino.lab.guest --kernel qemu-6.12 --prepare || failed+=(qemu-6.12)
  "$venv/bin/python" -m plutino.lab.peers.packages ||
    say "WARNING: another IKE daemon is missing: tests with it will be SKIPPED, and in CI fail"
  [ ${#failed[@]} -gt 0 ] || return 0
  say "WARNING: no guest kernel ${failed[*]}: tests that boot it will be SKIPPED, and in CI fail"
  say "  hint: the lines above say why; again with: setup/setup.sh test"
}

mkdir -p "$cache"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/engine-target}
install_packages
make_environment
install_requirements python-run requirements/build.txt requirements/run.txt
[ "$goal" = run ] || install_requirements python-test requirements/test.txt
build_engine
install_plutino
[ "$goal" != test ] || prepare_guests
