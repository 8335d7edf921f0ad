"""Submissions as commands list, show and export them: the same answers as those of the console."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

import click

from service.cli import output, setup
from service.ops import export
from service.ops.errors import NotFound
from service.ops.export import ExportRow
from service.ops.filters import parse_states
from service.ops.queries import MAX_PAGE_SIZE, Filter, FilterError, SubmissionQueries
from service.ops.schemas import Detail, Item, Page
from service.settings import source_file
from service.sources.schema import ConfigError, SourceFile
from service.sources.source_file.loader import load_sources
from worker.contract import State
from worker.ledger.audit import AuditTrail
from worker.settings import Settings
from worker.units import parse_duration

SEARCH_SECONDS = 600.0
"""Seconds: a command reads all it needs before it answers."""


class OperatorSession(NamedTuple):
    """What a command looks at, and the store behind it."""

    queries: SubmissionQueries
    store: setup.Store

    def record_reveal(self, target: str) -> None:
        """Writes into the audit trail that personal data are shown."""
        AuditTrail(self.store.redis).note(setup.operator_name(), "reveal", target)


@contextmanager
def open_session(only: Collection[State] = tuple(State)) -> Iterator[OperatorSession]:
    """Over the submissions of some states. A wrong filter or an unknown id ends the command with
    one line.
    """
    settings = setup.load_settings()
    with setup.open_store(settings) as store:
        try:
            found = SubmissionQueries(
                store.ledger,
                _sources(settings),
                settings.data_dir,
                only=only,
                patience=SEARCH_SECONDS,
                quiet=True,
            )
            yield OperatorSession(found, store)
        except FilterError as error:
            raise click.UsageError(f"--{error.field}: {error}") from None
        except NotFound as error:
            setup.exit_with_error(f"leadline: {error}")


def _sources(settings: Settings) -> SourceFile | None:
    """The source file where it can be used; without it only the channels are not known."""
    try:
        return load_sources(source_file(settings), os.environ, secrets=())
    except ConfigError:
        return None


def checked_states(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """For options that take states."""
    try:
        parse_states(value)
    except FilterError as error:
        raise click.BadParameter(str(error)) from None
    return value


def build_filter(**values: str | None) -> Filter:
    """Raises `FilterError`."""
    return Filter.parse({name: value or "" for name, value in values.items()})


def newest(reader: SubmissionQueries, filter: Filter, limit: int) -> Page[Item]:
    """So many of what matches, over as many pages as it takes."""
    page = reader.submissions(filter, limit=max(1, min(limit, MAX_PAGE_SIZE)))
    items, following = page.items, page.next
    while following and len(items) < limit:
        more = reader.submissions(
            filter, cursor=following, limit=min(limit - len(items), MAX_PAGE_SIZE)
        )
        items, following = [*items, *more.items], more.next
    return Page(items, following, page.total)


def print_items(title: str, page: Page[Item], *, as_json: bool) -> None:
    if as_json:
        output.print_json(page)
        return
    output.table(
        f"{title} ({len(page.items)} of {page.total})",
        ["id", "source", "who", "campaign", "cause", "tries", "since"],
        [
            (
                each.id,
                each.source,
                each.who,
                each.campaign,
                each.cause_title,
                each.attempts,
                each.updated_at,
            )
            for each in page.items
        ],
    )


def print_detail(detail: Detail, *, as_json: bool) -> None:
    if as_json:
        output.print_json(detail)
        return
    click.echo(f"{detail.id} of {detail.source} is {detail.state}")
    if cause := detail.cause:
        click.echo(f"{cause.title}: {cause.detail}\n  step {cause.step}, code {cause.code}")
        click.echo(
            "".join(
                f"  {name}: {text}\n"
                for name, text in (("mend", cause.hint), ("setting", cause.setting))
                if text
            )
        )
    empty = (
        "sealed under a key that LEADLINE_ENCRYPTION_KEYS does not list"
        if detail.sealed
        else "erased"
    )
    output.table("Lead", ["field", "value"], (detail.lead or {}).items(), empty=empty)
    output.table(
        "Deliveries",
        ["at", "step", "outcome", "status", "ms", "detail"],
        [
            (each.at, each.step, each.outcome, each.status, each.duration_ms, each.detail)
            for each in detail.deliveries
        ],
    )
    output.table(
        "Timeline",
        ["at", "state", "by", "why"],
        [(each.at, each.state, each.by, each.why) for each in detail.timeline],
    )


def write_export(
    batches: Iterable[list[ExportRow]], form: str, output: Path | None, *, bom: bool
) -> None:
    """The export into a file that only its owner may read, or onto standard output."""
    pieces = export.write_csv(batches, bom=bom) if form == "csv" else export.write_jsonl(batches)
    if output is None:
        _copy(pieces, sys.stdout.buffer)
        return
    try:
        with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            _copy(pieces, file)
    except OSError as error:
        _exit_unwritable(output, error)


def _copy(pieces: Iterable[bytes], target: BinaryIO) -> None:
    for piece in pieces:
        target.write(piece)
    target.flush()


def _exit_unwritable(output: Path, error: OSError) -> NoReturn:
    setup.exit_with_error(f"leadline: {output} cannot be written: {error.strerror or error}")


# `--since` of commands over what is stored: a date, or how long ago.


class SinceType(click.ParamType[float]):
    """Unix seconds of `2026-05-31`, `2026-05-31T12:00Z`, or of `7d` before now."""

    name = "since"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, int | float):
            return float(value)
        try:
            return time.time() - parse_duration(value)
        except ValueError:
            pass
        try:
            found = datetime.fromisoformat(value)
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            self.fail(
                'expected how long ago, such as "7d" or "12h", or a date such as "2026-05-31"',
                param,
                ctx,
            )


since_option = click.option(
    "--since",
    type=SinceType(),
    default=0.0,
    metavar="WHEN",
    help='Received since then: "7d", "12h" ago, or a date. Left out: all.',
)
