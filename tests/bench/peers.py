"""What bench.py measures: the provider, the header-swapping proxies, the broker in three forms, the other gateways."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(__file__).resolve().parent / ".peers"
os.environ.setdefault("SEKS_BUILD", str(ROOT / "build" / "release"))  # taken as it is, while it is measured
KEY = "sk-benchmark-0123456789abcdef0123456789abcdef"
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
GATEWAYS = {"portkey": "@portkey-ai/gateway@1.15.2", "litellm": "litellm[proxy]==1.99.4", "mitmproxy": "mitmproxy==11.0.2"}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port, process, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"{process.args} does not listen on {port}")


def descendants(pid):
    out = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    children = {}
    for line in out.stdout.splitlines():
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)
    todo, found = [pid], []
    while todo:
        one = todo.pop()
        found.append(one)
        todo.extend(children.get(one, []))
    return found


def call(base, method, path, body=None, headers=None):
    request = urllib.request.Request(base + path, method=method, headers=headers or {},
                                     data=json.dumps(body).encode() if body is not None else None)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer), answer.headers


class Peer:
    """Something that wrk is pointed at.  PROCESS and its children are what its CPU is counted of."""

    def __init__(self, name, process, origin, path, token=KEY, headers=(), label=None):
        self.name, self.label, self.process, self.pid = name, label or name, process, process.pid
        self.origin, self.url, self.token, self.headers = origin, origin + path, token, headers

    def at(self, path):
        return Peer(self.name, self.process, self.origin, path, self.token, self.headers, self.label)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_nginx(directory, port, text, log="off"):
    conf = directory / f"nginx-{port}.conf"
    conf.write_text(f"""
daemon off; worker_processes 1; pid {directory}/nginx-{port}.pid; error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log {log}; client_body_temp_path {directory}/b; proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f;
  uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s; keepalive_requests 100000000; client_max_body_size 0;
  {text}
}}""")
    process = subprocess.Popen([NGINX, "-c", str(conf)], stderr=subprocess.DEVNULL)
    wait_for(port, process)
    return process


def build(directory, name):
    """A program of this directory, compiled."""
    source = pathlib.Path(__file__).resolve().parent / f"{name}.c"
    subprocess.run(["cc", "-O2", "-o", directory / name, source, "-lm"], check=True)
    return str(directory / name)


class Standin:
    """The provider for event streams, large bodies and late answers (standin.c)."""

    def __init__(self, directory):
        port = free_port()
        self.process = subprocess.Popen([build(directory, "standin"), str(port)])
        wait_for(port, self.process)
        self.origin = f"http://127.0.0.1:{port}"
        self.stop = Peer("stand-in", self.process, self.origin, "").stop


class Upstream:
    """The provider of short answers: 1 KiB of JSON (as a chat completion that clients can read); plain and TLS."""

    def __init__(self, directory, port, tls_port=None):
        answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-bench",
                  "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ""}}],
                  "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}
        answer["choices"][0]["message"]["content"] = "x" * (1024 - len(json.dumps(answer)))
        locations = f"location / {{ default_type application/json; return 200 '{json.dumps(answer)}'; }}"
        tls = ""
        if tls_port:
            self.certificates(directory)
            tls = (f"server {{ listen 127.0.0.1:{tls_port} ssl backlog=4096; ssl_certificate {directory}/server.pem; "
                   f"ssl_certificate_key {directory}/server.key; ssl_session_cache shared:s:1m; {locations} }}")
        self.process = start_nginx(directory, port, f"server {{ listen 127.0.0.1:{port} backlog=4096; {locations} }} {tls}")
        self.stop = Peer("provider", self.process, "", "").stop

    @staticmethod
    def certificates(directory):
        openssl = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                   "-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", "server.key", "-out", "server.pem"]
        subprocess.run(openssl, check=True, capture_output=True, cwd=directory)


def nginx_proxy(directory, name, to, standin=None):
    port, scheme = free_port(), to.split(":")[0]
    ways = "".join(f"upstream {n} {{ server {o.split('//')[1]}; keepalive 256; keepalive_requests 100000000; }} "
                   for n, o in (("u", to), ("s", standin or to)))
    common = ("proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Authorization $key; proxy_buffering off; "
              "proxy_request_buffering off; proxy_ssl_session_reuse on; proxy_ssl_verify on; proxy_ssl_name localhost; "
              f"proxy_ssl_trusted_certificate {directory}/server.pem;")
    process = start_nginx(directory, port, f"{ways} map $http_authorization $key {{ default 'Bearer {KEY}'; }} server {{ listen "
                          f"127.0.0.1:{port} backlog=4096; location / {{ proxy_pass {scheme}://u; {common} }} "
                          f"location /s/ {{ proxy_pass http://s; {common} }} }}", log=str(directory / f"access-{port}.log"))
    return Peer(name, process, f"http://127.0.0.1:{port}", "/v1/models")


def haproxy(directory, upstream, standin):
    port, conf = free_port(), directory / "haproxy.cfg"
    conf.write_text(f"""
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  option http-no-delay
  option http-keep-alive
  http-reuse always
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend f
  bind 127.0.0.1:{port}
  http-request set-header Authorization "Bearer {KEY}"
  use_backend s if {{ path_beg /s/ }}
  default_backend b
