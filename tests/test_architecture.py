"""The folders are the architecture: which may import which, how large they are, what is called how.

`tests/test_imports.py` has the rules about single modules and third-party packages.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.test_imports import ROOT, find_imports, parse_modules

# A part (a folder or a module at the top) -> the parts of the same side that it may import. What
# stands further down may import what stands above it, never the other way round.
SERVICE = {
    "sources": "",
    "web": "sources",
    "settings": "",
    "context": "settings sources web",
    "overview": "",
    "attribution": "",
    "alerts": "overview",
    "checks": "sources",
    "sandbox": "",
    "ports": "",
    "local": "ports sandbox",
    "intake": "context sources web",
    "ops": "attribution context overview sources web",
    "reports": "attribution ops sources",
    "docs": "context ops sources web",
    "health": "context web",
    "background": "alerts context intake",
    "app": "background context docs health intake ops web",
    "server": "app context ports web",
    "cli": "attribution checks intake local ops overview ports reports sandbox server settings sources",
}
WORKER = {
    "contract": "",
    "errors": "",
    "units": "",
    "encryption": "errors",
    "settings": "contract encryption units",
    "logs": "settings",
    "store": "contract errors",
    "metrics": "contract store",
    "lead": "contract errors units",
    "causes": "contract errors lead store",
    "fate": "causes contract errors",
    "ledger": "causes contract encryption errors lead metrics store units",
    "jobs": "errors",
    "queue": "contract errors jobs ledger metrics store",
    "accept": "contract encryption errors ledger metrics queue settings store",
    "pipedrive": "contract errors lead settings store units",
    "drift": "errors lead pipedrive store",
    "erasure": "accept contract encryption errors ledger store",
    "delivery": (
        "causes contract encryption erasure errors fate lead ledger metrics pipedrive queue"
        " settings store"
    ),
    "main": (
        "accept delivery drift encryption erasure errors fate lead ledger logs metrics pipedrive"
        " queue settings store"
    ),
}
SIDES = {"service": SERVICE, "worker": WORKER}

MAX_NAMES = 20
# One file a product, or a language, besides what they share.
LARGE_FOLDERS = frozenset({"service/sources/adapters", "service/sources/languages"})

# Names that several folders may use, because each of them has one.
SHARED_MODULE_NAMES = frozenset(
    {
        "__init__", "app", "actions", "attribution", "audit", "auth", "backtest", "bulk", "context",
        "dry_run", "json", "main", "overview", "preview", "queries", "responses", "settings",
    }
)  # fmt: skip

# Words that this project once had for things that the field calls otherwise. As a part of any name:
FORMER_WORDS = {
    "catalogue": "metadata", "chores": "periodic_tasks", "courier": "victim", "deps": "context",
    "door": "endpoint", "fleet": "cluster", "hitman": "killer", "lifeline": "parent_death",
    "nasty": "hostile", "overtime": "timeout", "rehearse": "dry_run", "scrub": "redact",
    "tide": "rollback", "tidings": "status", "vault": "cipher", "workshop": "context",
    "writings": "mappings",
}  # fmt: skip
# As a whole name, in any spelling of its letters:
FORMER_NAMES = frozenset(
    {
        "asked", "compose", "entrance", "few", "found", "given", "ground", "guess", "heard",
        "inline", "judge", "kept", "known", "leaf", "longest", "made", "making", "most", "own",
        "road", "said", "seen", "shown", "standing", "told", "turns", "visit", "voice", "wake",
        "wanted", "ways", "a_beat", "a_moment", "breath", "enough", "together",
    }
)  # fmt: skip
# Outward words, and names that a library gives.
ALLOWED_NAMES = frozenset({"given"})  # `hypothesis.given`


def part_of(path: str) -> str:
    """`service/intake/endpoint.py` is of the part `intake`, `worker/fate.py` of `fate`."""
    return path.split("/")[1].removesuffix(".py")


@cache
def find_internal_imports() -> list[tuple[str, str]]:
    """Every pair of modules of ours (paths) of which the first imports the second."""
    paths = {_dotted_name(path): path for path in parse_modules()}
    return [
        (path, paths[name])
        for path in parse_modules()
        for name in find_imports(path)
        if name in paths
    ]


def _dotted_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@pytest.mark.parametrize("side", SIDES)
def test_every_part_is_in_the_table(side: str) -> None:
    """The table names what is there and nothing else."""
    parts = {part_of(path) for path in parse_modules() if path.startswith(f"{side}/")}
    assert parts - {"__init__"} == set(SIDES[side])


@pytest.mark.parametrize("side", SIDES)
def test_parts_import_what_the_table_allows(side: str) -> None:
    """No import goes from one part to another unless the table says that it may."""
    forbidden = [
        f"{path} imports {target}"
        for path, target in find_internal_imports()
        if path.startswith(f"{side}/") and target.startswith(f"{side}/")
        if part_of(path) not in (part_of(target), "__init__") and part_of(target) != "__init__"
        if part_of(target) not in SIDES[side].get(part_of(path), "").split()
    ]
    assert forbidden == []


@pytest.mark.parametrize("side", SIDES)
def test_the_table_has_no_circle(side: str) -> None:
    """What may import something is never imported by it, by whatever way round."""
    _sort({part: allowed.split() for part, allowed in SIDES[side].items()})


@cache
def _packages() -> list[str]:
    return sorted({path.rpartition("/")[0] for path in parse_modules()})


def test_no_folder_has_a_circle() -> None:
    """Of the modules and folders in one folder none imports another that imports it."""
    for package in _packages():
        graph: defaultdict[str, set[str]] = defaultdict(set)
        for path, target in find_internal_imports():
            if path.startswith(f"{package}/") and target.startswith(f"{package}/"):
                child, imported = (
                    each[len(package) + 1 :].split("/")[0] for each in (path, target)
                )
                if child != imported and "__init__.py" not in (child, imported):
                    graph[child].add(imported)
        _sort(dict(graph))


def _sort(graph: dict[str, Iterator[str]] | dict[str, set[str]] | dict[str, list[str]]) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_a_folder_is_read_at_a_glance() -> None:
    """No folder of the code has more than some twenty names in it."""
    for package in _packages():
        names = [
            path.name
            for path in (ROOT / package).iterdir()
            if path.name not in ("__init__.py", "__pycache__") and not path.name.startswith(".")
        ]
        if package not in LARGE_FOLDERS:
            assert len(names) <= MAX_NAMES, sorted(names)


def test_no_class_name_twice() -> None:
    """Whoever looks for a public class by its name finds one."""
    homes: defaultdict[str, list[str]] = defaultdict(list)
    for path, tree in parse_modules().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(path)
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}


def test_no_module_name_twice() -> None:
    """Whoever looks for a module by its name finds one, with few exceptions."""
    counts = Counter(Path(path).stem for path in parse_modules())
    twice = {name for name, count in counts.items() if count > 1}
    assert twice - SHARED_MODULE_NAMES == set()


def test_things_have_the_names_of_their_field() -> None:
    """No name in code, tests or Lua is one that this project has given up."""
    former = [
        f"{path}: {name}"
        for path, names in sorted(_find_names().items())
        for name in sorted(names - ALLOWED_NAMES)
        if _is_former(name)
    ]
    assert former == []


def _is_former(name: str) -> bool:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip("_")).lower()
    return words in FORMER_NAMES or not FORMER_WORDS.keys().isdisjoint(words.split("_"))


def _find_names() -> dict[str, set[str]]:
    """Path -> every name that is given in it."""
    paths = [*parse_modules(), *(f"tests/{p.relative_to(ROOT / 'tests')}" for p in _tests())]
    names = {path: set(_names_of_python((ROOT / path).read_text("utf-8"))) for path in paths}
    for lua in (ROOT / "worker").rglob("*.lua"):
        text = re.sub(r"--[^\n]*|'[^'\n]*'|\"[^\"\n]*\"", "", lua.read_text("utf-8"))
        path = lua.relative_to(ROOT).as_posix()
        names[path] = {
            name
            for line in re.findall(r"\b(?:local|function)\s+([^=()\n]+)", text)
            for name in re.findall(r"[A-Za-z_]\w*", line)
        }
    return names


def _tests() -> list[Path]:
    return sorted((ROOT / "tests").rglob("*.py"))


def _names_of_python(text: str) -> Iterator[str]:
    """Modules aside: what is bound in it, by whatever statement, and the parameters."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name) | ast.arg(arg=name):
                yield name
