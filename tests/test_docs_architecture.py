"""`docs/architecture.md` describes the tree, the road, the states and the lead as they are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.test_imports import parse_modules
from worker.contract import STATES, Lead, Money, State, Utm

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"


def tables() -> dict[str, list[list[str]]]:
    """Heading -> rows of cells below it, without the two lines of the table's head."""
    rows: dict[str, list[list[str]]] = {}
    heading = ""
    for line in PAGE.read_text("utf-8").splitlines():
        if match := re.match(r"##+ (.+)", line):
            heading = match[1]
        elif line.startswith("|"):
            rows.setdefault(heading, []).append([cell.strip() for cell in line.split("|")[1:-1]])
    return {heading: cells[2:] for heading, cells in rows.items()}


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("side", ["service", "worker"])
def test_the_map_names_every_folder(side: str) -> None:
    """The map has one line for every folder and every top module, and no line for anything else."""
    modules = [Path(path) for path in parse_modules() if path.startswith(f"{side}/")]
    folders = {f"{path.parent}/" for path in modules} - {f"{side}/"}
    scripts = {f"{path.parent.relative_to(ROOT)}/" for path in (ROOT / side).glob("*/lua/*.lua")}
    top = {path.as_posix() for path in modules if path.parent.name == side}
    named = [quoted(row[0])[0] for row in tables()[f"`{side}/`"]]
    assert sorted(named) == sorted((folders | scripts | top) - {f"{side}/__init__.py"})


def test_the_road_exists() -> None:
    """Every function of the road is where the page says that it is."""
    rows = tables()["The life of a form post"]
    missing = [
        (path, name)
        for _, path_cell, name_cell, _ in rows
        for path, name in [(quoted(path_cell)[0], quoted(name_cell)[0])]
        if not _defines(path, name)
    ]
    assert missing == []
    assert [row[0] for row in rows] == [str(number + 1) for number in range(len(rows))]


def _defines(path: str, dotted_name: str) -> bool:
    """Whether a file has a function, class or method of this name."""
    body = ast.parse((ROOT / path).read_text("utf-8")).body
    for name in dotted_name.split("."):
        matches = [
            node
            for node in body
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name == name
        ]
        if not matches:
            return False
        body = matches[0].body
    return True


def test_what_is_named_exists() -> None:
    """Every path on the page leads to a file or folder, and every class and method is in the code.

    What stands beside a step without a file of its own is in the file of the step.
    """
    text = PAGE.read_text("utf-8")
    names = set(re.findall(r"`((?:service|worker|tests)/[^`:]*)(?:::\w+)?`", text))
    assert [name for name in names if not (ROOT / name).exists()] == []
    source = "\n".join((ROOT / path).read_text("utf-8") for path in parse_modules())
    called = re.findall(r"`([A-Z]\w+)(?:\.(\w+))?`", text)
    defined = set(re.findall(r"^\s*(?:class|(?:async )?def) (\w+)", source, re.MULTILINE))
    assert {part for pair in called for part in pair if part} - defined == set()


def test_the_states_are_those_of_the_table() -> None:
    """Each state has its word, its label and its moves, in the order of the table in the code."""
    documented = [
        (quoted(state)[0], label, set(quoted(moves)))
        for state, label, _, moves, _ in tables()["States"]
    ]
    assert documented == [
        (state.value, STATES[state].label, {move.value for move in STATES[state].moves})
        for state in State
    ]


def test_the_lead_has_the_fields_of_the_code() -> None:
    """The page lists every field of the canonical lead, and the parts of those that have parts."""
    rows = {quoted(name)[0]: quoted(meaning) for name, meaning in tables()["The canonical lead"]}
    assert tuple(rows) == Lead.__struct_fields__
    assert tuple(rows["utm"]) == Utm.__struct_fields__
    assert tuple(rows["value"]) == Money.__struct_fields__