backend b
  server s 127.0.0.1:{upstream} maxconn 4096
backend s
  server s {standin.split("//")[1]} maxconn 4096
""")
    process = subprocess.Popen([shutil.which("haproxy") or "/usr/sbin/haproxy", "-f", str(conf)], stderr=subprocess.DEVNULL)
    wait_for(port, process)
    return Peer("haproxy", process, f"http://127.0.0.1:{port}", "/v1/models")


class Broker:
    """./run, or with CURVE the four daemons on TCP, with an account, a stored key and a token."""

    def __init__(self, directory, upstream, origin=None, standin=None, curve=False):
        self.directory = directory / f"broker-{free_port()}"
        self.directory.mkdir()
        self.port, self.others = free_port(), []
        self.base = f"http://127.0.0.1:{self.port}"
        row = {"allow_insecure": True, "ca_file": str(directory / "server.pem")} if origin else {"allow_insecure": True}
        rows = [{"name": "openai", "origin": origin or f"http://127.0.0.1:{upstream}", **row}]
        if standin:
            rows.append({"name": "notion", "origin": standin, "allow_insecure": True})
        self.providers = self.directory / "providers.json"
        self.providers.write_text(json.dumps({"providers": rows}))
        self.log = open(self.directory / "broker.log", "w")
        self.process = self.run_curve() if curve else self.run()
        self.token, self.standin_token = self.enrol(bool(standin))

    def command(self):
        return [str(ROOT / "run"), "--listen", f"127.0.0.1:{self.port}", "--data", str(self.directory / "data"), "--providers",
                str(self.providers)]

    def run(self):
        process = subprocess.Popen(self.command(), stdout=subprocess.PIPE, text=True, stderr=self.log)
        if not any("SEKS Broker is ready" in line for line in process.stdout):
            raise SystemExit((self.directory / "broker.log").read_text())
        return process

    def run_curve(self):
        """The daemons are children of one shell, whose process id stands for all."""
        build = pathlib.Path(os.environ.get("SEKS_BUILD", ROOT / "build" / "release"))
        data = self.directory / "data"
        data.mkdir(mode=0o700)
        subprocess.run([build / "cli" / "seks", "keygen", data / "keys"], check=True, capture_output=True)
        vault, proxy, audit_vault, audit_proxy = (f"tcp://127.0.0.1:{free_port()}" for _ in range(4))
        common = ["--keys", data / "keys", "--die-with-parent", *(["--user", "root"] if os.geteuid() == 0 else [])]
        lines, cores = [], sorted(os.sched_getaffinity(0))[:2]  # two to a core, as ./run has them where there are two
        for name, arguments in {
                "audit": ["--data", data / "audit", "--listen-vault", audit_vault, "--listen-proxy", audit_proxy],
                "vault": ["--data", data / "vault", "--listen-gateway", vault, "--audit", audit_vault, "--signup", "open",
                          "--providers", self.providers],
                "proxy": ["--listen-gateway", proxy, "--audit", audit_proxy, "--providers", self.providers],
                "gateway": ["--listen", f"127.0.0.1:{self.port}", "--public-url", self.base, "--vault", vault, "--proxy", proxy,
                            "--providers", self.providers]}.items():
            core = cores[0] if name in ("gateway", "proxy") else cores[-1]
            lines.append(" ".join(map(str, [build / "services" / name / f"seks-{name}", *arguments, *common, "--core", core])) + " &")
        process = subprocess.Popen(["bash", "-c", "trap 'kill $(jobs -p)' TERM; " + " ".join(lines) + " wait; wait"], stderr=self.log)
        for _ in range(200):
            try:
                call(self.base, "GET", "/readyz")
                return process
            except OSError:
                time.sleep(0.1)
        raise SystemExit((self.directory / "broker.log").read_text())

    def enrol(self, standin):
        account, headers = call(self.base, "POST", "/v1/account", {"email": "b@example.com", "password": "benchmark password"})
        session = {"Cookie": headers["Set-Cookie"].split(";")[0], "X-CSRF-Token": account["csrf"]}
        agent, _ = call(self.base, "POST", "/v1/account/agents", {"name": "bench"}, session)
        tokens = []
        for provider, secret in [("openai", "OPENAI_API_KEY"), ("notion", "NOTION_API_KEY")][:1 + standin]:
            call(self.base, "PUT", f"/v1/account/secrets/{secret}", {"value": KEY}, session)
            token, _ = call(self.base, "POST", f"/v1/account/agents/{agent['agent']['id']}/tokens", {"provider": provider}, session)
            tokens.append(token["value"])
        return tokens[0], tokens[-1]

    def peer(self, name):
        peer = Peer(name, self.process, self.base, "/api/openai/v1/models", self.token)
        peer.standin_token = self.standin_token
        return peer


# ---- gateways of others, from npm and PyPI ----

def venv(name, package):
    home = CACHE / name
    if not (home / "ok").exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        subprocess.run([home / "bin" / "pip", "install", "-q", package], check=True)
        (home / "ok").touch()
    return home / "bin"


def portkey(world):
    """One process, as its own image starts it."""
    home, port = CACHE / "portkey", free_port()
    if not (home / "ok").exists():
        home.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--no-fund", "--no-audit", "--ignore-scripts", "--prefix", home, GATEWAYS["portkey"]], check=True,
                       capture_output=True)
        (home / "ok").touch()
    server = home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    process = subprocess.Popen(["node", server, f"--port={port}", "--headless"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env=dict(os.environ, TRUSTED_CUSTOM_HOSTS="127.0.0.1,localhost", NODE_ENV="production"))
    wait_for(port, process)
    headers = ("x-portkey-provider: openai", f"x-portkey-custom-host: http://127.0.0.1:{world.upstream_port}/v1")
    return Peer("portkey", process, f"http://127.0.0.1:{port}", "/v1/chat/completions", KEY, headers, "Portkey's gateway 1.15.2 (npm)")


def litellm(world):
    """As its documentation advises for production: a worker for each core, no debugging output."""
    port, conf = free_port(), world.directory / "litellm.yaml"
    conf.write_text(f"""
