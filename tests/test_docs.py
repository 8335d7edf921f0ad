"""What the documents, the image and the compose file speak of exists: settings, commands, make
targets, files, versions.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from service.cli.main import main
from worker.settings.table import SETTINGS

ROOT = Path(__file__).parents[1]
NAMES = {row.name for row in SETTINGS.values()}
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "tests" / "chaos" / "README.md",
    )
)
FILES = [*PAGES, "Dockerfile", "deploy/compose.yaml", "deploy/env.example"]
LOCKS = ["requirements.lock", "deploy/build.lock", "tests/requirements.lock"]

_SETTING = re.compile(r"\b(?:LEADLINE|PIPEDRIVE)_[A-Z_]*[A-Z]\b(?!_)|\bREDIS_URL\b")
_COMMAND = re.compile(r"(?:^|[`(/ ])leadline ((?:[a-z]+/)*[a-z]+)\b(?=[`\s)]|$)")
_MAKE = re.compile(r"(?:^|`)make ([a-z-]+)", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def read_compose_file() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(text_of("deploy/compose.yaml"))
    return read


def command_named(words: list[str]) -> click.Command | None:
    """The command of `leadline dead retry`, as far as the words are commands."""
    command: click.Command | None = main
    for word in words:
        if not isinstance(command, click.Group):
            return command
        command = command.get_command(click.Context(command), word)
    return command


def test_settings_exist() -> None:
    """Every setting that is spoken of can be set."""
    unknown = {name: set(_SETTING.findall(text_of(name))) - NAMES for name in FILES}
    assert {name: settings for name, settings in unknown.items() if settings} == {}


def test_commands_exist() -> None:
    """Every `leadline …` that is spoken of can be called."""
    unknown = [
        (name, word)
        for name in PAGES
        for words in _COMMAND.findall(" ".join(code_of(name)))
        for word in words.split("/")
        if command_named([word]) is None
    ]
    assert unknown == []


def code_of(name: str) -> list[str]:
    """What stands in code blocks and between back-quotes."""
    text = text_of(name)
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [*blocks, *(f"`{quoted}`" for quoted in re.findall(r"`([^`\n]+)`", text))]


def test_make_targets_exist() -> None:
    """Every `make …` that is spoken of can be made."""
    targets = {name for page in PAGES for name in _MAKE.findall("\n".join(code_of(page)))}
    assert {"demo", "test", "bench"} <= targets
    command = ["make", "-C", str(ROOT), "--dry-run", *sorted(targets)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_links_lead_somewhere() -> None:
    """Every relative link of a page leads to a file, and to a heading of it if it names one."""
    links = [(name, link) for name in PAGES for link in _LINK.findall(text_of(name))]
    assert [(name, link) for name, link in links if not _leads_somewhere(name, link)] == []


def _leads_somewhere(page: str, link: str) -> bool:
    if link.startswith(("http", "mailto:", "/")):
        return True
    path, _, anchor = link.partition("#")
    target = (ROOT / page).parent / path if path else ROOT / page
    return target.exists() and (not anchor or anchor in anchors(target))


def anchors(page: Path) -> set[str]:
    """What a link can name of a page: its headings, as GitHub writes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_command_has_help() -> None:
    """Each command can be loaded, says what it does, and its options say what they are for."""
    for name in main.list_commands(click.Context(main)):
        command = command_named([name])
        assert command is not None, name
        assert command.help, name
        for option in command.params:
            assert not isinstance(option, click.Option) or option.help, f"{name} {option.name}"


def test_ci_runs_what_the_readme_gives() -> None:
    """The checks on a clean checkout are the one command that people are told."""
    assert "make test" in text_of(".ci/run")
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100


