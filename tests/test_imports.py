"""Imports run one way: the windows look into the engine, the engine never looks out, and nothing
happens at import.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("service", "worker")
LEAVES = (
    "service/ports.py",
    "worker/contract.py",
    "worker/errors.py",
    "worker/store/keys.py",
    "worker/units.py",
)

LITESTAR_LIVES_IN = ("service/",)
HTTPX_LIVES_IN = (
    "worker/pipedrive/",
    "worker/delivery/fetch",
    "service/local/",
    "service/cli/",
    "service/alerts/webhook",
)
ENVIRONMENT_IS_READ_IN = (
    "service/cli/",
    "service/server.py",
    "service/context.py",
    "service/local/",
    "service/sandbox/serve.py",
)
NOT_IN_SOURCES = frozenset(
    {"litestar", "redis", "rq", "httpx", "uvicorn", "socket", "subprocess", "click", "jinja2"}
)


@cache
def parse_modules() -> dict[str, ast.Module]:
    """Path in the repository -> syntax tree."""
    paths = sorted(path for folder in OURS for path in (ROOT / folder).rglob("*.py"))
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in paths
    }


def find_imports(path: str) -> Iterator[str]:
    """The dotted names a module imports anywhere in it, also in functions and for types only."""
    for node in ast.walk(parse_modules()[path]):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno} imports relatively; write the whole name"
            yield node.module or ""
            yield from (f"{node.module}.{name.name}" for name in node.names)


def heads(path: str) -> set[str]:
    return {name.partition(".")[0] for name in find_imports(path)}


def users_of(package: str, allowed: tuple[str, ...]) -> list[str]:
    return [
        path for path in parse_modules() if package in heads(path) and not path.startswith(allowed)
    ]


def test_there_is_something_to_look_at() -> None:
    """The rules below are about files that exist."""
    assert set(LEAVES) <= set(parse_modules())
    assert len(parse_modules()) > 50


def test_the_engine_never_looks_out() -> None:
    """`worker` imports nothing of `service`."""
    assert [
        path for path in parse_modules() if path.startswith("worker/") and "service" in heads(path)
    ] == []


def test_nobody_imports_the_tests() -> None:
    """Code that ships does not need the tests."""
    assert [
        path for path in parse_modules() if {"tests", "pytest", "hypothesis"} & heads(path)
    ] == []


def test_litestar_lives_in_the_service_only() -> None:
    """The web framework is the service's affair."""
    assert users_of("litestar", LITESTAR_LIVES_IN) == []


def test_httpx_lives_in_the_clients_only() -> None:
    """Calls to the outside are made in few places."""
    assert users_of("httpx", HTTPX_LIVES_IN) == []


def test_sources_are_pure() -> None:
    """What turns a payload into a lead knows neither the web framework nor Redis nor the network,
    nor who calls it.
    """
    for path in (path for path in parse_modules() if path.startswith("service/sources/")):
        assert not NOT_IN_SOURCES & heads(path), path
        strangers = [
            name
            for name in find_imports(path)
            if name.startswith("service.") and not name.startswith("service.sources")
        ]
        assert strangers == [], path


@pytest.mark.parametrize("path", LEAVES)
def test_leaves(path: str) -> None:
    """The leaf modules import nothing of ours, so that no late imports are ever needed."""
    assert not set(OURS) & heads(path)


def test_the_environment_is_read_by_the_commands_only() -> None:
    """Everything else is handed its settings."""
    readers = [
        path
        for path, tree in parse_modules().items()
        if any(
            isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb")
            for node in ast.walk(tree)
        )
    ]
    assert [path for path in readers if not path.startswith(ENVIRONMENT_IS_READ_IN)] == []


def test_what_we_import_is_declared() -> None:
    """Each third-party package imported is a dependency in its own right, not somebody else's by
    luck.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {normal(re.split(r"[^A-Za-z0-9._-]", line)[0]) for line in project["dependencies"]}
    providers = packages_distributions()
    used = (
        {head for path in parse_modules() for head in heads(path)}
        - set(OURS)
        - set(sys.stdlib_module_names)
    )
    undeclared = {
        head
        for head in used
        if not declared & {normal(name) for name in providers.get(head, [head])}
    }
    assert undeclared == set()


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


WATCH = """
    import importlib, json, os, sys, traceback

    touched = []

    def ours():
        return any(frame.filename.startswith(root) for frame in traceback.extract_stack()[:-2])

    def audit(event, args):
        if event in ("socket.connect", "socket.bind", "subprocess.Popen", "os.system", "os.mkdir", "os.remove", "os.rename"):
            touched.append(f"{event} {args!r}")
        elif event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
            touched.append(f"write {args[0]!r}")

    class Environment(dict):
        def _note(self, name):
            frame = sys._getframe(2)
            while frame and "_collections_abc" in frame.f_code.co_filename:
                frame = frame.f_back
            if frame and frame.f_code.co_filename.startswith(tuple(roots)):
                touched.append(f"environment {name} in {frame.f_code.co_filename}")
        def __getitem__(self, name):
            self._note(name)
            return super().__getitem__(name)
        def get(self, name, default=None):
            self._note(name)
            return super().get(name, default)

    roots = [os.path.join(os.getcwd(), each) + os.sep for each in ("service", "worker")]
    sys.dont_write_bytecode = True
    os.environ = Environment(os.environ)
    names = json.load(sys.stdin)
    sys.addaudithook(audit)
    for name in names:
        before = len(touched)
        importlib.import_module(name)
        touched[before:] = [f"{name}: {what}" for what in touched[before:]]
    print(json.dumps(touched))
"""


def test_nothing_happens_at_import() -> None:
    """Importing every module writes nothing, connects to nothing, starts nothing and reads no
    environment of ours.
    """
    names = [
        path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for path in parse_modules()
    ]
    completed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WATCH)],
        input=json.dumps([name for name in names if not name.endswith("__main__")]),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    assert json.loads(completed.stdout) == []
