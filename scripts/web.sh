#!/usr/bin/env bash
# Runs an npm script of web/ (build, check, test, types), with its packages installed; a build of unchanged sources is skipped.
set -euo pipefail
cd "$(dirname "$0")/../web"

stamp=node_modules/.installed
if [ ! -f "$stamp" ] || ! cmp -s package-lock.json "$stamp"; then
  echo "installing the page's packages"
  npm ci --no-audit --no-fund --loglevel=error
  cp package-lock.json "$stamp"
fi

if [ "$1" = build ]; then
  sum=$(git ls-files -co --exclude-standard -- . | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum | cut -d' ' -f1)
  [ "$(cat dist/.sources 2>/dev/null)" = "$sum" ] && exit 0
  npm run --silent build
  echo "$sum" > dist/.sources
else
  npm run --silent "$1"
fi
