"""How commands print: tables for people, JSON for programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def console() -> Console:
    return Console(highlight=False, soft_wrap=False)


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str = "none"
) -> None:
    """Prints a table; `empty` stands for no rows. Stored text is shown as text, never as markup or
    control codes.
    """
    lines = [list(row) for row in rows]
    if not lines:
        console().print(Text(f"{title}: {empty}"))
        return
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold")
    for column in columns:
        shown.add_column(column, overflow="fold")
    for line in lines:
        shown.add_row(*(Text(_plain(cell)) for cell in line))
    console().print(shown)


def print_json(value: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def ago(seconds: float | None) -> str:
    """How long ago a time (Unix seconds) was, in the two largest units."""
    if seconds is None:
        return ""
    left = max(0, int(time.time() - seconds))
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2]) or "now"


def _plain(cell: object) -> str:
    text = "" if cell is None else str(cell)
    return "".join(
        sign if sign.isprintable() or sign == "\n" else "\N{REPLACEMENT CHARACTER}" for sign in text
    )


# Aligned lines for lists whose ids are copied: nothing is folded, one line for each row.

MAX_CELL_CHARS = 60
"""Characters of a cell between the first and the last."""


def print_columns(
    columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str = "none"
) -> None:
    """Prints the rows below their headings; `empty` stands for no rows. The first and the last
    column are never cut.
    """
    whole = (0, len(columns) - 1)
    lines = [
        [printable(cell) if at in whole else _short(printable(cell)) for at, cell in enumerate(row)]
        for row in rows
    ]
    if not lines:
        click.echo(empty)
        return
    widths = [max(map(len, cells)) for cells in zip(columns, *lines, strict=True)]
    click.echo(click.style(_pad(columns, widths), bold=True))
    for line in lines:
        click.echo(_pad(line, widths))


def print_pairs(pairs: Iterable[tuple[str, object]]) -> None:
    """One thing, a line for each of its fields."""
    known = [(name, value) for name, value in pairs if value not in (None, "", [])]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        click.echo(f"{click.style(f'{name:<{width}}', bold=True)}  {printable(value)}")


def printable(cell: object) -> str:
    """On one line and without control codes, whatever somebody stored."""
    text = (
        ""
        if cell is None
        else ", ".join(map(str, cell))
        if isinstance(cell, list | tuple)
        else str(cell)
    )
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _short(text: str) -> str:
    return text if len(text) <= MAX_CELL_CHARS else f"{text[: MAX_CELL_CHARS - 1]}…"


def _pad(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


# How far a long command is, on standard error, once it takes longer than a moment.

T = TypeVar("T")
QUIET_SECONDS = 2.0
"""A command that is over by then says nothing; then a line is written as often."""


def count_progress(
    items: Iterable[T], what: str, clock: Callable[[], float] = time.monotonic
) -> Iterator[T]:
    """The items, with a line such as `1,200 submissions looked at` every other second. `clock`
    tells seconds.
    """
    reported_at, is_open, on_terminal = clock(), False, sys.stderr.isatty()
    for number, item in enumerate(items, 1):
        yield item
        if clock() - reported_at >= QUIET_SECONDS:
            reported_at = clock()
            click.echo(
                f"{chr(13) if on_terminal else ''}{number:,} {what} ...",
                nl=not on_terminal,
                err=True,
            )
            is_open = on_terminal
    if is_open:
        click.echo(err=True)
