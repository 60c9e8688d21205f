#!/usr/bin/env bash
# Makes what the end-to-end tests run with: a Python environment (.venv) and node_modules, both from
# pinned lists.  Each carries the hash of its list, so that a second run has nothing to do.
set -euo pipefail
cd "$(dirname "$0")"

if ! command -v npm >/dev/null; then
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nodejs npm
fi

hash=$(sha256sum requirements.txt | cut -d' ' -f1)
if [ "$(cat .venv/stamp 2>/dev/null)" != "$hash" ]; then
    rm -rf .venv
    /usr/bin/python3 -m venv .venv
    .venv/bin/pip install -q --no-deps -r requirements.txt
    echo "$hash" > .venv/stamp
fi

hash=$(sha256sum package-lock.json | cut -d' ' -f1)
if [ "$(cat node_modules/.stamp 2>/dev/null)" != "$hash" ]; then
    npm ci --silent --ignore-scripts
    echo "$hash" > node_modules/.stamp
fi
