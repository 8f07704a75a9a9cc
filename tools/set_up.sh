#!/bin/sh
# Makes .venv as the lock file says, from nothing but Python >= 3.11: tools/set_up.sh test [lint] [peers]; `uv` alone
# stops after step 1; `peers` adds the extras of cameras and lanes and what speaks with them (250 MB), without which
# their tests skip
#   1. a pinned uv in .uv, by pip      2. the extra that this machine can run, gpu or cpu      3. uv sync into .venv
# Quick when nothing changed: the stamp holds what .venv was made from. Run it in the project's folder.
set -eu

UV_VERSION=0.13.9
STAMP=.venv/goldline-stamp

say() { echo "set-up: $*" >&2; }

find_python() {
    for name in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    say "needs Python >= 3.11; on Debian or Ubuntu: apt-get install python3 python3-venv, or PYTHON=/path/to/python make ..."
    exit 2
}

# Debian and Ubuntu ship Python without ensurepip, in a package of its own.
need_ensurepip() {
    "$1" -c 'import ensurepip' 2>/dev/null && return
    package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing $package"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >&2
    else
        say "this Python cannot make environments; run: sudo apt-get install $package"
        exit 2
    fi
}

need_uv() {
    [ "$(.uv/bin/uv --version 2>/dev/null | cut -d' ' -f2)" = "$UV_VERSION" ] && return
    need_ensurepip "$1"
    rm -rf .uv
    "$1" -m venv .uv
    .uv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"
}

sync() {
    # shellcheck disable=SC2086 # the parts are words
    .uv/bin/uv sync --quiet --locked --no-default-groups --python "$python" --extra "$1" $parts
}

# gpu only where a CUDA session really runs; without an NVIDIA device its wheels are not even fetched.
sync_with_extra() {
    if "$python" tools/choose_extra.py device; then
        if sync gpu && .venv/bin/python tools/choose_extra.py session; then
            say "extra gpu: a CUDA session runs"
            return
        fi
        say "extra cpu: no CUDA session runs here"
    else
        say "extra cpu: no NVIDIA device"
    fi
    sync cpu
}

python=$(find_python)
[ "${1:-}" = uv ] && { need_uv "$python"; exit; }
key=$(cat uv.lock pyproject.toml tools/set_up.sh tools/choose_extra.py | sha256sum | cut -d' ' -f1)
made=$(cat "$STAMP" 2>/dev/null || true)
parts="--group test"
# Once the tools of lint or the peers' libraries are there, they stay: `make demo` after `make test` changes nothing.
case "$* $made" in *lint*) parts="$parts --group lint" ;; esac
case "$* $made" in *peers*)
        for extra in pylon gentl modbus opcua mqtt postgres fleet; do parts="$parts --extra $extra"; done
        parts="$parts --group peers --group boards"
        ;; esac
[ "$made" = "$key $parts" ] && [ -x .venv/bin/python ] && exit 0

need_uv "$python"
sync_with_extra
echo "$key $parts" >"$STAMP"
