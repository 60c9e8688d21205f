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
from conftest import PASSWORD, ROOT, SECRET_NAMES, Account, Broker, rows_for

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
                              encoding="utf-8", timeout=60, dimensions=(40, 200),
                              preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # ignored by what a script runs with &
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
    assert child.waitnoecho(20)
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


def dead(url, token):
    return requests.get(url + "/models", headers={"Authorization": f"Bearer {token}"}).status_code == 401


def python(shell, script, *options, **environment):
    """Runs SCRIPT as the agent coder would; what it printed."""
    return shell.run("run", "coder", *options, "--", sys.executable, "-c", textwrap.dedent(script), **environment).stdout


SHOW = "import json, os; print(json.dumps(dict(os.environ)))"


# ---- accounts ----

def test_who(shell, broker):
    assert shell.run("whoami").stdout == f"{EMAIL} at {broker.url}\n"
    who = shell.json("whoami")
    assert who["ok"] and who["account"]["email"] == EMAIL and who["server"] == broker.url


def test_login_and_logout(shell, broker, tmp_path):
    other = Shell(tmp_path, broker.url)
    assert "seks login" in other.run("whoami", want=3).stderr
    child = other.type("login", "--email", EMAIL)
    type_password(child, "Password: ", "wrong " + PASSWORD)
    assert "email or password is wrong" in end(child, want=3)
    (tmp_path / "password").write_text(PASSWORD + "\n")
    other.run("login", "--email", EMAIL, "--password-file", tmp_path / "password", "--key-name", "ci")
    first = other.json("key", "list")["keys"]
    other.run("login", "--email", EMAIL, "--password-file", "-", stdin=PASSWORD, want=0)
    assert len(other.json("key", "list")["keys"]) == len(first), "the key of the first login is still there"
    key = json.loads(other.file("config.json").read_text())["servers"][broker.url]["key"]
    other.run("signup", "--email", "second@example.com", "--password-file", "-", stdin=PASSWORD)
    other.run("whoami", SEKS_ACCOUNT_KEY=key, want=3)  # another account's login on this host ended it
    key = json.loads(other.file("config.json").read_text())["servers"][broker.url]["key"]
    assert key.startswith("seks_account_")
    other.run("logout")
    assert "not logged in" in other.run("whoami", want=3).stderr
    assert "log in again" in other.run("whoami", want=3, SEKS_ACCOUNT_KEY=key).stderr
    assert key not in other.file("config.json").read_text()


def test_account_key_from_the_environment(shell, broker, tmp_path):
    made = shell.json("key", "add", "automation")
    homeless = Shell(tmp_path, broker.url)
    del homeless.environment["HOME"]
    key = made["key"]
    assert homeless.run("whoami", SEKS_ACCOUNT_KEY=key).stdout.startswith(EMAIL)
    assert "use --ttl" in homeless.run("env", "coder", SEKS_ACCOUNT_KEY=key, want=1).stderr
    seen = json.loads(homeless.run("run", "coder", "--ttl", "60s", "--", sys.executable, "-c", SHOW, SEKS_ACCOUNT_KEY=key).stdout)
    assert "SEKS_ACCOUNT_KEY" not in seen and seen["OPENAI_API_KEY"].startswith("seks_openai_")
    shell.run("key", "rm", made["id"])
    homeless.run("whoami", SEKS_ACCOUNT_KEY=key, want=3)


