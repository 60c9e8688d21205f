"""The official npm SDKs against the broker; sdks.mjs makes the calls."""
import json
import pathlib
import subprocess

import pytest

import standin


@pytest.fixture(scope="module")
def results(broker, tokens):
    here = pathlib.Path(__file__).parent
    out = subprocess.run(["node", "sdks.mjs"], input=json.dumps({"url": broker.url, "tokens": tokens}), cwd=here,
                         capture_output=True, text=True, timeout=120)
    assert out.returncode == 0, out.stderr[-3000:]
    return json.loads(out.stdout.splitlines()[-1])


@pytest.mark.parametrize("name, want", [
    ("openai", "Hello!"), ("openai_stream", "Hello!"), ("openai_tools", "weather"), ("openai_file", "file-1"),
    ("anthropic0", "Hello!"), ("anthropic0_stream", "Hello!"), ("anthropic1", "Hello!"), ("anthropic1_stream", "Hello!"),
    ("octokit", "octo"), ("octokit_pages", [10, 11, 20, 21, 30, 31]), ("octokit_graphql", "octo"),
    ("gemini", "Hello!"), ("gemini_stream", "Hello!"), ("gemini_upload", "files/f1")])
def test_call(results, name, want):
    assert results[name] == want


@pytest.mark.parametrize("name, status, words, kind", [
    ("openai_error", 429, "slow down please", "RateLimitError"), ("anthropic0_error", 529, "too busy today", "InternalServerError"),
    ("anthropic1_error", 529, "too busy today", "OverloadedError"), ("octokit_error", 404, "Not Found here", "RequestError"),
    ("gemini_error", 403, "has been suspended", "ApiError")])
def test_error(results, name, status, words, kind):
    error = results[name]
    assert error["status"] == status and words in error["error"] and error["name"] == kind
    assert not any(key in error["error"] for key in standin.KEYS.values())
