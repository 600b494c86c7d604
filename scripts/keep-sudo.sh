# To be sourced. Where nobody is root the tests' hosts are started through sudo: it asks now, not in the middle of a test,
# and what it was told counts until the script ends.
if [ "$(id -u)" != 0 ] && command -v sudo >/dev/null; then
  echo "the tests start sandboxes' hosts through sudo"
  sudo -v
  (while sudo -n -v && sleep 60; do :; done) >/dev/null 2>&1 &
  keeper=$!
  trap 'kill $keeper 2>/dev/null || true' EXIT
fi