def test_password_and_the_end(broker, tmp_path):
    shell = Shell(tmp_path, broker.url)
    child = shell.type("signup", "--email", "end@example.com")
    type_password(child, "Password: ", PASSWORD)
    type_password(child, "Again: ", "something else")
    assert "differ" in end(child, want=1)
    shell.run("signup", "--email", "end@example.com", "--password-file", "-", stdin=PASSWORD)
    assert "seks login" in shell.run("signup", "--email", "end@example.com", "--password-file", "-", stdin=PASSWORD, want=1).stderr
    child = shell.type("account", "password")
    for prompt, password in (("Old password: ", PASSWORD), ("New password: ", "a new password"), ("Again: ", "a new password")):
        type_password(child, prompt, password)
    end(child)
    shell.run("account", "delete", "--password-file", "-", stdin=PASSWORD, want=3)
    shell.run("account", "delete", "--password-file", "-", stdin="a new password")
    shell.run("whoami", want=3)
    shell.run("login", "--email", "end@example.com", "--password-file", "-", stdin="a new password", want=3)


# ---- what is kept, and what never shows ----

def test_files_are_private(shell):
    shell.run("env", "coder")
    paths = list(shell.file("config.json").parent.iterdir())
    assert {"config.json", "tokens.json"} <= {p.name for p in paths}
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(paths[0].parent.stat().st_mode) == 0o700
    for path in paths:
        for planted in PLANTED:
            assert planted not in path.read_text()


def test_a_readable_config_is_refused(shell, tmp_path):
    (tmp_path / "seks").mkdir()
    copy = tmp_path / "seks/config.json"
    copy.write_text(shell.file("config.json").read_text())
    copy.chmod(0o644)
    assert "chmod 600" in shell.run("whoami", want=1, XDG_CONFIG_HOME=str(tmp_path)).stderr
    copy.chmod(0o600)
    shell.run("whoami", XDG_CONFIG_HOME=str(tmp_path))


def test_nothing_planted_in_argv_or_output(shell, tmp_path):
    """Every exec and every write of an import, a set and a run, as the kernel saw them."""
    trace = tmp_path / "trace"
    (tmp_path / "env").write_text(f"OPENAI_API_KEY={standin.KEYS['openai']}\n")
    for arguments, stdin in ((["secret", "import", tmp_path / "env"], ""), (["secret", "set", "GITHUB_TOKEN"], standin.KEYS["github"]),
                             (["run", "coder", "--", "env"], "")):
        subprocess.run(["strace", "-f", "-qq", "-s", "100000", "-v", "-e", "trace=execve,openat,write", "-o", trace, SEKS, *arguments],
                       input=stdin, text=True, check=True, capture_output=True,
                       env={**shell.environment, "ASAN_OPTIONS": "detect_leaks=0", "ANTHROPIC_AUTH_TOKEN": standin.KEYS["anthropic"]})
        calls = trace.read_text()
        assert "execve(" in calls
        first, rest = calls.split("\n", 1)  # the environment that the test itself gave is in the first
        for key in standin.KEYS.values():
            assert key not in rest, key
        made = re.findall(r"openat\([^\n]*O_CREAT[^\n]*, (0[0-7]+)\)", rest)
        assert all(int(mode, 8) & 0o077 == 0 for mode in made), made


def test_a_value_on_the_command_line_is_refused(shell):
    done = shell.run("secret", "set", "OPENAI_API_KEY", "sk-typed-here", want=2)
    assert "not taken from the command line" in done.stderr and "sk-typed-here" not in done.stderr


# ---- secrets ----

def test_secret_at_a_prompt(shell):
    child = shell.type("secret", "set", "team/deploy")
    value = "v" * 6000  # longer than a line that a terminal collects
    child.expect("Value of team/deploy")
    assert child.waitnoecho(20)
    for i in range(0, len(value), 500):
        child.send(value[i:i + 500])
    child.send("\x7fv\r")
    shown = end(child)
    assert "stored team/deploy" in shown and "vvv" not in shown
    assert "team/deploy" in [s["name"] for s in shell.json("secret", "list")["secrets"]]
    child = shell.type("secret", "rm", "team/deploy")
    child.expect(r"Delete team/deploy\?.*\[y/N\]: ")
    child.sendline("n")
    assert "left as it is" in end(child, want=1)
    assert "deleted team/deploy" in shell.run("secret", "rm", "team/deploy").stderr
    shell.run("secret", "rm", "team/deploy", want=4)


