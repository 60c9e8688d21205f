"""The vault's store on PostgreSQL: several vaults at once, faults of all kinds, and the way there and back."""
import os
import signal
import sqlite3
import subprocess
import time

import pytest
import requests

import standin
from conftest import Account, Broker, Postgres, rows_for, until
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


def test_only_what_decides_is_counted_as_a_change(fleet, server, owner):
    """What every vault keeps in memory stays good while accounts log in and tokens are made."""
    def changes():
        return int(server.sql("SELECT changes FROM seks_store"))
    before = changes()
    value, token_id = owner.new_token("gateway1")
    assert owner.ask("POST", "/v1/account/keys", {"name": "one more"}).status_code == 201
    assert owner.call(value, "gateway2").status_code == 200
    assert changes() == before
    assert owner.revoke(token_id, "gateway2") == 200
    assert changes() == before + 1


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
    with owner.load(("gateway1", "gateway2"), threads=6) as seen:
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


def test_a_server_that_hangs_hangs_no_vault(fleet, server, owner):
    server.do("pause")
    try:
        answer = owner.call(gateway="gateway1")
        assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0
        health = requests.get(f"http://127.0.0.1:{fleet.admin['vault1']}/healthz", timeout=10)
        assert health.status_code == 200
    finally:
        server.do("resume")
    until(lambda: all(fleet.ready(v) for v in fleet.numbered("vault")), "not ready")
    assert owner.call(gateway="gateway1").status_code == 200
    assert "seks_vault_store_connected 1" in requests.get(f"http://127.0.0.1:{fleet.admin['vault1']}/metrics", timeout=10).text


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


def test_a_dump_comes_back_and_is_known_as_older(fleet, server, owner, tmp_path, monkeypatch):
    """pg_restore puts an earlier state back: the audit log knows of later changes, and the operator is asked."""
    dump = tmp_path / "dump"
    subprocess.run(["pg_dump", "-Fc", "-f", dump, server.url], check=True)
    later, _ = owner.new_token()
    assert owner.call(later).status_code == 200
    for vault in fleet.numbered("vault"):
        fleet.stop(vault)
    subprocess.run(["pg_restore", "--clean", "--if-exists", "-d", server.url, dump], check=True)
    fleet.start("vault1")
    until(lambda: "--accept-rollback " in fleet.log("vault1"), "an older database is taken")
    assert not fleet.ready("vault1")
    answer = owner.call(gateway="gateway1")
    assert answer.status_code == 503 and "older than the audit log" in answer.json()["detail"]
    fleet.stop("vault1")
    monkeypatch.setenv("SEKS_ACCEPT_ROLLBACK", fleet.log("vault1").split("--accept-rollback ")[-1].split()[0])
    fleet.start("vault1")
    until(lambda: fleet.ready("vault1"), "not ready")
    monkeypatch.delenv("SEKS_ACCEPT_ROLLBACK")
    fleet.start("vault2")
    until(lambda: fleet.ready("vault2"), "not ready")
    assert owner.call(gateway="gateway2").status_code == 200
    assert owner.call(later, gateway="gateway2").status_code == 401


def test_a_standby_takes_over(tmp_path, providers, certificates):
    """The primary dies, its standby is promoted: the vaults find it, and what was acknowledged is there."""
    primary = Server()
    standby = Server(primary)
    url = f"postgres://seks@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/postgres?sslmode=disable"
    fleet = Fleet(tmp_path, providers, certificates, url)
    try:
        primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.sql("SELECT pg_reload_conf()")
        fleet.start_all()
        owner = Owner(fleet)
        with owner.load() as seen, owner.changes(threads=2) as made:
            until(lambda: len(made) > 10, "no changes")
            primary.do("kill")
            standby.do("promote")
            before, changed = len(seen), len(made)
            until(lambda: len(seen) > before + 20 and len(made) > changed + 5, "calls do not go on")
        assert {status for status, _ in seen} <= {200, 503} and set(made.values()) <= {201, 503}
        owner.check(made)
        assert owner.call().status_code == 200
    finally:
        fleet.close()
        standby.close()
        primary.close()


def test_by_tls_the_server_is_verified(tmp_path, providers, certificates, server):
    """A role that must come by TLS with a password from a file; another authority's certificate is refused."""
    (tmp_path / "cert").write_bytes((certificates / "both.pem").read_bytes())
    server.do("tls", tmp_path / "cert")
    url = schema(server, "by_tls")
    server.sql("DROP ROLE IF EXISTS careful; CREATE ROLE careful LOGIN PASSWORD 'hunter2'; GRANT ALL ON SCHEMA by_tls TO careful")
    hba = server.directory / "pg/data/pg_hba.conf"
    hba.write_text("hostssl all careful all scram-sha-256\nhost all careful all reject\n" + hba.read_text())
    server.sql("SELECT pg_reload_conf()")
    store = tmp_path / "store"
    url = url.replace("seks@", "careful:hunter2@").replace("127.0.0.1", "localhost").replace("sslmode=disable", "sslmode=verify-full")
    for authority in ("ca", "other"):
        fleet_dir = tmp_path / authority
        fleet_dir.mkdir()
        store.unlink(missing_ok=True)
        store.write_text(f"{url}&sslrootcert={certificates / authority}.pem\n")
        store.chmod(0o400)
        fleet = Fleet(fleet_dir, providers, certificates, store, vaults=1)
        try:
            if authority == "ca":
                fleet.start_all()
                assert Owner(fleet).call().status_code == 200
                assert server.sql("SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'careful'") == "t"
                server.end_backends()  # and again, confined
                until(lambda: fleet.log("vault1").count("connected to PostgreSQL again") == 1, "it does not come back")
                until(lambda: fleet.ready("vault1"), "not ready")
            else:
                fleet.start("vault1")
                until(lambda: "certificate verify failed" in fleet.log("vault1"), "it takes any certificate")
                assert "hunter2" not in fleet.log("vault1")
                fleet.stop("vault1", signal.SIGKILL)
        finally:
            fleet.close()


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


