"""Git through the broker: the settings that GET /v1/providers gives, a real git on both sides."""
import base64
import http.server
import os
import ssl
import subprocess
import threading

import pytest
import requests

from conftest import Account, Broker

KEY = "ghp_plantedGit5d1c9e3b7f2a8046"
BACKEND = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip() + "/git-http-backend"


class Backend(http.server.BaseHTTPRequestHandler):
    """GitHub's place: git's own CGI program (gitprotocol-http), for whoever has the one key."""
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def do_GET(self):
        body = self.body()
        good = self.headers.get_all("Authorization") == ["Basic " + base64.b64encode(f"x-access-token:{KEY}".encode()).decode()]
        path, _, query = self.path.partition("?")
        environment = dict(os.environ, GIT_PROJECT_ROOT=str(self.server.root), GIT_HTTP_EXPORT_ALL="1", REMOTE_USER="agent",
                           PATH_INFO=path, QUERY_STRING=query, REQUEST_METHOD=self.command, CONTENT_LENGTH=str(len(body)),
                           CONTENT_TYPE=self.headers.get("Content-Type", ""), GIT_PROTOCOL=self.headers.get("Git-Protocol", ""),
                           HTTP_CONTENT_ENCODING=self.headers.get("Content-Encoding", ""))
        out = subprocess.run([BACKEND], input=body, env=environment, capture_output=True).stdout if good else b"Status: 401\r\n\r\n"
        head, _, content = out.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET


def git(*arguments, **more):
    return subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.com", *map(str, arguments)],
                          capture_output=True, text=True, timeout=60, **more)


@pytest.fixture(scope="module")
def world(tmp_path_factory, certificates):
    root = tmp_path_factory.mktemp("hub")
    git("init", "--bare", "-b", "main", root / "o/r.git")
    git("-C", root / "o/r.git", "config", "http.receivepack", "true")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "both.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.root = root
    threading.Thread(target=server.serve_forever, daemon=True).start()
    broker = Broker(tmp_path_factory.mktemp("git-broker"), [{
        "name": "github-git", "origin": f"https://127.0.0.1:{server.server_address[1]}",
        "ca_file": str(certificates / "ca.pem"), "allow_insecure": True}])
    account = Account(broker, "git@example.com")
    assert account.put_secret("GITHUB_TOKEN", KEY).status_code == 201
    yield account
    assert KEY not in broker.stop()
    server.shutdown()


def settings(account, made):
    row = next(p for p in requests.get(account.broker.url + "/v1/providers").json()["providers"] if p["name"] == "github-git")
    filled = {name: text.replace("{base_url}", made["base_url"]).replace("{token}", made["value"]) for name, text in row["env"].items()}
    return dict(os.environ, **filled, HOME="/nonexistent", GIT_TERMINAL_PROMPT="0", GIT_CONFIG_NOSYSTEM="1")


def test_clone_commit_push_and_no_more(world, tmp_path):
    agent = world.agent("committer")["agent"]["id"]
    made = world.token(agent, "github-git")
    environment = settings(world, made)
    here, there = tmp_path / "here", tmp_path / "there"
    done = git("clone", "https://github.com/o/r", here, env=environment)
    assert done.returncode == 0, done.stderr
    (here / "noise").write_bytes(os.urandom(3 << 20))  # more than git holds back to send at once
    git("-C", here, "add", ".")
    git("-C", here, "commit", "-m", "noise")
    done = git("-C", here, "push", "origin", "HEAD:main", env=environment)
    assert done.returncode == 0, done.stderr
    done = git("clone", "-b", "main", "https://github.com/o/r", there, env=environment)
    assert done.returncode == 0 and (there / "noise").read_bytes() == (here / "noise").read_bytes(), done.stderr
    for kept in here.rglob("*"):
        assert not kept.is_file() or KEY.encode() not in kept.read_bytes()
    world.call("DELETE", f"/v1/account/agents/{agent}/tokens/{made['token']['id']}")
    assert git("-C", there, "fetch", env=environment).returncode != 0


def test_password_in_the_address(world, tmp_path):
    """As git sends it when the token is in the URL: first without, then Basic after the 401."""
    made = world.token(world.agent("reader")["agent"]["id"], "github-git")
    address = made["base_url"].replace("://", f"://x-access-token:{made['value']}@") + "/o/r"
    done = git("ls-remote", address, env=dict(os.environ, HOME="/nonexistent", GIT_TERMINAL_PROMPT="0"))
    assert done.returncode == 0, done.stderr


def test_storing_credentials_of_lfs_is_denied(world):
    made = world.token(world.agent("large")["agent"]["id"], "github-git")
    answer = requests.post(made["base_url"] + "/o/r.git/info/lfs/objects/batch", headers={"Authorization": "Bearer " + made["value"]})
    assert answer.status_code == 403