def test_ctrl_c_at_a_prompt_restores_the_terminal(shell):
    child = shell.type("secret", "set", "NEVER")
    child.expect("Value of NEVER")
    assert child.waitnoecho(20)
    child.sendintr()
    child.read()
    child.close()
    assert child.signalstatus == signal.SIGINT
    assert "NEVER" not in shell.run("secret", "list").stdout


def test_secret_from_file_and_stdin(shell, tmp_path):
    (tmp_path / "value").write_text("first\n")
    assert shell.json("secret", "set", "FROM_FILE", "--file", tmp_path / "value")["secret"]["version"] == 1
    assert "replaced FROM_FILE" in shell.run("secret", "set", "FROM_FILE", stdin="second").stderr
    assert "line break" in shell.run("secret", "set", "FROM_FILE", stdin="a\nb", want=1).stderr
    assert "is empty" in shell.run("secret", "set", "FROM_FILE", stdin="", want=1).stderr
    shell.run("secret", "rm", "FROM_FILE")


def test_import(shell, tmp_path):
    env = tmp_path / ".env"
    env.write_text(f"GOOGLE_API_KEY={standin.KEYS['gemini']}\nOTHER='x y'\nOPENAI_API_KEY=seks_openai_abc\n")
    answer = shell.json("secret", "import", env)
    assert answer["stored"] == ["GEMINI_API_KEY"], "the SDK's other name for it"
    assert "token of a broker" in answer["skipped"]["OPENAI_API_KEY"] and "--all" in answer["skipped"]["OTHER"]
    assert "OTHER" in shell.json("secret", "import", "--all", "-", stdin=env.read_text())["stored"]
    shell.run("secret", "rm", "OTHER")
    env.write_text("ANTHROPIC_API_KEY=never-stored\nthis is no assignment\n")
    versions = {s["name"]: s["version"] for s in shell.json("secret", "list")["secrets"]}
    assert "line 2" in shell.run("secret", "import", env, want=1).stderr
    assert versions == {s["name"]: s["version"] for s in shell.json("secret", "list")["secrets"]}
    env.write_text("NOTHING=known\n")
    shell.run("secret", "import", env, want=4)


# ---- agents and tokens ----

def test_agents(shell):
    made = shell.json("agent", "add", "reader", "--direct-access", "OPENAI_API_KEY,GITHUB_TOKEN")
    assert made["agent"]["direct_access"] == ["OPENAI_API_KEY", "GITHUB_TOKEN"]
    assert "choose another name" in shell.run("agent", "add", "reader", want=1).stderr
    shell.run("agent", "set", "reader", "--name", "writer", "--direct-access", "none")
    listed = shell.run("agent", "list").stdout
    assert re.search(r"^NAME +DIRECT ACCESS", listed) and re.search(r"^writer +none", listed, re.M) and "\033" not in listed
    assert shell.run("agent", "renew", "writer").stdout.startswith("seks_agent_")
    assert shell.json("agent", "show", made["agent"]["id"])["agent"]["name"] == "writer"
    shell.run("agent", "rm", "writer", "--yes")
    assert "seks agent list" in shell.run("agent", "show", "writer", want=4).stderr


def test_tokens(shell, broker):
    shell.run("agent", "add", "tokens")
    made = shell.json("token", "add", "tokens", "openai", "--expires", "1h")
    url = made["base_url"]
    assert made["token"]["expires_at"] and not dead(url, made["value"])
    renewed = shell.run("token", "renew", "tokens", "openai").stdout.strip()
    assert dead(url, made["value"]) and not dead(url, renewed)
    assert "provider" in shell.run("token", "add", "tokens", "nosuch", want=1).stderr
    shell.run("token", "add", "tokens", "openai")
    assert "give its id" in shell.run("token", "rm", "tokens", "openai", want=2).stderr
    shell.run("token", "rm", "tokens", made["token"]["id"])
    assert dead(url, renewed)
    assert re.search(r"^tokens +openai", shell.run("token", "list").stdout, re.M)
    shell.run("agent", "rm", "tokens")


