#!/usr/bin/env bash
# Prints the path of a Chromium or Chrome that really starts; `--install` fetches Playwright's where there is none.
# Ubuntu's `chromium-browser` package is only a pointer to a snap.
set -euo pipefail
cd "$(dirname "$0")/../web"

find_one() {
  local own name path
  own=$(node -p 'require("playwright-core").chromium.executablePath()' 2>/dev/null) || own=
  for name in "${CHROMIUM:-}" chromium google-chrome-stable google-chrome "$own" chromium-browser; do
    [ -n "$name" ] || continue
    path=$(command -v "$name") || continue
    if timeout 20 "$path" --version >/dev/null 2>&1; then
      echo "$path"
      return
    fi
  done
  return 1
}

find_one && exit
if [ "${1:-}" = --install ] && [ -x node_modules/.bin/playwright-core ]; then
  echo "no Chromium found: fetching Playwright's" >&2
  # It asks for the libraries that Chromium needs through sudo itself.
  node_modules/.bin/playwright-core install --with-deps --no-shell chromium >&2 || true
  find_one && exit
fi
echo "no Chromium found: install the package chromium, or name one in CHROMIUM" >&2
exit 1
