"""The broker under ./run with all its daemons, and the providers' stand-ins behind it."""
import atexit
import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time

import pytest
import requests

import standin

pytest_plugins = ["aws_world"]

ROOT = pathlib.Path(__file__).resolve().parents[2]
for name in list(os.environ):
    if name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE",
                "NODE_EXTRA_CA_CERTS") or name.lower().endswith("_proxy"):
        del os.environ[name]
os.environ.setdefault("SEKS_USER", "root")  # started by root, daemons keep to the tests' directories, which are root's
SECRET_NAMES = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY", "github": "GITHUB_TOKEN",
                "notion": "NOTION_API_KEY", "gemini": "GEMINI_API_KEY", "cloudflare": "CLOUDFLARE_API_TOKEN",
                "brave": "BRAVE_API_KEY"}
PASSWORD = "correct horse battery"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until(condition, what=None, seconds=20):
    """Waits for the condition, and returns its value; WHAT did not happen otherwise."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, what or condition
        time.sleep(0.03)
    return value


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def make_certificates(d):
    """An authority of its own and a certificate for 127.0.0.1; `other` is nobody's authority."""
    for name in ("ca", "other"):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-subj", f"/CN={name}", "-keyout", d / f"{name}.key", "-out", d / f"{name}.pem")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=standin",
            "-keyout", d / "server.key", "-out", d / "server.csr")
    (d / "ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    openssl("x509", "-req", "-in", d / "server.csr", "-CA", d / "ca.pem", "-CAkey", d / "ca.key", "-CAcreateserial",
            "-days", "2", "-extfile", d / "ext", "-out", d / "server.pem")
    (d / "both.pem").write_text((d / "server.pem").read_text() + (d / "server.key").read_text())
    return d


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def providers(certificates):
    return {name: standin.start(name, certificates / "both.pem") for name in standin.KEYS}