# ---- env ----

def test_env_formats(shell, broker):
    wanted = shell.json("env", "coder", "--format", "json")
    assert wanted["OPENAI_BASE_URL"] == broker.url + "/api/openai" and wanted["GITHUB_TOKEN"].startswith("seks_github_")
    shown = shell.run("env", "coder", "--format", "shell", GH_TOKEN="real", OPENAI_API_KEY="real").stdout
    assert "unset GH_TOKEN\n" in shown and "unset OPENAI_API_KEY" not in shown
    sourced = subprocess.run(["sh", "-c", f"{shown}\n{sys.executable} -c '{SHOW}'"], capture_output=True, text=True,
                             env={"GH_TOKEN": "real", "PATH": os.environ["PATH"]}, check=True)
    seen = json.loads(sourced.stdout)
    assert wanted.items() <= seen.items() and "GH_TOKEN" not in seen
    for form in ("dotenv", "docker"):
        out = shell.home / form
        assert shell.run("env", "coder", "--format", form, "--output", out).stdout == ""
        assert stat.S_IMODE(out.stat().st_mode) == 0o600
        lines = out.read_text().splitlines()
        written = dict(line.split("=", 1) for line in lines)
        if form == "dotenv":  # quotes what holds a space
            written = {name: value.strip('"') for name, value in written.items()}
        assert written == wanted
    assert set(shell.json("env", "coder", "--only", "brave")) == {"BRAVE_API_KEY", "BRAVE_SEARCH_API_KEY", "BRAVE_BASE_URL"}
    assert "AWS_ACCESS_KEY_ID" in shell.run("env", "coder", "--only", "aws", want=4).stderr
    shell.run("env", "coder", "--only", "nosuch", want=2)
    shell.run("env", "coder", "--format", "ini", want=2)
    shell.run("env", "nobody", want=4)


def test_tokens_are_kept_while_they_live(shell, broker):
    first = shell.json("env", "coder")
    count = len(shell.json("token", "list", "coder")["tokens"])
    assert shell.json("env", "coder") == first
    assert len(shell.json("token", "list", "coder")["tokens"]) == count
    (kept,) = json.loads(shell.file("tokens.json").read_text())[broker.url].values()
    ids = {provider: token["id"] for provider, token in kept["tokens"].items()}
    shell.run("token", "rm", "coder", ids["openai"])
    again = shell.json("env", "coder")
    assert again["OPENAI_API_KEY"] != first["OPENAI_API_KEY"] and again["GITHUB_TOKEN"] == first["GITHUB_TOKEN"]
    shell.run("token", "renew", "coder", ids["github"])  # on another machine, say
    assert not dead(broker.url + "/api/openai", shell.json("env", "coder")["OPENAI_API_KEY"])
    assert shell.json("env", "coder")["GITHUB_TOKEN"] not in (first["GITHUB_TOKEN"], "")


def test_tokens_for_one_run(shell, broker):
    before = {t["id"] for t in shell.json("token", "list", "coder")["tokens"]}
    kept = shell.json("env", "coder")["OPENAI_API_KEY"]
    short = shell.json("env", "coder", "--ttl", "1s", "--only", "openai")["OPENAI_API_KEY"]
    assert short != kept
    made = {t["id"] for t in shell.json("token", "list", "coder")["tokens"]} - before
    assert len(made) == 1
    end_of_life = time.monotonic() + 30
    while not dead(broker.url + "/api/openai", short) and time.monotonic() < end_of_life:
        time.sleep(0.1)
    assert shell.json("env", "coder")["OPENAI_API_KEY"] == kept
    assert not made & {t["id"] for t in shell.json("token", "list", "coder")["tokens"]}, "the expired one is not cleared away"


