"""The audit log as its owner sees it: written by the real daemons, checked by `seks audit verify`."""
import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
import time

import pytest
from nacl.signing import VerifyKey

import standin
from conftest import ROOT, SECRET_NAMES, Account, Broker, rows_for

SEKS = f"{os.environ.get('SEKS_BUILD') or ROOT / 'build/release'}/cli/seks"


def verify(directory, key, *more):
    """Exit status, verdict, findings."""
    result = subprocess.run([SEKS, "audit", "verify", directory, "--key", key, *more], capture_output=True, text=True, timeout=60)
    assert result.stdout.count("\n") == 1, result
    return result.returncode, result.stdout.strip(), result.stderr.splitlines()


def call(broker, provider="openai", path="/v1/models"):
    import requests
    return requests.get(f"{broker.url}/api/{provider}{path}", timeout=20, headers={"Authorization": f"Bearer {broker.token}"})


def new_broker(directory, providers, certificates):
    broker = Broker(directory, rows_for(providers, certificates))
    broker.account = Account(broker, "log@example.com")
    broker.account.put_secret("OPENAI_API_KEY", standin.KEYS["openai"])
    broker.token = broker.account.token(broker.account.agent("a")["agent"]["id"], "openai")["value"]
    return broker


@pytest.fixture(scope="module")
def written(tmp_path_factory, providers, certificates):
    """The data directory of a broker that was stopped after some calls."""
    broker = new_broker(tmp_path_factory.mktemp("written"), providers, certificates)
    for _ in range(25):
        assert call(broker).status_code == 200
    time.sleep(1.3)  # a checkpoint in between
    for _ in range(25):
        assert call(broker).status_code == 200
    broker.stop()
    return broker.directory / "data"


@pytest.fixture
def copy(written, tmp_path):
    shutil.copytree(written / "audit", tmp_path / "audit")
    return tmp_path / "audit"


def lines_of(directory):
    return (directory / "audit.log").read_bytes().splitlines(keepends=True)


def test_a_stopped_log_is_whole_and_signed(written):
    lines = lines_of(written / "audit")
    status, verdict, findings = verify(written / "audit", written / "keys/audit-sign.pub", "--head", written / "vault/audit.head")
    assert status == 0 and not findings
    assert verdict.startswith(f"OK: {len(lines)} records, 1 to {len(lines)}, signed up to {len(lines)};")
    records = [json.loads(line) for line in lines]
    assert records[0]["action"] == "audit.start" and records[-1]["action"] == "audit.stop"
    assert sum(r["kind"] == "intent" for r in records) == 50 == sum(r["kind"] == "outcome" for r in records)


def test_the_format_is_what_the_documents_say(written):
    """A second implementation: the chain with hashlib, the checkpoints with another Ed25519."""
    prev, hashes = "0" * 64, {}
    for number, line in enumerate(lines_of(written / "audit"), 1):
        record = json.loads(line)
        covered = line[:line.rindex(b',"hash":"')] + b"}"
        assert record["seq"] == number and record["prev"] == prev
        assert hashlib.sha256(covered).hexdigest() == record["hash"]
        prev = hashes[number] = record["hash"]
    public = bytes.fromhex((written / "keys/audit-sign.pub").read_text().strip())
    notes = (written / "audit/audit.sig").read_text().split("seks-audit/")
    text = (written / "audit/audit.sig").read_text()
    count = 0
    while text:
        body, text = text.split("\n\n", 1)
        signature, text = text.split("\n", 1)
        origin, size, root = body.split("\n")
        dash, name, value = signature.split(" ")
        assert dash == "\u2014" and name == origin == "seks-audit/" + hashlib.sha256(public).hexdigest()[:16]
        raw = base64.b64decode(value, validate=True)
        assert raw[:4] == hashlib.sha256(name.encode() + b"\n\x01" + public).digest()[:4]
        VerifyKey(public).verify((body + "\n").encode(), raw[4:])
        assert base64.b64decode(root).hex() == hashes[int(size)]
        count += 1
    assert count >= 2 and len(notes) == 2 * count + 1
    kept = (written / "vault/audit.head").read_text()
    assert kept in (written / "audit/audit.sig").read_text()


