#!/bin/sh
# Builds the agent, which runs in any root file system and so must need nothing of it, and puts it beside `playhouse`.
#
#     scripts/agent.sh debug|release
#
# Static linking takes other flags than everything else has, and an explicit target so that build scripts don't get
# them: hence a target directory of its own.
set -eu

profile=${1:-debug}
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
triple=$(rustc -vV | sed -n 's/^host: //p')

case $profile in
    # One optimisation level for all of it: quick to build, and hashing and compression bearable.
    debug)
        set --
        export CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=line-tables-only
        ;;
    release)
        set -- --release
        export CARGO_PROFILE_RELEASE_STRIP=symbols
        ;;
    *)
        echo "usage: scripts/agent.sh debug|release" >&2
        exit 2
        ;;
esac

RUSTFLAGS="--cfg tokio_unstable -C target-feature=+crt-static" \
    cargo build --package playhouse-agent --bin playhouse-agent --target "$triple" --target-dir "$target/agent" "$@"

built=$target/agent/$triple/$profile/playhouse-agent
installed=$target/$profile/playhouse-agent
mkdir -p "$target/$profile"
if ! cmp -s "$built" "$installed"; then
    # Renamed into place: one that runs keeps its file, and nobody sees half of the new one.
    cp "$built" "$installed.new.$$"
    mv "$installed.new.$$" "$installed"
fi
