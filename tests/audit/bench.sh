#!/usr/bin/env bash
# What the audit log costs: durable records a second with the daemon on one core, how long one record
# alone takes, and how fast `seks audit verify` reads it all again.
#   tests/audit/bench.sh [BUILD]      (build/release unless given; its figures are in docs/audit.md)
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build/release}
dir=$(mktemp -d "${AUDIT_BENCH_DIR:-/tmp}/seks-audit-bench.XXXXXX")
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null; wait; rm -rf "$dir"' EXIT
"$build/cli/seks" keygen "$dir/keys" >/dev/null
taskset -c 0 "$build/services/audit/seks-audit" --data "$dir/log" --keys "$dir/keys" --listen-vault "ipc://$dir/vault" \
    --listen-proxy "ipc://$dir/proxy" --log-level warn --outcome-wait 3600 &
pid=$!
ticks() { awk '{print $14 + $15}' "/proc/$pid/stat"; }
until [ -S "$dir/vault" ]; do sleep 0.05; done
"$build/tests/append_bench" disk "$dir/disk" 5000
for run in "1 5000" "16 40000" "64 60000" "512 1500000"; do
    before=$(ticks)
    # shellcheck disable=SC2086
    taskset -c 1 "$build/tests/append_bench" "ipc://$dir/vault" $run
    awk -v ticks=$(($(ticks) - before)) -v hz="$(getconf CLK_TCK)" -v n="${run#* }" \
        'BEGIN {printf "                 daemon: %.1f us of CPU a record\n", ticks / hz / n * 1e6}'
done
kill "$pid"
wait "$pid" || true
"$build/cli/seks" audit verify "$dir/log" --key "$dir/keys/audit-sign.pub"
