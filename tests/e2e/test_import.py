"""Moving in from an upstream SEKS Broker: passwords, secrets, agents and tokens go on working."""
import base64
import contextlib
import hashlib
import os
import sqlite3
import subprocess

import pytest
import requests
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import standin
from conftest import Broker, ROOT, rows_for, store_value
from test_vault import vault_command

KEY = "00112233445566778899aabbccddeeff" * 2
SEALED = "AAECAwQFBgcICQoLZXOYQiU6uZv4CVzIBONTF1cFMIMxvqQ/vBkpa4V1UXmsBw=="  # sk-test-1234567890
PASSWORD = "AAECAwQFBgcICQoLDA0ODw==$V/LC8HOXSNUWQZsGKohGZjI8WD6krhZVBKgfe1PGKgk="  # correct horse
OLDER = """
CREATE TABLE clients (id TEXT PRIMARY KEY, email TEXT UNIQUE NOT NULL, password_hash TEXT NOT NULL, name TEXT, created_at TEXT NOT NULL);
CREATE TABLE agents (id TEXT PRIMARY KEY, client_id TEXT NOT NULL, name TEXT NOT NULL, token TEXT UNIQUE NOT NULL, scopes TEXT,
 created_at TEXT NOT NULL, last_seen_at TEXT);
CREATE TABLE secrets (id TEXT PRIMARY KEY, client_id TEXT NOT NULL, name TEXT NOT NULL, provider TEXT NOT NULL,
 encrypted_value TEXT NOT NULL, metadata TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL);
CREATE TABLE audit_log (id TEXT PRIMARY KEY);
CREATE TABLE fake_tokens (id TEXT PRIMARY KEY, agent_id TEXT NOT NULL, provider TEXT NOT NULL, token TEXT UNIQUE NOT NULL,
 created_at TEXT NOT NULL, last_used_at TEXT);
"""
NEWER = OLDER.replace("clients", "accounts").replace("client_id", "account_id").replace("token TEXT UNIQUE NOT NULL, scopes",
                                                                                         "token_hash TEXT UNIQUE NOT NULL, scopes")
NEWER += "CREATE TABLE secret_access (secret_id TEXT NOT NULL, agent_id TEXT NOT NULL, created_at TEXT);"
AGENT = "seks_agent_" + "aB3-_" * 6 + "xy"
AGENT2 = "seks_agent_" + "Zz9_-" * 6 + "00"
OPENAI = "seks_openai__" + "k" * 23      # the older form
GITHUB = "seks_github_" + "A-_9" * 6     # the newer one
NOW = "2026-01-31T12:34:56.789Z"


def seal(value):
    nonce = os.urandom(12)
    return base64.b64encode(nonce + AESGCM(bytes.fromhex(KEY)).encrypt(nonce, value.encode(), None)).decode()


def agent_token(newer, token):
    return hashlib.sha256(token.encode()).hexdigest() if newer else token


def fill(database, newer, **more):
    """One account with secrets, two agents and tokens; MORE changes single values."""
    def add(table, *values):
        database.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(values))})", values)
    add("accounts" if newer else "clients", "c1", "Old@Example.com", more.get("password", PASSWORD), "Old", NOW)
    add("agents", "agent_1", "c1", "coder", agent_token(newer, AGENT), "[]", NOW, NOW)
    add("agents", "agent_2", "c1", "coder", agent_token(newer, AGENT2), "[]", "2026-02-01 00:00:00", None)
    add("secrets", "s1", "c1", "OPENAI_API_KEY", "openai", seal(standin.KEYS["openai"]), None, NOW, NOW)
    add("secrets", "s2", "c1", "GITHUB_PERSONAL_ACCESS_TOKEN", "github", seal(standin.KEYS["github"] + "\n"), None, NOW, NOW)
    add("secrets", "s3", "c1", "VECTOR", "other", more.get("vector", SEALED), None, NOW, NOW)
    add("fake_tokens", "t1", "agent_1", "openai", OPENAI, NOW, None)
    add("fake_tokens", "t2", "agent_1", more.get("provider", "github"), GITHUB, NOW, NOW)
    if "access" in more:
        add("secret_access", "s3", "agent_1", NOW)
    database.commit()


class House:
    def __init__(self, directory, providers, certificates):
        self.directory, self.rows = directory, rows_for(providers, certificates)
        self.broker = None
        (directory / "data").mkdir()
        build = os.environ.get("SEKS_BUILD") or ROOT / "build/release"
        subprocess.run([f"{build}/cli/seks", "keygen", directory / "data/keys"], check=True)
        self.key = directory / "old.key"
        self.key.write_text(KEY + "\n")
        self.key.chmod(0o400)

    def move(self, path, *more, want=0):
        return vault_command(self, "import", path, "--old-key", self.key, *more, want=want)

    def serve(self):
        self.broker = Broker(self.directory, self.rows)
        return self.broker

    def rows_of(self, table):
        return int(store_value(self.directory / "data", f"SELECT count(*) FROM {table}"))


@pytest.fixture
def house(tmp_path, providers, certificates):
    house = House(tmp_path, providers, certificates)
    yield house
    if house.broker and house.broker.process.poll() is None:
        house.broker.stop()


def export(house, newer, dump, **more):
    path = house.directory / "export"
    with contextlib.closing(sqlite3.connect(":memory:" if dump else path)) as database:
        database.executescript(NEWER if newer else OLDER)
        fill(database, newer, **more)
        if dump:  # as `wrangler d1 export` writes it
            path.write_text("PRAGMA defer_foreign_keys=TRUE;\n" + "\n".join(database.iterdump()).replace("BEGIN TRANSACTION;", "")
                            .replace("COMMIT;", ""))
    return path