@pytest.mark.parametrize("service", ["service", "worker"])
def test_compose_gives_real_settings(service: str) -> None:
    """The containers run real commands of the image with real settings, and neither holds the
    other's secrets.
    """
    container = read_compose_file()["services"][service]
    assert set(container["environment"]) <= NAMES
    assert command_named(container["command"]) is not None
    part = "worker" if service == "service" else "service"
    for row in SETTINGS.values():
        if row.secret and row.only == {part}:
            assert container["environment"].get(row.name) == "", f"{service} would see {row.name}"
    assert container["stop_grace_period"] == "20s", "a clean stop takes up to 15 s"


def test_compose_redis_keeps_what_it_acknowledged() -> None:
    """Redis in the compose file writes before it answers, evicts nothing and has a volume."""
    redis = read_compose_file()["services"]["redis"]
    words = redis["command"][1:]
    assert dict(zip(words[::2], words[1::2], strict=True)) == {
        "--appendonly": "yes",
        "--appendfsync": "always",
        "--no-appendfsync-on-rewrite": "no",
        "--maxmemory": "${REDIS_MAXMEMORY:-1gb}",
        "--maxmemory-policy": "noeviction",
        "--save": "",
    }
    assert redis["volumes"] == ["redis:/data"]


def test_the_image_runs_the_service() -> None:
    """The image starts `leadline serve` as somebody without rights, from the lock, with a health
    check.
    """
    lines = text_of("Dockerfile")
    assert '\nENTRYPOINT ["leadline"]\nCMD ["serve"]\n' in lines
    final = lines.rpartition("\nFROM ")[2]
    assert re.search(r"^USER leadline$", final, re.MULTILINE)
    assert "/healthz" in final
    assert not re.search(r"pip|gcc|build-essential|apt-get", final)
    assert all(
        "--require-hashes" in line
        for line in lines.splitlines()
        if "install" in line and ".lock" in line
    )


def test_the_image_gets_the_files_it_copies() -> None:
    """What the image copies exists and is not kept from it."""
    copied = [
        word
        for line in text_of("Dockerfile").splitlines()
        if line.startswith("COPY ")
        for word in line.split()[1:-1]
    ]
    allowed = [line[1:] for line in text_of(".dockerignore").splitlines() if line.startswith("!")]
    sources = [word for word in copied if not word.startswith(("--from", "/"))]
    assert len(sources) >= 8
    assert [word for word in sources if word not in allowed or not (ROOT / word).exists()] == []


@pytest.mark.parametrize("name", LOCKS)
def test_locks_are_portable(name: str) -> None:
    """A lock pins every package with hashes of all its files, and names no host, index or place on
    a disk.
    """
    lines = text_of(name).splitlines()
    assert not [line for line in lines if re.search(r"://|(^|\s)--(?!hash)|\s@\s|(^|[\s=])/", line)]
    blocks = re.findall(
        r"^([a-z0-9-]+)==[^\n]*((?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?)+)",
        text_of(name),
        re.MULTILINE,
    )
    pinned = [line.partition("==")[0] for line in lines if re.match(r"[a-z0-9]", line)]
    assert [package for package, _ in blocks] == pinned


def test_locks_hold_what_is_declared() -> None:
    """Every dependency declared is in its lock."""
    project = tomllib.loads(text_of("pyproject.toml"))
    declared = {
        "requirements.lock": project["project"]["dependencies"],
        "deploy/build.lock": project["dependency-groups"]["build"],
        "tests/requirements.lock": project["dependency-groups"]["test"],
    }
    for name, requirements in declared.items():
        packages = {re.split(r"[^A-Za-z0-9._-]", line)[0].lower() for line in requirements}
        assert packages <= set(re.findall(r"^([a-z0-9-]+)==", text_of(name), re.MULTILINE)), name


def test_locks_agree() -> None:
    """A package in two locks has one version."""
    versions: dict[str, set[str]] = {}
    for name in LOCKS:
        for package, version in re.findall(
            r"^([a-z0-9-]+)==([^\s;]+)", text_of(name), re.MULTILINE
        ):
            versions.setdefault(package, set()).add(version)
    assert {package: pinned for package, pinned in versions.items() if len(pinned) > 1} == {}
