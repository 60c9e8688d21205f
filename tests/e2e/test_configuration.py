"""docs/configuration.md names every option that the programs have, and no other."""
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]
BUILD = pathlib.Path(os.environ.get("SEKS_BUILD") or ROOT / "build/release")
DOCUMENT = (ROOT / "docs/configuration.md").read_text()
SECTIONS = {name: text for name, text in re.findall(r"`seks-(\w+)`:\n(.*?)(?=\n`seks-|\n## )", DOCUMENT, re.S)}
COMMON = re.search(r"All four:\n(.*?)\n`seks-", DOCUMENT, re.S)[1]


def documented(text):
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `--")]
    return {option for row in rows for option in re.findall(r"`--([a-z-]+)", row)}


@pytest.mark.parametrize("daemon", ["gateway", "vault", "proxy", "audit"])
def test_options_are_documented(daemon):
    text = subprocess.run([BUILD / f"services/{daemon}/seks-{daemon}", "--help"], capture_output=True, text=True).stdout
    options = set(re.findall(r"^  --([a-z-]+)", text, re.M)) - {"help", "version"}
    assert len(options) >= 6
    assert documented(COMMON) | documented(SECTIONS[daemon]) == options


def test_provider_fields_are_documented():
    source = (ROOT / "common/providers_check.c").read_text()
    table = source[source.index('{"name", good_name, true'):]
    fields = set(re.findall(r'^    \{"(\w+)", good_', table[:table.index("};")], re.M))
    rows = DOCUMENT[DOCUMENT.index("## Provider rows"):]
    assert fields | {"name"} == {name for line in rows.splitlines() if line.startswith("| `")
                      for name in re.findall(r"`(\w+)`", line.split("|")[1])}
