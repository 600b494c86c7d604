#!/usr/bin/env bash
# Licences, bans and sources of the dependencies, when cargo-deny is there or can be built once into the cache.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.18.9
cache="${XDG_CACHE_HOME:-$HOME/.cache}/playhouse-test/cargo-deny-$version"
deny=$(command -v cargo-deny || echo "$cache/bin/cargo-deny")
if [ ! -x "$deny" ]; then
  echo "building cargo-deny $version once (a few minutes)"
  CARGO_TARGET_DIR="$cache/target" cargo install --quiet --locked --root "$cache" "cargo-deny@$version" --no-default-features
  rm -rf "$cache/target"
fi
"$deny" --log-level error check bans licenses sources
