"""The operator's side of the log: followed, shipped, and its old files removed, while calls go on."""
import concurrent.futures
import json
import subprocess

import pytest

from test_audit import SEKS, call, new_broker, verify, wait_for

CALLS = 300


def tail(directory, *arguments, want=0):
    done = subprocess.run([SEKS, "audit", "tail", directory, "--once", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == want, done
    return done.stdout.splitlines() if want == 0 else done.stderr + done.stdout


def records(directory, *arguments):
    return [json.loads(line) for line in tail(directory, "--json", *arguments)]


@pytest.fixture(scope="module")
def world(tmp_path_factory, providers, certificates):
    """A broker with small files of which few are kept; what followed it from the outside."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"SEGMENT_SIZE": "32k", "KEEP_BYTES": "150k", "SHIP_STDOUT": "1"}.items():
            patch.setenv("SEKS_" + name, value)
        broker = new_broker(tmp_path_factory.mktemp("tail"), providers, certificates)
    directory = broker.directory / "data/audit"
    with open(broker.directory / "followed", "w") as out:
        follower = subprocess.Popen([SEKS, "audit", "tail", directory, "--json", "--limit", "1000"], stdout=out)
    broker.verdicts = []
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        calls = [pool.submit(call, broker) for _ in range(CALLS)]
        while not all(c.done() for c in calls):  # files end and go meanwhile
            broker.verdicts.append(verify(directory, broker.directory / "data/keys/audit-sign.pub"))
        assert {c.result().status_code for c in calls} == {200}
    wait_for(lambda: (directory / "audit.removed").exists())
    broker.stop()
    wait_for(lambda: '"audit.stop"' in (broker.directory / "followed").read_text())
    follower.terminate()
    follower.wait(10)
    return broker


def test_old_files_are_removed_and_the_rest_verifies(world):
    directory, key = world.directory / "data/audit", world.directory / "data/keys/audit-sign.pub"
    files = sorted(f for f in directory.iterdir() if f.suffix == ".log")
    assert len(files) <= 7 and sum(f.stat().st_size for f in files) < 260000
    status, verdict, findings = verify(directory, key, "--head", world.directory / "data/vault/audit.head")
    assert status == 0 and not findings, verdict
    first = records(directory, "--limit", "1000")[0]["seq"]
    assert first > 1 and f", {first} to " in verdict
    removed = [r for r in records(directory, "--limit", "1000") if r["action"] == "audit.removed"]
    assert removed and removed[-1]["reason"].endswith(f"to {first - 1}")
    (directory / "audit.removed").rename(directory / "kept")
    status, verdict, _ = verify(directory, key)
    assert status == 1 and verdict.startswith(f"TAMPERED: records 1 to {first - 1} were removed")
    (directory / "kept").rename(directory / "audit.removed")


def test_a_log_that_is_written_verifies(world):
    assert len(world.verdicts) > 3
    assert [v for v in world.verdicts if v[0] != 0] == []


@pytest.mark.parametrize("source", ["followed", "shipped"])
def test_nothing_is_left_out(world, source):
    lines = (world.directory / "followed").read_text().splitlines() if source == "followed" else world.output
    seen = [json.loads(line) for line in lines]
    assert [r["seq"] for r in seen] == list(range(seen[0]["seq"], seen[0]["seq"] + len(seen)))
    assert seen[-1]["action"] == "audit.stop"
    assert sum(r["kind"] == "intent" for r in seen) == CALLS == sum(r["kind"] == "outcome" for r in seen)
    last = (world.directory / "data/audit/audit.log").read_text().splitlines()
    assert [line.rstrip("\n") for line in lines][-len(last):] == last


def test_filters(world):
    directory = world.directory / "data/audit"
    outcomes = records(directory, "--kind", "outcome", "--limit", "20")
    assert len(outcomes) == 20 and {r["kind"] for r in outcomes} == {"outcome"}
    one = records(directory, "--request", outcomes[3]["request"])
    assert [r["kind"] for r in one] == ["intent", "outcome"]
    assert records(directory, "--status", "2xx", "--limit", "5") == records(directory, "--status", "200", "--limit", "5")
    assert records(directory, "--status", "404") == [] and records(directory, "--agent", "agt_none") == []
    assert records(directory, "--since", outcomes[3]["time"], "--kind", "outcome", "--limit", "1000")[0]["time"] >= outcomes[3]["time"]
    assert records(directory, "--until", "2020-01-01") == []
    newest = tail(directory, "--limit", "1")
    assert len(newest) == 1 and "audit.stop" in newest[0]
    assert "--status" in tail(directory, "--status", "4x", want=2)
    assert "--since" in tail(directory, "--since", "yesterday", want=2)
    assert "no audit.log" in tail(world.directory, want=4)
