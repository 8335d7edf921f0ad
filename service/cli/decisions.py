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
from service.ops.actions import Actions
from service.ops.errors import NotFound
from service.ops.filters import Filter
from service.ops.schemas import BulkStatus
from worker.contract import State
from worker.errors import LeadlineError
from worker.lead.edit import EditError
from worker.ledger.bulk import TICK_SECONDS, CountDiffers
from worker.ledger.status import workers

PATIENCE_SECONDS = 600.0
"""How long a command waits for the outcomes; the bulk action goes on without it."""

COST = {"retry": True, "accept": True, "discard": False}


class BulkRequest(NamedTuple):
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
def open_actions(only: Collection[State] = tuple(State)) -> Iterator[Actions]:
    """What can be done, over the submissions of some states. An error of ours ends the command."""
    settings = setup.load_settings()
    with queries.open_session(only) as opened:
        try:
            yield Actions(opened.store.ledger, opened.queries, settings.data_dir)
        except EditError as error:
            setup.exit_with_error(
                "leadline: nothing was changed:",
                *(f"  {name}: {fault}" for name, fault in error.faults.items()),
            )


def bulk_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options by which a command takes all that match; it is given them as `asked`."""

    @functools.wraps(command)
    def asked(**given: Any) -> None:
        named = BulkRequest(**{name: given.pop(name) for name in BulkRequest._fields})
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


def requested_filter(ids: Sequence[str], state: str, request: BulkRequest) -> Filter | None:
    """The filter, or None where ids are named. Raises UsageError where it is neither or both."""
    if bool(ids) == request.named:
        raise click.UsageError(
            "name submissions by id, or say which ones: --all, --source, --cause, --q"
        )
    return (
        queries.build_filter(state=state, source=request.source, cause=request.cause, q=request.q)
        if request.named
        else None
    )


def apply_to_each(ids: Sequence[str], action: Callable[[str], object]) -> None:
    """One after the other; what is refused is said, and makes the exit code 1."""
    refused = 0
    for submission_id in ids:
        try:
            click.echo(f"{submission_id} {action(submission_id)}")
        except EditError:
            raise
        except LeadlineError as error:
            refused += 1
            click.echo(
                f"{submission_id}: {error}" if isinstance(error, NotFound) else str(error), err=True
            )
    if refused:
        setup.exit_with_error(f"leadline: {refused} of {len(ids)} could not be changed")


def run_bulk(
    actions: Actions,
    action: str,
    filter: Filter,
    request: BulkRequest,
    edit: dict[str, str] | None = None,
) -> None:
    """Makes a bulk action once its count is confirmed, and shows how it goes. Exit code 1 unless
    all went well.
    """
    count = len(actions.find_matching(action, filter))
    if not count:
        return click.echo(f"nothing to {action}")
    if request.expect is None and not request.yes:
        click.confirm(
            f"{action} {count} submissions{_describe_cost(actions, action, count)}?", abort=True
        )
    try:
        started = actions.start_bulk(
            action,
            filter,
            count if request.expect is None else request.expect,
            setup.operator_name(),
            edit,
        )
    except CountDiffers as error:
        setup.exit_with_error(f"leadline: nothing was changed: {error}")
    progress = started if request.no_wait else _wait_for_end(actions, started)
    print_progress(progress)
    if not request.no_wait and (progress.dead or progress.stopped or progress.skipped):
        sys.exit(1)


def print_progress(progress: BulkStatus) -> None:
    """The outcomes, and how to look again where some are still to come."""
    outcomes = {
        "delivered": progress.delivered,
        "dead again": progress.dead,
        "discarded": progress.done,
        "skipped": progress.skipped,
    }
    parts = [f"{count} {name}" for name, count in outcomes.items() if count]
    parts += [f"{progress.left} left"] if progress.left else []
    click.echo(f"{progress.id}: {', '.join(parts) or 'nothing yet'} of {progress.count}")
    if progress.stopped:
        click.echo(f"stopped: {progress.stopped}")
    if progress.ended_at is None:
        click.echo(
            f"it goes on by itself: leadline bulk show {progress.id}, leadline bulk stop {progress.id}"
        )


def _describe_cost(actions: Actions, action: str, count: int) -> str:
    if not COST[action]:
        return ""
    cost = actions.estimate_cost(count)
    left = "" if cost.left is None else f" of {cost.left:,} left today"
    return f" (at most {cost.tokens:,} API tokens{left}; three go first)"


def _wait_for_end(actions: Actions, started: BulkStatus) -> BulkStatus:
    """Goes on with it until it ends, nobody can, or the patience does. Ctrl-C stops the watching
    alone.
    """
    progress, until = started, time.monotonic() + PATIENCE_SECONDS
    columns = (
        BarColumn(),
        TextColumn("{task.completed} of {task.total}  {task.description}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=output.console(), transient=True) as bar:
        task = bar.add_task("", total=progress.count)
        try:
            while progress.ended_at is None and time.monotonic() < until:
                actions.bulks.tick()
                progress = actions.bulk_status(started.id)
                over = progress.count - progress.left
                bar.update(
                    task,
                    completed=over,
                    description=f"{progress.delivered} delivered, {progress.dead} dead again",
                )
                if progress.action != "discard" and not workers(actions.ledger):
                    break
                time.sleep(0.0 if progress.ended_at else TICK_SECONDS / 2)
        except KeyboardInterrupt:
            pass
    if progress.ended_at is None and not workers(actions.ledger):
        click.echo(
            "no worker was seen within the last minute: start one with `leadline work`", err=True
        )
    return progress
