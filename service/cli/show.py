"""How commands print: tables for people, JSON for programs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def console() -> Console:
    return Console(highlight=False, soft_wrap=False)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str = "none") -> None:
    """Prints a table; `empty` stands for no rows. Stored text is shown as text, never as markup or control codes."""
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
    return "".join(sign if sign.isprintable() or sign == "\n" else "\N{REPLACEMENT CHARACTER}" for sign in text)
