"""How commands act: on submissions by id, or on all that match once their count is confirmed."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from service.cli import output, queries, setup
from service.ops.actions import Actions
from service.ops.exceptions import NotFound
from service.ops.filters import Filter
from service.ops.schemas import BulkStatus
from worker.contract import State
from worker.errors import LeadlineError
from worker.lead.edit import EditError
from worker.ledger.bulk import TICK_SECONDS, CountDiffers

# How long a command waits for the outcomes; the bulk action goes on without it.
WAIT_SECONDS = 600.0
NO_WORKER = "no worker was seen within the last minute: start one with `leadline work`"
# The actions that make API calls.
COSTLY_ACTIONS = frozenset({"retry", "accept"})


class BulkRequest(NamedTuple):
    """The options that choose all matching submissions, instead of ids."""

    all_: bool
    source: str | None
    cause: str | None
    q: str | None
    expect: int | None
    yes: bool
    no_wait: bool

    @property
    def selects_all_matching(self) -> bool:
        return self.all_ or any((self.source, self.cause, self.q))


@contextmanager
def open_actions(states: Collection[State] = tuple(State)) -> Iterator[Actions]:
    """Opens the actions for submissions in some states. A LeadlineError ends the command."""
    with queries.open_session(states) as session:
        try:
            yield session.actions
        except EditError as error:
            faults = (f"  {name}: {fault}" for name, fault in error.faults.items())
            setup.exit_with_error("leadline: nothing was changed:", *faults)


def bulk_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options of a `BulkRequest`, which the command gets as `request`."""

    @functools.wraps(command)
    def run(**options: Any) -> None:
        request = BulkRequest(**{name: options.pop(name) for name in BulkRequest._fields})
        command(request=request, **options)

    decorators = [
        click.option("--all", "all_", is_flag=True, help="All of them."),
        click.option("--source", help="All of this source."),
        click.option("--cause", help="All of this cause: id, code, step or a word of its text."),
        click.option("--q", help="All that this finds, as in the console's search box."),
        click.option("--expect", type=click.IntRange(0), metavar="N",
                     help="Do not ask if N match; if another number does, change nothing."),
        click.option("--yes", "-y", is_flag=True, help="Do not ask, however many match."),
        click.option("--no-wait", is_flag=True, help="Do not wait for the outcomes."),
    ]  # fmt: skip
    return functools.reduce(lambda inner, decorator: decorator(inner), reversed(decorators), run)


def requested_filter(ids: Sequence[str], state: str, request: BulkRequest) -> Filter | None:
    """The filter, or None where ids are named. Raises UsageError for neither or both."""
    if bool(ids) == request.selects_all_matching:
        raise click.UsageError(
            "name submissions by id, or choose them by --all, --source, --cause or --q"
        )
    if not request.selects_all_matching:
        return None
    return queries.build_filter(
        state=state, source=request.source, cause=request.cause, q=request.q
    )


def apply_to_each(ids: Sequence[str], action: Callable[[str], object]) -> None:
    """Acts on one after the other, printing `ID RESULT`. Any refusal makes the exit code 1."""
    refused = 0
    for one in ids:
        try:
            click.echo(f"{one} {action(one)}")
        except EditError:
            raise
        except LeadlineError as error:
            refused += 1
            click.echo(f"{one}: {error}" if isinstance(error, NotFound) else str(error), err=True)
    if refused:
        setup.exit_with_error(f"leadline: {refused} of {len(ids)} could not be changed")


def run_bulk(
    actions: Actions,
    action: str,
    filter: Filter,
    request: BulkRequest,
    edit: dict[str, str] | None = None,
) -> None:
    """Starts a bulk action once its count is confirmed, and shows its progress.

    The exit code is 1 unless all of it went well.
    """
    with output.show_working("reading"):
        count = len(actions.find_matching(action, filter))
    if not count:
        return click.echo(f"nothing to {action}")
    question = f"{action.capitalize()} {output.plural(count, 'submission')}"
    output.confirm(
        f"{question}{_describe_cost(actions, action, count)}?",
        yes=request.yes or request.expect is not None,
        instead="--yes or --expect N",
    )
    expected = count if request.expect is None else request.expect
    try:
        status = actions.start_bulk(action, filter, expected, setup.operator_name(), edit)
    except CountDiffers as error:
        setup.exit_with_error(f"leadline: nothing was changed: {error}")
    if not request.no_wait:
        status = _wait_for_end(actions, status)
    print_bulk(status)
    if not request.no_wait and (status.dead or status.stopped or status.skipped):
        sys.exit(1)


def print_bulk(status: BulkStatus) -> None:
    """Prints the outcomes, and how to look again where some are still to come."""
    outcomes = {
        "delivered": status.delivered,
        "dead again": status.dead,
        "discarded": status.done,
        "skipped": status.skipped,
        "left": status.left,
    }
    parts = [f"{count} {name}" for name, count in outcomes.items() if count]
    click.echo(f"{status.id}: {', '.join(parts) or 'nothing yet'} of {status.count}")
    if status.stopped:
        click.echo(f"stopped: {status.stopped}")
    if status.ended_at is None:
        click.echo(
            f"it continues in the background: leadline bulk show {status.id},"
            f" or leadline bulk stop {status.id}"
        )


def _describe_cost(actions: Actions, action: str, count: int) -> str:
    if action not in COSTLY_ACTIONS:
        return ""
    cost = actions.estimate_cost(count)
    left = "" if cost.left is None else f" of {cost.left:,} left today"
    return f" (at most {cost.tokens:,} API tokens{left}; three are tried first)"


def _wait_for_end(actions: Actions, status: BulkStatus) -> BulkStatus:
    """Advances a bulk action until it ends, no worker is left, or WAIT_SECONDS are over.

    Ctrl-C ends only the waiting.
    """
    until = time.monotonic() + WAIT_SECONDS
    columns = (
        BarColumn(),
        TextColumn("{task.completed} of {task.total}  {task.description}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=status.count)
        try:
            while status.ended_at is None and time.monotonic() < until:
                actions.bulks.tick()
                status = actions.bulk_status(status.id)
                description = f"{status.delivered} delivered, {status.dead} dead again"
                bar.update(task, completed=status.count - status.left, description=description)
                if status.action in COSTLY_ACTIONS and not actions.ledger.count_workers():
                    break
                time.sleep(0.0 if status.ended_at else TICK_SECONDS / 2)
        except KeyboardInterrupt:
            pass
    if status.ended_at is None and not actions.ledger.count_workers():
        click.echo(NO_WORKER, err=True)
    return status
