"""Whatever dies in the middle: each call that reached a provider was written down before, once, and each
intent gets exactly one outcome, its own or `unknown`.

The long run is `tests/audit/kills.sh`: 10,000 requests and 100 kills."""
import collections
import contextlib
import datetime
import os
import random
import signal
import threading
import time

import requests

from test_audit import new_broker, records_of, verify, wait_for

REQUESTS = int(os.environ.get("SEKS_KILL_REQUESTS", 400))
KILLS = int(os.environ.get("SEKS_KILLS", 10))
SEED = int(os.environ.get("SEKS_KILL_SEED", time.time_ns() % 1000000))
CLIENTS = 6
OUTCOME_WAIT_S = 6  # more than the few seconds after which a proxy tells again
DAEMONS = ["gateway", "vault", "proxy", "audit"]


class Load:
    """Clients that ask for one path each, /x/echo/N, and keep what they were answered."""

    def __init__(self, broker):
        self.broker, self.lock, self.next, self.answers = broker, threading.Lock(), 0, {}
        self.threads = [threading.Thread(target=self.work) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def work(self):
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {self.broker.token}"
        while True:
            with self.lock:
                number, self.next = self.next, self.next + 1
            if number >= REQUESTS:
                return
            self.answers[number] = self.ask(session, f"{self.broker.url}/api/openai/x/echo/{number}")

    def ask(self, session, url):
        while True:
            try:
                return session.get(url, timeout=30).status_code
            except requests.RequestException as error:
                if "NewConnectionError" not in repr(error):
                    return None  # the gateway was lost in the middle
                time.sleep(0.05)  # it is away: nothing was asked

    def wait_for(self, count):
        while len(self.answers) < min(count, REQUESTS) and any(t.is_alive() for t in self.threads):
            time.sleep(0.01)


def kill_now_and_then(broker, load, chance):
    """KILLS kills, spread over the requests."""
    killed = collections.Counter()
    for i in range(KILLS):
        load.wait_for((i + 1) * REQUESTS // (KILLS + 1))
        time.sleep(chance.random() * 0.05)
        name = chance.choice(DAEMONS)
        with contextlib.suppress(IndexError, ProcessLookupError):  # it is not up again yet
            os.kill(broker.pid(name), signal.SIGKILL)
            killed[name] += 1
    return killed


def at(record):
    return datetime.datetime.fromisoformat(record["time"].replace("Z", "+00:00")).timestamp()


def check(records, load, seen):
    """SEEN: when the provider got a request for each path."""
    intents, outcomes = collections.defaultdict(list), collections.defaultdict(list)
    for record in records:
        if record["kind"] == "intent":
            intents[record["path"]].append(record)
        elif record["kind"] == "outcome":
            outcomes[record["request"]].append(record)
    for path, times in seen.items():
        (intent,) = intents[path]
        assert len(times) == 1, (path, times, intent)
        assert at(intent) <= times[0]
    for path, (intent,) in intents.items():
        (outcome,) = outcomes.pop(intent["request"])
        assert outcome["seq"] > intent["seq"] and outcome["path"] == path
        known = outcome["reason"] != "unknown"
        assert path in seen or not known or outcome["status"] != 200
    assert not outcomes, "outcomes without an intent"
    for number, status in load.answers.items():
        if status == 200:  # an answer that was given is an outcome, unless its proxy died with it
            (intent,) = intents[f"/x/echo/{number}"]
            assert f"/x/echo/{number}" in seen


def test_one_intent_and_one_outcome(tmp_path, providers, certificates, monkeypatch):
    monkeypatch.setenv("SEKS_OUTCOME_WAIT", str(OUTCOME_WAIT_S))
    print(f"SEKS_KILL_SEED={SEED}")
    broker = new_broker(tmp_path, providers, certificates)
    directory, begin = tmp_path / "data/audit", len(providers["openai"].seen)
    load = Load(broker)
    try:
        killed = kill_now_and_then(broker, load, random.Random(SEED))
        for thread in load.threads:
            thread.join()
    except BaseException:
        broker.process.terminate()
        raise

    def settled():
        kinds = collections.Counter(r["kind"] for r in records_of(directory))
        return kinds["intent"] == kinds["outcome"]
    wait_for(settled, 4 * OUTCOME_WAIT_S)
    broker.stop()
    seen = collections.defaultdict(list)
    for call in providers["openai"].seen[begin:]:
        seen[call["path"].removeprefix("/v1")].append(call["time"])
    records = records_of(directory)
    check(records, load, seen)
    status, verdict, findings = verify(directory, tmp_path / "data/keys/audit-sign.pub", "--head", tmp_path / "data/vault/audit.head")
    assert status == 0 and not findings, verdict
    answers = collections.Counter(load.answers.values())
    unknown = sum(r["reason"] == "unknown" for r in records)
    print(f"{REQUESTS} requests, killed {dict(killed)}: answers {dict(answers)}, {len(seen)} reached the provider, "
          f"{sum(r['kind'] == 'intent' for r in records)} intents, {unknown} outcomes unknown; {verdict}")
    assert sum(killed.values()) > KILLS // 2 and answers[200] > REQUESTS // 4
