"""Logging in as a stranger sees it: known and unknown e-mails look alike, and tries run out, but not for the owner."""
import http.client
import json
import statistics
import time

import pytest

from conftest import PASSWORD, Account


def log_in(broker, email, password, address="127.0.0.1"):
    connection = http.client.HTTPConnection("127.0.0.1", broker.port, timeout=60, source_address=(address, 0))
    begin = time.perf_counter()
    connection.request("POST", "/v1/session", json.dumps({"email": email, "password": password}))
    answer = connection.getresponse()
    body = answer.read()
    seconds = time.perf_counter() - begin
    connection.close()
    return answer.status, body, seconds


@pytest.fixture(scope="module")
def owner(broker):
    return Account(broker, "throttled@example.com")


def test_known_and_unknown_look_alike(broker):
    Account(broker, "alike@example.com")
    known, unknown = [], []
    for i in range(9):
        known.append(log_in(broker, "alike@example.com", f"wrong {i}"))
        unknown.append(log_in(broker, f"nobody{i}@example.com", f"wrong {i}"))
    assert {(status, body) for status, body, _ in known + unknown} == {(401, known[0][1])}
    ratio = statistics.median(s for *_, s in known) / statistics.median(s for *_, s in unknown)
    assert 0.5 < ratio < 2, ratio  # without a hash the one would take a twentieth


def test_tries_run_out_but_not_for_the_owner(broker, owner):
    home, away = "127.0.0.41", "127.0.0.42"
    assert log_in(broker, owner.email, PASSWORD, home)[0] == 200
    statuses = [log_in(broker, owner.email, f"wrong {i}", away)[0] for i in range(14)]
    assert statuses[:10] == [401] * 10 and 429 in statuses[10:]
    # the same for an e-mail that nobody has
    nobody = [log_in(broker, "nobody@throttled.example", f"wrong {i}", away) for i in range(14)]
    assert [status for status, *_ in nobody][:10] == [401] * 10 and 429 in [status for status, *_ in nobody][10:]
    # other spellings of the e-mail are no other account
    for spelling in ("THROTTLED@example.com", " throttled@Example.com "):
        deadline = time.monotonic() + 10
        while log_in(broker, spelling, "wrong", away)[0] != 429:
            assert time.monotonic() < deadline
    # where the owner was before, a wrong try and the right one go on as ever
    assert log_in(broker, owner.email, "wrong", home)[0] == 401
    assert log_in(broker, owner.email, PASSWORD, home)[0] == 200
    # and the session that there is
    assert owner.call("GET", "/v1/account")["account"]["email"] == owner.email


def test_who_is_refused_is_told_how_long(broker, owner):
    """Retry-After is the time after which one more try is let through."""
    address = "127.0.0.43"

    def attempt():
        connection = http.client.HTTPConnection("127.0.0.1", broker.port, timeout=60, source_address=(address, 0))
        connection.request("POST", "/v1/session", json.dumps({"email": "waits@throttled.example", "password": "wrong one"}))
        answer = connection.getresponse()
        got = answer.status, answer.headers.get("Retry-After"), json.loads(answer.read())["error"]
        connection.close()
        return got

    deadline = time.monotonic() + 60
    while (got := attempt())[0] == 401 and time.monotonic() < deadline:
        assert got[1] is None
    status, wait, sentence = got
    assert status == 429 and 1 <= int(wait) <= 60 and sentence == f"too many attempts; try again in {wait} s"
    time.sleep(int(wait))  # it is what is tested: the wait that was told is enough
    assert attempt()[0] == 401


def test_wrong_old_passwords_run_out(broker, owner):
    statuses = [owner.http.post(broker.url + "/v1/account/password", json={"old": f"wrong {i}", "new": "another long one"}).status_code
                for i in range(13)]
    assert statuses[:10] == [401] * 10 and 429 in statuses[10:]
