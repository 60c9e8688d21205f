"""The official Python SDKs, unmodified, against the broker: only base_url and the key differ."""
import io

import anthropic
import cloudflare
import github
import google.genai
import google.genai.errors
import google.genai.types
import notion_client
import openai
import pytest

import standin


@pytest.fixture
def openai_client(broker, tokens):
    return openai.OpenAI(api_key=tokens["openai"], base_url=broker.url + "/api/openai", max_retries=0)


HELLO = [{"role": "user", "content": "Hello"}]


def test_openai_plain(openai_client, providers):
    answer = openai_client.chat.completions.create(model="m", messages=HELLO)
    assert answer.choices[0].message.content == "Hello!"
    assert providers["openai"].seen[-1]["path"] == "/v1/chat/completions"


def test_openai_with_v1_in_base(broker, tokens):
    client = openai.OpenAI(api_key=tokens["openai"], base_url=broker.url + "/api/openai/v1")
    assert [m.id for m in client.models.list()] == ["m1"]


def test_openai_stream(openai_client):
    stream = openai_client.chat.completions.create(model="m", messages=HELLO, stream=True)
    assert "".join(c.choices[0].delta.content for c in stream) == "Hello!"


def test_openai_tools(openai_client):
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
    answer = openai_client.chat.completions.create(model="m", messages=HELLO, tools=tools)
    assert answer.choices[0].message.tool_calls[0].function.name == "weather"


def test_openai_file(openai_client, providers):
    file = openai_client.files.create(file=("a.jsonl", io.BytesIO(b"x" * 200_000)), purpose="batch")
    assert file.id == "file-1" and file.bytes > 200_000
    assert providers["openai"].seen[-1]["size"] == file.bytes


def test_openai_error(openai_client):
    with pytest.raises(openai.RateLimitError, match="slow down please"):
        openai_client.chat.completions.create(model="broken", messages=HELLO)


def test_openai_bad_token(broker):
    client = openai.OpenAI(api_key="seks_openai_wrong", base_url=broker.url + "/api/openai", max_retries=0)
    with pytest.raises(openai.AuthenticationError, match="credential"):
        client.models.list()


@pytest.fixture
def anthropic_client(broker, tokens):
    return anthropic.Anthropic(api_key=tokens["anthropic"], base_url=broker.url + "/api/anthropic", max_retries=0)


def test_anthropic_plain(anthropic_client):
    answer = anthropic_client.messages.create(model="m", max_tokens=9, messages=HELLO)
    assert answer.content[0].text == "Hello!"


def test_anthropic_alias(broker, tokens):
    client = anthropic.Anthropic(api_key=tokens["anthropic"], base_url=broker.url + "/api/claude", max_retries=0)
    assert client.messages.create(model="m", max_tokens=9, messages=HELLO).content[0].text == "Hello!"


def test_anthropic_stream(anthropic_client):
    with anthropic_client.messages.stream(model="m", max_tokens=9, messages=HELLO) as stream:
        assert "".join(stream.text_stream) == "Hello!"


def test_anthropic_tools(anthropic_client):
    tools = [{"name": "weather", "input_schema": {"type": "object"}}]
    answer = anthropic_client.messages.create(model="m", max_tokens=9, messages=HELLO, tools=tools)
    assert answer.content[0].name == "weather" and answer.content[0].input == {"city": "Bern"}


def test_anthropic_error(anthropic_client):
    with pytest.raises(anthropic.APIStatusError, match="too busy today") as error:
        anthropic_client.messages.create(model="broken", max_tokens=9, messages=HELLO)
    assert error.value.status_code == 529


def test_anthropic_bearer(broker, tokens):
    client = anthropic.Anthropic(auth_token=tokens["anthropic"], api_key=None, base_url=broker.url + "/api/anthropic")
    assert client.messages.create(model="m", max_tokens=9, messages=HELLO).content[0].text == "Hello!"


@pytest.fixture
def gemini(broker, tokens):
    return google.genai.Client(api_key=tokens["gemini"], http_options={"base_url": broker.url + "/api/gemini"})


def test_gemini_plain(gemini):
    assert gemini.models.generate_content(model="m", contents="Hello").text == "Hello!"


def test_gemini_stream(gemini):
    assert "".join(c.text for c in gemini.models.generate_content_stream(model="m", contents="Hello")) == "Hello!"


def test_gemini_error_hides_the_key(gemini):
    with pytest.raises(google.genai.errors.ClientError, match="has been suspended") as error:
        gemini.models.generate_content(model="broken", contents="Hello")
    assert standin.KEYS["gemini"] not in str(error.value) and "***" in str(error.value)


def test_gemini_upload(gemini):
    file = gemini.files.upload(file=io.BytesIO(b"y" * 5000), config={"mime_type": "text/plain"})
    assert file.name == "files/f1" and int(file.size_bytes) == 5000


def test_notion(broker, tokens):
    client = notion_client.Client(auth=tokens["notion"], base_url=broker.url + "/api/notion")
    assert client.users.me()["name"] == "Bot"
    with pytest.raises(notion_client.APIResponseError, match="no such user"):
        client.users.retrieve("none")


def test_cloudflare(broker, tokens):
    client = cloudflare.Cloudflare(api_token=tokens["cloudflare"], base_url=broker.url + "/api/cloudflare", max_retries=0)
    assert [z.name for z in client.zones.list()] == ["example.com"]
    with pytest.raises(cloudflare.PermissionDeniedError, match="Unauthorized zone"):
        client.zones.get(zone_id="none")


def test_pygithub(broker, tokens):
    client = github.Github(auth=github.Auth.Token(tokens["github"]), base_url=broker.url + "/api/github", retry=None)
    assert client.get_user().login == "octo"
    with pytest.raises(github.UnknownObjectException, match="Not Found here"):
        client.get_repo("o/none")


def test_pygithub_pages(broker, tokens):
    client = github.Github(auth=github.Auth.Token(tokens["github"]), base_url=broker.url + "/api/github", retry=None)
    repository = client.get_repo("o/r", lazy=True)
    assert [i.number for i in repository.get_issues()] == [10, 11, 20, 21, 30, 31]