class Account:
    def __init__(self, broker, email):
        self.broker, self.email = broker, email
        self.http = requests.Session()
        answer = self.http.post(broker.url + "/v1/account", json={"email": email, "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        self.id = answer.json()["account"]["id"]
        self.http.headers["X-CSRF-Token"] = answer.json()["csrf"]

    def call(self, method, path, body=None, want=200):
        answer = self.http.request(method, self.broker.url + path, json=body)
        assert answer.status_code == want, (method, path, answer.status_code, answer.text)
        return answer.json()

    def put_secret(self, name, value):
        return self.http.put(f"{self.broker.url}/v1/account/secrets/{name.replace('/', '%2F')}", json={"value": value})

    def agent(self, name, **more):
        return self.call("POST", "/v1/account/agents", {"name": name, **more}, 201)

    def token(self, agent, provider, **more):
        return self.call("POST", f"/v1/account/agents/{agent}/tokens", {"provider": provider, **more}, 201)


class Postgres:
    """With SEKS_TEST_STORE=postgres every broker's vault works on PostgreSQL: one server for the run, and in it a
    schema for each data directory."""
    tool = ROOT / "tests/tools/postgres"
    server = url = None

    @classmethod
    def start(cls):
        if not cls.server:
            cls.server = pathlib.Path(tempfile.mkdtemp(prefix="seks-pg-"))
            cls.server.chmod(0o711)
            cls.url = subprocess.run([cls.tool, "start", cls.server / "pg"], check=True, capture_output=True,
                                     text=True).stdout.strip()
            atexit.register(cls.stop)

    @classmethod
    def stop(cls):
        subprocess.run([cls.tool, "stop", cls.server / "pg"])
        shutil.rmtree(cls.server, ignore_errors=True)

    @classmethod
    def sql(cls, text, url=None):
        return subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", url or cls.url, "-c", text], check=True,
                              capture_output=True, text=True).stdout.strip()

    @classmethod
    def store(cls, directory):
        cls.start()
        schema = "s" + hashlib.sha256(str(directory).encode()).hexdigest()[:16]
        cls.sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        return f"{cls.url}&options=-csearch_path%3D{schema}"


ON_POSTGRES = os.environ.get("SEKS_TEST_STORE") == "postgres"
files_alone = pytest.mark.skipif(ON_POSTGRES, reason="it is about the file in which SQLite keeps the store")


def store_environment(directory):
    """What a broker on this data directory gets besides, to find its store."""
    return {"SEKS_STORE": Postgres.store(directory)} if ON_POSTGRES else {}


def store_digest(directory):
    """A hash over all that a stopped broker's store holds."""
    if not ON_POSTGRES:
        return hashlib.sha256((directory / "vault/vault.db").read_bytes()).hexdigest()
    schema = Postgres.store(directory).rsplit("%3D", 1)[1]
    dump = subprocess.run(["pg_dump", f"--schema={schema}", Postgres.url], check=True, capture_output=True).stdout
    return hashlib.sha256(re.sub(rb"(?m)^\\(un)?restrict .*$", b"", dump)).hexdigest()


def store_value(directory, sql):
    """The one value of a query on the store of a broker, which has stopped."""
    if ON_POSTGRES:
        return Postgres.sql(sql, Postgres.store(directory))
    with contextlib.closing(sqlite3.connect(directory / "vault/vault.db")) as database:
        return str(database.execute(sql).fetchone()[0])


def first_token(broker, key):
    """A new account's token for OpenAI with that key; of BROKER only its url is needed."""
    return openai_token(Account(broker, "a@example.com"), key)


def openai_token(account, key):
    assert account.put_secret("OPENAI_API_KEY", key).status_code == 201
    return account.token(account.agent("a")["agent"]["id"], "openai")["value"]


class Broker:
    def __init__(self, directory, rows, build=None, options=()):
        self.directory, self.port = directory, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        (directory / "providers.json").write_text(json.dumps({"providers": rows}))
        self.log_path = directory / "broker.log"
        environment = dict(os.environ, SEKS_BUILD=build or os.environ.get("SEKS_BUILD", ""),
                           **store_environment(directory / "data"))
        self.process = subprocess.Popen(
            [ROOT / "run", "--listen", f"127.0.0.1:{self.port}", "--data", directory / "data", "--providers",
             directory / "providers.json", "--signup", "open", *options],
            stdout=subprocess.PIPE, stderr=open(self.log_path, "w"), text=True, env=environment)
        self.ready = False
        for line in self.process.stdout:
            if line.startswith("SEKS Broker is ready at "):
                self.ready = True
                break
        self.output = []  # what it says once it is ready
        threading.Thread(target=lambda: self.output.extend(self.process.stdout), daemon=True).start()
        assert self.ready, self.log()

    def log(self):
        return self.log_path.read_text(errors="replace")

    def pid(self, name):
        out = subprocess.run(["pgrep", "-f", f"seks-{name} .*{self.directory}/data/"], capture_output=True, text=True)
        return int(out.stdout.split()[0])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        log = self.log()
        assert status == 0, log[-4000:]
        bad = re.search(r"AddressSanitizer|LeakSanitizer|runtime error:", log)
        assert not bad, log[max(0, bad.start() - 200):bad.start() + 6000]
        return log


def rows_for(providers, certificates, **more):
    return [{"name": name, "origin": server.origin, "ca_file": str(certificates / "ca.pem"), "allow_insecure": True, **more}
            for name, server in providers.items()]


@pytest.fixture(scope="session")
def broker(tmp_path_factory, providers, certificates):
    broker = Broker(tmp_path_factory.mktemp("broker"), rows_for(providers, certificates))
    yield broker
    log = broker.stop()
    for key in standin.KEYS.values():
        assert key not in log


@pytest.fixture(scope="session")
def account(broker):
    account = Account(broker, "owner@example.com")
    for provider, name in SECRET_NAMES.items():
        assert account.put_secret(name, standin.KEYS[provider]).status_code == 201
    return account


@pytest.fixture(scope="session")
def agent(account):
    return account.agent("coder")


@pytest.fixture(scope="session")
def tokens(account, agent):
    return {p: account.token(agent["agent"]["id"], p)["value"] for p in standin.KEYS}