# ---- run ----

def test_run_hides_the_real_keys(shell, broker):
    real = {name: standin.KEYS[p] for p, name in SECRET_NAMES.items()}
    real.update(ANTHROPIC_AUTH_TOKEN=standin.KEYS["anthropic"], GH_TOKEN=standin.KEYS["github"], AWS_SESSION_TOKEN="x",
                AWS_ACCESS_KEY_ID="AKIA", SEKS_ACCOUNT_KEY="")
    text = python(shell, SHOW, **real, HARMLESS="stays")
    seen = json.loads(text)
    assert seen["OPENAI_API_KEY"].startswith("seks_openai_") and seen["OPENAI_BASE_URL"] == broker.url + "/api/openai"
    assert seen["HARMLESS"] == "stays"
    for name in ("ANTHROPIC_AUTH_TOKEN", "GH_TOKEN", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "SEKS_ACCOUNT_KEY"):
        assert name not in seen
    for key in standin.KEYS.values():
        assert key not in text
    kept = json.loads(python(shell, SHOW, "--keep", "GH_TOKEN,BRAVE_API_KEY", GH_TOKEN="mine", BRAVE_API_KEY="mine"))
    assert kept["GH_TOKEN"] == kept["BRAVE_API_KEY"] == "mine"


def test_run_past_a_proxy(shell):
    seen = json.loads(python(shell, SHOW, HTTP_PROXY="http://127.0.0.1:9", NO_PROXY="a.example"))
    assert seen["NO_PROXY"] == "a.example,127.0.0.1"
    assert "NO_PROXY" not in json.loads(python(shell, SHOW))


def test_run_passes_the_status_on(shell):
    shell.run("run", "coder", "--", "sh", "-c", "exit 37", want=37)
    shell.run("run", "coder", "--", "no-such-command-here", want=127)
    shell.run("run", "coder", "--", "/etc/passwd", want=126)
    shell.run("run", "nobody", "--", "true", want=125)
    assert "behind --" in shell.run("run", "coder", want=2).stderr
    shell.run("run", "coder", "--", "sh", "-c", "kill -TERM $$", want=-signal.SIGTERM)


def test_run_is_the_command(shell):
    """No process stands between: Ctrl-C and all else reach the command alone."""
    child = shell.type("run", "coder", "--", sys.executable, "-u", "-c", textwrap.dedent("""
        import os, signal, sys, time
        def stop(*_):
            print("stopped by Ctrl-C")
            sys.exit(5)
        signal.signal(signal.SIGINT, stop)
        print("pid", os.getpid())
        signal.pause()
    """))
    child.expect(r"pid (\d+)")
    assert int(child.match[1]) == child.pid
    child.sendintr()
    child.expect("stopped by Ctrl-C")
    end(child, want=5)


# Scripts as their authors write them: they know no broker.
SDK_SCRIPTS = {
    "openai": """
        import openai
        client = openai.OpenAI()
        print(client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}]).choices[0].message.content)
    """,
    "anthropic": """
        import anthropic
        client = anthropic.Anthropic()
        print(client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]).content[0].text)
    """,
    "gemini": """
        from google import genai
        client = genai.Client()
        print(client.models.generate_content(model="m", contents="Hi").text)
    """,
    "cloudflare": """
        import cloudflare
        print("Hello!" if [z.name for z in cloudflare.Cloudflare().zones.list()] == ["example.com"] else "no")
    """,
    # These two SDKs read no variable: the one line that takes both from the environment.
    "github": """
        import os, github
        client = github.Github(auth=github.Auth.Token(os.environ["GITHUB_TOKEN"]), base_url=os.environ["GITHUB_API_URL"])
        print("Hello!" if client.get_user().login == "octo" else "no")
    """,
    "notion": """
        import os, notion_client
        client = notion_client.Client(auth=os.environ["NOTION_TOKEN"], base_url=os.environ["NOTION_BASE_URL"])
        print("Hello!" if client.users.me()["name"] == "Bot" else "no")
    """,
}


