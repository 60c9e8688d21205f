#!/usr/bin/env python3
"""Runs fuzz targets until each has used its share of CPU time, and prints what came of it.

    cmake --preset fuzz && cmake --build --preset fuzz
    nice -n 19 tests/fuzz/run.py --cpu 600 --corpus /var/tmp/seks-corpus [messages vet ...]

CPU seconds are the target's own user time, so a stopped or crowded machine does not count.  What is found
grows in the corpus (outside the repository); a finding ends the target with status 1 and stays in
CORPUS/TARGET.found.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
TICK = os.sysconf("SC_CLK_TCK")
POLL_S = 1.0
UNIT_LIMIT_S = 3600  # by the clock, and whoever measures on this machine may stop us for long


def user_seconds(pid: int) -> float:
    """The user time of a running process (proc(5): field 14, counted after the name)."""
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return int(text.rsplit(")", 1)[1].split()[11]) / TICK


def stats(log: str) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(r"^stat::(\w+):\s+(\d+)$", log, re.M)}


def last_coverage(log: str) -> str:
    found = re.findall(r"cov: (\d+) ft: (\d+)", log)
    return "/".join(found[-1]) if found else "-"


def run(name: str, options: argparse.Namespace) -> bool:
    program = options.build / f"fuzz_{name}"
    corpus = options.corpus / name
    found = options.corpus / f"{name}.found"
    corpus.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(found, ignore_errors=True)
    found.mkdir()
    log_path = options.corpus / f"{name}.log"
    began = time.time()
    with open(log_path, "w") as log:
        process = subprocess.Popen(
            [program, "-print_final_stats=1", f"-timeout={UNIT_LIMIT_S}", f"-report_slow_units={UNIT_LIMIT_S}", f"-artifact_prefix={found}/",
             *options.flag, corpus, HERE / "seeds" / name],
            stdout=log, stderr=log)
        asked = False
        while process.returncode is None:
            time.sleep(POLL_S)
            if not asked and user_seconds(process.pid) >= options.cpu:
                os.kill(process.pid, signal.SIGINT)  # Popen's own way would reap it, and its usage with it
                asked = True
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
    log_text = log_path.read_text(errors="replace")
    numbers = stats(log_text)
    findings = sorted(path.name for path in found.iterdir())
    clean = not findings and usage.ru_utime >= options.cpu
    print(f"{name}: {'clean' if clean else 'NOT CLEAN'}, {usage.ru_utime:.0f} CPU s user, "
          f"{usage.ru_stime:.0f} system, {time.time() - began:.0f} s by the clock, "
          f"{numbers.get('number_of_executed_units', 0)} runs, coverage {last_coverage(log_text)}, "
          f"{numbers.get('new_units_added', 0)} new inputs, {len(list(corpus.iterdir()))} in the corpus, "
          f"found: {', '.join(findings) or 'nothing'}", flush=True)
    return clean


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help="without fuzz_ (all)")
    parser.add_argument("--cpu", type=float, default=600, help="seconds of user time for each target")
    parser.add_argument("--corpus", type=pathlib.Path, required=True)
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parents[1] / "build/fuzz/tests")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--flag", action="append", default=[], help="one more libFuzzer option")
    options = parser.parse_args()
    targets = options.targets or sorted(path.stem[5:] for path in HERE.glob("fuzz_*.c"))
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        return 0 if all(list(pool.map(lambda name: run(name, options), targets))) else 1


if __name__ == "__main__":
    sys.exit(main())
