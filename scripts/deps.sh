#!/usr/bin/env bash
# Installs what is missing: `build` for building and running, `test` for the tests beside.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=()
need() { # need PACKAGE TEST...: the package unless the test succeeds
  local package=$1; shift
  "$@" >/dev/null 2>&1 || packages+=("$package")
}

need pkg-config command -v pkg-config
need libseccomp-dev pkg-config --exists libseccomp
need build-essential command -v cc
# Templates use the machine's own toolchains: Rust and Node are there, these are the others.
need python3 command -v python3
need python3-pip python3 -m pip --version
need python3-venv python3 -c 'import ensurepip'
need golang-go command -v go
need e2fsprogs test -x /sbin/mkfs.ext4 -o -x /usr/sbin/mkfs.ext4
if [ "${1:-build}" = test ]; then
  # Ubuntu packages no Chromium but a snap: there the journey brings its own, see scripts/chromium.sh.
  grep -qx 'ID=ubuntu' /etc/os-release || need chromium scripts/chromium.sh
  need openssl command -v openssl
  need unzip command -v unzip
  need zstd command -v zstd
fi

if [ ${#packages[@]} -gt 0 ]; then
  sudo=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "please install: ${packages[*]}" >&2; exit 3; }
    sudo=(sudo)
  fi
  echo "installing ${packages[*]}"
  log=$(mktemp)
  # sudo passes no variable on, and a package that asks would be waited for without end.
  as_root=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive)
  if ! { "${as_root[@]}" apt-get update -qq &&
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${packages[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "could not install: ${packages[*]}" >&2
    exit 3
  fi
  rm -f "$log"
fi

command -v cargo >/dev/null || { echo "Rust is missing: install it by rustup, https://rustup.rs" >&2; exit 3; }
node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null ||
  { echo "Node 20.19 or later is missing" >&2; exit 3; }
