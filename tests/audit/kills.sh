#!/usr/bin/env bash
# 10,000 requests and 100 kills over the four daemons: each upstream call has exactly one earlier intent,
# each intent exactly one outcome or `unknown`.
#   tests/audit/kills.sh [REQUESTS [KILLS [SEED]]]      (build/release unless SEKS_BUILD is set)
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/e2e/setup.sh
export SEKS_BUILD=${SEKS_BUILD:-$PWD/build/release}
export SEKS_KILL_REQUESTS=${1:-10000} SEKS_KILLS=${2:-100}
[ -z "${3:-}" ] || export SEKS_KILL_SEED=$3
exec tests/e2e/.venv/bin/python -m pytest -q -s tests/e2e/test_audit_kills.py
