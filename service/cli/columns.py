"""Aligned lines for lists whose ids are copied: nothing is folded, one line for each row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

LONGEST = 60
"""Characters of a cell between the first and the last."""


def print_columns(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str = "none") -> None:
    """Prints the rows below their headings; `empty` stands for no rows. The first and the last column are never cut."""
    whole = (0, len(columns) - 1)
    lines = [[inert(cell) if at in whole else _short(inert(cell)) for at, cell in enumerate(row)] for row in rows]
    if not lines:
        click.echo(empty)
        return
    widths = [max(map(len, cells)) for cells in zip(columns, *lines, strict=True)]
    click.echo(click.style(_joined(columns, widths), bold=True))
    for line in lines:
        click.echo(_joined(line, widths))


def print_pairs(pairs: Iterable[tuple[str, object]]) -> None:
    """One thing, a line for each of its fields."""
    known = [(name, value) for name, value in pairs if value not in (None, "", [])]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        click.echo(f"{click.style(f'{name:<{width}}', bold=True)}  {inert(value)}")


def inert(cell: object) -> str:
    """On one line and without control codes, whatever somebody stored."""
    text = "" if cell is None else ", ".join(map(str, cell)) if isinstance(cell, list | tuple) else str(cell)
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()
