#!/usr/bin/env bash
# Runs black-box suites against the built binary. A test that failed is run once more, alone: on a machine that is busy
# with something else a deadline may pass, and a fault fails twice.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/keep-sudo.sh
target=${CARGO_TARGET_DIR:-target}
export PLAYHOUSE_BIN=${PLAYHOUSE_BIN:-$(realpath "$target")/debug/playhouse}
suites=("$@")
[ $# -gt 0 ] || suites=(api stream escape survival)

status=0
for suite in "${suites[@]}"; do
  log=$(mktemp)
  if timeout 1500 cargo test -q -p playhouse-blackbox --test "$suite" -- --test-threads="${PLAYHOUSE_TEST_THREADS:-4}" 2>&1 | tee "$log"; then
    rm -f "$log"
    continue
  fi
  mapfile -t failed < <(sed -n '/^failures:$/,/^test result/s/^    \([A-Za-z0-9_:]*\)$/\1/p' "$log" | sort -u)
  rm -f "$log"
  if [ ${#failed[@]} -eq 0 ]; then
    echo "the suite $suite did not run to its end" >&2
    status=1
    continue
  fi
  for test in "${failed[@]}"; do
    echo "once more, alone: $suite $test"
    timeout 600 cargo test -q -p playhouse-blackbox --test "$suite" -- --exact "$test" || status=1
  done
done
exit $status