def test_a_flipped_bit_is_named(copy, written):
    lines = lines_of(copy)
    for number in range(1, len(lines) + 1, 7):
        changed = bytearray(lines[number - 1])
        changed[(number * 37) % (len(changed) - 1)] ^= 1 << number % 7
        (copy / "audit.log").write_bytes(b"".join(lines[:number - 1]) + bytes(changed) + b"".join(lines[number:]))
        status, verdict, _ = verify(copy, written / "keys/audit-sign.pub")
        assert status == 1 and verdict.startswith("TAMPERED: record") and f" {number} " in verdict + " "


@pytest.mark.parametrize("edit, verdict", [
    (lambda l: l[:29] + l[30:], "record 30 was removed"),
    (lambda l: l[:30] + l[29:], "record 30 was doubled"),
    (lambda l: l[:29] + [l[30], l[29]] + l[31:], "records 30 and 31 were swapped"),
    (lambda l: l[:29] + [l[29].replace(b'"time":"2', b'"time":"1')] + l[30:], "record 30 was changed"),
    (lambda l: l[:50] + [l[4]] + l[50:], "record 5 was inserted again after record 50"),
    (lambda l: l[:50], "records 51 to {last} were removed: they had been signed"),
])
def test_an_edit_is_named(copy, written, edit, verdict):
    lines = lines_of(copy)
    (copy / "audit.log").write_bytes(b"".join(edit(lines)))
    status, told, findings = verify(copy, written / "keys/audit-sign.pub")
    assert status == 1 and told == "TAMPERED: " + verdict.format(last=len(lines)) and len(findings) == 1


def test_an_old_copy_shows_against_the_vaults_head(copy, written):
    """Log and checkpoints cut at the same place: whole in itself."""
    notes = (copy / "audit.sig").read_text()
    first = notes[:notes.index("\n", notes.index("\u2014")) + 1]
    size = int(first.split("\n")[1])
    (copy / "audit.sig").write_text(first)
    (copy / "audit.log").write_bytes(b"".join(lines_of(copy)[:size]))
    key = written / "keys/audit-sign.pub"
    assert verify(copy, key)[0] == 0
    status, verdict, _ = verify(copy, key, "--head", written / "vault/audit.head")
    assert status == 1 and "a head that was kept elsewhere" in verdict


def test_a_torn_line_is_no_tampering(copy, written):
    with open(copy / "audit.log", "ab") as log:
        log.write(b'{"seq":999,"time":"2026-01-01T00:')
    status, verdict, _ = verify(copy, written / "keys/audit-sign.pub")
    assert status == 0 and "a crash left 33 torn bytes" in verdict


def test_wrong_key_and_usage(copy, written, tmp_path):
    (tmp_path / "other.pub").write_text("11" * 32)
    assert verify(copy, tmp_path / "other.pub")[0] == 1
    assert verify(tmp_path, written / "keys/audit-sign.pub")[0] == 3
    assert verify(copy, tmp_path / "missing.pub")[0] == 3
    assert subprocess.run([SEKS, "audit", "verify", copy], capture_output=True).returncode == 2


def records_of(directory):
    """All whole records of a log; a file ends by its size, and at midnight."""
    files = sorted(f for f in directory.iterdir() if f.name.startswith("audit-") and f.suffix == ".log")
    lines = [file.read_bytes().rpartition(b"\n")[0].splitlines() for file in [*files, directory / "audit.log"]]
    return [json.loads(line) for some in lines for line in some]


def wait_for(what, seconds=10):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_vault_notices_an_old_copy(tmp_path, providers, certificates):
    broker = new_broker(tmp_path, providers, certificates)
    log, sig = tmp_path / "data/audit/audit.log", tmp_path / "data/audit/audit.sig"
    assert call(broker).status_code == 200
    time.sleep(1.5)
    old = log.read_bytes(), sig.read_bytes()
    for _ in range(5):
        assert call(broker).status_code == 200
    time.sleep(1.5)
    os.kill(broker.pid("audit"), signal.SIGKILL)
    log.write_bytes(old[0])
    sig.write_bytes(old[1])
    wait_for(lambda: "an old copy put back" in broker.log())
    wait_for(lambda: b'"action":"audit.rewound"' in log.read_bytes())
    assert call(broker).status_code == 200
    broker.stop()
    kept = [f for f in (tmp_path / "data/vault").iterdir() if f.name.startswith("audit.head.")]
    assert len(kept) == 1
    key = tmp_path / "data/keys/audit-sign.pub"
    assert verify(tmp_path / "data/audit", key)[0] == 0
    status, verdict, _ = verify(tmp_path / "data/audit", key, "--head", kept[0])
    assert status == 1 and "kept elsewhere" in verdict