model_list:
  - model_name: gpt-bench
    litellm_params: {{model: openai/gpt-bench, api_base: "http://127.0.0.1:{world.upstream_port}/v1", api_key: {KEY}}}
general_settings: {{master_key: sk-master}}
""")
    process = subprocess.Popen([venv("litellm", GATEWAYS["litellm"]) / "litellm", "--config", conf, "--port", str(port), "--host", "127.0.0.1",
                                "--num_workers", str(os.cpu_count())], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env=dict(os.environ, LITELLM_MODE="PRODUCTION", LITELLM_LOG="ERROR", LITELLM_LOCAL_MODEL_COST_MAP="True"))
    wait_for(port, process, 120)
    return Peer("litellm", process, f"http://127.0.0.1:{port}", "/v1/chat/completions", "sk-master", (), "LiteLLM's proxy 1.99.4 (PyPI)")


def mitmproxy(world):
    port = free_port()
    process = subprocess.Popen([venv("mitmproxy", GATEWAYS["mitmproxy"]) / "mitmdump", "-q", "--mode",
                                f"reverse:http://127.0.0.1:{world.upstream_port}", "-p", str(port), "--listen-host", "127.0.0.1",
                                "--modify-headers", f"/~q/Authorization/Bearer {KEY}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(port, process)
    return Peer("mitmproxy", process, f"http://127.0.0.1:{port}", "/v1/chat/completions", KEY, (), "mitmproxy 11.0.2, header rule (PyPI)")


def gateways(world):
    found = [start(world) for start in (portkey, litellm, mitmproxy)]
    world.started += found
    return found


class World:
    def __init__(self, directory):
        self.directory, self.started = directory, []
        self.upstream_port, tls_port = free_port(), free_port()
        self.upstream, self.standin = Upstream(directory, self.upstream_port, tls_port), Standin(directory)
        self.streams, self.openloop = build(directory, "streams"), build(directory, "openloop")
        plain, tls = f"http://127.0.0.1:{self.upstream_port}", f"https://127.0.0.1:{tls_port}"
        self.direct = Peer("direct", self.standin.process, self.standin.origin, "/")
        self.nginx = nginx_proxy(directory, "nginx", plain, self.standin.origin)
        self.nginx_tls = nginx_proxy(directory, "nginx, https provider", tls)
        self.haproxy = haproxy(directory, self.upstream_port, self.standin.origin)
        self.broker = Broker(directory, self.upstream_port, standin=self.standin.origin).peer("broker")
        self.broker_tls = Broker(directory, None, origin=tls).peer("broker, https provider")
        self.broker_curve = Broker(directory, self.upstream_port, standin=self.standin.origin, curve=True).peer("broker, tcp and CURVE")
        self.started += [self.upstream, self.standin, self.nginx, self.nginx_tls, self.haproxy, self.broker, self.broker_tls, self.broker_curve]

    def at_standin(self, peer, path):
        """PEER, pointed at a path of the stand-in."""
        if not hasattr(peer, "standin_token"):
            return peer.at("/s" + path)
        at = peer.at("/api/notion" + path)
        at.token = peer.standin_token
        return at

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in reversed(self.started):
            one.stop()
