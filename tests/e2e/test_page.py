"""The web page: how it is served, and what story.mjs does with it in Chromium."""
import json
import pathlib
import re
import subprocess
import sys

import pytest
import requests

HERE = pathlib.Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "services/gateway/page"
SCENARIOS = re.findall(r"\w+", re.search(r"^const scenarios = \{(.*)\};$", (HERE / "story.mjs").read_text(), re.M)[1])


@pytest.fixture(scope="module")
def told():
    done = subprocess.run([sys.executable, HERE / "page_world.py", "node", "story.mjs"], capture_output=True, text=True,
                          timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["name"]: line for line in lines}


def test_the_story_has_all_its_parts():
    assert len(SCENARIOS) >= 6


@pytest.mark.parametrize("name", SCENARIOS)
def test_in_the_browser(told, name):
    assert told[name]["ok"], told[name]["error"]


def assets(broker):
    index = requests.get(broker.url + "/").text
    return ["/", *re.findall(r'(?:href|src)="(/assets/[^"]+)"', index)]


def test_all_files_are_served_at_once_and_small(broker):
    paths = assets(broker)
    assert {path.removeprefix("/assets/") for path in paths[1:]} == {f.name for f in PAGE.iterdir()} - {"index.html"}
    answers = [requests.get(broker.url + path, headers={"Accept-Encoding": "identity"}) for path in paths]
    assert all(answer.status_code == 200 and answer.content for answer in answers)
    assert sum(len(answer.content) for answer in answers) < 100 * 1024
    assert answers[0].content == (PAGE / "index.html").read_bytes()


def test_nothing_inline_and_nothing_from_elsewhere(broker):
    for path in assets(broker):
        answer = requests.get(broker.url + path)
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";") if " " in part.strip())
        assert policy["default-src"] in ("'self'", "'none'") and "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert not re.search(r"\bstyle=|\son\w+=|https?://(?!www\.w3\.org/2000/svg)|innerHTML|insertAdjacentHTML|\beval\(", answer.text), path


def test_a_known_file_is_not_sent_again(broker):
    for path in assets(broker):
        first = requests.get(broker.url + path, headers={"Accept-Encoding": "gzip"}, stream=True)
        assert first.headers["Content-Encoding"] == "gzip" and first.headers["Vary"] == "Accept-Encoding"
        assert int(first.headers["Content-Length"]) < len(first.content) or path.endswith(".svg")
        again = requests.get(broker.url + path, headers={"If-None-Match": first.headers["ETag"]})
        assert again.status_code == 304 and not again.content and again.headers["ETag"] == first.headers["ETag"]
        other = requests.get(broker.url + path, headers={"If-None-Match": 'W/"another"', "Accept-Encoding": "identity"})
        assert other.status_code == 200 and "Content-Encoding" not in other.headers


def test_a_browser_does_not_ask_for_a_password(broker):
    """A 401 with Basic opens a window of the browser's own over the page."""
    for method, path in (("GET", "/v1/account"), ("POST", "/v1/session"), ("GET", "/v1/account/secrets")):
        answer = requests.request(method, broker.url + path, json={"email": "x@example.com", "password": "12345678"} if method == "POST" else None)
        assert answer.status_code == 401 and "Basic" not in answer.headers["WWW-Authenticate"]
