"""GET /v1/account/audit: every filter, paging, and what is refused."""
import datetime

import pytest
import requests

import standin
from conftest import Account
from test_audit import wait_for


@pytest.fixture(scope="module")
def owner(broker):
    """An account with two agents, two providers, and calls that ended in different ways."""
    owner = Account(broker, "query@example.com")
    owner.put_secret("OPENAI_API_KEY", standin.KEYS["openai"])
    owner.put_secret("GITHUB_TOKEN", standin.KEYS["github"])
    owner.agents = [owner.agent(name)["agent"]["id"] for name in ("one", "two")]
    owner.tokens = {(a, p): owner.token(owner.agents[a], p) for a in (0, 1) for p in ("openai", "github")}
    owner.began = datetime.datetime.now(datetime.timezone.utc)
    owner.requests = {}
    for (a, provider), token in owner.tokens.items():
        for status in (200, 404, 503):
            answer = requests.get(f"{broker.url}/api/{provider}/x/status/{status}", headers={"Authorization": f"Bearer {token['value']}"})
            assert answer.status_code == status
            owner.requests[a, provider, status] = answer.headers["Seks-Request-Id"]
    wrong = requests.get(f"{broker.url}/api/github/x", headers={"Authorization": f"Bearer {owner.tokens[0, 'openai']['value']}"})
    assert wrong.status_code == 401
    wait_for(lambda: len(outcomes(owner)) == len(owner.requests))  # one may come a moment after its answer
    return owner


def ask(owner, want=200, **parameters):
    answer = owner.http.get(owner.broker.url + "/v1/account/audit", params=parameters)
    assert answer.status_code == want, answer.text
    return answer.json()


def outcomes(owner, **parameters):
    """The requests of the calls that the filters let through."""
    return {r["request"] for r in ask(owner, kind="outcome", limit=1000, **parameters)["records"]}


def expected(owner, fits):
    return {request for key, request in owner.requests.items() if fits(*key)}


def test_each_filter(owner):
    assert outcomes(owner) == expected(owner, lambda *_: True)
    for a in (0, 1):
        assert outcomes(owner, agent=owner.agents[a]) == expected(owner, lambda agent, *_: agent == a)
    token = owner.tokens[1, "github"]["token"]["id"]
    assert outcomes(owner, token=token) == expected(owner, lambda a, p, _: (a, p) == (1, "github"))
    assert outcomes(owner, provider="openai") == expected(owner, lambda _, p, __: p == "openai")
    assert outcomes(owner, status="404") == expected(owner, lambda _, __, s: s == 404)
    assert outcomes(owner, status="5xx") == expected(owner, lambda _, __, s: s == 503)
    assert outcomes(owner, status="2xx", provider="github", agent=owner.agents[0]) == {owner.requests[0, "github", 200]}
    assert outcomes(owner, status="500") == set()


def test_one_request(owner):
    request = owner.requests[0, "openai", 404]
    records = ask(owner, request=request)["records"]
    assert [r["kind"] for r in records] == ["outcome", "intent"]
    assert all(r["request"] == request and r["path"] == "/x/status/404" for r in records)
    assert records[0]["status"] == 404 and records[1]["status"] is None


def test_kinds_and_actions(owner):
    assert {r["action"] for r in ask(owner, kind="account", limit=1000)["records"]} >= {"secret.put", "agent.create", "token.create"}
    (denied,) = ask(owner, kind="denied", action="call")["records"]
    assert denied["reason"] == "token of another provider" and denied["agent"] == owner.agents[0]
    assert len(ask(owner, action="agent.create")["records"]) == 2


def test_times(owner):
    later = (owner.began + datetime.timedelta(hours=1)).isoformat()  # its "+" comes encoded
    assert outcomes(owner, since=owner.began.isoformat(), until=later) == expected(owner, lambda *_: True)
    assert ask(owner, until=owner.began.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), kind="outcome")["records"] == []
    assert ask(owner, since=later)["records"] == []
    day = owner.began.date() - datetime.timedelta(days=1)
    assert len(ask(owner, since=day.isoformat(), action="agent.create")["records"]) == 2
    assert ask(owner, until=day.isoformat())["records"] == []


def test_pages(owner):
    seen, before = [], None
    while True:
        page = ask(owner, limit=5, **({"before": before} if before else {}))
        assert len(page["records"]) <= 5
        seen += page["records"]
        before = page["next"]
        if before is None:
            break
    assert seen == ask(owner, limit=1000)["records"]
    numbers = [r["seq"] for r in seen]
    assert numbers == sorted(numbers, reverse=True) and len(set(numbers)) == len(numbers)
    assert {r["tenant"] for r in seen} == {owner.id}


@pytest.mark.parametrize("parameters, word", [
    ({"agent": "\0"}, "NUL"), ({"limit": "x"}, "limit"), ({"limit": "1001"}, "limit"), ({"before": "-1"}, "before"), ({"status": "4x"}, "status"),
    ({"status": "abc"}, "status"), ({"since": "yesterday"}, "since"), ({"until": "2026-13-01"}, "until"),
    ({"agnet": "x"}, "agnet"), ({"agent": "x" * 65}, "agent")])
def test_what_is_none_is_refused(owner, parameters, word):
    assert word in ask(owner, 400, **parameters)["error"]
