"""./run keeps each daemon's threads together on one core; what computes for long goes where there is room."""
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]
BUILD = pathlib.Path(os.environ.get("SEKS_BUILD") or ROOT / "build/release")
HERE = os.sched_getaffinity(0)


def cores_of_threads(pid):
    """[(thread's name, cores that it may run on)], the first thread first."""
    tasks = sorted(pathlib.Path(f"/proc/{pid}/task").iterdir(), key=lambda task: int(task.name))
    return [((task / "comm").read_text().strip(), os.sched_getaffinity(int(task.name))) for task in tasks]


@pytest.mark.skipif(len(HERE) < 2, reason="one core only")
def test_daemons_keep_to_their_cores(broker):
    home = {}
    for name in ("gateway", "vault", "proxy", "audit"):
        (_, home[name]), *others = cores_of_threads(broker.pid(name))
        assert len(home[name]) == 1
        for thread, cores in others:
            if thread.startswith("ZMQ"):
                assert cores == home[name]
            elif name in ("vault", "audit"):  # a hasher, a reader
                assert cores == HERE
    assert home["gateway"] != home["vault"]
    assert (home["gateway"] == home["proxy"]) == (home["vault"] == home["audit"]) == (len(HERE) < 4)


def test_core_that_is_not_there(tmp_path):
    ends = [f"--listen-{peer}=ipc://{tmp_path}/{peer}" for peer in ("vault", "proxy")]
    run = subprocess.run([BUILD / "services/audit/seks-audit", "--core", "100000", "--data", tmp_path, "--keys", tmp_path, *ends],
                         capture_output=True, text=True, timeout=60)
    assert run.returncode != 0 and "--core 100000: this process has no such core" in run.stderr


def test_run_names_what_cores_takes():
    run = subprocess.run([ROOT / "run", "--cores", "two"], capture_output=True, text=True, timeout=60)
    assert run.returncode == 1 and "--cores takes auto or any, not two" in run.stderr
