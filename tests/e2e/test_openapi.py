"""docs/openapi.yaml against the live gateway: every answer is one that the file describes."""
import pathlib
import re

import hypothesis
import pytest
import schemathesis
import yaml
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (content_type_conformance, response_schema_conformance,
                                               status_code_conformance)

from conftest import Account

ROOT = pathlib.Path(__file__).parents[2]
FILE = ROOT / "docs/openapi.yaml"
DOCUMENT = yaml.safe_load(FILE.read_text())
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
METHODS = ("get", "put", "post", "patch", "delete")
OPERATIONS = {(method.upper(), path): operation for path, item in DOCUMENT["paths"].items()
              for method, operation in item.items() if method in METHODS}

schema = schemathesis.openapi.from_path(FILE)


@pytest.fixture(scope="module")
def owner(broker):
    """An account of its own: what is generated may change it."""
    account = Account(broker, "openapi@example.com")
    account.key = account.call("POST", "/v1/account/keys", {"name": "openapi"}, 201)["key"]
    account.agent_token = account.agent("described")["token"]
    return account


@schema.parametrize()
@hypothesis.settings(max_examples=8, deadline=None, derandomize=True,
                     suppress_health_check=list(hypothesis.HealthCheck))
def test_answers_conform(case, broker, owner):
    operation = OPERATIONS[(case.operation.method.upper(), case.operation.path)]
    headers = {}
    if "agent" in operation["tags"]:
        headers["Authorization"] = f"Bearer {owner.agent_token}"
    elif operation.get("security", True) != []:
        headers["Authorization"] = f"Bearer {owner.key}"
    case.call_and_validate(base_url=broker.url, headers=headers, checks=CHECKS)


def test_every_route_is_described():
    source = (ROOT / "services/gateway/api.c").read_text()
    macros = dict(re.findall(r'#define (ACCOUNT|AGENTS|TOKENS) (.+)', source))
    for _ in macros:
        macros = {n: re.sub(r"\b(ACCOUNT|AGENTS|TOKENS)\b", lambda m: macros[m[1]], v) for n, v in macros.items()}
    routes = set()
    for method, path in re.findall(r'\{"([A-Z]+)", ([^,]+), (?:VAULT_)?OP_', source):
        path = re.sub(r"\b(ACCOUNT|AGENTS|TOKENS)\b", lambda m: macros[m[1]], path)
        routes.add((method, "".join(re.findall(r'"([^"]*)"', path))))
    assert len(routes) >= 30
    old_names = {(m, p) for m, p in routes if ("POST", "/v1" + p) in routes}
    assert routes - old_names == set(OPERATIONS) - {("GET", "/healthz"), ("GET", "/readyz")}
