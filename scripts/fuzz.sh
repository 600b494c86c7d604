#!/usr/bin/env bash
# Fuzzes each target for PLAYHOUSE_FUZZ_SECONDS (60). Needs `cargo install cargo-fuzz` and a nightly toolchain.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v cargo-fuzz >/dev/null || { echo "cargo-fuzz is missing: cargo install cargo-fuzz" >&2; exit 3; }
for target in agent_frames client_messages; do
  cargo +nightly fuzz run "$target" -- -max_total_time="${PLAYHOUSE_FUZZ_SECONDS:-60}" -max_len=65536
done