@pytest.mark.parametrize("provider", SDK_SCRIPTS)
def test_run_carries_the_sdks(shell, providers, provider):
    before = len(providers[provider].seen)
    assert python(shell, SDK_SCRIPTS[provider], ANTHROPIC_AUTH_TOKEN="real") == "Hello!\n"
    assert len(providers[provider].seen) > before


NODE_SCRIPTS = {
    "openai": """
        import OpenAI from "openai";
        const answer = await new OpenAI().chat.completions.create({model: "m", messages: [{role: "user", content: "Hi"}]});
        console.log(answer.choices[0].message.content);
    """,
    "anthropic": """
        import Anthropic from "@anthropic-ai/sdk";
        const answer = await new Anthropic().messages.create({model: "m", max_tokens: 9, messages: [{role: "user", content: "Hi"}]});
        console.log(answer.content[0].text);
    """,
    "gemini": """
        import {GoogleGenAI} from "@google/genai";
        console.log((await new GoogleGenAI({}).models.generateContent({model: "m", contents: "Hi"})).text);
    """,
}


@pytest.mark.parametrize("provider", NODE_SCRIPTS)
def test_run_carries_the_npm_sdks(shell, provider, monkeypatch):
    monkeypatch.chdir(ROOT / "tests/e2e")  # where node looks for packages
    script = textwrap.dedent(NODE_SCRIPTS[provider])
    assert shell.run("run", "coder", "--", "node", "--input-type=module", "-e", script).stdout == "Hello!\n"


# ---- audit, providers, doctor ----

def test_audit(shell):
    python(shell, SDK_SCRIPTS["openai"])
    records = shell.json("audit", "list", "--agent", "coder", "--provider", "openai", "--action", "call", "--limit", "2")["records"]
    assert len(records) == 2 and {r["kind"] for r in records} == {"intent", "outcome"}
    lines = shell.run("audit", "list", "--limit", "5").stdout.splitlines()
    assert len(lines) == 5 and int(lines[0].split()[0]) > int(lines[1].split()[0])
    older = shell.json("audit", "list", "--limit", "1", "--before", str(records[0]["seq"]))["records"]
    assert older[0]["seq"] < records[0]["seq"]
    shell.run("audit", "list", "--limit", "0", want=2)
    shell.run("audit", "list", "--agent", "nobody", want=4)


def test_audit_tail(shell):
    child = shell.type("audit", "tail", "--limit", "1", "--json", "--agent", "coder")
    child.expect(r'"seq": ?(\d+)')
    first = int(child.match[1])
    python(shell, SDK_SCRIPTS["notion"])
    child.expect(r'\{"seq": ?(\d+)[^\n]*"provider": ?"notion"')
    assert int(child.match[1]) > first
    child.sendintr()
    child.read()
    child.close()


def test_providers(shell):
    assert re.search(r"^anthropic +claude +ANTHROPIC_API_KEY", shell.run("providers").stdout, re.M)
    one = shell.json("providers", "claude")["provider"]
    assert one["env"]["ANTHROPIC_BASE_URL"] == "{base_url}" and "ANTHROPIC_AUTH_TOKEN" in one["hidden_env"]
    assert "OPENAI_BASE_URL={base_url}" in shell.run("providers", "openai").stdout
    shell.run("providers", "nosuch", want=4)


