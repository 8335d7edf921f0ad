"""The guide to adding a provider, followed to the letter in a copy of the repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "adding-a-provider.md").read_text("utf-8")
# A path on a line of its own, and the block below it, which is the whole file.
_FILE = re.compile(r"^`([\w./-]+)`:\n\n(`{3,})\w+\n(.*?)^\2$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COPIED = (
    "service",
    "worker",
    "docs",
    "deploy",
    "tests/fuzz",
    "tests/providers",
    "tests/unit/sources",
)
COPIED_FILES = (
    "README.md", "pyproject.toml", "tests/__init__.py", "tests/conftest.py", "tests/polling.py",
    "tests/test_docs_providers.py",
)  # fmt: skip


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The parts of the repository that the guide needs, with the files that it adds."""
    copy = tmp_path_factory.mktemp("repository")
    for name in COPIED:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns(".hypothesis"))
    for name in COPIED_FILES:
        shutil.copy2(ROOT / name, copy / name)
    for path, _, text in _FILE.findall(GUIDE):
        assert not (copy / path).exists(), path
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_text(text, "utf-8")
    return copy


def run(copy: Path, command: str) -> str:
    """The standard output of a command of the guide, in a shell whose code is the copy's."""
    scripts = copy / "bin"
    scripts.mkdir(exist_ok=True)
    main = "from service.cli.main import main; main()"
    for name, words in {"python": '"$@"', "leadline": f"-c '{main}' \"$@\""}.items():
        (scripts / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}\n', "utf-8")
        (scripts / name).chmod(0o755)
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("LEADLINE_")
    }
    env = inherited | {"PATH": f"{scripts}:{os.environ['PATH']}", "PYTHONPATH": str(copy)}
    result = subprocess.run(
        ["sh", "-c", command], cwd=copy, env=env, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def command_with(word: str) -> str:
    [command] = [command for command in _COMMAND.findall(GUIDE) if word in command]
    return str(command)


def test_the_guide_is_complete() -> None:
    """It adds the adapter, a case with its body, the page and a source file, and nothing else."""
    assert {path for path, _, _ in _FILE.findall(GUIDE)} == {
        "service/sources/adapters/plumform.py",
        "tests/providers/plumform/new_response.body",
        "tests/providers/plumform/new_response.json",
        "docs/providers/plumform.md",
        "leadline.toml",
    }
    assert len(_COMMAND.findall(GUIDE)) == 2


def test_its_tests_pass(copy: Path) -> None:
    """The tests that the guide names find the new product's case and page, and pass."""
    output = run(copy, command_with("pytest"))
    match = re.search(r"(\d+) passed", output)
    assert match
    assert int(match[1]) > 5, output


def test_nothing_else_lists_the_products(copy: Path) -> None:
    """The registry, the cases and the pages are complete without another line; so is the style."""
    tests = "tests/unit/sources/test_registry.py tests/test_docs_providers.py"
    run(copy, f"python -m pytest {tests} tests/unit/sources/test_providers.py -k 'every or each'")
    adapter = "service/sources/adapters/plumform.py"
    run(copy, f"python -m ruff check {adapter} && python -m ruff format --check {adapter}")


def test_preview_shows_the_lead(copy: Path) -> None:
    """`leadline preview` makes the lead of the captured request, under the product's own id."""
    answer = json.loads(run(copy, command_with("leadline preview")))
    [submission] = answer["submissions"]
    assert (answer["outcome"], answer["response"]["status"]) == ("lead", 200)
    assert submission["event_id"] == "rsp_81f0"
    assert submission["lead"]["email"] == "ada@acme.example"
    assert submission["lead"]["answers"] == {"Team size": ["11-50"]}
