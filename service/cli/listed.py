"""Submissions as commands list, show and export them: the same answers as those of the console."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, NoReturn

import click

from service.cli import show, start
from service.ops import export
from service.ops.answers import Detail, Item, Page
from service.ops.export import Line
from service.ops.find import states
from service.ops.read import MOST, Filter, FilterError, NotFound, Reader
from service.settings import source_file
from service.sources.config import ConfigError, SourceFile
from service.sources.loader import load
from worker.audit import Audit
from worker.contract import State
from worker.settings import Settings

PATIENCE = 600.0
"""Seconds: a command reads all it needs before it answers."""


class Desk(NamedTuple):
    """What a command looks at, and the store behind it."""

    reader: Reader
    store: start.Store

    def revealed(self, target: str) -> None:
        """Writes into the audit trail that personal data are shown."""
        Audit(self.store.redis).note(start.operator(), "reveal", target)


@contextmanager
def opened(only: Collection[State] = tuple(State)) -> Iterator[Desk]:
    """Over the submissions of some states. A wrong filter or an unknown id ends the command with one line."""
    settings = start.settings()
    with start.opened(settings) as store:
        try:
            found = Reader(store.ledger, _sources(settings), settings.data_dir, only=only, patience=PATIENCE, quiet=True)
            yield Desk(found, store)
        except FilterError as error:
            raise click.UsageError(f"--{error.field}: {error}") from None
        except NotFound as error:
            start.stop(f"leadline: no submission {error}")


def _sources(settings: Settings) -> SourceFile | None:
    """The source file where it can be used; without it only the channels are not known."""
    try:
        return load(source_file(settings), os.environ, secrets=())
    except ConfigError:
        return None


def checked_states(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """For options that take states."""
    try:
        states(value)
    except FilterError as error:
        raise click.BadParameter(str(error)) from None
    return value


def filter_of(**given: str | None) -> Filter:
    """Raises `FilterError`."""
    return Filter.parse({name: value or "" for name, value in given.items()})


def first(reader: Reader, filter: Filter, limit: int) -> Page[Item]:
    """So many of what matches, over as many pages as it takes."""
    page = reader.submissions(filter, limit=max(1, min(limit, MOST)))
    items, following = page.items, page.next
    while following and len(items) < limit:
        more = reader.submissions(filter, cursor=following, limit=min(limit - len(items), MOST))
        items, following = [*items, *more.items], more.next
    return Page(items, following, page.total)


def print_items(title: str, page: Page[Item], *, as_json: bool) -> None:
    if as_json:
        show.print_json(page)
        return
    show.table(
        f"{title} ({len(page.items)} of {page.total})",
        ["id", "source", "who", "campaign", "cause", "tries", "since"],
        [
            (each.id, each.source, each.who, each.campaign, each.cause_title, each.attempts, each.updated_at)
            for each in page.items
        ],
    )


def print_detail(found: Detail, *, as_json: bool) -> None:
    if as_json:
        show.print_json(found)
        return
    click.echo(f"{found.id} of {found.source} is {found.state}")
    if cause := found.cause:
        click.echo(f"{cause.title}: {cause.detail}\n  step {cause.step}, code {cause.code}")
        click.echo("".join(f"  {name}: {text}\n" for name, text in (("mend", cause.hint), ("setting", cause.setting)) if text))
    empty = "sealed under a key that LEADLINE_ENCRYPTION_KEYS does not list" if found.sealed else "erased"
    show.table("Lead", ["field", "value"], (found.lead or {}).items(), empty=empty)
    show.table(
        "Deliveries",
        ["at", "step", "outcome", "status", "ms", "detail"],
        [(each.at, each.step, each.outcome, each.status, each.duration_ms, each.detail) for each in found.deliveries],
    )
    show.table("Timeline", ["at", "state", "by", "why"], [(each.at, each.state, each.by, each.why) for each in found.timeline])


def write(batches: Iterable[list[Line]], form: str, output: Path | None, *, bom: bool) -> None:
    """The export into a file that only its owner may read, or onto standard output."""
    pieces = export.as_csv(batches, bom=bom) if form == "csv" else export.as_jsonl(batches)
    if output is None:
        _copy(pieces, sys.stdout.buffer)
        return
    try:
        with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            _copy(pieces, file)
    except OSError as error:
        _cannot(output, error)


def _copy(pieces: Iterable[bytes], target: BinaryIO) -> None:
    for piece in pieces:
        target.write(piece)
    target.flush()


def _cannot(output: Path, error: OSError) -> NoReturn:
    start.stop(f"leadline: {output} cannot be written: {error.strerror or error}")
