"""How commands decide: on submissions by their ids, or on all that match, with the count confirmed
and the outcomes shown.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from service.cli import output, queries, setup
from service.ops.actions import Actions, NotFound
from service.ops.filters import Filter
from service.ops.schemas import BulkProgress
from worker.contract import State
from worker.errors import LeadlineError
from worker.lead.edit import EditError
from worker.ledger.bulk import TICK_SECONDS, CountDiffers
from worker.ledger.status import workers

PATIENCE_SECONDS = 600.0
"""How long a command waits for the outcomes; the bulk action goes on without it."""

COST = {"retry": True, "accept": True, "discard": False}


class Asked(NamedTuple):
    """How a command line asks for all that match, instead of for ids."""

    all_: bool
    source: str | None
    cause: str | None
    q: str | None
    expect: int | None
    yes: bool
    no_wait: bool

    @property
    def named(self) -> bool:
        return self.all_ or any((self.source, self.cause, self.q))


@contextmanager
def desk(only: Collection[State] = tuple(State)) -> Iterator[Actions]:
    """What can be done, over the submissions of some states. An error of ours ends the command."""
    settings = setup.settings()
    with queries.opened(only) as opened:
        try:
            yield Actions(opened.store.ledger, opened.reader, settings.data_dir)
        except EditError as error:
            setup.stop(
                "leadline: nothing was changed:",
                *(f"  {name}: {fault}" for name, fault in error.faults.items()),
            )


def many(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options by which a command takes all that match; it is given them as `asked`."""

    @functools.wraps(command)
    def asked(**given: Any) -> None:
        named = Asked(**{name: given.pop(name) for name in Asked._fields})
        command(asked=named, **given)

    options = [
        click.option(
            "--all", "all_", is_flag=True, help="All there are, or all that match the filters."
        ),
        click.option("--source", help="All of this source."),
        click.option(
            "--cause",
            help="All of this cause: its id, its code, its step, or a word of what it says.",
        ),
        click.option("--q", help="All that this search finds, as in the console's search box."),
        click.option(
            "--expect",
            type=click.IntRange(0),
            help="Go on without a question if it is so many; else change nothing.",
        ),
        click.option(
            "--yes", "-y", is_flag=True, help="Go on without a question, however many it is."
        ),
        click.option(
            "--no-wait", is_flag=True, help="Do not wait for the outcomes: it goes on by itself."
        ),
    ]
    return functools.reduce(lambda inner, option: option(inner), reversed(options), asked)


def chosen(ids: Sequence[str], state: str, asked: Asked) -> Filter | None:
    """The filter, or None where ids are named. Raises UsageError where it is neither or both."""
    if bool(ids) == asked.named:
        raise click.UsageError(
            "name submissions by id, or say which ones: --all, --source, --cause, --q"
        )
    return (
        queries.filter_of(state=state, source=asked.source, cause=asked.cause, q=asked.q)
        if asked.named
        else None
    )


def each(ids: Sequence[str], deed: Callable[[str], object]) -> None:
    """One after the other; what is refused is said, and makes the exit code 1."""
    refused = 0
    for name in ids:
        try:
            click.echo(f"{name} {deed(name)}")
        except EditError:
            raise
        except LeadlineError as error:
            refused += 1
            click.echo(f"{name}: {error}" if isinstance(error, NotFound) else str(error), err=True)
    if refused:
        setup.stop(f"leadline: {refused} of {len(ids)} could not be changed")


def bulk(
    actions: Actions, action: str, filter: Filter, asked: Asked, edit: dict[str, str] | None = None
) -> None:
    """Makes a bulk action once its count is confirmed, and shows how it goes. Exit code 1 unless
    all went well.
    """
    count = len(actions.matching(action, filter))
    if not count:
        return click.echo(f"nothing to {action}")
    if asked.expect is None and not asked.yes:
        click.confirm(f"{action} {count} submissions{_cost(actions, action, count)}?", abort=True)
    try:
        made = actions.bulk(
            action, filter, count if asked.expect is None else asked.expect, setup.operator(), edit
        )
    except CountDiffers as error:
        setup.stop(f"leadline: nothing was changed: {error}")
    found = made if asked.no_wait else _watched(actions, made)
    tell(found)
    if not asked.no_wait and (found.dead or found.stopped or found.skipped):
        sys.exit(1)


def tell(found: BulkProgress) -> None:
    """The outcomes, and how to look again where some are still to come."""
    outcomes = {
        "delivered": found.delivered,
        "dead again": found.dead,
        "discarded": found.done,
        "skipped": found.skipped,
    }
    parts = [f"{count} {name}" for name, count in outcomes.items() if count]
    parts += [f"{found.left} left"] if found.left else []
    click.echo(f"{found.id}: {', '.join(parts) or 'nothing yet'} of {found.count}")
    if found.stopped:
        click.echo(f"stopped: {found.stopped}")
    if found.ended_at is None:
        click.echo(
            f"it goes on by itself: leadline bulk show {found.id}, leadline bulk stop {found.id}"
        )


def _cost(actions: Actions, action: str, count: int) -> str:
    if not COST[action]:
        return ""
    cost = actions.cost(count)
    left = "" if cost.left is None else f" of {cost.left:,} left today"
    return f" (at most {cost.tokens:,} API tokens{left}; three go first)"


def _watched(actions: Actions, made: BulkProgress) -> BulkProgress:
    """Goes on with it until it ends, nobody can, or the patience does. Ctrl-C stops the watching
    alone.
    """
    found, until = made, time.monotonic() + PATIENCE_SECONDS
    columns = (
        BarColumn(),
        TextColumn("{task.completed} of {task.total}  {task.description}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=output.console(), transient=True) as bar:
        task = bar.add_task("", total=found.count)
        try:
            while found.ended_at is None and time.monotonic() < until:
                actions.bulks.tick()
                found = actions.bulk_progress(made.id)
                over = found.count - found.left
                bar.update(
                    task,
                    completed=over,
                    description=f"{found.delivered} delivered, {found.dead} dead again",
                )
                if found.action != "discard" and not workers(actions.ledger):
                    break
                time.sleep(0.0 if found.ended_at else TICK_SECONDS / 2)
        except KeyboardInterrupt:
            pass
    if found.ended_at is None and not workers(actions.ledger):
        click.echo(
            "no worker was seen within the last minute: start one with `leadline work`", err=True
        )
    return found
