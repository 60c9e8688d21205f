"""What S3 load leaves in the daemons: no secret access key in the proxy, no large body anywhere."""
import os
import subprocess
import threading
import time

import pytest

import s3_swift
from conftest import Account, Broker
from memory import Peak, memory_holds

MIB = 1 << 20


@pytest.mark.skipif(os.getuid() != 0, reason="reading a daemon's memory needs root")
def test_the_secret_access_key_is_nowhere_in_the_proxy(aws_broker, s3):
    stop, failures = threading.Event(), []

    def load(number):
        while not stop.is_set():
            try:
                s3.put_object(Bucket="bucket", Key=f"load/{number}", Body=os.urandom(300000))
                assert len(s3.get_object(Bucket="bucket", Key=f"load/{number}")["Body"].read()) == 300000
            except Exception as error:  # noqa: BLE001: told below
                failures.append(error)
                return

    threads = [threading.Thread(target=load, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    try:
        seen, end = set(), time.monotonic() + 30
        needles = [s3_swift.SECRET.encode(), b"AWS4" + s3_swift.SECRET.encode(), s3_swift.ID.encode()]
        for scan in range(100):
            seen |= memory_holds(aws_broker.pid("proxy"), needles)
            if scan >= 2 and s3_swift.ID.encode() in seen or time.monotonic() > end:
                break
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert seen == {s3_swift.ID.encode()}  # the id travels: it shows that the scan finds what is there


@pytest.fixture(scope="module")
def lean(tmp_path_factory, swift):
    """A broker whose sanitizer gives freed memory back soon, or it would look like growth."""
    before = os.environ.get("ASAN_OPTIONS")
    os.environ["ASAN_OPTIONS"] = "quarantine_size_mb=1:thread_local_quarantine_size_kb=64"
    try:
        broker = Broker(tmp_path_factory.mktemp("lean"), [{"name": "aws", "origin": swift.origin, "allow_insecure": True}])
    finally:
        os.environ.pop("ASAN_OPTIONS") if before is None else os.environ.update(ASAN_OPTIONS=before)
    yield broker
    broker.stop()


def test_a_large_object_is_never_held_whole(lean, s3, tmp_path):
    account = Account(lean, "large@example.com")
    account.put_secret("AWS_ACCESS_KEY_ID", s3_swift.ID)
    account.put_secret("AWS_SECRET_ACCESS_KEY", s3_swift.SECRET)
    token = account.token(account.agent("large")["agent"]["id"], "aws")["value"]
    url = f"{lean.url}/api/aws/s3/{s3_swift.REGION}/bucket/large"
    source, back, size = tmp_path / "source", tmp_path / "back", 128 * MIB
    source.write_bytes(os.urandom(size))

    def curl(*arguments):
        out = subprocess.run(["curl", "-sS", "--fail-with-body", "-H", f"Authorization: Bearer {token}", *arguments, url], capture_output=True)
        assert out.returncode == 0, out

    (tmp_path / "first").write_bytes(os.urandom(4 * MIB))
    curl("-T", str(tmp_path / "first"), "-o", "/dev/null")  # so that what stays is there
    pids = {name: lean.pid(name) for name in ("gateway", "vault", "proxy", "audit")}
    with Peak(pids) as peak:
        curl("-T", str(source), "-o", "/dev/null")
        curl("-o", str(back))
    assert back.read_bytes() == source.read_bytes()
    assert peak.peak > 0 and peak.growth_mib < 32, peak.growth_mib
