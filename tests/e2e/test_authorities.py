"""A provider's ca_file that is replaced while the proxy runs, confined as it is."""
import os
import shutil
import time

import pytest
import requests

import standin
from conftest import SECRET_NAMES, Account, Broker

KUBERNETES, RENAMED, PRIVATE = "anthropic", "openai", "github"


def put(path, source):
    """By renaming: another inode in its place."""
    shutil.copy(source, path.with_name("new"))
    path.with_name("new").chmod(0o644)
    path.with_name("new").rename(path)


def mount(directory, source, version):
    """As the kubelet does with a ConfigMap: a new directory, and a link that is renamed to it."""
    (directory / version).mkdir(mode=0o755)
    shutil.copy(source, directory / version / "ca.pem")
    os.symlink(version, directory / "..new")
    (directory / "..new").rename(directory / "..data")


@pytest.fixture(scope="module")
def world(tmp_path_factory, providers, certificates):
    directory = tmp_path_factory.mktemp("authorities")
    for name in (RENAMED, KUBERNETES, PRIVATE):
        (directory / name).mkdir(mode=0o755)
    mount(directory / KUBERNETES, certificates / "other.pem", "..1")
    os.symlink("..data/ca.pem", directory / KUBERNETES / "ca.pem")
    put(directory / RENAMED / "ca.pem", certificates / "other.pem")
    put(directory / PRIVATE / "ca.pem", certificates / "ca.pem")
    (directory / PRIVATE / "private.key").touch(0o600)
    broker = Broker(directory, [{"name": name, "origin": providers[name].origin, "allow_insecure": True,
                                 "ca_file": str(directory / name / "ca.pem")} for name in (RENAMED, KUBERNETES, PRIVATE)])
    account = Account(broker, "owner@example.com")
    agent = account.agent("a")["agent"]["id"]
    broker.tokens = {}
    for name in (RENAMED, KUBERNETES, PRIVATE):
        account.put_secret(SECRET_NAMES[name], standin.KEYS[name])
        broker.tokens[name] = account.token(agent, name)["value"]
    yield broker
    broker.stop()


def reached(world, provider):
    """Whether the provider was asked, whatever it said."""
    headers = {"Authorization": f"Bearer {world.tokens[provider]}"}
    status = requests.get(f"{world.url}/api/{provider}/v1/models", headers=headers, timeout=20).status_code
    assert status in (200, 404, 502), status
    return status != 502


@pytest.mark.parametrize("provider", [RENAMED, KUBERNETES])
def test_a_replaced_file_is_the_one_that_counts(world, certificates, provider):
    assert not reached(world, provider)  # its certificate is of another authority
    if provider == RENAMED:
        put(world.directory / provider / "ca.pem", certificates / "ca.pem")
    else:
        mount(world.directory / provider, certificates / "ca.pem", "..2")
    deadline = time.monotonic() + 20
    while not reached(world, provider):
        assert time.monotonic() < deadline


def test_a_directory_with_keys_is_not_opened_for_it(world):
    assert reached(world, PRIVATE)
    said = [line for line in world.log().splitlines() if "needs a restart" in line]
    assert len(said) == 1 and str(world.directory / PRIVATE) in said[0], said