@pytest.mark.parametrize("newer, dump", [(False, True), (True, False)], ids=["D1 dump", "SQLite"])
def test_everything_goes_on_working(house, newer, dump):
    path = export(house, newer, dump)
    said = house.move(path)
    assert "imported 1 accounts, 3 secrets, 2 agents and 2 tokens; 1 secrets also under" in said
    for file in (house.directory / "data/vault").iterdir():
        assert standin.KEYS["openai"].encode() not in file.read_bytes()
    assert "already" in house.move(path, want=1) and house.rows_of("accounts") == 1
    broker = house.serve()

    def passthrough(provider, where, token):
        return requests.get(f"{broker.url}/api/{provider}{where}", headers={"Authorization": f"Bearer {token}"}, timeout=20)
    assert passthrough("openai", "/v1/models", OPENAI).status_code == 200
    assert passthrough("github", "/user", GITHUB).status_code == 200
    assert passthrough("github", "/user", AGENT).status_code == 200
    assert passthrough("github", "/user", OPENAI).status_code == 401
    for nobody in (OPENAI[:-1] + "x", AGENT[:-1] + "Q", OPENAI + "k"):
        assert passthrough("openai", "/v1/models", nobody).status_code == 401
    for token in (AGENT, AGENT2):
        answer = requests.post(broker.url + "/v1/secrets/get", json={"name": "VECTOR"}, timeout=20,
                               headers={"Authorization": f"Bearer {token}"})
        assert answer.json() == {"ok": True, "value": "sk-test-1234567890"}, answer.text

    def login(password):
        http = requests.Session()
        answer = http.post(broker.url + "/v1/session", json={"email": "old@example.com", "password": password}, timeout=20)
        http.headers["X-CSRF-Token"] = answer.json().get("csrf", "")
        return answer.status_code, http
    assert login("wrong horse")[0] == 401
    assert login("correct horse")[0] == 200
    status, http = login("correct horse")  # now against Argon2id
    assert status == 200
    agents = http.get(broker.url + "/v1/account/agents", timeout=20).json()["agents"]
    assert sorted(a["name"] for a in agents) == ["coder", "coder (2)"]
    agent = next(a["id"] for a in agents if a["name"] == "coder")
    tokens = http.get(f"{broker.url}/v1/account/agents/{agent}/tokens", timeout=20).json()["tokens"]
    openai = next(t for t in tokens if t["provider"] == "openai")
    assert openai["last4"] == OPENAI[-4:] and openai["created_at"].startswith("2026-01-31T12:34:56")
    renewed = http.post(f"{broker.url}/v1/account/agents/{agent}/tokens/{openai['id']}/renew", timeout=20).json()["value"]
    assert passthrough("openai", "/v1/models", OPENAI).status_code == 401
    assert passthrough("openai", "/v1/models", renewed).status_code == 200
    broker.stop()
    stored = store_value(house.directory / "data", "SELECT password FROM accounts")
    assert stored.startswith("$argon2id$")


def test_restricted_secrets_need_a_word(house):
    path = export(house, True, False, access=True)
    assert "--accept-wider-access" in house.move(path, want=1)
    assert house.rows_of("accounts") == 0
    house.move(path, "--accept-wider-access")
    broker = house.serve()
    for token, status in ((AGENT, 200), (AGENT2, 403)):
        answer = requests.post(broker.url + "/v1/secrets/get", json={"name": "VECTOR"}, timeout=20,
                               headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize("more, says", [
    ({"vector": SEALED[:-6] + "AAAA=="}, "VECTOR does not open with the old master key"),
    ({"provider": "unheard"}, "unheard, which is not known here"),
    ({"password": "$2b$12$abc"}, "the password's hash is not of a known form"),
])
def test_what_cannot_be_taken_is_named(house, more, says):
    path = export(house, True, False, **more)
    said = house.move(path, want=1)
    assert says in said and "nothing was imported" in said
    assert house.rows_of("accounts") == house.rows_of("secrets") == 0
    said = house.move(path, "--skip")
    assert "1 left out" in said


def test_what_is_not_taken_is_told(house):
    """Rows that have no place here, and those that belong to nobody."""
    path = export(house, True, False)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript("CREATE TABLE actuators (id TEXT); CREATE TABLE sessions (id TEXT); CREATE TABLE d1_migrations (id TEXT);"
                               "INSERT INTO actuators VALUES ('a'), ('b'); INSERT INTO audit_log VALUES ('l');"
                               "INSERT INTO d1_migrations VALUES ('m');"
                               "INSERT INTO fake_tokens VALUES ('t9', 'nobody', 'openai', 'x', '2026-01-01', NULL)")
    assert "1 rows of fake_tokens belong to none of agents" in house.move(path, want=1)
    said = house.move(path, "--skip")
    assert "not taken over, rows: 1 of audit_log, 2 of actuators;" in said and "d1_migrations" not in said


@pytest.mark.parametrize("text, says", [
    ("CREATE TABLE notes (text TEXT);", "it lacks"),
    (NEWER + "CREATE TABLE treasure (gold TEXT);", "treasure"),
    (NEWER + "ATTACH DATABASE '/tmp/seks-import-evil.db' AS evil; CREATE TABLE evil.t (x);", "not authorized"),
    ("this is no SQL", "the dump is not as one"),
])
def test_other_files_are_refused(house, text, says):
    path = house.directory / "dump.sql"
    path.write_text(text)
    assert says in house.move(path, want=1)
    assert not os.path.exists("/tmp/seks-import-evil.db")
