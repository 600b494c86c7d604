#!/usr/bin/env bash
# Prints the path of a Chromium or Chrome that really starts; Ubuntu's `chromium` package is only a pointer to a snap.
set -euo pipefail
for name in "${CHROMIUM:-}" chromium google-chrome-stable google-chrome chromium-browser; do
  [ -n "$name" ] || continue
  path=$(command -v "$name") || continue
  if timeout 20 "$path" --version >/dev/null 2>&1; then
    echo "$path"
    exit 0
  fi
done
echo "no Chromium found: install the package chromium, or name one in CHROMIUM" >&2
exit 1
