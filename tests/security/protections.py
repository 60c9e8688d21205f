#!/usr/bin/env python3
"""Removes each protection in turn and shows that the suite notices.

Each file in tests/security/protections/ is a patch that takes one protection away, and begins with
    Test: ctest NAME            or       Test: pytest FILE [-k EXPRESSION]
the test that must then fail.  All is done in a copy (a git worktree of HEAD) with a build of its own.

usage: tests/security/protections.py [--only SUBSTRING] [--keep DIR]     (about ten minutes)
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATCHES = ROOT / "tests/security/protections"
PYTHON = ROOT / "tests/e2e/.venv/bin/python"
FAILED_TESTS = 1  # pytest's status; others mean that nothing was tested


def run(command, tree, **more):
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, **more)


def build(tree):
    done = run(["cmake", "--build", "--preset", "asan"], tree)
    return None if done.returncode == 0 else done.stdout[-2000:]


def test(tree, line):
    """True when it passes, False when a test fails, a text when nothing was tested."""
    kind, _, rest = line.partition(" ")
    if kind == "ctest":
        done = run(["ctest", "--test-dir", "build/asan", "-R", f"^{rest}$", "--no-tests=error", "--timeout", "120"], tree)
        return done.returncode == 0 if "No tests were found" not in done.stdout + done.stderr else "no such test"
    name, _, expression = rest.partition(" -k ")
    command = [str(PYTHON), "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/e2e/{name}"]
    command += ["-k", expression] if expression else []
    done = run(["env", f"SEKS_BUILD={tree}/build/asan", *command], tree, timeout=600)
    return {0: True, FAILED_TESTS: False}.get(done.returncode, done.stdout[-2000:])


def judge(tree, patch, line):
    applied = run(["git", "apply", str(patch)], tree)
    if applied.returncode:
        return "the patch does not apply: " + applied.stderr.strip()
    try:
        problem = build(tree)
        if problem:
            return "does not build without it: " + problem
        outcome = test(tree, line)
        return {True: "NOT NOTICED", False: None}.get(outcome, outcome)
    finally:
        run(["git", "checkout", "-q", "."], tree)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    parser.add_argument("--keep", help="a directory for the copy, used again when it is there")
    options = parser.parse_args()
    rows = [(p, re.match(r"Test: (.+)\n", p.read_text())[1]) for p in sorted(PATCHES.glob("*.patch")) if options.only in p.name]
    holder = None if options.keep else tempfile.TemporaryDirectory()
    tree = pathlib.Path(options.keep or holder.name + "/copy").resolve()
    if tree.exists():
        run(["git", "checkout", "-q", "--detach", run(["git", "rev-parse", "HEAD"], ROOT).stdout.strip()], tree, check=True)
    else:
        run(["git", "worktree", "add", "--detach", str(tree), "HEAD"], ROOT, check=True)
    bad = 0
    try:
        run(["cmake", "--preset", "asan"], tree, check=True)
        problem = build(tree)
        assert problem is None, problem
        for line in sorted({line for _, line in rows}):
            outcome = test(tree, line)
            assert outcome is True, f"fails with every protection in place: {line}: {outcome}"
        for patch, line in rows:
            begin = time.monotonic()
            problem = judge(tree, patch, line)
            bad += problem is not None
            print(f"{patch.stem:48} {problem or 'noticed by ' + line}  ({time.monotonic() - begin:.0f} s)", flush=True)
    finally:
        if not options.keep:
            run(["git", "worktree", "remove", "--force", str(tree)], ROOT)
    print(f"{len(rows) - bad} of {len(rows)} protections are noticed when they are gone")
    return 1 if bad or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
