from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TEXT = (HERE / "README.md").read_text(encoding="utf-8")
ROWS = {"A": 14, "B": 21, "C": 23, "D": 10, "E": 27, "F": 14}


def _tests(file: Path) -> set[str]:
    return set(re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE))


def test_every_row_has_its_line() -> None:
    """Each fault of each section is either tried somewhere, or the page says why not."""
    rows = re.findall(r"^\| ([A-F]\d+) \| ([^|]+) \| ([^|]+) \|$", TEXT, re.MULTILINE)
    assert [row for row, _, _ in rows] == [
        f"{section}{number + 1}" for section, count in ROWS.items() for number in range(count)
    ]
    assert all(fault.strip() and where.strip() for _, fault, where in rows)


def test_every_test_named_is_there() -> None:
    """A test that was renamed or removed is missed here."""
    names = {name for file in HERE.glob("test_*.py") for name in _tests(file)}
    named = re.findall(r"`(?:(tests/[\w/]+\.py)::)?(test_\w+)(?:\[[\w-]+\])?`", TEXT)
    missing = [
        (file, name) for file, name in named if name not in (_tests(ROOT / file) if file else names)
    ]
    assert missing == []
    assert len(named) > 60
