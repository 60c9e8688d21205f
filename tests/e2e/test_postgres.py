"""The vault's store on PostgreSQL: several vaults at once, faults of all kinds, and the way there and back."""
import os
import signal
import subprocess
import threading
import time

import pytest
import requests

import standin
from conftest import PASSWORD, Account, Broker, Postgres, rows_for, until
from fleet import BUILD, Fleet, Owner, Server


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory, providers, certificates, server):
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), providers, certificates, server.url)
    fleet.start_all()  # both at once, on a database that has nothing in it
    yield fleet
    fleet.close()


@pytest.fixture(scope="module")
def owner(fleet):
    return Owner(fleet)


def test_two_vaults_make_one_install(fleet, server, owner):
    assert server.sql("SELECT count(*) FROM install") == "1"
    assert server.sql("SELECT count(*) FROM data_keys WHERE tenant = ''") == "4"
    for gateway in ("gateway1", "gateway2", "gateway"):
        assert owner.call(gateway=gateway).status_code == 200


def test_revoked_at_the_one_is_dead_at_the_other(fleet, owner):
    """Each token is used at the other vault until the moment before, so that it is in its memory."""
    with owner.load(("gateway2",), threads=2) as seen:
        for _ in range(20):
            value, token_id = owner.new_token("gateway1")
            assert owner.call(value, "gateway2").status_code == 200
            assert owner.revoke(token_id, "gateway1") == 200
            assert owner.call(value, "gateway2").status_code == 401
    assert {status for status, _ in seen} == {200}


def test_tries_of_passwords_are_counted_over_both(fleet, owner):
    def log_in(number):
        return requests.post(f"{fleet.base(f'gateway{number % 2 + 1}')}/v1/session", timeout=30,
                             json={"email": "owner@example.com", "password": "not this one"}).status_code
    statuses = [log_in(number) for number in range(24)]
    assert statuses.count(401) <= 12 and statuses[-1] == 429, statuses  # ten, and one for each second that went by


def test_vaults_that_meet_do_both(fleet, server, owner):
    """Under serialisable isolation two that meet are told so, and each is done all the same; so is one in a deadlock."""
    server.sql("ALTER ROLE seks SET default_transaction_isolation = 'serializable'")
    try:
        server.end_backends()
        until(lambda: all(fleet.ready(v) for v in fleet.numbered("vault")), "not ready")
        with owner.changes(("gateway1", "gateway2"), threads=3) as made:
            until(lambda: len(made) > 60, "no changes")
    finally:
        server.sql("ALTER ROLE seks RESET default_transaction_isolation")
        server.end_backends()
    assert set(made.values()) == {201}
    owner.check(made)


def test_connections_that_are_ended_cost_no_call(fleet, server, owner):
    with owner.load(("gateway1", "gateway2")) as seen:
        for _ in range(5):
            before = len(seen)
            assert server.end_backends() > 0
            until(lambda before=before: len(seen) > before + 10, "calls do not go on")
    assert {status for status, _ in seen} == {200}


def test_a_vault_that_is_killed_loses_nothing(fleet, owner):
    with owner.load() as seen, owner.changes(threads=2) as made:
        for _ in range(3):
            assert fleet.stop("vault1", signal.SIGKILL) == -signal.SIGKILL
            before = len(seen)
            until(lambda before=before: len(seen) > before + 20, "calls do not go on")
            fleet.start("vault1")
            until(lambda: fleet.ready("vault1"), "the vault does not come back")
    assert {status for status, _ in seen} == {200}
    assert set(made.values()) <= {201, 503}
    owner.check(made)


def test_a_server_that_is_killed_loses_nothing(fleet, server, owner):
    with owner.load() as seen, owner.changes(threads=2) as made:
        for _ in range(2):
            server.do("kill")
            time.sleep(0.5)  # the time that it is away
            server.do("restart")
            before, changed = len(seen), len(made)
            until(lambda: len(seen) > before + 20 and len(made) > changed + 5, "calls do not go on")
    assert {status for status, _ in seen} <= {200, 503}
    assert set(made.values()) <= {201, 503}
    owner.check(made)
    assert owner.call().status_code == 200