# ---- the way there and back ----

class Place:
    """A stopped or running broker with an account, a secret and tokens, that has its store somewhere."""

    def __init__(self, directory, providers, certificates):
        self.directory, self.rows, self.data = directory, rows_for(providers, certificates), directory / "data"
        self.start()
        self.account = Account(self.broker, "owner@example.com")
        self.account.put_secret("OPENAI_API_KEY", standin.KEYS["openai"])
        for number in range(40):
            self.account.put_secret(f"S_{number}", f"value {number}")
        self.agent = self.account.agent("coder")["agent"]["id"]
        self.token = self.account.token(self.agent, "openai")["value"]
        self.dead = self.account.token(self.agent, "openai")
        self.account.call("DELETE", f"/v1/account/agents/{self.agent}/tokens/{self.dead['token']['id']}")

    def start(self, store=None, monkeypatch=None):
        if store:
            monkeypatch.setenv("SEKS_STORE", store)
        elif monkeypatch:
            monkeypatch.delenv("SEKS_STORE")
        self.broker = Broker(self.directory, self.rows)

    def call(self, token=None):
        return requests.get(f"{self.broker.url}/api/openai/v1/models", headers={"Authorization": f"Bearer {token or self.token}"},
                            timeout=20)

    def check(self):
        assert self.call().status_code == 200
        assert self.call(self.dead["value"]).status_code == 401
        self.account.broker = self.broker
        assert len(self.account.call("GET", "/v1/account/secrets")["secrets"]) == 41
        assert self.account.call("GET", "/v1/account/audit?limit=1")["records"]

    def move(self, source, target, want=0, before=()):
        done = subprocess.run([*before, BUILD / "services/vault/seks-vault", "migrate-store", "--data", self.data / "vault", "--keys",
                               self.data / "keys", "--from", source, "--to", target], capture_output=True, text=True, timeout=120,
                              env={k: v for k, v in os.environ.items() if k != "SEKS_STORE"})
        assert done.returncode == want, (done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr


@pytest.fixture
def place(tmp_path, providers, certificates, monkeypatch):
    monkeypatch.delenv("SEKS_TEST_STORE", raising=False)
    monkeypatch.setattr("conftest.ON_POSTGRES", False)
    place = Place(tmp_path, providers, certificates)
    yield place
    if place.broker.process.poll() is None:
        place.broker.stop()


def schema(server, name):
    server.sql(f"DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}")
    return f"{server.url}&options=-csearch_path%3D{name}"


def test_an_install_moves_there_and_back(place, server, monkeypatch):
    url = schema(server, "moved")
    assert "a vault runs" in place.move("sqlite", url, want=1)
    place.broker.stop()
    said = place.move("sqlite", url)
    rows = int(said.split()[0])
    assert rows > 50
    with pytest.raises(AssertionError, match="was moved to the PostgreSQL database postgres of 127.0.0.1"):
        place.start()
    assert "was moved to" in place.move("sqlite", url, want=1)  # not twice
    place.start(url, monkeypatch)
    place.check()
    assert place.account.put_secret("S_1", "another").status_code == 200
    place.broker.stop()
    assert "not empty" in place.move(url, "sqlite", want=1)
    (place.data / "vault/vault.db").rename(place.data / "vault/vault.db.old")
    assert int(place.move(url, "sqlite").split()[0]) >= rows
    with pytest.raises(AssertionError, match="was moved to .*vault.db"):
        place.start(url, monkeypatch)
    place.start(None, monkeypatch)
    place.check()


def test_a_move_that_is_killed_is_done_by_the_next(place, server, monkeypatch):
    """Killed at its Nth message to the server: nothing has changed, or the next one finds all there."""
    place.broker.stop()
    url = schema(server, "killed")
    killed = 0
    for at in (40, 90, 150, 230, 330):
        done = subprocess.run(["strace", "-qq", "-f", "-o", "/dev/null", "-e", "trace=sendto", "-e", f"inject=sendto:signal=SIGKILL:when={at}",
                               BUILD / "services/vault/seks-vault", "migrate-store", "--data", place.data / "vault", "--keys",
                               place.data / "keys", "--from", "sqlite", "--to", url], capture_output=True, text=True, timeout=120,
                              env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"))
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        killed += 1
    else:
        place.move("sqlite", url)
    assert killed >= 2
    place.start(url, monkeypatch)
    place.check()


def test_what_was_changed_from_outside_is_not_moved(place, server):
    place.broker.stop()
    with sqlite3.connect(place.data / "vault/vault.db") as database:
        database.execute("UPDATE tokens SET expires_ms = 5")
    database.close()
    url = schema(server, "refused")
    assert "of tokens is not as the vault left it" in place.move("sqlite", url, want=1)
    assert Postgres.sql("SELECT count(*) FROM accounts", url) == "0"
    with sqlite3.connect(place.data / "vault/vault.db") as database:
        database.execute("DELETE FROM tokens")
    database.close()
    assert "another install" in place.move("sqlite", server.url, want=1)  # where the fleet is
    place.move("sqlite", url)
