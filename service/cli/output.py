"""How commands print: tables for people, JSON for programs, questions and progress on stderr."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click
import msgspec
from rich.cells import cell_len

T = TypeVar("T")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")

# A longer text is cut, unless it is the last of its line or one word, such as an id or a URL.
MAX_CELL_CHARS = 100
# Cells are padded to this width at most: a longer one moves only what follows in its own line.
MAX_COLUMN_WIDTH = 60
# A command that ends sooner shows no progress; the same time lies between two reports.
PROGRESS_SECONDS = 2.0


def print_json(value: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str | None = None,
    empty: str = "none",
) -> None:
    """Prints one line for each row, never folded: the same at any width and in a pipe.

    `empty` stands for no rows. A table with a title ends with an empty line.
    """
    lines = [[*map(_shorten, row[:-1]), printable(row[-1])] for row in rows]
    if not lines:
        click.echo(f"{title}: {empty}" if title else empty)
        return
    if title:
        click.echo(click.style(printable(title), bold=True, underline=True))
    widths = [_width(cells) for cells in zip(columns, *lines, strict=True)]
    click.echo(click.style(_align(columns, widths), bold=True))
    for line in lines:
        click.echo(_align(line, widths))
    if title:
        click.echo()


def print_pairs(pairs: Iterable[tuple[str, object]]) -> None:
    """Prints one thing: a line for each of its fields that has a value."""
    filled = [(name, value) for name, value in pairs if value not in (None, "", [])]
    width = max((len(name) for name, _ in filled), default=0)
    for name, value in filled:
        click.echo(f"{click.style(f'{name:<{width}}', bold=True)}  {printable(value)}")


def printable(cell: object) -> str:
    """The cell on one line and without control codes, whatever a stranger sent."""
    if cell is None:
        return ""
    text = ", ".join(map(str, cell)) if isinstance(cell, list | tuple) else str(cell)
    return "".join(sign if sign.isprintable() else " " for sign in text)


def plural(count: int, noun: str) -> str:
    """`1 source`, `2 sources`, `1,200 sources`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def format_age(seconds: float | None) -> str:
    """`2 d 4 h`, `3 m 5 s`: the two largest units; an empty text for None."""
    if seconds is None:
        return ""
    left = max(0, int(seconds))
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2]) or "now"


def _shorten(cell: object) -> str:
    text = printable(cell)
    if len(text) <= MAX_CELL_CHARS or " " not in text:
        return text
    return f"{text[: MAX_CELL_CHARS - 1]}…"


def _width(cells: Iterable[str]) -> int:
    return min(max(map(cell_len, cells)), MAX_COLUMN_WIDTH)


def _align(cells: Sequence[str], widths: Sequence[int]) -> str:
    pairs = zip(cells, widths, strict=True)
    padded = (cell + " " * (width - cell_len(cell)) for cell, width in pairs)
    return "  ".join(padded).rstrip()


# Questions.


def confirm(question: str, *, yes: bool, instead: str = "--yes") -> None:
    """Asks before something that cannot be undone; `yes`: the command line has confirmed it.

    A no ends the command with 1. Where nobody can be asked it ends with 2, naming the option to
    use `instead`.
    """
    if yes:
        return
    if not is_interactive():
        raise click.UsageError(f"{question} Nobody can be asked here: add {instead}.")
    click.confirm(question, abort=True, err=True)


def is_interactive() -> bool:
    """Whether somebody can answer questions."""
    return sys.stdin.isatty()


def is_terminal() -> bool:
    """Whether somebody reads what is printed."""
    return sys.stdout.isatty()


# Progress, on standard error, once a command takes longer than a moment.


def count_progress(
    items: Iterable[T], what: str, clock: Callable[[], float] = time.monotonic
) -> Iterator[T]:
    """Yields the items and reports `1,200 submissions read` as they pass. `clock` is in seconds."""
    reported_at, reporter = clock(), ProgressReporter()
    for number, item in enumerate(items, 1):
        yield item
        if clock() - reported_at >= PROGRESS_SECONDS:
            reported_at = clock()
            reporter.report(f"{number:,} {what} ...")
    reporter.close()


@contextmanager
def show_working(what: str) -> Iterator[Callable[[str], None]]:
    """Reports such as `erasing ... 4 s` while the block runs.

    The block may call what it gets with a text that says how far it is.
    """
    ended, started_at = threading.Event(), time.monotonic()
    steps = [what]

    def report() -> None:
        reporter = ProgressReporter()
        while not ended.wait(PROGRESS_SECONDS):
            reporter.report(f"{steps[-1]} ... {int(time.monotonic() - started_at)} s")
        reporter.close()

    thread = threading.Thread(target=report, name="progress", daemon=True)
    thread.start()
    try:
        yield lambda step: steps.__setitem__(0, f"{what}: {step}")
    finally:
        ended.set()
        thread.join()


class ProgressReporter:
    """Overwrites its line on a terminal; elsewhere each report is a line of its own."""

    def __init__(self) -> None:
        self._on_terminal = sys.stderr.isatty()
        self._is_open = False

    def report(self, text: str) -> None:
        if self._on_terminal:
            click.echo(f"\r{text}\x1b[K", nl=False, err=True)
        else:
            click.echo(text, err=True)
        self._is_open = self._on_terminal

    def close(self) -> None:
        """Clears the line."""
        if self._is_open:
            click.echo("\r\x1b[K", nl=False, err=True)
