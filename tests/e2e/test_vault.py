"""The vault's database in an operator's hands: the master key changed, backups, older copies, damage."""
import contextlib
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest
import requests

import standin
from conftest import ROOT, Account, Broker, files_alone, rows_for, store_environment, until

sys.path.insert(0, str(ROOT / "tests/vault"))
import crash  # noqa: E402


def vault_command(broker, *words, want=0):
    build = os.environ.get("SEKS_BUILD") or ROOT / "build/release"
    data = broker.directory / "data"
    result = subprocess.run([f"{build}/services/vault/seks-vault", *words, "--data", data / "vault", "--keys", data / "keys"],
                            capture_output=True, text=True, timeout=60, env=dict(os.environ, **store_environment(data)))
    assert result.returncode == want, result.stderr
    return result.stdout + result.stderr


def call(broker, token):
    return requests.get(f"{broker.url}/api/openai/v1/models", headers={"Authorization": f"Bearer {token}"}, timeout=20)


class Stand:
    """A broker with an account, a secret and a token, that can be stopped and started again."""

    def __init__(self, directory, providers, certificates):
        self.directory, self.rows = directory, rows_for(providers, certificates)
        self.start()
        self.account = Account(self.broker, "owner@example.com")
        self.account.put_secret("OPENAI_API_KEY", standin.KEYS["openai"])
        self.agent = self.account.agent("coder")["agent"]["id"]
        made = self.account.token(self.agent, "openai")
        self.token, self.token_id = made["value"], made["token"]["id"]

    def start(self):
        self.broker = Broker(self.directory, self.rows)
        if hasattr(self, "account"):
            self.account.broker = self.broker

    def revoke(self):
        self.account.call("DELETE", f"/v1/account/agents/{self.agent}/tokens/{self.token_id}")

    @property
    def database(self):
        return self.directory / "data/vault/vault.db"

    def swap_while_dead(self, swap):
        """Kills the vault and changes its files before ./run can start it again."""
        os.kill(self.broker.process.pid, signal.SIGSTOP)
        try:
            pid = self.broker.pid("vault")
            os.kill(pid, signal.SIGKILL)
            until(lambda: pathlib.Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z")
            swap()
        finally:
            os.kill(self.broker.process.pid, signal.SIGCONT)

    def unready(self):
        answer = requests.get(self.broker.url + "/readyz", timeout=10)
        return answer.json()["error"] if answer.status_code == 503 else None


@pytest.fixture
def stand(tmp_path, providers, certificates):
    stand = Stand(tmp_path, providers, certificates)
    yield stand
    if stand.broker.process.poll() is None:
        stand.broker.stop()


def test_master_key_changes_while_serving(stand):
    keys = stand.directory / "data/keys"
    old = (keys / "master.key").read_text()
    vault_command(stand.broker, "rotate-master")
    assert (keys / "master.key.previous").read_text() == old != (keys / "master.key").read_text()
    assert call(stand.broker, stand.token).status_code == 200
    vault_command(stand.broker, "rotate-master")
    (keys / "master.key.previous").unlink()
    stand.broker.stop()
    vault_command(stand.broker, "rotate-master")  # the same, stopped
    stand.start()
    assert call(stand.broker, stand.token).status_code == 200
    kept = sorted(p.name for p in keys.glob("master.key*"))
    assert kept[:2] == ["master.key", "master.key.previous"] and len(kept) == 3, kept


@files_alone
def test_data_keys_change_while_serving(stand):
    """Values stay, sealed bytes do not: nothing that an exposed key opened is left in the database."""
    before = stand.directory / "before.db"
    vault_command(stand.broker, "backup", before)
    assert "1 tenants" in vault_command(stand.broker, "rotate-keys", "all")
    assert "1 tenants" in vault_command(stand.broker, "rotate-keys", "owner@example.com")
    assert "no such account" in vault_command(stand.broker, "rotate-keys", "nobody@example.com", want=1)
    assert call(stand.broker, stand.token).status_code == 200
    stand.broker.stop()

    def sealed(path):
        with contextlib.closing(sqlite3.connect(path)) as database:
            keys = database.execute("SELECT id FROM data_keys WHERE purpose = 'secret'").fetchall()
            return keys, database.execute("SELECT blob FROM secrets").fetchone()[0]
    keys, blob = sealed(before)
    keys_after, blob_after = sealed(stand.database)
    assert len(keys) == len(keys_after) == 1 and keys != keys_after and blob != blob_after
    assert blob not in stand.database.read_bytes()
    stand.start()
    assert call(stand.broker, stand.token).status_code == 200


@files_alone
def test_backup_is_sealed_and_comes_back(stand):
    backup = stand.directory / "backup.db"
    vault_command(stand.broker, "backup", backup)
    assert backup.stat().st_mode & 0o777 == 0o600
    assert standin.KEYS["openai"].encode() not in backup.read_bytes()
    assert "exists" in vault_command(stand.broker, "backup", backup, want=1)
    assert "runs" in vault_command(stand.broker, "restore", backup, "--replace", want=1)
    stand.revoke()
    stand.account.put_secret("LATER", "value")
    stand.broker.stop()
    assert "--replace" in vault_command(stand.broker, "restore", backup, want=1)
    said = vault_command(stand.broker, "restore", backup, "--replace")
    assert "new data keys for 1 tenants" in said
    stand.start()
    assert call(stand.broker, stand.token).status_code == 200  # the operator said that it is meant
    names = [s["name"] for s in stand.account.call("GET", "/v1/account/secrets")["secrets"]]
    assert names == ["OPENAI_API_KEY"]
    # and elsewhere, where there is nothing but the keys and the backup
    stand.broker.stop()
    other = stand.directory / "other"
    other.mkdir()
    (other / "data").mkdir()
    shutil.copytree(stand.directory / "data/keys", other / "data/keys")
    stand.directory = other
    stand.broker.directory = other
    vault_command(stand.broker, "restore", backup)
    stand.start()
    assert call(stand.broker, stand.token).status_code == 200


@files_alone
def test_backup_under_writes_is_one_moment(stand):
    """Secrets stored one after the other while it is made: it has the first so many of them, all whole."""
    stop, stored = threading.Event(), []

    def store():
        while not stop.is_set():
            assert stand.account.put_secret(f"S_{len(stored):04}", f"value {len(stored)}").status_code == 201
            stored.append(None)
    writer = threading.Thread(target=store)
    writer.start()
    try:
        until(lambda: len(stored) > 20)
        before = len(stored)
        backup = stand.directory / "backup.db"
        vault_command(stand.broker, "backup", backup)
        after = len(stored)
        until(lambda: len(stored) > after + 5)
    finally:
        stop.set()
        writer.join()
    with contextlib.closing(sqlite3.connect(backup)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        names = [name for (name,) in database.execute("SELECT name FROM secrets WHERE name LIKE 'S/_%' ESCAPE '/' ORDER BY name")]
    assert names == [f"S_{i:04}" for i in range(len(names))] and before <= len(names) <= after + 2, (before, len(names), after)
    stand.broker.stop()
    vault_command(stand.broker, "restore", backup, "--replace")
    stand.start()
    secrets = stand.account.call("GET", "/v1/account/secrets")["secrets"]
    assert len(secrets) == len(names) + 1


@files_alone
def test_backup_needs_its_master_key(stand):
    backup = stand.directory / "backup.db"
    vault_command(stand.broker, "backup", backup)
    stand.broker.stop()
    key = stand.directory / "data/keys/master.key"
    before = stand.database.read_bytes()
    key.chmod(0o600)
    key.write_text("0" * 64)
    assert "master key" in vault_command(stand.broker, "restore", backup, "--replace", want=1)
    assert stand.database.read_bytes() == before


@files_alone
def test_older_database_is_refused(stand, monkeypatch):
    stand.broker.stop()
    old = stand.directory / "old.db"
    shutil.copy(stand.database, old)
    stand.start()
    stand.revoke()
    assert call(stand.broker, stand.token).status_code == 401

    def swap():
        for path in stand.database.parent.glob("vault.db*"):
            path.unlink()
        shutil.copy(old, stand.database)

    stand.swap_while_dead(swap)
    until(lambda: "older than the audit log" in (stand.unready() or ""))
    answer = call(stand.broker, stand.token)
    assert answer.status_code == 503 and "older than the audit log" in answer.json()["detail"]
    log = stand.broker.log()
    number = log.split("--accept-rollback ")[1].split()[0]
    stand.broker.stop()
    monkeypatch.setenv("SEKS_ACCEPT_ROLLBACK", number)
    stand.start()
    assert call(stand.broker, stand.token).status_code == 200
    stand.swap_while_dead(swap)  # and again: the leave was for that one number
    until(lambda: "older than the audit log" in (stand.unready() or ""))


def attach(pid, inject):
    """strace on the vault, with what each of these system calls is to fail with."""
    calls = inject.split(":")[0]
    inject += ":syscall=getppid"  # in its place one that the daemon's filter allows
    tracer = subprocess.Popen(["strace", "-qq", "-o", "/dev/null", "-p", str(pid), "-e", f"trace={calls}", "-e", f"inject={inject}"])
    until(lambda: "TracerPid:\t0" not in pathlib.Path(f"/proc/{pid}/status").read_text())
    return tracer


@files_alone
@pytest.mark.parametrize("inject, status", [("pwrite64:error=ENOSPC", 507), ("fdatasync,fsync:error=EIO", 503),
                                            ("pwrite64:error=EROFS", 503)])
def test_bad_disk_stops_changes_and_nothing_else(stand, inject, status):
    tracer = attach(stand.broker.pid("vault"), inject)
    try:
        answer = stand.account.put_secret("NEW", "value")
        assert answer.status_code == status, answer.text
        assert call(stand.broker, stand.token).status_code == 200
        assert stand.account.call("GET", "/v1/account/secrets")["secrets"]
    finally:
        tracer.terminate()
        tracer.wait()
    assert stand.account.put_secret("NEW", "value").status_code == 201
    os.kill(stand.broker.pid("vault"), signal.SIGKILL)
    assert call(stand.broker, stand.token).status_code == 200
    assert len(stand.account.call("GET", "/v1/account/secrets")["secrets"]) == 2


@files_alone
def test_lost_log_is_an_older_database(stand):
    """What was written is still in the write-ahead log when that is deleted."""
    def swap():
        log = stand.database.parent / "vault.db-wal"
        assert log.stat().st_size > 0
        log.unlink()

    stand.broker.stop()
    stand.start()
    stand.revoke()
    stand.swap_while_dead(swap)
    until(lambda: "older than the audit log" in (stand.unready() or ""))
    assert call(stand.broker, stand.token).status_code == 503


@files_alone
def test_unwritable_database_is_refused_at_start(stand):
    stand.broker.stop()
    data = stand.directory / "data"
    build = os.environ.get("SEKS_BUILD") or ROOT / "build/release"
    before = stand.database.read_bytes()
    result = subprocess.run(["strace", "-qq", "-o", "/dev/null", "-P", stand.database, "-e", "trace=openat", "-e",
                             "inject=openat:error=EROFS:when=1", f"{build}/services/vault/seks-vault", "--data", data / "vault", "--keys",
                             data / "keys", "--listen-gateway", f"ipc://{data}/ipc/v", "--audit", f"ipc://{data}/ipc/a"],
                            capture_output=True, text=True, timeout=30)
    assert result.returncode != 0 and "cannot be written" in result.stderr, result.stderr
    assert stand.database.read_bytes() == before


@pytest.fixture(scope="module")
def crashing(tmp_path_factory):
    stand = crash.Stand(tmp_path_factory.mktemp("crash"))
    yield stand
    stand.stop()
    log = (stand.directory / "log").read_text()
    assert "AddressSanitizer" not in log and "runtime error" not in log, log[-4000:]


@pytest.mark.parametrize("operation", crash.OPERATIONS)
def test_killed_at_any_point_nothing_is_lost(crashing, operation):
    """Three points of each; tests/vault/crash.py tries all."""
    assert crash.sweep(crashing, operation, (1, 3, 5)) == 3
