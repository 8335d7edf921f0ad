"""How commands list, show and export submissions: with the same results as the console."""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import click

from service.cli import output, setup
from service.ops import export
from service.ops.actions import Actions
from service.ops.exceptions import NotFound
from service.ops.export import ExportRow
from service.ops.filters import parse_states
from service.ops.queries import MAX_PAGE_SIZE, Filter, FilterError, SubmissionQueries
from service.ops.schemas import Detail, Item, Page
from service.settings import source_file
from service.sources.schema import ConfigError, SourceFile
from service.sources.source_file.loader import load_sources
from worker.contract import State
from worker.ledger import Ledger
from worker.settings.table import Settings
from worker.units import parse_duration

Command = TypeVar("Command", bound=Callable[..., Any])

# How long a command waits for the search index to load.
SEARCH_SECONDS = 600.0


class OperatorSession(NamedTuple):
    """What an operator's command reads and acts with."""

    ledger: Ledger
    queries: SubmissionQueries
    actions: Actions


@contextmanager
def open_session(states: Collection[State] = tuple(State)) -> Iterator[OperatorSession]:
    """A session over the submissions in some states.

    A wrong filter ends the command with 2; an unknown id, or no Redis, with 1.
    """
    settings = setup.load_settings()
    with setup.open_ledger(settings) as ledger:
        queries = SubmissionQueries(
            ledger,
            _find_sources(settings),
            settings.data_dir,
            only=states,
            patience=SEARCH_SECONDS,
            quiet=True,
        )
        try:
            yield OperatorSession(ledger, queries, Actions(ledger, queries, settings.data_dir))
        except FilterError as error:
            raise click.UsageError(f"--{error.field}: {error}") from None
        except NotFound as error:
            setup.exit_with_error(f"leadline: {error}")


def _find_sources(settings: Settings) -> SourceFile | None:
    """The source file if it can be used; without one, only the channels are unknown."""
    try:
        return load_sources(source_file(settings), os.environ, secrets=())
    except ConfigError:
        return None


# Which submissions: options and filters.


def filter_options(command: Command) -> Command:
    """Adds `--source`, `--cause` and `--q`, which narrow a list."""
    options = (
        click.option("--source", help="Only this source."),
        click.option("--cause", help="Only this cause: id, code, step or a word of its text."),
        click.option("--q", help="Only what this finds, as in the console's search box."),
    )
    return functools.reduce(lambda inner, option: option(inner), reversed(options), command)


limit_option = click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1), help="At most this many."
)


def parse_states_option(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """The callback of options that take states."""
    try:
        parse_states(value)
    except FilterError as error:
        raise click.BadParameter(str(error)) from None
    return value


def build_filter(**values: str | None) -> Filter:
    """A filter from options. Raises `FilterError`."""
    return Filter.parse({name: value or "" for name, value in values.items()})


def list_newest(queries: SubmissionQueries, filter: Filter, limit: int) -> Page[Item]:
    """The newest that match, over as many pages as it takes."""
    with output.show_working("reading"):
        page = queries.submissions(filter, limit=max(1, min(limit, MAX_PAGE_SIZE)))
        items, cursor = page.items, page.next
        while cursor and len(items) < limit:
            size = min(limit - len(items), MAX_PAGE_SIZE)
            more = queries.submissions(filter, cursor=cursor, limit=size)
            items, cursor = [*items, *more.items], more.next
    return Page(items, cursor, page.total)


class SinceType(click.ParamType[float]):
    """Unix seconds of `2026-05-31`, of `2026-05-31T12:00Z`, or of `7d` before now."""

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
            at = datetime.fromisoformat(value)
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            message = 'expected how long ago, such as "7d" or "12h", or a date such as "2026-05-31"'
            self.fail(message, param, ctx)


since_option = click.option(
    "--since",
    type=SinceType(),
    default=0.0,
    metavar="WHEN",
    help='Received since then: "7d" or "12h" ago, or a date. Default: everything.',
)


# What is printed.


def print_items(title: str, page: Page[Item], *, as_json: bool) -> None:
    if as_json:
        output.print_json(page)
        return
    output.print_table(
        ["id", "source", "who", "campaign", "tries", "since", "cause"],
        [
            (
                item.id,
                item.source,
                item.who,
                item.campaign,
                item.attempts,
                item.updated_at,
                item.cause_title,
            )
            for item in page.items
        ],
        title=f"{title} ({len(page.items)} of {page.total})",
    )


def print_detail(detail: Detail, *, as_json: bool) -> None:
    if as_json:
        output.print_json(detail)
        return
    click.echo(f"{detail.id} of {output.printable(detail.source)} is {detail.state}\n")
    if cause := detail.cause:
        output.print_pairs(
            [
                ("cause", f"{cause.title}: {cause.detail}" if cause.detail else cause.title),
                ("step", cause.step),
                ("code", cause.code),
                ("mend", cause.hint),
                ("setting", cause.setting),
            ]
        )
        click.echo()
    without_key = "encrypted with a key that LEADLINE_ENCRYPTION_KEYS does not list"
    output.print_table(
        ["field", "value"],
        [(name, value) for name, value in (detail.lead or {}).items() if value not in (None, {})],
        title="Lead",
        empty=without_key if detail.sealed else "erased",
    )
    output.print_table(
        ["at", "step", "outcome", "status", "ms", "detail"],
        [
            (each.at, each.step, each.outcome, each.status, each.duration_ms, each.detail)
            for each in detail.deliveries
        ],
        title="Deliveries",
    )
    output.print_table(
        ["at", "state", "by", "reason"],
        [(each.at, each.state, each.by, each.why) for each in detail.timeline],
        title="Timeline",
    )


def write_export(
    batches: Iterable[list[ExportRow]], format: str, file: Path | None, *, bom: bool
) -> None:
    """Writes the export to a file that only its owner may read, or to standard output."""
    pieces = export.write_csv(batches, bom=bom) if format == "csv" else export.write_jsonl(batches)
    if file is None:
        _copy(pieces, sys.stdout.buffer)
        return
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as target, output.show_working("exporting"):
            _copy(pieces, target)
    except OSError as error:
        setup.exit_with_error(f"leadline: {file} cannot be written: {error.strerror or error}")


def _copy(pieces: Iterable[bytes], target: BinaryIO) -> None:
    for piece in pieces:
        target.write(piece)
    target.flush()
