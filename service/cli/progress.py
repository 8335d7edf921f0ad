"""How far a long command is, on standard error, once it takes longer than a moment."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import click

T = TypeVar("T")
QUIET_SECONDS = 2.0
"""A command that is over by then says nothing; then a line is written as often."""


def counted(items: Iterable[T], what: str, clock: Callable[[], float] = time.monotonic) -> Iterator[T]:
    """The items, with a line such as `1,200 submissions looked at` every other second. `clock` tells seconds."""
    told, is_open, on_terminal = clock(), False, sys.stderr.isatty()
    for number, item in enumerate(items, 1):
        yield item
        if clock() - told >= QUIET_SECONDS:
            told = clock()
            click.echo(f"{chr(13) if on_terminal else ''}{number:,} {what} ...", nl=not on_terminal, err=True)
            is_open = on_terminal
    if is_open:
        click.echo(err=True)