@pytest.fixture(scope="module")
def troubled(tmp_path_factory, providers, certificates):
    """A broker with a provider for each trouble; and its account."""
    rows = {r["name"]: r for r in rows_for(providers, certificates)}
    rows["openai"]["test_path"] = "/v1/x/status/401"
    rows["anthropic"]["test_path"] = "/v1/x/status/503"
    rows["github"]["origin"] = "https://127.0.0.1:9"
    rows["notion"]["test_path"] = "/v1/oauth/x"
    broker = Broker(tmp_path_factory.mktemp("troubled"), list(rows.values()))
    account = Account(broker, "doctor@example.com")
    for provider, name in SECRET_NAMES.items():
        account.put_secret(name, standin.KEYS[provider])
    account.agent("patient")
    yield broker, account.call("POST", "/v1/account/keys", {"name": "x"}, 201)["key"]
    broker.stop()


def test_doctor_names_each_trouble(troubled, tmp_path):
    broker, key = troubled
    shell = Shell(tmp_path, broker.url)
    shown = shell.run("doctor", want=1, SEKS_ACCOUNT_KEY=key).stdout
    for line in (r"BAD +openai +the provider refuses the stored key \(401\); .*seks secret set OPENAI_API_KEY", r"BAD +anthropic +answers 503",
                 r"BAD +github +the broker: .*\(502\)", r"BAD +notion +the broker: .*\(403\)", r"ok +brave +answers 200"):
        assert re.search(line, shown), (line, shown)
    os.kill(broker.pid("vault"), signal.SIGSTOP)
    try:
        assert re.search("BAD +(parts|login)", shell.run("doctor", want=5, SEKS_ACCOUNT_KEY=key).stdout)
    finally:
        os.kill(broker.pid("vault"), signal.SIGCONT)


def test_audit_tail_waits_for_the_broker(troubled, tmp_path):
    broker, key = troubled
    shell = Shell(tmp_path, broker.url)
    child = shell.type("audit", "tail", SEKS_ACCOUNT_KEY=key)
    child.expect(r"\d+ +20\d\d-")
    os.kill(broker.pid("vault"), signal.SIGSTOP)
    try:
        child.expect("trying again")
    finally:
        os.kill(broker.pid("vault"), signal.SIGCONT)
    shell.run("agent", "add", "later", SEKS_ACCOUNT_KEY=key)
    child.expect("agent.create")
    child.sendintr()
    child.read()
    child.close()


def test_doctor(shell, broker, tmp_path):
    answer = shell.json("doctor", "coder", "--only", "openai,github,brave")
    assert answer["ok"], answer
    assert [s["step"] for s in answer["steps"]] == ["broker", "parts", "version", "login", "secrets", "agent", "tokens",
                                                    "openai", "github", "brave"]
    stranger = Shell(tmp_path, broker.url)
    assert re.search("BAD +login .*seks login", stranger.run("doctor", want=3).stdout)
    assert re.search("BAD +broker .*--server", stranger.run("doctor", "--server", "http://127.0.0.1:9", want=5).stdout)
    shell.run("secret", "set", "GITHUB_TOKEN", stdin="a wrong key")
    shown = shell.run("doctor", "coder", "--only", "github", want=0).stdout  # the stand-in says 418 to a wrong key
    assert "answers 418" in shown
    shell.run("secret", "set", "GITHUB_TOKEN", stdin=standin.KEYS["github"])
    assert re.search("BAD +secrets .*seks secret set AWS_ACCESS_KEY_ID", shell.run("doctor", "coder", "--only", "aws", want=4).stdout)


# ---- how it speaks ----

def test_errors_are_one_line_with_the_next_step(shell):
    for arguments, status, word in ((["providers", "--server", "http://127.0.0.1:9"], 5, "--server"), (["nosuch"], 2, "seks help"),
                                    (["secret", "set"], 2, "seks help secret set"), (["whoami", "--server", "ftp://x"], 2, "http"),
                                    (["agent", "show", "a\x1b[31mb"], 4, "seks agent list"), (["env", "coder", "--ttl", "x"], 2, "15m")):
        done = shell.run(*arguments, want=status)
        assert done.stderr.count("\n") == 1 and done.stderr.startswith("seks: ") and word in done.stderr, done.stderr
        assert "\x1b" not in done.stderr and done.stdout == ""
        if arguments[0] != "nosuch":
            answer = json.loads(shell.run(*arguments, "--json", want=status).stdout)
            assert answer["ok"] is False and answer["exit"] == status and answer["error"]