def test_while_it_is_away_calls_are_told_to_come_again(fleet, server, owner):
    server.do("kill")
    try:
        answer = owner.call(gateway="gateway1")
        assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0, answer.headers
        assert not fleet.ready("vault1")
        health = requests.get(f"http://127.0.0.1:{fleet.admin['vault1']}/healthz", timeout=2)
        assert health.status_code == 200  # the loop turns
    finally:
        server.do("restart")
    until(lambda: all(fleet.ready(v) for v in fleet.numbered("vault")), "not ready")
    assert owner.call(gateway="gateway1").status_code == 200


def test_the_others_follow_a_new_master_key(fleet, server, owner):
    other = Owner(fleet, "second@example.com", "gateway1")  # whose data key the second vault has not seen
    with owner.load(("gateway2",)) as seen:
        done = subprocess.run([BUILD / "services/vault/seks-vault", "rotate-master", "--data", fleet.directory / "vault1", "--keys",
                               fleet.directory / "keys", "--store", fleet.url], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        ended = []
        until(lambda: "follows" in fleet.log("vault2") or ended or
              (fleet.processes["vault2"].poll() is not None and (ended.append(1) or True)), "the second vault does not notice")
        if fleet.processes["vault2"].poll() is not None:  # confined, it cannot read the new file: it is started again
            assert fleet.processes.pop("vault2").returncode == 0
            fleet.start("vault2")
        until(lambda: fleet.ready("vault2"), "the second vault does not come back")
        assert other.call(gateway="gateway2").status_code == 200
    assert {status for status, _ in seen} == {200}


def test_a_role_that_may_only_use_rows_is_enough(fleet, server, owner, tmp_path, providers, certificates):
    server.sql("CREATE ROLE user_only LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO user_only")
    fleet.stop("vault2")
    url, fleet.url = fleet.url, server.url.replace("seks@", "user_only@")
    try:
        fleet.start("vault2")
        until(lambda: fleet.ready("vault2"), "not ready")
        value, token_id = owner.new_token("gateway2")
        assert owner.call(value, "gateway1").status_code == 200
        assert owner.revoke(token_id, "gateway2") == 200
    finally:
        fleet.url = url


# ---- what is refused ----

@pytest.mark.parametrize("store, says", [
    ("postgres://seks:hunter2@127.0.0.1/x", "a password is seen by everybody"),
    ("postgres://seks@db.example/x", "needs sslmode=verify-full"),
    ("postgres://seks@db.example/x?sslmode=require", "needs sslmode=verify-full"),
    ("postgres://127.0.0.1/x", "names no user"),
    ("postgres://seks@127.0.0.1/x?no_such=1", "invalid URI query parameter"),
])
def test_stores_that_are_refused(tmp_path, store, says):
    subprocess.run([BUILD / "cli/seks", "keygen", tmp_path / "keys"], check=True, capture_output=True)
    done = subprocess.run([BUILD / "services/vault/seks-vault", "--data", tmp_path / "data", "--keys", tmp_path / "keys", "--audit",
                           f"ipc://{tmp_path}/a", "--listen-gateway", f"ipc://{tmp_path}/g", "--store", store],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and says in done.stderr and "hunter2" not in done.stderr, done.stderr


def test_a_store_may_come_from_a_file(tmp_path, server):
    subprocess.run([BUILD / "cli/seks", "keygen", tmp_path / "keys"], check=True, capture_output=True)
    file = tmp_path / "store"
    command = [BUILD / "services/vault/seks-vault", "--data", tmp_path / "data", "--keys", tmp_path / "keys", "--audit",
               f"ipc://{tmp_path}/a", "--listen-gateway", f"ipc://{tmp_path}/g", "--store", file]
    file.write_text("nothing\n")
    file.chmod(0o644)
    assert "must belong to this user" in subprocess.run(command, capture_output=True, text=True, timeout=30).stderr
    file.chmod(0o400)
    assert "neither a URL nor parameters" in subprocess.run(command, capture_output=True, text=True, timeout=30).stderr
    file.chmod(0o600)
    file.write_text(f"host=127.0.0.1 port={server.port} user=seks password=hunter2 dbname=postgres sslmode=disable\n")
    file.chmod(0o400)
    done = subprocess.run([*command, "--check-sandbox"], capture_output=True, text=True, timeout=60)
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert failed in ([], ["FAILED  must not run as root"]), done.stdout + done.stderr
