"""The `seks` command, as a person at a terminal and as a script uses it, against the real daemons."""
import json
import os
import pathlib
import re
import signal
import stat
import subprocess
import sys
import textwrap
import time

import pexpect
import pytest
import requests

import standin
from conftest import PASSWORD, ROOT, SECRET_NAMES

SEKS = pathlib.Path(os.environ.get("SEKS_BUILD") or ROOT / "build/release") / "cli/seks"
EMAIL = "cli@example.com"
PLANTED = list(standin.KEYS.values()) + [PASSWORD]


class Shell:
    """A user with a home directory of their own."""

    def __init__(self, home, server):
        self.home = home
        self.environment = {k: v for k, v in os.environ.items() if not re.search("KEY|TOKEN|^SEKS_|^XDG_|^AWS_", k)}
        self.environment.update(HOME=str(home), SEKS_SERVER=server, TERM="xterm")

    def run(self, *arguments, stdin="", want=0, **environment):
        done = subprocess.run([SEKS, *arguments], input=stdin, capture_output=True, text=True, timeout=60,
                              env={**self.environment, **environment}, start_new_session=True)
        assert done.returncode == want, (arguments, done.returncode, done.stdout, done.stderr)
        return done

    def json(self, *arguments, **more):
        return json.loads(self.run(*arguments, "--json", **more).stdout)

    def type(self, *arguments, **environment):
        """At a pseudo-terminal; what it shows is collected in `shown`."""
        child = pexpect.spawn(str(SEKS), list(map(str, arguments)), env={**self.environment, **environment},
                              encoding="utf-8", timeout=60, dimensions=(40, 200))
        return child

    def file(self, name):
        return self.home / ".config/seks" / name


def end(child, want=0):
    shown = child.read()
    child.close()
    assert child.exitstatus == want, (child.exitstatus, child.signalstatus, child.before, shown)
    return shown


def type_password(child, prompt, password):
    child.expect(prompt)
    child.waitnoecho()
    child.sendline(password)


@pytest.fixture(scope="module")
def shell(broker, tmp_path_factory):
    """Signed up at a terminal, with the seven keys imported from a .env file and the agent coder."""
    shell = Shell(tmp_path_factory.mktemp("home"), broker.url)
    child = shell.type("signup")
    child.expect("Email: ")
    child.sendline(EMAIL)
    type_password(child, "Password: ", PASSWORD)
    type_password(child, "Again: ", PASSWORD)
    child.expect(f"logged in to {broker.url} as {EMAIL}")
    shown = end(child)
    assert PASSWORD not in shown and "secret set" in shown
    lines = [f"{name}={standin.KEYS[provider]}" for provider, name in SECRET_NAMES.items()]
    lines[1] = f"export {lines[1]}"
    lines[2] = f"{lines[2].replace('=', '=' + chr(34))}\"  # quoted"
    env = shell.home / ".env"
    env.write_text("# keys\n" + "\n".join(lines) + "\nDATABASE_URL='postgres://x#y'\nGEMINI_OLD=\n")
    done = shell.run("secret", "import", env)
    assert done.stderr.count("stored ") == 7 and "left DATABASE_URL" in done.stderr
    done = shell.run("agent", "add", "coder")
    assert done.stdout.startswith("seks_agent_")
    return shell


def test_who(shell, broker):
    assert shell.run("whoami").stdout == f"{EMAIL} at {broker.url}\n"
    who = shell.json("whoami")
    assert who["ok"] and who["account"]["email"] == EMAIL and who["server"] == broker.url


def test_files_are_private(shell):
    for path in shell.file("config.json").parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(shell.file("config.json").parent.stat().st_mode) == 0o700


def test_run(shell, broker):
    script = "import os, json; print(json.dumps(dict(os.environ)))"
    real = {name: standin.KEYS[p] for p, name in SECRET_NAMES.items()}
    done = shell.run("run", "coder", "--", sys.executable, "-c", script, SEKS_ACCOUNT_KEY="", **real)
    seen = json.loads(done.stdout)
    assert seen["OPENAI_API_KEY"].startswith("seks_openai_")
    assert seen["OPENAI_BASE_URL"] == broker.url + "/api/openai"
    for key in standin.KEYS.values():
        assert key not in done.stdout