def test_colours_on_a_terminal_alone(shell):
    assert "\x1b[" in end(shell.type("agent", "list"))
    assert "\x1b[" not in end(shell.type("agent", "list", NO_COLOR="1"))
    assert "\x1b[" not in end(shell.type("agent", "list", TERM="dumb"))


def commands(shell):
    """Name and verb of each row of `seks help`."""
    rows = re.findall(r"^  seks ([a-z]+)((?: [a-z]+)?)", shell.run("help").stdout, re.M)
    return [(name + verb).split() for name, verb in rows]


def test_documented(shell):
    """The manual page and docs/cli.md have every command and every option of the table."""
    page, text = (ROOT / "cli/seks.1").read_text().replace("\\-", "-"), (ROOT / "docs/cli.md").read_text()
    rows = commands(shell)
    assert len(rows) > 30
    for words in rows:
        assert re.search(rf'^\.BI? "?seks {" ".join(words)}\b', page, re.M), words
        assert f"seks {' '.join(words)}" in text, words
        if words not in (["keygen"], ["audit", "verify"]):
            for option in re.findall(r"^  (--[a-z-]+)", shell.run("help", *words).stdout, re.M):
                assert option in page and option in text, option
    groff = subprocess.run(["groff", "-man", "-ww", "-Tutf8", "-z", ROOT / "cli/seks.1"], capture_output=True, text=True)
    assert groff.returncode == 0 and groff.stderr == ""


def complete(shell, line):
    script = shell.run("completion", "bash").stdout
    words = line.split(" ")
    asked = f"COMP_WORDS=({' '.join(map(repr, words))}); COMP_CWORD={len(words) - 1}; _seks; echo ${{COMPREPLY[@]}}"
    return subprocess.run(["bash", "-c", f"{script}\n{asked}"], capture_output=True, text=True, check=True).stdout.split()


def test_completion(shell):
    assert {w[0] for w in commands(shell)} == set(complete(shell, "seks "))
    assert complete(shell, "seks secret im") == ["import"]
    assert "--direct-access" in complete(shell, "seks agent add x --")
    assert complete(shell, "seks env coder --format d") == ["dotenv", "docker"]
    assert "--keep" in complete(shell, "seks run coder --")
    for name in ("bash", "zsh", "fish"):
        script = shell.run("completion", name).stdout
        for words in commands(shell):
            assert words[-1] in script
    shell.run("completion", "csh", want=2)


def test_completion_in_fish(shell, tmp_path):
    (tmp_path / "seks.fish").write_text(shell.run("completion", "fish").stdout)
    (tmp_path / "a-file").touch()

    def offered(line):
        done = subprocess.run(["fish", "-c", f"source seks.fish; complete -C '{line}'"], cwd=tmp_path, capture_output=True, text=True,
                              check=True, env=shell.environment)
        return [each.split("\t")[0] for each in done.stdout.splitlines()]
    assert sorted(offered("seks secret ")) == ["import", "list", "rm", "set"]
    assert "a-file" in offered("seks secret import ") and "set" not in offered("seks secret import ")
    assert "a-file" in offered("seks secret set X --file ") and offered("seks env x --format do") == ["docker", "dotenv"]


@pytest.mark.parametrize("name, check", [("zsh", ["zsh", "-n"]), ("fish", ["fish", "--no-execute"]), ("bash", ["bash", "-n"])])
def test_completion_parses(shell, tmp_path, name, check):
    (tmp_path / "script").write_text(shell.run("completion", name).stdout)
    subprocess.run([*check, tmp_path / "script"], check=True)
