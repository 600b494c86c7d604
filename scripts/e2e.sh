#!/usr/bin/env bash
# The journey in Chromium against the built binary.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/keep-sudo.sh
# Chromium reads the names of dropped files by the locale.
case ${LC_ALL:-${LC_CTYPE:-${LANG:-}}} in
  *[Uu][Tt][Ff]*) ;;
  *) export LC_ALL=C.UTF-8 ;;
esac
target=$(realpath "${CARGO_TARGET_DIR:-target}")
export PLAYHOUSE_BIN=${PLAYHOUSE_BIN:-$target/debug/playhouse}
export PLAYHOUSE_SCREENSHOTS=${PLAYHOUSE_SCREENSHOTS:-target/e2e}
PLAYHOUSE_SCREENSHOTS=$(realpath -m "$PLAYHOUSE_SCREENSHOTS")
CHROMIUM=$(scripts/chromium.sh --install)
export CHROMIUM
scripts/web.sh e2e
