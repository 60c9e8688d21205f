#!/usr/bin/env bash
# Puts the pinned Python and npm packages of the end-to-end tests in place; quick when they are.
set -euo pipefail
cd "$(dirname "$0")"
fresh() { # STAMP FILE...: whether STAMP was made from these very files
    local stamp=$1
    shift
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(sha256sum "$@" | sha256sum)" ]
}
if ! fresh .venv/stamp requirements.txt; then
    rm -rf .venv
    python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
    sha256sum requirements.txt | sha256sum >.venv/stamp
fi
if ! fresh node_modules/stamp package-lock.json; then
    npm ci --silent --no-audit --no-fund
    sha256sum package-lock.json | sha256sum >node_modules/stamp
fi
